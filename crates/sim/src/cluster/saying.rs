//! Decides how inputs, outputs and writes read in the trace: one short line each.

use whimbrel_protocol::{Event, Input, Output, Ticket};
use whimbrel_wire::{
    DeliveryMessage, EntityId, Message, MigrationMessage, NodeId, Refusal, TitleMessage, Write,
};

use super::Cluster;
use crate::coverage::{name_of_input, name_of_output};

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "what is new reads as its name; a trace decides nothing"
)]
impl Cluster {
    fn line(&mut self, node: usize, mark: char, entity: EntityId, what: std::fmt::Arguments<'_>) {
        let name = self.name_of(entity);
        let Self { trace, nodes, now, .. } = self;
        trace.write(*now, &nodes[node].name, mark, format_args!("D{name} {what}"));
    }

    /// Notes that something happened; says whether it is also wanted as text.
    fn note(&mut self, node: usize, entity: EntityId, name: &str) -> bool {
        let Self { trace, dice, now, .. } = self;
        let whose =
            entity.as_bytes().iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        trace.note([*now, node as u64 ^ whose, dice.state()], name);
        trace.is_kept()
    }

    fn node_name(&self, id: NodeId) -> &str {
        self.by_id.get(&id).map_or("?", |index| &self.nodes[*index].name)
    }

    pub(super) fn say_input(&mut self, node: usize, entity: EntityId, input: &Input) {
        if !self.note(node, entity, name_of_input(input)) {
            return;
        }
        match input {
            Input::Woke => {}
            Input::Message { from, message } => {
                let from = self.node_name(*from).to_owned();
                let what = describe(message);
                self.line(node, '<', entity, format_args!("{from} {what}"));
            }
            Input::Saved { ticket, result } => {
                let number = ticket.0;
                match result {
                    Ok(()) => self.line(node, '<', entity, format_args!("Saved {number}")),
                    Err(error) => {
                        self.line(node, '<', entity, format_args!("Saved {number}: {error}"));
                    }
                }
            }
            other => {
                let text = format!("{other:?}");
                let name = text.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
                self.line(node, '<', entity, format_args!("{name}"));
            }
        }
    }

    pub(super) fn say_at_once(&mut self, node: usize, entity: EntityId, ticket: Ticket) {
        if self.note(node, entity, "Deliver at once") {
            let number = ticket.0;
            self.line(node, '<', entity, format_args!("Deliver {number} at once"));
        }
    }

    pub(super) fn note_output(&mut self, node: usize, entity: EntityId, output: &Output) {
        let shown = match output {
            Output::Event(Event::Progressed { .. }) => false,
            Output::Event(_) => self.trace.is_shown(),
            _ => false,
        };
        if self.note(node, entity, name_of_output(output)) || shown {
            self.say_output(node, entity, output);
        }
    }

