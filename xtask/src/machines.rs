//! Decides how a state of one processor is gone on from on another.
//!
//! The other is aarch64 under an emulator. What that needs is no part of the toolchain: the target of
//! the compiler, a linker and the emulator. Where one is missing it is said, and the step fails rather
//! than pass for what was not done.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::tools;
use crate::tree::Tree;

const TARGET: &str = "aarch64-unknown-linux-gnu";
const LINKER: &str = "aarch64-linux-gnu-gcc";
const EMULATORS: [&str; 2] = ["qemu-aarch64-static", "qemu-aarch64"];

/// Where the emulator finds the other machine's C library.
const LIBRARIES: &str = "/usr/aarch64-linux-gnu";

/// How many seeds states are written of, unless it is said.
const SEEDS: &str = "300";

/// Writes states here, and goes on from them here and on the other machine.
pub(crate) fn run(tree: &Tree, arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let count = match words.as_slice() {
        [] => SEEDS,
        ["--count", count] => count,
        _ => bail!("machines takes --count N or nothing"),
    };
    let starts = |program: &&str| {
        let mut command = Command::new(program);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let emulator = EMULATORS.into_iter().find(starts);
    let emulator = emulator.context("NOT RUN: no emulator; the package is qemu-user-static")?;
    if !starts(&LINKER) {
        bail!("NOT RUN: no {LINKER}; the package is gcc-aarch64-linux-gnu");
    }
    let words = "build --quiet --locked -p whimbrel-differential --bin whimbrel-differential";
    tools::run_cargo(tree, &words.split(' ').collect::<Vec<_>>())?;
    let mut cargo = tools::cargo(tree);
    cargo.args(words.split(' ')).args(["--target", TARGET]);
    cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER);
    let advice = format!("NOT RUN: is the target there? rustup target add {TARGET}");
    tools::run(&mut cargo).context(advice)?;
    let states = tree.target_dir().join("machines");
    if states.exists() {
        fs::remove_dir_all(&states).context("could not empty the folder of the states")?;
    }
    let here = tree.target_dir().join("debug/whimbrel-differential");
    let there = tree.target_dir().join(TARGET).join("debug/whimbrel-differential");
    tools::run(Command::new(&here).arg("write").arg(&states).args(["--count", count]))?;
    tools::run(Command::new(&here).arg("go-on").arg(&states))?;
    let mut emulated = Command::new(emulator);
    emulated.args(["-L", LIBRARIES]).arg(there).arg("go-on").arg(&states);
    tools::run(&mut emulated)
}
