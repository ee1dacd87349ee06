//! Decides what a driver and a seat say to each other.
//!
//! Each output that acts has exactly one input that reports its end. A driver does the outputs in
//! the order in which they come.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use whimbrel_wire::{
    Answer, AttemptId, CatchUp, CausalEvent, CausalLink, ChunkRef, ClientId, Digest, EntityId,
    Epoch, Head, InputOrigin, Ledger, Manifest, Message, MigrationFailureReason, MigrationPhase,
    NodeId, Position, Progress, SeatRecord, SignedDeed, Time, TimerId, Turn, Write, WriteError,
};

/// A question of a local caller; the driver chooses it and gets it back with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticket(pub u64);

/// Which save is reported back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SaveTicket(pub u64);

/// One moment that a seat remembers, shown by [`Seat::moments`](crate::Seat::moments).
#[derive(Debug)]
pub enum Moment<'a> {
    /// Something is to be done then.
    Due(&'a mut Time),
    /// Something has lasted since then.
    Since(&'a mut Time),
    /// The daemon's own time was last read then.
    Clock(&'a mut Time),
}

/// What a seat is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Input {
    /// What the store knows of the daemon: at the start, or after [`Output::Read`].
    Read(Result<SeatRecord, String>),
    /// A save has ended.
    Saved {
        /// Which.
        ticket: SaveTicket,
        /// How.
        result: Result<(), WriteError>,
    },
    /// The turn of [`Output::Turn`] has ended.
    Turned {
        /// Of which copy.
        copy: AttemptId,
        /// How.
        result: Result<Turned, TurnFailure>,
    },
    /// The steps of [`Output::Replay`] have ended; one result for each turn, the deeds between
    /// leave none.
    Replayed {
        /// Which copy.
        copy: AttemptId,
        /// How.
        result: Result<Vec<Turned>, TurnFailure>,
    },
    /// [`Output::Restore`] has ended.
    Restored {
        /// Which copy.
        copy: AttemptId,
        /// How.
        result: Result<Restored, MigrationFailureReason>,
    },
    /// [`Output::Capture`] has ended: the chunks are durable.
    Captured {
        /// Of which copy.
        copy: AttemptId,
        /// The snapshot.
        result: Result<Manifest, String>,
    },
    /// [`Output::Digest`] has ended.
    Digested {
        /// Of which copy.
        copy: AttemptId,
        /// The digest of the state.
        state: Digest,
    },
    /// [`Output::Judge`] has ended.
    Judged {
        /// Which copy.
        copy: AttemptId,
        /// The digest of its state.
        state: Digest,
        /// Whether that state may go on here; if as something else, the payload of the turn that tells
        /// the daemon so.
        verdict: Result<Option<Bytes>, MigrationFailureReason>,
    },
    /// [`Output::Prepare`] has ended.
    Prepared {
        /// For which attempt.
        attempt: AttemptId,
        /// Whether the daemon may leave for that node.
        result: Result<(), Unprepared>,
    },
    /// [`Output::ReadTurns`] has ended.
    TurnsRead {
        /// Of which copy.
        copy: AttemptId,
        /// After which position.
        after: Position,
        /// The turns, in order; fewer than asked for at the end of the journal.
        result: Result<Vec<Turn>, String>,
    },
    /// [`Output::ReadPieces`] has ended: what the lists of a snapshot name.
    PiecesRead {
        /// For which attempt.
        attempt: AttemptId,
        /// The chunks of the state, in order.
        result: Result<Vec<ChunkRef>, String>,
    },
    /// [`Output::FindMissing`] has ended.
    MissingFound {
        /// For which attempt.
        attempt: AttemptId,
        /// Which of the chunks asked about are not in the store, by their index in the question.
        result: Result<Vec<u32>, String>,
    },
    /// [`Output::SaveChunk`] has ended.
    ChunkSaved {
        /// For which attempt.
        attempt: AttemptId,
        /// Which chunk.
        chunk: ChunkRef,
        /// How.
        result: Result<(), String>,
    },
    /// [`Output::Seal`] has ended.
    Sealed {
        /// For which attempt.
        attempt: AttemptId,
        /// The envelope.
        result: Result<Bytes, String>,
    },
    /// [`Output::Admit`] has ended.
    Admitted {
        /// Which attempt.
        attempt: AttemptId,
        /// Whether this node may run it.
        result: Result<(), MigrationFailureReason>,
    },
    /// A message of another node, or of this one to itself. The driver vouches for `from`.
    Message {
        /// From whom.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// Be born here. The chunks of the manifest are durable.
    Spawn {
        /// Whose question.
        ticket: Ticket,
        /// The birth deed.
        birth: Box<SignedDeed>,
        /// The first snapshot, at position zero.
        manifest: Box<Manifest>,
        /// The present, since the Unix epoch.
        wall: Time,
        /// How this kind catches up.
        catch_up: CatchUp,
        /// The timer with which it is born.
        next_timer: Option<(Time, TimerId)>,
    },
    /// A local caller delivers an event and waits for the turn.
    Deliver {
        /// Whose question.
        ticket: Ticket,
        /// The event.
        event: CausalEvent,
    },
    /// A local client sends an event to wherever the daemon lives.
    Send {
        /// Whose question.
        ticket: Ticket,
        /// Which client.
        client: ClientId,
        /// What.
        payload: Bytes,
    },
    /// A daemon that lives on this node sends an output to this one.
    Post {
        /// Which daemon.
        from: EntityId,
        /// Its number.
        number: u64,
        /// The output.
        event: CausalEvent,
    },
    /// That daemon left this node: its new owner sends what is left.
    Recall {
        /// Which daemon.
        from: EntityId,
    },
    /// Another daemon has acknowledged this one's outputs, up to a number.
    Posted {
        /// Which.
        to: EntityId,
        /// Up to which number.
        number: u64,
    },
    /// Move the daemon.
    Move {
        /// The attempt, chosen at random by the driver.
        attempt: AttemptId,
        /// Where from, if the caller knows.
        source: Option<NodeId>,
        /// Where to.
        target: NodeId,
        /// How.
        options: MoveOptions,
    },
    /// Give up a move that this node orchestrates, if it is not too late.
    Cancel {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// Take a snapshot of the live daemon.
    Snapshot {
        /// Whose question.
        ticket: Ticket,
    },
    /// Stop taking events and finish what was begun; the daemon stays on disk.
    Stop {
        /// Whose question.
        ticket: Ticket,
    },
    /// Delete the daemon for good.
    Delete {
        /// Whose question.
        ticket: Ticket,
    },
    /// Take the daemon back that was handed over to a node whose disk was lost. The caller knows what
    /// that loses: all that the heir took.
    Reclaim {
        /// Whose question.
        ticket: Ticket,
        /// The name of the deed to come, chosen at random by the driver.
        attempt: AttemptId,
    },
    /// A moment that [`Seat::wake_at`](crate::Seat::wake_at) named has come, or may have.
    Woke,
}

/// What a seat wants done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Output {
    /// Say this to that node; to this node itself too.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Say this to every other member.
    Broadcast {
        /// What.
        message: Message,
    },
    /// Read the chunk and send it as this piece of a snapshot. Not reported: the target asks
    /// again for what does not come.
    SendPiece {
        /// To whom.
        to: NodeId,
        /// The message, with its bytes left empty.
        message: Message,
        /// The chunk whose bytes go into it.
        chunk: ChunkRef,
    },
    /// Read the record of the daemon.
    Read,
    /// Save this.
    Save {
        /// Under which ticket it is reported.
        ticket: SaveTicket,
        /// What.
        write: Write,
    },
    /// Make one turn.
    Turn {
        /// Of which copy: always the live one.
        copy: AttemptId,
        /// In which epoch.
        epoch: Epoch,
        /// The daemon's time.
        time: Time,
        /// Why.
        origin: InputOrigin,
        /// What came in.
        event: CausalEvent,
    },
    /// Make the turns of a copy again, and lead its chain through deeds.
    Replay {
        /// Which copy.
        copy: AttemptId,
        /// What.
        steps: Vec<ReplayStep>,
    },
    /// Build the daemon from a snapshot whose chunks are in the store.
    Restore {
        /// As which copy.
        copy: AttemptId,
        /// From what.
        manifest: Box<Manifest>,
        /// The daemon's key, sealed to this node.
        envelope: Option<Bytes>,
    },
    /// Take a snapshot of a copy as it is at this moment, and make its chunks durable.
    Capture(Box<Capture>),
    /// Say the digest of the state of a copy.
    Digest {
        /// Which copy.
        copy: AttemptId,
    },
    /// Say the digest of the state of a copy that stands where the source is frozen, and judge
    /// whether that state may go on here. Also asked of the live copy of a daemon that evolves, if
    /// it starts again before it was told what it is to become.
    Judge {
        /// Which copy.
        copy: AttemptId,
    },
    /// Look whether the target is a member, and let the daemon get ready to be frozen while it
    /// still serves.
    Prepare {
        /// For which attempt.
        attempt: AttemptId,
        /// Which copy: always the live one.
        copy: AttemptId,
        /// Where it is to go.
        target: NodeId,
    },
    /// Read turns of the journal.
    ReadTurns {
        /// Of which copy.
        copy: AttemptId,
        /// After which position.
        after: Position,
        /// At most so many.
        count: usize,
        /// And at most so many bytes, but at least one turn.
        bytes: usize,
    },
    /// Read which chunks the lists of a snapshot name.
    ReadPieces {
        /// For which attempt.
        attempt: AttemptId,
        /// The lists.
        lists: Vec<ChunkRef>,
    },
    /// Find out which of these chunks the store lacks.
    FindMissing {
        /// For which attempt.
        attempt: AttemptId,
        /// Which chunks.
        chunks: Vec<ChunkRef>,
    },
    /// Make a chunk durable.
    SaveChunk {
        /// For which attempt.
        attempt: AttemptId,
        /// Its name, which was checked.
        chunk: ChunkRef,
        /// Its bytes.
        bytes: Bytes,
    },
    /// Seal the daemon's key to the target.
    Seal {
        /// For which attempt.
        attempt: AttemptId,
        /// In which epoch.
        epoch: Epoch,
        /// To whom.
        to: NodeId,
        /// Bound to which snapshot.
        snapshot: Digest,
    },
    /// Judge whether this node may run the daemon.
    Admit {
        /// Which attempt.
        attempt: AttemptId,
        /// In which epoch.
        epoch: Epoch,
        /// Which snapshot.
        manifest: Box<Manifest>,
        /// The daemon's key, sealed to this node.
        envelope: Option<Bytes>,
        /// How it would catch up.
        catch_up: CatchUp,
    },
    /// Forget a copy that was built.
    DropCopy {
        /// Which.
        copy: AttemptId,
    },
    /// Forget the daemon's key: it lives elsewhere.
    WipeKey,
    /// An output of this daemon goes to that one, by way of that one's seat on this node.
    Post {
        /// To whom.
        to: EntityId,
        /// Its number.
        number: u64,
        /// The output.
        event: CausalEvent,
    },
    /// This daemon left: its outputs to that one are sent from elsewhere.
    Recall {
        /// To whom they went.
        to: EntityId,
    },
    /// An output of that daemon was acknowledged by this one.
    Posted {
        /// Whose output.
        from: EntityId,
        /// Up to which number.
        number: u64,
    },
    /// The end of [`Input::Spawn`].
    Spawned {
        /// Whose question.
        ticket: Ticket,
        /// How it ended.
        result: Result<(), SpawnError>,
    },
    /// The end of [`Input::Deliver`].
    Delivered {
        /// Whose question.
        ticket: Ticket,
        /// How it ended.
        result: Result<Answer, DeliverError>,
    },
    /// The end of [`Input::Send`].
    Sent {
        /// Whose question.
        ticket: Ticket,
        /// How it ended.
        result: Result<Answer, SendError>,
    },
    /// The end of [`Input::Snapshot`].
    SnapshotTaken {
        /// Whose question.
        ticket: Ticket,
        /// How it ended.
        result: Result<Box<Manifest>, DeliverError>,
    },
    /// The end of [`Input::Stop`] or [`Input::Delete`].
    Stopped {
        /// Whose question.
        ticket: Ticket,
        /// How it ended.
        result: Result<(), DeliverError>,
    },
    /// The end of [`Input::Reclaim`].
    Reclaimed {
        /// Whose question.
        ticket: Ticket,
        /// How it ended.
        result: Result<(), ReclaimError>,
    },
    /// Something that people may want to see.
    Event(Event),
}

/// A snapshot to take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// Of which copy.
    pub copy: AttemptId,
    /// In which epoch.
    pub epoch: Epoch,
    /// Where the daemon stands.
    pub head: Head,
    /// Its dealings at that moment.
    pub ledger: Ledger,
}

/// One step of a replay.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReplayStep {
    /// Make this turn again.
    Turn(Turn),
    /// Lead the chain through this deed.
    Deed {
        /// The epoch that it begins.
        epoch: Epoch,
        /// Its digest.
        deed: Digest,
    },
}

