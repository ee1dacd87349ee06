//! Decides what one running chart is: plain data, all of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use whimbrel_wire::Time;

use super::change::Change;
use super::event::{CHART_PROCESSOR, Event, EventKind};
use super::kin::Abroad;
use crate::chart::Chart;
use crate::definition::{Binding, Origin, StateKind, Supervise};
use crate::expression::{EventField, Fault, Scope, System};
use crate::value::Value;

/// Which of the running charts of an instance; the first is the instance's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub(crate) u64);

impl SessionId {
    /// The instance's own chart.
    pub const FIRST: Self = Self(1);

    /// The session of number `number`.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

/// One running chart: its [`State`], which is changed by the functions of `change` alone.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(super) state: State,
    /// How to undo what this attempt changed; none outside of an attempt.
    pub(super) log: Option<Vec<Change>>,
}

impl Deref for Session {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

/// All that a running chart knows.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) id: SessionId,
    pub(crate) chart: Arc<Chart>,
    /// What its ids begin with: the name of the instance.
    pub(crate) instance: Arc<str>,
    pub(crate) phase: Phase,
    /// The active states, in document order, without the root.
    pub(crate) configuration: Vec<u32>,
    pub(crate) history: BTreeMap<u32, Vec<u32>>,
    pub(crate) data: Vec<Option<Value>>,
    /// States whose late data has its first value.
    pub(crate) visited: BTreeSet<u32>,
    pub(crate) internal: VecDeque<Arc<Event>>,
    pub(crate) external: VecDeque<Arc<Event>>,
    /// The event that was processed last.
    pub(crate) event: Option<Arc<Event>>,
    /// States that were entered in this macrostep and are still to invoke what runs beside them.
    pub(crate) to_invoke: BTreeSet<u32>,
    /// What runs beside which state: by state and place in it.
    pub(crate) invoked: BTreeMap<(u32, u32), Invoked>,
    /// The children that run because of an action, by their ids.
    pub(crate) spawned: BTreeMap<Arc<str>, Spawned>,
    pub(crate) timers: BTreeMap<u64, Arc<Timer>>,
    pub(crate) parent: Option<Parent>,
    /// Values that an invocation gave to data.
    pub(crate) given: BTreeMap<Arc<str>, Value>,
    pub(crate) next_id: u64,
    pub(crate) next_timer: u64,
    /// Until when a child that begins again waits with that.
    pub(crate) sleeps_until: Option<Time>,
    /// When it began again, as far as that still counts.
    pub(crate) restarts: Vec<Time>,
    /// How many events may wait inside, and how many timers may run.
    pub(crate) room: usize,
    /// How many events may wait that others sent.
    pub(crate) mailbox: usize,
    /// Whether its parent says what is to be done when it fails.
    pub(crate) is_supervised: bool,
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// Nothing was entered yet.
    Fresh,
    /// A macrostep is under way.
    Stepping,
    /// Nothing happens before an event comes.
    Resting,
    /// It reached a final state of the chart, or was cancelled.
    Finished,
}

/// Who invoked a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parent {
    pub(crate) session: SessionId,
    pub(crate) invoke_id: Arc<str>,
}

/// What runs beside a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Invoked {
    pub(crate) id: Arc<str>,
    /// None once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<SessionId>,
}

/// A child that runs because of an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spawned {
    /// Where it runs in this instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<SessionId>,
    /// What is done when it fails, as it was written when it was spawned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) supervise: Option<Supervise>,
    /// How many events may wait for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mailbox: Option<u32>,
    /// What is known of it if it is a daemon of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) abroad: Option<Abroad>,
}

/// An event that is sent later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Timer {
    pub(crate) due: Time,
    /// How long it was to wait in all.
    pub(crate) delay_nanos: u64,
    /// Where in the chart it was sent.
    pub(crate) slot: Arc<str>,
    /// The id by which it is cancelled, if its author named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<Arc<str>>,
    pub(crate) to: Target,
    pub(crate) event: Event,
}

/// Where an event goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Target {
    Own,
    Internal,
    Parent,
    Child(Arc<str>),
    Session(Arc<str>),
    /// The host knows.
    Outside {
        to: Arc<str>,
        by: Option<Arc<str>>,
    },
}

impl Session {
    pub(crate) fn new(
        id: SessionId,
        chart: Arc<Chart>,
        instance: Arc<str>,
        parent: Option<Parent>,
        given: BTreeMap<Arc<str>, Value>,
    ) -> Self {
        let state = State {
            id,
            data: vec![None; chart.variables.len()],
            chart,
            instance,
            phase: Phase::Fresh,
            configuration: Vec::new(),
            history: BTreeMap::new(),
            visited: BTreeSet::new(),
            internal: VecDeque::new(),
            external: VecDeque::new(),
            event: None,
            to_invoke: BTreeSet::new(),
            invoked: BTreeMap::new(),
            spawned: BTreeMap::new(),
            timers: BTreeMap::new(),
            parent,
            given,
            next_id: 0,
            next_timer: 0,
            sleeps_until: None,
            restarts: Vec::new(),
            room: usize::MAX,
            mailbox: usize::MAX,
            is_supervised: false,
        };
        Self { state, log: None }
    }

    /// Its id, as the chart sees it.
    pub(crate) fn name(&self) -> String {
        name_of(&self.instance, self.id)
    }

    /// Where answers to it go.
    pub(crate) fn location(&self) -> String {
        format!("#_scxml_{}", self.name())
    }

