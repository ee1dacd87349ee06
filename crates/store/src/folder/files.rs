//! Decides how the files of a folder are changed outside of its databases: step by step, each with its sync,
//! so that a test can let the power go at any of them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// What can be done to files. A step that fails may be half done, and no other follows it.
pub(super) trait Files {
    /// Makes a folder that only its owner can read, and those above it.
    fn make_folder(&mut self, path: &Path) -> io::Result<()>;
    /// Writes a file, new or in place of another one. Durable once it is synced.
    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Makes the content of a file durable.
    fn sync(&mut self, path: &Path) -> io::Result<()>;
    /// Copies a file, durable once the copy is synced.
    fn copy(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Moves a file or folder. Durable once the folder is synced.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Durable once the folder is synced.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
    /// Removes a folder with its files.
    fn remove_folder(&mut self, path: &Path) -> io::Result<()>;
    /// Makes durable which files are in a folder.
    fn sync_folder(&mut self, path: &Path) -> io::Result<()>;
}

/// The files of this machine.
pub(super) struct Real;

impl Files for Real {
    fn make_folder(&mut self, path: &Path) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        File::create(path)?.write_all(bytes)
    }

    fn sync(&mut self, path: &Path) -> io::Result<()> {
        File::options().write(true).open(path)?.sync_all()
    }

    fn copy(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::copy(from, to).map(|_| ())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// Replaces a small file, durably, as a whole.
pub(super) fn replace(
    files: &mut dyn Files,
    folder: &Path,
    name: &str,
    text: &str,
) -> io::Result<()> {
    let partial = folder.join(format!("{name}.partial"));
    files.write(&partial, text.as_bytes())?;
    files.sync(&partial)?;
    files.rename(&partial, &folder.join(name))?;
    files.sync_folder(folder)
}

/// The names of all plain files of a folder, sorted.
pub(super) fn names(path: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.push(entry.file_name());
        }
    }
    names.sort_unstable();
    Ok(names)
}
