//! Decides whether every deliberate bug is found, by whom, and after how much.
//!
//! The bugs are those of `crates/mutants`. They are all in one build of the three programs that look for
//! them, which the bug is named to: the simulator and the model for those of the protocol, the store's crash
//! test for those of the disk. Each bug must be found by the checker of a promise in at least one of them,
//! and those of [`FOR_THE_MODEL`] and [`FOR_THE_SIMULATOR`] by that one too. The model, which is slow where it
//! finds nothing, is asked about others only if the simulator found nothing, or with `--all`. A row that was found is kept,
//! so that `--resume` goes on where a search of the same tree was cut off.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::soak;
use crate::tools;
use crate::tree::Tree;

/// One build for all bugs.
const BUILD: &str = "build --quiet --locked -p whimbrel-sim -p whimbrel-model -p whimbrel-store --bin \
                     whimbrel-sim --bin whimbrel-model --example crashes --features \
                     whimbrel-sim/mutants,whimbrel-model/mutants,whimbrel-store/mutants";

/// How long one of them may look for one bug.
const SEARCH_MAX: Duration = Duration::from_secs(900);

/// How often it is asked whether the search has ended.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Rules of the protocol that the model must miss when they are switched off.
const FOR_THE_MODEL: &[&str] = &[
    "early-vote",
    "activate-unvoted",
    "tombstones-ignored",
    "any-ack",
    "ack-before-accept",
    "state-dropped-early",
    "anyone-ends",
    "copy-times-out",
    "attempt-restarts",
    "unknown-is-refused",
    "freeze-unsettled",
    "never-asks",
    "gaps-accepted",
];

/// Bugs of the disk that the simulator must find too, on its cluster with files that fail.
const FOR_THE_SIMULATOR: &[&str] = &["commit-unsynced"];

/// Somebody who looks for bugs.
struct Seeker {
    /// For people.
    title: &'static str,
    program: &'static str,
    words: &'static [&'static str],
}

/// Directed stories, and seeds if no story finds it.
const SIMULATOR: Seeker =
    Seeker { title: "simulator", program: "whimbrel-sim", words: &["--seeds", "1000"] };

const MODEL: Seeker = Seeker { title: "model", program: "whimbrel-model", words: &[] };

/// So many lives, each with a crash at every call of the disk.
const CRASHES: Seeker =
    Seeker { title: "crash test", program: "examples/crashes", words: &["--seeds", "12"] };

/// One bug, as the simulator lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mutant {
    name: String,
    is_of_disk: bool,
    rule: String,
    about: String,
}

/// How one search ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// Where, which promise was broken.
    Found {
        place: String,
        promise: String,
    },
    Survived,
    TimedOut,
    /// It died, or said something else.
    Odd(String),
}

/// Looks for the bugs with these names, or for all.
pub(crate) fn run(tree: &Tree, arguments: &[String]) -> Result<()> {
    let resume = arguments.iter().any(|word| word == "--resume");
    let ask_all = arguments.iter().any(|word| word == "--all");
    let names: Vec<&String> = arguments.iter().filter(|word| !word.starts_with("--")).collect();
    if arguments.len() != names.len() + usize::from(resume) + usize::from(ask_all) {
        bail!("mutants takes --resume, --all and names");
    }
    tools::run_cargo(tree, &BUILD.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>())?;
    let folder = tree.target_dir().join("mutants");
    keep_programs(tree, &folder)?;
    let all = listed(&folder)?;
    let known = |name: &str| all.iter().any(|mutant| mutant.name == name);
    let wanted = FOR_THE_MODEL.iter().chain(FOR_THE_SIMULATOR).copied();
    if let Some(name) = wanted.chain(names.iter().map(|name| name.as_str())).find(|it| !known(it)) {
        bail!("there is no bug {name}");
    }
    let state = soak::state(tree)?;
    let (mut survivors, mut rows) = (Vec::new(), Vec::new());
    for mutant in all.iter().filter(|it| names.is_empty() || names.contains(&&it.name)) {
        let kept = folder.join(format!("{}.row", mutant.name));
        let before = fs::read_to_string(&kept).ok().filter(|_| resume);
        let row = match before.and_then(|text| Some(text.strip_prefix(&state)?.to_owned())) {
            Some(row) => row,
            None => {
                let (row, good) = judge(tree, &folder, mutant, ask_all)?;
                if good {
                    fs::write(&kept, format!("{state}{row}"))?;
                } else {
                    survivors.push(mutant.name.as_str());
                }
                row
            }
        };
        println!("{row}");
        rows.push(row);
    }
    println!("\n{HEADER}\n{}", rows.join("\n"));
    if !survivors.is_empty() {
        bail!("not found as they should be: {}", survivors.join(", "));
    }
    Ok(())
}

