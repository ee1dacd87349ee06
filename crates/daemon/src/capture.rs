//! Decides what a frozen view of a daemon is and how it becomes the chunks of a snapshot.
//!
//! A [`Capture`] is taken while the daemon stands still and must be cheap; everything that costs
//! in proportion to the state (hashing, copying, writing) happens later, elsewhere, on the
//! capture. Where chunks go is decided by the [`ChunkSink`].
//!
//! # Invariants
//!
//! * C1 (frozen): nothing that happens to the daemon after the capture changes it.
//! * C2 (lists last): a sink is given the chunks of a list before the list.
//!
//! # Limits
//!
//! * [`CHUNK_LISTS_MAX`], `u32::MAX` chunks: a larger state is refused when it is written.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use thiserror::Error;
use whimbrel_wire::limits::{
    CHUNK_BYTES_MAX, CHUNK_LIST_LENGTH_MAX, CHUNK_LISTS_MAX, LUGGAGE_CHUNKS_MAX,
};
use whimbrel_wire::{
    CausalLink, ChunkList, ChunkRef, Digest, EntityId, Epoch, Head, Kind, Ledger, Luggage,
    Manifest, StateRef, StateVersion, SubscriptionBinding, Time, encode,
};

/// Takes the chunks of a snapshot, one by one.
pub trait ChunkSink {
    /// Whether this chunk is to be made and given; a sink that has it says no.
    ///
    /// # Errors
    ///
    /// [`SinkError`] ends the writing.
    fn wants(&mut self, chunk: &ChunkRef) -> Result<bool, SinkError>;

    /// Takes the bytes of `chunk`.
    ///
    /// # Errors
    ///
    /// [`SinkError`] ends the writing.
    fn put(&mut self, chunk: ChunkRef, bytes: Bytes) -> Result<(), SinkError>;
}

/// A sink that could not take a chunk.
///
/// Fault: surroundings. Changed: the sink may hold some chunks; the daemon is untouched. Again:
/// once the cause is gone.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the chunk could not be kept: {0}")]
pub struct SinkError(pub String);

/// Shown each list of chunks in turn.
pub type ListVisitor<'a> = dyn FnMut(&dyn FrozenList) -> Result<(), SinkError> + 'a;

/// Shown each chunk in turn: its name, and a way to its bytes for whoever needs them.
pub type ChunkVisitor<'a> = dyn FnMut(ChunkRef, &dyn Fn() -> Bytes) -> Result<(), SinkError> + 'a;

/// A state that nothing changes any more.
pub trait FrozenState: Send + Sync {
    /// Shows all lists of chunks in order.
    ///
    /// # Errors
    ///
    /// The first error of the visitor.
    fn visit(&self, visitor: &mut ListVisitor<'_>) -> Result<(), SinkError>;
}

/// A list of at most [`CHUNK_LIST_LENGTH_MAX`] chunks of a frozen state.
pub trait FrozenList {
    /// The name of the encoded list. Naming is work the first time and a look-up afterwards.
    fn name(&self) -> ChunkRef;

    /// The bytes of the encoded [`ChunkList`].
    fn encoded(&self) -> Bytes;

    /// How many chunks it names.
    fn chunks(&self) -> u64;

    /// How many bytes they hold.
    fn bytes(&self) -> u64;

    /// Shows all its chunks in order.
    ///
    /// # Errors
    ///
    /// The first error of the visitor.
    fn visit(&self, visitor: &mut ChunkVisitor<'_>) -> Result<(), SinkError>;
}

/// Why a capture did not become a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// See [`SinkError`].
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The state or the luggage has more chunks than a manifest can name. Fault: the daemon.
    /// Changed: nothing. Again: when it has less state.
    #[error("the daemon holds more than a snapshot can name")]
    TooLarge,
}

/// A frozen view of a daemon.
#[derive(Clone)]
#[must_use = "a capture is of use only when it is written, warmed or named"]
pub struct Capture {
    pub(crate) state: Arc<dyn FrozenState>,
    pub(crate) parts: CaptureParts,
}

/// What a capture knows about the daemon beside its chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureParts {
    /// Whose state.
    pub entity: EntityId,
    /// What can read it.
    pub kind: Kind,
    /// In which format of that kind.
    pub version: StateVersion,
    /// In which epoch it was taken.
    pub epoch: Epoch,
    /// Where the daemon stood.
    pub head: Head,
    /// The link of its last output, if it ever put one out.
    pub last: Option<CausalLink>,
    /// The daemon's own time.
    pub time: Time,
    /// The state by name; empty until it was written.
    pub state: StateRef,
    /// What the host keeps beside the state: timers, seed, channels. Goes into [`Luggage::host`].
    pub host: Bytes,
    /// The channels that it listens to.
    pub subscriptions: Vec<SubscriptionBinding>,
}

impl Capture {
    /// Where the daemon stood.
    #[must_use]
    pub fn head(&self) -> Head {
        self.parts.head
    }

    /// What is known without naming the state.
    #[must_use]
    pub fn parts(&self) -> &CaptureParts {
        &self.parts
    }

    /// Names everything that has no name yet, so that the next digest has less to do. What is
    /// shared with the living daemon is named for it too.
    pub fn warm(&self) {
        let named = self.state_ref();
        drop(named);
    }

