//! Decides what a refusal says: what went wrong, whose fault it is, whether anything changed,
//! whether trying again can help, and what to do next.

use std::error::Error;
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use whimbrel_members::{Placement, RosterError};
use whimbrel_protocol::{DeliverError, ReclaimError, SendError, SpawnError};
use whimbrel_trust::TrustRefusal;
use whimbrel_wire::{MigrationFailureReason, WriteError};

use crate::error::{DaemonError, MigrationError};
use crate::permits::TokenError;
use crate::roster::LeaveError;
use crate::trust::TrustError;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct AdminFault {
    /// What, for programs.
    pub code: Code,
    /// What, for people.
    pub message: String,
    /// Whose fault it is.
    pub fault: Fault,
    /// What it changed.
    pub effect: Effect,
    /// Whether the same request can succeed.
    pub again: Again,
    /// What to do next.
    pub next: String,
    /// Why in full, in a form of the daemon's kind, if there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Box<Value>>,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Code {
    /// The request is no request.
    Malformed,
    /// The request has another version.
    Version,
    /// The request or its answer is longer than a line may be.
    TooLong,
    /// Too much is under way.
    Busy,
    /// No such daemon.
    UnknownDaemon,
    /// More than one such daemon.
    AmbiguousDaemon,
    /// No such node.
    UnknownNode,
    /// The node seems down, or does not answer.
    NodeDown,
    /// No factory for the kind.
    UnknownKind,
    /// The node may not do this with members, or it cannot be done.
    Membership,
    /// The daemon requires what the node does not offer.
    Unfit,
    /// The name is taken or cannot be one.
    Name,
    /// The daemon exists.
    Exists,
    /// The daemon lives on another node.
    Elsewhere,
    /// The daemon is stopped.
    Stopped,
    /// The daemon was deleted.
    Deleted,
    /// The daemon cannot run.
    NotRunnable,
    /// The daemon is being moved.
    Moving,
    /// No move is under way that was asked for here.
    NoMove,
    /// The move failed.
    MoveFailed,
    /// The target's definition would misread the daemon's state, or nobody agreed to what would become
    /// of it.
    Incompatible,
    /// The chain does not hold.
    Chain,
    /// The snapshot cannot be used.
    Snapshot,
    /// A file cannot be read or written.
    File,
    /// The store failed.
    Store,
    /// Whether an event was taken is not known.
    OutcomeUnknown,
    /// A token is demanded, or the one that was shown is not good for this.
    Forbidden,
    /// The audit log cannot be written.
    Audit,
    /// The node is starting or going down.
    NotReady,
    /// A bug of the node.
    Internal,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// Whoever asked.
    Caller,
    /// Another node.
    Peer,
    /// Disk, network, machine.
    Surroundings,
    /// The daemon.
    Daemon,
    /// The node that was asked: a bug.
    Node,
    /// Nobody.
    Nobody,
}

/// What it changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// Perhaps what was asked for.
    Perhaps,
}

/// Whether the same request can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Again {
    /// It can.
    Yes,
    /// After a while.
    Later,
    /// It cannot.
    No,
}

impl AdminFault {
    /// A refusal for which the caller is to blame and which changed nothing.
    pub(super) fn caller(code: Code, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            fault: Fault::Caller,
            effect: Effect::Nothing,
            again: Again::No,
            next: next.into(),
            report: None,
        }
    }

    pub(super) fn blaming(self, fault: Fault, again: Again) -> Self {
        Self { fault, again, ..self }
    }

    fn perhaps(self) -> Self {
        Self { effect: Effect::Perhaps, ..self }
    }
}

/// An error with everything beneath it, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            // A string takes everything that is written to it.
            let _ = write!(text, ": {said}");
        }
        cause = error.source();
    }
    text
}

