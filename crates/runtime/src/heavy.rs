//! Decides how turns are made that may take long: away from the cell, on threads of their own.
//!
//! A host that is away is not under the lock of its cell. What needs it waits, in order, until it is
//! back with the report; the cell itself goes on. What it did since its last snapshot would have to be
//! done again after a crash and at the target of a move, so that is bounded here.
//!
//! # Limits
//!
//! * [`WORK_MAX`] of work: then a snapshot is taken. A move begins with one if more than
//!   [`WORK_NEAR`] was done since.
//! * A daemon that is leaving rests [`RESTS`] times as long as its turns take, at most [`REST_MAX`] at
//!   a time, so that its target keeps up with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use whimbrel_daemon::{Host, Requirements, Schedule};
use whimbrel_protocol::{Input, Output, Ticket};
use whimbrel_wire::{AttemptId, Kind, NodeId};

use crate::cell::{Cell, Inner, Work};
use crate::core::Core;
use crate::crew::Shift;
use crate::perform;

/// Work after which a snapshot is taken.
const WORK_MAX: Duration = Duration::from_secs(5);

/// Work that a target may do again.
const WORK_NEAR: Duration = Duration::from_millis(100);

/// How much longer than it works a daemon rests while it is leaving.
const RESTS: u32 = 9;

/// Shorter turns need no rest.
const LONG_MIN: Duration = Duration::from_millis(5);

/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(1);

/// How long a daemon counts as leaving after the last sign of it.
const LEAVING: Duration = Duration::from_secs(5);

/// What a cell knows of turns that take long.
#[derive(Default)]
pub(crate) struct Heavy {
    /// When there was last a sign that the daemon is leaving.
    leaving: Option<Instant>,
    /// When a move last waited for the host: its turns come first then.
    hurried: Option<Instant>,
    /// How long its last turn took.
    took: Duration,
    /// How long it worked since the last snapshot.
    worked: Duration,
    /// A departure that waits for a snapshot, and the last one that has waited for one.
    preparing: Option<(Ticket, AttemptId, AttemptId, NodeId)>,
    prepared: Option<AttemptId>,
}

/// What others ask about a host.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) kind: Kind,
    pub(crate) particulars: Option<String>,
    pub(crate) requirements: Requirements,
    pub(crate) schedule: Schedule,
}

impl Known {
    fn of(host: &Host) -> Self {
        Self {
            kind: host.kind().clone(),
            particulars: host.body().particulars(),
            requirements: host.requirements(),
            schedule: host.body().schedule(),
        }
    }
}

/// A host that is away.
pub(crate) struct Away {
    /// As it was when it went.
    known: Known,
    /// What is to be done with it when it is back.
    waiting: VecDeque<Output>,
    /// Its turn, unless it rests before it.
    shift: Option<Arc<Shift>>,
}

impl Away {
    /// Its turn, if that waits for a thread.
    pub(crate) fn waiting_shift(&self) -> Option<&Shift> {
        self.shift.as_deref().filter(|shift| shift.is_waiting())
    }

    pub(crate) const fn schedule(&self) -> Schedule {
        self.known.schedule
    }
}

impl Inner {
    /// What is known of the host of a copy, at hand or away.
    pub(crate) fn known(&self, copy: AttemptId) -> Option<Known> {
        let at_hand = self.hosts.get(&copy).map(Known::of);
        at_hand.or_else(|| self.away.get(&copy).map(|away| away.known.clone()))
    }
}

/// Whether a copy makes turns that may take long.
fn is_heavy(inner: &Inner, copy: AttemptId) -> bool {
    inner.hosts.get(&copy).is_some_and(Host::is_heavy)
}

/// Does what is done differently for copies whose turns may take long, and keeps back what needs a
/// host that is away; gives back what is done as for all.
pub(crate) fn take_over(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    inner: &mut Inner,
    output: Output,
) -> Option<Output> {
    if is_sign_of_leaving(&output) {
        inner.heavy.leaving = Some(Instant::now());
    }
    if matches!(output, Output::Prepare { .. }) {
        inner.heavy.hurried = Some(Instant::now());
    }
    let Some(copy) = copy_of(&output) else { return Some(output) };
    if let Some(away) = inner.away.get_mut(&copy) {
        away.waiting.push_back(output);
        if let Some(shift) = away.shift.as_ref().filter(|shift| shift.is_waiting()) {
            core.heavy.hasten(shift);
        }
        return None;
    }
    if !is_heavy(inner, copy) {
        return Some(output);
    }
    if let Output::Turn { epoch, time, origin, event, .. } = output {
        send_away(core, cell, inner, (copy, true), move |host| {
            let result = perform::host_turn(host, epoch, time, &origin, &event);
            Input::Turned { copy, result }
        });
        return None;
    }
    if let Output::Replay { steps, .. } = output {
        send_away(core, cell, inner, (copy, false), move |host| Input::Replayed {
            copy,
            result: perform::replay(host, steps),
        });
        return None;
    }
    if let Output::Prepare { attempt, target, .. } = output
        && snapshot_first(core, inner, (attempt, copy, target))
    {
        return None;
    }
    Some(output)
}

