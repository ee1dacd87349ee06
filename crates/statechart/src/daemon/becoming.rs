//! Decides how a hosted statechart comes to live under another definition.
//!
//! ```text
//! source:  Agreed (a turn, only with a plan or consents) ─▶ … ─▶ frozen
//! target:  foresee (built) ─▶ replay, under the source's definition ─▶ judge (at the frozen state)
//!                                                  │ objection: the source serves on
//!          commit ─▶ Adopted: the first turn of the epoch, with the definition in full
//! ```
//!
//! What passes is worked out to the end by [`judge`](Running::judge), on a copy, so the turn that does it
//! has nothing left to fail at. The turn itself judges no more: the journal says what was decided, and
//! a replay by a later build must come to the same.

use std::sync::Arc;

use bytes::Bytes;
use whimbrel_daemon::{Coming, Context, Objection, Whole};
use whimbrel_wire::limits::REPORT_BYTES_MAX;
use whimbrel_wire::{AttemptId, EntityId, FrameError, Time, decode, encode};

use super::kind::{Refusal, Running, limits};
use super::outputs::Outputs;
use super::palette::{Palette, Score};
use crate::checkpoint::Shift;
use crate::engine::{Effect, Instance};
use crate::evolution::{
    CarryError, Gate, IncompatibleMigration, Moment, Plan, PlanError, Report, Settings,
};

/// What terms begin with when they are written down. No CBOR begins with it, and so no definition.
const MARK: &[u8] = b"\xffterms1\0";

/// What was agreed for a move.
pub(super) struct Terms {
    attempt: AttemptId,
    plan: Plan,
    written: Whole,
}

impl Terms {
    fn new(attempt: AttemptId, text: Bytes) -> Result<Self, PlanError> {
        let malformed = |error: std::str::Utf8Error| PlanError::Malformed(error.to_string());
        let plan = Plan::from_json(std::str::from_utf8(&text).map_err(malformed)?)?;
        let bytes = [MARK, &encode(&(attempt, text))].concat();
        Ok(Self { attempt, plan, written: Whole::new(Bytes::from(bytes)) })
    }

    /// What was written down; none if that is something else.
    pub(super) fn read(bytes: &[u8]) -> Option<Result<Self, PlanError>> {
        let bytes = bytes.strip_prefix(MARK)?;
        let broken = |error: FrameError| PlanError::Malformed(error.to_string());
        let read: Result<(AttemptId, Bytes), _> = decode(bytes).map_err(broken);
        Some(read.and_then(|(attempt, text)| Self::new(attempt, text)))
    }

    pub(super) const fn written(&self) -> &Whole {
        &self.written
    }
}

impl Running {
    /// Takes note of a plan for a move.
    pub(super) fn agree(&mut self, attempt: AttemptId, text: Bytes) -> Result<(), Refusal> {
        let terms = Terms::new(attempt, text).map_err(Refusal::Plan)?;
        let chart = &self.score.chart;
        let own = Gate::between(chart, chart);
        let own = own.map_err(|error| Refusal::NotAdopted(error.to_string()))?;
        // A plan that was done already is one for its result.
        if terms.plan.to != *self.score.chart.digest {
            terms.plan.check_old(&own).map_err(Refusal::Plan)?;
        }
        self.terms = Some(Arc::new(terms));
        Ok(())
    }

    fn plan_of(&self, attempt: AttemptId) -> Option<&Plan> {
        let terms = self.terms.as_deref()?;
        (terms.attempt == attempt).then_some(&terms.plan)
    }

    /// What the definitions alone decide.
    pub(super) fn foresee(&self, palette: &Palette, coming: &Coming) -> Result<(), Objection> {
        let plan = self.plan_of(coming.attempt);
        let Some(next) = palette.other_than(&self.score).map_err(objection)? else {
            return self.needs_no(plan);
        };
        let gate = palette.gate(&self.score, &next).map_err(objection)?;
        plan.map_or(Ok(()), |plan| plan.check(&gate)).map_err(objection)
    }

