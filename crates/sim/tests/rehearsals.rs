//! Plans: the ready ones come out as they were reviewed, bad ones are refused by line, and a recording is
//! played again to the same byte.

use std::path::{Path, PathBuf};

use whimbrel_sim::rehearsal::{
    Difference, Overrides, Plan, Problem, Recording, RecordingError, compare_all, rehearse,
};
use whimbrel_sim::scenario::{self, ScriptProblem};

const PLAN: &str = "\
title = \"small\"
nodes = 3
seconds = 3
[[daemons]]
count = 6
[[step]]
at = \"500ms\"
do = \"drain\"
node = \"B\"
";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios")
}

fn parse(text: &str) -> Result<Plan, whimbrel_sim::rehearsal::PlanError> {
    Plan::parse(text, Overrides::default())
}

#[test]
fn every_plan_comes_out_as_it_was_reviewed_and_twice_the_same() {
    let report = compare_all(&folder(), false).unwrap();
    assert!(report.lines().count() >= 12, "{report}");
}

#[test]
fn a_drain_moves_everything_and_the_report_says_so() {
    let report = rehearse(&parse(PLAN).unwrap(), false).report;
    assert!(report.is_good(), "{report}");
    assert_eq!((report.steps[0].moved, report.steps[0].not_moved), (2, 0));
    assert_eq!((report.moves.asked, report.moves.done, report.owned["B"]), (2, 2, 0));
    assert_eq!(report.pauses.count, 2);
    assert!(report.events_sent > 0 && report.answers.count as u64 == report.events_sent);
}

#[test]
fn what_is_said_beside_a_plan_goes_first() {
    let overrides = Overrides { nodes: Some(5), daemons: Some(10), seed: Some(9) };
    let report = rehearse(&Plan::parse(PLAN, overrides).unwrap(), false).report;
    assert_eq!((report.nodes, report.daemons, report.seed), (5, 10, 9));
    let other = rehearse(&parse(PLAN).unwrap(), false).report;
    assert_ne!(report.digest, other.digest);
}

#[test]
fn an_expectation_that_does_not_come_true_is_said() {
    let text = format!("{PLAN}[expect]\npause_max = \"1us\"\n");
    let report = rehearse(&parse(&text).unwrap(), false).report;
    assert!(report.violation.is_none() && !report.is_good(), "{report}");
    assert!(report.to_string().contains("NOT MET"), "{report}");
}

#[test]
fn a_node_that_is_lost_is_said_to_be_lost() {
    let text = PLAN.replace("\"drain\"", "\"crash\"");
    let report = rehearse(&parse(&text).unwrap(), false).report;
    assert_eq!((report.unserved, report.owned["B"]), (2, 0), "{report}");
    assert_eq!(report.violation, None);
}

#[test]
fn bad_plans_are_refused_by_line() {
    let cases: [(&str, &str, usize, &str); 19] = [
        ("nodes = 3", "nodes = 1", 2, "`nodes` is 1; it may be 2 to 26"),
        ("nodes = 3", "nodes = 99", 2, "`nodes` is 99"),
        ("nodes = 3", "nodes = -1", 2, "invalid"),
        ("nodes = 3", "knots = 3", 2, "unknown field `knots`"),
        ("nodes = 3", "nodes = ", 2, ""),
        ("seconds = 3", "seconds = 0", 3, "`seconds` is 0"),
        ("count = 6", "count = 0", 5, "`count` is 0"),
        ("count = 6", "count = 6\nkind = \"cat\"", 6, "there is no kind `cat`"),
        ("count = 6", "count = 6\nkind = \"kv\"\ncatch_up = \"deltas\"", 7, "a kv cannot move by"),
        ("count = 6", "count = 6\nstate = \"much\"", 6, "which is no size"),
        ("count = 6", "count = 6\nkind = \"tally\"\nstate = \"1MiB\"", 7, "a tally cannot"),
        ("count = 6", "count = 1000\nstate = \"64MiB\"", 5, "64000 MiB together"),
        ("\"500ms\"", "\"soon\"", 7, "which is no time"),
        ("\"500ms\"", "\"99h\"", 7, "`at` is 99h"),
        ("\"drain\"", "\"drown\"", 8, "there is no step `drown`; use one of drain, move"),
        ("node = \"B\"", "", 8, "the step `drain` needs `node`"),
        ("node = \"B\"", "node = \"D\"", 9, "with 3 nodes they are A to C"),
        ("node = \"B\"", "node = \"B\"\nfactor = 3", 10, "the step `drain` has no `factor`"),
        ("node = \"B\"", "node = \"ß\"", 9, "there is no node `ß`"),
    ];
    for (from, to, line, says) in cases {
        let error = parse(&PLAN.replace(from, to)).err();
        let error = error.unwrap_or_else(|| panic!("{to} was taken"));
        assert_eq!(error.line, line, "{to}: {error}");
        assert!(error.to_string().contains(says), "{to}: {error}");
    }
    assert_eq!(parse("").unwrap_err().problem, Problem::NoDaemons);
}

