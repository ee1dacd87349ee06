//! Decides how the steps of a node's seats are written down, and how such a file is read.
//!
//! The file is `WHIMTRC1`, then frames: four bytes of length, lowest first, and as many bytes. The
//! first frame is a [`TraceHeader`], each other one a [`TraceRecord`], as postcard. What a step means
//! and whether it was right is [`whimbrel_protocol::Witness`]'s. A trace holds payloads and states: it
//! is readable by its owner only.
//!
//! A trace that cannot be written ends, with a line in the log; the node goes on.
//!
//! # Limits
//!
//! * [`TRACE_BYTES_MAX`]: beyond it the trace ends with [`TraceRecord::Full`].
//! * [`RECORD_BYTES_MAX`]: a longer record ends the trace too, and is refused by the reader.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use thiserror::Error;
use whimbrel_protocol::{Input, Output, TraceHeader, TraceRecord};
use whimbrel_wire::{EntityId, Time, decode, encode};

use crate::core::lock;

/// What a trace begins with.
const MAGIC: &[u8; 8] = b"WHIMTRC1";

/// How long a trace may become.
pub const TRACE_BYTES_MAX: u64 = 1 << 30;

/// How long a record may be.
pub const RECORD_BYTES_MAX: usize = 64 << 20;

/// Where the steps of all seats of a node are written.
pub(crate) struct Trace {
    file: Mutex<Option<Open>>,
}

struct Open {
    to: BufWriter<File>,
    bytes: u64,
    bytes_max: u64,
}

impl Trace {
    /// Begins a trace; one that is there becomes `NAME.old`.
    pub(crate) fn begin(path: &Path, header: &TraceHeader, bytes_max: u64) -> io::Result<Self> {
        if path.exists() {
            let mut old = path.as_os_str().to_owned();
            old.push(".old");
            fs::rename(path, PathBuf::from(old))?;
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut open = Open { to: BufWriter::new(file), bytes: 0, bytes_max };
        open.to.write_all(MAGIC)?;
        open.frame(&encode(header))?;
        open.to.flush()?;
        Ok(Self { file: Mutex::new(Some(open)) })
    }

    /// A seat was set up.
    pub(crate) fn seat(&self, entity: EntityId, snapshot_every: u64) {
        self.write(&TraceRecord::Seat { entity, snapshot_every });
    }

    /// A seat was opened.
    pub(crate) fn opened(&self, entity: EntityId, now: Time, outputs: &[Output]) {
        let outputs = encode(&outputs).into();
        self.write(&TraceRecord::Opened { entity, now, outputs });
    }

    /// The bytes of an input, which the seat is about to be given.
    pub(crate) fn input(input: &Input) -> Vec<u8> {
        encode(input)
    }

    /// A seat took a step.
    pub(crate) fn step(&self, entity: EntityId, now: Time, input: Vec<u8>, outputs: &[Output]) {
        let (input, outputs) = (input.into(), encode(&outputs).into());
        self.write(&TraceRecord::Step { entity, now, input, outputs });
    }

    fn write(&self, record: &TraceRecord) {
        let mut file = lock(&self.file);
        let Some(open) = file.as_mut() else { return };
        let bytes = encode(record);
        let is_full =
            open.bytes + bytes.len() as u64 > open.bytes_max || bytes.len() > RECORD_BYTES_MAX;
        let written = if is_full {
            open.frame(&encode(&TraceRecord::Full)).and_then(|()| open.to.flush())
        } else {
            open.frame(&bytes)
        };
        match written {
            Ok(()) if !is_full => return,
            Ok(()) => tracing::warn!("the trace is full; it ends here"),
            Err(error) => tracing::warn!("the trace ends here: {error}"),
        }
        // A writer that is dropped flushes, and what was not written then is lost.
        *file = None;
    }

    /// Nothing more comes.
    pub(crate) fn end(&self) {
        let open = lock(&self.file).take();
        if let Some(mut open) = open
            && let Err(error) = open.to.flush()
        {
            tracing::warn!("the end of the trace is lost: {error}");
        }
    }
}

impl Open {
    fn frame(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.to.write_all(&length.to_le_bytes())?;
        self.to.write_all(bytes)?;
        self.bytes += 4 + bytes.len() as u64;
        Ok(())
    }
}

/// Why a trace cannot be read.
///
/// Fault: caller, or the disk. Changed: nothing. Again: no, the bytes stay wrong.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The system does not give it.
    #[error("could not read the trace")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("the file is no trace, or one of another format")]
    Foreign,
    /// A record is damaged.
    #[error("record {record} of the trace is damaged")]
    Damaged {
        /// Which, counted from 1.
        record: u64,
    },
}

/// A trace that is read.
pub struct TraceReader {
    from: BufReader<File>,
    header: TraceHeader,
    records: u64,
    is_cut: bool,
}

