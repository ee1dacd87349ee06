//! What a seat does about each message in each standing and stage, as text for a reader.
//!
//! The text is `table.txt` beside this file. A change of behaviour changes it, and shows in review.
//! `WHIMBREL_UPDATE_TABLE=1 cargo test -p whimbrel-protocol table` writes it anew.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use whimbrel_protocol::{Event, Input, MoveOptions, Output, Standing, Ticket};
use whimbrel_wire::{
    Answer, CatchUp, CausalEvent, ClientId, Deed, DeliveryMessage, Digest, Epoch, Head, Message,
    MigrationEnvelope, MigrationFailureReason, MigrationMessage, MigrationPhase, NodeId, Offer,
    Position, Progress, Refusal, Role, Sender, SignedDeed, TitleMessage, Write, encode,
};

use crate::stage::{A, B, C, Item, MOVE, Stage};

/// A node that plays no role in the move.
const D: usize = 3;

const NAMES: [&str; 4] = ["A", "B", "C", "D"];

/// Somewhere that a seat can be.
struct Place {
    name: &'static str,
    stage: Stage,
    /// Whose seat.
    node: usize,
}

fn born() -> Stage {
    Stage::born(4)
}

/// A daemon on `A` that `C` moves to `B`, up to what is held back.
fn held(which: impl Fn(&Item) -> bool + 'static) -> Stage {
    let mut stage = born();
    stage.hold(which);
    stage.start_move(C, B, MoveOptions::default());
    stage
}

fn is_cutover(item: &Item) -> bool {
    matches!(item.migration(), Some(MigrationMessage::CutoverNotify { .. }))
}

fn is_vote(item: &Item) -> bool {
    matches!(item.migration(), Some(MigrationMessage::ReplayComplete { state: Some(_), .. }))
}

fn is_hand_over(item: &Item) -> bool {
    matches!(item.write(), Some(Write::HandOver { .. }))
}

fn is_news_of_the_deed(item: &Item) -> bool {
    let told = matches!(
        item.migration(),
        Some(MigrationMessage::ActivateTarget { .. } | MigrationMessage::CleanupComplete { .. })
    );
    told || matches!(item, Item::Message { message: Message::Title { .. }, .. })
}

fn is_piece(item: &Item) -> bool {
    matches!(item.migration(), Some(MigrationMessage::SnapshotReady { chunk_index: 1.., .. }))
}

/// Every place, at the source, the target and elsewhere.
fn places() -> Vec<Place> {
    let place = |name, stage, node| Place { name, stage, node };
    let reading = {
        let mut stage = born();
        stage.hold(|item| matches!(item, Item::Read { .. }));
        stage.restart(A);
        stage
    };
    let bearing = {
        let mut stage = Stage::new(4);
        stage.hold(|item| matches!(item.write(), Some(Write::Birth { .. })));
        stage.spawn(A);
        stage
    };
    let opening = {
        let mut stage = born();
        stage.restart(A);
        stage
    };
    let parked = {
        let mut stage = born();
        stage.nodes[A].restores = Err(MigrationFailureReason::FactoryNotFound);
        stage.restart(A);
        stage.pass(Duration::from_secs(2));
        stage
    };
    let stopped = {
        let mut stage = born();
        let ticket = stage.ticket();
        stage.feed(A, Input::Stop { ticket });
        stage
    };
    let deleted = {
        let mut stage = born();
        let ticket = stage.ticket();
        stage.feed(A, Input::Delete { ticket });
        stage
    };
    let preparing =
        || held(|item| matches!(item, Item::Report { input: Input::Prepared { .. }, .. }));
    vec![
        place("reading its record", reading, A),
        place("stranger that knows nothing", Stage::new(4), A),
        place("stranger that knows the owner", born(), D),
        place("bearing", bearing, A),
        place("owner, opening", opening, A),
        place("owner, live", born(), A),
        place("owner, parked", parked, A),
        place("owner, stopped", stopped, A),
        place("deleted", deleted, A),
        place("source, preparing", preparing(), A),
        place("source, transferring", held(is_piece), A),
        place("source, following", held(is_cutover), A),
        place("source, frozen for the vote", held(is_vote), A),
        place("source, saving the hand-over", held(is_hand_over), A),
        place("source, departed", held(is_news_of_the_deed), A),
        place("target, fetching", held(is_piece), B),
        place("target, following", held(is_cutover), B),
        place("target, voted", held(is_hand_over), B),
        place(
            "target, saving the deed",
            held(|item| matches!(item.write(), Some(Write::Accept { .. }))),
            B,
        ),
        place("orchestrator, asking", preparing(), C),
        place("orchestrator, cutting over", held(is_hand_over), C),
        place("after the move: the old owner", held(|_| false), A),
        place("after the move: the new owner", held(|_| false), B),
    ]
}

