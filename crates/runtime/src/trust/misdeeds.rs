//! Decides which doings of other nodes are written down in the audit log: what was refused, and what was
//! nobody's business here. All of them were dealt with by others before.
//!
//! A message that comes late in an honest network looks like one that is repeated with ill intent, so a log
//! of an honest mesh is not empty; it is bounded by [`sightings`](super::sightings).

use std::fmt::Display;
use std::net::SocketAddr;

use whimbrel_protocol::Warning;
use whimbrel_wire::{
    AttemptId, EntityId, Message, MigrationFailureReason as Reason, MigrationMessage, NodeId,
};

use super::Trust;

/// A message of a move that another node said, for the case that it comes to nothing.
#[derive(Clone, Copy)]
pub(crate) struct Said {
    pub(crate) from: NodeId,
    pub(crate) attempt: AttemptId,
    word: &'static str,
}

impl Said {
    /// If it is one.
    pub(crate) const fn of(from: NodeId, message: &Message) -> Option<Self> {
        match message {
            Message::Migration(envelope) => {
                let word = word(&envelope.message);
                Some(Self { from, attempt: envelope.attempt, word })
            }
            Message::Delivery { .. } | Message::Title { .. } => None,
        }
    }
}

impl Trust {
    /// Bytes of a peer are no message.
    pub(crate) fn saw_frame(&self, from: NodeId, error: &impl Display) {
        self.saw(from.to_string(), "bad frame", None, error.to_string());
    }

    /// A peer broke the rules of the link, and its connection was closed.
    pub(crate) fn saw_fault(&self, from: NodeId, fault: &impl Display) {
        self.saw(from.to_string(), "link fault", None, fault.to_string());
    }

    /// Somebody who is no member, or does not behave like one, was not let in.
    pub(crate) fn saw_stranger(&self, from: SocketAddr, why: &str) {
        self.saw(from.ip().to_string(), "not let in", None, why.to_owned());
    }

    /// A guest proved its key, asked to be let in, and was refused. It is told apart by its address: keys cost
    /// nothing.
    pub(crate) fn saw_guest(&self, from: SocketAddr, node: NodeId, refusal: &impl Display) {
        self.saw(from.ip().to_string(), "guest refused", None, format!("{node}: {refusal}"));
    }

    /// A message came to nothing, and whoever said it takes no part in the attempt.
    pub(crate) fn saw_stray(&self, said: Said, entity: EntityId) {
        let Said { from, attempt, word } = said;
        let detail = format!("{word} of {attempt}, in which it takes no part");
        self.saw(from.to_string(), "stray message", Some(entity), detail);
    }

    /// A move is refused to a peer.
    pub(crate) fn saw_refusal(&self, to: NodeId, message: &Message) {
        if let Message::Migration(envelope) = message
            && let MigrationMessage::MigrationFailed { reason, .. } = &envelope.message
            && is_suspect(reason)
        {
            let detail = format!("{}: {reason}", envelope.attempt);
            self.saw(to.to_string(), "refused move", Some(envelope.entity), detail);
        }
    }

    /// A seat warns.
    pub(crate) fn saw_warning(&self, entity: EntityId, warning: &Warning) {
        let entity = Some(entity);
        match warning {
            Warning::WrongPeer { from, attempt } => {
                let detail = format!("{attempt}: the message needs a role that it does not play");
                self.saw(from.to_string(), "wrong peer", entity, detail);
            }
            Warning::BadDeed { from } => {
                let detail = "a deed that does not hold".to_owned();
                self.saw(from.to_string(), "bad deed", entity, detail);
            }
            Warning::Conflict { second } => {
                let (who, epoch) = (second.deed.from.node_id(), second.deed.epoch);
                self.saw(
                    who.to_string(),
                    "two deeds",
                    entity,
                    format!("a second one begins {epoch}"),
                );
            }
            Warning::LostTitle { .. }
            | Warning::TakenBack { .. }
            | Warning::Diverged { .. }
            | Warning::Panicked { .. }
            | Warning::NotRunnable { .. }
            | Warning::Store { .. }
            | _ => {}
        }
    }
}

/// Whether a move that is refused for this may have been asked for with ill intent.
const fn is_suspect(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::WrongPeer
            | Reason::StaleAttempt
            | Reason::NotOwner
            | Reason::UnknownNode
            | Reason::SameNode
            | Reason::IdentityTransportFailed(_)
            | Reason::SnapshotInvalid(_)
    )
}

const fn word(message: &MigrationMessage) -> &'static str {
    match message {
        MigrationMessage::TakeSnapshot { .. } => "TakeSnapshot",
        MigrationMessage::TakeSnapshotOnTerms { .. } => "TakeSnapshotOnTerms",
        MigrationMessage::SnapshotReady { .. } => "SnapshotReady",
        MigrationMessage::RestoreComplete { .. } => "RestoreComplete",
        MigrationMessage::ReplayComplete { .. } => "ReplayComplete",
        MigrationMessage::CutoverNotify { .. } => "CutoverNotify",
        MigrationMessage::CleanupComplete { .. } => "CleanupComplete",
        MigrationMessage::MigrationFailed { .. } => "MigrationFailed",
        MigrationMessage::BufferedEvents { .. } => "BufferedEvents",
        MigrationMessage::ActivateTarget { .. } => "ActivateTarget",
        MigrationMessage::ActivateAck { .. } => "ActivateAck",
        MigrationMessage::ChunksWanted { .. } => "ChunksWanted",
        MigrationMessage::Progressed { .. } => "Progressed",
        MigrationMessage::Cancel { .. } => "Cancel",
    }
}