impl TraceReader {
    /// Opens a trace and reads its header.
    ///
    /// # Errors
    ///
    /// [`TraceError`].
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let mut from = BufReader::new(File::open(path)?);
        let mut magic = [0; 8];
        if from.read_exact(&mut magic).is_err() || magic != *MAGIC {
            return Err(TraceError::Foreign);
        }
        let header = match frame(&mut from) {
            Ok(Frame::Whole(bytes)) => decode(&bytes).map_err(|_| TraceError::Foreign)?,
            Ok(Frame::End | Frame::Cut | Frame::TooLong) => return Err(TraceError::Foreign),
            Err(error) => return Err(error.into()),
        };
        Ok(Self { from, header, records: 0, is_cut: false })
    }

    /// What the trace says of the node.
    #[must_use]
    pub const fn header(&self) -> &TraceHeader {
        &self.header
    }

    /// Whether the file ended in the middle of a record, as it does when its node is killed.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The next record; none at the end.
    ///
    /// # Errors
    ///
    /// [`TraceError`].
    pub fn next_record(&mut self) -> Result<Option<TraceRecord>, TraceError> {
        self.records += 1;
        let damaged = TraceError::Damaged { record: self.records };
        match frame(&mut self.from)? {
            Frame::Whole(bytes) => decode(&bytes).map(Some).map_err(|_| damaged),
            Frame::End => Ok(None),
            Frame::Cut => {
                self.is_cut = true;
                Ok(None)
            }
            Frame::TooLong => Err(damaged),
        }
    }
}

enum Frame {
    Whole(Vec<u8>),
    End,
    Cut,
    TooLong,
}

fn frame(from: &mut impl Read) -> io::Result<Frame> {
    let mut length = Vec::new();
    from.take(4).read_to_end(&mut length)?;
    let length = match <[u8; 4]>::try_from(length.as_slice()) {
        Ok(length) => u32::from_le_bytes(length) as usize,
        Err(_) if length.is_empty() => return Ok(Frame::End),
        Err(_) => return Ok(Frame::Cut),
    };
    if length > RECORD_BYTES_MAX {
        return Ok(Frame::TooLong);
    }
    // Grows as bytes come: the length alone allocates nothing.
    let mut bytes = Vec::new();
    from.take(length as u64).read_to_end(&mut bytes)?;
    Ok(if bytes.len() == length { Frame::Whole(bytes) } else { Frame::Cut })
}

#[cfg(test)]
mod tests {
    use whimbrel_protocol::{Settings, TRACE_VERSION};
    use whimbrel_wire::{NodeKey, StoreId};

    use super::*;

    fn header() -> TraceHeader {
        TraceHeader {
            version: TRACE_VERSION,
            program: "test".to_owned(),
            node: NodeKey::from_seed(&[1; 32]).public(),
            store: StoreId::new(7),
            settings: Settings::default(),
        }
    }

    fn entity() -> EntityId {
        EntityId::from_bytes([3; 32])
    }

    fn records(path: &Path) -> (Vec<TraceRecord>, bool) {
        let mut reader = TraceReader::open(path).unwrap();
        let mut records = Vec::new();
        while let Some(record) = reader.next_record().unwrap() {
            records.push(record);
        }
        (records, reader.is_cut())
    }

    #[test]
    fn a_trace_comes_back_ends_where_it_is_full_and_may_be_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace");
        let trace = Trace::begin(&path, &header(), 1_000).unwrap();
        for _ in 0..100 {
            trace.seat(entity(), 5);
        }
        trace.end();
        assert_eq!(TraceReader::open(&path).unwrap().header(), &header());
        let (mut all, is_cut) = records(&path);
        assert!(!is_cut && all.len() < 100, "{}", all.len());
        assert_eq!(all.pop(), Some(TraceRecord::Full));
        assert!(
            all.iter().all(|it| *it == TraceRecord::Seat { entity: entity(), snapshot_every: 5 })
        );
        assert!(fs::metadata(&path).unwrap().len() <= 1_100);

        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 10]).unwrap();
        let (rest, is_cut) = records(&path);
        assert!(is_cut && rest.len() < all.len() + 1);

        let again = Trace::begin(&path, &header(), 1_000).unwrap();
        again.end();
        assert_eq!(records(&path), (Vec::new(), false));
        assert_eq!(records(&folder.path().join("trace.old")).0, rest);
    }

    #[test]
    fn bytes_that_are_no_trace_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace");
        for bytes in
            [&b""[..], b"WHIM", b"WHIMTRC2aaaaaaaaaa", b"WHIMTRC1", b"WHIMTRC1\x02\0\0\0ab"]
        {
            fs::write(&path, bytes).unwrap();
            assert!(matches!(TraceReader::open(&path), Err(TraceError::Foreign)), "{bytes:?}");
        }
        Trace::begin(&path, &header(), 1_000).unwrap().end();
        let good = fs::read(&path).unwrap();
        for more in [&b"\xff\xff\xff\xff"[..], b"\x01\0\0\0\x77"] {
            fs::write(&path, [&good, more].concat()).unwrap();
            let refused = TraceReader::open(&path).unwrap().next_record();
            assert!(matches!(refused, Err(TraceError::Damaged { record: 1 })), "{refused:?}");
        }
    }
}
