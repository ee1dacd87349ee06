//! Decides how the audit log comes to the disk, and how it goes on after a crash, a full disk, or somebody who
//! was at it.
//!
//! One thread writes: it takes all that wait, writes them, syncs once, and answers. What could not be
//! written is cut off again, and whoever waited is told so.
//!
//! A line that a crash cut off is dropped: nobody was told of it. A file that does not
//! [hold together](whimbrel_trust::chain) is set aside as it is, and a new one begun whose first
//! entry says so.
//!
//! There are two logs, each with a chain of its own: what is administered ([`AUDIT_FILE`]), and what was refused or
//! seen ([`SIGHTINGS_FILE`]), which strangers can fill. So nobody who may do nothing can have records of what was
//! done thrown away.
//!
//! # Limits
//!
//! * [`WAITING_MAX`] entries wait; more are refused. Sightings take at most half of the places, and those beyond are
//!   counted.
//! * [`FILE_BYTES_MAX`]: then a new file is begun; of the old ones [`FILES_MAX`] are kept, of each log.
//! * [`REMEMBERED_MAX`] entries are kept where there is no folder.
//! * [`DETAIL_BYTES_MAX`]: longer texts are cut. Control characters are written as `?`: JSON has six letters for one,
//!   and a line of them would be too long to be read again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use whimbrel_trust::chain::{self, Broken, Entry, Outcome, Standing};
use whimbrel_wire::hex;

use super::sightings::Sightings;
use crate::clock::Clock;
use crate::core::lock;
use crate::durable;

/// The file to which is being written what is administered.
pub const AUDIT_FILE: &str = "audit.log";

/// The file to which is being written what was refused or seen.
pub const SIGHTINGS_FILE: &str = "sightings.log";

/// How the files of each log are called.
const STEMS: [&str; 2] = ["audit", "sightings"];

/// Held while a node writes to the folder.
const LOCK_FILE: &str = "audit.lock";

/// Entries that wait to be written.
const WAITING_MAX: usize = 1_024;

/// Entries that share a sync.
const GROUP_MAX: usize = 256;

/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Old files that are kept.
const FILES_MAX: usize = 16;

/// Entries in memory, where there is no folder.
const REMEMBERED_MAX: usize = 1_000;

/// Longest text of one part of an entry.
const DETAIL_BYTES_MAX: usize = 512;

/// How often it is looked whether the number of sightings is to be told.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The way to the thread that writes.
pub(super) struct Log {
    jobs: Mutex<Option<SyncSender<Job>>>,
    missed: Arc<AtomicU64>,
    /// Sightings that wait.
    seen: Arc<AtomicUsize>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Job {
    /// Something administrative, and whoever waits for it to be written down.
    Administered(Entry, Option<oneshot::Sender<Result<u64, String>>>),
    Seen(Entry),
}

impl Log {
    pub(super) fn open(folder: Option<&Path>) -> io::Result<Self> {
        let lock = folder.map(claim).transpose()?;
        let [administered, seen_pages] = STEMS;
        let (pages, seen_pages) =
            (Pages::open(folder, administered)?, Pages::open(folder, seen_pages)?);
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        let (missed, seen) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let writer = Writer {
            pages,
            seen_pages,
            sightings: Sightings::default(),
            missed: Arc::clone(&missed),
            seen: Arc::clone(&seen),
            _lock: lock,
        };
        let thread = std::thread::Builder::new()
            .name("whimbrel-audit".to_owned())
            .spawn(move || writer.serve(&waiting))?;
        Ok(Self { jobs: Mutex::new(Some(jobs)), missed, seen, thread: Mutex::new(Some(thread)) })
    }

    /// Writes an entry down and gives its number, once the disk holds it.
    pub(super) async fn enter(&self, entry: Entry) -> Result<u64, String> {
        let (tell, told) = oneshot::channel();
        self.give(Job::Administered(entry, Some(tell)))?;
        told.await.unwrap_or_else(|_| Err("it is closed".to_owned()))
    }

