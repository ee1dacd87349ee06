//! The tools for statecharts, as people call them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod nodes;

use std::fs;
use std::path::Path;

const LAMP: &str = r#"{ "id": "lamp", "version": "1",
  "data": [{ "id": "times", "value": { "literal": 0 } }],
  "states": [
    { "id": "off", "transitions": [{ "id": "press", "on": ["press"], "to": ["on"] }] },
    { "id": "on",
      "on_entry": [[{ "send": { "slot": "tired", "id": "tired", "event": "tired", "delay": "10s" } }]],
      "transitions": [{ "id": "tires", "on": ["tired"], "to": ["off"] },
                      { "id": "again", "on": ["press"], "to": ["off"] }] },
    { "id": "dark" } ] }"#;

/// Whatever it says, wherever it says it.
fn ends_with(folder: &Path, words: &str, number: i32) -> String {
    let said = nodes::ends_with(folder, words, number);
    said.out + &said.complaint
}

#[test]
fn what_is_surely_not_meant_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("lamp.json"), LAMP).unwrap();
    let told = ends_with(folder, "chart lint lamp.json", 1);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 3, "{told}");
    assert!(lines[0].starts_with("lamp.json:2:12: S5 times:"), "{told}");
    assert!(lines[1].starts_with("lamp.json:6:21: S6 tired:"), "{told}");
    assert!(lines[2].starts_with("lamp.json:9:5: S1 dark:"), "{told}");
    let json = ends_with(folder, "chart lint lamp.json --json", 1);
    assert!(json.contains(r#""rule": "S6""#) && json.contains(r#""line": 6"#), "{json}");
    // The same chart as SCXML, and the lines of that.
    ends_with(folder, "chart export lamp.json --output lamp.scxml", 0);
    let told = ends_with(folder, "chart lint lamp.scxml", 1);
    assert!(told.contains("S1 dark") && told.contains("lamp.scxml:"), "{told}");
    ends_with(folder, "gate lamp.json lamp.scxml", 0);
}

#[test]
fn what_is_wrong_is_told_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let wrong = LAMP.replace(r#""to": ["on"]"#, r#""to": ["on"], "when": "times +""#);
    fs::write(folder.join("lamp.json"), &wrong).unwrap();
    let told = ends_with(folder, "chart check lamp.json", 2);
    assert!(told.contains("lamp.json:4:100: "), "{told}");
    let nowhere = LAMP.replace(r#""to": ["on"]"#, r#""to": ["gone"]"#);
    fs::write(folder.join("lamp.json"), nowhere).unwrap();
    let told = ends_with(folder, "chart check lamp.json", 2);
    assert!(told.contains("lamp.json:4:78: press leads to gone"), "{told}");
}

#[test]
fn a_chart_is_drawn_with_what_is_alive_and_beside_another_version() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("1.json"), LAMP).unwrap();
    let next = LAMP.replace(r#"{ "id": "dark" }"#, r#"{ "id": "blue" }"#);
    fs::write(folder.join("2.json"), next.replace("10s", "20s")).unwrap();
    ends_with(folder, "chart simulate 1.json --then press --checkpoint live.json", 0);
    let drawn = ends_with(folder, "chart render --checkpoint live.json", 0);
    assert!(
        drawn.starts_with("<svg ") && drawn.contains(r#"<g class="active"><title>on"#),
        "{drawn}"
    );
    assert!(drawn.contains("timer tired"), "{drawn}");
    let told = ends_with(folder, "chart diff 1.json 2.json --svg both.svg", 1);
    for line in ["- state dark", "+ state blue", "~ state on"] {
        assert!(told.lines().any(|told| told == line), "{line}: {told}");
    }
    let both = fs::read_to_string(folder.join("both.svg")).unwrap();
    for class in ["added", "removed", "changed"] {
        assert!(both.contains(&format!(r#"<g class="{class}"><title>"#)), "{class}: {both}");
    }
    assert!(ends_with(folder, "chart diff 1.json 1.json", 0).contains("identical"));
}

#[test]
fn a_state_that_is_called_like_its_chart_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("off.json"), LAMP.replace(r#""id": "lamp""#, r#""id": "off""#)).unwrap();
    let drawn = ends_with(folder, "chart render off.json", 0);
    assert!(drawn.contains("<title>off") && drawn.contains("<title>on"), "{drawn}");
}

#[test]
fn tests_of_a_chart_are_played_and_end_with_a_number() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("lamp.json"), LAMP).unwrap();
    let good = "case it tires\n  send press\n    in on\n  after 10s\n    in off\n";
    fs::write(folder.join("good.cases"), good).unwrap();
    fs::write(folder.join("bad.cases"), good.replace("    in off", "    in on")).unwrap();
    fs::write(folder.join("none.cases"), "hope\n").unwrap();
    let told = ends_with(folder, "chart test lamp.json good.cases --move", 0);
    assert!(told.contains("1 passed, 0 failed, 3 moves"), "{told}");
    let told = ends_with(folder, "chart test lamp.json good.cases bad.cases", 1);
    assert!(told.contains("bad.cases:5: it tires: expected"), "{told}");
    ends_with(folder, "chart test lamp.json none.cases", 2);
}
