//! Decides how a move looks to whoever watches where the daemon is: at one place, at two, at one again.
//!
//! This is a view and decides nothing: which copy acts is decided by deeds alone. A daemon in *superposition* has a
//! copy at the target that follows, and one at the source that serves.
//!
//! # States
//!
//! ```text
//! Localized ─▶ Spreading ─▶ Superposed ─▶ ReadyToCollapse ─▶ Collapsed ─▶ Resolved
//!     ▲            │             │               │
//!     └────────────┴─────────────┴───────────────┘ the move failed, or begins anew
//! ```

use whimbrel_protocol::Event;
use whimbrel_wire::{
    AttemptId, Digest, EntityId, Head, MigrationMessage, MigrationPhase, NodeId, SignedDeed,
};

/// Where a daemon is in a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SuperpositionPhase {
    /// At the source alone.
    Localized,
    /// Its state is on its way.
    Spreading,
    /// The target has a copy that follows.
    Superposed,
    /// The copy is to take over: the source freezes.
    ReadyToCollapse,
    /// The deed is signed and durable: the daemon is the target's.
    Collapsed,
    /// It lives at the target, and nobody else holds it to be otherwise.
    Resolved,
}

/// A daemon in a move, as the node that orchestrates it sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuperpositionState {
    /// Which daemon.
    pub entity: EntityId,
    /// The attempt that was asked for.
    pub attempt: AttemptId,
    /// Where it is.
    pub phase: SuperpositionPhase,
    /// Who gives it, once that is known for certain: from the deed on.
    pub source: Option<NodeId>,
    /// Where it is to go.
    pub target: NodeId,
    /// Where the source stood when it was frozen: from the deed on.
    pub source_head: Option<Head>,
    /// Where the target stands, by its own word; from the deed on where its chain goes on, by the deed.
    pub target_head: Option<Head>,
    /// Turns that the target lacks, as far as known.
    pub replay_gap: u64,
    /// The deed.
    pub deed: Option<Digest>,
}

impl SuperpositionState {
    pub(crate) const fn new(entity: EntityId, attempt: AttemptId, target: NodeId) -> Self {
        Self {
            entity,
            attempt,
            phase: SuperpositionPhase::Localized,
            source: None,
            target,
            source_head: None,
            target_head: None,
            replay_gap: 0,
            deed: None,
        }
    }

    /// Takes note of what the machine says about this move.
    pub(crate) fn hear(&mut self, event: &Event) {
        match event {
            Event::Phase { phase, .. } => self.enter(*phase),
            Event::Progressed { progress, .. } => self.replay_gap = progress.lag,
            Event::MoveEnded { result: Ok(deed), .. } => {
                self.collapse(deed);
                self.phase = SuperpositionPhase::Resolved;
            }
            Event::MoveEnded { result: Err(_), .. } => self.fall_back(),
            Event::CancelRefused { .. }
            | Event::Frozen { .. }
            | Event::Thawed { .. }
            | Event::HandedOver { .. }
            | Event::Live { .. }
            | Event::Dropped { .. }
            | Event::Warning(_)
            | _ => {}
        }
    }

    /// Takes note of what the target said. A machine may not believe it; this is what was said. True if it was
    /// news.
    pub(crate) fn listen(&mut self, from: NodeId, message: &MigrationMessage) -> bool {
        let head = match message {
            MigrationMessage::RestoreComplete { head, .. }
            | MigrationMessage::ReplayComplete { head, .. } => *head,
            MigrationMessage::TakeSnapshot { .. }
            | MigrationMessage::SnapshotReady { .. }
            | MigrationMessage::CutoverNotify { .. }
            | MigrationMessage::CleanupComplete { .. }
            | MigrationMessage::MigrationFailed { .. }
            | MigrationMessage::BufferedEvents { .. }
            | MigrationMessage::ActivateTarget { .. }
            | MigrationMessage::ActivateAck { .. }
            | MigrationMessage::ChunksWanted { .. }
            | MigrationMessage::Progressed { .. }
            | MigrationMessage::TakeSnapshotOnTerms { .. }
            | MigrationMessage::Cancel { .. } => return false,
        };
        let is_his = from == self.target && self.deed.is_none();
        is_his && self.target_head.replace(head) != Some(head)
    }

    fn enter(&mut self, phase: MigrationPhase) {
        let entered = match phase {
            MigrationPhase::Snapshot => return self.fall_back(),
            MigrationPhase::Transfer | MigrationPhase::Restore => SuperpositionPhase::Spreading,
            MigrationPhase::Replay => SuperpositionPhase::Superposed,
            MigrationPhase::Cutover => SuperpositionPhase::ReadyToCollapse,
            MigrationPhase::Complete => SuperpositionPhase::Collapsed,
        };
        self.phase = self.phase.max(entered);
    }

    /// The deed says where the source stood and where the chain goes on.
    fn collapse(&mut self, signed: &SignedDeed) {
        let deed = &signed.deed;
        self.source = Some(deed.from.node_id());
        self.source_head = Some(deed.head);
        self.target_head = Some(deed.head.through_deed(&signed.digest()));
        self.replay_gap = 0;
        self.deed = Some(signed.digest());
    }

    fn fall_back(&mut self) {
        *self = Self::new(self.entity, self.attempt, self.target);
    }
}

impl SuperpositionPhase {
    /// Its name, in one lower-case word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Localized => "localized",
            Self::Spreading => "spreading",
            Self::Superposed => "superposed",
            Self::ReadyToCollapse => "ready-to-collapse",
            Self::Collapsed => "collapsed",
            Self::Resolved => "resolved",
        }
    }
}
