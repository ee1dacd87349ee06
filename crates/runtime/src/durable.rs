//! Decides how a small file is replaced: as a whole, and for good.

use std::fs::{File, OpenOptions, rename};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Puts these bytes in the place of `file`, by way of `next` in the same folder, readable by its owner only. It is
/// on the disk then. After an error, `file` is as it was or as it should be.
pub(crate) fn replace(file: &Path, next: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut open = options.write(true).create(true).truncate(true).mode(0o600).open(next)?;
    for part in parts {
        open.write_all(part)?;
    }
    open.sync_all()?;
    rename(next, file)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}
