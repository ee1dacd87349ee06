//! Decides whether every deliberate bug is found by the simulator, and some by the model as well; those
//! of the store by its crash test.
//!
//! The bugs are the features `mutant-*` of `crates/protocol` and `crates/store`. One after the other is
//! built into the simulator and the model; the simulator must then find a broken promise, and so must
//! the model if the bug is one of [`FOR_THE_MODEL`]. A bug of the store is for the store's crash test, and
//! for these two only if it is one of [`FOR_THE_SIMULATOR`]. A bug that something else makes harmless is in
//! [`KNOWN_MASKED`] with the reason; it is still run and shown, and fails nothing.

use std::fs::{self, File};
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::tools;
use crate::tree::Tree;

/// Where the bugs are listed, and of which package they are features.
const MANIFESTS: [(&str, &str); 2] =
    [("whimbrel-protocol", "crates/protocol/Cargo.toml"), (STORE, "crates/store/Cargo.toml")];

const STORE: &str = "whimbrel-store";

/// What the name of each begins with.
const PREFIX: &str = "mutant-";

/// Seeds that are played if no story finds it.
const SEEDS: &str = "800";

/// How long one bug may be looked for, its build not counted.
const SEARCH_MAX: Duration = Duration::from_secs(600);

/// How often it is asked whether the search has ended.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Bugs that no checker can see, and what hides each.
const KNOWN_MASKED: &[(&str, &str)] = &[
    ("mutant-activate-unvoted", "the store accepts a deed only where the copy on disk ends"),
    ("mutant-freeze-unsettled", "the store hands over only where the journal on disk ends"),
    ("mutant-snapshots-mixed", "the store of chunks refuses bytes that their digest does not name"),
    ("mutant-tombstones-ignored", "the store refuses a copy of an epoch that has ended"),
];

/// Rules of the protocol that the model must miss when they are switched off.
const FOR_THE_MODEL: &[&str] = &[
    "mutant-early-vote",
    "mutant-tombstones-ignored",
    "mutant-any-ack",
    "mutant-ack-before-accept",
    "mutant-state-dropped-early",
    "mutant-anyone-ends",
    "mutant-attempt-restarts",
    "mutant-unknown-is-refused",
    "mutant-never-asks",
    "mutant-gaps-accepted",
];

/// The two that look for each bug: their names, which are those of their packages, and their words.
const SIMULATOR: (&str, &[&str]) = ("whimbrel-sim", &["--expect-violation", "--seeds", SEEDS]);
const MODEL: (&str, &[&str]) = ("whimbrel-model", &["--expect-violation"]);

/// Bugs of the store that the simulator must find too, on its cluster with a disk.
const FOR_THE_SIMULATOR: &[&str] = &["mutant-commit-unsynced"];

/// Who looks for the bugs of the store: so many lives, each with a crash at every call of the disk.
const CRASHES: (&str, &[&str]) = ("examples/crashes", &["--expect-violation", "--seeds", "12"]);

/// How the search for one bug ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Found {
        place: String,
        promise: String,
    },
    Survived,
    TimedOut,
    /// The simulator died, or said something else.
    Odd(String),
}

/// Looks for the bugs with these names, or for all.
pub(crate) fn run(tree: &Tree, names: &[String]) -> Result<()> {
    let mut all = Vec::new();
    for (package, path) in MANIFESTS {
        let manifest = fs::read_to_string(tree.root().join(path))
            .with_context(|| format!("could not read {path}"))?;
        let features = listed(&manifest).with_context(|| format!("{path} lists no bugs"))?;
        all.extend(features.into_iter().map(|mutant| (package, mutant)));
    }
    let known = |name: &str| all.iter().any(|(_, mutant)| mutant == name);
    if let Some((name, _)) = KNOWN_MASKED.iter().find(|(name, _)| !known(name)) {
        bail!("{name} is said to be masked, and no manifest has it");
    }
    if let Some(name) = FOR_THE_MODEL.iter().find(|name| !known(name)) {
        bail!("the model is to find {name}, and no manifest has it");
    }
    if let Some(name) = names.iter().find(|name| !known(name)) {
        bail!("no manifest has {name}");
    }
    let chosen = all.iter().filter(|(_, name)| names.is_empty() || names.contains(name));
    let mut survivors = Vec::new();
    let mut rows = Vec::new();
    for (package, mutant) in chosen {
        let (row, good) = judge(tree, package, mutant)?;
        println!("{row}");
        rows.push(row);
        if !good {
            survivors.push(mutant.as_str());
        }
    }
    println!("\n{}", rows.join("\n"));
    if !survivors.is_empty() {
        bail!("not found: {}", survivors.join(", "));
    }
    Ok(())
}