impl From<DaemonError> for AdminFault {
    fn from(error: DaemonError) -> Self {
        let text = chain(&error);
        let caller = |code, next: &str| Self::caller(code, text.clone(), next);
        match error {
            DaemonError::NotReady => {
                caller(Code::NotReady, "wait until the node is ready: whimbrel nodes shows it")
                    .blaming(Fault::Nobody, Again::Later)
            }
            DaemonError::ShuttingDown => {
                caller(Code::NotReady, "ask another node, or start this one again")
                    .blaming(Fault::Nobody, Again::Later)
            }
            DaemonError::FactoryAlreadyRegistered(_) => {
                caller(Code::UnknownKind, "register each kind once")
            }
            DaemonError::FactoryNotFound(_) => caller(
                Code::UnknownKind,
                "use a kind that the node was built with: kv, tally and statechart are always there",
            ),
            DaemonError::HostsNone => {
                caller(Code::UnknownKind, "spawn it at a node that hosts daemons")
            }
            DaemonError::Unfit(_) => {
                caller(Code::Unfit, "spawn it at a node that offers what it requires")
            }
            DaemonError::Kind(_) => caller(Code::UnknownKind, "use a shorter name for the kind"),
            DaemonError::NotFound(_) | DaemonError::Unknown => unknown_daemon(text),
            DaemonError::Ambiguous(_) => {
                caller(Code::AmbiguousDaemon, "name the daemon by all 64 digits of its id")
            }
            DaemonError::SnapshotIdentityMismatch => {
                caller(Code::Snapshot, "give the seed file of the daemon that the snapshot is of")
            }
            DaemonError::Snapshot(_) | DaemonError::Build(_) => {
                caller(Code::Snapshot, "use a whole snapshot of a kind that this node has")
            }
            DaemonError::Given(_) => {
                caller(Code::Malformed, "give a newborn what its kind asks for, and nothing else")
            }
            DaemonError::Spawn(error) => spawn_failed(&error),
            DaemonError::Deliver(error) => deliver_failed(&error),
            DaemonError::Subscribe(_) => caller(
                Code::Elsewhere,
                "open the channel at its publisher, or let another one leave",
            ),
            DaemonError::Unsubscribed => caller(Code::Elsewhere, "subscribe again"),
            DaemonError::Declined(_) => caller(Code::Malformed, "send what the kind understands"),
            DaemonError::Send(error) => send_failed(&error),
            DaemonError::WouldBlock | DaemonError::Randomness => {
                caller(Code::Internal, "report this, with the log of the node")
                    .blaming(Fault::Node, Again::Yes)
            }
            DaemonError::UnknownNode(_) => {
                caller(Code::UnknownNode, "see whimbrel nodes for the members")
            }
            DaemonError::NodeDown(_) | DaemonError::Unanswered(_) => caller(
                Code::NodeDown,
                "start the node, or wait until whimbrel nodes shows it alive",
            )
            .blaming(Fault::Surroundings, Again::Later),
            DaemonError::OwnerUp(_) => owner_up(text),
            DaemonError::NoPlace(placement) => no_place(&placement),
            DaemonError::Store(_) => store_failed(text),
            DaemonError::Reclaim(error) => reclaim_failed(&error),
            DaemonError::Migration(reason) => Self::from(MigrationError::Failed(reason)),
            DaemonError::Trust(error) => Self::from(error),
            DaemonError::Token(error) => token_failed(&error),
        }
    }
}

impl From<TrustError> for AdminFault {
    fn from(error: TrustError) -> Self {
        let text = error.to_string();
        match error {
            TrustError::Refused(refusal) => Self::caller(
                Code::Forbidden,
                text,
                match refusal {
                    TrustRefusal::NoToken => "show a token: --token FILE, or WHIMBREL_TOKEN",
                    TrustRefusal::Expired { .. } | TrustRefusal::Revoked { .. } => {
                        "ask whoever has a root key for a new token"
                    }
                    TrustRefusal::NotCovered { .. } => {
                        "ask for a token that covers it; whimbrel token inspect shows what this one does"
                    }
                    TrustRefusal::TooLong
                    | TrustRefusal::Malformed
                    | TrustRefusal::UnknownRoot
                    | TrustRefusal::Forged { .. }
                    | TrustRefusal::Widened { .. }
                    | TrustRefusal::NotWhole
                    | _ => "see whimbrel token inspect; ask whoever gave it to you for a whole one",
                },
            ),
            TrustError::NotRecorded(_) | TrustError::NotRevoked(_) => {
                let next =
                    "look at the disk of the node: without an audit log nothing is administered";
                Self::caller(Code::Audit, text, next).blaming(Fault::Surroundings, Again::Later)
            }
            TrustError::EndNotRecorded(_) => {
                let next = "it was done; look at the disk of the node";
                Self::caller(Code::Audit, text, next)
                    .blaming(Fault::Surroundings, Again::No)
                    .perhaps()
            }
        }
    }
}

