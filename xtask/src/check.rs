//! Decides what the one gate is: the steps, their order, and where to begin.
//!
//! The same steps run for people and for CI. Every step reads only; what can be repaired by a
//! program is repaired by [`crate::fix`]. The order puts what fails often and fast first.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::finding;
use crate::tree::Tree;
use crate::{arrows, fuzz, model, sim, tidy, tools};

/// How many seeds the gate simulates; the night has more.
const SEEDS: &str = "200";

/// How many inputs each target of the fuzzers gets; the night has more.
const INPUTS: &str = "20000";

/// How many random programs are moved and held against the engine as it is; the night has more.
const PROGRAMS: &str = "2000";

/// How many of them are damaged on their way, which somebody has to notice.
const DAMAGED: &str = "200";

struct Step {
    name: &'static str,
    run: fn(&Tree) -> Result<()>,
}

const STEPS: [Step; 13] = [
    Step { name: "fmt", run: fmt },
    Step { name: "arrows", run: |tree| finding::report(arrows::check(tree)?) },
    Step { name: "tidy", run: |tree| finding::report(tidy::check(tree)?) },
    Step { name: "clippy", run: clippy },
    Step { name: "test", run: test },
    Step { name: "doctest", run: doctest },
    Step { name: "docs", run: docs },
    Step { name: "fuzz", run: |tree| fuzz::drive(tree, &["--count", INPUTS]) },
    Step { name: "differential", run: differential },
    Step { name: "scenarios", run: |tree| sim::run(tree, &["--scenarios".to_owned()]) },
    Step { name: "seeds", run: |tree| sim::run(tree, &["--seeds".to_owned(), SEEDS.to_owned()]) },
    Step { name: "model", run: |tree| model::run(tree, &[]) },
    Step { name: "crashes", run: crashes },
];

/// Isolates against the engine as it is, and the same with states that are damaged on their way.
fn differential(tree: &Tree) -> Result<()> {
    // With the whole workspace: alone it would be built with other features, the compiler included.
    let words = "build --quiet --locked --workspace --bin whimbrel-differential";
    tools::run_cargo(tree, &words.split(' ').collect::<Vec<_>>())?;
    let program = tree.target_dir().join("debug/whimbrel-differential");
    tools::run(Command::new(&program).args(["programs", "--count", PROGRAMS]))?;
    tools::run(Command::new(&program).args(["programs", "--damaged", "--count", DAMAGED]))
}

/// A sample of the table of crashes on real processes; the night has all of it.
fn crashes(tree: &Tree) -> Result<()> {
    let words =
        "test --locked -p whimbrel --features crash-points --test crash_table --test evolution";
    tools::run_cargo(tree, &words.split(' ').collect::<Vec<_>>())
}

/// The steps in the order in which they run.
pub(crate) fn names() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).collect()
}

/// Runs the chosen steps and stops at the first that fails.
pub(crate) fn run(tree: &Tree, arguments: &[String]) -> Result<()> {
    let chosen = choose(arguments)?;
    let started = Instant::now();
    for step in chosen {
        println!("==> {}", step.name);
        let step_started = Instant::now();
        let outcome = (step.run)(tree);
        let taken = tools::duration(step_started.elapsed());
        match outcome {
            Ok(()) => println!("<== {}: passed in {taken}", step.name),
            Err(error) => {
                println!("<== {}: FAILED in {taken}", step.name);
                let advice = format!("the check stopped; go on with --from {}", step.name);
                return Err(error.context(advice));
            }
        }
    }
    println!("check: passed in {}", tools::duration(started.elapsed()));
    Ok(())
}

fn choose(arguments: &[String]) -> Result<&'static [Step]> {
    static ALL: &[Step] = &STEPS;
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => Ok(ALL),
        ["--from", name] => Ok(&ALL[position(name)?..]),
        ["--only", name] => {
            let at = position(name)?;
            Ok(&ALL[at..=at])
        }
        _ => bail!("check takes --from STEP or --only STEP; steps: {}", names().join(", ")),
    }
}

fn position(name: &str) -> Result<usize> {
    STEPS
        .iter()
        .position(|step| step.name == name)
        .with_context(|| format!("no step '{name}'; steps: {}", names().join(", ")))
}

fn fmt(tree: &Tree) -> Result<()> {
    tools::run_cargo(tree, &["fmt", "--all", "--check"])
}

fn clippy(tree: &Tree) -> Result<()> {
    let words = "clippy --locked --workspace --all-targets -- -D warnings";
    tools::run_cargo(tree, &words.split(' ').collect::<Vec<_>>())
}

fn test(tree: &Tree) -> Result<()> {
    if tools::has_subcommand(tree, "nextest") {
        let words = "nextest run --locked --workspace --no-tests=pass --status-level=slow";
        tools::run_cargo(tree, &words.split(' ').collect::<Vec<_>>())
    } else {
        let words = "test --locked --workspace --lib --bins --tests --examples";
        tools::run_cargo(tree, &words.split(' ').collect::<Vec<_>>())
    }
}

fn doctest(tree: &Tree) -> Result<()> {
    tools::run_cargo(tree, &["test", "--locked", "--workspace", "--doc", "--quiet"])
}

fn docs(tree: &Tree) -> Result<()> {
    let mut command = tools::cargo(tree);
    command
        .args(["doc", "--locked", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings");
    tools::run(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(words: &[&str]) -> Option<Vec<&'static str>> {
        let arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Some(choose(&arguments).ok()?.iter().map(|step| step.name).collect())
    }

    #[test]
    fn without_words_every_step_runs() {
        assert_eq!(chosen(&[]), Some(names()));
    }

    #[test]
    fn from_runs_the_step_and_all_after_it() {
        assert_eq!(
            chosen(&["--from", "scenarios"]),
            Some(vec!["scenarios", "seeds", "model", "crashes"])
        );
    }

    #[test]
    fn only_runs_one_step() {
        assert_eq!(chosen(&["--only", "tidy"]), Some(vec!["tidy"]));
    }

    #[test]
    fn an_unknown_step_or_flag_is_refused_rather_than_passing_without_work() {
        assert_eq!(chosen(&["--only", "tidi"]), None);
        assert_eq!(chosen(&["--fast"]), None);
        assert_eq!(chosen(&["--from"]), None);
    }
}
