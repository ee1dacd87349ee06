//! Decides who seems up: SWIM, by the crate `foca`, as a machine without clock, socket or chance of its own.
//!
//! It is given the list of members and never talks to or about anybody else. What it says is a hint, for people
//! and for choosing targets: it decides nothing about daemons.
//!
//! # States
//!
//! ```text
//!              heard of                 a probe failed
//!   Unheard ─────────────▶ Alive ◀────────────────────▶ Suspect
//!      │ quiet_max            ▲     heard of               │ suspect_max
//!      └──────────▶ Down ─────┘◀───────────────────────────┘
//!                        heard of, as a later run
//! ```
//!
//! # Invariants
//!
//! * D1 (members only): nothing is sent to or kept of a node that is not on the list.
//! * D2 (own news): a packet counts only if its sender is the node that it came from.
//!
//! # Limits
//!
//! * [`DetectorSettings`] holds every wait; packets are at most `packet_bytes_max` long.
//! * A node whose clock went back between two runs seems down until its former run is forgotten
//!   (`forget_after`).

mod gossip;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use foca::{AccumulatingRuntime, Foca, State, Timer};
use whimbrel_wire::{NodeId, Time};

use self::gossip::{Dice, Known, Peer, Reports, Words, lock};
pub use self::settings::DetectorSettings;
use crate::report::{Report, SignedReport};

/// How a member seems to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Seems {
    /// Nothing was heard of it yet.
    Unheard,
    /// It answers.
    Alive,
    /// It did not answer, to this node or to another one.
    Suspect,
    /// It has not answered for some time, or said that it stops.
    Down,
}

/// What is known of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// How it seems to be.
    pub seems: Seems,
    /// Since when.
    pub since: Time,
    /// What it last said of itself.
    pub report: Option<Report>,
}

/// What happens to a detector.
#[derive(Clone, Debug)]
pub enum Input {
    /// The members, without this node.
    Members(BTreeSet<NodeId>),
    /// A packet came from a member.
    Heard {
        /// From whom, as the link knows.
        from: NodeId,
        /// The packet.
        packet: Bytes,
    },
    /// A link to a member has come up.
    LinkUp(NodeId),
    /// This node says something new of itself.
    Report(Box<SignedReport>),
    /// Time has passed.
    Woke,
    /// This node stops: the others are told that it is down.
    Stop,
}

/// What a detector wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this packet. It may get lost.
    Send {
        /// To whom.
        to: NodeId,
        /// The packet.
        packet: Bytes,
    },
    /// A member seems different.
    Seems {
        /// Which.
        node: NodeId,
        /// How it seems.
        seems: Seems,
    },
}

/// Who seems up.
pub struct Detector {
    settings: DetectorSettings,
    node: NodeId,
    foca: Foca<Peer, Words, Dice, Reports>,
    runtime: AccumulatingRuntime<Peer>,
    timers: BTreeMap<(Time, u64), Timer<Peer>>,
    timers_made: u64,
    known: Arc<Mutex<Known>>,
    listed: BTreeMap<NodeId, Listed>,
    announce_at: Time,
    stopped: bool,
}

#[derive(Clone, Copy, Debug)]
struct Listed {
    since: Time,
    seems: Seems,
    changed: Time,
}

impl Detector {
    /// The detector of `node` in its run `run`, which must be greater than those of its runs before. `seed`
    /// is all the chance that it has.
    #[must_use]
    pub fn new(node: NodeId, run: u64, seed: u64, settings: DetectorSettings, now: Time) -> Self {
        let known = Arc::new(Mutex::new(Known::new(node)));
        let own = Peer { node: node.get(), run };
        let foca = Foca::with_custom_broadcast(
            own,
            settings.foca(),
            Dice::new(seed),
            Words::new(own, Arc::clone(&known)),
            Reports::new(Arc::clone(&known)),
        );
        Self {
            announce_at: now,
            settings,
            node,
            foca,
            runtime: AccumulatingRuntime::new(),
            timers: BTreeMap::new(),
            timers_made: 0,
            known,
            listed: BTreeMap::new(),
            stopped: false,
        }
    }

    /// When it wants to be woken.
    #[must_use]
    pub fn wake_at(&self) -> Option<Time> {
        if self.stopped || self.listed.is_empty() {
            return None;
        }
        let timer = self.timers.first_key_value().map(|((at, _), _)| *at);
        Some(timer.map_or(self.announce_at, |at| at.min(self.announce_at)))
    }

    /// What is known of a member; none for others.
    #[must_use]
    pub fn view(&self, node: NodeId) -> Option<View> {
        let listed = self.listed.get(&node)?;
        let report = lock(&self.known).reports.get(&node).map(|signed| signed.report.clone());
        Some(View { seems: listed.seems, since: listed.changed, report })
    }

