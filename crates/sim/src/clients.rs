//! Decides what clients and callers do: each numbers its events, keeps a few under way, and
//! believes what it is told.
//!
//! A client lives on a node and dies with it: its session is gone, and what it was told stays true.

use std::collections::BTreeMap;

use whimbrel_protocol::Ticket;
use whimbrel_wire::{ClientId, EntityId};

/// Authors from here on are callers that deliver on the owner's node.
pub(crate) const AUTHOR_HOSTS: u64 = 1 << 16;

/// One client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) author: u64,
    pub(crate) node: usize,
    pub(crate) life: u64,
    pub(crate) entity: EntityId,
    pub(crate) next: u64,
    /// How many more it will send.
    pub(crate) left: u64,
    pub(crate) under_way: BTreeMap<Ticket, u64>,
    pub(crate) window: usize,
    /// Its window is full: it goes on when it is told of an event.
    pub(crate) waits: bool,
    /// Nanoseconds between two events.
    pub(crate) rest: u64,
    pub(crate) taken: u64,
}

/// Who asked under a ticket.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asker {
    Spawner,
    /// A node that shuts down, or whoever stops or deletes a daemon.
    Stopper(usize),
    /// Whoever takes a snapshot of a daemon that lives on this node.
    Exporter(usize),
    Client(usize),
    /// Somebody on a node, in one life of it.
    Caller {
        node: usize,
        life: u64,
        entity: EntityId,
        author: u64,
        number: u64,
    },
}
