//! Decides how a chore runs another program: at the root, its output shown, its failure ours.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::tree::Tree;

/// The cargo that started us, so that all steps use one toolchain.
pub(crate) fn cargo(tree: &Tree) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(tree.root());
    command
}

/// The toolchain of tools that stable does not have.
pub(crate) const NIGHTLY: &str = "nightly";

/// The cargo of that toolchain, which may not be installed.
pub(crate) fn nightly(tree: &Tree) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", NIGHTLY, "cargo"]).current_dir(tree.root());
    // Set by the cargo that runs this chore; they would choose its toolchain again.
    command.env_remove("CARGO").env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN");
    command
}

/// Whether that toolchain has this subcommand of cargo.
pub(crate) fn nightly_has(tree: &Tree, name: &str) -> bool {
    answers(nightly(tree).args([name, "--version"]))
}

/// Runs `cargo` with these arguments; fails when it fails.
pub(crate) fn run_cargo(tree: &Tree, arguments: &[&str]) -> Result<()> {
    let mut command = cargo(tree);
    command.args(arguments);
    run(&mut command)
}

/// Runs a program to its end; fails when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    println!("$ {shown}");
    let status = command.status().with_context(|| format!("could not start {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// Whether cargo has this subcommand.
pub(crate) fn has_subcommand(tree: &Tree, name: &str) -> bool {
    answers(cargo(tree).args([name, "--version"]))
}

/// Whether a program can be started and ends well; what it says is not shown.
fn answers(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A duration as a person reads it.
pub(crate) fn duration(taken: Duration) -> String {
    format!("{:.1} s", taken.as_secs_f64())
}

fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program())
        .file_name()
        .unwrap_or_else(|| command.get_program())
        .to_string_lossy()
        .into_owned();
    let mut words = vec![program];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}