/// What came of one turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Turned {
    /// Where the daemon then stood.
    pub head: Head,
    /// The link of its last output.
    pub last: Option<CausalLink>,
    /// What it answered.
    pub answer: Answer,
    /// What it put out for other daemons.
    pub sent: Vec<(EntityId, CausalEvent)>,
    /// Its next timer, by its own time.
    pub next_timer: Option<(Time, TimerId)>,
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Restored {
    /// The dealings that travelled with the snapshot.
    pub ledger: Ledger,
    /// Its next timer, by its own time.
    pub next_timer: Option<(Time, TimerId)>,
    /// How this kind catches up, as this node's factory says.
    pub catch_up: CatchUp,
    /// Whether it may come to live under another definition.
    pub evolves: bool,
}

/// Why a daemon cannot leave.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum Unprepared {
    /// Nothing changed; the daemon goes on as it is.
    #[error("{0}")]
    Refused(MigrationFailureReason),
    /// The daemon broke over it; what is left of it in memory must not be used.
    #[error(transparent)]
    Broke(TurnFailure),
}

/// Why a turn did not happen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum TurnFailure {
    /// The daemon panicked; what is left of it must not be used.
    #[error("the daemon panicked: {0}")]
    Panicked(String),
    /// There is no such copy in memory.
    #[error("the copy is not in memory")]
    NoCopy,
}

