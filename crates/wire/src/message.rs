//! Decides what one frame between two nodes says.

use serde::{Deserialize, Serialize};

use crate::deed::SignedDeed;
use crate::delivery::DeliveryMessage;
use crate::id::{AttemptId, EntityId, Epoch};
use crate::migration::MigrationMessage;

/// Anything that a node says to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "it lives for one step; a box would cost more")]
pub enum Message {
    /// About a move.
    Migration(MigrationEnvelope),
    /// About an event for a daemon.
    Delivery {
        /// Which daemon.
        entity: EntityId,
        /// What is said.
        message: DeliveryMessage,
    },
    /// About who owns a daemon.
    Title {
        /// Which daemon.
        entity: EntityId,
        /// What is said.
        message: TitleMessage,
    },
}

/// A message of a move with what every one of them names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MigrationEnvelope {
    /// Which daemon: all 32 bytes.
    pub entity: EntityId,
    /// Which attempt.
    pub attempt: AttemptId,
    /// The epoch that the attempt would end.
    pub epoch: Epoch,
    /// The role that the sender plays.
    pub role: Role,
    /// What is said.
    pub message: MigrationMessage,
}

/// The roles of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Owns the daemon when the attempt starts.
    Source,
    /// Is to own it.
    Target,
    /// Asked for the move.
    Orchestrator,
}

/// Questions and answers about titles.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TitleMessage {
    /// What do you know of its title after this epoch, and of this attempt?
    DeedAsked {
        /// Deeds up to this epoch are known here; zero when none is.
        after: Epoch,
        /// The attempt of which a copy waits here, if any.
        attempt: Option<AttemptId>,
    },
    /// This.
    DeedAnswered {
        /// The question's `after`, so that an answer to an old question is recognised.
        after: Epoch,
        /// Deeds in order, from `after + 1`; at most
        /// [`DEEDS_PER_MESSAGE_MAX`](crate::limits::DEEDS_PER_MESSAGE_MAX).
        deeds: Vec<SignedDeed>,
        /// The question's attempt, and whether it is still open here.
        attempt: Option<(AttemptId, bool)>,
    },
}

impl Message {
    /// The daemon that it is about.
    #[must_use]
    pub const fn entity(&self) -> EntityId {
        match self {
            Self::Migration(envelope) => envelope.entity,
            Self::Delivery { entity, .. } | Self::Title { entity, .. } => *entity,
        }
    }
}
