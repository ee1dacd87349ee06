//! Everything that a program knows of the world through WASI, as plain data.
//!
//! # Limits
//!
//! * [`DESCRIPTORS_MAX`] open files and folders.
//! * [`STREAM_BYTES_MAX`] bytes of input that was not read, and of each output that was not taken. A
//!   write that finds no room waits, or the oldest output goes, as it was chosen at birth.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::errno::Errno;
use super::files::{Files, Node, ROOT};

/// The most descriptors of files and folders.
pub const DESCRIPTORS_MAX: usize = 1024;

/// The most bytes that wait in a stream.
pub const STREAM_BYTES_MAX: usize = 256 << 10;

/// The longest arguments and environment, all together.
pub const WORDS_BYTES_MAX: usize = 128 << 10;

/// What a program is given to begin with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beginnings {
    /// Its arguments; the first is its name.
    pub args: Vec<String>,
    /// Its environment: names and values.
    pub env: Vec<(String, String)>,
    /// Files that it finds, by their paths from the root.
    pub files: Vec<(String, Vec<u8>)>,
    /// The most bytes in all files together; zero means what the node allows.
    pub files_bytes_max: u64,
    /// From which its randomness grows; if it is not given, the daemon's own.
    pub seed: Option<[u8; 32]>,
    /// Whether a write that finds no room waits until output was taken. Otherwise the oldest goes.
    pub waits: bool,
}

/// The largest number that is counted on from, if it comes from elsewhere: nobody lives to count as far again.
pub(crate) const NUMBER_MAX: u64 = 1 << 63;

/// What a descriptor stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Open {
    Stdin,
    Stdout,
    Stderr,
    File { inode: u64, offset: u64, append: bool },
    Folder { inode: u64, is_given: bool },
}

/// A descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Descriptor {
    pub(super) open: Open,
    pub(super) rights: u64,
    pub(super) inherited: u64,
    pub(super) nonblocking: bool,
}

/// Bytes on their way, each with its number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stream {
    /// The number of the first byte in `bytes`.
    pub(super) first: u64,
    pub(super) bytes: Vec<u8>,
    /// Whether no more will come.
    pub(super) ended: bool,
}

impl Stream {
    pub(super) fn room(&self) -> usize {
        STREAM_BYTES_MAX.saturating_sub(self.bytes.len())
    }

    /// Forgets what comes before this number.
    pub(super) fn forget_before(&mut self, number: u64) {
        let count = number.saturating_sub(self.first).min(self.bytes.len() as u64);
        self.bytes.drain(..count as usize);
        self.first += count;
    }

    /// Takes bytes in; beyond the room the oldest go.
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let over = self.bytes.len().saturating_sub(STREAM_BYTES_MAX);
        self.bytes.drain(..over);
        self.first += over as u64;
    }
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wasi {
    pub(super) args: Vec<Vec<u8>>,
    pub(super) env: Vec<Vec<u8>>,
    pub(super) files: Files,
    pub(super) descriptors: BTreeMap<u32, Descriptor>,
    pub(super) stdin: Stream,
    pub(super) stdout: Stream,
    pub(super) stderr: Stream,
    pub(super) waits: bool,
    /// When it began, in nanoseconds since the Unix epoch; none before its first turn.
    pub(super) began: Option<u64>,
    /// What it was last told the time is.
    pub(super) told: u64,
    pub(super) seed: Option<[u8; 32]>,
    /// How many bytes of randomness were drawn.
    pub(super) drawn: u64,
}

pub(super) mod right {
    //! What a descriptor may be used for.

    pub(crate) const READ: u64 = 1 << 1;
    pub(crate) const SEEK: u64 = 1 << 2;
    pub(crate) const WRITE: u64 = 1 << 6;
    /// Everything but sockets.
    pub(crate) const ALL: u64 = (1 << 28) - 1;
}

/// Why a program cannot begin like this. Fault: whoever spawns it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadBeginnings(String);

