//! Decides how inputs are kept as text: one in a line, in hexadecimal digits; `#` begins a remark.

/// The inputs in a text.
///
/// # Panics
///
/// When a line is neither digits nor a remark: a corpus is part of the source.
#[must_use]
pub fn read(text: &str) -> Vec<Vec<u8>> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let line = |(at, line): (usize, &str)| {
        digits(line).unwrap_or_else(|| panic!("line {} of a corpus is no input", at + 1))
    };
    lines.enumerate().filter(|(_, line)| !line.is_empty()).map(line).collect()
}

fn digits(line: &str) -> Option<Vec<u8>> {
    let digits = line.as_bytes();
    if !digits.iter().all(u8::is_ascii_hexdigit) || !digits.len().is_multiple_of(2) {
        return None;
    }
    let byte = |at| u8::from_str_radix(line.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// The text of inputs.
#[must_use]
pub fn write(inputs: &[Vec<u8>]) -> String {
    let line = |input: &Vec<u8>| -> String {
        input.iter().map(|byte| format!("{byte:02x}")).chain(["\n".to_owned()]).collect()
    };
    inputs.iter().filter(|input| !input.is_empty()).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_come_back_from_their_text() {
        let inputs = vec![vec![0, 255, 16], vec![7]];
        assert_eq!(read(&format!("# a remark\n{}\n", write(&inputs))), inputs);
        assert_eq!(digits("0g"), None);
        assert_eq!(digits("+1"), None, "a sign is no digit");
        assert_eq!(digits("012"), None);
    }
}
