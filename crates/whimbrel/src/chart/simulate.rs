//! Decides how a statechart is run by hand.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use whimbrel_statechart::{Effect, Event, Instance, Limits, Shift, Stepped, Value};
use whimbrel_wire::Time;

use super::files;
use crate::failure::Advice;
use crate::output;

/// What is run, and what happens to it.
#[derive(Args, Debug)]
pub(crate) struct SimulateWords {
    /// A definition: the JSON form, or SCXML. With --from it may be left out.
    #[arg(required_unless_present = "from")]
    file: Option<PathBuf>,
    /// Go on from a checkpoint instead of from the beginning.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    from: Option<PathBuf>,
    /// What happens, in order: `name`, `name=JSON` for an event with data, `+90s` or `+29m30s` for time.
    #[arg(long = "then", value_name = "WHAT", num_args = 1..)]
    steps: Vec<String>,
    /// Write a checkpoint at the end.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
}

/// Runs it.
pub(super) fn run(words: &SimulateWords) -> Result<ExitCode> {
    let limits = Limits::default();
    let mut now = Time::from_nanos(0);
    let mut instance = match (&words.file, &words.from) {
        (_, Some(path)) => {
            let checkpoint = files::checkpoint(path)?;
            let instance = checkpoint.restore(limits, Shift::default());
            instance.map_err(|error| files::wrong(path, &error))?
        }
        (Some(path), None) => {
            let chart = files::chart(path, files::definition(path)?)?;
            Instance::new(Arc::new(chart), "simulated", limits)
        }
        (None, None) => return Err(Advice::wrong("nothing is to be run", "name a definition")),
    };
    let failed = |error: String| Advice::failed(error, "give the chart an end to what it does");
    let first = instance.settle(now).map_err(|error| failed(error.to_string()))?;
    tell("begin", now, &first, &instance);
    for step in &words.steps {
        let stepped = match step.strip_prefix('+') {
            Some(span) => {
                now = now + span_of(span)?;
                instance.settle(now).map_err(|error| failed(error.to_string()))?
            }
            None => {
                let event = event(step)?;
                instance.step(event, now).map_err(|error| failed(error.to_string()))?
            }
        };
        tell(step, now, &stepped, &instance);
    }
    if let Some(path) = &words.checkpoint {
        files::write(path, &instance.capture()?.to_json()?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn event(text: &str) -> Result<Event> {
    let (name, data) = text.split_once('=').unwrap_or((text, "null"));
    let data: Value = serde_json::from_str(data).map_err(|error| {
        Advice::wrong(format!("{text}: {error}"), "write name=JSON, with quotes around text")
    })?;
    Ok(Event::new(name, data))
}

/// The span of `90s`, `1.5h` or `29m30s`.
fn span_of(text: &str) -> Result<Duration> {
    let wrong = || {
        Advice::wrong(
            format!("{text} is no span of time"),
            "write +500ms, +90s, +29m30s, +1.5h, +2d",
        )
    };
    let (mut span, mut rest) = (Duration::ZERO, text);
    while !rest.is_empty() {
        let split = rest.find(|letter: char| letter.is_ascii_alphabetic()).ok_or_else(wrong)?;
        let (number, unit) = rest.split_at(split);
        let end = unit.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(unit.len());
        let (unit, more) = unit.split_at(end);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
        span = span.checked_add(part).ok_or_else(wrong)?;
        rest = more;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(span) }
}

fn tell(what: &str, now: Time, stepped: &Stepped, instance: &Instance) {
    let leaves: Vec<&str> = instance.leaves().collect();
    let due = instance.next_due().map(|due| format!(", next timer at {due}")).unwrap_or_default();
    let end = if instance.is_done() { ", at its end" } else { "" };
    output::say(&format!("{now} {what}: in {}{due}{end}", leaves.join(" ")));
    for effect in &stepped.effects {
        output::say(&match effect {
            Effect::Log { label, value, .. } => {
                format!("    log {} {value}", label.as_deref().unwrap_or_default())
            }
            Effect::Send { to, event, .. } => {
                format!("    send {} to {to} with {}", event.name, event.data)
            }
            Effect::Done { data } => format!("    done with {data}"),
            Effect::Bear { child, .. } => format!("    {child} is to be born"),
            Effect::Kin { to, kin } => {
                let word = serde_json::to_string(&kin.word).unwrap_or_default();
                format!("    tells {to} {word}")
            }
            _ => "    something else".to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_are_added_up() {
        for (text, millis) in [
            ("30s", 30_000),
            ("500ms", 500),
            ("29m30s", 1_770_000),
            ("1.5h", 5_400_000),
            ("2d", 172_800_000),
            ("0s", 0),
        ] {
            assert_eq!(span_of(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for text in ["", "30", "s", "30x", "-5s", "1s2", "nans", "infs", "1e30d"] {
            assert!(span_of(text).is_err(), "{text}");
        }
    }
}
