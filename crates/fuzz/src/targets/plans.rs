//! What people write for the simulator: plans, and recordings of rehearsals.

use whimbrel_sim::rehearsal::{Overrides, Plan, Recording, RecordingError};

use crate::driver::Target;

/// A plan as TOML. The first byte says what is said beside it: nothing, or so many nodes, daemons or both. It is a
/// plan, or an error that names a line which the text has.
pub(super) const PLANS: Target = Target {
    name: "plans",
    corpus: include_str!("../../corpus/plans.hex"),
    growth_max: None,
    every: 4,
    run: |input| {
        let Some((which, text)) = input.split_first() else { return };
        let Ok(text) = std::str::from_utf8(text) else { return };
        let beside = |bit: u8| (which & bit != 0).then_some(u64::from(which >> 2));
        let overrides = Overrides { nodes: beside(1), daemons: beside(2), seed: None };
        match Plan::parse(text, overrides) {
            Ok(plan) => assert!(!plan.title().is_empty() || text.contains("title")),
            Err(error) => {
                has_line(text, error.line);
                assert!(!error.to_string().is_empty(), "an error says something");
            }
        }
    },
};

/// A recording of a rehearsal.
pub(super) const RECORDINGS: Target = Target {
    name: "recordings",
    corpus: include_str!("../../corpus/recordings.hex"),
    growth_max: None,
    every: 4,
    run: |input| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        match Recording::parse(text) {
            Ok(recording) => drop(recording),
            Err(error @ RecordingError::Line { line, .. }) => {
                has_line(text, line);
                assert!(!error.to_string().is_empty(), "an error says something");
            }
            Err(error) => assert!(!error.to_string().is_empty(), "an error says something"),
        }
    },
};

/// A line that is named is one of the text, or the one after its end.
fn has_line(text: &str, line: usize) {
    let lines = text.lines().count() + 1;
    assert!((1..=lines).contains(&line), "line {line} of {lines} is wrong");
}

const DRAIN: &str = r#"title = "Drain"
nodes = 5
seconds = 20
seed = 7

[[daemons]]
name = "a"
count = 40
kind = "scribe"
catch_up = "deltas"
state = "64 KiB"
events_per_second = 5
on = ["A", "B"]

[network]
delay = "1ms to 8ms"
loss = 0.01
duplicate = 0.5
megabits_per_second = 100

[disk]
commit = "200us to 4ms"

[[step]]
at = "2s"
do = "drain"
node = "B"
at_once = 4
deadline = "9s"

[expect]
pause_max = "1s"
not_moved_max = 0
unserved_max = 0
"#;

const FOLLOW: &str = r#"nodes = 3
[[daemons]]
count = 2
kind = "kv"
[[step]]
at = "1s"
do = "follow"
daemons = "D0"
along = ["B", "C", "A"]
every = "2s"
times = 3
[[step]]
at = "3s"
do = "partition"
nodes = ["A"]
one_way = true
for = "2s"
[[step]]
at = "9s"
do = "clock-jump"
node = "C"
by = "1h"
"#;

pub(super) fn plans() -> Vec<Vec<u8>> {
    let of = |which: u8, text: &str| [&[which][..], text.as_bytes()].concat();
    vec![of(0, DRAIN), of(0, FOLLOW), of(4 << 2 | 3, FOLLOW)]
}

pub(super) fn recordings() -> Vec<Vec<u8>> {
    let count = FOLLOW.lines().count();
    let whole = format!(
        "whimbrel rehearsal 1\nprogram 0.1.0\nnodes 5\ndaemons 4\nseed 2\nplan {count}\n{FOLLOW}trace\n  \
         2.000300 A * D0 frozen\ndigest 0123456789abcdef\n"
    );
    vec![whole.into_bytes(), b"whimbrel rehearsal 1\nplan 1\nnodes = 3\ntrace\n".to_vec()]
}
