//! Decides which earlier state of the source the present one must get on with, and how that is tried.
//!
//! The earlier command is built once from the history of the repository, in a tree and a target folder of its
//! own, and kept. Then the trial of faults runs with it on every second node: daemons move from one build to
//! the other and back under load, while nodes die and the network is bad, and the ledger must add up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::chaos;
use crate::tools;
use crate::tree::Tree;

/// The state that counts as the version before, until there is a release. A later one is named here when words
/// or folders change and both sides are to be understood.
const EARLIER: &str = "e5d1b8d";

/// What of it is built.
const BUILD: &str = "build --quiet --locked -p whimbrel --features whimbrel/crash-points";

/// Runs the trial of faults with two builds; `--commit C` names the earlier one, the rest is for the trial.
pub(crate) fn run(tree: &Tree, arguments: &[String]) -> Result<()> {
    let (commit, flags) = match arguments {
        [word, commit, rest @ ..] if word == "--commit" => (commit.as_str(), rest),
        rest => (EARLIER, rest),
    };
    let earlier = earlier(tree, commit)?;
    let earlier = earlier.to_str().context("the target folder is not UTF-8")?.to_owned();
    let words = ["--earlier".to_owned(), earlier];
    chaos::run(tree, &words.into_iter().chain(flags.iter().cloned()).collect::<Vec<_>>())
}

/// The command of an earlier state, built unless it was before.
fn earlier(tree: &Tree, commit: &str) -> Result<PathBuf> {
    let commit = resolved(tree, commit)?;
    let folder = tree.target_dir().join("skew");
    let built = folder.join(format!("whimbrel-{commit}"));
    if built.is_file() {
        return Ok(built);
    }
    fs::create_dir_all(&folder)?;
    let source = folder.join("source");
    remove(tree, &source);
    let mut checkout = git(tree);
    checkout.args(["worktree", "add", "--quiet", "--detach"]).arg(&source).arg(&commit);
    tools::run(&mut checkout)?;
    let outcome = build(tree, &source, &folder.join("target"), &built);
    remove(tree, &source);
    outcome.map(|()| built)
}

fn build(tree: &Tree, source: &Path, target: &Path, built: &Path) -> Result<()> {
    let mut cargo = tools::cargo(tree);
    cargo.args(BUILD.split(' ')).current_dir(source).env("CARGO_TARGET_DIR", target);
    tools::run(&mut cargo)?;
    let program = target.join("debug/whimbrel");
    fs::copy(&program, built)
        .with_context(|| format!("could not copy {}", program.display()))
        .map(drop)
}

/// The whole name of a commit.
fn resolved(tree: &Tree, commit: &str) -> Result<String> {
    let mut command = git(tree);
    command.args(["rev-parse", "--verify", "--quiet", &format!("{commit}^{{commit}}")]);
    let output = command.output().context("could not start git")?;
    if !output.status.success() {
        bail!(
            "the history here has no commit {commit}; fetch all of it, or name another by --commit"
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Takes a tree away that may be there from a run that was cut off.
fn remove(tree: &Tree, source: &Path) {
    let mut command = git(tree);
    command.args(["worktree", "remove", "--force"]).arg(source);
    // There may be none.
    let _ = command.output();
    let _ = git(tree).args(["worktree", "prune"]).output();
}

fn git(tree: &Tree) -> Command {
    let mut command = Command::new("git");
    command.current_dir(tree.root());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_is_not_there_is_said_to_be_missing() {
        let tree = Tree::open().unwrap();
        let error = resolved(&tree, "0000000000").unwrap_err();
        assert!(error.to_string().contains("no commit"), "{error}");
        assert_eq!(resolved(&tree, "HEAD").unwrap().len(), 40);
    }
}