fn owner_up(text: String) -> AdminFault {
    let next = "move it with whimbrel migrate; bring it back only when its node is lost for good";
    AdminFault::caller(Code::Elsewhere, text, next)
}

fn token_failed(error: &TokenError) -> AdminFault {
    let text = chain(error);
    match error {
        TokenError::NotHere => {
            AdminFault::caller(Code::Elsewhere, text, "ask the node on which it runs")
        }
        TokenError::Moving => AdminFault::caller(Code::Busy, text, "ask again when it has moved")
            .blaming(Fault::Nobody, Again::Later),
        TokenError::TooMany(_) => {
            AdminFault::caller(Code::Malformed, text, "take one away first: whimbrel token take")
        }
        TokenError::NoSuch => {
            AdminFault::caller(Code::Malformed, text, "whimbrel token held shows what it holds")
        }
        TokenError::Store(_) => store_failed(text),
    }
}

fn no_place(placement: &Placement) -> AdminFault {
    let mut text = "no member suits the daemon".to_owned();
    for place in &placement.places {
        // A string takes everything that is written to it.
        let _ = write!(text, "; {}: {place}", place.node);
    }
    AdminFault::caller(Code::Unfit, text, "free or start a node, or name one with --to")
        .blaming(Fault::Surroundings, Again::Later)
}

impl From<RosterError> for AdminFault {
    fn from(error: RosterError) -> Self {
        let next = match error {
            RosterError::NoMesh => {
                "give the mesh an id: mesh = \"32 hexadecimal digits\" in the config of each of its nodes"
            }
            RosterError::NoInviter => {
                "ask a node that the configs name as inviter: inviters = [\"NAME\"]"
            }
            RosterError::NoMember => "see whimbrel nodes for the members",
            RosterError::Member => "nothing to do: it is a member",
            RosterError::Left | _ => "start it with a new folder, as a guest: whimbrel node --join",
        };
        Self::caller(Code::Membership, error.to_string(), next)
    }
}

impl From<LeaveError> for AdminFault {
    fn from(error: LeaveError) -> Self {
        let text = chain(&error);
        match error {
            LeaveError::Roster(error) => error.into(),
            LeaveError::Runtime(error) => (*error).into(),
            LeaveError::Unaware(_) => {
                let next =
                    "start those nodes, or expel the ones that will not come back; then again";
                Self::caller(Code::Membership, text, next)
                    .blaming(Fault::Surroundings, Again::Later)
            }
            LeaveError::Stays { .. } | LeaveError::Unsettled(_) => {
                let next = "see whimbrel ps; move it by hand, or ask again";
                Self::caller(Code::MoveFailed, text, next)
                    .blaming(Fault::Surroundings, Again::Yes)
                    .perhaps()
            }
            LeaveError::NotSaved(_) => store_failed(text).perhaps(),
        }
    }
}

fn unknown_daemon(text: String) -> AdminFault {
    AdminFault::caller(
        Code::UnknownDaemon,
        text,
        "see whimbrel ps, or ask the node on which it was spawned",
    )
}

fn store_failed(text: String) -> AdminFault {
    AdminFault::caller(Code::Store, text, "look at the disk of the node (space, rights, log)")
        .blaming(Fault::Surroundings, Again::Yes)
}

fn spawn_failed(error: &SpawnError) -> AdminFault {
    let text = error.to_string();
    match error {
        SpawnError::Exists => AdminFault::caller(
            Code::Exists,
            text,
            "see whimbrel ps; spawn without a seed file for a new daemon",
        ),
        SpawnError::Store(_) => store_failed(text),
        SpawnError::Deed => internal(text),
        _ => internal(text),
    }
}