    /// Writes something administrative down for which nobody waits.
    pub(super) fn note(&self, entry: Entry) {
        if let Err(error) = self.give(Job::Administered(entry, None)) {
            tracing::error!(%error, "the audit log lacks an entry");
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes a sighting down, or counts it.
    pub(super) fn saw(&self, entry: Entry) {
        let waits = self.seen.fetch_add(1, Ordering::AcqRel);
        if waits >= WAITING_MAX / 2 || self.give(Job::Seen(entry)).is_err() {
            self.seen.fetch_sub(1, Ordering::AcqRel);
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn give(&self, job: Job) -> Result<(), &'static str> {
        let jobs = lock(&self.jobs);
        jobs.as_ref().ok_or("it is closed")?.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => "too much waits to be written",
            TrySendError::Disconnected(_) => "it is closed",
        })
    }

    /// Writes what waits and ends.
    pub(super) fn close(&self) {
        drop(lock(&self.jobs).take());
        if let Some(thread) = lock(&self.thread).take() {
            // A thread that panicked wrote what it said that it wrote.
            let _ = thread.join();
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        drop(lock(&self.jobs).take());
    }
}

/// What the thread has.
struct Writer {
    pages: Pages,
    seen_pages: Pages,
    sightings: Sightings,
    missed: Arc<AtomicU64>,
    seen: Arc<AtomicUsize>,
    /// Lasts as long as the thread that writes.
    _lock: Option<File>,
}

enum Pages {
    File(Book),
    Memory { standing: Standing, entries: Vec<Entry> },
}

impl Writer {
    fn serve(mut self, waiting: &Receiver<Job>) {
        loop {
            let (mut jobs, mut ended) = (Vec::new(), false);
            match waiting.recv_timeout(LOOK_EVERY) {
                Ok(job) => jobs.push(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => ended = true,
            }
            jobs.extend(waiting.try_iter().take(GROUP_MAX - 1));
            self.group(jobs, ended);
            if ended {
                return;
            }
        }
    }

    fn group(&mut self, jobs: Vec<Job>, ended: bool) {
        let now = Instant::now();
        let (mut entries, mut tell, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        for job in jobs {
            match job {
                Job::Administered(entry, who) => {
                    entries.push(cut(entry));
                    tell.push(who);
                }
                Job::Seen(entry) => {
                    self.seen.fetch_sub(1, Ordering::AcqRel);
                    seen.extend(self.sightings.see(now, entry).map(cut));
                }
            }
        }
        self.administered(entries, tell);
        seen.extend(self.sightings.end(now, ended).into_iter().map(cut));
        self.sighted(seen);
    }

    fn administered(
        &mut self,
        mut entries: Vec<Entry>,
        tell: Vec<Option<oneshot::Sender<Result<u64, String>>>>,
    ) {
        if entries.is_empty() {
            return;
        }
        let written = self.pages.write(&mut entries);
        if let Err(error) = &written {
            tracing::error!(%error, "could not write the audit log");
        }
        for (entry, who) in entries.iter().zip(tell) {
            let number = entry.number;
            // Whoever went away need not be told.
            let _ = who.map(|who| {
                who.send(written.as_ref().map(|()| number).map_err(ToString::to_string))
            });
        }
    }

    fn sighted(&mut self, mut entries: Vec<Entry>) {
        let missed = self.missed.swap(0, Ordering::Relaxed);
        if missed > 0 {
            entries.push(note("sightings missed", format!("{missed} came too fast")));
        }
        if entries.is_empty() {
            return;
        }
        if let Err(error) = self.seen_pages.write(&mut entries) {
            tracing::error!(%error, "could not write down what was seen");
            self.missed.fetch_add(missed.max(entries.len() as u64), Ordering::Relaxed);
        }
    }
}

impl Pages {
    fn open(folder: Option<&Path>, stem: &'static str) -> io::Result<Self> {
        Ok(match folder {
            Some(folder) => Self::File(Book::open(folder, stem)?),
            None => Self::Memory { standing: Standing::START, entries: Vec::new() },
        })
    }

    /// All of them, durable, or none.
    fn write(&mut self, entries: &mut [Entry]) -> io::Result<()> {
        match self {
            Self::File(book) => book.write(entries),
            Self::Memory { standing, entries: kept } => {
                for entry in entries {
                    *standing = standing.line(entry).1;
                    kept.push(entry.clone());
                }
                let old = kept.len().saturating_sub(REMEMBERED_MAX);
                kept.drain(..old);
                Ok(())
            }
        }
    }
}

/// Nobody else writes to this folder while the file is held: two that did would break each other's chain.
fn claim(folder: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(folder.join(LOCK_FILE))?;
    file.try_lock().map_err(|_| {
        let what = format!("another node writes its audit log to {}", folder.display());
        io::Error::new(io::ErrorKind::ResourceBusy, what)
    })?;
    Ok(file)
}

fn current(folder: &Path, stem: &str) -> PathBuf {
    folder.join(format!("{stem}.log"))
}

/// The files of a log.
struct Book {
    folder: PathBuf,
    stem: &'static str,
    file: File,
    length: u64,
    standing: Standing,
    /// What could not be cut off again, so nothing can follow it.
    is_spoilt: bool,
}

impl Book {
    fn open(folder: &Path, stem: &'static str) -> io::Result<Self> {
        let path = current(folder, stem);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let read = chain::read(&bytes);
        if let Some(broken) = &read.broken {
            return Self::anew(folder, stem, broken, read.standing);
        }
        if read.bytes == 0 {
            return Self::begin(folder, stem, last_standing(folder, stem)?);
        }
        let file = OpenOptions::new().append(true).open(&path)?;
        let length = read.bytes as u64;
        if read.is_torn {
            file.set_len(length)?;
            file.sync_all()?;
        }
        let (folder, standing) = (folder.to_owned(), read.standing);
        Ok(Self { folder, stem, file, length, standing, is_spoilt: false })
    }

    /// A new file after one that was tampered with.
    fn anew(
        folder: &Path,
        stem: &'static str,
        broken: &Broken,
        standing: Standing,
    ) -> io::Result<Self> {
        let name = format!("{stem}-broken-{}.log", Clock::wall_micros());
        fs::rename(current(folder, stem), folder.join(&name))?;
        tracing::error!(%broken, set_aside = %name, "the audit log does not hold together");
        let mut book = Self::begin(folder, stem, standing)?;
        let detail = format!("{broken}; the file was set aside as {name}");
        book.write(&mut [note("log broken", detail)])?;
        Ok(book)
    }

    /// An empty file that goes on from `standing`.
    fn begin(folder: &Path, stem: &'static str, standing: Standing) -> io::Result<Self> {
        let (path, made) = (current(folder, stem), folder.join(format!("{stem}.new")));
        let (head, standing) = standing.head();
        durable::replace(&path, &made, &[&head])?;
        let length = head.len() as u64;
        let file = OpenOptions::new().append(true).open(&path)?;
        Ok(Self { folder: folder.to_owned(), stem, file, length, standing, is_spoilt: false })
    }

    fn write(&mut self, entries: &mut [Entry]) -> io::Result<()> {
        if self.is_spoilt {
            self.mend()?;
        }
        if self.length >= FILE_BYTES_MAX {
            self.turn_over()?;
        }
        let (mut bytes, mut standing) = (Vec::new(), self.standing);
        for entry in entries {
            let (line, after) = standing.line(entry);
            bytes.extend_from_slice(&line);
            standing = after;
        }
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.is_spoilt = true;
            // If that fails too it is tried again before the next entry.
            let _ = self.mend();
            return Err(error);
        }
        self.length += bytes.len() as u64;
        self.standing = standing;
        Ok(())
    }

    /// Cuts off what was not written whole.
    fn mend(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.sync_data()?;
        self.is_spoilt = false;
        Ok(())
    }

    /// Begins the next file, and throws the oldest away. Whatever of it fails, nothing is written to the old file
    /// any more and nothing of it is lost: the next entry tries again from where this got to.
    fn turn_over(&mut self) -> io::Result<()> {
        let old = self.folder.join(format!("{}-{:020}.log", self.stem, self.standing.entries));
        if !old.try_exists()? {
            fs::rename(current(&self.folder, self.stem), old)?;
        }
        *self = Self::begin(&self.folder, self.stem, self.standing)?;
        let old = old_files(&self.folder, self.stem)?;
        for path in old.iter().take(old.len().saturating_sub(FILES_MAX)) {
            if let Err(error) = fs::remove_file(path) {
                tracing::warn!(%error, file = %path.display(), "an old log could not be removed");
            }
        }
        Ok(())
    }
}

/// Where the log stood when its last whole file was turned over.
fn last_standing(folder: &Path, stem: &str) -> io::Result<Standing> {
    match old_files(folder, stem)?.last() {
        Some(path) => Ok(chain::read(&fs::read(path)?).standing),
        None => Ok(Standing::START),
    }
}

/// The files that were turned over, the oldest first.
fn old_files(folder: &Path, stem: &str) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let rest = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('-'));
        let number = rest.and_then(|rest| rest.strip_suffix(".log"));
        let is_old =
            number.is_some_and(|it| it.len() == 20 && it.bytes().all(|b| b.is_ascii_digit()));
        if is_old {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// One file of an audit log.
#[derive(Debug)]
pub struct AuditFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it holds, and whether that holds together.
    pub read: chain::Read,
    /// Whether it goes on from where the file before it ended. True of the first of each log.
    pub follows: bool,
    /// Whether it holds what was refused or seen, and not what was administered.
    pub of_sightings: bool,
}

/// All files of the audit log in the folder of a node, the oldest first: those of what was administered, then those
/// of what was refused or seen. The node may run.
///
/// # Errors
///
/// Those of the file system.
pub fn audit_files(folder: &Path) -> io::Result<Vec<AuditFile>> {
    let mut files: Vec<AuditFile> = Vec::new();
    for stem in STEMS {
        let mut paths = old_files(folder, stem)?;
        paths.extend(Some(current(folder, stem)).filter(|path| path.exists()));
        let mut before: Option<Standing> = None;
        for path in paths {
            let read = chain::read(&fs::read(&path)?);
            let follows = before.is_none_or(|before| {
                let previous = hex(before.digest.as_bytes());
                before.entries == read.head.after && previous == read.head.previous
            });
            before = Some(read.standing);
            files.push(AuditFile { path, read, follows, of_sightings: stem != STEMS[0] });
        }
    }
    Ok(files)
}

fn note(what: &str, detail: String) -> Entry {
    Entry {
        at_us: Clock::wall_micros(),
        who: "node".to_owned(),
        what: what.to_owned(),
        result: Outcome::Noted,
        detail,
        ..Entry::default()
    }
}

fn cut(mut entry: Entry) -> Entry {
    for text in [&mut entry.who, &mut entry.what, &mut entry.detail, &mut entry.daemon] {
        if text.len() > DETAIL_BYTES_MAX {
            let end = (0..=DETAIL_BYTES_MAX).rev().find(|&end| text.is_char_boundary(end));
            text.truncate(end.unwrap_or(0));
        }
        if text.contains(char::is_control) {
            *text = text.replace(char::is_control, "?");
        }
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(what: &str) -> Entry {
        Entry { who: "ops".into(), what: what.into(), ..Entry::default() }
    }

    fn entries(folder: &Path) -> Vec<Entry> {
        let files = audit_files(folder).unwrap();
        assert!(files.iter().all(|file| file.follows && file.read.broken.is_none()), "{files:?}");
        files.into_iter().flat_map(|file| file.read.entries).collect()
    }

    #[tokio::test]
    async fn recorded_entries_are_on_disk_in_order_and_go_on_after_a_start() {
        let folder = tempfile::tempdir().unwrap();
        for start in 0..3 {
            let log = Log::open(Some(folder.path())).unwrap();
            for number in 0..4 {
                let entered = log.enter(entry(&format!("{start} {number}"))).await.unwrap();
                assert_eq!(entered, start * 4 + number + 1);
                assert_eq!(entries(folder.path()).len() as u64, entered, "before it is answered");
            }
            log.note(entry("what is not waited for"));
            log.close();
            fs::remove_file(folder.path().join("audit.new")).unwrap_err();
            let kept = entries(folder.path());
            assert_eq!(kept.last().unwrap().what, "what is not waited for");
            // It counts too; take it off for the sums above.
            let path = folder.path().join(AUDIT_FILE);
            let bytes = fs::read(&path).unwrap();
            let last = bytes[..bytes.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap();
            fs::write(&path, &bytes[..last + 10]).unwrap();
        }
    }

    #[tokio::test]
    async fn a_log_that_somebody_was_at_is_set_aside_and_said_to_be_broken() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(Some(folder.path())).unwrap();
        for what in ["one", "two", "three"] {
            log.enter(entry(what)).await.unwrap();
        }
        log.close();
        let path = folder.path().join(AUDIT_FILE);
        let text = fs::read_to_string(&path).unwrap().replace("two", "TWO");
        fs::write(&path, text).unwrap();
        assert!(audit_files(folder.path()).unwrap()[0].read.broken.is_some());
        let log = Log::open(Some(folder.path())).unwrap();
        log.enter(entry("four")).await.unwrap();
        log.close();
        let kept = entries(folder.path());
        let what: Vec<&str> = kept.iter().map(|entry| entry.what.as_str()).collect();
        assert_eq!(what, ["log broken", "four"]);
        let names = fs::read_dir(folder.path()).unwrap();
        let aside = names.filter_map(|it| it.unwrap().file_name().into_string().ok());
        assert_eq!(aside.filter(|name| name.starts_with("audit-broken-")).count(), 1);
    }

    #[tokio::test]
    async fn whatever_is_said_the_line_can_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(Some(folder.path())).unwrap();
        let letters = ["\u{1}", "\n", "\u{9b}", "\"", "\\", "ä"];
        for letter in letters {
            let (text, digits) = (letter.repeat(10_000), "0".repeat(64));
            let said = Entry {
                who: text.clone(),
                token: digits.clone(),
                what: text.clone(),
                daemon: digits,
                detail: text,
                ..Entry::default()
            };
            log.enter(said).await.unwrap();
        }
        log.close();
        let kept = entries(folder.path());
        assert_eq!(kept.len(), letters.len());
        assert_eq!(kept[1].what, "?".repeat(DETAIL_BYTES_MAX));
        assert_eq!(kept[3].what, "\"".repeat(DETAIL_BYTES_MAX));
    }

    #[test]
    fn old_files_are_bounded_and_the_chain_goes_through_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = Book::open(folder.path(), STEMS[0]).unwrap();
        for number in 0..FILES_MAX as u64 + 5 {
            book.length = FILE_BYTES_MAX;
            book.write(&mut [entry(&number.to_string())]).unwrap();
        }
        let kept = entries(folder.path());
        assert_eq!(old_files(folder.path(), STEMS[0]).unwrap().len(), FILES_MAX);
        assert_eq!(kept.last().unwrap().number, FILES_MAX as u64 + 5);
        // A node that died between the two steps of turning over goes on all the same.
        drop(book);
        let standing = audit_files(folder.path()).unwrap().last().unwrap().read.standing;
        let old = folder.path().join(format!("audit-{:020}.log", standing.entries));
        fs::rename(folder.path().join(AUDIT_FILE), old).unwrap();
        let mut book = Book::open(folder.path(), STEMS[0]).unwrap();
        book.write(&mut [entry("after")]).unwrap();
        assert_eq!(entries(folder.path()).last().unwrap().number, standing.entries + 1);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_refused_and_nothing_is_left_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = Book::open(folder.path(), STEMS[0]).unwrap();
        book.write(&mut [entry("before")]).unwrap();
        // A file on which every write fails, as on a full disk.
        let whole = std::mem::replace(
            &mut book.file,
            OpenOptions::new().write(true).open("/dev/full").unwrap(),
        );
        assert!(book.write(&mut [entry("lost")]).is_err());
        book.file = whole;
        book.is_spoilt = true;
        book.write(&mut [entry("after")]).unwrap();
        let kept = entries(folder.path());
        let what: Vec<&str> = kept.iter().map(|entry| entry.what.as_str()).collect();
        assert_eq!(what, ["before", "after"]);
    }

    #[tokio::test]
    async fn strangers_take_no_place_and_no_file_of_what_is_administered() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(Some(folder.path())).unwrap();
        log.enter(entry("spawn")).await.unwrap();
        for number in 0..20 * WAITING_MAX {
            log.saw(Entry { who: format!("10.0.0.{number}"), ..entry("not let in") });
        }
        // However many are waiting, there is room for this one.
        log.enter(entry("delete")).await.unwrap();
        log.close();
        let files = audit_files(folder.path()).unwrap();
        let of = |file: &AuditFile| {
            file.read.entries.iter().map(|entry| entry.what.clone()).collect::<Vec<_>>()
        };
        let [administered, seen] = &files[..] else { panic!("{files:?}") };
        assert!(!administered.of_sightings && seen.of_sightings);
        assert_eq!(of(administered), ["spawn", "delete"]);
        assert!(of(seen).contains(&"not let in".to_owned()));
    }

