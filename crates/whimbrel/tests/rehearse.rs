//! `whimbrel sim` as it is typed: what it prints, and the number it ends with.

use std::path::Path;
use std::process::{Command, Output};

const PLAN: &str = "\
nodes = 3
seconds = 3
[[daemons]]
count = 6
[[step]]
at = \"500ms\"
do = \"drain\"
node = \"B\"
";

fn sim(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whimbrel"));
    command.arg("sim").args(words).current_dir(folder).output().expect("the command starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_plan_is_played_written_down_shown_and_played_again() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("drain.toml"), PLAN).unwrap();
    let play = ["--scenario", "drain.toml", "--seed", "7"];
    let played = sim(folder.path(), &[&play[..], &["--trace", "drain.trace"]].concat());
    assert_eq!(played.status.code(), Some(0), "{played:?}");
    assert!(text(&played.stdout).contains("moves     asked 2, done 2, failed 0"), "{played:?}");
    let again = sim(folder.path(), &["replay", "drain.trace"]);
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    let shown = sim(folder.path(), &["show", "drain.trace", "--daemon", "D1"]);
    assert!(text(&shown.stdout).contains("handed over"), "{shown:?}");
    let json = sim(folder.path(), &[&play[..], &["--json"]].concat());
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(report["moves"]["done"], 2);
    assert_eq!(report["violation"], serde_json::Value::Null);
}

#[test]
fn the_exit_code_says_whether_it_came_out_as_the_plan_expects() {
    let folder = tempfile::tempdir().unwrap();
    let hopeless = format!("{PLAN}[expect]\npause_max = \"1us\"\n");
    std::fs::write(folder.path().join("hopeless.toml"), hopeless).unwrap();
    let played = sim(folder.path(), &["--scenario", "hopeless.toml"]);
    assert_eq!(played.status.code(), Some(1), "{played:?}");
    assert!(text(&played.stdout).contains("NOT MET"), "{played:?}");
}

#[test]
fn a_bad_plan_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.toml"), PLAN.replace("drain", "drown")).unwrap();
    for (words, says) in [
        (&["--scenario", "bad.toml"][..], "bad.toml, line 7: there is no step `drown`"),
        (&["--scenario", "nowhere.toml"], "could not read nowhere.toml"),
        (&["replay", "bad.toml"], "it does not begin with"),
        (&[], "--scenario"),
    ] {
        let refused = sim(folder.path(), words);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(text(&refused.stderr).contains(says), "{refused:?}");
    }
}
