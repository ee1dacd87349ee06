//! Decides how it is shown that an instance would do something else under the new definition: by the
//! shortest sequence of events on which the two come apart.
//!
//! Both are run side by side, breadth first. That nothing was found within the bounds is no proof.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use serde::{Deserialize, Serialize};
use whimbrel_wire::Time;

use super::carry::{Carried, CarryError, Moment};
use super::gate::{Gate, Settings};
use super::plan::Plan;
use super::rule::Profile;
use crate::chart::{Chart, Descriptor};
use crate::checkpoint::{Checkpoint, Shift};
use crate::engine::{Event, Instance, Limits, StepError, Stepped};
use crate::value::Value;

/// How far is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Events in a row.
    pub depth_max: usize,
    /// Pairs of instances.
    pub pairs_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { depth_max: 6, pairs_max: 2_000 }
    }
}

/// Something that happens to both instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Move {
    /// An event of this name comes, without data.
    Event(String),
    /// Time passes until the next timer is due.
    Wait,
}

/// How two instances came apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// What happened, the last of which tells them apart.
    pub moves: Vec<Move>,
    /// What the old definition does then.
    pub old: String,
    /// What the new one does.
    pub new: String,
}

/// How looking for a witness ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explored {
    /// The shortest one there is, if any was found.
    pub witness: Option<Witness>,
    /// How many pairs of instances were looked at.
    pub pairs: usize,
    /// Whether all was seen that events without data can lead to.
    pub complete: bool,
    /// The bounds.
    pub bounds: Bounds,
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moves: Vec<&str> = self
            .moves
            .iter()
            .map(|one| match one {
                Move::Event(name) => name.as_str(),
                Move::Wait => "(wait)",
            })
            .collect();
        let moves = if moves.is_empty() { "nothing".to_owned() } else { moves.join(", ") };
        write!(f, "after {moves}: {} became {}", self.old, self.new)
    }
}

impl Gate {
    /// Looks for events on which the instance would do something else.
    ///
    /// # Errors
    ///
    /// [`CarryError`] when it does not go on at all, even if all that is safe is agreed to.
    pub fn explore(
        &self,
        checkpoint: &Checkpoint,
        plan: Option<&Plan>,
        now: Time,
        bounds: Bounds,
    ) -> Result<Explored, CarryError> {
        let limits = Limits { microsteps_max: 1_000, mailbox_max: 256, sessions_max: 64 };
        let settings = Settings { profile: Profile::Guided, ..Settings::default() };
        let moment = Moment { frozen_at: now, now, shift: Shift::default() };
        let Carried { instance: new, .. } =
            self.carry(checkpoint, &settings, plan, limits, moment)?;
        let old = checkpoint.restore_of(self.old_chart(), limits, Shift::default())?;
        let mut names = BTreeSet::new();
        alphabet(self.old_chart(), &mut names);
        alphabet(self.new_chart(), &mut names);
        Ok(Search { names: names.into_iter().collect(), bounds }.run(old, new, now))
    }
}

/// The events that a chart or its children wait for.
fn alphabet(chart: &Chart, names: &mut BTreeSet<String>) {
    for on in chart.transitions.iter().flat_map(|transition| &transition.on) {
        names.insert(match on {
            Descriptor::Any => "whatever".to_owned(),
            Descriptor::Prefix(name) => name.to_string(),
        });
    }
    chart.children.values().for_each(|child| alphabet(child, names));
}

struct Search {
    names: Vec<String>,
    bounds: Bounds,
}

struct Node {
    old: Instance,
    new: Instance,
    now: Time,
    moves: Vec<Move>,
}

impl Search {
    fn run(&self, old: Instance, new: Instance, now: Time) -> Explored {
        let mut explored =
            Explored { witness: None, pairs: 1, complete: true, bounds: self.bounds };
        let first = Node { old, new, now, moves: Vec::new() };
        if let Some(witness) = differ(&first, None) {
            explored.witness = Some(witness);
            return explored;
        }
        let mut seen = BTreeSet::from([print(&first)]);
        let mut open = VecDeque::from([first]);
        while let Some(node) = open.pop_front() {
            let waits = node.old.next_due().is_some() || node.new.next_due().is_some();
            let events = self.names.iter().cloned().map(Move::Event);
            for one in events.chain(waits.then_some(Move::Wait)) {
                if node.moves.len() >= self.bounds.depth_max
                    || explored.pairs >= self.bounds.pairs_max
                {
                    explored.complete = false;
                    return explored;
                }
                let (next, steps) = happen(&node, &one);
                explored.pairs += 1;
                if let Some(witness) = differ(&next, Some(&steps)) {
                    explored.witness = Some(witness);
                    return explored;
                }
                if seen.insert(print(&next)) {
                    open.push_back(next);
                }
            }
        }
        explored
    }
}

type Steps = (Result<Stepped, StepError>, Result<Stepped, StepError>);

fn happen(node: &Node, one: &Move) -> (Node, Steps) {
    let (mut old, mut new) = (node.old.clone(), node.new.clone());
    let mut now = node.now;
    let mut moves = node.moves.clone();
    moves.push(one.clone());
    let steps = match one {
        Move::Event(name) => {
            let event = Event::new(name.as_str(), Value::Null);
            (old.step(event.clone(), now), new.step(event, now))
        }
        Move::Wait => {
            let due = [old.next_due(), new.next_due()].into_iter().flatten().min();
            now = now.max(due.unwrap_or(now));
            (old.settle(now).map_err(Into::into), new.settle(now).map_err(Into::into))
        }
    };
    (Node { old, new, now, moves }, steps)
}

/// What can be told apart of two instances that should be alike.
fn differ(node: &Node, steps: Option<&Steps>) -> Option<Witness> {
    let told = |instance: &Instance, step: Option<&Result<Stepped, StepError>>| {
        let leaves: Vec<&str> = instance.leaves().collect();
        let effects = step.map(|step| step.as_ref().map(|stepped| &stepped.effects));
        let due = instance.next_due().map(|due| due.to_string());
        (leaves.join(" "), format!("{effects:?}"), due, instance.is_done())
    };
    let old = told(&node.old, steps.map(|steps| &steps.0));
    let new = told(&node.new, steps.map(|steps| &steps.1));
    if old == new {
        return None;
    }
    let words = |told: &Told, other: &Told| {
        let mut words = vec![format!("in {}", told.0)];
        if told.1 != other.1 {
            words.push(format!("doing {}", told.1));
        }
        if told.2 != other.2 {
            words.push(
                told.2.as_ref().map_or_else(|| "no timer".to_owned(), |due| format!("due {due}")),
            );
        }
        words.join(", ")
    };
    let moves = node.moves.clone();
    Some(Witness { moves, old: words(&old, &new), new: words(&new, &old) })
}

type Told = (String, String, Option<String>, bool);

/// What names a pair of instances, time apart.
fn print(node: &Node) -> String {
    let part = |instance: &Instance| {
        let mut sessions = instance.records();
        let start = node.now.as_nanos();
        for record in &mut sessions {
            for timer in record.timers.values_mut() {
                timer.due = Time::from_nanos(timer.due.as_nanos().saturating_sub(start));
            }
            record.next_timer = 0;
            record.next_id = 0;
            let timers: Vec<_> = std::mem::take(&mut record.timers).into_values().collect();
            record.timers = (0..).zip(timers).collect();
        }
        serde_json::to_string(&sessions).unwrap_or_default()
    };

    format!("{}|{}", part(&node.old), part(&node.new))
}
