//! Decides how tests of charts are read.

use std::time::Duration;

use super::{Case, CaseError, Line, TEXT_BYTES_MAX, What};
use crate::engine::duration;
use crate::value::Value;

type Result<T> = std::result::Result<T, String>;

pub(super) fn cases(text: &str) -> std::result::Result<Vec<Case>, CaseError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(CaseError { line: 1, what: "the text is too long".to_owned() });
    }
    let mut cases: Vec<Case> = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let number = place + 1;
        let line = without_comment(line).trim();
        if line.is_empty() {
            continue;
        }
        let (word, rest) = split(line);
        if word == "case" {
            cases.push(Case { name: rest.into(), line: number, lines: Vec::new() });
            continue;
        }
        let read = what(word, rest).and_then(|what| match cases.last_mut() {
            Some(case) => {
                case.lines.push(Line { number, what });
                Ok(())
            }
            None => Err("no case began".to_owned()),
        });
        read.map_err(|what| CaseError { line: number, what })?;
    }
    Ok(cases)
}

/// A line up to a `#` that follows a space or begins it; texts in JSON may hold one.
fn without_comment(line: &str) -> &str {
    let (mut quoted, mut escaped, mut before) = (false, false, ' ');
    for (at, letter) in line.char_indices() {
        match letter {
            '#' if !quoted && before.is_whitespace() => return &line[..at],
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = letter == '\\' && !escaped;
        before = letter;
    }
    line
}

fn split(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim()),
        None => (text, ""),
    }
}

fn what(word: &str, rest: &str) -> Result<What> {
    match word {
        "send" => {
            let (name, data) = split(rest);
            let name = named(name, "an event has a name")?;
            Ok(What::Send(name.as_str().into(), optional(data)?.unwrap_or(Value::Null)))
        }
        "after" => span(rest).map(What::After),
        "move" => nothing_more(rest, What::Move),
        "in" => Ok(What::In(names(rest))),
        "child" => child(rest),
        "data" => {
            let (name, value) = split(rest);
            let name = named(name, "a variable has a name")?;
            let value = if value == "none" { None } else { Some(json(value)?) };
            Ok(What::Datum(name, value))
        }
        "sends" => sends(rest),
        "logs" => logs(rest),
        "done" => optional(rest).map(What::Done),
        "nothing" => nothing_more(rest, What::Nothing),
        "no" if rest == "timer" => Ok(What::Timer(None)),
        "timer" => match split(rest) {
            ("in", rest) => span(rest).map(|span| What::Timer(Some(span))),
            (other, _) => Err(format!("a timer is due in a span of time, not {other}")),
        },
        other => Err(format!("{other} is no input and nothing to expect")),
    }
}

fn nothing_more(rest: &str, what: What) -> Result<What> {
    if rest.is_empty() { Ok(what) } else { Err(format!("nothing may follow, but {rest} does")) }
}

fn named(name: &str, otherwise: &str) -> Result<String> {
    if name.is_empty() { Err(otherwise.to_owned()) } else { Ok(name.to_owned()) }
}

fn names(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn child(rest: &str) -> Result<What> {
    let (id, rest) = split(rest);
    let id = named(id, "a child has an id")?;
    match split(rest) {
        ("gone", "") => Ok(What::Child(id, None)),
        ("in", states) => Ok(What::Child(id, Some(names(states)))),
        _ => Err(format!("write child {id} in STATES, or child {id} gone")),
    }
}

fn sends(rest: &str) -> Result<What> {
    let (event, rest) = split(rest);
    let event = named(event, "an event has a name")?;
    let (to, rest) = match split(rest) {
        ("to", rest) => {
            let (to, rest) = split(rest);
            (Some(named(to, "it goes somewhere")?), rest)
        }
        _ => (None, rest),
    };
    Ok(What::Sends { event, to, data: optional(rest)? })
}

fn logs(rest: &str) -> Result<What> {
    if let Ok(value) = json(rest) {
        return Ok(What::Logs { label: None, value });
    }
    let (label, value) = split(rest);
    Ok(What::Logs { label: Some(label.to_owned()), value: json(value)? })
}

fn optional(text: &str) -> Result<Option<Value>> {
    if text.is_empty() { Ok(None) } else { json(text).map(Some) }
}

fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| format!("{text} is no JSON: {error}"))
}

fn span(text: &str) -> Result<Duration> {
    duration(text).map_err(|fault| fault.0)
}