fn reclaim_failed(error: &ReclaimError) -> AdminFault {
    let text = error.to_string();
    match error {
        ReclaimError::NotDeparted => AdminFault::caller(
            Code::Elsewhere,
            text,
            "ask the node that handed it over last: whimbrel ps shows it as departed there",
        ),
        ReclaimError::Obeyed => {
            AdminFault::caller(Code::Elsewhere, text, "move it back with whimbrel migrate")
        }
        ReclaimError::Busy => busy(text),
        ReclaimError::Store(WriteError::Unknown(_)) => store_failed(text).perhaps(),
        ReclaimError::Store(_) => store_failed(text),
        _ => internal(text),
    }
}

fn internal(text: String) -> AdminFault {
    AdminFault::caller(Code::Internal, text, "report this, with the log of the node")
        .blaming(Fault::Node, Again::No)
}

fn busy(text: String) -> AdminFault {
    AdminFault::caller(Code::Busy, text, "try again in a moment, or send more slowly")
        .blaming(Fault::Nobody, Again::Later)
}

fn too_large(text: String) -> AdminFault {
    AdminFault::caller(Code::TooLong, text, "send at most 512 KiB in one event")
}

fn deleted(text: String) -> AdminFault {
    AdminFault::caller(Code::Deleted, text, "it is gone for good: spawn a new one")
}

fn unknown_outcome(text: String) -> AdminFault {
    let next = "ask the daemon whether it took the event before you send it again";
    AdminFault::caller(Code::OutcomeUnknown, text, next)
        .blaming(Fault::Surroundings, Again::No)
        .perhaps()
}

fn deliver_failed(error: &DeliverError) -> AdminFault {
    let text = error.to_string();
    match error {
        DeliverError::NotHere | DeliverError::Moved(_) => AdminFault::caller(
            Code::Elsewhere,
            text,
            "ask the node where it lives: whimbrel ps shows it",
        ),
        DeliverError::Busy => busy(text),
        DeliverError::NotRunnable(_) => {
            AdminFault::caller(Code::NotRunnable, text, "move it to a node that has its kind")
                .blaming(Fault::Surroundings, Again::No)
        }
        DeliverError::Store(_) => store_failed(text),
        DeliverError::OutcomeUnknown => unknown_outcome(text),
        DeliverError::Deleted => deleted(text),
        DeliverError::TooLarge => too_large(text),
        DeliverError::Stopped => {
            AdminFault::caller(Code::Stopped, text, "start the node again to start the daemon")
        }
        DeliverError::Migrating => {
            AdminFault::caller(Code::Moving, text, "wait for the move to end, or cancel it")
                .blaming(Fault::Nobody, Again::Later)
        }
        _ => internal(text),
    }
}

fn send_failed(error: &SendError) -> AdminFault {
    let text = error.to_string();
    match error {
        SendError::NotFound => unknown_daemon(text),
        SendError::Busy => busy(text),
        SendError::SessionLost | SendError::Forked => unknown_outcome(text),
        SendError::Deleted => deleted(text),
        SendError::TooLarge => too_large(text),
        SendError::ReceiverRegressed => AdminFault::caller(
            Code::Store,
            text,
            "a data folder was restored from an old copy: put the newest one back",
        )
        .blaming(Fault::Peer, Again::No)
        .perhaps(),
        _ => internal(text),
    }
}

impl From<MigrationError> for AdminFault {
    fn from(error: MigrationError) -> Self {
        let text = error.to_string();
        match error {
            MigrationError::Failed(reason) => move_failed(text, &reason),
            MigrationError::StillRunning => {
                Self::caller(Code::Moving, text, "wait, or cancel the move")
                    .blaming(Fault::Nobody, Again::Later)
            }
            MigrationError::OrchestratorGone => {
                let next = "the move ends by itself: whimbrel ps shows where the daemon lives";
                Self::caller(Code::NotReady, text, next)
                    .blaming(Fault::Surroundings, Again::Later)
                    .perhaps()
            }
        }
    }
}

