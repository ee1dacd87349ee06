//! Decides how the trial of faults on real processes is built and started; its flags are its own.
//!
//! The command is built with the steps at which it can be made to die or stop; both programs are
//! built at once, so that they share one build of the crates below.

use anyhow::Result;

use crate::tools;
use crate::tree::Tree;

const BUILD: &str =
    "build --quiet --locked -p whimbrel-chaos -p whimbrel --features whimbrel/crash-points";

/// Runs the trial with these flags.
pub(crate) fn run(tree: &Tree, flags: &[String]) -> Result<()> {
    tools::run_cargo(tree, &BUILD.split(' ').collect::<Vec<_>>())?;
    let programs = tree.target_dir().join("debug");
    let mut command = std::process::Command::new(programs.join("whimbrel-chaos"));
    command.arg("--whimbrel").arg(programs.join("whimbrel")).args(flags);
    tools::run(&mut command)
}
