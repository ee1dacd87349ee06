//! An upgrade is cut off at each thing that it does to a file, once and again, by the end of the process or
//! of the power, and always ends well.

use std::collections::BTreeMap;

use super::super::files::Real;
use super::*;

/// What a cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// All that was done stays.
    Process,
    /// What was not synced is as it was before, or empty.
    Power,
    /// The same, but of what happened in folders only the oldest is as it was before: folders keep no order.
    Oldest,
}

const CUTS: [Cut; 3] = [Cut::Process, Cut::Power, Cut::Oldest];

/// How one thing is taken back that no folder sync has made durable.
enum Undo {
    /// The file or folder was not there.
    Absent(PathBuf),
    /// The file had this content.
    Was(PathBuf, Vec<u8>),
    Renamed {
        from: PathBuf,
        to: PathBuf,
    },
}

/// Files that fail after so many things were done to them. Syncs are only noted.
struct Doomed {
    left: usize,
    cut: Cut,
    done: usize,
    unsynced: Vec<PathBuf>,
    undo: Vec<(PathBuf, Undo)>,
}

impl Doomed {
    fn new(left: usize, cut: Cut) -> Self {
        Self { left, cut, done: 0, unsynced: Vec::new(), undo: Vec::new() }
    }

    /// One thing is done, or everything ends: then `half` of it is done.
    fn step(&mut self, half: impl FnOnce()) -> io::Result<()> {
        self.done += 1;
        if self.done <= self.left {
            return Ok(());
        }
        half();
        if self.cut != Cut::Process {
            self.unsynced.drain(..).filter(|path| path.exists()).for_each(|path| {
                fs::write(path, []).unwrap();
            });
        }
        if self.cut == Cut::Oldest {
            let is_gone = |undo: &Undo| matches!(undo, Undo::Absent(path) if !path.exists());
            self.undo.retain(|(_, undo)| !is_gone(undo));
            self.undo.truncate(1);
        }
        if self.cut != Cut::Process {
            while let Some((_, undo)) = self.undo.pop() {
                if let Undo::Renamed { from, to } = &undo {
                    self.rebase(to, from);
                }
                take_back(undo);
            }
        }
        Err(io::Error::other("cut off"))
    }

    /// What was noted about the files of a folder holds for its other name.
    fn rebase(&mut self, from: &Path, to: &Path) {
        let other = |path: &mut PathBuf| {
            if path != from
                && let Ok(rest) = path.strip_prefix(from)
            {
                *path = to.join(rest);
            }
        };
        self.unsynced.iter_mut().for_each(other);
        for (folder, undo) in &mut self.undo {
            if folder == from {
                to.clone_into(folder);
            }
            match undo {
                Undo::Absent(path) | Undo::Was(path, _) => other(path),
                Undo::Renamed { .. } => {}
            }
        }
    }

    fn note(&mut self, undo: Undo) {
        let (Undo::Absent(path) | Undo::Was(path, _) | Undo::Renamed { from: path, .. }) = &undo;
        let folder = path.parent().unwrap().to_owned();
        self.undo.push((folder, undo));
    }

    fn write_over(&mut self, path: &Path, bytes: &[u8]) {
        let before = fs::read(path).ok();
        self.note(before.map_or_else(
            || Undo::Absent(path.to_owned()),
            |before| Undo::Was(path.to_owned(), before),
        ));
        self.unsynced.push(path.to_owned());
        fs::write(path, bytes).unwrap();
    }
}

fn take_back(undo: Undo) {
    match undo {
        Undo::Absent(path) if path.is_dir() => fs::remove_dir_all(path).unwrap(),
        Undo::Absent(path) => drop(fs::remove_file(path)),
        Undo::Was(path, bytes) => fs::write(path, bytes).unwrap(),
        // What came later may have moved it on.
        Undo::Renamed { from, to } => drop(fs::rename(to, from)),
    }
}

impl Files for Doomed {
    fn make_folder(&mut self, path: &Path) -> io::Result<()> {
        self.step(|| ())?;
        self.note(Undo::Absent(path.to_owned()));
        Real.make_folder(path)
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step(|| fs::write(path, &bytes[..bytes.len() / 2]).unwrap())?;
        self.write_over(path, bytes);
        Ok(())
    }