fn move_failed(text: String, reason: &MigrationFailureReason) -> AdminFault {
    use MigrationFailureReason as Reason;
    let (fault, next) = match reason {
        Reason::NotReady | Reason::NotReadyTimeout { .. } => {
            (Fault::Surroundings, "see whether source and target run, then move again")
        }
        Reason::FactoryNotFound | Reason::ComputeNotSupported | Reason::Incompatible(_) => {
            (Fault::Caller, "choose a target that has the kind")
        }
        Reason::VersionNotRead { .. } => {
            (Fault::Caller, "choose a target whose build reads that format")
        }
        Reason::IncompatibleMigration { .. } => (
            Fault::Caller,
            "see the report: give a plan with --plan, or agree to rules with --consent",
        ),
        Reason::CapacityExceeded => (Fault::Surroundings, "choose another target, or move later"),
        Reason::AlreadyMigrating => (Fault::Caller, "wait for the other move, or cancel it"),
        Reason::IdentityTransportFailed(_) => {
            (Fault::Caller, "move without --no-identity, or give the target the key first")
        }
        Reason::NotOwner | Reason::StaleAttempt => {
            (Fault::Nobody, "see whimbrel ps for where it lives, then move again")
        }
        Reason::CouldNotCatchUp => (Fault::Surroundings, "move at a quieter time"),
        Reason::TimedOut | Reason::ShuttingDown => {
            (Fault::Surroundings, "see whether source and target run, then move again")
        }
        Reason::Cancelled => (Fault::Nobody, "move again whenever you like"),
        Reason::TooLate => (Fault::Nobody, "move it back instead"),
        Reason::SameNode => (Fault::Caller, "nothing to do: it is there"),
        Reason::UnknownNode => (Fault::Caller, "see whimbrel nodes for the members"),
        Reason::StoreFailed(_) => (Fault::Surroundings, "look at the disks of both nodes"),
        Reason::Diverged => (Fault::Daemon, "move again with --freeze-and-copy"),
        Reason::StateFailed(_) | Reason::SnapshotInvalid(_) => {
            (Fault::Peer, "move again; if it fails again, look at the logs of both nodes")
        }
        Reason::WrongPeer => (Fault::Peer, "look at the logs of both nodes"),
        _ => (Fault::Node, "report this, with the logs of both nodes"),
    };
    let again = if reason.is_retriable() { Again::Yes } else { Again::No };
    let (code, report) = if let Reason::IncompatibleMigration { report, .. } = reason {
        (Code::Incompatible, serde_json::from_slice(report).ok().map(Box::new))
    } else if *reason == Reason::AlreadyMigrating {
        (Code::Moving, None)
    } else {
        (Code::MoveFailed, None)
    };
    let fault = AdminFault::caller(code, text, next).blaming(fault, again);
    AdminFault { report, ..fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_what_to_do_next() {
        let faults = [
            AdminFault::from(DaemonError::Unknown),
            AdminFault::from(DaemonError::Send(SendError::Busy)),
            AdminFault::from(DaemonError::Deliver(DeliverError::Stopped)),
            AdminFault::from(DaemonError::Spawn(SpawnError::Exists)),
            AdminFault::from(MigrationError::OrchestratorGone),
            AdminFault::from(MigrationError::Failed(MigrationFailureReason::SameNode)),
        ];
        for fault in faults {
            assert!(!fault.next.is_empty() && !fault.message.is_empty(), "{fault:?}");
            let line = serde_json::to_string(&fault).unwrap();
            assert_eq!(serde_json::from_str::<AdminFault>(&line).unwrap(), fault);
        }
    }

    #[test]
    fn a_busy_daemon_changed_nothing_and_a_lost_session_may_have() {
        let busy = AdminFault::from(DaemonError::Send(SendError::Busy));
        assert_eq!((busy.effect, busy.again), (Effect::Nothing, Again::Later));
        let lost = AdminFault::from(DaemonError::Send(SendError::SessionLost));
        assert_eq!((lost.effect, lost.again), (Effect::Perhaps, Again::No));
    }
}
