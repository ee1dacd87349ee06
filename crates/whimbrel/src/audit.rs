//! Decides how the audit log of a node is shown, and what is said of one that does not hold together. It is read
//! from the folder of the node, which need not run.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use clap::Args;
use whimbrel::runtime::{AuditFile, audit_files};
use whimbrel::trust::chain::{Entry, Outcome};
use whimbrel::wire::hex;

use crate::failure::{Advice, UNSUCCESSFUL};
use crate::output::{self, say};
use crate::words::Place;

#[derive(Args, Debug)]
pub(crate) struct AuditWords {
    /// Only of the last while: 20, 20s, 2m.
    #[arg(long, value_name = "TIME", value_parser = crate::words::duration)]
    since: Option<Duration>,
    /// One JSON object a line, as in the log.
    #[arg(long)]
    json: bool,
    /// Say only whether the log holds together, how many entries there are, and the digest of the last one:
    /// note it elsewhere and compare. Exit 1 if it does not.
    #[arg(long)]
    verify: bool,
}

pub(crate) fn run(place: &Place, words: &AuditWords) -> Result<ExitCode> {
    let folder = place.folder_of_node()?;
    let files = audit_files(&folder).map_err(|error| {
        Advice::wrong(
            format!("could not read the audit log in {}: {error}", folder.display()),
            "name the folder of a node that has run",
        )
    })?;
    if files.is_empty() {
        return Err(Advice::wrong(
            format!("there is no audit log in {}", folder.display()),
            "name the folder of a node that has run",
        ));
    }
    if words.verify { verify(&files, &folder) } else { show(&files, words) }
}

fn show(files: &[AuditFile], words: &AuditWords) -> Result<ExitCode> {
    let since = words.since.and_then(|since| SystemTime::now().checked_sub(since));
    let since = since.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    let since = since.map_or(0, |at| u64::try_from(at.as_micros()).unwrap_or(u64::MAX));
    let mut entries: Vec<(bool, &Entry)> = Vec::new();
    for file in files {
        entries.extend(file.read.entries.iter().map(|entry| (file.of_sightings, entry)));
    }
    // Two logs, each in its order; a clock that was set back does not change that.
    entries.sort_by_key(|(_, entry)| entry.at_us);
    for (of_sightings, entry) in entries {
        if entry.at_us < since {
            continue;
        }
        if words.json {
            say(&serde_json::to_string(entry).context("an entry cannot be written")?);
        } else {
            say(&line(entry, of_sightings));
        }
    }
    Ok(complain(files))
}

/// Says what does not hold together.
fn complain(files: &[AuditFile]) -> ExitCode {
    let mut holds = true;
    for file in files {
        if let Some(broken) = &file.read.broken {
            output::complain(&format!("BROKEN: {}, {broken}", file.path.display()));
            holds = false;
        }
        if !file.follows {
            let path = file.path.display();
            output::complain(&format!("BROKEN: {path} does not go on from the file before it"));
            holds = false;
        }
    }
    if holds { ExitCode::SUCCESS } else { ExitCode::from(UNSUCCESSFUL) }
}

fn verify(files: &[AuditFile], folder: &Path) -> Result<ExitCode> {
    let ended = complain(files);
    for (of_sightings, what) in [(false, "log"), (true, "log of sightings")] {
        let mut of = files.iter().filter(|file| file.of_sightings == of_sightings);
        let Some(first) = of.next() else { continue };
        let last = of.next_back().unwrap_or(first).read.standing;
        if ended == ExitCode::SUCCESS {
            say(&format!(
                "the {what} in {} holds: entries {} to {}, the last digest is {}",
                folder.display(),
                first.read.head.after + 1,
                last.entries,
                hex(last.digest.as_bytes())
            ));
        }
    }
    let said_broken = |entry: &&Entry| entry.what == "log broken" && entry.result == Outcome::Noted;
    for entry in files.iter().flat_map(|file| &file.read.entries).filter(said_broken) {
        output::complain(&format!(
            "entry {} says that it was broken before: {}",
            entry.number, entry.detail
        ));
    }
    Ok(ended)
}

fn line(entry: &Entry, of_sightings: bool) -> String {
    let result = match entry.result {
        Outcome::Begun => "begun",
        Outcome::Done => "done",
        Outcome::Failed => "failed",
        Outcome::Refused => "REFUSED",
        Outcome::Noted => "noted",
    };
    let daemon: String = entry.daemon.chars().take(8).collect();
    let of = if entry.of == 0 { String::new() } else { format!(" (of {})", entry.of) };
    let words = [
        format!("{:>7}", format!("{}{}", if of_sightings { "s" } else { "" }, entry.number)),
        moment(entry.at_us),
        format!("{result:<8}"),
        entry.who.clone(),
        entry.what.clone() + &of,
        daemon,
        entry.detail.clone(),
    ];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("  ")
}

/// `2026-11-25T17:06:08Z`, by the algorithm `civil_from_days` of Howard Hinnant.
fn moment(at_us: u64) -> String {
    let seconds = at_us / 1_000_000;
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, early) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + early;
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_626_368, "2026-11-25T17:06:08Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(moment(seconds * 1_000_000), text);
        }
    }
}
