//! Decides which moments of a move a node notes, so that it can be seen where the time of a pause goes.
//!
//! A node that is told to notes when each message was said, heard by a link and met by its cell, when
//! a save was asked for and when it was on the disk, and what was told. The notes stay in memory and
//! are written when the node ends, one a line: nanoseconds since 1970, how, what. All processes of one
//! machine share that clock. A node that is told nothing keeps nothing.
//!
//! # Limits
//!
//! * [`NOTES_MAX`] notes are kept; what comes after is not noted.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use whimbrel_protocol::Event;
use whimbrel_wire::{DeliveryMessage, Message, MigrationMessage, MigrationPhase, Write};

use crate::core::lock;

/// How many moments are kept.
const NOTES_MAX: usize = 1 << 21;

/// What happened to what is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// A cell gave it to the links.
    Said,
    /// A link gave it to this node.
    Heard,
    /// Its cell met it.
    Met,
    /// A save was asked for.
    Asked,
    /// It is on the disk, as the thread that saves knows.
    Saved,
    /// People were told.
    Told,
}

/// What a node has noted.
pub(crate) struct Hops {
    file: PathBuf,
    notes: Mutex<Vec<(SystemTime, How, &'static str)>>,
}

impl Hops {
    pub(crate) const fn begin(file: PathBuf) -> Self {
        Self { file, notes: Mutex::new(Vec::new()) }
    }

    pub(crate) fn note(&self, how: How, what: &'static str) {
        if what.is_empty() {
            return;
        }
        let mut notes = lock(&self.notes);
        if notes.len() < NOTES_MAX {
            notes.push((SystemTime::now(), how, what));
        }
    }

    /// Writes what was noted. A file that cannot be written is missed by whoever asked for it alone.
    pub(crate) fn end(&self) {
        let notes = std::mem::take(&mut *lock(&self.notes));
        if notes.is_empty() {
            return;
        }
        let mut lines = String::new();
        for (at, how, what) in notes {
            let nanos = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            let how = match how {
                How::Said => "said",
                How::Heard => "heard",
                How::Met => "met",
                How::Asked => "asked",
                How::Saved => "saved",
                How::Told => "told",
            };
            // A string takes whatever is written to it.
            let _ = writeln!(lines, "{nanos} {how} {what}");
        }
        if let Err(error) = std::fs::write(&self.file, lines) {
            tracing::warn!(file = %self.file.display(), %error, "the hops could not be written");
        }
    }
}

/// What a message is called; nothing if it is not noted.
pub(crate) const fn message(message: &Message) -> &'static str {
    match message {
        Message::Migration(envelope) => match &envelope.message {
            MigrationMessage::BufferedEvents { frozen: Some(_), .. } => "tail",
            MigrationMessage::BufferedEvents { frozen: None, .. } => "round",
            MigrationMessage::ReplayComplete { state: Some(_), .. } => "vote",
            MigrationMessage::ReplayComplete { state: None, .. } => "replayed",
            MigrationMessage::RestoreComplete { .. } => "restored",
            MigrationMessage::ActivateTarget { .. } => "deed",
            MigrationMessage::ActivateAck { .. } => "deed-acknowledged",
            MigrationMessage::CutoverNotify { .. } => "cutover-wanted",
            MigrationMessage::Progressed { progress, .. }
                if matches!(progress.phase, MigrationPhase::Cutover) =>
            {
                "freezing"
            }
            MigrationMessage::Progressed { .. }
            | MigrationMessage::TakeSnapshot { .. }
            | MigrationMessage::TakeSnapshotOnTerms { .. }
            | MigrationMessage::SnapshotReady { .. }
            | MigrationMessage::ChunksWanted { .. }
            | MigrationMessage::CleanupComplete { .. }
            | MigrationMessage::MigrationFailed { .. }
            | MigrationMessage::Cancel { .. } => "",
        },
        Message::Delivery { message, .. } => match message {
            DeliveryMessage::Deliver { .. } => "event",
            DeliveryMessage::Delivered { .. } => "answer",
            DeliveryMessage::Refused { .. } => "refusal",
            DeliveryMessage::OpenSession { .. }
            | DeliveryMessage::SessionOpened { .. }
            | DeliveryMessage::SessionRefused { .. } => "",
        },
        Message::Title { .. } => "title",
    }
}

/// What a save is called; nothing if it is not noted.
pub(crate) const fn write(write: &Write) -> &'static str {
    match write {
        Write::Append { .. } => "turns",
        Write::AppendCopy { .. } => "copy-turns",
        Write::HandOver { .. } => "hand-over",
        Write::Accept { .. } => "accept",
        Write::BeginAttempt { .. }
        | Write::SaveCopy { .. }
        | Write::DropState { .. }
        | Write::Birth { .. }
        | Write::Publish { .. }
        | Write::Compact { .. }
        | Write::Learn { .. }
        | Write::Reclaim { .. }
        | Write::DropCopy { .. }
        | Write::Delete { .. } => "other",
    }
}

/// What something that people are told is called; nothing if it is not noted.
pub(crate) const fn event(event: &Event) -> &'static str {
    match event {
        Event::Frozen { .. } => "frozen",
        Event::HandedOver { .. } => "handed-over",
        Event::Live { .. } => "live",
        Event::Phase { .. }
        | Event::Progressed { .. }
        | Event::CancelRefused { .. }
        | Event::MoveEnded { .. }
        | Event::Thawed { .. }
        | Event::Dropped { .. }
        | Event::Warning(_)
        | _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_written_in_order_and_what_has_no_name_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hops");
        let hops = Hops::begin(file.clone());
        hops.end();
        assert!(!file.exists(), "nothing was noted");
        for (how, what) in [(How::Said, "tail"), (How::Told, ""), (How::Saved, "accept")] {
            hops.note(how, what);
        }
        hops.end();
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
        let told: Vec<&[&str]> = lines.iter().map(|words| &words[1..]).collect();
        assert_eq!(told, [["said", "tail"], ["saved", "accept"]]);
        let at: Vec<u128> = lines.iter().map(|words| words[0].parse().unwrap()).collect();
        assert!(at.is_sorted());
    }
}
