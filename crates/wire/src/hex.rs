//! Bytes as hexadecimal digits, as people and configs write keys and digests.

/// Two lower-case digits for each byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// The bytes of such digits, of either case. None for anything else, a sign and a space too.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// The 32 bytes of 64 digits.
pub(crate) fn unhex_32(text: &str) -> Option<[u8; 32]> {
    if text.len() == 64 { unhex(text)?.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_bytes_and_nothing_else_is() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(&hex(&bytes)).unwrap(), bytes);
        assert_eq!(hex(&[0x0f, 0xa0]), "0fa0");
        assert_eq!(unhex("0FA0"), Some(vec![0x0f, 0xa0]));
        for text in ["0", "0fa", "+f", " f", "0x", "fg", "é"] {
            assert_eq!(unhex(text), None, "{text:?}");
        }
        assert_eq!(unhex_32(&"ab".repeat(32)), Some([0xab; 32]));
        assert_eq!(unhex_32(&"ab".repeat(31)), None);
        assert_eq!(unhex_32(&"ab".repeat(33)), None);
    }
}