/// How a daemon is to be moved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MoveOptions {
    /// Whether its key travels. Default: it does.
    pub transport_identity: bool,
    /// How long a target that is not ready is asked again; none gives up at once. Default: 30 s.
    pub retry_not_ready: Option<Duration>,
    /// Freeze first and copy then, instead of the way of the kind. Default: no.
    pub freeze_and_copy: bool,
    /// What whoever asks agrees to, in a form of the daemon's kind: the daemon is told before
    /// anything else is done, and may decline. Default: nothing.
    pub terms: Option<Bytes>,
}

impl Default for MoveOptions {
    fn default() -> Self {
        Self {
            transport_identity: true,
            retry_not_ready: Some(Duration::from_secs(30)),
            freeze_and_copy: false,
            terms: None,
        }
    }
}

/// Why a daemon was not born.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// It is known already, here or elsewhere. Fault: caller. Changed: nothing. Again: no.
    #[error("the daemon exists or existed")]
    Exists,
    /// The store would not have it. Fault: surroundings. Changed: nothing that is honoured.
    /// Again: yes.
    #[error("could not save the birth: {0}")]
    Store(WriteError),
    /// The birth deed does not hold. Fault: caller. Changed: nothing. Again: no.
    #[error("the birth deed is not valid")]
    Deed,
}

