//! Decides what of an instance the gate looks at.

use std::sync::Arc;

use super::pair::Pair;
use crate::checkpoint::Record;
use crate::engine::{Event, Phase, SessionId, Target};
use crate::value::Value;

/// What is alive in one session, by the numbers of the old chart.
pub(super) struct Live<'a> {
    /// None: any instance there can be.
    pub(super) session: Option<SessionId>,
    pub(super) record: Option<&'a Record>,
    pub(super) phase: Phase,
    pub(super) active: Vec<u32>,
    pub(super) remembered: Vec<(u32, Vec<u32>)>,
    /// Variables with their values; none: any value.
    pub(super) data: Vec<(&'a str, Option<&'a Value>)>,
    pub(super) visited: Vec<u32>,
    pub(super) to_invoke: Vec<u32>,
    pub(super) timers: Vec<Pending<'a>>,
    pub(super) queued: Vec<&'a str>,
    /// Slots of invocations, with the id and whether the child still runs.
    pub(super) invoked: Vec<(&'a str, Option<&'a str>, bool)>,
    /// Children that are to be born as daemons of their own: the id and the name of the chart.
    pub(super) unborn: Vec<(&'a str, &'a str)>,
    /// Whether it may begin again: whoever supervises it says so.
    pub(super) may_restart: bool,
}

/// A timer that was set.
pub(super) struct Pending<'a> {
    pub(super) slot: &'a str,
    pub(super) event: &'a str,
    /// Whether the session sends to itself.
    pub(super) to_itself: bool,
}

impl<'a> Live<'a> {
    /// What a checkpoint says of a session; an error names what the old chart does not have.
    pub(super) fn of(record: &'a Record, pair: &Pair) -> Result<Self, String> {
        let chart = &pair.old.chart;
        let state = |id: &Arc<str>| {
            chart.places.get(id).copied().ok_or_else(|| format!("there is no state {id}"))
        };
        let states = |ids: &[Arc<str>]| ids.iter().map(state).collect::<Result<Vec<u32>, _>>();
        let mut active = states(&record.configuration)?;
        active.sort_unstable();
        let history = record.history.iter();
        let remembered = history.map(|(id, ids)| Ok((state(id)?, states(ids)?)));
        let queues = [&record.internal, &record.external];
        let invoked = record.invoked.iter();
        Ok(Self {
            session: Some(record.id),
            record: Some(record),
            phase: record.phase,
            active,
            remembered: remembered.collect::<Result<_, String>>()?,
            data: record.data.iter().map(|(name, value)| (&**name, Some(value))).collect(),
            visited: states(&record.visited)?,
            to_invoke: states(&record.to_invoke)?,
            timers: record
                .timers
                .values()
                .map(|timer| Pending {
                    slot: &timer.slot,
                    event: &timer.event.name,
                    to_itself: matches!(timer.to, Target::Own | Target::Internal),
                })
                .collect(),
            queued: queues.into_iter().flatten().map(|event: &Event| &*event.name).collect(),
            invoked: invoked
                .map(|(slot, invoked)| (&**slot, Some(&*invoked.id), invoked.session.is_some()))
                .collect(),
            unborn: record
                .spawned
                .iter()
                .filter_map(|(id, spawned)| {
                    let abroad = spawned.abroad.as_ref()?;
                    abroad.address.is_none().then_some((&**id, &*abroad.chart))
                })
                .collect(),
            may_restart: false,
        })
    }

    /// All that can be alive at any time in any instance of the old chart.
    pub(super) fn any(pair: &'a Pair) -> Self {
        let side = &pair.old;
        let born = side.reach.born(&side.chart);
        let timers = side.sites.values().filter(|site| site.send.delay.is_some());
        let timers = timers.filter(|site| born.possible.has(site.state));
        Self {
            session: None,
            record: None,
            phase: Phase::Resting,
            active: born.possible.iter().skip(1).collect(),
            remembered: born
                .histories
                .iter()
                .map(|history| {
                    let around = side.chart.node(history).parent;
                    let inside =
                        born.possible.iter().filter(|state| side.chart.is_within(*state, around));
                    (history, inside.collect())
                })
                .collect(),
            data: side.data.keys().map(|name| (&**name, None)).collect(),
            visited: born.possible.iter().skip(1).collect(),
            to_invoke: Vec::new(),
            timers: timers
                .map(|site| Pending {
                    slot: &site.send.slot,
                    event: match &site.send.event {
                        Some(crate::definition::Text::Fixed(event)) => event,
                        Some(crate::definition::Text::Expression { .. }) | None => "",
                    },
                    to_itself: site.send.to.is_none(),
                })
                .collect(),
            queued: Vec::new(),
            invoked: side
                .invokes
                .iter()
                .filter(|(_, invocation)| born.possible.has(invocation.state))
                .map(|(slot, _)| (slot.as_str(), None, true))
                .collect(),
            unborn: Vec::new(),
            may_restart: false,
        }
    }

    /// Whether it is any instance there can be.
    pub(super) const fn is_any(&self) -> bool {
        self.session.is_none()
    }
}
