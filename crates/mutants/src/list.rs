//! Decides which bugs there are. Each puts back what a rule of the protocol (`docs/protocol.md`) or a check
//! of the store prevents. Where a second guard would make a bug harmless, the bug takes that guard away too
//! and says so.

/// Where a bug is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// In what is decided, and in what the store refuses.
    Protocol,
    /// In how writes become durable.
    Disk,
}

macro_rules! mutants {
    ($($variant:ident $name:literal $part:ident $rule:literal $about:literal)*) => {
        /// One deliberate bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $(#[doc = $about] $variant,)*
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// What it is called.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Where it is.
            #[must_use]
            pub const fn part(self) -> Part {
                match self { $(Self::$variant => Part::$part,)* }
            }

            /// The rule that it breaks: a number of the protocol's page, or the short name of an invariant.
            #[must_use]
            pub const fn rule(self) -> &'static str {
                match self { $(Self::$variant => $rule,)* }
            }

            /// What goes wrong.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)* }
            }
        }
    };
}

mutants! {
    EarlyVote "early-vote" Protocol "1"
        "the source takes any vote for the final one"
    ActivateUnvoted "activate-unvoted" Protocol "1"
        "a deed makes a copy live that stands anywhere; the store takes it too"
    CommitUnasked "commit-unasked" Protocol "1"
        "the source hands over before the orchestrator asked for the cut-over"
    SentUnsaved "sent-unsaved" Protocol "1"
        "the hand-over is sent before it is saved"
    LiveAtTheVote "live-at-the-vote" Protocol "1"
        "the target goes live with its final vote, before the hand-over"
    TombstonesIgnored "tombstones-ignored" Protocol "2"
        "offers below the newest epoch are taken; the store takes such a copy too"
    AnyAck "any-ack" Protocol "3"
        "an acknowledgement of any deed drops the state"
    AckBeforeAccept "ack-before-accept" Protocol "4"
        "a deed is acknowledged before it is saved"
    OldEpochAccepted "old-epoch-accepted" Protocol "4"
        "an owner that hears of a later epoch goes on in its own, and its store takes the turns"
    DeedUnverified "deed-unverified" Protocol "4"
        "a deed is believed without its signature"
    StateDroppedEarly "state-dropped-early" Protocol "5"
        "the source drops the state before the acknowledgement"
    AnyoneEnds "anyone-ends" Protocol "5"
        "anybody's word ends a copy that has voted"
    CopyTimesOut "copy-times-out" Protocol "5"
        "a copy that has voted is thrown away after a silence; the source does not send it again"
    CancelledInCommit "cancelled-in-commit" Protocol "5"
        "a move is given up while its hand-over is being saved"
    AttemptRestarts "attempt-restarts" Protocol "6"
        "an attempt that was begun before, or is of another epoch, begins again"
    AttemptUnsaved "attempt-unsaved" Protocol "6"
        "an attempt begins without being saved"
    UnknownIsRefused "unknown-is-refused" Protocol "7"
        "a hand-over of which nobody knows whether it was saved thaws"
    UnknownIsLost "unknown-is-lost" Protocol "7"
        "turns of which nobody knows whether they were saved are said to be refused"
    RestAnswersUnsaved "rest-answers-unsaved" Protocol "O1"
        "a delivery to a daemon at rest is answered well although its turn could not be saved"
    FreezeUnsettled "freeze-unsettled" Protocol "8"
        "a freeze waits neither for the turn that runs nor for turns that are unsaved"
    ServesFrozen "serves-frozen" Protocol "8"
        "a frozen daemon takes turns"
    NeverAsks "never-asks" Protocol "9"
        "a copy without news waits for ever"
    AnyStore "any-store" Protocol "10"
        "a deed for a store that was lost is obeyed by the new one"
    TakenBackUnasked "taken-back-unasked" Protocol "10"
        "a daemon is taken back without asking the heir"
    StateDigestIgnored "state-digest-ignored" Protocol "13"
        "the state of the copy is not compared"
    GateIgnored "gate-ignored" Protocol "11"
        "the gate of the daemon is not asked on the target"
    AnsweredBeforeSnapshot "answered-before-snapshot" Protocol "13"
        "a kind that does not replay is answered before a snapshot has the turn"
    DeedNotFolded "deed-not-folded" Protocol "18"
        "the chain does not go through the deed"
    AlarmDropped "alarm-dropped" Protocol "D2 of statecharts"
        "a hosted statechart sets no timer of its host"
    HalfSteps "half-steps" Protocol "D1 of statecharts"
        "a step of a hosted statechart that does not end is not taken back"
    TimerRestarted "timer-restarted" Protocol "14"
        "after a move a timer runs again in full"
    AsksNobody "asks-nobody" Protocol "15"
        "a node that starts does not ask the members what they know"
    GapsAccepted "gaps-accepted" Protocol "16"
        "a number after a gap is taken"
    MarksIgnored "marks-ignored" Protocol "16"
        "a number below the mark is taken"
    RepeatsTaken "repeats-taken" Protocol "16"
        "the last number is taken again"
    MarksLeftBehind "marks-left-behind" Protocol "16"
        "snapshots have no marks, and a sender without one is taken at its word"
    HeldAcked "held-acked" Protocol "17"
        "held events are acknowledged by the source"
    HeldDropped "held-dropped" Protocol "17"
        "events that were held are dropped when the move is given up"
    BufferingUnwired "buffering-unwired" Protocol "1"
        "what came after the snapshot is not sent to the target, and nobody compares heads"
    OutboxLeftBehind "outbox-left-behind" Protocol "18"
        "snapshots have no outbox"
    OutboxNotResent "outbox-not-resent" Protocol "18"
        "outputs that nobody acknowledged are not sent again after a start or a move"
    LettersRenumbered "letters-renumbered" Protocol "18"
        "a sender begins a new session when the owner changes, and sends everything again in it"
    LetterDropped "letter-dropped" Protocol "C1"
        "a redirected event is forgotten by its sender"
    AckedUnsaved "acked-unsaved" Protocol "O1"
        "a turn is answered before it is saved"
    RepeatAnsweredEarly "repeat-answered-early" Protocol "O1"
        "a repeat is answered although its turn is not saved yet"
    TurnForgotten "turn-forgotten" Protocol "O1"
        "an event whose turn runs when what is in memory is given up is forgotten"
    TakenBackAnswered "taken-back-answered" Protocol "O1"
        "turns that the disk does not have are answered with later ones"
    AnyPeer "any-peer" Protocol "Q1"
        "any member plays any role of a move"
    TwoMovesAtOnce "two-moves-at-once" Protocol "6"
        "a second move begins while one is under way"
    SnapshotsMixed "snapshots-mixed" Protocol "A3"
        "pieces are taken from any snapshot of any attempt; the store takes them, and the state is not compared then"
    SnapshotFailedGoesOn "snapshot-failed-goes-on" Protocol "S1"
        "a move or an owner goes on with a snapshot that failed, as if it were done; the state is not compared then"
    PublishedUnsaved "published-unsaved" Protocol "S1"
        "a snapshot is published beyond the journal; the store takes it too"
    LateCaptures "late-captures" Protocol "S2"
        "a capture of turns that were taken back is published"
    KeyStays "key-stays" Protocol "3"
        "the source keeps the key of a daemon that has left"
    RosterLeftBehind "roster-left-behind" Protocol "C2"
        "snapshots do not say who listens"
    LedgerLeftBehind "ledger-left-behind" Protocol "C1"
        "snapshots do not say to what a daemon listens"
    OldAnswersBelieved "old-answers-believed" Protocol "C1"
        "an answer to an earlier subscription is taken for one to the present"
    WindowInNumbers "window-in-numbers" Protocol "C3"
        "what is under way is reckoned by numbers, those that were left out included"

    CommitUnsynced "commit-unsynced" Disk "S2"
        "a commit does not wait for the disk"
    UnsyncedChunks "unsynced-chunks" Disk "S2"
        "chunks do not wait for the disk"
    RemovalUnsynced "removal-unsynced" Disk "S2"
        "the removal of a journal file does not wait for the disk"
    LogTrusted "log-trusted" Disk "S2"
        "what a crash left in the log is not made durable before it is believed"
    UnknownIsDone "unknown-is-done" Disk "S3"
        "a commit of unknown outcome is said to be done"
    FailedUnchecked "failed-unchecked" Disk "S3"
        "a commit that failed is said not to have happened, without looking"
    HoldsIgnored "holds-ignored" Disk "S5"
        "chunks that are in use are collected"
    PointersUnchecked "pointers-unchecked" Disk "S5"
        "a manifest is taken whose chunks are not there"
    LitterStruckEarly "litter-struck-early" Disk "S5"
        "the note of turns to be tidied is struck before they are gone"
    LitterUnnoted "litter-unnoted" Disk "S5"
        "turns that are not wanted are not noted and stay for ever"
}
