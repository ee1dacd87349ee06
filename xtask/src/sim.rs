//! Decides how the simulator is built and started; its flags are its own.

use anyhow::{Result, bail};

use crate::tools;
use crate::tree::Tree;

/// Chooses the build: `dev` (the default), `release`, or `night`, which is slower to build and faster to run.
pub(crate) const PROFILE_VARIABLE: &str = "WHIMBREL_SIM_PROFILE";

/// The simulator's allocator takes memory in large pages and keeps what was freed: small pages that come and go
/// are cleared by the machine again and again.
const MEMORY: [(&str, &str); 2] =
    [("MIMALLOC_ALLOW_LARGE_OS_PAGES", "1"), ("MIMALLOC_PURGE_DELAY", "-1")];

/// Runs the simulator with these flags.
pub(crate) fn run(tree: &Tree, flags: &[String]) -> Result<()> {
    let mut command = tools::cargo(tree);
    command.args(["run", "--quiet", "--locked", "-p", "whimbrel-sim", "--bin", "whimbrel-sim"]);
    let profile = profile(std::env::var(PROFILE_VARIABLE).ok().as_deref())?;
    command.args(["--profile", profile]);
    command.arg("--").args(flags);
    command.envs(MEMORY);
    tools::run(&mut command)
}

fn profile(wish: Option<&str>) -> Result<&'static str> {
    match wish {
        None | Some("" | "dev") => Ok("dev"),
        Some("release") => Ok("release"),
        Some("night") => Ok("night"),
        Some(other) => bail!("{PROFILE_VARIABLE} is '{other}'; it may be dev, release or night"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_is_dev_unless_another_is_asked_for() {
        assert_eq!(profile(None).unwrap(), "dev");
        assert_eq!(profile(Some("release")).unwrap(), "release");
        assert_eq!(profile(Some("night")).unwrap(), "night");
        assert!(profile(Some("fast")).is_err());
    }
}
