//! Decides what counts as seen: which input met which machine in which state, before which output a
//! node crashed, and why moves failed.
//!
//! `coverage.txt` beside the sources declares what a long run must see. A line that is not seen any
//! more fails the soak; one that is not in the file is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use whimbrel_protocol::{Input, Output, Place};
use whimbrel_wire::{
    AttemptId, DeliveryMessage, Message, MigrationFailureReason, MigrationMessage, TitleMessage,
    Write,
};

/// What a long run must see, one a line.
const DECLARED: &str = include_str!("../coverage.txt");

/// How often what is declared was seen at least when it was written down: what is rarer may well
/// be missed by a run of the same length.
const DECLARED_COUNT_MIN: u64 = 10;

/// What was seen, and how often.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    pairs: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    crashes: BTreeMap<&'static str, u64>,
    reasons: BTreeMap<&'static str, u64>,
}

impl Coverage {
    /// A seat whose machines are at `places` takes an input.
    pub(crate) fn step(&mut self, places: impl Iterator<Item = Place>, input: &Input) {
        let (name, attempt) = (name_of_input(input), attempt_of(input));
        for place in places.filter(|place| concerns(place, input, attempt)) {
            *self.pairs.entry((place.machine, place.state, name)).or_default() += 1;
        }
    }

    /// A seat whose machines are at `places` takes a delivery in one step.
    pub(crate) fn at_rest(&mut self, places: impl Iterator<Item = Place>) {
        let others = ["arrival", "orchestration", "courier"];
        for place in places.filter(|place| !others.contains(&place.machine)) {
            *self.pairs.entry((place.machine, place.state, "Deliver-at-rest")).or_default() += 1;
        }
    }

    /// A node crashes instead of doing an output.
    pub(crate) fn crash_before(&mut self, output: &Output) {
        *self.crashes.entry(name_of_output(output)).or_default() += 1;
    }

    /// A node crashes at a moment with a name.
    pub(crate) fn crash_while(&mut self, moment: &'static str) {
        *self.crashes.entry(moment).or_default() += 1;
    }

    /// A move failed.
    pub(crate) fn failed(&mut self, reason: &MigrationFailureReason) {
        *self.reasons.entry(name_of_reason(reason)).or_default() += 1;
    }

    fn lines(&self) -> BTreeMap<String, u64> {
        let pairs = self.pairs.iter().map(|((machine, state, input), count)| {
            (format!("pair {machine} {state} {input}"), *count)
        });
        let crashes = self.crashes.iter().map(|(point, count)| (format!("crash {point}"), *count));
        let reasons = self.reasons.iter().map(|(why, count)| (format!("failure {why}"), *count));
        pairs.chain(crashes).chain(reasons).collect()
    }

    /// The table for people, and whether all that is declared was seen.
    #[must_use]
    pub fn report(&self) -> (String, bool) {
        let seen = self.lines();
        let declared: BTreeSet<&str> = DECLARED.lines().filter(|line| !line.is_empty()).collect();
        let mut text = String::new();
        for (line, count) in &seen {
            let news = if declared.contains(line.as_str()) { "" } else { "  (not declared)" };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{count:>9} {line}{news}");
        }
        let missing: Vec<&&str> =
            declared.iter().filter(|line| !seen.contains_key(**line)).collect();
        for line in &missing {
            let _ = writeln!(text, "NEVER SEEN {line}");
        }
        let (all, lacking) = (declared.len(), missing.len());
        let _ =
            writeln!(text, "coverage: {} seen, {lacking} of {all} declared missing", seen.len());
        (text, missing.is_empty())
    }

    /// What would be declared after this run.
    #[must_use]
    pub fn declaration(&self) -> String {
        let often = self.lines().into_iter().filter(|(_, count)| *count >= DECLARED_COUNT_MIN);
        often.map(|(line, _)| line + "\n").collect()
    }
}

/// Whether a machine may be given an input.
fn concerns(place: &Place, input: &Input, attempt: Option<AttemptId>) -> bool {
    let all = matches!(
        input,
        Input::Woke | Input::Message { message: Message::Title { .. }, .. } | Input::Saved { .. }
    );
    match place.machine {
        "arrival" | "orchestration" => all || attempt == place.attempt,
        "courier" => matches!(
            input,
            Input::Woke
                | Input::Send { .. }
                | Input::Post { .. }
                | Input::Recall { .. }
                | Input::Message { message: Message::Delivery { .. } | Message::Title { .. }, .. }
        ),
        _ => true,
    }
}

