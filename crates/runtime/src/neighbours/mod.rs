//! Who seems up, what they offer, and what daemons want: the detector of a node and its wiring.
//!
//! What the detector says is a hint. It chooses targets of moves and refuses those that are down before
//! anything begins; nothing here is asked about who owns a daemon.
//!
//! * `report`: what this node says of itself;
//! * `wants`: what a daemon wants of its node, asked of its owner;
//! * `places`: what people ask.

mod places;
mod report;
mod wants;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use whimbrel_members::{Detector, DetectorSettings, Input, Output, Seems, View, Word};
use whimbrel_wire::{NodeId, Time};

pub use self::places::{Neighbour, Target};
use self::report::Own;
use self::wants::Wants;
use crate::clock::Clock;
use crate::core::{Core, lock};
use crate::link::{Datagram, Lane, Links};
use crate::stealing;
use crate::trust::spread;

/// Time between two reports of this node.
const REPORT_INTERVAL: Duration = Duration::from_secs(2);

/// The longest sleep: a bound on what a missed notification can cost.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// What a node has to find out about the others.
pub(crate) struct Neighbours {
    detector: Mutex<Detector>,
    stirred: Arc<Notify>,
    /// For tests: no news come in or go out.
    silent: AtomicBool,
    own: Own,
    wants: Wants,
}

impl Neighbours {
    pub(crate) fn new(node: NodeId, seed: u64, settings: DetectorSettings, now: Time) -> Self {
        let run = Clock::wall_micros();
        Self {
            detector: Mutex::new(Detector::new(node, run, seed, settings, now)),
            stirred: Arc::default(),
            silent: AtomicBool::new(false),
            own: Own::new(run),
            wants: Wants::default(),
        }
    }

    /// What is known of a member.
    pub(crate) fn view(&self, node: NodeId) -> Option<View> {
        lock(&self.detector).view(node)
    }

    /// A word about members came.
    pub(crate) fn hear(&self, core: &Arc<Core>, from: NodeId, frame: &[u8]) {
        match Word::read(frame) {
            Ok(Word::Gossip(_)) if self.silent.load(Ordering::Acquire) => {}
            Ok(Word::Gossip(packet)) => self.step(core, Input::Heard { from, packet }),
            Ok(Word::WantedAsked { entity }) => self.wants.asked(core, from, entity),
            Ok(Word::WantedAnswered { entity, wanted }) => {
                self.wants.answered(from, &entity, wanted);
            }
            Ok(Word::Told(facts)) => {
                if let Some(membership) = core.membership() {
                    membership.told(core, from, facts);
                }
            }
            Ok(Word::Holds(facts)) => {
                if let Some(membership) = core.membership() {
                    membership.held(from, &facts);
                }
            }
            Ok(Word::RevokedAsked(theirs)) => spread::compare(core, from, theirs, true),
            Ok(Word::RevokedAnswered(theirs)) => spread::compare(core, from, theirs, false),
            Ok(Word::Revoked(blocks)) => spread::told(core, from, blocks),
            Ok(Word::WorkWanted { burden, room }) => stealing::wanted(core, from, burden, room),
            Ok(Word::WorkGiven { burden, .. }) => core.stealing.heard(from, burden),
            Err(error) => tracing::warn!(%from, %error, "a word about members was refused"),
        }
    }

    pub(crate) fn link_up(&self, core: &Core, node: NodeId) {
        self.step(core, Input::LinkUp(node));
        spread::link_up(core, node);
    }

    pub(crate) fn silence(&self, silent: bool) {
        self.silent.store(silent, Ordering::Release);
    }

    /// The node takes daemons from here on: it is time to say what it offers.
    pub(crate) fn stir(&self) {
        self.stirred.notify_one();
    }

    /// The others are told that this node stops.
    pub(crate) fn stop(&self, core: &Core) {
        self.step(core, Input::Stop);
    }

    /// Gives the detector something, and does what it asks.
    fn step(&self, core: &Core, input: Input) {
        let mut outputs = Vec::new();
        lock(&self.detector).handle(core.clock.now(), input, &mut outputs);
        let links = core.links();
        for output in outputs {
            match output {
                Output::Send { to, packet } => {
                    let silent = self.silent.load(Ordering::Acquire);
                    if let Some(links) = links.as_ref().filter(|_| !silent) {
                        gossip(links, to, packet);
                    }
                }
                Output::Seems { node, seems } => tell(node, seems),
            }
        }
        self.stirred.notify_one();
    }

    fn wake_at(&self) -> Option<Time> {
        lock(&self.detector).wake_at()
    }
}

fn tell(node: NodeId, seems: Seems) {
    match seems {
        Seems::Down => tracing::warn!(%node, "a member seems down"),
        Seems::Alive => tracing::info!(%node, "a member is up"),
        Seems::Suspect => tracing::info!(%node, "a member does not answer"),
        Seems::Unheard | _ => {}
    }
}

/// Says a word about members, if there is room for it. It may get lost.
pub(crate) fn say(core: &Core, to: NodeId, word: &Word) {
    let Some(links) = core.links() else { return };
    if let Err(error) = links.send(to, Lane::Control, word.frame()) {
        tracing::debug!(%to, %error, "not sent");
    }
}

/// As a datagram where one gets through. A lane that does not stand is dialled for one packet at a time, so
/// that news for a member that is away do not pile up.
fn gossip(links: &Links, to: NodeId, packet: Bytes) {
    let frame = Word::Gossip(packet).frame();
    let sent = match links.datagram(to, frame.clone()) {
        Ok(Datagram::Sent) => return,
        Ok(Datagram::Unconnected) if links.waiting(to, Lane::Control) > 0 => return,
        Ok(Datagram::Unconnected | Datagram::TooLong) => links.send(to, Lane::Control, frame),
        Err(error) => Err(error),
    };
    if let Err(error) = sent {
        tracing::debug!(%to, %error, "news about members were not sent");
    }
}

/// Wakes the detector, tells it of the members, and lets the node report, until the node is gone.
pub(crate) async fn run(core: Weak<Core>) {
    let Some(mut members) = core.upgrade().map(|core| core.members.changes()) else { return };
    members.mark_changed();
    let mut report_at = Instant::now();
    loop {
        let Some(here) = core.upgrade() else { return };
        let neighbours = &here.neighbours;
        if members.has_changed().unwrap_or(false) {
            let nodes: BTreeSet<NodeId> = members.borrow_and_update().keys().copied().collect();
            neighbours.step(&here, Input::Members(nodes));
        }
        // Before it is started a node does not know what it has to offer.
        let started = here.ready.load(Ordering::Acquire);
        if started && report_at <= Instant::now() {
            report_at = Instant::now() + REPORT_INTERVAL;
            if let Some(membership) = here.membership() {
                membership.tell_again(&here);
            }
            spread::ask_again(&here);
            if let Some(signed) = neighbours.own.report(&here).await {
                neighbours.step(&here, Input::Report(Box::new(signed)));
            }
        }
        let now = here.clock.now();
        let wake = neighbours.wake_at();
        if wake.is_some_and(|at| at <= now) {
            neighbours.step(&here, Input::Woke);
            continue;
        }
        let rest = wake.map_or(SLEEP_MAX, |at| at.since(now).min(SLEEP_MAX));
        // Nothing is held while it sleeps: whoever drops the node is not kept waiting.
        let stirred = Arc::clone(&neighbours.stirred);
        drop(here);
        tokio::select! {
            () = stirred.notified() => {}
            _ = members.changed() => members.mark_changed(),
            () = sleep(rest) => {}
            () = sleep_until(report_at), if started => {}
        }
    }
}