#[test]
fn odd_bytes_are_no_plan_and_no_panic() {
    for cut in 0..PLAN.len() {
        drop(parse(&PLAN[..cut]).map(|_| ()));
        let mut bytes = PLAN.as_bytes().to_vec();
        bytes[cut] = bytes[cut].wrapping_add(13) % 128;
        drop(parse(&String::from_utf8(bytes).unwrap()).map(|_| ()));
    }
}

#[test]
fn a_recording_is_played_again_and_shown() {
    let plan = parse(PLAN).unwrap();
    let text = Recording::write(&plan, &rehearse(&plan, true));
    let recording = Recording::parse(&text).unwrap();
    let (count, _) = recording.replay().unwrap();
    assert!(count > 10, "{text}");
    let shown = recording.timeline(None);
    assert!(shown.contains("# drain B") && shown.contains("\nD1\n"), "{shown}");
    let one = recording.timeline(Some(1));
    assert!(one.contains("\nD1\n") && !one.contains("\nD2\n"), "{one}");
    assert!(one.contains("asked for") && one.contains("handed over"), "{one}");

    // Altered in a line, in the digest, in the plan: each is noticed.
    let altered = text.replacen("frozen for", "thawed for", 1);
    let difference = Recording::parse(&altered).unwrap().replay().unwrap_err();
    assert!(matches!(difference, Difference::Line { .. }), "{difference}");
    let digest = text.lines().last().unwrap().to_owned();
    let altered = text.replace(&digest, "digest 0000000000000000");
    let difference = Recording::parse(&altered).unwrap().replay().unwrap_err();
    assert!(matches!(difference, Difference::Digest { .. }), "{difference}");
    let altered = text.replace("node = \"B\"", "node = \"C\"");
    assert!(Recording::parse(&altered).unwrap().replay().is_err());
}

#[test]
fn what_is_no_recording_is_refused_by_line() {
    assert_eq!(Recording::parse("").unwrap_err(), RecordingError::NotOne);
    let plan = parse(PLAN).unwrap();
    let text = Recording::write(&plan, &rehearse(&plan, true));
    let wrong = |text: &str| Recording::parse(text).err();
    assert!(matches!(wrong(&text.replace("plan 9", "plan 90")), Some(RecordingError::Line { .. })));
    let cut = text.lines().take(5).collect::<Vec<_>>().join("\n");
    assert!(matches!(wrong(&cut), Some(RecordingError::Line { .. })));
    let bad = text.replace("nodes = 3", "nodes = 0");
    assert!(matches!(wrong(&bad), Some(RecordingError::Plan(_))));
}

#[test]
fn bad_lines_of_a_story_are_refused_and_never_a_panic() {
    let cases = [
        ("dance", 1, ScriptProblem::NoCommand),
        ("spawn", 1, ScriptProblem::NoCommand),
        ("spawn Z replays", 1, ScriptProblem::NoNode("Z".to_owned())),
        ("spawn A flies", 1, ScriptProblem::NoStyle("flies".to_owned())),
        ("nodes many", 1, ScriptProblem::NoNumber("many".to_owned())),
        ("client A 5", 1, ScriptProblem::NoDaemon),
        ("move A to B", 1, ScriptProblem::NoDaemon),
        ("cancel A", 1, ScriptProblem::NoMove),
        ("spawn A replays\n\nnodes 4", 3, ScriptProblem::TooLate),
    ];
    for (text, line, problem) in cases {
        let error = scenario::tell(text).unwrap_err();
        assert_eq!((error.line, error.problem), (line, problem), "{text}");
    }
    for text in ["nodes 0", "nodes 100", "wait 18446744073709551615", "shutdown A 99999999999"] {
        let error = scenario::tell(text).unwrap_err();
        assert!(matches!(error.problem, ScriptProblem::OutOfBounds { .. }), "{text}: {error}");
    }
}