/// Why a daemon was not taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum ReclaimError {
    /// Nothing was handed over here that was not acknowledged. Fault: caller. Changed: nothing. Again:
    /// at the node that `whimbrel ps` shows as *departed*.
    #[error("this node handed nothing over that is still unacknowledged")]
    NotDeparted,
    /// The heir has the daemon after all. Fault: caller. Changed: nothing. Again: no, move it.
    #[error("the heir has it")]
    Obeyed,
    /// Its record is being read, or somebody else asked. Changed: nothing. Again: later.
    #[error("it is being looked at")]
    Busy,
    /// The store would not have it. Fault: surroundings. Changed: as the cause says. Again: yes.
    #[error("could not save it: {0}")]
    Store(WriteError),
}

/// Why an event was not delivered to a daemon on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum DeliverError {
    /// It does not live here. Fault: caller. Changed: nothing. Again: at its owner.
    #[error("the daemon does not live here")]
    NotHere,
    /// It lives elsewhere now. Fault: nobody. Changed: nothing. Again: at its owner.
    #[error("the daemon moved to {0}")]
    Moved(NodeId),
    /// The queue is full or the daemon is just coming up. Changed: nothing. Again: later.
    #[error("the daemon is busy")]
    Busy,
    /// It cannot be run here. Fault: surroundings. Changed: nothing. Again: after the cause was
    /// seen to.
    #[error("the daemon cannot run: {0}")]
    NotRunnable(String),
    /// The store failed for certain. Fault: surroundings. Changed: nothing. Again: yes.
    #[error("could not save: {0}")]
    Store(String),
    /// Whether the event was taken is not known. Changed: perhaps.
    #[error("it is not known whether the event was taken")]
    OutcomeUnknown,
    /// The daemon was deleted. Fault: caller. Changed: nothing. Again: no.
    #[error("the daemon was deleted")]
    Deleted,
    /// The payload is longer than the limit. Fault: caller. Changed: nothing. Again: no.
    #[error("the payload is too large")]
    TooLarge,
    /// The daemon is stopped. Fault: caller. Changed: nothing. Again: after it was started.
    #[error("the daemon is stopped")]
    Stopped,
    /// A move is under way. Fault: nobody. Changed: nothing. Again: afterwards.
    #[error("the daemon is being moved")]
    Migrating,
}

