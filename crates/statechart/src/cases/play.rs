//! Decides whether a chart does what a test of it expects.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use whimbrel_wire::Time;

use super::{Case, CaseError, Line, Outcome, What};
use crate::chart::Chart;
use crate::checkpoint::Shift;
use crate::engine::{Effect, Event, Instance, Limits, Session, SessionId, Stepped};
use crate::value::Value;

/// Timers that may fire, one after the other, while time passes.
const FIRINGS_MAX: u32 = 100_000;

/// When an instance is written down and gone on from, beside where a test says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Moves {
    /// Never.
    #[default]
    AsWritten,
    /// After each input.
    Always,
}

impl Case {
    /// Plays it on an instance of `chart`.
    #[must_use]
    pub fn play(&self, chart: &Arc<Chart>, moves: Moves) -> Outcome {
        let instance = Instance::new(Arc::clone(chart), "case", Limits::default());
        let now = Time::from_nanos(0);
        let mut stage =
            Stage { chart, instance, now, effects: Vec::new(), seen: 0, moves, moved: 0 };
        let begin = Line { number: self.line, what: What::After(Duration::ZERO) };
        let lines = std::iter::once(&begin).chain(&self.lines);
        let failed = lines.map(|line| (line.number, stage.line(&line.what)));
        let failure =
            failed.filter_map(|(line, done)| Some(CaseError { line, what: done.err()? })).next();
        Outcome { name: Arc::clone(&self.name), failure, moves: stage.moved }
    }
}

struct Stage<'a> {
    chart: &'a Arc<Chart>,
    instance: Instance,
    now: Time,
    /// What the last input put out.
    effects: Vec<Effect>,
    /// How many of them were looked at.
    seen: usize,
    moves: Moves,
    moved: u32,
}