    #[test]
    fn half_of_the_places_are_kept_for_what_is_administered() {
        // Nobody takes what waits.
        let (jobs, _waiting) = sync_channel(WAITING_MAX);
        let (missed, seen) = (Arc::default(), Arc::default());
        let log = Log { jobs: Mutex::new(Some(jobs)), missed, seen, thread: Mutex::default() };
        (0..2 * WAITING_MAX).for_each(|_| log.saw(entry("not let in")));
        assert_eq!(
            log.missed.load(Ordering::Relaxed),
            2 * WAITING_MAX as u64 - WAITING_MAX as u64 / 2
        );
        (0..WAITING_MAX / 2).for_each(|_| log.note(entry("joined")));
        assert_eq!(
            log.missed.load(Ordering::Relaxed),
            2 * WAITING_MAX as u64 - WAITING_MAX as u64 / 2
        );
    }

    #[test]
    fn a_file_that_cannot_be_turned_over_is_not_written_to_and_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = Book::open(folder.path(), STEMS[0]).unwrap();
        book.write(&mut [entry("one")]).unwrap();
        // The next file cannot be made, first before the old one has its name, and then after.
        let in_the_way = folder.path().join("audit.new");
        fs::create_dir(&in_the_way).unwrap();
        for _ in 0..3 {
            book.length = FILE_BYTES_MAX;
            assert!(book.write(&mut [entry("lost")]).is_err());
        }
        fs::remove_dir(&in_the_way).unwrap();
        book.write(&mut [entry("two")]).unwrap();
        let what: Vec<String> = entries(folder.path()).into_iter().map(|it| it.what).collect();
        assert_eq!(what, ["one", "two"]);
    }

    #[test]
    fn two_nodes_do_not_write_to_one_folder() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(Some(folder.path())).unwrap();
        let second = Log::open(Some(folder.path())).map(drop).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::ResourceBusy);
        log.close();
        Log::open(Some(folder.path())).unwrap().close();
    }
}