    pub(crate) fn is_active(&self, state: u32) -> bool {
        self.configuration.binary_search(&state).is_ok()
    }

    /// The active states without active states in them, in document order.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = u32> + '_ {
        self.configuration.iter().copied().filter(|state| self.chart.is_atomic(*state))
    }

    /// Whether a state has come to its end.
    pub(crate) fn is_done(&self, state: u32) -> bool {
        let node = self.chart.node(state);
        match node.kind {
            StateKind::Final => self.is_active(state),
            StateKind::Parallel => node.children.iter().all(|child| self.is_done(*child)),
            StateKind::State => node.children.iter().any(|child| {
                self.chart.node(*child).kind == StateKind::Final && self.is_active(*child)
            }),
            StateKind::History | StateKind::DeepHistory => false,
        }
    }

    /// Whether there is something to do.
    pub(crate) fn is_busy(&self) -> bool {
        self.sleeps_until.is_none()
            && match self.phase {
                Phase::Fresh | Phase::Stepping => true,
                Phase::Resting => !self.external.is_empty(),
                Phase::Finished => false,
            }
    }

    /// Raises an event of the engine.
    pub(crate) fn fail(&mut self, name: &str, what: Value, send_id: Option<Arc<str>>) {
        let mut event = Event::of(EventKind::Platform, name.into(), what);
        event.send_id = send_id;
        self.tell(event);
    }

    pub(crate) fn fault(&mut self, fault: &Fault) {
        self.fault_at(fault, None);
    }

    pub(crate) fn fault_at(&mut self, fault: &Fault, at: Option<&Origin>) {
        self.fail("error.execution", told(&fault.0, at), None);
    }

    /// Gives data of the chart and, unless it is bound late, of all states its first value.
    pub(crate) fn bind_at_start(&mut self) {
        let chart = Arc::clone(&self.chart);
        let late = chart.definition().binding == Binding::Late;
        let states = if late { 1 } else { chart.nodes.len() };
        for state in 0..states {
            self.bind(&chart, u32::try_from(state).unwrap_or(u32::MAX));
        }
    }

    /// Gives the data of a state its first value.
    pub(crate) fn bind(&mut self, chart: &Chart, state: u32) {
        for (variable, value) in &chart.node(state).data {
            let name = &chart.variables[*variable as usize];
            // What an invocation gives goes before what the chart says.
            let value = match (self.given.get(name), value) {
                (Some(given), _) if state == crate::chart::ROOT => Some(given.clone()),
                (_, Some(source)) => match source.evaluate(self) {
                    Ok(value) => Some(value),
                    Err(fault) => {
                        self.fault(&fault);
                        None
                    }
                },
                (_, None) => None,
            };
            if let Some(value) = value {
                self.set_datum(*variable, value);
            }
        }
    }
}

/// The id of a session, as charts see it.
pub(crate) fn name_of(instance: &str, session: SessionId) -> String {
    format!("{instance}.{session}")
}

impl Scope for Session {
    fn variable(&self, place: u32) -> Option<&Value> {
        self.data.get(place as usize).and_then(Option::as_ref)
    }

    fn system(&self, which: System) -> Value {
        match which {
            System::SessionId => Value::text(self.name()),
            System::Name => Value::Text(Arc::clone(&self.chart.name)),
            System::IoProcessors => {
                let location = Value::text(self.location());
                let entry = small_map([("location", location)]);
                small_map([("scxml", entry.clone()), (CHART_PROCESSOR, entry)])
            }
            System::Event if self.event.is_none() => Value::Null,
            System::Event => small_map([
                ("name", self.event(EventField::Name)),
                ("type", self.event(EventField::Type)),
                ("sendid", self.event(EventField::SendId)),
                ("origin", self.event(EventField::Origin)),
                ("origintype", self.event(EventField::OriginType)),
                ("invokeid", self.event(EventField::InvokeId)),
                ("data", self.event(EventField::Data)),
            ]),
        }
    }

    fn event(&self, field: EventField) -> Value {
        let Some(event) = &self.event else { return Value::Null };
        let text = |text: &Option<Arc<str>>| text.clone().map_or(Value::Null, Value::Text);
        match field {
            EventField::Name => Value::Text(Arc::clone(&event.name)),
            EventField::Type => Value::text(event.kind.name()),
            EventField::SendId => text(&event.send_id),
            EventField::Origin => text(&event.origin),
            EventField::OriginType => text(&event.origin_type),
            EventField::InvokeId => text(&event.invoke_id),
            EventField::Data => event.data.clone(),
        }
    }

    fn is_in(&self, state: &str) -> bool {
        self.chart.places.get(state).is_some_and(|state| self.is_active(*state))
    }

    fn host(&self, name: &str, _arguments: &[Value]) -> Result<Value, Fault> {
        Err(Fault::new(format!("there is no function {name}")))
    }
}

/// What the event of an error brings: what is wrong; with the line, the column and the word there,
/// where the file is known from which the chart was imported.
pub(crate) fn told(what: &str, at: Option<&Origin>) -> Value {
    let Some(at) = at else { return Value::text(what) };
    small_map([
        ("reason", Value::text(what)),
        ("line", Value::Int(at.line.into())),
        ("column", Value::Int(at.column.into())),
        ("tagname", Value::text(&*at.tag)),
    ])
}

/// A map of what the engine knows; null if that is too large, which only event data can make it.
fn small_map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let entries = entries.into_iter().map(|(name, value)| (name.into(), value)).collect();
    Value::map(entries).unwrap_or(Value::Null)
}
