//! Decides what executable content does.
//!
//! A block ends at its first error, which becomes an event. Nothing here reaches another session or
//! the world: what is to happen there is left on the [`Desk`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use whimbrel_wire::Time;

use super::effect::Effect;
use super::event::{CHART_PROCESSOR, Event, EventKind};
use super::kin::{Above, Kin, KinWord};
use super::session::{Session, SessionId, Target, Timer, told};
use super::spawn::{Kid, Nursery, spawn, stop};
use crate::chart::{Act, Body, Place, Sending, Source, Step, Word};
use crate::definition::Origin;
use crate::expression::{Expression, Fault};
use crate::value::Value;

/// How many items one loop may go through in one microstep, inner loops included.
const LOOP_ITEMS_MAX: u32 = 1_000_000;

/// What a microstep leaves to others.
pub(crate) struct Desk<'a> {
    pub(crate) now: Time,
    /// Which sessions there are, by the name that charts know.
    pub(crate) directory: &'a dyn Fn(&str) -> Option<SessionId>,
    pub(crate) posts: Vec<(SessionId, Arc<Event>)>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) cancelled: Vec<SessionId>,
    pub(super) nursery: Nursery,
    /// A parent that is another daemon; only for the instance's own chart.
    pub(super) above: Option<&'a Above>,
    /// Whether a final state of the chart was entered.
    pub(crate) finished: bool,
    /// An error that nothing in a supervised session waits for.
    pub(crate) failed: Option<Arc<Event>>,
    pub(crate) items: u32,
    /// Where in a file what is being done stood, if that is known.
    pub(crate) origin: Option<Arc<Origin>>,
}

/// What ends a block: the error is told already, or is to be.
enum Stop {
    Fault(Fault),
    Told,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Does a block of actions.
pub(crate) fn perform(session: &mut Session, desk: &mut Desk<'_>, acts: &[Act]) {
    if let Err(Stop::Fault(fault)) = all(session, desk, acts) {
        session.fault_at(&fault, desk.origin.as_deref());
    }
    desk.origin = None;
}

fn all(session: &mut Session, desk: &mut Desk<'_>, acts: &[Act]) -> Result<(), Stop> {
    acts.iter().try_for_each(|act| one(session, desk, act))
}

fn one(session: &mut Session, desk: &mut Desk<'_>, act: &Act) -> Result<(), Stop> {
    match act {
        Act::Raise(name) => {
            let event = Event::of(EventKind::Internal, Arc::clone(name), Value::Null);
            session.raise(event)?;
        }
        Act::Assign { to, value } => {
            let value = value.evaluate(session)?;
            assign(session, to, value)?;
        }
        Act::If(branches) => {
            for (when, acts) in branches {
                if choose(session, when.as_ref(), desk.origin.as_deref()) {
                    return all(session, desk, acts);
                }
            }
        }
        Act::ForEach { list, item, index, acts } => {
            for_each(session, desk, list, *item, *index, acts)?;
        }
        Act::Log { label, value } => {
            let value = value.as_ref().map(|value| value.evaluate(session)).transpose()?;
            let (label, value) = (label.clone(), value.unwrap_or(Value::Null));
            desk.effects.push(Effect::Log { session: session.id, label, value });
        }
        Act::Send(sending) => send(session, desk, sending)?,
        Act::Cancel(id) => {
            let id = id.evaluate(session)?;
            session.forget_timers(|timer| timer.id.as_ref() == Some(&id));
        }
        Act::Spawn(spawning) => spawn(session, desk, spawning)?,
        Act::Stop(id) => {
            let id = id.evaluate(session)?;
            stop(session, desk, &id);
        }
        Act::Fail(why) => return Err(Fault::new(&**why).into()),
        Act::At(origin, inner) => {
            // What fails in it is told by whoever hears of that, and then it still is the place.
            let around = desk.origin.replace(Arc::clone(origin));
            one(session, desk, inner)?;
            desk.origin = around;
        }
    }
    Ok(())
}

/// Whether a branch is taken; a condition without truth value is told, and is not.
fn choose(session: &mut Session, when: Option<&Expression>, at: Option<&Origin>) -> bool {
    let holds = when.map_or(Ok(true), |when| when.holds(session));
    holds.unwrap_or_else(|fault| {
        session.fault_at(&fault, at);
        false
    })
}

fn for_each(
    session: &mut Session,
    desk: &mut Desk<'_>,
    list: &Expression,
    item: Option<u32>,
    index: Option<Option<u32>>,
    acts: &[Act],
) -> Result<(), Stop> {
    let Value::List(list) = list.evaluate(session)? else {
        return Err(Fault::new("a loop goes through a list").into());
    };
    let Some(item) = item else { return Err(Fault::new("a loop has no variable").into()) };
    let index = match index {
        Some(None) => return Err(Fault::new("a loop has no variable for the place").into()),
        Some(Some(index)) => Some(index),
        None => None,
    };
    for (place, value) in list.items().iter().enumerate() {
        desk.items += 1;
        if desk.items > LOOP_ITEMS_MAX {
            return Err(Fault::new("loops go through too many items").into());
        }
        session.set_datum(item, value.clone());
        if let Some(index) = index {
            let place = i64::try_from(place).unwrap_or(i64::MAX);
            session.set_datum(index, Value::Int(place));
        }
        all(session, desk, acts)?;
    }
    Ok(())
}

/// Gives a variable, or a part of one, a value.
pub(crate) fn assign(session: &mut Session, to: &Place, value: Value) -> Result<(), Fault> {
    let Some(variable) = to.variable else {
        return Err(Fault::new(format!("{} cannot be given a value", to.text)));
    };
    let place = variable as usize;
    if session.data[place].is_none() && !session.chart.declared[place] {
        return Err(Fault::new(format!("there is no variable {}", to.text)));
    }
    if to.steps.is_empty() {
        session.set_datum(variable, value);
        return Ok(());
    }
    let mut path = Vec::with_capacity(to.steps.len());
    for step in &to.steps {
        path.push(match step {
            Step::Field(name) => Value::Text(Arc::clone(name)),
            Step::Index(index) => index.evaluate(session)?,
        });
    }
    let whole = session.data[place].clone();
    let whole = whole.ok_or_else(|| Fault::new(format!("{} has no value", to.text)))?;
    session.set_datum(variable, replaced(&whole, &path, value)?);
    Ok(())
}

/// A value with `new` at the end of `path`.
fn replaced(of: &Value, path: &[Value], new: Value) -> Result<Value, Fault> {
    let Some((first, rest)) = path.split_first() else { return Ok(new) };
    match (of, first) {
        (Value::Map(map), Value::Text(name)) => {
            let inner = match map.get(name) {
                Some(inner) => replaced(inner, rest, new)?,
                None if rest.is_empty() => new,
                None => return Err(Fault::new(format!("there is no {name} in the map"))),
            };
            let mut entries = map.entries().clone();
            entries.insert(Arc::clone(name), inner);
            Ok(Value::map(entries)?)
        }
        (Value::List(list), Value::Int(place)) => {
            let mut items = list.items().to_vec();
            let place = usize::try_from(*place).unwrap_or(usize::MAX);
            let length = items.len();
            match items.get_mut(place) {
                Some(inner) => *inner = replaced(inner, rest, new)?,
                None if rest.is_empty() && place == length => items.push(new),
                None => return Err(Fault::new("there is no such item in the list")),
            }
            Ok(Value::list(items)?)
        }
        (of, first) => Err(Fault::new(format!("{} has no {} in it", of.kind(), first.kind()))),
    }
}

impl Source {
    pub(crate) fn evaluate(&self, session: &Session) -> Result<Value, Fault> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Expression(expression) => expression.evaluate(session),
        }
    }
}

