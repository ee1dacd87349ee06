//! Decides what an instance wants of the world: effects are data, and somebody else does them.

use std::sync::Arc;

use super::event::Event;
use super::kin::Kin;
use super::session::SessionId;
use crate::value::Value;

/// Something that an instance wants of the world.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// Something for people to read.
    Log {
        /// Which session says it.
        session: SessionId,
        /// What it is about.
        label: Option<Arc<str>>,
        /// What.
        value: Value,
    },
    /// An event for somebody outside of the instance.
    Send {
        /// Which session sends it.
        session: SessionId,
        /// To whom.
        to: Arc<str>,
        /// By which processor of the host.
        by: Option<Arc<str>>,
        /// The event.
        event: Event,
    },
    /// A child that is a daemon of its own is to be born: whoever hosts the instance gives it a name
    /// ([`Instance::name_unborn`](crate::Instance::name_unborn)) and bears it
    /// ([`Instance::unborn`](crate::Instance::unborn)).
    Bear {
        /// Which session spawns it.
        session: SessionId,
        /// The id by which that knows it.
        child: Arc<str>,
    },
    /// A letter to a child that is a daemon of its own, or to such a parent.
    Kin {
        /// To whom: an address of the host.
        to: Arc<str>,
        /// The letter.
        kin: Box<Kin>,
    },
    /// The instance has come to its end.
    Done {
        /// What it says.
        data: Value,
    },
}
