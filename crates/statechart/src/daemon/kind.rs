//! Decides what a statechart does as a daemon, turn by turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;
use whimbrel_daemon::limits::ANSWER_BYTES_MAX;
use whimbrel_daemon::{Coming, Context, MeshDaemon, Misfit, Objection, Paged, ProcessError};
use whimbrel_mutants::Mutant;
use whimbrel_wire::{CausalEvent, EntityId, EvolutionWord, Sender, Time, TimerId, hex};

use super::becoming::Terms;
use super::kin::Newborn;
use super::outputs::{Outputs, json};
use super::palette::{Palette, Score};
use super::said::{Question, Said};
use crate::engine::{Event, Instance, Kin, Kinship, Limits};
use crate::evolution::PlanError;
use crate::value::Value;

/// The one timer of the host: where the next one of the chart is due.
const ALARM: TimerId = TimerId::new(0);

/// A statechart as a daemon.
pub struct Statechart {
    pub(super) palette: Arc<Palette>,
    /// None until it is founded or restored.
    pub(super) running: Option<Running>,
}

pub(super) struct Running {
    pub(super) score: Arc<Score>,
    pub(super) instance: Instance,
    /// What was agreed for a move, until it goes on under another definition.
    pub(super) terms: Option<Arc<Terms>>,
    /// Whether it may want something of its node that was not said yet.
    pub(super) calls: bool,
}

/// Why a payload is declined. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It was born without a definition. Fault: whoever spawned it. Again: no.
    #[error("the statechart has no definition")]
    NoDefinition,
    /// The payload is no text. Fault: sender. Again: no.
    #[error("an event is text: NAME, NAME JSON, or a JSON object")]
    NoText,
    /// The payload is not what it seems to be. Fault: sender. Again: no.
    #[error("not an event: {0}")]
    Malformed(String),
    /// The name cannot be one. Fault: sender. Again: no.
    #[error("an event has a name of 1 to 256 bytes without white space")]
    Name,
    /// The name is one of the engine's own. Fault: sender. Again: no.
    #[error("{0} can only come from the chart itself")]
    Reserved(String),
    /// Only a daemon that is its parent or its child may say this. Fault: sender. Again: no.
    #[error("a letter between parent and child came from nobody that is kin")]
    Stranger,
    /// There is no such question. Fault: sender. Again: no.
    #[error("the questions are ?state, ?data [NAME], ?definition and ?checkpoint")]
    NoQuestion,
    /// There is no such variable. Fault: sender. Again: no.
    #[error("there is no value of {0}")]
    NoDatum(String),
    /// The answer would be too long. Fault: nobody. Again: no; export a snapshot instead.
    #[error("the answer is too long")]
    AnswerTooLong,
    /// The chart has come to its end. Fault: nobody. Again: no.
    #[error("the statechart has come to its end")]
    Over,
    /// Too many events wait in the chart. Fault: nobody. Again: later.
    #[error("too many events wait")]
    Busy,
    /// The chart runs in a circle. Fault: the chart. Again: no.
    #[error("the step does not end: more than {0} microsteps")]
    Overrun(u32),
    /// The chart goes on sending to nobody. Fault: the chart. Again: no.
    #[error("the chart sends to nowhere again and again")]
    SentNowhere,
    /// The turn would put out more than a turn may. Fault: the chart. Again: no.
    #[error("the step puts out more than a turn may")]
    TooMuch,
    /// What was agreed is no plan, or none for this definition. Fault: whoever asks for the move.
    /// Again: with another plan.
    #[error("the plan does not fit: {0}")]
    Plan(PlanError),
    /// It cannot go on under the definition that it was told. Fault: nobody; it was judged before.
    /// Again: no.
    #[error("could not go on under another definition: {0}")]
    NotAdopted(String),
    /// Our mistake.
    #[error("could not write an output: {0}")]
    Internal(String),
}

impl From<Refusal> for ProcessError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.to_string())
    }
}

/// What a hosted instance may use.
pub(super) fn limits() -> Limits {
    Limits::default()
}

#[derive(serde::Serialize)]
struct Where<'a> {
    r#in: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<&'a Value>,
}

