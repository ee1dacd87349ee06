//! The file in which a node keeps what is said of members: `WHIMMEM1`, a digest of 32 bytes, and the roster as
//! postcard. It is replaced as a whole.

use std::path::Path;
use std::{fs, io};

use whimbrel_wire::{Digest, Purpose};

use crate::durable;

/// What the file begins with.
const MAGIC: &[u8; 8] = b"WHIMMEM1";

/// How long it is at most, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What is in the file; none if there is none. Damaged bytes are an error of the kind `InvalidData`.
pub(super) fn read(file: &Path) -> io::Result<Option<Vec<u8>>> {
    let length = match fs::metadata(file) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the list of members is damaged");
    if length > FILE_BYTES_MAX {
        return Err(damaged());
    }
    let bytes = fs::read(file)?;
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(damaged)?;
    let (digest, roster) = rest.split_at_checked(32).ok_or_else(damaged)?;
    if digest != Digest::of(Purpose::Membership, roster).as_bytes() {
        return Err(damaged());
    }
    Ok(Some(roster.to_vec()))
}

/// Replaces the file; it is on the disk then.
pub(super) fn write(file: &Path, roster: &[u8]) -> io::Result<()> {
    let digest = Digest::of(Purpose::Membership, roster);
    let next = file.with_extension("next");
    durable::replace(file, &next, &[MAGIC, digest.as_bytes(), roster])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_damaged_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("members");
        assert_eq!(read(&file).unwrap(), None);
        for roster in [&b"one"[..], b"another"] {
            write(&file, roster).unwrap();
            assert_eq!(read(&file).unwrap().unwrap(), roster);
        }
        let good = fs::read(&file).unwrap();
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 1;
            fs::write(&file, &bad).unwrap();
            assert!(read(&file).is_err(), "byte {index}");
            fs::write(&file, &good[..index]).unwrap();
            assert!(read(&file).is_err(), "{index} bytes");
        }
    }
}