    fn sync(&mut self, path: &Path) -> io::Result<()> {
        self.step(|| ())?;
        self.unsynced.retain(|other| other != path);
        self.undo.retain(|(_, undo)| !matches!(undo, Undo::Was(other, _) if other == path));
        Ok(())
    }

    fn copy(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let bytes = fs::read(from)?;
        self.write(to, &bytes)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|| ())?;
        let before = fs::read(to).ok();
        if let Some(before) = before {
            self.note(Undo::Was(to.to_owned(), before));
        }
        self.rebase(from, to);
        let moved = Undo::Renamed { from: from.to_owned(), to: to.to_owned() };
        self.note(moved);
        Real.rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.step(|| ())?;
        self.note(Undo::Was(path.to_owned(), fs::read(path)?));
        Real.remove(path)
    }

    fn remove_folder(&mut self, path: &Path) -> io::Result<()> {
        // Some of its files go first.
        self.step(|| {
            if let Some(name) = names(path).unwrap().first() {
                fs::remove_file(path.join(name)).unwrap();
            }
        })?;
        Real.remove_folder(path)
    }

    fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
        self.step(|| ())?;
        self.undo.retain(|(folder, _)| folder != path);
        Ok(())
    }
}

/// The database gets another name, and a line.
fn first(files: &mut dyn Files, path: &Path) -> Result<(), FolderError> {
    let (old, new) = (path.join("journal.db"), path.join("whimbrel.db"));
    assert!(!new.exists(), "a step finds what an earlier try of it left");
    files.rename(&old, &new)?;
    let mut text = fs::read(&new)?;
    text.extend_from_slice(b"first\n");
    files.write(&new, &text)?;
    files.sync(&new)?;
    Ok(files.sync_folder(path)?)
}

/// One more line.
fn second(files: &mut dyn Files, path: &Path) -> Result<(), FolderError> {
    let new = path.join("whimbrel.db");
    let mut text = fs::read(&new)?;
    text.extend_from_slice(b"second\n");
    files.write(&new, &text)?;
    Ok(files.sync(&new)?)
}

const STEPS: &[Step] = &[(0, first), (1, second)];

const OLD: [(&str, &str); 4] = [
    ("chunks.db", "chunks\n"),
    ("format", "whimbrel 0\n"),
    ("generation", "7\n"),
    ("journal.db", "turns\n"),
];

/// After the first step.
const MIDDLE: [(&str, &str); 4] = [
    ("chunks.db", "chunks\n"),
    ("format", "whimbrel 1\n"),
    ("generation", "7\n"),
    ("whimbrel.db", "turns\nfirst\n"),
];

const PRESENT: [(&str, &str); 4] = [
    ("chunks.db", "chunks\n"),
    ("format", "whimbrel 2\n"),
    ("generation", "7\n"),
    ("whimbrel.db", "turns\nfirst\nsecond\n"),
];

fn fill(path: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        fs::write(path.join(name), text).unwrap();
    }
    fs::write(path.join("lock"), "").unwrap();
}