#[derive(serde::Serialize)]
struct Standing<'a> {
    r#in: Vec<&'a str>,
    done: bool,
    /// When the next timer is due, in nanoseconds of the daemon's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_nanos: Option<u64>,
    /// How far it has come as a child of another daemon.
    #[serde(skip_serializing_if = "Option::is_none")]
    kin: Option<Kinship>,
    /// Its children that are daemons of their own, by id: where they are, or nothing before they are born.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    children: BTreeMap<&'a str, Option<&'a str>>,
    now_nanos: u64,
    definition: &'a str,
    version: &'a str,
}

#[derive(serde::Serialize)]
struct Text<'a> {
    digest: &'a str,
    definition: &'a crate::definition::Definition,
}

impl Statechart {
    /// The name of the kind.
    pub const NAME: &str = "statechart";

    /// A fresh one, to be founded or restored under `palette`.
    #[must_use]
    pub const fn new(palette: Arc<Palette>) -> Self {
        Self { palette, running: None }
    }

    /// Says what it wants of its node, if that may have changed.
    fn call(&mut self) {
        if let Some(running) = &mut self.running
            && std::mem::take(&mut running.calls)
        {
            self.palette.hear_calls(&running.instance);
        }
    }

    /// The instance, once there is one.
    #[must_use]
    pub fn instance(&self) -> Option<&Instance> {
        self.running.as_ref().map(|running| &running.instance)
    }
}