const HEADER: &str =
    "| bug | rule | what goes wrong | found by, after | promise |\n|---|---|---|---|---|";

/// Lets those look for a bug that can see it: the row of the table, and whether that is good.
fn judge(tree: &Tree, folder: &Path, mutant: &Mutant, ask_all: bool) -> Result<(String, bool)> {
    let name = mutant.name.as_str();
    let seekers: &[&Seeker] = match mutant.is_of_disk {
        false => &[&SIMULATOR, &MODEL],
        true if FOR_THE_SIMULATOR.contains(&name) => &[&CRASHES, &SIMULATOR],
        true => &[&CRASHES],
    };
    let mut verdicts = Vec::new();
    for seeker in seekers {
        let is_found = verdicts.iter().any(|(_, verdict)| matches!(verdict, Verdict::Found { .. }));
        if is_found && !ask_all && !must(seeker, name) {
            continue;
        }
        verdicts.push((*seeker, search(tree, folder, name, seeker)?));
    }
    let good = is_good(name, &verdicts);
    let told: Vec<(String, String)> =
        verdicts.iter().map(|(seeker, verdict)| cells(seeker, verdict)).collect();
    let join = |cell: fn(&(String, String)) -> &String| {
        told.iter().map(cell).map(String::as_str).collect::<Vec<_>>().join("; ")
    };
    let (places, promises) = (join(|told| &told.0), join(|told| &told.1));
    let row = format!("| {name} | {} | {} | {places} | {promises} |", mutant.rule, mutant.about);
    Ok((row, good))
}

fn is_good(name: &str, verdicts: &[(&Seeker, Verdict)]) -> bool {
    let is_found = |verdict: &Verdict| matches!(verdict, Verdict::Found { .. });
    let sound =
        verdicts.iter().all(|(_, verdict)| !matches!(verdict, Verdict::Odd(_) | Verdict::TimedOut));
    let done = verdicts.iter().all(|(seeker, verdict)| !must(seeker, name) || is_found(verdict));
    sound && done && verdicts.iter().any(|(_, verdict)| is_found(verdict))
}

/// Whether this one must find that bug, whoever else does.
fn must(seeker: &Seeker, name: &str) -> bool {
    match seeker.title {
        "model" => FOR_THE_MODEL.contains(&name),
        "simulator" => FOR_THE_SIMULATOR.contains(&name),
        _ => false,
    }
}

/// What one seeker has to say: place and promise.
fn cells(seeker: &Seeker, verdict: &Verdict) -> (String, String) {
    let title = seeker.title;
    match verdict {
        Verdict::Found { place, promise } => (format!("{title}: {place}"), promise.clone()),
        Verdict::Survived => (format!("{title}: not"), "–".to_owned()),
        Verdict::TimedOut => {
            (format!("{title}: NO END in {}", tools::duration(SEARCH_MAX)), "–".to_owned())
        }
        Verdict::Odd(said) => (format!("{title}: ODD {said:?}"), "–".to_owned()),
    }
}

/// The bugs, as the simulator knows them.
fn listed(folder: &Path) -> Result<Vec<Mutant>> {
    let program = program(folder, &SIMULATOR);
    let output = Command::new(&program).arg("--mutants").output();
    let output = output.with_context(|| format!("could not start {}", program.display()))?;
    read_list(&String::from_utf8_lossy(&output.stdout))
}

fn read_list(text: &str) -> Result<Vec<Mutant>> {
    let line = |line: &str| {
        let mut words = line.split('\t').map(str::to_owned);
        let (name, part) = (words.next()?, words.next()?);
        let (rule, about) = (words.next()?, words.next()?);
        Some(Mutant { name, is_of_disk: part == "disk", rule, about })
    };
    let mutants: Option<Vec<Mutant>> = text.lines().map(line).collect();
    mutants.filter(|mutants| !mutants.is_empty()).context("the simulator lists no bugs")
}

