//! Decides what clients say: the lines of a file, or words that are made up.

use std::path::Path;

use anyhow::Result;
use whimbrel_trial::Script;

use crate::failure::Advice;

/// Longest file of lines.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The lines of `file`, or made-up words.
pub(crate) fn script(file: Option<&Path>) -> Result<Script> {
    let Some(file) = file else { return Ok(Script::MadeUp) };
    let wrong = |why: String| {
        Advice::wrong(
            format!("could not use {}: {why}", file.display()),
            "name a text file with at least one line, up to 256 MiB",
        )
    };
    let bytes = std::fs::metadata(file).map_err(|error| wrong(error.to_string()))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(wrong("it is too long".to_owned()));
    }
    let text = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<String> =
        text.lines().map(|line| line.replace('\r', " ")).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return Err(wrong("it has no lines".to_owned()));
    }
    Ok(Script::Lines(lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_lines_and_an_empty_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lines");
        std::fs::write(&file, "one two\n\nthree\r\n").unwrap();
        let lines = script(Some(&file)).unwrap();
        assert_eq!(lines.text(0, 0), "e0-00000000 one two");
        assert_eq!(lines.text(0, 1), "e0-00000001 three");
        assert_eq!(lines.text(0, 2), "e0-00000002 one two");
        std::fs::write(&file, "\n\n").unwrap();
        assert!(script(Some(&file)).is_err());
        assert!(script(Some(&folder.path().join("none"))).is_err());
    }
}
