//! Decides what a program may repair without being asked twice.
//!
//! Kept apart from [`crate::check`] on purpose: a reviewed change must not be rewritten by its own
//! check.

use anyhow::{Result, bail};

use crate::tree::Tree;
use crate::{tidy, tools};

/// Formats, applies what clippy is sure about, and lowers the function ratchet.
pub(crate) fn run(tree: &Tree, arguments: &[String]) -> Result<()> {
    if !arguments.is_empty() {
        bail!("fix takes no flags");
    }
    let words = "clippy --fix --workspace --all-targets --allow-dirty --allow-staged";
    tools::run_cargo(tree, &words.split(' ').collect::<Vec<_>>())?;
    // After clippy, because what it writes is not formatted.
    tools::run_cargo(tree, &["fmt", "--all"])?;
    tidy::lower_ratchet(tree)
}
