//! Decides whether what the gate says is true: random definitions, small edits of them, random live
//! instances, and both definitions run side by side.
//!
//! *Unsound* is a case that passes as identical, equivalent, or compatible without a hit that differs
//! later, and then cannot be gone on from or comes out differently. A *false refusal* is a case that
//! does not pass though it can be gone on from as it is, never came out differently, and is what an
//! instance would be that had lived under the new definition from the beginning.

mod oracle;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use whimbrel_statechart::evolution::{Gate, Report, Rule, Settings, Verdict};
use whimbrel_statechart::{Chart, Checkpoint, Value};

use crate::dice::Dice;
use crate::{edit, make};
use oracle::{Life, Truth};

/// How a run came out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) cases: u64,
    pub(crate) verdicts: BTreeMap<Verdict, u64>,
    pub(crate) hits: BTreeMap<Rule, u64>,
    /// Cases that would have passed and should not have, by the rule that stopped them alone.
    pub(crate) blind: BTreeMap<Rule, u64>,
    /// Seeds of cases that passed and should not have.
    pub(crate) unsound: Vec<(u64, String)>,
    /// Seeds of cases that did not pass and could have.
    pub(crate) refused_falsely: Vec<(u64, String)>,
    /// Cases that passed as compatible with a hit that differs later, and did differ.
    pub(crate) told: u64,
    /// The same, and did not differ within the run.
    pub(crate) told_in_vain: u64,
}

impl Tally {
    pub(crate) fn refusals(&self) -> u64 {
        let stops = self.verdicts.iter().filter(|(verdict, _)| **verdict > Verdict::Compatible);
        stops.map(|(_, count)| count).sum()
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.cases += other.cases;
        for (verdict, count) in other.verdicts {
            *self.verdicts.entry(verdict).or_default() += count;
        }
        for (rule, count) in other.hits {
            *self.hits.entry(rule).or_default() += count;
        }
        for (rule, count) in other.blind {
            *self.blind.entry(rule).or_default() += count;
        }
        self.unsound.extend(other.unsound);
        self.refused_falsely.extend(other.refused_falsely);
        self.told += other.told;
        self.told_in_vain += other.told_in_vain;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |count: u64, of: u64| 100.0 * count as f64 / of.max(1) as f64;
        writeln!(f, "{} definition pairs, each with a live instance", self.cases)?;
        for verdict in Verdict::ALL {
            let count = self.verdicts.get(&verdict).copied().unwrap_or_default();
            writeln!(f, "  {:<14}{count:>9}  {:>5.1} %", verdict.word(), share(count, self.cases))?;
        }
        let hits: Vec<String> =
            self.hits.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
        writeln!(f, "  hits: {}", hits.join(", "))?;
        let blind: Vec<String> =
            self.blind.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
        writeln!(f, "  unsound if one rule were off: {}", blind.join(", "))?;
        let told = self.told + self.told_in_vain;
        writeln!(f, "  told to differ later: {told}, {} of them did within the run", self.told)?;
        let false_ones = self.refused_falsely.len() as u64;
        writeln!(
            f,
            "  false refusals: {false_ones}, {:.2} % of {} refusals, {:.2} % of all",
            share(false_ones, self.refusals()),
            self.refusals(),
            share(false_ones, self.cases),
        )?;
        writeln!(f, "  unsound: {}", self.unsound.len())?;
        for (seed, what) in self.unsound.iter().take(5) {
            writeln!(f, "    seed {seed}: {what}")?;
        }
        Ok(())
    }
}

/// Runs the cases of these seeds.
pub(crate) fn run(seeds: std::ops::Range<u64>) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        case(seed, &mut tally);
    }
    tally
}

/// The verdict and whether something is told to differ later, as if a rule did not exist.
fn without(report: &Report, off: Option<Rule>) -> (Verdict, bool) {
    let kept = || report.findings.iter().filter(|finding| Some(finding.rule) != off);
    let same = report.old.digest == report.new.digest;
    let least = if same { Verdict::Identical } else { Verdict::Equivalent };
    let verdict = kept().map(|finding| finding.verdict).max().unwrap_or(least).max(least);
    (verdict, kept().any(|finding| finding.rule.differs_later()))
}

fn case(seed: u64, tally: &mut Tally) {
    let mut dice = Dice::new(seed);
    // Written down with its ids: an edit that keeps an id is an edit of that transition.
    let definition = make::definition(&mut dice).with_ids();
    let Ok(old) = Chart::new(definition.clone()) else { return };
    let old = Arc::new(old);
    let Some(life) = Life::lived(&mut dice, &old) else { return };
    let edited = edit::edit(&mut dice, &definition, &life.active());
    let mut checkpoint = life.instance.capture().expect("it can be written");
    if edited.tampered {
        checkpoint = tampered(&checkpoint);
    }
    tally.cases += 1;
    let Ok(new) = Chart::new(edited.definition) else {
        *tally.verdicts.entry(Verdict::Refused).or_default() += 1;
        *tally.hits.entry(Rule::A5).or_default() += 1;
        return;
    };
    let gate = Gate::between(&old, &Arc::new(new)).expect("it is small");
    let report = gate.judge(&checkpoint, &Settings::default());
    *tally.verdicts.entry(report.verdict).or_default() += 1;
    let rules: BTreeSet<Rule> = report.findings.iter().map(|finding| finding.rule).collect();
    rules.iter().for_each(|rule| *tally.hits.entry(*rule).or_default() += 1);
    let stops = report.verdict > Verdict::Compatible;
    let truth = if edited.tampered {
        Truth { misread: Some("it was tampered with".to_owned()), ..Truth::default() }
    } else {
        Truth::of(&mut dice, &gate, &checkpoint, &life, stops)
    };
    // The same case once more for each rule that was hit, as if the gate had not had it.
    for rule in rules {
        if is_unsound(&without(&report, Some(rule)), &truth).is_some() {
            *tally.blind.entry(rule).or_default() += 1;
        }
    }
    let judged = without(&report, None);
    if let Some(what) = is_unsound(&judged, &truth) {
        tally.unsound.push((seed, format!("{}, {what}", judged.0)));
    }
    if judged.0 <= Verdict::Compatible {
        let did = u64::from(truth.differs.is_some());
        tally.told += if judged.1 { did } else { 0 };
        tally.told_in_vain += if judged.1 { 1 - did } else { 0 };
        return;
    }
    let by_policy = [Rule::A3a, Rule::G5, Rule::G1];
    let justified = truth.misread.is_some()
        || truth.differs.is_some()
        || truth.other_life
        || by_policy.iter().any(|rule| report.hits(*rule));
    if !justified {
        tally.refused_falsely.push((seed, report.to_string()));
    }
}

/// What is wrong with a judgement, if anything.
fn is_unsound((verdict, differs_later): &(Verdict, bool), truth: &Truth) -> Option<String> {
    if *verdict > Verdict::Compatible {
        return None;
    }
    truth.misread.clone().or_else(|| truth.differs.clone().filter(|_| !differs_later))
}

fn tampered(checkpoint: &Checkpoint) -> Checkpoint {
    let text = checkpoint.to_json().expect("it can be written");
    let altered = text.replacen(r#""name":"case""#, r#""name":"other""#, 1);
    assert_ne!(text, altered);
    Checkpoint::from_json(&altered).expect("it is written well")
}

/// Data of events is nothing: what they are called is what counts here.
const NOTHING: Value = Value::Null;
