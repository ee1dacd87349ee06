//! Decides what the statechart of the simulator does, and where it must stand after its events.
//!
//! It hears lines: it counts how often each came, swings between two states, sets timers whose events it
//! must hear as well, and tells other statecharts. A line that asks it to decline makes it run in a circle, so
//! nothing of that step may stay. A plain model says where an undisturbed one would stand.
//!
//! There are three versions of it. The second has a state and a way more, and may go on where the first
//! is, and back. The third calls the two states otherwise, one of which is always active: nothing goes
//! on to it or from it without a plan. A node is given one of them or none.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use whimbrel_statechart::daemon::{Palette, Statechart};
use whimbrel_statechart::{Definition, Value};

use crate::scribe::{Act, Line};

const TEXT: &str = r##"{
  "id": "witness", "version": "@version", "data": [
    { "id": "heard", "value": { "literal": {} } }, { "id": "told", "value": { "literal": 0 } },
    { "id": "late", "value": { "literal": 0 } }, { "id": "spoilt", "value": { "literal": 0 } }],
  "states": [{ "id": "all", "kind": "parallel", "states": [
    { "id": "ear", "transitions": [
      { "id": "hears", "on": ["line"], "do": [
        { "assign": { "to": "heard[_event.data.line]", "value": { "expression":
          "defined(heard[_event.data.line]) ? heard[_event.data.line] + 1 : 1" } } }] },
      { "id": "is-told", "on": ["told"],
        "do": [{ "assign": { "to": "told", "value": { "expression": "told + 1" } } }] }] },
    { "id": "swing", "initial": ["@even"], "states": [
      @rest
      { "id": "@even", "transitions": [{ "id": "there", "on": ["line"], "to": ["@odd"] }] },
      { "id": "@odd", "transitions": [{ "id": "back", "on": ["line"], "to": ["@even"] }] }] },
    { "id": "mouth", "transitions": [
      { "id": "tells", "on": ["line"], "when": "_event.data.to != ''", "do": [{ "send": { "slot": "tell",
        "event": "told", "to": { "expression": "_event.data.to" } } }] }] },
    { "id": "clock", "transitions": [
      { "id": "sets", "on": ["line"], "when": "_event.data.timer != ''", "do": [{ "send": { "slot": "set",
        "event": "late", "delay": { "expression": "_event.data.timer" } } }] },
      { "id": "rings", "on": ["late"],
        "do": [{ "assign": { "to": "late", "value": { "expression": "late + 1" } } }] }] },
    { "id": "health", "initial": ["well"], "states": [
      { "id": "well", "transitions": [{ "id": "spoils", "on": ["spoil"], "to": ["ill"],
        "do": [{ "assign": { "to": "spoilt", "value": { "expression": "spoilt + 1" } } }] }] },
      { "id": "ill", "on_entry": [[{ "send": { "slot": "astray", "event": "x", "to": "daemon:nobody" } }]],
        "transitions": [{ "id": "worse", "on": ["error.communication"], "to": ["ill"] }] }] }
  ] }] }"##;

/// A version of the definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    First,
    /// The first with a state and a way more.
    More,
    /// The first with other names.
    Other,
}

impl Version {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::First => "1",
            Self::More => "2",
            Self::Other => "3",
        }
    }

    /// What a newborn is given.
    pub(crate) fn text(self) -> String {
        let (even, odd) = match self {
            Self::First | Self::More => ("even", "odd"),
            Self::Other => ("one", "two"),
        };
        let rest = match self {
            Self::First | Self::Other => "",
            Self::More => {
                r#"{ "id": "resting", "transitions": [{ "id": "wakes", "on": ["wake"], "to": ["even"] }] },"#
            }
        };
        let text = TEXT.replace("@version", self.name()).replace("@rest", rest);
        text.replace("@even", even).replace("@odd", odd)
    }

    /// What a node is given that has it.
    pub(crate) fn palette(self) -> Arc<Palette> {
        let definition: Definition =
            serde_json::from_str(&self.text()).expect("the definition is ours");
        Arc::new(Palette::new([definition]).expect("the definition is ours"))
    }
}

/// A plan to the third version, or from it.
pub(crate) fn plan(there: bool) -> Bytes {
    Bytes::from_static(if there {
        br#"{"format":1,"charts":{"":{"states":{"even":["one"],"odd":["two"]}}}}"#
    } else {
        br#"{"format":1,"charts":{"":{"states":{"one":["even"],"two":["odd"]}}}}"#
    })
}

/// Where it says which of its states is active.
const STANDS: &[u8] = b"stands";
const TOLD: &[u8] = b"told";
const LATE: &[u8] = b"late";
const SPOILT: &[u8] = b"spoilt";

