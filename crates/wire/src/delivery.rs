//! Decides what senders and owners of daemons say to each other.

use serde::{Deserialize, Serialize};

use crate::deed::SignedDeed;
use crate::id::{ClientId, Epoch, NodeId, Position};
use crate::link::CausalEvent;
use crate::turn::{Answer, Sender};

/// The messages of delivery. Each names its daemon in the [`Message`](crate::Message) around it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DeliveryMessage {
    /// Sender → owner: grant this client a session.
    OpenSession {
        /// Which client.
        client: ClientId,
        /// The node that wants the answer.
        reply_to: NodeId,
    },
    /// Owner → sender: granted and durable.
    SessionOpened {
        /// Which client.
        client: ClientId,
        /// Where in the journal: the name of the session.
        session: Position,
    },
    /// Sender → owner: take this event.
    Deliver {
        /// From whom.
        sender: Sender,
        /// Which of this sender's events for this daemon; the first is 1.
        number: u64,
        /// Every answer up to this number has been seen.
        answered: u64,
        /// The event.
        event: CausalEvent,
        /// The node that wants the answer.
        reply_to: NodeId,
        /// The epoch in which the sender believes the daemon to be.
        epoch: Epoch,
    },
    /// Owner → sender: the event is in the daemon's state for ever.
    Delivered {
        /// From whom it came.
        sender: Sender,
        /// Which event.
        number: u64,
        /// What the daemon answered in that turn.
        answer: Answer,
        /// The newest deed, when the sender believed in an older epoch.
        deed: Option<Box<SignedDeed>>,
    },
    /// Owner or stranger → sender: the event was not taken, and why.
    Refused {
        /// From whom it came.
        sender: Sender,
        /// Which event.
        number: u64,
        /// Why.
        refusal: Refusal,
    },
    /// Owner or stranger → sender: no session, and why.
    SessionRefused {
        /// Which client.
        client: ClientId,
        /// Why.
        refusal: Refusal,
    },
}

/// Why an event was not taken. Nothing changed; the sender decides what to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// The queue is full, or the owner is not live yet: send it again later.
    Busy,
    /// Numbers must follow each other: this one comes next.
    Expected(u64),
    /// The session is unknown: it expired or was never granted.
    UnknownSession,
    /// Another node owns the daemon, by this deed.
    Moved(Box<SignedDeed>),
    /// This node knows nothing of the daemon.
    NotHere,
    /// The daemon was deleted.
    Deleted,
    /// The payload is longer than the limit.
    TooLarge,
    /// The event differs from the one that was taken in under this number.
    Forked,
    /// The owner holds the daemon and cannot run it: its factory is missing or it crashed.
    NotRunnable,
}
