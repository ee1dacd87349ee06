//! Decides what runs for hours, and how a run that was cut goes on.
//!
//! A finished step leaves a mark in the target folder. The mark holds the state of the tree, so
//! that `--resume` never takes the proof of one source for the proof of another.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::tools;
use crate::tree::Tree;

/// A long step: its name, which is also the name of its mark, and a cargo command line.
///
/// Arguments are split at spaces.
struct Step {
    name: &'static str,
    cargo: &'static str,
}

/// To extend the night, add a line.
const STEPS: &[Step] = &[
    Step { name: "deny", cargo: "run --quiet --locked -p xtask -- deny" },
    Step {
        name: "stalled-peers",
        cargo: "run --quiet --locked --release -p whimbrel-runtime --example stalled_peers -- 1000",
    },
    Step {
        name: "simulation",
        cargo: "run --quiet --locked --profile night -p whimbrel-sim --bin whimbrel-sim -- --seeds 160000 \
                --coverage",
    },
    Step {
        name: "crashes",
        cargo: "test --locked -p whimbrel --features crash-points --test crash_table \
                --config env.WHIMBREL_CRASH_TABLE=\"all\"",
    },
    Step { name: "chaos", cargo: "run --quiet --locked -p xtask -- chaos --minutes 30" },
    Step { name: "skew", cargo: "run --quiet --locked -p xtask -- skew --minutes 10" },
    Step {
        name: "model",
        cargo: "run --quiet --locked --release -p whimbrel-model --bin whimbrel-model -- \
                --config deep --states-max 100000000 --rest-every 1000",
    },
    Step {
        name: "model-moves",
        cargo: "run --quiet --locked --release -p whimbrel-model --bin whimbrel-model -- \
                --config thrice --states-max 30000000",
    },
    Step {
        name: "model-client",
        cargo: "run --quiet --locked --release -p whimbrel-model --bin whimbrel-model -- \
                --config client-late --states-max 30000000",
    },
    Step {
        name: "power-cuts",
        cargo: "run --quiet --locked --release -p whimbrel-store --example crashes -- --seeds 100",
    },
    Step {
        name: "gate",
        cargo: "run --quiet --locked --release -p whimbrel-statechart --example soundness -- \
                --seeds 0..1120000",
    },
    Step {
        name: "differential",
        cargo: "run --quiet --locked --release -p whimbrel-differential -- programs \
                --count 100000 --resume",
    },
    Step { name: "machines", cargo: "run --quiet --locked -p xtask -- machines" },
    Step {
        name: "hostile",
        cargo: "run --quiet --locked --release -p whimbrel-differential -- hostile --count 20000",
    },
    Step {
        name: "wasm",
        cargo: "run --quiet --locked --release -p whimbrel-isolate --example conformance",
    },
    Step { name: "fuzz", cargo: "run --quiet --locked -p xtask -- fuzz --minutes 60" },
    Step { name: "miri", cargo: "run --quiet --locked -p xtask -- miri --resume" },
    Step { name: "mutants", cargo: "run --quiet --locked -p xtask -- mutants --resume" },
];

/// The steps in the order in which they run.
pub(crate) fn names() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).collect()
}

/// Runs every step, or with `--resume` those that have no mark for this state of the tree.
///
/// A step that fails does not stop the night: the others still tell something.
pub(crate) fn run(tree: &Tree, arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let resume = match words.as_slice() {
        [] => false,
        ["--resume"] => true,
        _ => bail!("soak takes --resume or nothing"),
    };
    let state = state(tree)?;
    let mut failed = Vec::new();
    for step in STEPS {
        let mark = mark_path(tree, step);
        if resume && is_done(fs::read_to_string(&mark).ok().as_deref(), &state) {
            println!("==> {}: done before", step.name);
            continue;
        }
        println!("==> {}", step.name);
        let started = Instant::now();
        let outcome = tools::run_cargo(tree, &step.cargo.split(' ').collect::<Vec<_>>());
        let taken = tools::duration(started.elapsed());
        match outcome {
            Ok(()) => {
                println!("<== {}: passed in {taken}", step.name);
                leave_mark(&mark, &state)?;
            }
            Err(error) => {
                println!("<== {}: FAILED in {taken}: {error:#}", step.name);
                failed.push(step.name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn mark_path(tree: &Tree, step: &Step) -> PathBuf {
    tree.target_dir().join("soak").join(format!("{}.done", step.name))
}

/// Leaves a mark that something was done for this state of the tree.
pub(crate) fn leave_mark(mark: &Path, state: &str) -> Result<()> {
    if let Some(folder) = mark.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(mark, state).with_context(|| format!("could not write {}", mark.display()))
}

/// Whether what a mark says, if there is one, is this state of the tree.
pub(crate) fn is_done(mark: Option<&str>, state: &str) -> bool {
    mark == Some(state)
}

/// Names the content of the tree: a hash over the paths and bytes of all files.
pub(crate) fn state(tree: &Tree) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for path in tree.files()? {
        path.hash(&mut hasher);
        fs::read(tree.root().join(&path))
            .with_context(|| format!("could not read {path}"))?
            .hash(&mut hasher);
    }
    let compiler = Command::new("rustc").arg("--version").output().map(|output| output.stdout);
    compiler.unwrap_or_default().hash(&mut hasher);
    Ok(format!("{:016x}\n", hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_counts_only_for_the_tree_that_made_it() {
        assert!(is_done(Some("1\n"), "1\n"));
        assert!(!is_done(Some("1\n"), "2\n"));
        assert!(!is_done(None, "1\n"));
    }

    #[test]
    fn no_two_steps_share_a_mark() {
        let mut sorted = names();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), STEPS.len());
    }
}