/// The event that tells it a line.
pub(crate) fn payload(line: &Line) -> Bytes {
    let (author, number) = (line.author, line.number);
    let (mut timer, mut to) = (String::new(), String::new());
    match &line.act {
        Act::Timer(nanos) => timer = format!("{}ms", (nanos / 1_000_000).max(1)),
        Act::Send(entity) => to = format!("daemon:{}", entity.key()),
        Act::Decline => return Bytes::from_static(b"spoil"),
        Act::Note | Act::Panic | Act::Random | Act::Fill(_) | Act::Publish => {}
    }
    format!("line {{\"line\":\"{author}:{number}\",\"timer\":\"{timer}\",\"to\":\"{to}\"}}").into()
}

/// Who wrote the line of an event, and its number.
pub(crate) fn read(payload: &[u8]) -> Option<(u64, u64)> {
    let text = std::str::from_utf8(payload).ok()?;
    let (_, rest) = text.split_once("{\"line\":\"")?;
    let (author, number) = rest.split('"').next()?.split_once(':')?;
    Some((author.parse().ok()?, number.parse().ok()?))
}

/// The plain model hears an event. Counts are as many bytes as something came.
pub(crate) fn hear(entries: &mut BTreeMap<Vec<u8>, Vec<u8>>, payload: &[u8]) {
    let mut count = |name: Vec<u8>| entries.entry(name).or_default().push(b'.');
    match read(payload) {
        Some((author, number)) => {
            count(format!("{author}:{number}").into_bytes());
            if !payload.windows(10).any(|part| part == b"\"timer\":\"\"") {
                count(LATE.to_vec());
            }
        }
        None if payload.starts_with(b"{\"event\":\"told\"") => count(TOLD.to_vec()),
        None => {}
    }
}

/// What an undisturbed one shows that heard this, all its timers included.
pub(crate) fn stood(mut entries: BTreeMap<Vec<u8>, Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let apart = [TOLD, LATE];
    let lines = entries.iter().filter(|(name, _)| !apart.contains(&name.as_slice()));
    let count: usize = lines.map(|(_, count)| count.len()).sum();
    let stands: &[u8] = if count.is_multiple_of(2) { b"even" } else { b"odd" };
    entries.insert(STANDS.to_vec(), stands.to_vec());
    for name in [TOLD, LATE, SPOILT] {
        entries.entry(name.to_vec()).or_default();
    }
    entries
}

/// What one shows.
pub(crate) fn shown(statechart: &Statechart) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let instance = statechart.instance()?;
    let dots = |value: &Value| match value {
        Value::Int(count) => usize::try_from(*count).ok().map(|count| vec![b'.'; count]),
        Value::Null
        | Value::Bool(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::List(_)
        | Value::Map(_) => None,
    };
    let mut entries = BTreeMap::new();
    if let Some(Value::Map(heard)) = instance.datum("heard") {
        for (line, count) in heard.entries() {
            entries.insert(line.as_bytes().to_vec(), dots(count)?);
        }
    }
    for (name, datum) in [(TOLD, "told"), (LATE, "late"), (SPOILT, "spoilt")] {
        let count = instance.datum(datum).map_or(Some(Vec::new()), dots);
        entries.insert(name.to_vec(), count?);
    }
    let odd = instance.is_in("odd") || instance.is_in("two");
    entries.insert(STANDS.to_vec(), if odd { b"odd".to_vec() } else { b"even".to_vec() });
    Some(entries)
}

/// Under which version one lives.
pub(crate) fn version(statechart: &Statechart) -> Option<String> {
    Some(statechart.instance()?.chart()?.definition().version.clone())
}

#[cfg(test)]
mod tests {
    use whimbrel_statechart::evolution::{Gate, Plan, Settings, Verdict};
    use whimbrel_statechart::{Instance, Limits};
    use whimbrel_wire::Time;

    use super::*;

    #[test]
    fn the_second_version_takes_instances_of_the_first_and_gives_them_back_the_third_does_not() {
        let read = |version: Version| serde_json::from_str(&version.text()).unwrap();
        let verdict = |old, new| {
            let gate = Gate::new(read(old), read(new)).unwrap();
            gate.judge_any(&Settings::default()).verdict
        };
        // Nothing leads to the state that came, so the one is as good as the other.
        assert_eq!(verdict(Version::First, Version::More), Verdict::Equivalent);
        assert!(verdict(Version::First, Version::Other) >= Verdict::NeedsPlan);
        assert!(verdict(Version::Other, Version::More) >= Verdict::NeedsPlan);
        for (old, new, there) in
            [(Version::More, Version::Other, true), (Version::Other, Version::First, false)]
        {
            let gate = Gate::new(read(old), read(new)).unwrap();
            let plan = Plan::from_json(std::str::from_utf8(&plan(there)).unwrap()).unwrap();
            let chart = Arc::clone(gate.old_chart());
            let mut instance = Instance::new(chart, "witness", Limits::default());
            instance.settle(Time::ZERO).unwrap();
            let checkpoint = instance.capture().unwrap();
            assert!(gate.judge_with(&checkpoint, &Settings::default(), Some(&plan)).passes);
        }
    }
}