impl Word {
    pub(crate) fn evaluate(&self, session: &Session) -> Result<Arc<str>, Fault> {
        match self {
            Self::Fixed(text) => Ok(Arc::clone(text)),
            Self::Expression(expression) => {
                let value = expression.evaluate(session)?;
                let Value::Text(text) = value else {
                    return Err(Fault::new(format!("{} stands for a text", value.kind())));
                };
                Ok(text)
            }
        }
    }
}

impl Body {
    /// What is brought. What cannot be reckoned is told and left out.
    pub(crate) fn evaluate(&self, session: &mut Session) -> Value {
        match self.strict(session) {
            Ok(value) => value,
            Err(fault) => {
                session.fault(&fault);
                Value::Null
            }
        }
    }

    /// What is brought.
    pub(crate) fn strict(&self, session: &Session) -> Result<Value, Fault> {
        if let Some(content) = &self.content {
            return content.evaluate(session);
        }
        if self.params.is_empty() {
            return Ok(Value::Null);
        }
        Ok(Value::map(self.named(session)?)?)
    }

    pub(crate) fn named(&self, session: &Session) -> Result<BTreeMap<Arc<str>, Value>, Fault> {
        let param =
            |(name, source): &(Arc<str>, Source)| Ok((Arc::clone(name), source.evaluate(session)?));
        self.params.iter().map(param).collect()
    }
}

fn word(session: &Session, word: Option<&Word>) -> Result<Option<Arc<str>>, Fault> {
    word.map(|word| word.evaluate(session)).transpose()
}

fn send(session: &mut Session, desk: &mut Desk<'_>, sending: &Sending) -> Result<(), Stop> {
    let id = match (&sending.id, &sending.id_into) {
        (Some(id), _) => Some(Arc::clone(id)),
        (None, Some(place)) => {
            let made: Arc<str> = format!("send.{}", session.make_id()).into();
            assign(session, place, Value::Text(Arc::clone(&made)))?;
            Some(made)
        }
        (None, None) => None,
    };
    if let Err(fault) = prepared(session, desk, sending, id.as_ref()) {
        session.fail("error.execution", told(&fault.0, desk.origin.as_deref()), id);
        return Err(Stop::Told);
    }
    Ok(())
}

