//! Decides how a move is shown while it goes on.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Deserialize;
use serde_json::json;
use whimbrel::runtime::admin::words::{Ask, Done, MoveProgress, Part, PlaceLine};
use whimbrel::runtime::admin::{AdminClientError, AdminFault};
use whimbrel_statechart::evolution::Report;

use crate::failure::exit_of;
use crate::output::{self, LiveLine, bytes, count, time};
use crate::words::Place;

/// How wide the bar is, in letters.
const BAR_LETTERS: usize = 24;

/// Moves a daemon, shows how it goes if asked for, and says how it ended.
pub(crate) async fn migrate(place: &Place, ask: Ask, as_json: bool) -> Result<ExitCode> {
    let mut client = crate::ask::connect(place).await?;
    let mut live = LiveLine::new(Duration::from_secs(1));
    let mut rate = Rate::default();
    let see = |part| match part {
        Part::Progress(progress) => {
            let rate = rate.of(&progress);
            live.show(&line(&progress, rate));
        }
        Part::Place(place) => output::complain(&place_line(place)),
        Part::Node(_)
        | Part::Daemon(_)
        | Part::Event(_)
        | Part::Fork(_)
        | Part::Channel(_)
        | Part::Token(_) => {}
    };
    let done = client.ask_with(ask, see).await;
    live.clear();
    let done = match done {
        Err(AdminClientError::Refused(fault)) if as_json => return refused_json(&fault),
        Err(AdminClientError::Refused(fault)) => return Err(refused(fault)),
        done => done?,
    };
    let Done::Moved(report) = done else { bail!("the node answered something else") };
    if as_json {
        output::say(&format!("{:#}", json!({ "moved": report })));
        return Ok(ExitCode::SUCCESS);
    }
    let epoch = report.epoch.map(|epoch| format!(", epoch {epoch}")).unwrap_or_default();
    let expected = report.pause_expected_us.map(|us| format!(" (expected {})", time(us)));
    let expected = expected.unwrap_or_default();
    let cutover = report.cutover_us.map(|us| format!(", cutover {}{expected}", time(us)));
    let cutover = cutover.unwrap_or_default();
    output::say(&format!(
        "moved to {}{epoch} in {}: {} of state, {} events replayed{cutover}",
        report.owner_name.unwrap_or(report.owner),
        time(report.elapsed_us),
        bytes(report.bytes_total),
        count(report.events_replayed),
    ));
    Ok(ExitCode::SUCCESS)
}

/// Shows the report of the gate, if it is one, before the refusal.
fn refused(fault: AdminFault) -> anyhow::Error {
    let report = fault.report.as_deref().map(Report::deserialize);
    if let Some(Ok(report)) = report {
        output::complain(report.to_string().trim_end());
    }
    AdminClientError::Refused(fault).into()
}

fn refused_json(fault: &AdminFault) -> Result<ExitCode> {
    output::say(&format!("{:#}", json!({ "refused": fault })));
    Ok(ExitCode::from(exit_of(fault)))
}

/// A node, and why the daemon goes there or does not.
fn place_line(place: PlaceLine) -> String {
    let mark = match (place.chosen, place.fits) {
        (true, _) => "to",
        (false, true) => "or",
        (false, false) => "not",
    };
    format!("{mark:<4}{}: {}", place.name.unwrap_or(place.node), place.why)
}

/// Bytes per second over the last while.
#[derive(Default)]
struct Rate {
    last: Option<(Instant, u64)>,
    per_second: u64,
}

impl Rate {
    fn of(&mut self, progress: &MoveProgress) -> u64 {
        let (now, sent) = (Instant::now(), progress.bytes_sent);
        match self.last {
            Some((at, before)) if now - at >= Duration::from_millis(200) => {
                let millis = u64::try_from((now - at).as_millis()).unwrap_or(u64::MAX).max(1);
                self.per_second = sent.saturating_sub(before).saturating_mul(1_000) / millis;
                self.last = Some((now, sent));
            }
            Some(_) => {}
            None => self.last = Some((now, sent)),
        }
        self.per_second
    }
}

fn line(progress: &MoveProgress, rate: u64) -> String {
    let phase = progress.phase.as_deref().unwrap_or("asking");
    let filled = if progress.bytes_total == 0 {
        0
    } else {
        let letters = u128::from(progress.bytes_sent) * BAR_LETTERS as u128;
        usize::try_from(letters / u128::from(progress.bytes_total)).unwrap_or(0).min(BAR_LETTERS)
    };
    let bar: String = std::iter::repeat_n('█', filled)
        .chain(std::iter::repeat_n('·', BAR_LETTERS - filled))
        .collect();
    let pause = progress.pause_expected_us.map_or_else(|| "?".to_owned(), time);
    format!(
        "{phase:<9}▕{bar}▏ {} / {}  {}/s  lag {}  pause ≈ {pause}  {}  {}",
        bytes(progress.bytes_sent),
        bytes(progress.bytes_total),
        bytes(rate),
        count(progress.lag),
        time(progress.elapsed_us),
        progress.superposition,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_phase_bytes_lag_and_pause() {
        let progress = MoveProgress {
            phase: Some("replay".to_owned()),
            bytes_sent: 1 << 20,
            bytes_total: 2 << 20,
            events_replayed: 5,
            lag: 1_234,
            superposition: "superposed".to_owned(),
            elapsed_us: 1_500,
            pause_expected_us: Some(700),
        };
        let line = line(&progress, 4 << 20);
        for part in [
            "replay",
            "1.0 MiB / 2.0 MiB",
            "4.0 MiB/s",
            "lag 1,234",
            "700 µs",
            "1.5 ms",
            "superposed",
        ] {
            assert!(line.contains(part), "{line} lacks {part}");
        }
        assert_eq!(line.chars().filter(|&letter| letter == '█').count(), BAR_LETTERS / 2);
        assert!(super::line(&MoveProgress::default(), 0).starts_with("asking"));
    }
}
