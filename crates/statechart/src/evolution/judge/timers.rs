//! Decides group D: timers that run, and timers that would run under the new chart.

use super::Judge;
use crate::definition::Send;
use crate::engine::Phase;
use crate::evolution::pair::Side;
use crate::evolution::reach::Slice;
use crate::evolution::rule::Rule;

impl Judge<'_> {
    pub(super) fn timers(&mut self) {
        let pair = self.pair;
        for timer in &self.live.timers {
            let heard =
                |slice: &Slice, side: &Side| slice.hears(&side.chart, &side.reach, timer.event);
            let before = heard(&self.old, &pair.old);
            let after = heard(&self.new, &pair.new);
            if timer.to_itself && !before && !after {
                // It fires and nothing happens, whatever is declared.
                continue;
            }
            let (old, new) = (pair.old.sites.get(timer.slot), pair.new.sites.get(timer.slot));
            match (old, new) {
                (Some(_), None) => {
                    self.hit(Rule::D3, timer.slot, "the timer runs and is declared nowhere");
                }
                (Some(old), Some(new)) => self.declared(timer.slot, &old.send, &new.send),
                // It was taken along as it is once before.
                (None, _) => {}
            }
            if timer.to_itself && before && !after {
                let what = format!("the timer runs, and nothing waits for {}", timer.event);
                let answer = "it fires, and nothing happens";
                self.hit(Rule::D5, timer.slot, &what).answer = Some(answer.to_owned());
            }
        }
        self.arms();
    }

    fn declared(&mut self, slot: &str, old: &Send, new: &Send) {
        let (old_bare, new_bare) = (
            Send { slot: String::new(), ..old.clone() },
            Send { slot: String::new(), ..new.clone() },
        );
        if old_bare == new_bare {
            return;
        }
        let what = if old.delay == new.delay {
            "the timer runs and is declared differently"
        } else {
            "the timer runs and is declared with another delay"
        };
        let text = |send: &Send| serde_json::to_string(send).ok();
        let finding = self.hit(Rule::D2, slot, what);
        finding.old = text(&old_bare);
        finding.new = text(&new_bare);
        finding.answer = Some("it keeps its deadline and its event".to_owned());
    }

    /// Timers that the new chart sets on entry into a state that is active already.
    fn arms(&mut self) {
        if self.live.phase == Phase::Fresh {
            return;
        }
        let pair = self.pair;
        for (state, slot) in &pair.arms {
            let old = pair.back[*state as usize];
            if old.is_some_and(|old| self.live.active.binary_search(&old).is_ok()) {
                let id = pair.new.chart.id(*state);
                let what = format!("{id} is active, and would have set this timer on entry");
                self.hit(Rule::D4, slot, &what).answer = Some("it is not set".to_owned());
            }
        }
    }
}