/// Lets those look for a bug that can see it: what they said, and whether that is good.
fn judge(tree: &Tree, package: &str, mutant: &str) -> Result<(String, bool)> {
    let mut rows = Vec::new();
    let mut good = true;
    if package == STORE {
        build(tree, package, mutant, &["-p", STORE, "--example", "crashes"])?;
        let verdict = search(tree, mutant, CRASHES)?;
        rows.push(row(mutant, &verdict));
        good = is_good(mutant, &verdict);
    }
    if package != STORE || FOR_THE_SIMULATOR.contains(&mutant) {
        build(tree, package, mutant, &["--bins", "-p", SIMULATOR.0, "-p", MODEL.0])?;
        let verdict = search(tree, mutant, SIMULATOR)?;
        let by_model = search(tree, mutant, MODEL)?;
        rows.push(format!("{}\n{}", row(mutant, &verdict), model_row(mutant, &by_model)));
        good &= is_good(mutant, &verdict) && is_good_for_model(mutant, &by_model);
    }
    Ok((rows.join("\n"), good))
}

/// The features that are bugs, in the order of the manifest's parser.
fn listed(manifest: &str) -> Result<Vec<String>> {
    let manifest: toml::Table = manifest.parse().context("the manifest is not TOML")?;
    let features = manifest.get("features").and_then(toml::Value::as_table);
    let features = features.context("the manifest has no features")?;
    let mutants: Vec<String> =
        features.keys().filter(|name| name.starts_with(PREFIX)).cloned().collect();
    if mutants.is_empty() {
        bail!("the manifest lists no {PREFIX}*");
    }
    Ok(mutants)
}

/// Builds one bug into those that look for it.
fn build(tree: &Tree, package: &str, mutant: &str, what: &[&str]) -> Result<()> {
    let feature = format!("{package}/{mutant}");
    let mut command = tools::cargo(tree);
    command.args(["build", "--quiet", "--locked", "--features", &feature]).args(what);
    tools::run(&mut command)
}

/// Lets one of them look for it.
fn search(tree: &Tree, mutant: &str, (program, words): (&str, &[&str])) -> Result<Verdict> {
    // Started by itself: of `cargo run` only cargo could be ended.
    let binary = tree.target_dir().join("debug").join(program);
    let folder = tree.target_dir().join("mutants");
    fs::create_dir_all(&folder)?;
    let said = folder.join(format!("{mutant}.{}.txt", program.replace('/', "-")));
    let file =
        File::create(&said).with_context(|| format!("could not write {}", said.display()))?;
    let mut command = Command::new(&binary);
    command.args(words).stdout(file).stderr(Stdio::null());
    let mut child = command
        .current_dir(tree.root())
        .spawn()
        .with_context(|| format!("could not start {}", binary.display()))?;
    let Some(status) = wait(&mut child, SEARCH_MAX)? else { return Ok(Verdict::TimedOut) };
    let mut text = String::new();
    File::open(&said)?.read_to_string(&mut text)?;
    Ok(read(&text, status.success()))
}

/// Waits for the end, at most so long; then it is ended.
fn wait(child: &mut Child, at_most: Duration) -> Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() >= at_most {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(ASK_EVERY);
    }
}

/// Reads what was said last.
fn read(text: &str, success: bool) -> Verdict {
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if let Some(found) = last.strip_prefix("found by ") {
        let parsed = found.split_once(": ").and_then(|(place, rest)| {
            let (before, _) = rest.split_once(" broken at ")?;
            let promise = before.rsplit(' ').next()?;
            Some((place.to_owned(), promise.to_owned()))
        });
        if let Some((place, promise)) = parsed
            && success
        {
            return Verdict::Found { place, promise };
        }
    } else if last.starts_with("not found ") && !success {
        return Verdict::Survived;
    }
    Verdict::Odd(last.to_owned())
}

fn masked(mutant: &str) -> Option<&'static str> {
    KNOWN_MASKED.iter().find(|(name, _)| *name == mutant).map(|(_, why)| *why)
}

fn is_good(mutant: &str, verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Found { .. } => true,
        Verdict::Survived => masked(mutant).is_some(),
        Verdict::TimedOut | Verdict::Odd(_) => false,
    }
}

