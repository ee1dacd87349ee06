//! Decides what is true of a case, without asking the gate.

use std::sync::Arc;

use whimbrel_statechart::evolution::{CarryError, Gate, Moment, Profile, Settings};
use whimbrel_statechart::{Chart, Checkpoint, Event, Instance, Limits, Shift, StepError, Stepped};
use whimbrel_wire::Time;

use super::NOTHING;
use crate::dice::Dice;
use crate::make::EVENTS;

const RUNS: usize = 3;
const MOVES: usize = 14;

/// Something that happens to an instance.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Event(&'static str),
    /// An event that waits.
    Deliver(&'static str),
    Wait(u64),
    Microstep,
}

/// An instance, and how it came to be.
pub(crate) struct Life {
    pub(crate) instance: Instance,
    past: Vec<Happening>,
    now: u64,
}

fn time(tenths: u64) -> Time {
    Time::from_nanos(tenths * 100_000_000)
}

fn happening(dice: &mut Dice) -> Happening {
    match dice.below(10) {
        0..=5 => Happening::Event(EVENTS[dice.below(4)]),
        6 => Happening::Event("a.x"),
        _ => Happening::Wait(5 + dice.below(30) as u64),
    }
}

fn happen(instance: &mut Instance, now: &mut u64, what: Happening) -> Result<Stepped, StepError> {
    match what {
        Happening::Event(name) => instance.step(Event::new(name, NOTHING), time(*now)),
        Happening::Deliver(name) => {
            instance.deliver(Event::new(name, NOTHING))?;
            Ok(Stepped::default())
        }
        Happening::Wait(tenths) => {
            *now += tenths;
            Ok(instance.settle(time(*now))?)
        }
        Happening::Microstep => {
            Ok(Stepped { effects: instance.advance(time(*now)), microsteps: 1 })
        }
    }
}

const LIMITS: Limits = Limits { microsteps_max: 300, mailbox_max: 64, sessions_max: 16 };

impl Life {
    /// An instance that lived for a while; none if its chart runs in a circle.
    pub(crate) fn lived(dice: &mut Dice, chart: &Arc<Chart>) -> Option<Self> {
        let mut past = Vec::new();
        if !dice.percent(2) {
            past.push(Happening::Wait(10));
        }
        for _ in 0..dice.below(8) {
            past.push(happening(dice));
        }
        if dice.percent(15) {
            past.push(Happening::Deliver(EVENTS[dice.below(4)]));
            for _ in 0..dice.below(3) {
                past.push(Happening::Microstep);
            }
        }
        Self::relived(chart, past)
    }

    fn relived(chart: &Arc<Chart>, past: Vec<Happening>) -> Option<Self> {
        let mut life =
            Self { instance: Instance::new(Arc::clone(chart), "case", LIMITS), past, now: 0 };
        for one in life.past.clone() {
            happen(&mut life.instance, &mut life.now, one).ok()?;
        }
        Some(life)
    }

    /// The active states of its own chart.
    pub(crate) fn active(&self) -> Vec<String> {
        let Some(chart) = self.instance.chart() else { return Vec::new() };
        let mut ids = Vec::new();
        let mut open: Vec<_> = chart.definition().states.iter().rev().collect();
        while let Some(state) = open.pop() {
            ids.push(state.id.clone());
            open.extend(state.states.iter().rev());
        }
        ids.retain(|id| self.instance.is_in(id));
        ids
    }
}

/// What is true of a case.
#[derive(Default)]
pub(crate) struct Truth {
    /// Why it cannot be gone on from as it is, or what of it was read as something else.
    pub(crate) misread: Option<String>,
    /// How it came out differently.
    pub(crate) differs: Option<String>,
    /// Whether an instance that had lived under the new definition would be another one.
    pub(crate) other_life: bool,
    /// Whether the gate stops it.
    pub(crate) stops: bool,
}

