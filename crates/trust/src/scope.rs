//! Decides what a scope covers, and whether one lies within another.
//!
//! # Invariants
//!
//! * S1 (narrower): what lies within a scope covers no act that the scope does not cover.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use whimbrel_wire::{ChannelPattern, EntityId, NodeId, Permit};

use crate::act::{Act, Verb};
use crate::limits::LISTED_MAX;

/// Any, or those that are listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Among<T: Ord> {
    /// Any.
    Any,
    /// These and no others; from one to [`LISTED_MAX`].
    These(BTreeSet<T>),
}

/// What may be done, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Which acts. An act whose verb is not here is not covered.
    pub verbs: BTreeSet<Verb>,
    /// To which daemons; of a subscription the publisher is meant. What concerns no single daemon is
    /// covered by [`Among::Any`] alone.
    pub daemons: Among<EntityId>,
    /// On which channels. Acts that concern no channel are not restricted by it.
    pub channels: Among<ChannelPattern>,
    /// To which nodes daemons may be moved. Other acts are not restricted by it.
    pub nodes: Among<NodeId>,
    /// The second after which nothing is covered, since the Unix epoch, by the clock of the node that is
    /// asked.
    pub until: u64,
}

impl<T: Ord> Among<T> {
    /// Those, or any if none is listed.
    #[must_use]
    pub fn listed(listed: impl IntoIterator<Item = T>) -> Self {
        let listed: BTreeSet<T> = listed.into_iter().collect();
        if listed.is_empty() { Self::Any } else { Self::These(listed) }
    }

    fn has(&self, covers: impl Fn(&T) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::These(listed) => listed.iter().any(covers),
        }
    }

    fn is_within(&self, wider: &Self, covers: impl Fn(&T, &T) -> bool) -> bool {
        match (self, wider) {
            (_, Self::Any) => true,
            (Self::Any, Self::These(_)) => false,
            (Self::These(mine), Self::These(theirs)) => {
                mine.iter().all(|own| theirs.iter().any(|other| covers(other, own)))
            }
        }
    }

    /// Those that are listed; none for any.
    fn to_list(&self) -> Vec<T>
    where
        T: Clone,
    {
        match self {
            Self::Any => Vec::new(),
            Self::These(listed) => listed.iter().cloned().collect(),
        }
    }

    fn is_bounded(&self) -> bool {
        match self {
            Self::Any => true,
            Self::These(listed) => !listed.is_empty() && listed.len() <= LISTED_MAX,
        }
    }
}

impl Scope {
    /// Everything, until then.
    #[must_use]
    pub fn everything(until: u64) -> Self {
        Self {
            verbs: Verb::ALL.into(),
            daemons: Among::Any,
            channels: Among::Any,
            nodes: Among::Any,
            until,
        }
    }

    /// Whether it covers `act`, the time aside.
    #[must_use]
    pub fn covers(&self, act: &Act) -> bool {
        let daemon = match (&act.daemon, &self.daemons) {
            (None, daemons) => *daemons == Among::Any,
            (Some(daemon), daemons) => daemons.has(|listed| listed == daemon),
        };
        let channel = act.channel.as_ref();
        let node = act.node.as_ref();
        self.verbs.contains(&act.verb)
            && daemon
            && channel.is_none_or(|it| self.channels.has(|pattern| pattern.covers(it)))
            && node.is_none_or(|it| self.nodes.has(|listed| listed == it))
    }

    /// Whether all that it covers `wider` covers too.
    #[must_use]
    pub fn is_within(&self, wider: &Self) -> bool {
        let same = |one: &EntityId, other: &EntityId| one == other;
        self.verbs.is_subset(&wider.verbs)
            && self.daemons.is_within(&wider.daemons, same)
            && self.channels.is_within(&wider.channels, ChannelPattern::includes)
            && self.nodes.is_within(&wider.nodes, |one, other| one == other)
            && self.until <= wider.until
    }

    /// What a daemon that holds it may listen to; nothing if it does not say.
    #[must_use]
    pub fn permit(&self) -> Option<Permit> {
        self.verbs.contains(&Verb::Subscribe).then(|| Permit {
            publishers: self.daemons.to_list(),
            channels: self.channels.to_list(),
            until: self.until,
        })
    }

    /// Whether its lists are as long as they may be.
    pub(crate) fn is_bounded(&self) -> bool {
        self.daemons.is_bounded() && self.channels.is_bounded() && self.nodes.is_bounded()
    }
}