/// What is said in the move of these stages.
struct Words<'a> {
    stage: &'a Stage,
    /// The snapshot of the birth.
    snapshot: Digest,
    head: Head,
    state: Digest,
    deed: SignedDeed,
    pieces: [Bytes; 2],
}

impl<'a> Words<'a> {
    fn of(stage: &'a Stage) -> Self {
        let (birth, manifest, counter) = stage.birth(A);
        let head = birth_head(stage, &birth);
        let deed = Deed {
            entity: stage.entity(),
            epoch: Epoch::new(2),
            from: stage.nodes[A].key.public(),
            to: stage.nodes[B].key.public(),
            store: stage.nodes[B].store,
            attempt: MOVE,
            head,
            snapshot: manifest.digest(),
            previous: birth.digest(),
        };
        let list = manifest.state.lists[0];
        let pieces = [encode(&manifest).into(), stage.nodes[A].get(&list)];
        Self {
            stage,
            snapshot: manifest.digest(),
            head,
            state: counter.digest(),
            deed: deed.sign(&stage.nodes[A].key),
            pieces,
        }
    }

    /// Who plays a role in the eyes of `node`; never itself.
    fn player(node: usize, role: Role) -> usize {
        match role {
            Role::Orchestrator if node != C => C,
            Role::Source if node != A => A,
            Role::Target if node != B => B,
            Role::Orchestrator | Role::Source | Role::Target => D,
        }
    }

    /// Every message of a move with the role that it needs, as `from` would say it.
    fn migration(&self, from: usize) -> Vec<(&'static str, Role, MigrationMessage)> {
        let of = |role: Role, words: Vec<(&'static str, MigrationMessage)>| {
            words.into_iter().map(move |(name, message)| (name, role, message))
        };
        of(Role::Orchestrator, self.of_the_orchestrator())
            .chain(of(Role::Source, self.of_the_source()))
            .chain(of(Role::Target, self.of_the_target(from)))
            .collect()
    }

    fn of_the_orchestrator(&self) -> Vec<(&'static str, MigrationMessage)> {
        let daemon_origin = self.stage.entity().origin_hash();
        let (target_node, catch_up) = (self.stage.id(B), CatchUp::Replay);
        let transport_identity = true;
        vec![
            (
                "TakeSnapshot",
                MigrationMessage::TakeSnapshot {
                    daemon_origin,
                    target_node,
                    transport_identity,
                    catch_up,
                },
            ),
            ("CutoverNotify", MigrationMessage::CutoverNotify { daemon_origin, target_node }),
            ("Cancel", MigrationMessage::Cancel { daemon_origin }),
        ]
    }

