//! Decides which words stand for what happens, for people and their scripts.

use std::time::SystemTime;

use whimbrel_members::{Report, Seems};
use whimbrel_protocol::{Event, Standing, Warning};
use whimbrel_wire::{Head, MigrationPhase, Progress};

use super::words::{EventLine, NodeSays, daemon_text};
use crate::core::RuntimeEvent;

pub(super) fn line_of(event: &RuntimeEvent) -> EventLine {
    let since = event.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (word, detail) = describe(&event.event);
    EventLine {
        at_us: u64::try_from(since.as_micros()).unwrap_or(u64::MAX),
        daemon: daemon_text(&event.entity),
        event: word.to_owned(),
        detail,
    }
}

/// How a member seems, in one word.
pub(super) fn seems_word(seems: Seems) -> String {
    let word = match seems {
        Seems::Unheard => "unheard",
        Seems::Alive => "alive",
        Seems::Suspect => "suspect",
        Seems::Down => "down",
        _ => "unknown",
    };
    word.to_owned()
}

pub(super) fn says_of(report: Report) -> NodeSays {
    let Report { offer, load, .. } = report;
    NodeSays {
        hosts: offer.hosts,
        daemons: load.daemons,
        busy_permille: load.busy_permille,
        memory_free_bytes: Some(load.memory_free_bytes).filter(|&bytes| bytes < u64::MAX),
        tags: offer.tags.into_iter().collect(),
        kinds: offer.kinds.into_iter().collect(),
    }
}

pub(super) const fn phase_word(phase: MigrationPhase) -> &'static str {
    match phase {
        MigrationPhase::Snapshot => "snapshot",
        MigrationPhase::Transfer => "transfer",
        MigrationPhase::Restore => "restore",
        MigrationPhase::Replay => "replay",
        MigrationPhase::Cutover => "cutover",
        MigrationPhase::Complete => "complete",
    }
}

pub(super) fn standing_word(standing: &Standing) -> String {
    match standing {
        Standing::Reading => "reading".to_owned(),
        Standing::Stranger => "elsewhere".to_owned(),
        Standing::Bearing => "being born".to_owned(),
        Standing::Opening => "opening".to_owned(),
        Standing::Live => "live".to_owned(),
        Standing::Frozen => "frozen".to_owned(),
        Standing::Parked(reason) => format!("parked: {reason}"),
        Standing::Stopped => "stopped".to_owned(),
        Standing::Departed => "departed".to_owned(),
        Standing::Deleted => "deleted".to_owned(),
        _ => "unknown".to_owned(),
    }
}

fn describe(event: &Event) -> (&'static str, String) {
    match event {
        Event::Phase { attempt, phase } => {
            ("phase", format!("{attempt} entered {}", phase_word(*phase)))
        }
        Event::Progressed { attempt, progress } => {
            ("progress", format!("{attempt} {}", progress_text(progress)))
        }
        Event::MoveEnded { attempt, result } => match result {
            Ok(deed) => {
                let (epoch, node) = (deed.deed.epoch, deed.deed.to.node_id());
                ("moved", format!("{attempt} to {node}, in {epoch}"))
            }
            Err(error) => ("move-failed", format!("{attempt} {error}")),
        },
        Event::CancelRefused { attempt, reason } => {
            ("cancel-refused", format!("{attempt} {reason}"))
        }
        Event::Frozen { attempt, head } => ("frozen", format!("{attempt} at {}", place(head))),
        Event::Thawed { attempt, reason } => ("thawed", format!("{attempt} {reason}")),
        Event::HandedOver { deed } => {
            let (epoch, node) = (deed.deed.epoch, deed.deed.to.node_id());
            ("handed-over", format!("to {node}, {epoch} at {}", place(&deed.deed.head)))
        }
        Event::Live { epoch, head } => ("live", format!("in {epoch} from {}", place(head))),
        Event::Dropped { epoch } => ("dropped", format!("its state of {epoch}")),
        Event::Warning(warning) => ("warning", warn(warning)),
        _ => ("other", format!("{event:?}")),
    }
}

fn warn(warning: &Warning) -> String {
    match warning {
        Warning::WrongPeer { from, attempt } => {
            format!("{from} does not play the role that its message needs ({attempt}): refused")
        }
        Warning::BadDeed { from } => format!("{from} told of a deed that does not hold: refused"),
        Warning::Conflict { second } => {
            let (epoch, node) = (second.deed.epoch, second.deed.to.node_id());
            format!("two valid deeds begin {epoch}; the second is for {node}")
        }
        Warning::Diverged { copy } => {
            format!("it does not replay to the same state ({copy}): moved by freeze-and-copy")
        }
        Warning::Panicked { message } => format!("it panicked and was built anew: {message}"),
        Warning::NotRunnable { reason } => format!("it cannot run here: {reason}"),
        Warning::NotAdopted { reason } => format!("it goes on as it was: {reason}"),
        Warning::Store { error } => format!("the store failed, unsaved turns went back: {error}"),
        Warning::TakenBack { epoch, turns } => {
            format!(
                "the node that gave it took it back, in {epoch}: {turns} turns made here are lost"
            )
        }
        Warning::LostTitle { epoch } => {
            format!("a deed names another data folder as heir, in {epoch}")
        }
        _ => format!("{warning:?}"),
    }
}

fn progress_text(progress: &Progress) -> String {
    let Progress { phase, bytes_sent, bytes_total, events_replayed, lag, .. } = progress;
    let phase = phase_word(*phase);
    format!("{phase}: {bytes_sent} of {bytes_total} bytes, {events_replayed} replayed, lag {lag}")
}

fn place(head: &Head) -> String {
    format!("{} {}", head.position, head.sequence)
}
