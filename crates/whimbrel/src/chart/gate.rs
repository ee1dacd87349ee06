//! Decides how the gate is asked from the command line, and which number it ends with.
//!
//! | exit | verdict |
//! |---|---|
//! | 0 | identical |
//! | 10 | equivalent |
//! | 11 | compatible |
//! | 12 | needs consent |
//! | 13 | needs plan |
//! | 14 | refused |
//!
//! With `--passing`, 0 for all that the profile lets pass. As everywhere, 2 for wrong words and files.
//! Of several instances the worst verdict counts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::{Value as Json, json};
use whimbrel_statechart::evolution::{
    Bounds, CarryError, DryRun, Finding, Gate, GateError, Moment, Named, Plan, Report, Rule,
    Settings, Verdict,
};
use whimbrel_statechart::{Checkpoint, Limits, Shift};
use whimbrel_wire::Time;

use super::{Strictness, files, fleet};
use crate::failure::Advice;
use crate::output;
use crate::words::Place;

/// Which definitions are judged, and for whom.
#[derive(Args, Debug)]
pub(crate) struct GateWords {
    /// The definition under which instances run: the JSON form, or SCXML.
    old: PathBuf,
    /// The definition under which they are to go on.
    new: PathBuf,
    /// A checkpoint of an instance; several may be given. Without any instance, the verdict is for
    /// any that there can be.
    #[arg(long, value_name = "FILE", group = "instances")]
    checkpoint: Vec<PathBuf>,
    /// A daemon that runs: it is asked for its checkpoint by the node.
    #[arg(long, value_name = "DAEMON", group = "instances")]
    live: Vec<String>,
    /// All statecharts that live on the node and are of the old definition.
    #[arg(long, group = "instances")]
    fleet: bool,
    /// A plan that says what becomes of what has no place.
    #[arg(long, value_name = "FILE", requires = "instances")]
    plan: Option<PathBuf>,
    /// What passes.
    #[arg(long, value_enum, default_value_t)]
    profile: Strictness,
    /// Show everything that would become of each instance, and propose a plan if it does not go on.
    #[arg(long, requires = "instances")]
    dry_run: bool,
    /// The moment at which the instance goes on, in nanoseconds of the clock of its timers; without
    /// it, timers are taken to be at the beginning of that clock.
    #[arg(long, value_name = "NANOS", requires = "instances", default_value_t = 0)]
    now: u64,
    /// Write the proposed plan into a file.
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    propose: Option<PathBuf>,
    /// Write the checkpoint of the instance under the new definition into a file.
    #[arg(long, value_name = "FILE", requires = "instances", conflicts_with = "dry_run")]
    output: Option<PathBuf>,
    /// Say it in JSON.
    #[arg(long)]
    json: bool,
    /// End with 0 if it passes, whatever the verdict.
    #[arg(long)]
    passing: bool,
}

/// Asks the gate.
pub(crate) async fn run(place: &Place, words: &GateWords) -> Result<ExitCode> {
    let settings = Settings { profile: words.profile.into(), ..Settings::default() };
    let old = files::definition(&words.old)?;
    let new = files::definition(&words.new)?;
    let gate = match Gate::new(old, new) {
        Ok(gate) => gate,
        Err(GateError::New(error)) => return Ok(illegal(words, &settings, &error.to_string())),
        Err(error) => return Err(files::wrong(&words.old, &error)),
    };
    let plan = words.plan.as_deref().map(files::plan).transpose()?;
    let instances = gather(place, words, &gate).await?;
    let none = words.checkpoint.is_empty() && words.live.is_empty() && !words.fleet;
    if none {
        let report = gate.judge_any(&settings);
        say(words, &report.to_string(), &report.to_json());
        return Ok(exit(words, &[report]));
    }
    if instances.len() > 1 && (words.propose.is_some() || words.output.is_some()) {
        let next = "give one checkpoint at a time";
        return Err(Advice::wrong("one file cannot hold what becomes of several", next));
    }
    let mut reports = Vec::new();
    let mut shown: Vec<(String, Json)> = Vec::new();
    for (name, checkpoint) in &instances {
        let (report, text, json) = one(words, &gate, checkpoint, &settings, plan.as_ref())?;
        shown.push((format!("{name}: {text}"), json));
        reports.push(report);
    }
    if let [(text, json)] = shown.as_slice() {
        say(words, text, &format!("{json:#}"));
    } else {
        all(words, &shown, &reports);
    }
    Ok(exit(words, &reports))
}

