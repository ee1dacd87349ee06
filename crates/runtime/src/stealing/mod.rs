//! Decides how work goes from nodes that have much of it to nodes that have little.
//!
//! A node that would take work asks others, one at a time. Whoever has more hands some over: it starts moves
//! of daemons that live here to the node that asked, as if somebody had asked for each of them. Nothing about
//! ownership is decided here: what becomes of a move is decided by its two nodes and the hand-over, and a
//! node that asks and dies has nothing, or owns what it saved.
//!
//! * `giving`: which daemons go.
//!
//! # Limits
//!
//! * [`ASK_INTERVAL`] between two questions of a node; one of them is answered at a time, others are dropped
//!   and asked again.
//! * [`GIVEN_MAX`] daemons for one question, [`LEAVING_MAX`] on their way from here.
//! * [`REFUSED_MAX`] daemons are remembered that a node refused; they are not offered to it for [`REFUSED_FOR`].

mod giving;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use whimbrel_members::{Burden, Seems, Word};
use whimbrel_wire::{EntityId, NodeId};

use self::giving::Leaving;
use crate::core::{Core, lock};
use crate::neighbours::say;

/// Time between two questions.
const ASK_INTERVAL: Duration = Duration::from_millis(250);

/// Daemons that are handed over for one question.
const GIVEN_MAX: u32 = 16;

/// Daemons that are on their way from here by this.
const LEAVING_MAX: usize = 64;

/// How long a daemon is not offered to a node that refused it.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// Refusals that are remembered.
const REFUSED_MAX: usize = 4_096;

/// What a node knows about sharing work.
pub(crate) struct Stealing {
    is_on: bool,
    /// Whether a question is being answered.
    answering: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// What others had to do when they last said so.
    burdens: BTreeMap<NodeId, Burden>,
    /// How many questions were asked.
    asked: usize,
    leaving: Vec<Leaving>,
    refused: BTreeMap<(EntityId, NodeId), Instant>,
}

impl Stealing {
    pub(crate) fn new(is_on: bool) -> Self {
        Self { is_on, answering: AtomicBool::new(false), known: Mutex::default() }
    }

    /// Another node said what it had to do.
    pub(crate) fn heard(&self, from: NodeId, burden: Burden) {
        if self.is_on {
            lock(&self.known).burdens.insert(from, burden);
        }
    }
}

/// Asks for work again and again, until the node is gone.
pub(crate) async fn run(core: Weak<Core>) {
    let mut ticks = tokio::time::interval(ASK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(core) = core.upgrade() else { return };
        if core.ready.load(Ordering::Acquire) && core.hosts() {
            seek(&core);
        }
    }
}

/// Asks one other node for work: by turns the one that had most when it last said so, and the next one.
fn seek(core: &Core) {
    let own = core.heavy.burden();
    let there = core.members.nodes().into_iter().filter(|&node| node != core.node());
    let hosting: Vec<NodeId> = there.filter(|&node| seems_to_host(core, node)).collect();
    if hosting.is_empty() {
        return;
    }
    let mut known = lock(&core.stealing.known);
    known.burdens.retain(|node, _| hosting.contains(node));
    let busiest = known.burdens.iter().max_by_key(|(_, burden)| burden.excess_over(own));
    let busiest = busiest.filter(|(_, burden)| burden.excess_over(own) > 0).map(|(node, _)| *node);
    let next = hosting.get(known.asked / 2 % hosting.len()).copied();
    let chosen = busiest.filter(|_| known.asked.is_multiple_of(2)).or(next);
    known.asked = known.asked.wrapping_add(1);
    drop(known);
    if let Some(node) = chosen {
        say(core, node, &Word::WorkWanted { burden: own, room: GIVEN_MAX });
    }
}

fn seems_to_host(core: &Core, node: NodeId) -> bool {
    core.neighbours.view(node).is_some_and(|view| {
        view.seems == Seems::Alive && view.report.is_some_and(|report| report.offer.hosts)
    })
}

/// Another node would take work.
pub(crate) fn wanted(core: &Arc<Core>, from: NodeId, burden: Burden, room: u32) {
    let stealing = &core.stealing;
    stealing.heard(from, burden);
    let ready = core.ready.load(Ordering::Acquire);
    if !stealing.is_on || !ready || stealing.answering.swap(true, Ordering::AcqRel) {
        return;
    }
    let Some(runtime) = core.tokio.get() else { return };
    let core = Arc::clone(core);
    // It looks at every cell, and the link does not wait for that.
    drop(runtime.spawn_blocking(move || {
        let own = core.heavy.burden();
        let count = own.excess_over(burden).min(room).min(GIVEN_MAX);
        let given = giving::give(&core, from, count);
        core.stealing.answering.store(false, Ordering::Release);
        say(&core, from, &Word::WorkGiven { burden: own, given });
    }));
}