    /// The digest of the state: [`StateRef::digest`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.state_ref().digest()
    }

    /// The state by name.
    #[must_use]
    pub fn state_ref(&self) -> StateRef {
        state_ref(&*self.state)
    }

    /// Gives the chunks that `sink` wants, one by one, and says what they are together.
    ///
    /// # Errors
    ///
    /// [`CaptureError`]; the sink may hold some of the chunks.
    pub fn write(self, sink: &mut dyn ChunkSink) -> Result<CaptureParts, CaptureError> {
        let Self { state, mut parts } = self;
        let mut named = StateRef { bytes: 0, chunks: 0, lists: Vec::new() };
        state.visit(&mut |list| {
            list.visit(&mut |name, bytes| {
                if sink.wants(&name)? { sink.put(name, bytes()) } else { Ok(()) }
            })?;
            let name = list.name();
            if sink.wants(&name)? {
                sink.put(name, list.encoded())?;
            }
            add(&mut named, list);
            Ok(())
        })?;
        if named.lists.len() > CHUNK_LISTS_MAX || named.chunks == u32::MAX {
            return Err(CaptureError::TooLarge);
        }
        parts.state = named;
        Ok(parts)
    }
}

impl CaptureParts {
    /// The manifest of the snapshot, after its luggage was given to `sink`.
    ///
    /// # Errors
    ///
    /// [`CaptureError`]; the sink may hold some of the luggage.
    pub fn manifest(
        self,
        ledger: Ledger,
        sink: &mut dyn ChunkSink,
    ) -> Result<Manifest, CaptureError> {
        let Self { entity, kind, version, epoch, head, last, time, state, host, subscriptions } =
            self;
        let bytes = Bytes::from(encode(&Luggage { ledger, host, subscriptions }));
        if bytes.len().div_ceil(CHUNK_BYTES_MAX) > LUGGAGE_CHUNKS_MAX {
            return Err(CaptureError::TooLarge);
        }
        let mut luggage = Vec::new();
        for piece in pieces(&bytes) {
            let name = ChunkRef::of(&piece);
            if sink.wants(&name)? {
                sink.put(name, piece)?;
            }
            luggage.push(name);
        }
        Ok(Manifest { entity, kind, version, epoch, head, last, time, state, luggage })
    }
}

/// A frozen state by name.
pub(crate) fn state_ref(frozen: &dyn FrozenState) -> StateRef {
    let mut state = StateRef { bytes: 0, chunks: 0, lists: Vec::new() };
    let visited = frozen.visit(&mut |list| {
        add(&mut state, list);
        Ok(())
    });
    // The visitor does not fail, so neither does the visit.
    drop(visited);
    state
}

fn add(state: &mut StateRef, list: &dyn FrozenList) {
    state.bytes += list.bytes();
    let chunks = u32::try_from(list.chunks()).unwrap_or(u32::MAX);
    state.chunks = state.chunks.saturating_add(chunks);
    state.lists.push(list.name());
}

fn pieces(bytes: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    (0..bytes.len())
        .step_by(CHUNK_BYTES_MAX)
        .map(|at| bytes.slice(at..bytes.len().min(at + CHUNK_BYTES_MAX)))
}

/// A state that was handed over in one piece: its cost is in proportion to its size.
pub struct Whole {
    bytes: Bytes,
    lists: OnceLock<Vec<WholeList>>,
}

struct WholeList {
    name: ChunkRef,
    encoded: Bytes,
    chunks: Vec<(ChunkRef, Bytes)>,
    bytes: u64,
}

impl Whole {
    /// The frozen state with these bytes.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, lists: OnceLock::new() }
    }

    fn lists(&self) -> &[WholeList] {
        self.lists.get_or_init(|| {
            let chunks: Vec<(ChunkRef, Bytes)> =
                pieces(&self.bytes).map(|piece| (ChunkRef::of(&piece), piece)).collect();
            chunks.chunks(CHUNK_LIST_LENGTH_MAX).map(WholeList::of).collect()
        })
    }
}

impl WholeList {
    fn of(chunks: &[(ChunkRef, Bytes)]) -> Self {
        let list = ChunkList(chunks.iter().map(|(name, _)| *name).collect());
        let encoded = Bytes::from(encode(&list));
        let bytes = chunks.iter().map(|(_, piece)| piece.len() as u64).sum();
        Self { name: ChunkRef::of(&encoded), encoded, chunks: chunks.to_vec(), bytes }
    }
}

impl FrozenState for Whole {
    fn visit(&self, visitor: &mut ListVisitor<'_>) -> Result<(), SinkError> {
        self.lists().iter().try_for_each(|list| visitor(list))
    }
}

impl FrozenList for WholeList {
    fn name(&self) -> ChunkRef {
        self.name
    }

    fn encoded(&self) -> Bytes {
        self.encoded.clone()
    }

    fn chunks(&self) -> u64 {
        self.chunks.len() as u64
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn visit(&self, visitor: &mut ChunkVisitor<'_>) -> Result<(), SinkError> {
        self.chunks.iter().try_for_each(|(name, piece)| visitor(*name, &|| piece.clone()))
    }
}