impl Wasi {
    pub(crate) fn new(beginnings: &Beginnings) -> Result<Self, BadBeginnings> {
        let Beginnings { args, env, files, files_bytes_max, seed, waits } = beginnings;
        let words = args.iter().map(String::len).sum::<usize>()
            + env.iter().map(|(name, value)| name.len() + value.len() + 1).sum::<usize>();
        let nul = |text: &String| text.contains('\0');
        if words > WORDS_BYTES_MAX
            || args.iter().any(nul)
            || env.iter().any(|(name, value)| nul(name) || nul(value) || name.contains('='))
        {
            let what =
                format!("arguments and environment are text of at most {WORDS_BYTES_MAX} bytes");
            return Err(BadBeginnings(what));
        }
        let mut tree = Files::new(*files_bytes_max);
        for (path, bytes) in files {
            place(&mut tree, path.trim_start_matches('/'), bytes).map_err(|errno| {
                BadBeginnings(format!("the file {path:?} cannot be placed: {errno:?}"))
            })?;
        }
        tree.opened(ROOT);
        let stream =
            |open| Descriptor { open, rights: right::ALL, inherited: 0, nonblocking: false };
        let given = Descriptor {
            open: Open::Folder { inode: ROOT, is_given: true },
            rights: right::ALL,
            inherited: right::ALL,
            nonblocking: false,
        };
        let descriptors = [
            (0, stream(Open::Stdin)),
            (1, stream(Open::Stdout)),
            (2, stream(Open::Stderr)),
            (3, given),
        ];
        let env = env.iter().map(|(name, value)| format!("{name}={value}").into_bytes());
        Ok(Self {
            args: args.iter().map(|arg| arg.clone().into_bytes()).collect(),
            env: env.collect(),
            files: tree,
            descriptors: descriptors.into(),
            stdin: Stream::default(),
            stdout: Stream::default(),
            stderr: Stream::default(),
            waits: *waits,
            began: None,
            told: 0,
            seed: *seed,
            drawn: 0,
        })
    }

    /// Whether it can have come about with so many bytes of files: what came from elsewhere is held
    /// against this.
    pub(crate) fn is_sound(&self, files_bytes_max: u64) -> bool {
        let mut open = BTreeMap::new();
        for descriptor in self.descriptors.values() {
            let (inode, is_folder) = match descriptor.open {
                Open::File { inode, .. } => (inode, false),
                Open::Folder { inode, .. } => (inode, true),
                Open::Stdin | Open::Stdout | Open::Stderr => continue,
            };
            let found = self.files.node(inode);
            if found.is_ok_and(|node| matches!(node, Node::Folder { .. }) != is_folder) {
                return false;
            }
            *open.entry(inode).or_insert(0) += 1;
        }
        let offsets = self.descriptors.values().map(|descriptor| match descriptor.open {
            Open::File { offset, .. } => offset,
            Open::Folder { .. } | Open::Stdin | Open::Stdout | Open::Stderr => 0,
        });
        let [first, second, third] = [&self.stdin, &self.stdout, &self.stderr].map(|it| it.first);
        let numbers = [first, second, third, self.told, self.drawn, self.files.inodes()];
        if offsets.chain(numbers).any(|number| number > NUMBER_MAX) {
            return false;
        }
        let words: usize = self.args.iter().chain(&self.env).map(Vec::len).sum();
        let streams = [&self.stdin, &self.stdout, &self.stderr];
        self.descriptors.len() <= DESCRIPTORS_MAX
            && words <= WORDS_BYTES_MAX + self.env.len()
            && streams.iter().all(|stream| stream.bytes.len() <= STREAM_BYTES_MAX)
            && self.files.bytes_max() == files_bytes_max
            && self.files.is_sound(&open)
    }