fn attempt_of(input: &Input) -> Option<AttemptId> {
    match input {
        Input::Message { message: Message::Migration(envelope), .. } => Some(envelope.attempt),
        Input::Replayed { copy, .. }
        | Input::Restored { copy, .. }
        | Input::Captured { copy, .. }
        | Input::Digested { copy, .. }
        | Input::Judged { copy, .. }
        | Input::Turned { copy, .. }
        | Input::TurnsRead { copy, .. } => Some(*copy),
        Input::PiecesRead { attempt, .. }
        | Input::MissingFound { attempt, .. }
        | Input::ChunkSaved { attempt, .. }
        | Input::Sealed { attempt, .. }
        | Input::Prepared { attempt, .. }
        | Input::Admitted { attempt, .. }
        | Input::Move { attempt, .. }
        | Input::Cancel { attempt } => Some(*attempt),
        Input::Message { .. }
        | Input::Read(_)
        | Input::Saved { .. }
        | Input::Spawn { .. }
        | Input::Deliver { .. }
        | Input::Send { .. }
        | Input::Post { .. }
        | Input::Recall { .. }
        | Input::Posted { .. }
        | Input::Snapshot { .. }
        | Input::Stop { .. }
        | Input::Delete { .. }
        | Input::Reclaim { .. }
        | Input::Woke => None,
    }
}

/// What an input is called.
pub(crate) const fn name_of_input(input: &Input) -> &'static str {
    match input {
        Input::Read(Ok(_)) => "Read",
        Input::Read(Err(_)) => "Read-failed",
        Input::Saved { result: Ok(()), .. } => "Saved",
        Input::Saved { result: Err(_), .. } => "Saved-failed",
        Input::Turned { result: Ok(_), .. } => "Turned",
        Input::Turned { result: Err(_), .. } => "Turned-failed",
        Input::Replayed { .. } => "Replayed",
        Input::Restored { .. } => "Restored",
        Input::Captured { .. } => "Captured",
        Input::Digested { .. } => "Digested",
        Input::Judged { .. } => "Judged",
        Input::Prepared { .. } => "Prepared",
        Input::TurnsRead { .. } => "TurnsRead",
        Input::PiecesRead { .. } => "PiecesRead",
        Input::MissingFound { .. } => "MissingFound",
        Input::ChunkSaved { .. } => "ChunkSaved",
        Input::Sealed { .. } => "Sealed",
        Input::Admitted { .. } => "Admitted",
        Input::Message { message, .. } => name_of_message(message),
        Input::Spawn { .. } => "Spawn",
        Input::Deliver { .. } => "Deliver",
        Input::Send { .. } => "Send",
        Input::Post { .. } => "Post",
        Input::Recall { .. } => "Recall",
        Input::Posted { .. } => "Posted",
        Input::Move { .. } => "Move",
        Input::Cancel { .. } => "Cancel",
        Input::Snapshot { .. } => "Snapshot",
        Input::Stop { .. } => "Stop",
        Input::Delete { .. } => "Delete",
        Input::Reclaim { .. } => "Reclaim",
        Input::Woke => "Woke",
    }
}

const fn name_of_message(message: &Message) -> &'static str {
    match message {
        Message::Migration(envelope) => match &envelope.message {
            MigrationMessage::TakeSnapshot { .. } => "message-TakeSnapshot",
            MigrationMessage::SnapshotReady { offer: Some(_), .. } => "message-SnapshotReady-offer",
            MigrationMessage::SnapshotReady { offer: None, .. } => "message-SnapshotReady-piece",
            MigrationMessage::RestoreComplete { .. } => "message-RestoreComplete",
            MigrationMessage::BufferedEvents { .. } => "message-BufferedEvents",
            MigrationMessage::ReplayComplete { .. } => "message-ReplayComplete",
            MigrationMessage::CutoverNotify { .. } => "message-CutoverNotify",
            MigrationMessage::CleanupComplete { .. } => "message-CleanupComplete",
            MigrationMessage::ActivateTarget { .. } => "message-ActivateTarget",
            MigrationMessage::ActivateAck { .. } => "message-ActivateAck",
            MigrationMessage::MigrationFailed { .. } => "message-MigrationFailed",
            MigrationMessage::ChunksWanted { .. } => "message-ChunksWanted",
            MigrationMessage::Progressed { .. } => "message-Progressed",
            MigrationMessage::Cancel { .. } => "message-Cancel",
            MigrationMessage::TakeSnapshotOnTerms { .. } => "message-TakeSnapshotOnTerms",
        },
        Message::Delivery { message, .. } => match message {
            DeliveryMessage::OpenSession { .. } => "message-OpenSession",
            DeliveryMessage::SessionOpened { .. } => "message-SessionOpened",
            DeliveryMessage::Deliver { .. } => "message-Deliver",
            DeliveryMessage::Delivered { .. } => "message-Delivered",
            DeliveryMessage::Refused { .. } => "message-Refused",
            DeliveryMessage::SessionRefused { .. } => "message-SessionRefused",
        },
        Message::Title { message, .. } => match message {
            TitleMessage::DeedAsked { .. } => "message-DeedAsked",
            TitleMessage::DeedAnswered { .. } => "message-DeedAnswered",
        },
    }
}