fn row(mutant: &str, verdict: &Verdict) -> String {
    let told = match (verdict, masked(mutant)) {
        (Verdict::Found { place, promise }, None) => format!("{promise:<14} {place}"),
        (Verdict::Found { place, promise }, Some(_)) => {
            format!("{promise:<14} {place}; it is listed as masked and is not")
        }
        (Verdict::Survived, Some(why)) => format!("masked         {why}"),
        (Verdict::Survived, None) => "SURVIVED".to_owned(),
        (Verdict::TimedOut, _) => format!("NO END in {}", tools::duration(SEARCH_MAX)),
        (Verdict::Odd(said), _) => format!("ODD            {said:?}"),
    };
    format!("{mutant:<28} {told}")
}

/// Whether the model did with a bug what it has to.
fn is_good_for_model(mutant: &str, verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Found { .. } => true,
        Verdict::Survived => !FOR_THE_MODEL.contains(&mutant),
        Verdict::TimedOut | Verdict::Odd(_) => false,
    }
}

fn model_row(mutant: &str, verdict: &Verdict) -> String {
    let told = match verdict {
        Verdict::Found { place, promise } => format!("{promise:<14} {place}"),
        Verdict::Survived if FOR_THE_MODEL.contains(&mutant) => "NOT FOUND by the model".to_owned(),
        Verdict::Survived => "               not found by the model".to_owned(),
        Verdict::TimedOut => format!("NO END in {}", tools::duration(SEARCH_MAX)),
        Verdict::Odd(said) => format!("ODD            {said:?}"),
    };
    format!("{:<28} {told}", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_features_that_are_bugs_are_listed() {
        let manifest = "[features]\ndefault = []\nmutant-a = []\n# mutant-c\nmutant-b = []\n";
        assert_eq!(listed(manifest).unwrap(), ["mutant-a", "mutant-b"]);
        assert!(listed("[features]\nother = []\n").is_err());
        assert!(listed("[package]\n").is_err());
        assert!(listed("not toml").is_err());
    }

    #[test]
    fn the_promise_and_the_place_are_read_from_the_last_line() {
        let story = "found by story one-letter-twice: Replays Double(7), save 1: nothing-twice \
                     broken at 1.000000 s: e applied 1:2 twice\n";
        let expected = Verdict::Found {
            place: "story one-letter-twice".to_owned(),
            promise: "nothing-twice".to_owned(),
        };
        assert_eq!(read(story, true), expected);
        let seed = "noise\nfound by seed 7 after 1234 steps: one-owner broken at 0.1 s: x: y\n";
        let expected = Verdict::Found {
            place: "seed 7 after 1234 steps".to_owned(),
            promise: "one-owner".to_owned(),
        };
        assert_eq!(read(seed, true), expected);
    }

    #[test]
    fn what_the_crash_test_found_is_read_like_that() {
        let said = "found by the store's crash test after 345 points: durable broken at call 86 of \
                    seed 0, Power: chunk 149c9e442407 is gone\n";
        let place = "the store's crash test after 345 points".to_owned();
        let expected = Verdict::Found { place, promise: "durable".to_owned() };
        assert_eq!(read(said, true), expected);
        assert_eq!(read("not found by the store's crash test\n", false), Verdict::Survived);
    }

    #[test]
    fn what_the_model_found_is_read_like_that() {
        let said = "found by model crashes after 99 states, depth 7: nothing-lost broken at 8 \
                    steps: a was lost: for ever\n";
        let expected = Verdict::Found {
            place: "model crashes after 99 states, depth 7".to_owned(),
            promise: "nothing-lost".to_owned(),
        };
        assert_eq!(read(said, true), expected);
    }

    #[test]
    fn a_rule_that_the_model_does_not_miss_fails() {
        assert!(is_good_for_model("mutant-of-nobody", &Verdict::Survived));
        assert!(!is_good_for_model("mutant-of-nobody", &Verdict::TimedOut));
        if let Some(name) = FOR_THE_MODEL.first() {
            assert!(!is_good_for_model(name, &Verdict::Survived));
        }
    }

    #[test]
    fn what_the_simulator_does_not_say_is_no_finding() {
        let survived = "not found by the directed stories and 800 seeds\n";
        assert_eq!(read(survived, false), Verdict::Survived);
        assert_eq!(read("", false), Verdict::Odd(String::new()));
        assert!(matches!(read("found by x: one-owner broken at 1 s: y", false), Verdict::Odd(_)));
        assert!(matches!(read(survived, true), Verdict::Odd(_)));
    }

    #[test]
    fn a_survivor_that_is_not_listed_fails() {
        assert!(!is_good("mutant-of-nobody", &Verdict::Survived));
        assert!(!is_good("mutant-of-nobody", &Verdict::TimedOut));
        if let Some((name, _)) = KNOWN_MASKED.first() {
            assert!(is_good(name, &Verdict::Survived));
            assert!(!is_good(name, &Verdict::TimedOut));
        }
    }
}
