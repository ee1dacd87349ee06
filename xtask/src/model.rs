//! Decides how the model is built and started; its flags are its own.

use anyhow::Result;

use crate::tools;
use crate::tree::Tree;

/// Runs the model with these flags.
pub(crate) fn run(tree: &Tree, flags: &[String]) -> Result<()> {
    let mut command = tools::cargo(tree);
    command.args(["run", "--quiet", "--locked", "-p", "whimbrel-model", "--bin", "whimbrel-model"]);
    command.arg("--").args(flags);
    tools::run(&mut command)
}