    /// Where the definition stays what it is, a plan for another one was not meant.
    fn needs_no(&self, plan: Option<&Plan>) -> Result<(), Objection> {
        match plan {
            Some(plan) if plan.to != *self.score.chart.digest => {
                let id = &self.score.chart.definition().id;
                Err(objection(format!("there is a plan, and the target has no other {id}")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether it may go on at a node with this palette; and as what, if as something else.
    pub(super) fn judge(
        &self,
        palette: &Palette,
        coming: &Coming,
    ) -> Result<Option<Bytes>, Objection> {
        let plan = self.plan_of(coming.attempt);
        let Some(next) = palette.other_than(&self.score).map_err(objection)? else {
            return self.needs_no(plan).map(|()| None);
        };
        let gate = palette.gate(&self.score, &next).map_err(objection)?;
        let settings = Settings { profile: palette.profile(), palettes: None };
        let checkpoint = self.instance.capture().map_err(objection)?;
        let moment = moment(coming.now);
        let carried =
            gate.carry(&checkpoint, &settings, plan, limits(), moment).map_err(stopped)?;
        // Where it goes does not matter here: it is the same effort wherever that is.
        let nobody = EntityId::from_bytes([0; 32]);
        settled(carried.instance, carried.effects, &nobody, coming.now).map_err(objection)?;
        next.chart.definition().to_cbor().map(|bytes| Some(bytes.into())).map_err(objection)
    }

    /// Goes on under another definition, completely or not at all.
    pub(super) fn adopt(
        &mut self,
        palette: &Palette,
        context: &mut Context<'_>,
        attempt: AttemptId,
        definition: &Bytes,
    ) -> Result<(), Refusal> {
        let (entity, now) = (*context.entity(), context.now());
        let score = palette.told(definition).map_err(not_adopted)?;
        let instance = self.under(palette, &score, attempt, now)?;
        let before = self.instance.next_due();
        let (instance, outputs) = settled(instance.0, instance.1, &entity, now)?;
        *self = Self { score, instance, terms: None, calls: true };
        self.alarm(context, before);
        // Nobody asked anything.
        drop(self.put_out(context, outputs));
        Ok(())
    }

    fn under(
        &self,
        palette: &Palette,
        score: &Score,
        attempt: AttemptId,
        now: Time,
    ) -> Result<(Instance, Vec<Effect>), Refusal> {
        let gate = palette.gate(&self.score, score).map_err(not_adopted)?;
        let checkpoint = self.instance.capture().map_err(not_adopted)?;
        let plan = self.plan_of(attempt);
        let carried = gate.carry_decided(&checkpoint, plan, limits(), moment(now));
        let carried = carried.map_err(not_adopted)?;
        Ok((carried.instance, carried.effects))
    }
}

/// The time of a daemon stands still while it moves, and its clock goes along.
const fn moment(now: Time) -> Moment {
    Moment { frozen_at: now, now, shift: Shift(0) }
}

fn settled(
    mut instance: Instance,
    wanted: Vec<Effect>,
    entity: &EntityId,
    now: Time,
) -> Result<(Instance, Outputs), Refusal> {
    // Without a plan nothing happens: what is due comes in turns of its own.
    if wanted.is_empty() && !instance.is_busy() {
        return Ok((instance, Outputs::default()));
    }
    let outputs = Outputs::settle_after(wanted, &mut instance, entity, now)?;
    Ok((instance, outputs))
}

fn objection(error: impl std::fmt::Display) -> Objection {
    Objection { summary: error.to_string(), report: None }
}

fn not_adopted(error: impl std::fmt::Display) -> Refusal {
    Refusal::NotAdopted(error.to_string())
}

fn stopped(error: CarryError) -> Objection {
    match error {
        CarryError::Incompatible(stop) => {
            let IncompatibleMigration { report } = &stop;
            Objection { summary: stop.to_string(), report: Some(written(report)) }
        }
        error @ (CarryError::Plan(_) | CarryError::Checkpoint(_)) => objection(error),
    }
}

fn written(report: &Report) -> Bytes {
    report.to_json_within(REPORT_BYTES_MAX).into()
}