    fn say_output(&mut self, node: usize, entity: EntityId, output: &Output) {
        match output {
            Output::Send { to, message } | Output::SendPiece { to, message, .. } => {
                let to = self.node_name(*to).to_owned();
                let what = describe(message);
                self.line(node, '>', entity, format_args!("to {to} {what}"));
            }
            Output::Broadcast { message } => {
                let what = describe(message);
                self.line(node, '>', entity, format_args!("to all {what}"));
            }
            Output::Save { ticket, write } => {
                let (number, what) = (ticket.0, name_of(write));
                self.line(node, '>', entity, format_args!("Save {number} {what}"));
            }
            Output::Event(event) => self.say_event(node, entity, event),
            Output::Delivered { ticket, result } => {
                let (number, result) = (ticket.0, result.as_ref().map(|_| ()));
                self.line(node, '>', entity, format_args!("Delivered {number} {result:?}"));
            }
            Output::Sent { ticket, result } => {
                let (number, result) = (ticket.0, result.as_ref().map(|_| ()));
                self.line(node, '>', entity, format_args!("Sent {number} {result:?}"));
            }
            Output::Turn { epoch, origin, .. } => {
                self.line(node, '>', entity, format_args!("Turn {epoch} {origin:?}"));
            }
            Output::Replay { steps, .. } => {
                let count = steps.len();
                self.line(node, '>', entity, format_args!("Replay {count}"));
            }
            Output::Read => self.line(node, '>', entity, format_args!("Read")),
            Output::ReadTurns { after, .. } => {
                self.line(node, '>', entity, format_args!("ReadTurns after {after}"));
            }
            Output::Restore { copy, .. } => {
                self.line(node, '>', entity, format_args!("Restore {copy}"));
            }
            Output::Capture(capture) => {
                let position = capture.head.position;
                self.line(node, '>', entity, format_args!("Capture {position}"));
            }
            Output::Digest { copy } | Output::Judge { copy } => {
                let name = if matches!(output, Output::Digest { .. }) { "Digest" } else { "Judge" };
                self.line(node, '>', entity, format_args!("{name} {copy}"));
            }
            Output::DropCopy { copy } => {
                self.line(node, '>', entity, format_args!("DropCopy {copy}"));
            }
            Output::ReadPieces { attempt, .. } => {
                self.line(node, '>', entity, format_args!("ReadPieces {attempt}"));
            }
            Output::FindMissing { chunks, .. } => {
                let count = chunks.len();
                self.line(node, '>', entity, format_args!("FindMissing {count}"));
            }
            Output::SaveChunk { .. } => self.line(node, '>', entity, format_args!("SaveChunk")),
            Output::WipeKey => self.line(node, '>', entity, format_args!("WipeKey")),
            Output::Recall { .. } => self.line(node, '>', entity, format_args!("Recall")),
            Output::Post { number, .. } | Output::Posted { number, .. } => {
                let name = if matches!(output, Output::Post { .. }) { "Post" } else { "Posted" };
                self.line(node, '>', entity, format_args!("{name} {number}"));
            }
            Output::Spawned { result, .. } => {
                self.line(node, '>', entity, format_args!("Spawned {result:?}"));
            }
            Output::Prepare { .. } => self.line(node, '>', entity, format_args!("Prepare")),
            Output::Seal { .. } => self.line(node, '>', entity, format_args!("Seal")),
            Output::Admit { .. } => self.line(node, '>', entity, format_args!("Admit")),
            Output::SnapshotTaken { .. } => self.line(node, '>', entity, format_args!("Snapshot")),
            Output::Reclaimed { .. } => self.line(node, '>', entity, format_args!("Reclaimed")),
            Output::Stopped { .. } => self.line(node, '>', entity, format_args!("Stopped")),
        }
    }

    fn say_event(&mut self, node: usize, entity: EntityId, event: &Event) {
        match event {
            Event::Progressed { progress, .. } => {
                let (phase, lag) = (progress.phase, progress.lag);
                self.line(node, '*', entity, format_args!("progress {phase:?} lag {lag}"));
            }
            Event::MoveEnded { attempt, result } => {
                let result = match result {
                    Ok(deed) => format!("done, {}", deed.deed.epoch),
                    Err(error) => error.to_string(),
                };
                self.line(node, '*', entity, format_args!("move {attempt} ended: {result}"));
            }
            Event::HandedOver { deed } => {
                let (epoch, position) = (deed.deed.epoch, deed.deed.head.position);
                self.line(node, '*', entity, format_args!("handed over, {epoch} at {position}"));
            }
            Event::Frozen { attempt, head } => {
                let position = head.position;
                self.line(node, '*', entity, format_args!("frozen for {attempt} at {position}"));
            }
            Event::Live { epoch, head } => {
                let position = head.position;
                self.line(node, '*', entity, format_args!("live in {epoch} at {position}"));
            }
            other => self.line(node, '*', entity, format_args!("{other:?}")),
        }
    }

    pub(super) fn say_write(&mut self, node: usize, write: &Write) {
        let Some(entity) = write.entity() else { return };
        let shown = match write {
            Write::Birth { .. }
            | Write::BeginAttempt { .. }
            | Write::SaveCopy { .. }
            | Write::HandOver { .. }
            | Write::Accept { .. }
            | Write::Reclaim { .. }
            | Write::Delete { .. } => self.trace.is_shown(),
            _ => false,
        };
        if !self.note(node, entity, "committed") && !shown {
            return;
        }
        let what = name_of(write);
        self.line(node, '=', entity, format_args!("{what}"));
    }
}

