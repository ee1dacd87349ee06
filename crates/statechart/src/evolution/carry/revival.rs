//! Decides what is done to an instance once it is back: values, entry actions, timers and children
//! that are new.

use std::collections::BTreeMap;
use std::sync::Arc;

use whimbrel_wire::Time;

use super::Stop;
use super::record::reckon;
use crate::checkpoint::Record;
use crate::definition::Given;
use crate::engine::{Effect, Instance, Phase, Session, SessionId, duration, perform};
use crate::evolution::gate::Gate;
use crate::evolution::pair::Pair;
use crate::evolution::plan::{Arming, ChartPlan, ChildPolicy, Plan, Settling};
use crate::expression::Fault;

/// An instance that is back and not finished.
pub(super) struct Revival<'a> {
    pub(super) gate: &'a Gate,
    pub(super) plan: Option<&'a Plan>,
    pub(super) old: Option<&'a Instance>,
    pub(super) now: Time,
    pub(super) instance: Instance,
    pub(super) deeds: Vec<String>,
    pub(super) effects: Vec<Effect>,
}

impl Revival<'_> {
    pub(super) fn finish(
        &mut self,
        records: &[Record],
        entered: &BTreeMap<SessionId, Vec<u32>>,
    ) -> Result<(), Stop> {
        for record in records {
            let pair = self.gate.pair.descend(&record.chart);
            let live = self.instance.session(record.id).is_some();
            let (Some(pair), true) = (pair, live) else { continue };
            let born_again = self.instance.session(record.id).is_some_and(|session| {
                session.phase == Phase::Fresh && record.phase != Phase::Fresh
            });
            if record.phase == Phase::Fresh || born_again {
                continue;
            }
            self.fill(record, pair);
            let Some(plan) = self.plan.and_then(|plan| plan.of(&record.chart)) else { continue };
            self.transform(record, pair, plan)?;
            let states = entered.get(&record.id).map_or(&[][..], Vec::as_slice);
            if plan.run_entry {
                self.run_entry(record.id, pair, states);
            }
            self.arm(record.id, pair, plan)?;
            self.start(record.id, pair, plan);
            if plan.settle == Some(Settling::OnArrival) {
                self.instance.wake(record.id);
            }
        }
        Ok(())
    }

    /// Gives new variables their first value.
    fn fill(&mut self, record: &Record, pair: &Pair) {
        let chart = Arc::clone(&pair.new.chart);
        let late = chart.definition().binding == crate::definition::Binding::Late;
        for datum in &pair.added {
            let place = chart.variable_at(&datum.id);
            let Some(place) = place else { continue };
            let of = chart
                .nodes
                .iter()
                .find(|node| node.data.iter().any(|(variable, _)| *variable as usize == place));
            let Some(of) = of else { continue };
            let is_root = std::ptr::eq(of, &raw const chart.nodes[0]);
            if late && !is_root && !record.visited.contains(&of.id) {
                continue;
            }
            let source = of.data.iter().find(|(variable, _)| *variable as usize == place);
            let Some((_, Some(source))) = source else { continue };
            let Some(session) = self.instance.session_mut(record.id) else { continue };
            // A value that cannot be reckoned is none, as it is at the beginning of a chart.
            let value = source.evaluate(session).ok();
            session.state_mut().data[place] = value;
        }
    }

    fn transform(&mut self, record: &Record, pair: &Pair, plan: &ChartPlan) -> Result<(), Stop> {
        let old = self.old.and_then(|old| old.session(record.id));
        for (name, given) in &plan.data {
            let value = match (given, old) {
                (Given::Literal(value), _) => value.clone(),
                (Given::Expression(text), Some(old)) => {
                    reckon(text, old).map_err(|what| Stop::Value(format!("{name}: {what}")))?
                }
                (Given::Expression(_), None) => continue,
            };
            let kind = pair.new.data.get(name).map(|datum| &datum.kind);
            if let Some(misfit) = kind.and_then(|kind| kind.misfit(&value)) {
                return Err(Stop::Value(format!("{name}: {misfit}")));
            }
            let place = pair.new.chart.variable_at(name);
            if let (Some(place), Some(session)) = (place, self.instance.session_mut(record.id)) {
                self.deeds.push(format!("{}: {name} became {value}", record.id));
                session.state_mut().data[place] = Some(value);
            }
        }
        Ok(())
    }

    fn run_entry(&mut self, id: SessionId, pair: &Pair, states: &[u32]) {
        let chart = Arc::clone(&pair.new.chart);
        let mut effects = self.instance.perform_at(id, self.now, |session, desk| {
            for state in states {
                if !chart.node(*state).invokes.is_empty() {
                    session.will_invoke(*state);
                }
                for block in &chart.node(*state).on_entry {
                    perform(session, desk, block);
                }
            }
        });
        self.effects.append(&mut effects);
        let ids = states.iter().map(|state| chart.id(*state));
        self.deeds.extend(ids.map(|state| format!("{id}: entry actions of {state} ran")));
    }

    fn arm(&mut self, id: SessionId, pair: &Pair, plan: &ChartPlan) -> Result<(), Stop> {
        for (slot, arming) in &plan.arm {
            let delay = match arming {
                Arming::Skip => continue,
                Arming::Full => None,
                Arming::In(text) => {
                    let wrong = |fault: Fault| Stop::Value(format!("{slot}: {}", fault.0));
                    Some(duration(text).map_err(wrong)?)
                }
            };
            let is_here = |session: &Session| {
                let site = pair.new.sites.get(slot);
                site.is_some_and(|site| session.configuration.binary_search(&site.state).is_ok())
            };
            if !self.instance.session(id).is_some_and(is_here) {
                continue;
            }
            if self.instance.set_timer(id, slot, delay, self.now, &mut self.effects) {
                self.deeds.push(format!("{id}: the timer {slot} was set"));
            }
        }
        Ok(())
    }

    fn start(&mut self, id: SessionId, pair: &Pair, plan: &ChartPlan) {
        for (slot, policy) in &plan.children {
            let Some(invocation) = pair.new.invokes.get(slot) else { continue };
            let key = (invocation.state, invocation.place);
            let is_here = |session: &Session| {
                session.configuration.binary_search(&key.0).is_ok()
                    && !session.invoked.contains_key(&key)
            };
            if *policy == ChildPolicy::Start && self.instance.session(id).is_some_and(is_here) {
                self.instance.start_one(id, key);
                self.deeds.push(format!("{id}: the child of {slot} was started"));
            }
        }
    }
}