fn prepared(
    session: &mut Session,
    desk: &mut Desk<'_>,
    sending: &Sending,
    id: Option<&Arc<str>>,
) -> Result<(), Fault> {
    let name = word(session, sending.event.as_ref())?;
    let to = word(session, sending.to.as_ref())?;
    let by = word(session, sending.by.as_ref())?;
    let delay = word(session, sending.delay.as_ref())?;
    let delay = delay.map_or(Ok(Duration::ZERO), |delay| duration(&delay))?;
    let data = sending.data.strict(session)?;
    let to = target(to.as_deref(), by)?;
    let internal = to == Target::Internal;
    if internal && !delay.is_zero() {
        return Err(Fault::new("an internal event has no delay"));
    }
    let kind = if internal { EventKind::Internal } else { EventKind::External };
    let name = name.ok_or_else(|| Fault::new("an event has a name"))?;
    let mut event = Event::of(kind, name, data);
    event.send_id = id.cloned();
    if !internal {
        event.origin = Some(session.location().into());
        event.origin_type = Some(CHART_PROCESSOR.into());
    }
    if internal {
        return session.raise(event);
    }
    if delay.is_zero() {
        deliver(session, desk, to, event);
        return Ok(());
    }
    if session.timers.len() >= session.room {
        return Err(Fault::new("too many timers run"));
    }
    let id = id.cloned();
    let slot = Arc::clone(&sending.slot);
    let delay_nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
    let timer = Timer { due: desk.now + delay, delay_nanos, slot, id, to, event };
    session.add_timer(timer);
    Ok(())
}

/// Where a text says that an event goes.
fn target(to: Option<&str>, by: Option<Arc<str>>) -> Result<Target, Fault> {
    let ours = match by.as_deref() {
        None | Some("scxml" | CHART_PROCESSOR) => true,
        Some(other) if other.starts_with("host:") => false,
        Some(other) => return Err(Fault::new(format!("there is no processor {other}"))),
    };
    let to = to.unwrap_or_default();
    if !ours {
        return Ok(Target::Outside { to: to.into(), by });
    }
    Ok(match to {
        "" => Target::Own,
        "#_internal" => Target::Internal,
        "#_parent" => Target::Parent,
        to => match (to.strip_prefix("#_scxml_"), to.strip_prefix("#_")) {
            (Some(session), _) => Target::Session(session.into()),
            (None, Some(child)) => Target::Child(child.into()),
            (None, None) if to.starts_with("daemon:") => {
                Target::Outside { to: to.into(), by: None }
            }
            (None, None) => return Err(Fault::new(format!("{to} is nowhere to send to"))),
        },
    })
}

/// Brings an event where it goes, or tells that it cannot be reached.
pub(crate) fn deliver(session: &mut Session, desk: &mut Desk<'_>, to: Target, mut event: Event) {
    let reached = match to {
        Target::Own => Some(session.id),
        Target::Internal => {
            session.tell(event);
            return;
        }
        Target::Parent if session.parent.is_none() && desk.above.is_some() => {
            let letter = desk.above.map(|above| Effect::Kin {
                to: Arc::clone(&above.parent),
                kin: Box::new(Kin {
                    session: above.session,
                    number: above.number,
                    word: KinWord::Says(Box::new(event)),
                }),
            });
            desk.effects.extend(letter);
            return;
        }
        Target::Parent => session.parent.as_ref().map(|parent| {
            event.invoke_id = Some(Arc::clone(&parent.invoke_id));
            parent.session
        }),
        Target::Child(id) => match session.kid(&id) {
            Some(Kid { session: None, .. }) => {
                let send_id = event.send_id.clone();
                match session.send_abroad(&id, event) {
                    Ok(letter) => desk.effects.extend(letter),
                    Err(fault) => {
                        let why = told(&fault.0, desk.origin.as_deref());
                        session.fail("error.communication", why, send_id);
                    }
                }
                return;
            }
            child => child.and_then(|child| child.session),
        },
        Target::Session(name) if *name == *session.name() => Some(session.id),
        Target::Session(name) => (desk.directory)(&name),
        Target::Outside { to, by } => {
            desk.effects.push(Effect::Send { session: session.id, to, by, event });
            return;
        }
    };
    match reached {
        Some(reached) => desk.posts.push((reached, Arc::new(event))),
        None => {
            let send_id = event.send_id;
            session.fail(
                "error.communication",
                told("nobody is there", desk.origin.as_deref()),
                send_id,
            );
        }
    }
}

/// The span that a text names: a number and `ms`, `s`, `m`, `h` or `d`.
pub(crate) fn duration(text: &str) -> Result<Duration, Fault> {
    let text = text.trim();
    let split = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        "" if number == "0" => 1.0,
        _ => return Err(Fault::new(format!("{text} is no span of time"))),
    };
    let number: f64 =
        number.trim().parse().map_err(|_| Fault::new(format!("{text} is no span of time")))?;
    Duration::try_from_secs_f64(number * seconds)
        .map_err(|_| Fault::new(format!("{text} is no span of time")))
}