impl Running {
    /// Takes an event, completely or not at all.
    fn hear(&mut self, context: &mut Context<'_>, event: Event) -> Result<Vec<Bytes>, Refusal> {
        if self.instance.is_done() {
            return Err(Refusal::Over);
        }
        let before = self.instance.next_due();
        let (entity, now) = (*context.entity(), context.now());
        let hear = |instance: &mut Instance| {
            instance.deliver(event).map_err(|_| Refusal::Busy)?;
            let mut outputs = Outputs::settle(instance, &entity, now)?;
            if outputs.answers.is_empty() {
                let (r#in, done) = (instance.leaves().collect(), outputs.done.as_ref());
                outputs.answers.push(json(&Where { r#in, done })?);
            }
            Ok::<_, Refusal>(outputs)
        };
        let outputs = if Mutant::HalfSteps.is_on() {
            hear(&mut self.instance)?
        } else {
            self.instance.attempt(hear)?
        };
        self.alarm(context, before);
        Ok(self.put_out(context, outputs))
    }

    /// Takes a letter of a parent or a child, completely or not at all.
    fn heed(&mut self, context: &mut Context<'_>, kin: Kin) -> Result<Vec<Bytes>, Refusal> {
        let Some(Sender::Daemon(sender)) = context.sender() else { return Err(Refusal::Stranger) };
        let (from, before) = (format!("daemon:{}", sender.key()), self.instance.next_due());
        let (entity, now) = (*context.entity(), context.now());
        let heed = |instance: &mut Instance| {
            let wanted = instance.heed(&from, kin, now).map_err(|_| Refusal::Stranger)?;
            Outputs::settle_after(wanted, instance, &entity, now)
        };
        let outputs = self.instance.attempt(heed)?;
        self.calls = true;
        self.alarm(context, before);
        Ok(self.put_out(context, outputs))
    }

    /// Asks for what a turn puts out; the answers are given back.
    pub(super) fn put_out(
        &mut self,
        context: &mut Context<'_>,
        mut outputs: Outputs,
    ) -> Vec<Bytes> {
        for (session, child) in std::mem::take(&mut outputs.unborn) {
            let mut token = [0; 16];
            context.fill_random(&mut token);
            self.instance.name_unborn(session, &child, hex(&token).into());
            self.calls = true;
        }
        outputs.ask(context)
    }

    /// Timers are due.
    fn wake(&mut self, context: &mut Context<'_>) {
        let (entity, now) = (*context.entity(), context.now());
        let settle = |instance: &mut Instance| {
            let wanted = instance.present().into_iter().collect();
            Outputs::settle_after(wanted, instance, &entity, now)
        };
        match self.instance.attempt(settle) {
            Ok(outputs) => drop(self.put_out(context, outputs)),
            Err(why) => {
                // They would do the same again, and nothing after them would be heard.
                self.instance.forget_due(now);
                Outputs::lament(context, &why);
            }
        }
        self.alarm(context, None);
    }

    /// Sets the host's timer where the next one of the chart is due, unless it stands there.
    pub(super) fn alarm(&self, context: &mut Context<'_>, before: Option<Time>) {
        match self.instance.next_due() {
            _ if Mutant::AlarmDropped.is_on() => {}
            due if due == before => {}
            Some(due) => context.set_timer(ALARM, due),
            None => context.cancel_timer(ALARM),
        }
    }

    fn answer(&self, now: Time, question: Question) -> Result<Bytes, Refusal> {
        let Self { score, instance, .. } = self;
        let answer = match question {
            Question::State => json(&Standing {
                r#in: instance.leaves().collect(),
                done: instance.is_done(),
                due_nanos: instance.next_due().map(Time::as_nanos),
                kin: instance.above().map(|above| above.standing),
                children: instance.elsewhere(),
                now_nanos: now.as_nanos(),
                definition: &score.chart.digest,
                version: &score.chart.definition().version,
            }),
            Question::Data(None) => json(&instance.data()),
            Question::Data(Some(name)) => {
                json(instance.datum(&name).ok_or(Refusal::NoDatum(name))?)
            }
            Question::Definition => {
                json(&Text { digest: &score.chart.digest, definition: score.chart.definition() })
            }
            Question::Checkpoint => {
                let internal = |error: crate::CheckpointError| Refusal::Internal(error.to_string());
                let checkpoint = instance.capture().map_err(internal)?;
                Ok(Bytes::from(checkpoint.to_json().map_err(internal)?))
            }
        }?;
        if answer.len() > ANSWER_BYTES_MAX { Err(Refusal::AnswerTooLong) } else { Ok(answer) }
    }
}

impl MeshDaemon for Statechart {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn found(
        &mut self,
        entity: &EntityId,
        given: Option<&[u8]>,
    ) -> Result<Option<TimerId>, Misfit> {
        let given = given.ok_or_else(|| Misfit("a statechart is given a definition".to_owned()))?;
        let misfit = |error: super::PaletteError| Misfit(error.to_string());
        let name = entity.key().to_string();
        let (score, instance) = match Newborn::read(given) {
            None => {
                let score = self.palette.read(given).map_err(misfit)?;
                self.palette.bears(&score).map_err(misfit)?;
                let instance = Instance::new(Arc::clone(&score.chart), name, limits());
                (score, instance)
            }
            // Its definition came with that of its parent, which was taken.
            Some(newborn) => {
                let newborn = newborn.map_err(Misfit)?;
                let definition = Arc::unwrap_or_clone(newborn.definition);
                let score = self.palette.play(definition).map_err(misfit)?;
                let instance = Instance::new(Arc::clone(&score.chart), name, limits());
                let instance = instance.under(newborn.kin, newborn.given);
                (score, instance)
            }
        };
        self.running = Some(Running { score, instance, terms: None, calls: false });
        Ok(Some(ALARM))
    }

    fn process(
        &mut self,
        context: &mut Context<'_>,
        event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError> {
        let running = self.running.as_mut().ok_or(Refusal::NoDefinition)?;
        let answers = match Said::read(&event.payload)? {
            Said::Question(question) => vec![running.answer(context.now(), question)?],
            Said::Event(event) => running.hear(context, event)?,
            Said::Kin(kin) => running.heed(context, *kin)?,
            Said::Placed => {
                running.instance.placed();
                running.calls = true;
                Vec::new()
            }
        };
        self.call();
        Ok(answers)
    }

    fn on_timer(&mut self, context: &mut Context<'_>, _timer: TimerId) {
        if let Some(running) = &mut self.running {
            running.wake(context);
        }
        self.call();
    }

    fn foresee(&self, coming: &Coming) -> Result<(), Objection> {
        self.running.as_ref().map_or(Ok(()), |running| running.foresee(&self.palette, coming))
    }

    fn judge(&self, coming: &Coming) -> Result<Option<Bytes>, Objection> {
        self.running.as_ref().map_or(Ok(None), |running| running.judge(&self.palette, coming))
    }

    fn evolves(&self) -> bool {
        true
    }

    fn evolve(
        &mut self,
        context: &mut Context<'_>,
        word: &EvolutionWord,
    ) -> Result<Vec<Bytes>, ProcessError> {
        let running = self.running.as_mut().ok_or(Refusal::NoDefinition)?;
        match word {
            EvolutionWord::Agreed { attempt, terms } => running.agree(*attempt, terms.clone())?,
            EvolutionWord::Adopted { attempt, definition } => {
                running.adopt(&self.palette, context, *attempt, definition)?;
            }
        }
        Ok(Vec::new())
    }

    fn paged(&mut self) -> Option<&mut dyn Paged> {
        Some(self)
    }
}
