//! Decides which daemons go to a node that asked for work, and starts their moves.
//!
//! Those whose turn waits go first: of the lowest priority that which would wait longest. They are frozen before they
//! are copied, because they rest anyway, for longer than the copy takes. Only where none of these may go, goes one
//! that is in the middle of a turn: then it makes room for what has to stay. That one moves live.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use whimbrel_daemon::Priority;
use whimbrel_members::{Candidate, Wanted, place};
use whimbrel_protocol::{Input, MoveOptions};
use whimbrel_wire::{AttemptId, EntityId, NodeId};

use super::{LEAVING_MAX, REFUSED_FOR, REFUSED_MAX};
use crate::cell::{Cell, Inner, Work};
use crate::core::{Core, lock};
use crate::heavy;
use crate::mesh::random;
use crate::migration::State;

/// A daemon that is on its way to a node that asked.
pub(super) struct Leaving {
    entity: EntityId,
    to: NodeId,
    state: watch::Receiver<State>,
}

/// A daemon that could go.
struct Movable {
    cell: Arc<Cell>,
    wanted: Wanted,
    priority: Priority,
    /// The place of its turn in the order in which all came, if that waits.
    number: Option<u64>,
}

/// Hands over at most so many daemons to `to`; gives how many moves were started.
pub(super) fn give(core: &Arc<Core>, to: NodeId, count: u32) -> u32 {
    let room = settle(core);
    let count = room.min(count as usize);
    if count == 0 {
        return 0;
    }
    let view = core.neighbours.view(to);
    let Some(candidate) =
        view.map(|view| Candidate { node: to, seems: view.seems, report: view.report })
    else {
        return 0;
    };
    let suits = |movable: &Movable| {
        let known = lock(&core.stealing.known);
        let refused = known.refused.contains_key(&(movable.cell.entity(), to));
        drop(known);
        let placement = place(&movable.wanted, core.node(), vec![candidate.clone()]);
        !refused && placement.best().is_some()
    };
    let mut given = 0;
    for movable in in_order(core).into_iter().filter(suits) {
        let is_live = movable.number.is_none();
        // One that is in the middle of a turn goes alone.
        if given as usize >= count || is_live && given > 0 {
            break;
        }
        if begin(core, &movable, to).is_some() {
            given += 1;
        }
        if is_live {
            break;
        }
    }
    given
}

/// Forgets moves that are over, and remembers who was refused; gives how many more may begin.
fn settle(core: &Core) -> usize {
    let mut known = lock(&core.stealing.known);
    let (over, under_way): (Vec<Leaving>, Vec<Leaving>) =
        std::mem::take(&mut known.leaving).into_iter().partition(Leaving::is_over);
    known.leaving = under_way;
    let now = Instant::now();
    known.refused.retain(|_, since| now.duration_since(*since) < REFUSED_FOR);
    for leaving in over.iter().filter(|leaving| leaving.has_failed()) {
        if known.refused.len() < REFUSED_MAX {
            known.refused.insert((leaving.entity, leaving.to), now);
        }
    }
    LEAVING_MAX.saturating_sub(known.leaving.len())
}

/// All daemons that may go, the first to go first.
fn in_order(core: &Core) -> Vec<Movable> {
    let cells = core.cells().into_iter();
    let mut all: Vec<Movable> = cells
        .filter_map(|cell| {
            let (wanted, priority, number) = cell.look(movable)?;
            Some(Movable { cell, wanted, priority, number })
        })
        .collect();
    all.sort_by_key(|it| (it.number.is_none(), it.priority, Reverse(it.number)));
    all
}

/// What a daemon wants and where its turn is, if it makes one that may take long and may go.
fn movable(inner: &Inner) -> Option<(Wanted, Priority, Option<u64>)> {
    let (copy, _) = inner.seat.live_copy()?;
    let away = inner.away.get(&copy)?;
    let schedule = away.schedule();
    if schedule.is_pinned || inner.seat.is_moving() {
        return None;
    }
    let known = inner.known(copy)?;
    let wanted = Wanted {
        kind: known.kind.as_str().to_owned(),
        tags: known.requirements.tags,
        memory_bytes: known.requirements.memory_bytes,
    };
    Some((wanted, schedule.priority, away.waiting_shift().map(|shift| shift.number())))
}

/// Starts the move of one.
fn begin(core: &Core, movable: &Movable, to: NodeId) -> Option<()> {
    let attempt = AttemptId::new(random().ok()?);
    let entity = movable.cell.entity();
    if movable.number.is_some() {
        movable.cell.adjust(|inner| heavy::freezes_first(inner, attempt));
    }
    let state = core.moves.follow(entity, attempt, to);
    let options = MoveOptions {
        transport_identity: true,
        retry_not_ready: None,
        freeze_and_copy: movable.number.is_some(),
        terms: None,
    };
    let input = Input::Move { attempt, source: Some(core.node()), target: to, options };
    core.post(&movable.cell, Work::Input(input));
    lock(&core.stealing.known).leaving.push(Leaving { entity, to, state });
    Some(())
}

impl Leaving {
    fn is_over(&self) -> bool {
        // The other end goes with the move.
        self.state.has_changed().is_err()
    }

    fn has_failed(&self) -> bool {
        self.state.borrow().has_failed()
    }
}