/// Copies the programs to where a later build does not replace them.
fn keep_programs(tree: &Tree, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for seeker in [&SIMULATOR, &MODEL, &CRASHES] {
        let built = tree.target_dir().join("debug").join(seeker.program);
        fs::copy(&built, program(folder, seeker))
            .with_context(|| format!("could not copy {}", built.display()))?;
    }
    Ok(())
}

fn program(folder: &Path, seeker: &Seeker) -> PathBuf {
    folder.join(seeker.program.replace('/', "-"))
}

/// Lets one of them look for it.
fn search(tree: &Tree, folder: &Path, mutant: &str, seeker: &Seeker) -> Result<Verdict> {
    // Started by itself: of `cargo run` only cargo could be ended.
    let binary = program(folder, seeker);
    let said = folder.join(format!("{mutant}.{}.txt", seeker.title.replace(' ', "-")));
    let file =
        File::create(&said).with_context(|| format!("could not write {}", said.display()))?;
    let mut command = Command::new(&binary);
    command.args(["--mutant", mutant]).args(seeker.words).stdout(file).stderr(Stdio::null());
    let mut child = command
        .current_dir(tree.root())
        .spawn()
        .with_context(|| format!("could not start {}", binary.display()))?;
    let Some(status) = wait(&mut child, SEARCH_MAX)? else { return Ok(Verdict::TimedOut) };
    Ok(read(&fs::read_to_string(&said)?, status.success()))
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
            let place = place.strip_prefix("model ").unwrap_or(place);
            let place = place.strip_prefix("the store's crash test ").unwrap_or(place);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Verdict {
        Verdict::Found { place: "seed 1".to_owned(), promise: "one-owner".to_owned() }
    }

    #[test]
    fn the_list_is_read_and_an_empty_one_refused() {
        let text = "early-vote\tprotocol\t1\tany vote\nlog-trusted\tdisk\tS2\tno sync\n";
        let mutants = read_list(text).unwrap();
        assert_eq!((mutants[0].name.as_str(), mutants[0].is_of_disk), ("early-vote", false));
        assert_eq!((mutants[1].rule.as_str(), mutants[1].is_of_disk), ("S2", true));
        assert!(read_list("").is_err());
        assert!(read_list("whimbrel-sim --seed N").is_err());
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
    fn what_the_crash_test_and_the_model_found_is_read_like_that() {
        let said = "found by the store's crash test after 345 points: durable broken at call 86 of \
                    seed 0, Power: chunk 149c9e442407 is gone\n";
        let expected =
            Verdict::Found { place: "after 345 points".to_owned(), promise: "durable".to_owned() };
        assert_eq!(read(said, true), expected);
        assert_eq!(read("not found by the store's crash test\n", false), Verdict::Survived);
        let said = "found by model crashes after 99 states, depth 7: nothing-lost broken at 8 \
                    steps: a was lost: for ever\n";
        let expected = Verdict::Found {
            place: "crashes after 99 states, depth 7".to_owned(),
            promise: "nothing-lost".to_owned(),
        };
        assert_eq!(read(said, true), expected);
    }

    #[test]
    fn what_is_not_said_is_no_finding() {
        let survived = "not found by the directed stories and 1000 seeds, 0 of which panicked\n";
        assert_eq!(read(survived, false), Verdict::Survived);
        assert_eq!(read("", false), Verdict::Odd(String::new()));
        // The same story fails without the bug.
        assert!(matches!(read("found by x: one-owner broken at 1 s: y", false), Verdict::Odd(_)));
        assert!(matches!(read(survived, true), Verdict::Odd(_)));
    }

    #[test]
    fn one_who_finds_it_is_enough_unless_another_must() {
        assert!(is_good("bug", &[(&SIMULATOR, found()), (&MODEL, Verdict::Survived)]));
        assert!(is_good("bug", &[(&SIMULATOR, Verdict::Survived), (&MODEL, found())]));
        assert!(!is_good("bug", &[(&SIMULATOR, Verdict::Survived), (&MODEL, Verdict::Survived)]));
        assert!(!is_good("bug", &[(&SIMULATOR, found()), (&MODEL, Verdict::TimedOut)]));
        assert!(!is_good("early-vote", &[(&SIMULATOR, found()), (&MODEL, Verdict::Survived)]));
        let odd = Verdict::Odd("panicked".to_owned());
        assert!(!is_good("commit-unsynced", &[(&CRASHES, found()), (&SIMULATOR, odd)]));
    }
}
