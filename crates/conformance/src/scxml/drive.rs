//! Decides how an instance is driven: by a clock that jumps to the next timer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use whimbrel_statechart::evolution::{Gate, Settings, Verdict};
use whimbrel_statechart::scxml::{Ours, Surroundings, export, import};
use whimbrel_statechart::{Chart, Checkpoint, Definition, Effect, Event, Instance, Limits, Shift};
use whimbrel_wire::Time;

/// The longest that a test may take, by its own clock.
const SECONDS_MAX: u64 = 600;

/// Where an instance is moved: written down, serialised, and gone on from with another clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moves {
    Never,
    /// Whenever nothing is left to do, and in the middle of every delay.
    Macrosteps,
    /// Between any two microsteps, and in the middle of every delay.
    Microsteps,
}

/// How far the clocks of two places differ.
const SKEW_NANOS: i64 = 3_600_000_000_000;

/// What comes back of a definition that goes out as SCXML must be the same to the gate.
fn there_and_back(definition: &Definition) -> Result<()> {
    let library = BTreeMap::new();
    let around = Surroundings { language: &Ours, load: &|_| None, library: &library };
    let again = import(&export(definition)?, &around).context("what was exported")?;
    let report = Gate::new(definition.clone(), again)?.judge_any(&Settings::default());
    if report.verdict > Verdict::Equivalent {
        bail!("another definition came back from SCXML: {report}");
    }
    Ok(())
}

/// An instance with its clock, and what it said.
pub(crate) struct Driver {
    instance: Instance,
    pub(crate) now: Time,
    pub(crate) said: Vec<Effect>,
    moves: Moves,
    pub(crate) moved: u64,
}

impl Driver {
    pub(crate) fn start(definition: Definition, moves: Moves) -> Result<Self> {
        there_and_back(&definition)?;
        let chart = Arc::new(Chart::new(definition).context("the chart is not legal")?);
        let instance = Instance::new(chart, "test", Limits::default());
        let now = Time::from_nanos(1_000_000_000_000);
        let mut driver = Self { instance, now, said: Vec::new(), moves, moved: 0 };
        if moves == Moves::Microsteps {
            driver.relocate()?;
        }
        driver.settle()?;
        Ok(driver)
    }

    fn settle(&mut self) -> Result<()> {
        self.said.append(&mut self.instance.fire(self.now));
        let mut microsteps = 0;
        while self.instance.is_busy() {
            microsteps += 1;
            if microsteps > Limits::default().microsteps_max {
                bail!("the step does not end");
            }
            let mut said = self.instance.advance(self.now);
            self.said.append(&mut said);
            if self.moves == Moves::Microsteps {
                self.relocate()?;
            }
        }
        if self.moves == Moves::Macrosteps { self.relocate() } else { Ok(()) }
    }

    /// Moves the instance to a place whose clock is an hour ahead of, or behind, the one here.
    fn relocate(&mut self) -> Result<()> {
        self.moved += 1;
        let ahead = if self.moved.is_multiple_of(2) { -SKEW_NANOS } else { SKEW_NANOS };
        let text = self.instance.capture()?.to_json()?;
        let checkpoint = Checkpoint::from_json(&text)?;
        let restored = checkpoint.restore(Limits::default(), Shift(ahead))?;
        self.now = Time::from_nanos(self.now.as_nanos().saturating_add_signed(ahead));
        self.instance = restored;
        Ok(())
    }

    /// Lets half of the time until `due` pass, and moves in the middle of the delay.
    fn approach(&mut self, due: Time) -> Result<Time> {
        if self.moves == Moves::Never {
            return Ok(due);
        }
        let left = due.since(self.now);
        self.now = self.now + left / 2;
        self.said.append(&mut self.instance.fire(self.now));
        self.relocate()?;
        Ok(self.now + (left - left / 2))
    }

    pub(crate) fn hear(&mut self, event: Event) -> Result<()> {
        self.instance.deliver(event)?;
        self.settle()
    }

    /// Lets time pass, from timer to timer.
    pub(crate) fn wait(&mut self, span: Duration) -> Result<()> {
        let mut left = span;
        while let Some(due) = self.instance.next_due() {
            let until = due.since(self.now);
            if until > left {
                break;
            }
            left -= until;
            self.now = self.approach(due)?.max(self.now);
            self.settle()?;
        }
        self.now = self.now + left;
        Ok(())
    }

    /// Lets time pass until the instance has come to its end, or nothing more will happen.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let mut left = Duration::from_secs(SECONDS_MAX);
        while !self.instance.is_done() {
            let Some(due) = self.instance.next_due() else { return Ok(()) };
            let until = due.since(self.now);
            if until > left {
                bail!("it goes on for more than {SECONDS_MAX} s");
            }
            left -= until;
            self.now = self.approach(due)?.max(self.now);
            self.settle()?;
        }
        Ok(())
    }

    pub(crate) const fn instance(&self) -> &Instance {
        &self.instance
    }
}