/// The copy that an output needs at hand.
fn copy_of(output: &Output) -> Option<AttemptId> {
    if let Output::Turn { copy, .. }
    | Output::Replay { copy, .. }
    | Output::Digest { copy }
    | Output::Judge { copy }
    | Output::Prepare { copy, .. }
    | Output::DropCopy { copy } = output
    {
        return Some(*copy);
    }
    if let Output::Capture(wanted) = output { Some(wanted.copy) } else { None }
}

fn is_sign_of_leaving(output: &Output) -> bool {
    matches!(
        output,
        Output::Seal { .. }
            | Output::ReadPieces { .. }
            | Output::SendPiece { .. }
            | Output::ReadTurns { .. }
    )
}

/// Lets a host work on a thread for that. `is_new` work is done after a rest, if the daemon is
/// leaving.
fn send_away(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    inner: &mut Inner,
    (copy, is_new): (AttemptId, bool),
    work: impl FnOnce(&mut Host) -> Input + Send + 'static,
) {
    let Some(mut host) = inner.hosts.remove(&copy) else { return };
    let known = Known::of(&host);
    let priority = known.schedule.priority;
    inner.away.insert(copy, Away { known, waiting: VecDeque::new(), shift: None });
    let leaves = inner.heavy.leaving.is_some_and(|at| at.elapsed() < LEAVING);
    let rests = leaves && is_new && inner.heavy.took >= LONG_MIN;
    let rest = if rests { inner.heavy.took * RESTS } else { Duration::ZERO };
    let (shared, cell) = (Arc::clone(core), Arc::clone(cell));
    let job = move || {
        let (begun, before) = (Instant::now(), host.body().work());
        let input = work(&mut host);
        shared.heavy.pace(begun, host.body().work().saturating_sub(before));
        let took = begun.elapsed();
        shared.post(&cell, Work::Back { copy, host: Box::new(host), input, took });
    };
    if let Some(runtime) = core.tokio.get().filter(|_| !rest.is_zero()) {
        let core = Arc::clone(core);
        runtime.spawn(async move {
            tokio::time::sleep(rest.min(REST_MAX)).await;
            drop(core.heavy.run_first(job));
        });
        return;
    }
    // What a copy has to catch up with, and a move that waits, come before what others have to do.
    let hurries = inner.heavy.hurried.is_some_and(|at| at.elapsed() < LEAVING);
    let shift = match is_new && !hurries {
        true => core.heavy.run(priority, job),
        false => core.heavy.run_first(job),
    };
    if let Some(away) = inner.away.get_mut(&copy) {
        away.shift = Some(shift);
    }
}

/// A host is back: what waited for it is done first, then the report is heard.
pub(crate) fn back(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    inner: &mut Inner,
    (copy, host): (AttemptId, Host),
    took: Duration,
) {
    inner.hosts.insert(copy, host);
    inner.wake_listeners();
    inner.heavy.took = took;
    inner.heavy.worked += took;
    if inner.heavy.worked >= WORK_MAX {
        inner.heavy.worked = Duration::ZERO;
        inner.pending.push_back(Input::Snapshot { ticket: core.ticket() });
    }
    let waiting = inner.away.remove(&copy).map(|away| away.waiting);
    for output in waiting.unwrap_or_default() {
        perform::output(core, cell, inner, output);
    }
}

/// The departure of this attempt freezes the daemon first: it takes a snapshot then, and needs none before.
pub(crate) fn freezes_first(inner: &mut Inner, attempt: AttemptId) {
    inner.heavy.prepared = Some(attempt);
}

/// Whether a departure has to wait for a snapshot; then one is asked for.
fn snapshot_first(
    core: &Core,
    inner: &mut Inner,
    (attempt, copy, target): (AttemptId, AttemptId, NodeId),
) -> bool {
    let waited = inner.heavy.prepared == Some(attempt);
    let far = inner.heavy.worked > WORK_NEAR && !waited;
    if far {
        let ticket = core.ticket();
        inner.heavy.worked = Duration::ZERO;
        inner.heavy.preparing = Some((ticket, attempt, copy, target));
        inner.pending.push_back(Input::Snapshot { ticket });
    }
    far
}

/// What a departure that waited for the snapshot of this ticket goes on with.
pub(crate) fn prepared(inner: &mut Inner, ticket: Ticket) -> Option<Output> {
    let (_, attempt, copy, target) = inner.heavy.preparing.take_if(|(of, ..)| *of == ticket)?;
    inner.heavy.prepared = Some(attempt);
    Some(Output::Prepare { attempt, copy, target })
}
