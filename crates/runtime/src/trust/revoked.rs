//! Decides how it is kept on disk which blocks of tokens were revoked: one id to a line, only ever added to.
//!
//! A file that cannot be read whole keeps the node from starting: it would believe what was revoked. A last
//! line without an end is what a crash left of a revocation that nobody was told of; it is dropped.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use whimbrel_trust::{BlockId, Policy};
use whimbrel_wire::{Digest, DigestWriter, Purpose};

use crate::core::lock;

/// The file in the folder of the node.
const REVOKED_FILE: &str = "revoked";

pub(super) struct Revoked {
    file: Option<PathBuf>,
    /// What the file is known to hold.
    held: Mutex<BTreeSet<BlockId>>,
    /// Of all that is revoked, while that is known.
    digest: Mutex<Option<Digest>>,
}

impl Revoked {
    /// Reads what was revoked into `policy`.
    pub(super) fn open(folder: Option<&Path>, policy: &mut Policy) -> io::Result<Self> {
        let file = folder.map(|folder| folder.join(REVOKED_FILE));
        if let Some(path) = &file {
            let text = match fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
                Err(error) => return Err(error),
            };
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            for line in text[..whole].lines() {
                let id = BlockId::of(line);
                if !id.is_some_and(|id| policy.revoke(id)) {
                    let what =
                        format!("{} holds a line that is no id, or too many", path.display());
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
            }
            if whole < text.len() {
                let open = OpenOptions::new().write(true).open(path)?;
                open.set_len(whole as u64)?;
                open.sync_all()?;
            }
        }
        Ok(Self { file, held: Mutex::new(policy.revoked().collect()), digest: Mutex::default() })
    }

    /// Adds those that the file does not hold; they are on disk before this returns.
    pub(super) fn add(&self, ids: &[BlockId]) -> io::Result<()> {
        let Some(path) = &self.file else { return Ok(()) };
        let mut held = lock(&self.held);
        let fresh: BTreeSet<BlockId> =
            ids.iter().filter(|id| !held.contains(id)).copied().collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let before = file.metadata()?.len();
        let lines: String = fresh.iter().map(|id| format!("{id}\n")).collect();
        let written = file.write_all(lines.as_bytes()).and_then(|()| file.sync_all());
        if let Err(error) = written {
            // Half a line would spoil the next one.
            let _ = file.set_len(before);
            return Err(error);
        }
        // The file may be new to its folder.
        if let Some(folder) = path.parent().filter(|_| held.is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        held.extend(fresh);
        Ok(())
    }

    /// Something was revoked.
    pub(super) fn changed(&self) {
        *lock(&self.digest) = None;
    }

    /// The digest of `all`, which is asked for only when it is not known.
    pub(super) fn digest(&self, all: impl FnOnce() -> Vec<Digest>) -> Digest {
        let mut known = lock(&self.digest);
        *known.get_or_insert_with(|| {
            let mut writer = DigestWriter::new(Purpose::Token);
            writer.write(b"revoked");
            for id in all() {
                writer.write(id.as_bytes());
            }
            writer.finish()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::{Trust, TrustConfig, TrustError};

    fn id(number: u8) -> BlockId {
        BlockId::of(&format!("{number:02x}").repeat(32)).unwrap()
    }

    fn open(folder: &Path) -> io::Result<(Revoked, Policy)> {
        let mut policy = Policy::default();
        Ok((Revoked::open(Some(folder), &mut policy)?, policy))
    }

    #[test]
    fn what_was_revoked_is_so_after_a_start_and_half_a_line_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let (revoked, _) = open(folder.path()).unwrap();
        revoked.add(&[id(1)]).unwrap();
        revoked.add(&[id(2), id(1)]).unwrap();
        let path = folder.path().join(REVOKED_FILE);
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(b"0303");
        fs::write(&path, bytes).unwrap();
        let (revoked, policy) = open(folder.path()).unwrap();
        assert_eq!(policy.revoked().collect::<Vec<_>>(), [id(1), id(2)]);
        revoked.add(&[id(4)]).unwrap();
        let (_, policy) = open(folder.path()).unwrap();
        assert_eq!(policy.revoked().count(), 3);
    }

    #[test]
    fn what_could_not_be_written_down_is_written_down_when_it_is_asked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(REVOKED_FILE);
        let config =
            TrustConfig { folder: Some(folder.path().to_owned()), ..TrustConfig::default() };
        let trust = Trust::open(&config).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(trust.revoke_all(&[id(1)]), Err(TrustError::NotRevoked(_))));
        fs::remove_dir(&path).unwrap();
        trust.revoke_all(&[id(1)]).unwrap();
        trust.revoke_all(&[id(1)]).unwrap();
        let (_, policy) = open(folder.path()).unwrap();
        assert_eq!(policy.revoked().collect::<Vec<_>>(), [id(1)]);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", id(1)));
    }

    #[test]
    fn a_file_of_revocations_that_cannot_be_read_keeps_the_node_down() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(REVOKED_FILE), "spoilt\n").unwrap();
        assert!(open(folder.path()).is_err());
    }
}