/// Why an event did not reach its daemon for certain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum SendError {
    /// No member knows the daemon. Fault: caller. Changed: nothing. Again: no.
    #[error("no member knows the daemon")]
    NotFound,
    /// Too many events of this client wait. Fault: caller. Changed: nothing. Again: later.
    #[error("too many events wait for this daemon")]
    Busy,
    /// The session ended while the event was on its way. Changed: perhaps.
    #[error("the session ended; it is not known whether the event was taken")]
    SessionLost,
    /// The daemon was deleted. Changed: nothing. Again: no.
    #[error("the daemon was deleted")]
    Deleted,
    /// The payload is longer than the limit. Changed: nothing. Again: no.
    #[error("the payload is too large")]
    TooLarge,
    /// The receiver took another event under this number. Fault: caller. Changed: nothing.
    #[error("another event was taken under this number")]
    Forked,
    /// The receiver has forgotten what it acknowledged: its disk went back in time.
    #[error("the daemon has lost acknowledged events")]
    ReceiverRegressed,
}

/// Why a move ended without the daemon on the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[error("the daemon was not moved: {reason}")]
pub struct MoveError {
    /// The reason.
    pub reason: MigrationFailureReason,
}

/// Something that people may want to see. Nothing depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Event {
    /// A move that this node orchestrates entered a phase.
    Phase {
        /// Which attempt.
        attempt: AttemptId,
        /// Which phase.
        phase: MigrationPhase,
    },
    /// A move that this node orchestrates goes on.
    Progressed {
        /// Which attempt.
        attempt: AttemptId,
        /// The figures.
        progress: Progress,
    },
    /// A move that this node orchestrates was to be given up, and it is too late for that: it
    /// ends on the target.
    CancelRefused {
        /// The attempt that was asked for.
        attempt: AttemptId,
        /// Why: [`MigrationFailureReason::TooLate`].
        reason: MigrationFailureReason,
    },
    /// A move that this node orchestrates ended.
    MoveEnded {
        /// The attempt that was asked for.
        attempt: AttemptId,
        /// The new owner's deed, or why not.
        result: Result<Box<SignedDeed>, MoveError>,
    },
    /// The daemon froze here for a move.
    Frozen {
        /// For which attempt.
        attempt: AttemptId,
        /// Where.
        head: Head,
    },
    /// The daemon thawed here: the move failed.
    Thawed {
        /// Which attempt.
        attempt: AttemptId,
        /// Why.
        reason: MigrationFailureReason,
    },
    /// The daemon was handed over: the commit point.
    HandedOver {
        /// By which deed.
        deed: Box<SignedDeed>,
    },
    /// The daemon lives here.
    Live {
        /// In which epoch.
        epoch: Epoch,
        /// From where on.
        head: Head,
    },
    /// The state of a daemon that left was dropped here.
    Dropped {
        /// The epoch in which it left.
        epoch: Epoch,
    },
    /// Something is wrong and was dealt with.
    Warning(Warning),
}

/// Something is wrong and was dealt with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Warning {
    /// A message came from a node that does not play the role it needs. It was refused.
    WrongPeer {
        /// From whom.
        from: NodeId,
        /// Which attempt it named.
        attempt: AttemptId,
    },
    /// A deed that was heard does not hold. It was refused.
    BadDeed {
        /// From whom.
        from: NodeId,
    },
    /// Two valid deeds begin one epoch. Two births stop the daemon on both nodes.
    Conflict {
        /// The second deed.
        second: Box<SignedDeed>,
    },
    /// The daemon does not replay to the same state; it is moved by freeze-and-copy.
    Diverged {
        /// Which copy.
        copy: AttemptId,
    },
    /// The daemon panicked and was built anew; the event that it panicked on counts as taken.
    Panicked {
        /// What it said.
        message: String,
    },
    /// The owner holds the daemon and cannot run it.
    NotRunnable {
        /// Why.
        reason: String,
    },
    /// The store failed; unsaved turns were taken back, or the daemon waits until it can be read.
    Store {
        /// What it said.
        error: String,
    },
    /// The node that gave the daemon to this one took it back: what was taken in here since is lost.
    TakenBack {
        /// By the deed of this epoch.
        epoch: Epoch,
        /// How many turns were made here since.
        turns: u64,
    },
    /// The daemon would not become what the gate had let pass: it goes on as it was.
    NotAdopted {
        /// Why, as it says.
        reason: String,
    },
    /// This store is the heir of none: a deed names another data folder.
    LostTitle {
        /// The epoch of the deed.
        epoch: Epoch,
    },
}
