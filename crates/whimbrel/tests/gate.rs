//! Asks the gate as a user would: with files, and by the number that it ends with.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod nodes;

use std::fs;
use std::path::Path;

const ORDER: &str = r#"{ "id": "order", "version": "1",
  "data": [{ "id": "count", "type": "int", "value": { "literal": 1 } }],
  "states": [
    { "id": "open",
      "on_entry": [[{ "send": { "slot": "late", "event": "late", "delay": "1h" } }]],
      "transitions": [{ "id": "pay", "on": ["paid"], "to": ["paid"] },
                      { "id": "lose", "on": ["late"], "to": ["lost"] }] },
    { "id": "paid", "transitions": [{ "id": "send", "on": ["sent"], "to": ["over"] }] },
    { "id": "lost", "kind": "final" }, { "id": "over", "kind": "final" } ] }"#;

fn ends_with(folder: &Path, words: &str, number: i32) -> String {
    nodes::ends_with(folder, words, number).out
}

#[test]
fn the_gate_ends_with_a_number_for_each_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    write("1.json", ORDER);
    write("note.json", &ORDER.replace(r#""version": "1""#, r#""version": "2""#));
    write("more.json", &ORDER.replace(r#""id": "pay","#, r#""id": "pay", "when": "count > 0","#));
    write("later.json", &ORDER.replace(r#""1h""#, r#""2h""#));
    write("other.json", &ORDER.replace(r#""open""#, r#""waiting""#));
    write("torn.json", &ORDER.replace(r#""to": ["lost"]"#, r#""to": ["nowhere"]"#));
    ends_with(folder, "chart simulate 1.json --then +1s --checkpoint live.json", 0);
    let text = fs::read_to_string(folder.join("live.json")).unwrap();
    write("altered.json", &text.replace(r#""count":1"#, r#""count":2"#));
    for (new, number) in [
        ("1.json", 0),
        ("note.json", 10),
        ("more.json", 11),
        ("later.json", 12),
        ("other.json", 13),
        ("torn.json", 14),
    ] {
        ends_with(folder, &format!("gate 1.json {new} --checkpoint live.json"), number);
        let passes = if number <= 11 { 0 } else { number };
        ends_with(folder, &format!("gate 1.json {new} --checkpoint live.json --passing"), passes);
    }
    ends_with(folder, "gate 1.json note.json --checkpoint altered.json", 14);
    ends_with(folder, "gate 1.json nothing.json --checkpoint live.json", 2);
    ends_with(folder, "gate 1.json note.json --checkpoint note.json", 2);
    ends_with(
        folder,
        "gate 1.json later.json --checkpoint live.json --profile guided --passing",
        0,
    );
    // Without an instance the verdict is for any; and several are counted.
    ends_with(folder, "gate 1.json later.json", 12);
    let fleet = "gate 1.json later.json --checkpoint live.json --checkpoint live.json";
    assert!(ends_with(folder, fleet, 12).contains("2  needs consent"));
    assert!(ends_with(folder, &format!("{fleet} --json"), 12).contains(r#""needs-consent": 2"#));
    ends_with(folder, "chart versions 1.json note.json more.json --transitive", 0);
    ends_with(folder, "chart versions 1.json later.json", 1);
    assert!(ends_with(folder, "chart check 1.json", 0).starts_with("order is legal: "));
    ends_with(folder, "chart check torn.json", 2);
}

#[test]
fn a_plan_is_proposed_shown_and_done() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("1.json"), ORDER).unwrap();
    fs::write(folder.join("2.json"), ORDER.replace(r#""open""#, r#""waiting""#)).unwrap();
    ends_with(folder, "chart simulate 1.json --then +1s --checkpoint live.json", 0);
    let words = "gate 1.json 2.json --checkpoint live.json";
    let shown = ends_with(folder, &format!("{words} --dry-run --propose plan.json"), 13);
    assert!(shown.contains("guessed: B1 open: that waiting is the state most alike"), "{shown}");
    let plan = fs::read_to_string(folder.join("plan.json")).unwrap();
    assert!(plan.contains("waiting"), "{plan}");
    let shown = ends_with(folder, &format!("{words} --plan plan.json --dry-run"), 11);
    assert!(shown.contains("- in open") && shown.contains("+ in waiting"), "{shown}");
    ends_with(folder, &format!("{words} --plan plan.json --output moved.json --passing"), 0);
    let run = ends_with(folder, "chart simulate --from moved.json --then paid sent", 0);
    assert!(run.contains("in paid") && run.contains("in over"), "{run}");
    let json = ends_with(folder, &format!("{words} --plan plan.json --dry-run --json"), 11);
    assert!(json.contains(r#""becomes""#) && json.contains(r#""inverse""#), "{json}");
    fs::write(folder.join("bad.json"), r#"{ "format": 1, "magic": 1 }"#).unwrap();
    ends_with(folder, &format!("{words} --plan bad.json"), 2);
}

#[test]
fn scxml_comes_in_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let document = r#"<scxml xmlns="http://www.w3.org/2005/07/scxml" name="door" initial="shut">
        <state id="shut"><transition event="open" target="open"/></state>
        <state id="open"><onentry><send event="close" delay="30s"/></onentry>
            <transition event="close" target="shut"/></state></scxml>"#;
    fs::write(folder.join("door.scxml"), document).unwrap();
    ends_with(folder, "chart import door.scxml --output door.json", 0);
    ends_with(folder, "gate door.scxml door.json", 0);
    let run = ends_with(folder, "chart simulate door.json --then open +30s", 0);
    assert!(run.contains("in open") && run.trim_end().ends_with("in shut"), "{run}");
    fs::write(folder.join("none.scxml"), "<html/>").unwrap();
    ends_with(folder, "chart import none.scxml", 2);
}