    /// Takes input in; false if there is no room for it.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> bool {
        let fits = bytes.len() <= self.stdin.room() && !self.stdin.ended;
        if fits {
            self.stdin.bytes.extend_from_slice(bytes);
        }
        fits
    }

    /// How many bytes of input there were so far.
    pub(crate) fn fed(&self) -> u64 {
        self.stdin.first + self.stdin.bytes.len() as u64
    }

    /// No more input will come.
    pub(crate) fn end_input(&mut self) {
        self.stdin.ended = true;
    }

    /// What was put out from these numbers on; what comes before them was taken and is forgotten.
    pub(crate) fn take(&mut self, out: u64, err: u64) -> [(u64, &[u8]); 2] {
        self.stdout.forget_before(out);
        self.stderr.forget_before(err);
        [(self.stdout.first, &self.stdout.bytes), (self.stderr.first, &self.stderr.bytes)]
    }

    /// Of stdout and stderr, the number of the first byte that is kept and of the next one.
    pub(crate) fn kept_output(&self) -> [(u64, u64); 2] {
        let range = |stream: &Stream| (stream.first, stream.first + stream.bytes.len() as u64);
        [&self.stdout, &self.stderr].map(range)
    }

    /// A turn begins at this time; its seed is that of all randomness if none was given.
    pub(crate) fn begin(&mut self, now: u64, seed: &[u8; 32]) {
        self.began.get_or_insert(now);
        self.seed.get_or_insert(*seed);
    }

    /// Writes to an output as much as there is room for; zero means that the write has to wait.
    pub(super) fn emit(&mut self, is_error: bool, bytes: &[u8]) -> usize {
        let waits = self.waits;
        let stream = if is_error { &mut self.stderr } else { &mut self.stdout };
        let count = if waits { bytes.len().min(stream.room()) } else { bytes.len() };
        stream.push(&bytes[..count]);
        count
    }

    /// Gives this the lowest number that is free; that of a stream, too, once it was closed.
    pub(super) fn open(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        if self.descriptors.len() >= DESCRIPTORS_MAX {
            return Err(Errno::MFile);
        }
        let number = (0..).find(|number| !self.descriptors.contains_key(number));
        let number = number.ok_or(Errno::MFile)?;
        if let Open::File { inode, .. } | Open::Folder { inode, .. } = descriptor.open {
            self.files.opened(inode);
        }
        self.descriptors.insert(number, descriptor);
        Ok(number)
    }

    pub(super) fn close(&mut self, number: u32) -> Result<(), Errno> {
        let closed = self.descriptors.remove(&number).ok_or(Errno::BadF)?;
        if let Open::File { inode, .. } | Open::Folder { inode, .. } = closed.open {
            self.files.closed(inode);
        }
        Ok(())
    }
}

fn place(files: &mut Files, path: &str, bytes: &[u8]) -> Result<(), Errno> {
    let mut folder = ROOT;
    let mut names = path.split('/').peekable();
    while let Some(name) = names.next() {
        if matches!(name, "" | "." | "..") {
            return Err(Errno::Inval);
        }
        if names.peek().is_none() {
            let inode = files.make(folder, name, false, 0)?;
            return files.write(inode, 0, bytes, 0);
        }
        folder = match files.find(folder, name) {
            Ok(found) => found,
            Err(_) => files.make(folder, name, true, 0)?,
        };
    }
    Err(Errno::Inval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_near_the_end_of_all_numbers_come_from_nobody_who_ran() {
        let beginnings = Beginnings { files_bytes_max: 1 << 20, ..Beginnings::default() };
        let wasi = Wasi::new(&beginnings).unwrap();
        assert!(wasi.is_sound(1 << 20));
        let changes: [fn(&mut Wasi); 4] = [
            |it| it.told = NUMBER_MAX + 1,
            |it| it.drawn = u64::MAX,
            |it| it.stdout.first = u64::MAX,
            |it| it.stdin.first = NUMBER_MAX + 1,
        ];
        for change in changes {
            let mut changed = wasi.clone();
            change(&mut changed);
            assert!(!changed.is_sound(1 << 20), "{changed:?}");
        }
    }
}
