//! Decides how an older folder is brought to the present format, and how that goes on after a crash.
//!
//! ```text
//! upgrading     the backup of this upgrade, and the format that it leads to
//! backup-N      the files as they were in format N; backup-N-2 and so on if there is one of an earlier upgrade
//! ```
//!
//! # States
//!
//! ```text
//!        mark            copy, rename            steps              raise the format        strike the mark
//! older ─────▶ marked ───────────────▶ backed up ─────▶ (half done) ───────────────▶ raised ───────────────▶ present
//!                 │ ▲                      │  ▲               │
//!                 └─┘ crash: copied anew   └──┴───────────────┘ crash: the files are put back from the backup
//! ```
//!
//! The mark names a backup that was not there when it was written, so if it is there it is of this upgrade and
//! complete. `format` is raised last and never put back: until then it holds the old one. A backup is
//! never changed.
//!
//! # Limits
//!
//! * [`BACKUPS_MAX`] backups of one format are kept beside each other; beyond it the upgrade is refused.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::FolderError;
use super::files::{Files, names, replace};

/// The mark of an upgrade that is under way.
const MARK: &str = "upgrading";

/// How many backups of one format there may be.
const BACKUPS_MAX: u32 = 100;

/// One step of an upgrade: from which format, and what to do in the folder. What it did is synced when it
/// ends.
pub(super) type Step = (u32, fn(&mut dyn Files, &Path) -> Result<(), FolderError>);

/// An upgrade under way.
struct Mark {
    backup: PathBuf,
    /// The format that it leads to.
    to: u32,
}

/// Sees that the folder has this format; whether it is new.
pub(super) fn bring_to(
    files: &mut dyn Files,
    path: &Path,
    format: u32,
    steps: &[Step],
) -> Result<bool, FolderError> {
    let Some(found) = read_format(path)? else {
        if path.join("whimbrel.db").exists() {
            return Err(foreign(path, "there is a database and no file `format`"));
        }
        write_format(files, path, format)?;
        return Ok(true);
    };
    if format < found {
        return Err(FolderError::Newer { found, known: format });
    }
    let mut mark = read_mark(path)?;
    if mark.as_ref().is_some_and(|mark| mark.to <= found) {
        files.remove(&path.join(MARK))?;
        mark = None;
    }
    // A newer version began: what is here may be half in its format.
    if let Some(Mark { to, .. }) = mark
        && format < to
    {
        return Err(FolderError::Newer { found: to, known: format });
    }
    let steps: Vec<_> = (found..format)
        .map(|from| steps.iter().find(|(first, _)| *first == from))
        .collect::<Option<_>>()
        .ok_or(FolderError::Older { found, known: format })?;
    if steps.is_empty() {
        return Ok(false);
    }
    let backup = match mark {
        Some(mark) => mark.backup,
        None => begin(files, path, found, format)?,
    };
    if path.join(&backup).exists() {
        put_back(files, path, &path.join(&backup))?;
    } else {
        back_up(files, path, &path.join(&backup))?;
    }
    for (_, step) in steps {
        step(files, path)?;
    }
    write_format(files, path, format)?;
    // If the power goes, the mark may be there again: it leads to the format that is reached and is removed.
    files.remove(&path.join(MARK))?;
    Ok(false)
}

fn foreign(path: &Path, reason: &'static str) -> FolderError {
    FolderError::Foreign { path: path.to_owned(), reason }
}

fn write_format(files: &mut dyn Files, path: &Path, format: u32) -> io::Result<()> {
    replace(files, path, "format", &format!("whimbrel {format}\n"))
}

fn read_text(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_format(path: &Path) -> Result<Option<u32>, FolderError> {
    let Some(text) = read_text(&path.join("format"))? else { return Ok(None) };
    let text = std::str::from_utf8(&text).ok();
    let number = text.and_then(|text| text.trim_end().strip_prefix("whimbrel "));
    let number = number.and_then(|number| number.parse().ok());
    let number = number.ok_or_else(|| foreign(path, "its file `format` says nothing that we know"));
    number.map(Some)
}

fn read_mark(path: &Path) -> Result<Option<Mark>, FolderError> {
    let Some(text) = read_text(&path.join(MARK))? else { return Ok(None) };
    let mark = std::str::from_utf8(&text).ok().and_then(|text| {
        let (backup, to) = text.trim_end().split_once(' ')?;
        let is_name = backup.starts_with("backup-") && !backup.contains(['/', '\\']);
        let to = to.parse().ok()?;
        is_name.then(|| Mark { backup: backup.into(), to })
    });
    mark.map(Some).ok_or_else(|| foreign(path, "its file `upgrading` says nothing that we know"))
}

/// Marks the folder with the backup that this upgrade will have.
fn begin(files: &mut dyn Files, path: &Path, from: u32, to: u32) -> Result<PathBuf, FolderError> {
    let name = |number: u32| match number {
        1 => format!("backup-{from}"),
        _ => format!("backup-{from}-{number}"),
    };
    let free = (1..=BACKUPS_MAX).map(name).find(|name| !path.join(name).exists());
    let backup = free.ok_or_else(|| foreign(path, "it has too many backups of one format"))?;
    replace(files, path, MARK, &format!("{backup} {to}\n"))?;
    Ok(backup.into())
}

/// Whether a file is part of what is backed up and put back.
fn is_content(name: &OsStr) -> bool {
    let partial = Path::new(name).extension().is_some_and(|extension| extension == "partial");
    !partial && name != "lock" && name != MARK
}

/// Copies the files aside, all or none.
fn back_up(files: &mut dyn Files, path: &Path, backup: &Path) -> io::Result<()> {
    let partial = backup.with_extension("partial");
    if partial.exists() {
        // Of a copy that was cut off, or was made by hand.
        files.remove_folder(&partial)?;
    }
    files.make_folder(&partial)?;
    for name in names(path)?.iter().filter(|name| is_content(name)) {
        files.copy(&path.join(name), &partial.join(name))?;
        files.sync(&partial.join(name))?;
    }
    files.sync_folder(&partial)?;
    files.rename(&partial, backup)?;
    files.sync_folder(path)
}

/// Puts the files back as they are in the backup. `format` stays: it was not raised yet.
fn put_back(files: &mut dyn Files, path: &Path, backup: &Path) -> io::Result<()> {
    let is_put_back = |name: &OsStr| is_content(name) && name != "format";
    for name in names(path)?.iter().filter(|name| is_put_back(name)) {
        files.remove(&path.join(name))?;
    }
    for name in names(backup)?.iter().filter(|name| is_put_back(name)) {
        files.copy(&backup.join(name), &path.join(name))?;
        files.sync(&path.join(name))?;
    }
    files.sync_folder(path)
}

#[cfg(test)]
mod tests;