/// The instances that are asked about, by what they are called.
async fn gather(
    place: &Place,
    words: &GateWords,
    gate: &Gate,
) -> Result<Vec<(String, Checkpoint)>> {
    let mut instances = Vec::new();
    for path in &words.checkpoint {
        instances.push((path.display().to_string(), files::checkpoint(path)?));
    }
    for daemon in &words.live {
        instances.push((daemon.clone(), fleet::checkpoint(place, daemon).await?));
    }
    if words.fleet {
        let old = &gate.old_chart().definition().digest();
        instances.append(&mut fleet::of_definition(place, old).await?);
    }
    Ok(instances)
}

fn one(
    words: &GateWords,
    gate: &Gate,
    checkpoint: &Checkpoint,
    settings: &Settings,
    plan: Option<&Plan>,
) -> Result<(Report, String, Json)> {
    let now = Time::from_nanos(words.now);
    let moment = Moment { frozen_at: now, now, shift: Shift::default() };
    let wrong = |error: CarryError| Advice::wrong(error.to_string(), "see docs/gate.md");
    if words.dry_run {
        let bounds = Bounds::default();
        let dry = gate.dry_run(checkpoint, settings, plan, moment, bounds).map_err(wrong)?;
        if let (Some(path), Some(proposal)) = (&words.propose, &dry.proposal) {
            files::write(path, &proposal.plan.to_json())?;
        }
        let DryRun { report, .. } = &dry;
        return Ok((report.clone(), dry.to_string(), serde_json::to_value(&dry)?));
    }
    let report = match gate.carry(checkpoint, settings, plan, Limits::default(), moment) {
        Ok(carried) => {
            if let Some(path) = &words.output {
                let checkpoint = carried.instance.capture()?;
                files::write(path, &checkpoint.to_json()?)?;
            }
            carried.report
        }
        Err(CarryError::Incompatible(stop)) => *stop.report,
        Err(error) => return Err(wrong(error)),
    };
    let (text, json) = (report.to_string(), serde_json::to_value(&report)?);
    Ok((report, text, json))
}

/// How a fleet came out: how many of each verdict, and which rules were hit how often.
fn all(words: &GateWords, shown: &[(String, Json)], reports: &[Report]) {
    let mut verdicts: BTreeMap<Verdict, usize> = BTreeMap::new();
    let mut rules: BTreeMap<Rule, usize> = BTreeMap::new();
    for report in reports {
        *verdicts.entry(report.verdict).or_default() += 1;
        let mut hit: Vec<Rule> = report.findings.iter().map(|finding| finding.rule).collect();
        hit.sort_unstable();
        hit.dedup();
        hit.into_iter().for_each(|rule| *rules.entry(rule).or_default() += 1);
    }
    if words.json {
        let instances: Vec<&Json> = shown.iter().map(|(_, json)| json).collect();
        let all = json!({ "verdicts": verdicts, "rules": rules, "instances": instances });
        output::say(&format!("{all:#}"));
        return;
    }
    shown.iter().for_each(|(text, _)| output::say(text.trim_end()));
    for (verdict, count) in verdicts {
        output::say(&format!("{count:>8}  {verdict}"));
    }
    for (rule, count) in rules {
        output::say(&format!("{count:>8}  {rule}: {}", rule.about()));
    }
}

/// A new definition that is no chart is a verdict, and no mistake of whoever asks.
fn illegal(words: &GateWords, settings: &Settings, what: &str) -> ExitCode {
    let finding = Finding {
        rule: Rule::A5,
        verdict: Verdict::Refused,
        session: None,
        chart: Vec::new(),
        element: words.new.display().to_string(),
        what: what.to_owned(),
        old: None,
        new: None,
        answer: None,
        settled: false,
    };
    let report = Report {
        verdict: Verdict::Refused,
        unplanned: Verdict::Refused,
        profile: settings.profile,
        passes: false,
        old: Named::default(),
        new: Named::default(),
        findings: vec![finding],
        left_out: 0,
    };
    say(words, &report.to_string(), &report.to_json());
    exit(words, &[report])
}

fn say(words: &GateWords, text: &str, json: &str) {
    output::say(if words.json { json } else { text }.trim_end());
}

/// The number that stands for a verdict.
const fn number(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Identical => 0,
        Verdict::Equivalent => 10,
        Verdict::Compatible => 11,
        Verdict::NeedsConsent => 12,
        Verdict::NeedsPlan => 13,
        Verdict::Refused => 14,
    }
}

fn exit(words: &GateWords, reports: &[Report]) -> ExitCode {
    let passes = reports.iter().all(|report| report.passes);
    let worst = reports.iter().map(|report| report.verdict).max();
    match worst {
        Some(_) if words.passing && passes => ExitCode::SUCCESS,
        Some(worst) => ExitCode::from(number(worst)),
        None => ExitCode::SUCCESS,
    }
}
