//! Decides how the simulator is built and started; its flags are its own.

use anyhow::{Result, bail};

use crate::tools;
use crate::tree::Tree;

/// Chooses the build: `dev` (the default) or `release`.
pub(crate) const PROFILE_VARIABLE: &str = "WHIMBREL_SIM_PROFILE";

/// Runs the simulator with these flags.
pub(crate) fn run(tree: &Tree, flags: &[String]) -> Result<()> {
    let mut command = tools::cargo(tree);
    command.args(["run", "--quiet", "--locked", "-p", "whimbrel-sim", "--bin", "whimbrel-sim"]);
    if is_release(std::env::var(PROFILE_VARIABLE).ok().as_deref())? {
        command.arg("--release");
    }
    command.arg("--").args(flags);
    tools::run(&mut command)
}

fn is_release(profile: Option<&str>) -> Result<bool> {
    match profile {
        None | Some("" | "dev") => Ok(false),
        Some("release") => Ok(true),
        Some(other) => bail!("{PROFILE_VARIABLE} is '{other}'; it may be dev or release"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_is_dev_unless_release_is_asked_for() {
        assert!(!is_release(None).unwrap());
        assert!(!is_release(Some("dev")).unwrap());
        assert!(is_release(Some("release")).unwrap());
        assert!(is_release(Some("fast")).is_err());
    }
}
