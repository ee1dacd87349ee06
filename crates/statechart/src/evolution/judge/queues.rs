//! Decides group E: events that wait.

use std::collections::BTreeSet;

use super::Judge;
use crate::evolution::rule::Rule;

impl Judge<'_> {
    pub(super) fn queues(&mut self) {
        let pair = self.pair;
        let names: BTreeSet<&str> = self.live.queued.iter().copied().collect();
        for name in names {
            let (old, new) = (&pair.old, &pair.new);
            let before = self.old.hears(&old.chart, &old.reach, name);
            if before && !self.new.hears(&new.chart, &new.reach, name) {
                self.hit(Rule::E2, name, "the event waits, and nothing waits for it");
                continue;
            }
            let touched = pair.diffs.iter().any(|diff| {
                let fits = |on: &String| crate::chart::Descriptor::of(on).fits(name);
                let waits = diff.on.iter().flat_map(|on| on.split_whitespace());
                let mut waits = waits.map(str::to_owned);
                diff.is_touched(&self.old, &self.new) && waits.any(|on| fits(&on))
            });
            if touched {
                self.hit(Rule::E4, name, "the event waits, and may be heard differently");
            }
        }
    }
}