    fn of_the_source(&self) -> Vec<(&'static str, MigrationMessage)> {
        let daemon_origin = self.stage.entity().origin_hash();
        let (position, snapshot) = (self.head.position, self.snapshot);
        let piece = |chunk_index: u32, bytes: &Bytes, offer| MigrationMessage::SnapshotReady {
            daemon_origin,
            snapshot_bytes: bytes.clone(),
            seq_through: position.get(),
            chunk_index,
            total_chunks: 6,
            snapshot,
            offer,
        };
        let (orchestrator, catch_up) = (self.stage.id(C), CatchUp::Replay);
        let offer = Offer { orchestrator, envelope: None, catch_up, frozen: None };
        let (events, stamps, frozen) = (Vec::new(), Vec::new(), None);
        let progress = Progress {
            phase: MigrationPhase::Transfer,
            bytes_sent: 0,
            bytes_total: 0,
            chunks_sent: 0,
            chunks_total: 0,
            events_replayed: 0,
            lag: 0,
            position,
        };
        let deed = || self.deed.clone();
        vec![
            ("SnapshotReady, the offer", piece(0, &self.pieces[0], Some(offer))),
            ("SnapshotReady, a piece", piece(1, &self.pieces[1], None)),
            (
                "BufferedEvents, none",
                MigrationMessage::BufferedEvents { daemon_origin, events, stamps, frozen },
            ),
            ("CleanupComplete", MigrationMessage::CleanupComplete { daemon_origin, deed: deed() }),
            ("Progressed", MigrationMessage::Progressed { daemon_origin, progress }),
            ("MigrationFailed of the source", self.failed()),
            ("ActivateTarget", MigrationMessage::ActivateTarget { daemon_origin, deed: deed() }),
        ]
    }

    fn of_the_target(&self, from: usize) -> Vec<(&'static str, MigrationMessage)> {
        let daemon_origin = self.stage.entity().origin_hash();
        let (head, snapshot, position) = (self.head, self.snapshot, self.head.position.get());
        let (store, key) = (self.stage.nodes[from].store, self.stage.nodes[from].key.public());
        let (restored_seq, replayed_seq, ranges) = (position, position, vec![(1, 1)]);
        let target_head = CausalEvent::unchained(daemon_origin, 1, Bytes::new()).link;
        let replayed = |state| MigrationMessage::ReplayComplete {
            daemon_origin,
            replayed_seq,
            target_head,
            head,
            state,
            store,
            key,
        };
        let restored = MigrationMessage::RestoreComplete {
            daemon_origin,
            restored_seq,
            snapshot,
            head,
            store,
            key,
        };
        let deed = self.deed.digest();
        vec![
            ("ChunksWanted", MigrationMessage::ChunksWanted { daemon_origin, snapshot, ranges }),
            ("RestoreComplete", restored),
            ("ReplayComplete", replayed(None)),
            ("ReplayComplete, the vote", replayed(Some(self.state))),
            ("MigrationFailed of the target", self.failed()),
            ("ActivateAck", MigrationMessage::ActivateAck { daemon_origin, replayed_seq, deed }),
        ]
    }

    fn failed(&self) -> MigrationMessage {
        let daemon_origin = self.stage.entity().origin_hash();
        let reason = MigrationFailureReason::TimedOut;
        MigrationMessage::MigrationFailed { daemon_origin, reason }
    }

    /// Every message of delivery and of titles; they need no role.
    fn others(&self) -> Vec<(&'static str, Message)> {
        let entity = self.stage.entity();
        let client = ClientId::new(7);
        let sender = Sender::Client { client, session: Position::new(1) };
        let reply_to = self.stage.id(D);
        let event = CausalEvent::unchained(entity.origin_hash(), 1, Bytes::from_static(b"a"));
        let deliver = |sender, epoch| DeliveryMessage::Deliver {
            sender,
            number: 1,
            answered: 0,
            event: event.clone(),
            reply_to,
            epoch: Epoch::new(epoch),
        };
        let delivery = |name, message| (name, Message::Delivery { entity, message });
        let title = |name, message| (name, Message::Title { entity, message });
        let daemon = Sender::Daemon(crate::counter::FRIEND);
        let answer = Answer::default();
        let refusal = Refusal::NotHere;
        vec![
            delivery("Deliver, of a daemon", deliver(daemon, 1)),
            delivery("Deliver, of an unknown session", deliver(sender, 1)),
            delivery("Deliver, in a later epoch", deliver(daemon, 9)),
            delivery("OpenSession", DeliveryMessage::OpenSession { client, reply_to }),
            delivery(
                "SessionOpened",
                DeliveryMessage::SessionOpened { client, session: Position::new(1) },
            ),
            delivery(
                "Delivered",
                DeliveryMessage::Delivered { sender, number: 1, answer, deed: None },
            ),
            delivery(
                "Refused",
                DeliveryMessage::Refused { sender, number: 1, refusal: refusal.clone() },
            ),
            delivery("SessionRefused", DeliveryMessage::SessionRefused { client, refusal }),
            title(
                "DeedAsked",
                TitleMessage::DeedAsked { after: Epoch::new(0), attempt: Some(MOVE) },
            ),
            title(
                "DeedAnswered",
                TitleMessage::DeedAnswered {
                    after: Epoch::FIRST,
                    deeds: vec![self.deed.clone()],
                    attempt: Some((MOVE, false)),
                },
            ),
        ]
    }
}

