//! Decides where a process dies when a test wants it to: at named steps of a move.
//!
//! With the feature `crash-points` and the variable `WHIMBREL_CRASH_AT` set to the name of a step,
//! the process aborts when it comes there for the first time: no destructor runs, no buffer is
//! flushed, nothing is said. With `WHIMBREL_STOP_AT` it stops there instead, once, with all its
//! threads, until it is sent SIGCONT. Without the feature nothing of this exists.
//!
//! A step is `before-` and an act (`before-send-replay-complete`, `before-save-hand-over`), or
//! `after-` and a save that is durable and not yet reported (`after-save-hand-over`).

use whimbrel_protocol::Output;
use whimbrel_wire::Write;

#[cfg(feature = "crash-points")]
mod points {
    use std::process::Command;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    use whimbrel_protocol::Output;
    use whimbrel_wire::{Message, MigrationMessage, Write};

    /// Where it dies, and where it stops.
    fn wanted() -> &'static [String; 2] {
        static WANTED: OnceLock<[String; 2]> = OnceLock::new();
        WANTED.get_or_init(|| {
            ["WHIMBREL_CRASH_AT", "WHIMBREL_STOP_AT"]
                .map(|name| std::env::var(name).unwrap_or_default())
        })
    }

    pub(crate) fn here(step: &str) {
        static STOPPED: AtomicBool = AtomicBool::new(false);
        let [crash, stop] = wanted();
        if step.is_empty() {
            return;
        }
        if step == crash {
            std::process::abort();
        }
        if step == stop && !STOPPED.swap(true, Ordering::Relaxed) {
            // The signal comes before the tool ends, and this thread waits for that end.
            let own = std::process::id().to_string();
            let _ = Command::new("kill").args(["-STOP", &own]).status();
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what has no name here is no step of a move"
    )]
    pub(crate) fn before(output: &Output) {
        match output {
            Output::Send { message: Message::Migration(envelope), .. } => {
                here(send(&envelope.message));
            }
            Output::SendPiece { .. } => here("before-send-piece"),
            Output::Save { write, .. } => here(save(write).0),
            Output::Restore { .. } => here("before-restore"),
            Output::Replay { .. } => here("before-replay"),
            Output::Digest { .. } | Output::Judge { .. } => here("before-digest"),
            Output::Seal { .. } => here("before-seal"),
            Output::Admit { .. } => here("before-admit"),
            Output::SaveChunk { .. } => here("before-save-chunk"),
            Output::WipeKey => here("before-wipe-key"),
            _ => {}
        }
    }

    const fn send(message: &MigrationMessage) -> &'static str {
        match message {
            MigrationMessage::TakeSnapshot { .. }
            | MigrationMessage::TakeSnapshotOnTerms { .. } => "before-send-take-snapshot",
            MigrationMessage::SnapshotReady { .. } => "before-send-snapshot-ready",
            MigrationMessage::RestoreComplete { .. } => "before-send-restore-complete",
            MigrationMessage::ReplayComplete { .. } => "before-send-replay-complete",
            MigrationMessage::CutoverNotify { .. } => "before-send-cutover-notify",
            MigrationMessage::CleanupComplete { .. } => "before-send-cleanup-complete",
            MigrationMessage::BufferedEvents { .. } => "before-send-buffered-events",
            MigrationMessage::ActivateTarget { .. } => "before-send-activate-target",
            MigrationMessage::ActivateAck { .. } => "before-send-activate-ack",
            MigrationMessage::ChunksWanted { .. } => "before-send-chunks-wanted",
            MigrationMessage::MigrationFailed { .. }
            | MigrationMessage::Progressed { .. }
            | MigrationMessage::Cancel { .. } => "",
        }
    }

    /// The steps before a save and after it, while it is not reported yet.
    pub(crate) const fn save(write: &Write) -> (&'static str, &'static str) {
        match write {
            Write::BeginAttempt { .. } => ("before-save-attempt", "after-save-attempt"),
            Write::HandOver { .. } => ("before-save-hand-over", "after-save-hand-over"),
            Write::SaveCopy { .. } => ("before-save-copy", "after-save-copy"),
            Write::AppendCopy { .. } => ("before-save-copy-turns", "after-save-copy-turns"),
            Write::Accept { .. } => ("before-save-accept", "after-save-accept"),
            Write::DropState { .. } => ("before-save-drop-state", "after-save-drop-state"),
            Write::Birth { .. }
            | Write::Append { .. }
            | Write::Publish { .. }
            | Write::Compact { .. }
            | Write::Learn { .. }
            | Write::Reclaim { .. }
            | Write::DropCopy { .. }
            | Write::Delete { .. } => ("", ""),
        }
    }
}

/// Dies here if this is the step.
#[cfg(feature = "crash-points")]
pub(crate) fn here(step: &str) {
    points::here(step);
}

#[cfg(not(feature = "crash-points"))]
pub(crate) const fn here(_step: &str) {}

/// Dies before `output` is done if this is the step.
#[cfg(feature = "crash-points")]
pub(crate) fn before(output: &Output) {
    points::before(output);
}

#[cfg(not(feature = "crash-points"))]
pub(crate) const fn before(_output: &Output) {}

/// The step at which `write` is durable and not yet reported.
#[cfg(feature = "crash-points")]
pub(crate) const fn saved(write: &Write) -> &'static str {
    points::save(write).1
}

#[cfg(not(feature = "crash-points"))]
pub(crate) const fn saved(_write: &Write) -> &'static str {
    ""
}
