//! Decides group G: whether the values that there are fit the data that the new chart has.

use super::Judge;
use crate::definition::{Binding, Datum};
use crate::engine::Phase;
use crate::evolution::rule::Rule;
use crate::schema::Type;
use crate::value::Value;

impl Judge<'_> {
    pub(super) fn data(&mut self) {
        for (name, value) in self.live.data.clone() {
            self.datum(name, value);
        }
        if self.live.phase == Phase::Resting || self.live.phase == Phase::Stepping {
            for datum in &self.pair.added {
                self.added(datum);
            }
        }
    }

    fn datum(&mut self, name: &str, value: Option<&Value>) {
        let pair = self.pair;
        let old = pair.old.data.get(name);
        if let Some(new) = pair.renamed.get(name) {
            self.hit(Rule::G4a, name, &format!("it is called {new}")).new = Some(new.clone());
            self.typed(name, old, &pair.new.data[new], value);
            return;
        }
        match pair.new.data.get(name) {
            Some(new) => self.typed(name, old, new, value),
            // What loops leave behind is seen only by what names it, and that is told as different.
            None if old.is_none() => {}
            None => {
                let shown = value.map(|value| format!("its value was {value}"));
                let finding = self.hit(Rule::G3, name, "the variable is gone");
                finding.old = shown;
                finding.answer = Some("its value is left behind".to_owned());
            }
        }
    }

    fn typed(&mut self, name: &str, old: Option<&Datum>, new: &Datum, value: Option<&Value>) {
        let any = Type::Any;
        let was = old.map_or(&any, |old| &old.kind);
        let misfit = match value {
            Some(value) => new.kind.misfit(value),
            None => (!new.kind.takes(was)).then(|| "a value may not fit".to_owned()),
        };
        if let Some(misfit) = misfit {
            let finding = self.hit(Rule::G1, name, &misfit);
            finding.old = Some(was.to_string());
            finding.new = Some(new.kind.to_string());
            return;
        }
        if *was == new.kind || !self.is_alive() {
            return;
        }
        let (rule, what) = if new.kind.takes(was) {
            (Rule::G4a, "the type takes more")
        } else {
            (Rule::G4b, "the type takes less, and the value fits")
        };
        let finding = self.hit(rule, name, what);
        finding.old = Some(was.to_string());
        finding.new = Some(new.kind.to_string());
    }

    fn is_alive(&self) -> bool {
        self.live.phase != Phase::Finished
    }

    fn added(&mut self, datum: &Datum) {
        if self.gets_value_later(&datum.id) {
            return;
        }
        let bare = datum.value.is_none() && !datum.kind.is_optional();
        if bare {
            self.hit(Rule::G2b, &datum.id, "the variable is new, needs a value and has none");
            return;
        }
        let finding = self.hit(Rule::G2a, &datum.id, "the variable is new");
        finding.new = serde_json::to_string(&datum.value).ok().filter(|_| datum.value.is_some());
    }

    /// Whether a new variable is of a state that gives it its value when it is entered.
    fn gets_value_later(&self, name: &str) -> bool {
        let chart = &self.pair.new.chart;
        if chart.definition().binding == Binding::Early {
            return false;
        }
        let place = chart.variable_at(name);
        let of = chart.nodes.iter().position(|node| {
            node.data.iter().any(|(variable, _)| place == Some(*variable as usize))
        });
        let back = of.filter(|of| *of != 0).and_then(|of| self.pair.back[of]);
        of.is_some_and(|of| of != 0) && !back.is_some_and(|back| self.live.visited.contains(&back))
    }
}