fn birth_head(stage: &Stage, birth: &SignedDeed) -> Head {
    Head::newborn(&stage.entity(), &birth.digest())
}

/// What callers on this node ask.
fn calls(stage: &Stage) -> Vec<(&'static str, Input)> {
    let ticket = Ticket(99);
    let payload = Bytes::from_static(b"a");
    let event = CausalEvent::unchained(stage.entity().origin_hash(), 1, payload.clone());
    let (target, options) = (stage.id(B), MoveOptions::default());
    let attempt = whimbrel_wire::AttemptId::new(0xc4);
    vec![
        ("deliver", Input::Deliver { ticket, event }),
        ("send", Input::Send { ticket, client: ClientId::new(8), payload }),
        ("snapshot", Input::Snapshot { ticket }),
        ("stop", Input::Stop { ticket }),
        ("delete", Input::Delete { ticket }),
        ("move to B", Input::Move { attempt, source: None, target, options }),
        ("cancel", Input::Cancel { attempt: MOVE }),
        ("reclaim", Input::Reclaim { ticket, attempt }),
    ]
}

/// What a seat does about one input, without doing it.
fn outcome(place: &Place, input: Input) -> String {
    let from = match &input {
        Input::Message { from, .. } => Some(*from),
        _ => None,
    };
    let mut seat = place.stage.nodes[place.node].seat.clone();
    let before = standing(&seat.status().standing);
    let mut out = Vec::new();
    seat.handle(place.stage.now, input, &mut out);
    let after = standing(&seat.status().standing);
    let mut said: Vec<String> =
        out.iter().map(|output| describe(&place.stage, from, output)).collect();
    if before != after {
        said.push(format!("now {after}"));
    }
    if said.is_empty() { "-".to_owned() } else { said.join("; ") }
}

fn standing(standing: &Standing) -> String {
    first_word(standing)
}