    /// Takes one step.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        if self.stopped {
            return;
        }
        match input {
            Input::Members(nodes) => self.members(now, nodes),
            Input::Heard { from, packet } => self.heard(from, &packet),
            Input::LinkUp(node) => self.link_up(node),
            // The detector took it in before, or will with the next one: both are fine.
            Input::Report(signed) => drop(self.foca.add_broadcast(&signed.bytes())),
            Input::Woke => self.woke(now),
            Input::Stop => {
                drop(self.foca.leave_cluster(&mut self.runtime));
                self.stopped = true;
            }
        }
        self.settle(now, out);
    }

    fn members(&mut self, now: Time, mut nodes: BTreeSet<NodeId>) {
        nodes.remove(&self.node);
        let mut known = lock(&self.known);
        known.members.clone_from(&nodes);
        known.reports.retain(|node, _| nodes.contains(node));
        drop(known);
        self.listed.retain(|node, _| nodes.contains(node));
        for node in nodes {
            let fresh = Listed { since: now, seems: Seems::Unheard, changed: now };
            let is_new = !self.listed.contains_key(&node);
            self.listed.entry(node).or_insert(fresh);
            if is_new {
                self.announce(node);
            }
        }
        self.forget_strangers();
    }

    /// Who is struck off is probed no more.
    fn forget_strangers(&mut self) {
        let listed = &self.listed;
        let is_stranger = |peer: &Peer| !listed.contains_key(&NodeId::new(peer.node));
        let members = self.foca.iter_members().map(foca::Member::id);
        let struck: Vec<Peer> = members.filter(|&peer| is_stranger(peer)).copied().collect();
        let down = struck.into_iter().map(foca::Member::down);
        // Nobody is told: others have their own lists.
        drop(self.foca.apply_many(down, false, &mut self.runtime));
    }

    fn heard(&mut self, from: NodeId, packet: &Bytes) {
        if !self.listed.contains_key(&from) || gossip::sender(packet) != Some(from) {
            return;
        }
        // A packet that means nothing changes nothing.
        drop(self.foca.handle_data(packet, &mut self.runtime));
    }

    fn link_up(&mut self, node: NodeId) {
        if self.listed.get(&node).is_some_and(|listed| listed.seems != Seems::Alive) {
            self.announce(node);
        }
    }

    /// Says to a node that this one is here. It answers to whichever run it is in.
    fn announce(&mut self, node: NodeId) {
        let anyone = Peer { node: node.get(), run: 0 };
        drop(self.foca.announce(anyone, &mut self.runtime));
    }

    fn woke(&mut self, now: Time) {
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let timer = entry.remove();
            // What a timer of the past complains about is over.
            drop(self.foca.handle_timer(timer, &mut self.runtime));
            self.schedule(now);
        }
        if self.announce_at <= now {
            self.announce_at = now + self.settings.announce_interval;
            let lost = |listed: &Listed| matches!(listed.seems, Seems::Unheard | Seems::Down);
            let lost = self.listed.iter().filter(|(_, listed)| lost(listed));
            let lost: Vec<NodeId> = lost.map(|(node, _)| *node).collect();
            lost.into_iter().for_each(|node| self.announce(node));
            // A run that was contradicted begins anew when it hears of somebody. If all others are gone by
            // then, nobody would ever probe them: no news at all make it begin, too.
            drop(self.foca.apply_many(std::iter::empty(), false, &mut self.runtime));
        }
    }

    fn schedule(&mut self, now: Time) {
        while let Some((after, timer)) = self.runtime.to_schedule() {
            self.timers_made += 1;
            self.timers.insert((now + after, self.timers_made), timer);
        }
    }

    /// Does what the library asked for, and says what is different.
    fn settle(&mut self, now: Time, out: &mut Vec<Output>) {
        self.schedule(now);
        while let Some((to, packet)) = self.runtime.to_send() {
            let to = NodeId::new(to.node);
            if self.listed.contains_key(&to) {
                out.push(Output::Send { to, packet });
            }
        }
        while self.runtime.to_notify().is_some() {}
        let states = self.foca.iter_membership_state();
        let states: BTreeMap<NodeId, State> =
            states.map(|member| (NodeId::new(member.id().node), member.state())).collect();
        for (node, listed) in &mut self.listed {
            let seems = match states.get(node) {
                Some(State::Alive) => Seems::Alive,
                Some(State::Suspect) => Seems::Suspect,
                Some(State::Down) => Seems::Down,
                // What was heard of long ago is forgotten.
                None if now.since(listed.since) < self.settings.quiet_max => listed.seems,
                None => Seems::Down,
            };
            if seems != listed.seems {
                (listed.seems, listed.changed) = (seems, now);
                out.push(Output::Seems { node: *node, seems });
            }
        }
    }
}
