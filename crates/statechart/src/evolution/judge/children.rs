//! Decides group F: what runs beside the active states. That a child's own chart fits is decided by
//! judging its session like any other.

use super::Judge;
use crate::engine::Phase;
use crate::evolution::pair::Invocation;
use crate::evolution::rule::Rule;

impl Judge<'_> {
    pub(super) fn children(&mut self) {
        let mut places = Vec::new();
        for (slot, id, runs) in &self.live.invoked {
            let (old, new) = (self.pair.old.invokes.get(*slot), self.pair.new.invokes.get(*slot));
            if let (Some(old), Some(new)) = (old, new) {
                let twin = self.pair.twins[old.state as usize];
                if twin == Some(new.state) {
                    places.push(((old.state, old.place), (new.state, new.place)));
                }
            }
            if *runs {
                self.running(slot, *id, old, new);
            }
        }
        places.sort_unstable();
        if !places.iter().map(|(_, new)| *new).is_sorted() {
            let answer = "they are told in the new order";
            let what = "running children are told in another order";
            self.hit(Rule::F4, "invocations", what).answer = Some(answer.to_owned());
        }
        for (id, chart) in &self.live.unborn {
            match self.pair.children.get(*chart) {
                None => {
                    let what = "a child is to be born, and its chart does not exist";
                    self.hit(Rule::F6, id, what);
                }
                Some(child) if child.born_differs => {
                    self.hit(Rule::F8, id, "a child is to be born, and is different");
                }
                Some(_) => {}
            }
        }
        self.starts();
        let others: Vec<String> =
            self.pair.starts_other(&self.old, &self.new).map(str::to_owned).collect();
        for name in others {
            self.hit(Rule::F8, &name, "if it is started later, it is different");
        }
    }

    fn running(
        &mut self,
        slot: &str,
        id: Option<&str>,
        old: Option<&Invocation>,
        new: Option<&Invocation>,
    ) {
        let Some(old) = old else { return };
        let Some(new) = new else {
            self.hit(Rule::F2, slot, "the child runs, and its invocation is gone");
            return;
        };
        if self.pair.twins[old.state as usize] != Some(new.state) {
            self.hit(Rule::F2, slot, "the child runs, and its invocation stands in another state");
            return;
        }
        let other_id = match (id, &new.invoke.id) {
            (Some(id), Some(new)) => id != new,
            (_, _) => old.invoke.id != new.invoke.id,
        };
        let (was, is) = (&old.invoke, &new.invoke);
        if other_id || was.chart != is.chart || was.by != is.by {
            let finding =
                self.hit(Rule::F2, slot, "the child runs, and its invocation is of another");
            finding.old = serde_json::to_string(&(&was.id, &was.chart, &was.by)).ok();
            finding.new = serde_json::to_string(&(&is.id, &is.chart, &is.by)).ok();
            return;
        }
        let bare = crate::evolution::parts::bare_actions;
        let said = (was.forward, &was.supervise, was.mailbox);
        let says = (is.forward, &is.supervise, is.mailbox);
        if said != says || bare(&was.finalize) != bare(&is.finalize) {
            let answer = "it is heard and told as the new chart says";
            self.hit(Rule::F4, slot, "the child runs, and is heard or told differently").answer =
                Some(answer.to_owned());
        }
        if !is.finalize.is_empty() {
            let names = crate::evolution::parts::names(&is.finalize);
            if !names.is_disjoint(&self.pair.shifted) {
                self.hit(
                    Rule::F4,
                    slot,
                    "the child runs, and what is done with its events differs",
                );
            }
        }
    }

    /// Invocations that the new chart would have started when a state was entered that is active.
    fn starts(&mut self) {
        if self.live.phase == Phase::Fresh {
            return;
        }
        let pair = self.pair;
        for (state, slot) in &pair.starts {
            let old = pair.back[*state as usize];
            let old = old.filter(|old| self.live.active.binary_search(old).is_ok());
            if old.is_some_and(|old| !self.live.to_invoke.contains(&old)) {
                let id = pair.new.chart.id(*state);
                let what = format!("{id} is active, and would have started this child");
                self.hit(Rule::F3, slot, &what);
            }
        }
    }
}