fn name_of(write: &Write) -> String {
    match write {
        Write::Birth { .. } => "Birth".to_owned(),
        Write::Append { after, turns, .. } => format!("Append after {after} x{}", turns.len()),
        Write::Publish { manifest, .. } => format!("Publish {}", manifest.head.position),
        Write::Compact { through, .. } => format!("Compact {through}"),
        Write::BeginAttempt { attempt, .. } => format!("BeginAttempt {attempt}"),
        Write::HandOver { deed } => format!("HandOver {}", deed.deed.epoch),
        Write::Reclaim { deed } => format!("Reclaim {}", deed.deed.epoch),
        Write::SaveCopy { attempt, .. } => format!("SaveCopy {attempt}"),
        Write::AppendCopy { after, turns, .. } => {
            format!("AppendCopy after {after} x{}", turns.len())
        }
        Write::Accept { .. } => "Accept".to_owned(),
        Write::Learn { .. } => "Learn".to_owned(),
        Write::DropCopy { attempt, .. } => format!("DropCopy {attempt}"),
        Write::DropState { .. } => "DropState".to_owned(),
        Write::Delete { .. } => "Delete".to_owned(),
    }
}

fn describe(message: &Message) -> String {
    match message {
        Message::Migration(envelope) => {
            let attempt = envelope.attempt;
            match &envelope.message {
                MigrationMessage::SnapshotReady { chunk_index, .. } => {
                    format!("SnapshotReady {attempt} piece {chunk_index}")
                }
                MigrationMessage::BufferedEvents { events, frozen, .. } => {
                    let last = if frozen.is_some() { " final" } else { "" };
                    format!("BufferedEvents {attempt} x{}{last}", events.len())
                }
                MigrationMessage::RestoreComplete { head, .. } => {
                    format!("RestoreComplete {attempt} at {}", head.position)
                }
                MigrationMessage::ReplayComplete { head, state, .. } => {
                    let vote = if state.is_some() { " vote" } else { "" };
                    format!("ReplayComplete {attempt} at {}{vote}", head.position)
                }
                MigrationMessage::MigrationFailed { reason, .. } => {
                    format!("MigrationFailed {attempt}: {reason}")
                }
                MigrationMessage::ChunksWanted { ranges, .. } => {
                    format!("ChunksWanted {attempt} {ranges:?}")
                }
                MigrationMessage::Progressed { progress, .. } => {
                    format!("Progressed {attempt} {:?}", progress.phase)
                }
                MigrationMessage::TakeSnapshot { .. } => format!("TakeSnapshot {attempt}"),
                MigrationMessage::TakeSnapshotOnTerms { .. } => {
                    format!("TakeSnapshotOnTerms {attempt}")
                }
                MigrationMessage::CutoverNotify { .. } => format!("CutoverNotify {attempt}"),
                MigrationMessage::CleanupComplete { .. } => format!("CleanupComplete {attempt}"),
                MigrationMessage::ActivateTarget { .. } => format!("ActivateTarget {attempt}"),
                MigrationMessage::ActivateAck { .. } => format!("ActivateAck {attempt}"),
                MigrationMessage::Cancel { .. } => format!("Cancel {attempt}"),
            }
        }
        Message::Delivery { message, .. } => match message {
            DeliveryMessage::OpenSession { .. } => "OpenSession".to_owned(),
            DeliveryMessage::SessionOpened { session, .. } => format!("SessionOpened {session}"),
            DeliveryMessage::Deliver { number, .. } => format!("Deliver {number}"),
            DeliveryMessage::Delivered { number, .. } => format!("Delivered {number}"),
            DeliveryMessage::Refused { number, refusal, .. } => {
                format!("Refused {number}: {}", name_of_refusal(refusal))
            }
            DeliveryMessage::SessionRefused { refusal, .. } => {
                format!("SessionRefused: {}", name_of_refusal(refusal))
            }
        },
        Message::Title { message, .. } => match message {
            TitleMessage::DeedAsked { after, .. } => format!("DeedAsked after {after}"),
            TitleMessage::DeedAnswered { deeds, attempt, .. } => {
                let open = attempt.map(|(_, open)| open);
                format!("DeedAnswered x{} open {open:?}", deeds.len())
            }
        },
    }
}

fn name_of_refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Moved(deed) => format!("moved, {}", deed.deed.epoch),
        other @ (Refusal::Busy
        | Refusal::Expected(_)
        | Refusal::UnknownSession
        | Refusal::NotHere
        | Refusal::Deleted
        | Refusal::TooLarge
        | Refusal::Forked
        | Refusal::NotRunnable) => format!("{other:?}"),
    }
}