/// All files but the lock.
fn content(path: &Path) -> BTreeMap<String, String> {
    let files = names(path).unwrap().into_iter().filter(|name| name != "lock");
    let read = |name: &std::ffi::OsString| fs::read_to_string(path.join(name)).unwrap();
    files.map(|name| (name.to_string_lossy().into_owned(), read(&name))).collect()
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn folders(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> =
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

fn upgrade(files: &mut dyn Files, path: &Path) -> Result<bool, FolderError> {
    bring_to(files, path, 2, STEPS)
}

/// What is upgraded, and the name of its backup: by both steps, and by one that leaves the folder as it is.
const FROM: [(&[(&str, &str)], &str); 2] = [(&OLD, "backup-0"), (&MIDDLE, "backup-1")];

/// A folder after an upgrade that was cut off there, and there again. False once a cut came too late.
fn cut_twice(
    (from, backup): (&[(&str, &str)], &str),
    first: (usize, Cut),
    again: Option<(usize, Cut)>,
) -> bool {
    let home = tempfile::tempdir().unwrap();
    let path = home.path();
    fill(path, from);
    let outcome = upgrade(&mut Doomed::new(first.0, first.1), path);
    if outcome.is_ok() {
        return false;
    }
    let mut was_cut = true;
    if let Some((at, cut)) = again {
        was_cut = upgrade(&mut Doomed::new(at, cut), path).is_err();
    }
    let case = format!("to {backup}, cut at {first:?}, then {again:?}");
    assert!(!upgrade(&mut Doomed::new(usize::MAX, Cut::Power), path).unwrap(), "{case}");
    assert_eq!(content(path), texts(&PRESENT), "{case}");
    assert_eq!(folders(path), [backup], "{case}");
    assert_eq!(content(&path.join(backup)), texts(from), "{case}");
    was_cut
}

#[test]
fn an_upgrade_that_is_cut_off_anywhere_is_finished_from_its_backup() {
    for cut in CUTS {
        let cuts = (0..).take_while(|&at| cut_twice(FROM[0], (at, cut), None)).count();
        assert!(cuts > 25, "only {cuts} places");
    }
}

#[test]
fn so_is_one_that_is_cut_off_again() {
    let mut pairs = 0;
    for (from, cut) in FROM.into_iter().flat_map(|from| CUTS.map(|cut| (from, cut))) {
        for first in (0..).take_while(|&at| cut_twice(from, (at, cut), None)) {
            let again = |&at: &usize| cut_twice(from, (first, cut), Some((at, cut)));
            pairs += (0..).take_while(again).count();
        }
    }
    assert!(pairs > 2_000, "only {pairs} pairs");
}

#[test]
fn a_backup_of_an_earlier_upgrade_is_not_put_back() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path();
    fill(path, &OLD);
    upgrade(&mut Real, path).unwrap();
    // The old format again, with other content: as an operator may put it back.
    fs::remove_file(path.join("whimbrel.db")).unwrap();
    fill(path, &OLD);
    fs::write(path.join("journal.db"), "later turns\n").unwrap();
    upgrade(&mut Real, path).unwrap();
    assert_eq!(content(path).get("whimbrel.db").unwrap(), "later turns\nfirst\nsecond\n");
    assert_eq!(folders(path), ["backup-0", "backup-0-2"]);
    assert_eq!(content(&path.join("backup-0")), texts(&OLD));
    assert_eq!(content(&path.join("backup-0-2")).get("journal.db").unwrap(), "later turns\n");
}

#[test]
fn what_lies_in_a_partial_backup_does_not_get_into_the_backup() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path();
    fill(path, &OLD);
    fs::create_dir(path.join("backup-0.partial")).unwrap();
    fs::write(path.join("backup-0.partial").join("stale.db"), "stale").unwrap();
    upgrade(&mut Real, path).unwrap();
    assert_eq!(folders(path), ["backup-0"]);
    assert_eq!(content(&path.join("backup-0")), texts(&OLD));
}

#[test]
fn a_folder_that_a_newer_version_has_begun_to_upgrade_is_refused_untouched() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path();
    fill(path, &OLD);
    // Cut off in the steps.
    assert!(upgrade(&mut Doomed::new(22, Cut::Process), path).is_err());
    let before = content(path);
    assert!(before.contains_key(MARK), "{before:?}");
    let error = bring_to(&mut Real, path, 0, &[]).unwrap_err();
    assert!(matches!(error, FolderError::Newer { found: 2, known: 0 }), "{error}");
    assert_eq!(content(path), before);
}

#[test]
fn a_mark_that_says_nothing_is_refused() {
    for text in ["", "backup-0", "backup-0 x", "../elsewhere 2", "backup-0/../../x 2"] {
        let home = tempfile::tempdir().unwrap();
        fill(home.path(), &OLD);
        fs::write(home.path().join(MARK), text).unwrap();
        let error = upgrade(&mut Real, home.path()).unwrap_err();
        assert!(matches!(error, FolderError::Foreign { .. }), "{text:?}: {error}");
    }
}