fn first_word(what: &impl std::fmt::Debug) -> String {
    let text = format!("{what:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

fn describe(stage: &Stage, from: Option<NodeId>, output: &Output) -> String {
    let node = |to: &NodeId| if Some(*to) == from { "it" } else { node(stage, *to) };
    match output {
        Output::Send { to, message } => {
            format!("{} to {}", message_name(message), node(to))
        }
        Output::SendPiece { to, .. } => format!("piece to {}", node(to)),
        Output::Broadcast { message } => format!("{} to all", message_name(message)),
        Output::Save { write, .. } => format!("save {}", first_word(write)),
        Output::Event(Event::Warning(warning)) => format!("warning {}", first_word(warning)),
        Output::Event(Event::MoveEnded { result, .. }) => match result {
            Ok(_) => "tell that it was moved".to_owned(),
            Err(error) => format!("tell that it was not moved: {}", first_word(&error.reason)),
        },
        Output::Event(event) => format!("tell {}", first_word(event)),
        Output::Delivered { result, .. } => answer("Delivered", result),
        Output::Sent { result, .. } => answer("Sent", result),
        Output::SnapshotTaken { result, .. } => answer("SnapshotTaken", result),
        Output::Stopped { result, .. } => answer("Stopped", result),
        Output::Reclaimed { result, .. } => answer("Reclaimed", result),
        other => first_word(other),
    }
}

fn answer<T, E: std::fmt::Debug>(name: &str, result: &Result<T, E>) -> String {
    match result {
        Ok(_) => name.to_owned(),
        Err(error) => format!("{name}: {}", first_word(error)),
    }
}

fn node(stage: &Stage, id: NodeId) -> &'static str {
    let index = (0..NAMES.len()).find(|node| stage.id(*node) == id);
    index.map_or("?", |index| NAMES[index])
}

fn message_name(message: &Message) -> String {
    match message {
        Message::Migration(envelope) => match &envelope.message {
            MigrationMessage::MigrationFailed { reason, .. } => {
                format!("MigrationFailed({})", first_word(reason))
            }
            other => first_word(other),
        },
        Message::Delivery { message, .. } => match message {
            DeliveryMessage::Refused { refusal, .. } => {
                format!("Refused({})", first_word(refusal))
            }
            DeliveryMessage::SessionRefused { refusal, .. } => {
                format!("SessionRefused({})", first_word(refusal))
            }
            other => first_word(other),
        },
        Message::Title { message, .. } => match message {
            TitleMessage::DeedAnswered { deeds, attempt, .. } => {
                let open = attempt.map(|(_, open)| open);
                let open = match open {
                    Some(true) => ", attempt open",
                    Some(false) => ", no such attempt",
                    None => "",
                };
                format!("DeedAnswered(x{}{open})", deeds.len())
            }
            other => first_word(other),
        },
    }
}

fn section(place: &Place) -> String {
    let mut text = format!("{}\n", place.name);
    let mut line = |name: &str, who: &str, outcome: &str| {
        writeln!(text, "  {name:<32} {who:<5} {outcome}").unwrap();
    };
    let words = Words::of(&place.stage);
    let count = words.migration(D).len();
    for index in 0..count {
        let envelope = |from: usize| {
            let (name, role, message) = words.migration(from).remove(index);
            let (entity, attempt, epoch) = (place.stage.entity(), MOVE, Epoch::FIRST);
            let envelope = MigrationEnvelope { entity, attempt, epoch, role, message };
            let from = place.stage.id(from);
            (name, role, Input::Message { from, message: Message::Migration(envelope) })
        };
        let (name, role, _) = envelope(D);
        let player = Words::player(place.node, role);
        let said = outcome(place, envelope(player).2);
        let forged = outcome(place, envelope(D).2);
        if said == forged {
            line(name, "any", &said);
        } else {
            line(name, NAMES[player], &said);
            line("", "other", &forged);
        }
    }
    for (name, message) in words.others() {
        let from = place.stage.id(if place.node == D { A } else { D });
        line(name, "any", &outcome(place, Input::Message { from, message }));
    }
    for (name, input) in calls(&place.stage) {
        line(name, "here", &outcome(place, input));
    }
    text
}

const LEGEND: &str = "\
What a seat asks for when it gets a message, in each standing and stage: A is or was the owner, B
the target, C the orchestrator of the one move, D takes no part. Messages of the move name its
attempt and epoch 1. `any`: the same from whoever says it; `other`: from D in a role that it does
not play; `here`: a caller on the node. `to it`: to whoever said it. `-`: nothing, it is old news or
no business of this node.
Written by the test `each_message_does_in_each_state_what_the_table_says`, with
WHIMBREL_UPDATE_TABLE=1.
";

#[test]
fn each_message_does_in_each_state_what_the_table_says() {
    let sections: Vec<String> = places().iter().map(section).collect();
    let found = format!("{LEGEND}\n{}", sections.join("\n"));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/steps/table.txt");
    if std::env::var_os("WHIMBREL_UPDATE_TABLE").is_some() {
        std::fs::write(&file, &found).unwrap();
    }
    let wanted = std::fs::read_to_string(&file).unwrap_or_default();
    let differ = wanted.lines().zip(found.lines()).find(|(wanted, found)| wanted != found);
    assert_eq!(differ, None, "wanted and found, the first line that differs");
    assert_eq!(wanted.lines().count(), found.lines().count());
}
