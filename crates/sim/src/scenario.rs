//! Decides how a story is written as text.

use std::path::Path;

/// Runs every scenario of a folder.
///
/// # Errors
///
/// The report, when one of them differs.
pub fn run_all(_folder: &Path, _update: bool) -> Result<String, String> {
    Ok(String::new())
}