/// What an output is called.
pub(crate) const fn name_of_output(output: &Output) -> &'static str {
    match output {
        Output::Send { message, .. }
        | Output::Broadcast { message }
        | Output::SendPiece { message, .. } => name_of_message(message),
        Output::Save { write, .. } => match write {
            Write::Birth { .. } => "save-Birth",
            Write::Append { .. } => "save-Append",
            Write::Publish { .. } => "save-Publish",
            Write::Compact { .. } => "save-Compact",
            Write::BeginAttempt { .. } => "save-BeginAttempt",
            Write::HandOver { .. } => "save-HandOver",
            Write::Reclaim { .. } => "save-Reclaim",
            Write::SaveCopy { .. } => "save-SaveCopy",
            Write::AppendCopy { .. } => "save-AppendCopy",
            Write::Accept { .. } => "save-Accept",
            Write::Learn { .. } => "save-Learn",
            Write::DropCopy { .. } => "save-DropCopy",
            Write::DropState { .. } => "save-DropState",
            Write::Delete { .. } => "save-Delete",
        },
        Output::Read => "Read",
        Output::Turn { .. } => "Turn",
        Output::Replay { .. } => "Replay",
        Output::Restore { .. } => "Restore",
        Output::Capture(_) => "Capture",
        Output::Digest { .. } => "Digest",
        Output::Judge { .. } => "Judge",
        Output::Prepare { .. } => "Prepare",
        Output::ReadTurns { .. } => "ReadTurns",
        Output::ReadPieces { .. } => "ReadPieces",
        Output::FindMissing { .. } => "FindMissing",
        Output::SaveChunk { .. } => "SaveChunk",
        Output::Seal { .. } => "Seal",
        Output::Admit { .. } => "Admit",
        Output::DropCopy { .. } => "DropCopy",
        Output::WipeKey => "WipeKey",
        Output::Post { .. } => "Post",
        Output::Recall { .. } => "Recall",
        Output::Posted { .. } => "Posted",
        Output::Spawned { .. } => "Spawned",
        Output::Delivered { .. } => "Delivered",
        Output::Sent { .. } => "Sent",
        Output::SnapshotTaken { .. } => "SnapshotTaken",
        Output::Stopped { .. } => "Stopped",
        Output::Reclaimed { .. } => "Reclaimed",
        Output::Event(_) => "Event",
    }
}

const fn name_of_reason(reason: &MigrationFailureReason) -> &'static str {
    match reason {
        MigrationFailureReason::NotReady => "NotReady",
        MigrationFailureReason::FactoryNotFound => "FactoryNotFound",
        MigrationFailureReason::ComputeNotSupported => "ComputeNotSupported",
        MigrationFailureReason::StateFailed(_) => "StateFailed",
        MigrationFailureReason::AlreadyMigrating => "AlreadyMigrating",
        MigrationFailureReason::IdentityTransportFailed(_) => "IdentityTransportFailed",
        MigrationFailureReason::NotReadyTimeout { .. } => "NotReadyTimeout",
        MigrationFailureReason::NotOwner => "NotOwner",
        MigrationFailureReason::StaleAttempt => "StaleAttempt",
        MigrationFailureReason::Diverged => "Diverged",
        MigrationFailureReason::CouldNotCatchUp => "CouldNotCatchUp",
        MigrationFailureReason::TimedOut => "TimedOut",
        MigrationFailureReason::Cancelled => "Cancelled",
        MigrationFailureReason::CapacityExceeded => "CapacityExceeded",
        MigrationFailureReason::StoreFailed(_) => "StoreFailed",
        MigrationFailureReason::SnapshotInvalid(_) => "SnapshotInvalid",
        MigrationFailureReason::SameNode => "SameNode",
        MigrationFailureReason::UnknownNode => "UnknownNode",
        MigrationFailureReason::Incompatible(_) => "Incompatible",
        MigrationFailureReason::WrongPeer => "WrongPeer",
        MigrationFailureReason::TooLate => "TooLate",
        MigrationFailureReason::ShuttingDown => "ShuttingDown",
        MigrationFailureReason::IncompatibleMigration { .. } => "IncompatibleMigration",
        MigrationFailureReason::VersionNotRead { .. } => "VersionNotRead",
        _ => "another",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_and_never_seen_fails() {
        let (report, good) = Coverage::default().report();
        assert!(!good);
        assert!(
            report.contains("NEVER SEEN pair departure Voting message-ReplayComplete"),
            "{report}"
        );
    }
}