impl Stage<'_> {
    fn line(&mut self, what: &What) -> Result<(), String> {
        match what {
            What::Send(name, data) => {
                let event = Event::new(Arc::clone(name), data.clone());
                let stepped = self.instance.step(event, self.now);
                self.took(stepped.map_err(|error| error.to_string())?)
            }
            What::After(span) => self.pass(*span),
            What::Move => self.travel(),
            What::In(states) => {
                let session = self.instance.session(SessionId::FIRST);
                same(&leaves(session), &sorted(states))
            }
            What::Child(id, states) => self.child(id, states.as_deref()),
            What::Datum(name, value) => {
                let found = self.instance.datum(name);
                let right = match (found, value) {
                    (Some(found), Some(value)) => found.same(value),
                    (None, None) => true,
                    (Some(_), None) | (None, Some(_)) => false,
                };
                if right { Ok(()) } else { differs(&text(value.as_ref()), &text(found)) }
            }
            What::Sends { .. } | What::Logs { .. } | What::Done(_) => self.put_out(what),
            What::Nothing if self.effects.is_empty() => Ok(()),
            What::Nothing => differs(&"nothing", &self.said(0)),
            What::Timer(span) => {
                let due = self.instance.next_due();
                let left = due.map(|due| {
                    Duration::from_nanos(due.as_nanos().saturating_sub(self.now.as_nanos()))
                });
                same(&left, span)
            }
        }
    }

    fn took(&mut self, stepped: Stepped) -> Result<(), String> {
        self.effects = stepped.effects;
        self.seen = 0;
        match self.moves {
            Moves::AsWritten => Ok(()),
            Moves::Always => self.travel(),
        }
    }

    /// Lets time pass. Each timer fires when it is due, so what it sets runs from then.
    fn pass(&mut self, span: Duration) -> Result<(), String> {
        let end = self.now + span;
        let mut effects = Vec::new();
        for _ in 0..FIRINGS_MAX {
            let due = self.instance.next_due().filter(|due| *due < end);
            self.now = due.map_or(end, |due| due.max(self.now));
            let stepped = self.instance.settle(self.now).map_err(|error| error.to_string())?;
            effects.extend(stepped.effects);
            if due.is_none() {
                return self.took(Stepped { effects, ..Stepped::default() });
            }
        }
        Err(format!("more than {FIRINGS_MAX} timers fire in that time"))
    }

    fn travel(&mut self) -> Result<(), String> {
        let moved = || {
            let bytes = self.instance.to_compact(&self.chart.digest)?;
            let (limits, shift) = (Limits::default(), Shift::default());
            Instance::from_compact(&bytes, self.chart, &self.chart.digest, limits, shift)
        };
        self.instance = moved().map_err(|error| format!("it cannot move: {error}"))?;
        self.moved += 1;
        Ok(())
    }

    fn child(&self, id: &str, states: Option<&[String]>) -> Result<(), String> {
        let sessions = self.instance.sessions.values().flatten();
        let child = sessions
            .map(|session| &**session)
            .find(|session| session.parent.as_ref().is_some_and(|parent| *parent.invoke_id == *id));
        match (child, states) {
            (None, None) => Ok(()),
            (Some(child), Some(states)) => same(&leaves(Some(child)), &sorted(states)),
            (None, Some(_)) => Err(format!("there is no child {id}")),
            (Some(_), None) => Err(format!("the child {id} is there")),
        }
    }

    fn put_out(&mut self, what: &What) -> Result<(), String> {
        let found = self.effects[self.seen..].iter().position(|effect| fits(effect, what));
        match found {
            Some(place) => {
                self.seen += place + 1;
                Ok(())
            }
            None => differs(what, &self.said(self.seen)),
        }
    }

    fn said(&self, from: usize) -> Vec<String> {
        let said = |effect: &Effect| match effect {
            Effect::Log { label, value, .. } => {
                format!("logs {} {value}", label.as_deref().unwrap_or_default())
            }
            Effect::Send { to, event, .. } => {
                format!("sends {} to {to} {}", event.name, event.data)
            }
            Effect::Bear { child, .. } => format!("bears {child}"),
            Effect::Kin { to, kin } => {
                let word = serde_json::to_string(&kin.word).unwrap_or_default();
                format!("tells {to} {word}")
            }
            Effect::Done { data } => format!("done {data}"),
        };
        self.effects[from..].iter().map(said).collect()
    }
}

fn fits(effect: &Effect, what: &What) -> bool {
    let same = |wanted: &Option<Value>, found: &Value| {
        wanted.as_ref().is_none_or(|wanted| wanted.same(found))
    };
    match (effect, what) {
        (Effect::Send { to, event, .. }, What::Sends { event: name, to: wanted, data }) => {
            *event.name == **name
                && wanted.as_ref().is_none_or(|wanted| **wanted == **to)
                && same(data, &event.data)
        }
        (Effect::Log { label, value, .. }, What::Logs { label: wanted, value: said }) => {
            label.as_deref() == wanted.as_deref() && value.same(said)
        }
        (Effect::Done { data }, What::Done(said)) => same(said, data),
        (
            Effect::Send { .. }
            | Effect::Log { .. }
            | Effect::Bear { .. }
            | Effect::Kin { .. }
            | Effect::Done { .. },
            _,
        ) => false,
    }
}

fn leaves(session: Option<&Session>) -> Vec<String> {
    let states = session.into_iter().flat_map(|session| {
        session.leaves().map(|leaf| session.chart.id(leaf).to_string()).collect::<Vec<_>>()
    });
    sorted(&states.collect::<Vec<_>>())
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}

fn text(value: Option<&Value>) -> String {
    value
        .map_or_else(|| "none".to_owned(), |value| serde_json::to_string(value).unwrap_or_default())
}

fn same<T: PartialEq + Debug>(found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { differs(expected, found) }
}

fn differs(expected: &dyn Debug, found: &dyn Debug) -> Result<(), String> {
    Err(format!("expected {expected:?}, found {found:?}"))
}
