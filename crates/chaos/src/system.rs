//! Decides how tools of the system are called: with a bound, and with their words in the error.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Calls a tool with words that are split at spaces.
pub(crate) fn call(line: &str) -> Result<String> {
    let mut words = line.split_whitespace();
    let program = words.next().context("no program")?;
    let mut command = Command::new(program);
    command.args(words);
    finish(line, command, "")
}

/// Calls a tool and gives it `input`.
pub(crate) fn feed(line: &str, input: &str) -> Result<String> {
    let mut words = line.split_whitespace();
    let program = words.next().context("no program")?;
    let mut command = Command::new(program);
    command.args(words);
    finish(line, command, input)
}

fn finish(line: &str, mut command: Command, input: &str) -> Result<String> {
    let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = process.spawn().with_context(|| format!("could not run {line}"))?;
    if let Some(mut stdin) = process.stdin.take() {
        // A tool that ended early says why below.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = process.wait_with_output().with_context(|| format!("could not run {line}"))?;
    if !output.status.success() {
        bail!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether there is such a tool.
pub(crate) fn has(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

/// Sends a signal; a process that is gone needs none.
pub(crate) fn signal(process: u32, name: &str) {
    let _ = call(&format!("kill -{name} {process}"));
}

/// Whether a process is stopped.
pub(crate) fn is_stopped(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
}

/// Whether a process is there.
pub(crate) fn is_running(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).is_dir()
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    call("id -u").is_ok_and(|id| id.trim() == "0")
}