impl Truth {
    /// `stops`: whether the gate stops it; only then it matters whether that was right.
    pub(crate) fn of(
        dice: &mut Dice,
        gate: &Gate,
        checkpoint: &Checkpoint,
        life: &Life,
        stops: bool,
    ) -> Self {
        let mut truth = Self { stops, ..Self::default() };
        let settings = Settings { profile: Profile::Guided, ..Settings::default() };
        let now = time(life.now);
        let moment = Moment { frozen_at: now, now, shift: Shift::default() };
        let carried = match gate.carry(checkpoint, &settings, None, LIMITS, moment) {
            Ok(carried) => carried,
            Err(CarryError::Incompatible(stop)) => {
                // Whether that is right is seen by going on regardless.
                match regardless(gate, checkpoint) {
                    Ok(instance) => {
                        truth.compare(dice, gate, checkpoint, instance, life);
                        return truth;
                    }
                    Err(error) => truth.misread = Some(format!("{stop}: {error}")),
                }
                return truth;
            }
            Err(error) => {
                truth.misread = Some(error.to_string());
                return truth;
            }
        };
        if !carried.effects.is_empty() {
            truth.misread = Some("going on did something".to_owned());
        }
        truth.compare(dice, gate, checkpoint, carried.instance, life);
        truth
    }

    fn compare(
        &mut self,
        dice: &mut Dice,
        gate: &Gate,
        checkpoint: &Checkpoint,
        new: Instance,
        life: &Life,
    ) {
        let old = checkpoint
            .restore_of(gate.old_chart(), LIMITS, Shift::default())
            .expect("it is its own definition");
        let (was, is) = (look(&old), look(&new));
        if was != is {
            self.misread = Some(format!("{was:?} was read as {is:?}"));
            return;
        }
        if self.stops {
            let other = Life::relived(gate.new_chart(), life.past.clone());
            self.other_life = other.is_none_or(|other| whole(&other.instance) != whole(&new));
        }
        for _ in 0..RUNS {
            if let Some(what) = lock_step(dice, old.clone(), new.clone(), life.now) {
                self.differs = Some(what);
                return;
            }
        }
    }
}

/// The checkpoint under the new definition, as it stands.
fn regardless(gate: &Gate, checkpoint: &Checkpoint) -> Result<Instance, String> {
    let mut checkpoint = checkpoint.clone();
    checkpoint.definition = Arc::new(gate.new_chart().definition().clone());
    let checkpoint = checkpoint.sealed().map_err(|error| error.to_string())?;
    checkpoint
        .restore_of(gate.new_chart(), LIMITS, Shift::default())
        .map_err(|error| error.to_string())
}

/// Both take the same way; what they did differently, if anything.
fn lock_step(dice: &mut Dice, mut old: Instance, mut new: Instance, now: u64) -> Option<String> {
    let (mut old_now, mut new_now) = (now, now);
    for nth in 0..MOVES {
        let what = happening(dice);
        let did = happen(&mut old, &mut old_now, what);
        let does = happen(&mut new, &mut new_now, what);
        if did != does {
            return Some(format!("move {nth} {what:?}: {did:?} became {does:?}"));
        }
        let (was, is) = (look(&old), look(&new));
        if was != is {
            return Some(format!("move {nth} {what:?}: {was:?} became {is:?}"));
        }
    }
    None
}

/// What can be seen of an instance.
fn look(instance: &Instance) -> (Vec<String>, Option<Time>, bool, Vec<Option<String>>) {
    // Which states are active is what counts, not in which order the document has them.
    let mut leaves: Vec<String> = instance.leaves().map(str::to_owned).collect();
    leaves.sort_unstable();
    let data = ["x", "y"].map(|name| instance.datum(name).map(ToString::to_string));
    // A variable that is gone has no value; that is told by what reads it.
    let data = if data.iter().all(Option::is_some) { data.to_vec() } else { data[..1].to_vec() };
    (leaves, instance.next_due(), instance.is_done(), data)
}

/// All of an instance but its definition.
fn whole(instance: &Instance) -> String {
    let text = instance.capture().expect("it can be written").to_json().expect("it can be written");
    let start = text.find(r#""sessions":"#).unwrap_or_default();
    let end = text.rfind(r#","digest""#).unwrap_or(text.len());
    text[start..end].to_owned()
}
