//! The bytes of one of each message, of what lies on the disk, and of what is hashed.
//!
//! `golden.txt` was written once. A difference means that this node cannot talk to, or read the
//! disk of, one of the version before: either it is a mistake, or the frame version and the
//! formats on disk are to be raised. With `WHIMBREL_UPDATE=1` in the environment the file is
//! written anew.

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use whimbrel_wire::{
    Answer, AttemptId, CatchUp, CausalEvent, CausalLink, ChannelName, ChannelPattern, ChannelWord,
    ChunkList, ChunkRef, ClientId, Deed, DeliveryMessage, Digest, EntityId, Epoch, EvolutionWord,
    Frozen, Head, Hearing, Identity, InputOrigin, Kind, Ledger, Luggage, Manifest, Message,
    MigrationEnvelope, MigrationFailureReason, MigrationMessage, MigrationPhase, NodeId, NodeKey,
    Offer, OriginHash, Outgoing, Permit, Position, Progress, PublicKey, Purpose, Refusal, Role,
    Sender, Sequence, Session, SignedDeed, Stamp, Start, StateRef, StateVersion, StoreId,
    SubscribeRefusal, SubscriptionBinding, SubscriptionState, Time, TimerId, TitleMessage, Turn,
    decode, decode_frame, encode, encode_frame,
};

const ORIGIN: OriginHash = OriginHash::new(0x0102_0304);
const ENTITY: EntityId = EntityId::from_bytes([0xe1; 32]);
const CLIENT: ClientId = ClientId::new(0xc0c1);
const SENDER: Sender = Sender::Client { client: CLIENT, session: Position::new(3) };
const KEY: PublicKey = PublicKey::from_bytes([0x4b; 32]);

fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

fn link() -> CausalLink {
    CausalLink {
        origin: ORIGIN,
        sequence: Sequence::new(300),
        epoch: Epoch::new(2),
        parent: digest(0xaa),
    }
}

fn event() -> CausalEvent {
    CausalEvent { link: link(), payload: Bytes::from_static(b"payload") }
}

fn head() -> Head {
    Head { position: Position::new(5), sequence: Sequence::new(4), hash: digest(0xdd) }
}

fn frozen() -> Frozen {
    Frozen { head: head(), state: digest(0x5a) }
}

fn stamp(origin: InputOrigin) -> Stamp {
    Stamp { time: Time::from_nanos(1_000_000_007), epoch: Epoch::new(2), origin, head: head() }
}

fn deed() -> SignedDeed {
    let key = NodeKey::from_seed(&[7; 32]);
    let deed = Deed {
        entity: ENTITY,
        epoch: Epoch::new(2),
        from: key.public(),
        to: KEY,
        store: StoreId::new(0xd1),
        attempt: AttemptId::new(0xa1),
        head: head(),
        snapshot: digest(0x5b),
        previous: digest(0x5c),
    };
    deed.sign(&key)
}

fn chunk() -> ChunkRef {
    ChunkRef { digest: digest(0xc4), bytes: 70_000 }
}

fn manifest() -> Manifest {
    Manifest {
        entity: ENTITY,
        kind: Kind::new("tally").unwrap(),
        version: StateVersion::new(2),
        epoch: Epoch::new(2),
        head: head(),
        last: Some(link()),
        time: Time::from_nanos(9),
        state: StateRef { bytes: 140_000, chunks: 2, lists: vec![chunk()] },
        luggage: vec![chunk()],
    }
}

fn answer() -> Answer {
    Answer { outputs: vec![event()], failure: Some("no".to_owned()) }
}

fn ledger() -> Ledger {
    let session = Session {
        mark: 7,
        last: digest(0x1a),
        heard: Time::from_nanos(8),
        answers: [(7, answer())].into(),
    };
    let outgoing = Outgoing { next: 3, waiting: [event()].into() };
    Ledger { sessions: [(SENDER, session)].into(), outgoing: [(ENTITY, outgoing)].into() }
}

/// One of each. A new message does not compile here until it has a line in [`migrations`].
const fn migration_name(message: &MigrationMessage) -> &'static str {
    match message {
        MigrationMessage::TakeSnapshot { .. } => "take-snapshot",
        MigrationMessage::SnapshotReady { .. } => "snapshot-ready",
        MigrationMessage::RestoreComplete { .. } => "restore-complete",
        MigrationMessage::ReplayComplete { .. } => "replay-complete",
        MigrationMessage::CutoverNotify { .. } => "cutover-notify",
        MigrationMessage::CleanupComplete { .. } => "cleanup-complete",
        MigrationMessage::MigrationFailed { .. } => "migration-failed",
        MigrationMessage::BufferedEvents { .. } => "buffered-events",
        MigrationMessage::ActivateTarget { .. } => "activate-target",
        MigrationMessage::ActivateAck { .. } => "activate-ack",
        MigrationMessage::ChunksWanted { .. } => "chunks-wanted",
        MigrationMessage::Progressed { .. } => "progressed",
        MigrationMessage::Cancel { .. } => "cancel",
        MigrationMessage::TakeSnapshotOnTerms { .. } => "take-snapshot-on-terms",
    }
}

const fn delivery_name(message: &DeliveryMessage) -> &'static str {
    match message {
        DeliveryMessage::OpenSession { .. } => "open-session",
        DeliveryMessage::SessionOpened { .. } => "session-opened",
        DeliveryMessage::Deliver { .. } => "deliver",
        DeliveryMessage::Delivered { .. } => "delivered",
        DeliveryMessage::Refused { .. } => "refused",
        DeliveryMessage::SessionRefused { .. } => "session-refused",
    }
}

fn migrations() -> Vec<MigrationMessage> {
    [of_the_copy(), of_the_hand_over()].concat()
}

/// From the request to the vote.
fn of_the_copy() -> Vec<MigrationMessage> {
    let daemon_origin = ORIGIN;
    let offer = Offer {
        orchestrator: NodeId::new(0x0e),
        envelope: Some(Bytes::from_static(b"sealed")),
        catch_up: CatchUp::Deltas,
        frozen: Some(frozen()),
    };
    vec![
        MigrationMessage::TakeSnapshot {
            daemon_origin,
            target_node: NodeId::new(0x0f),
            transport_identity: true,
            catch_up: CatchUp::FreezeAndCopy,
        },
        MigrationMessage::SnapshotReady {
            daemon_origin,
            snapshot_bytes: Bytes::from_static(b"piece"),
            seq_through: 5,
            chunk_index: 1,
            total_chunks: 5,
            snapshot: digest(0x5b),
            offer: Some(offer),
        },
        MigrationMessage::RestoreComplete {
            daemon_origin,
            restored_seq: 5,
            snapshot: digest(0x5b),
            head: head(),
            store: StoreId::new(0xd1),
            key: KEY,
        },
        MigrationMessage::ReplayComplete {
            daemon_origin,
            replayed_seq: 5,
            target_head: link(),
            head: head(),
            state: Some(digest(0x5a)),
            store: StoreId::new(0xd1),
            key: KEY,
        },
    ]
}

/// The cut-over and after, and what is said at any time.
fn of_the_hand_over() -> Vec<MigrationMessage> {
    let daemon_origin = ORIGIN;
    let progress = Progress {
        phase: MigrationPhase::Replay,
        bytes_sent: 1_000,
        bytes_total: 140_000,
        chunks_sent: 1,
        chunks_total: 5,
        events_replayed: 2,
        lag: 3,
        position: Position::new(5),
    };
    vec![
        MigrationMessage::CutoverNotify { daemon_origin, target_node: NodeId::new(0x0f) },
        MigrationMessage::CleanupComplete { daemon_origin, deed: deed() },
        MigrationMessage::MigrationFailed {
            daemon_origin,
            reason: MigrationFailureReason::SnapshotInvalid("why".to_owned()),
        },
        MigrationMessage::BufferedEvents {
            daemon_origin,
            events: vec![event(), event(), event(), event()],
            stamps: vec![
                stamp(InputOrigin::Event { sender: SENDER, number: 7, answered: 6 }),
                stamp(InputOrigin::Poisoned { sender: Sender::Host, number: 0, answered: 0 }),
                stamp(InputOrigin::Timer(TimerId::new(1))),
                stamp(InputOrigin::SessionOpened(CLIENT)),
            ],
            frozen: Some(frozen()),
        },
        MigrationMessage::ActivateTarget { daemon_origin, deed: deed() },
        MigrationMessage::ActivateAck { daemon_origin, replayed_seq: 5, deed: digest(0x5d) },
        MigrationMessage::ChunksWanted {
            daemon_origin,
            snapshot: digest(0x5b),
            ranges: vec![(1, 2), (400, 1)],
        },
        MigrationMessage::Progressed { daemon_origin, progress },
        MigrationMessage::Cancel { daemon_origin },
        MigrationMessage::TakeSnapshotOnTerms {
            daemon_origin,
            target_node: NodeId::new(0x0f),
            transport_identity: true,
            catch_up: CatchUp::Replay,
            terms: Bytes::from_static(b"terms"),
        },
    ]
}

fn deliveries() -> Vec<DeliveryMessage> {
    vec![
        DeliveryMessage::OpenSession { client: CLIENT, reply_to: NodeId::new(0x0e) },
        DeliveryMessage::SessionOpened { client: CLIENT, session: Position::new(3) },
        DeliveryMessage::Deliver {
            sender: Sender::Daemon(ENTITY),
            number: 7,
            answered: 6,
            event: event(),
            reply_to: NodeId::new(0x0e),
            epoch: Epoch::new(2),
        },
        DeliveryMessage::Delivered {
            sender: SENDER,
            number: 7,
            answer: answer(),
            deed: Some(Box::new(deed())),
        },
        DeliveryMessage::Refused { sender: SENDER, number: 7, refusal: Refusal::Expected(6) },
        DeliveryMessage::SessionRefused { client: CLIENT, refusal: Refusal::NotRunnable },
    ]
}

fn messages() -> Vec<(String, Message)> {
    let envelope = |message: MigrationMessage| {
        let name = format!("migration {}", migration_name(&message));
        let (attempt, epoch) = (AttemptId::new(0xa1), Epoch::FIRST);
        let role = Role::Target;
        let envelope = MigrationEnvelope { entity: ENTITY, attempt, epoch, role, message };
        (name, Message::Migration(envelope))
    };
    let delivery = |message: DeliveryMessage| {
        let name = format!("delivery {}", delivery_name(&message));
        (name, Message::Delivery { entity: ENTITY, message })
    };
    let attempt = AttemptId::new(0xa1);
    let asked = TitleMessage::DeedAsked { after: Epoch::FIRST, attempt: Some(attempt) };
    let answered = TitleMessage::DeedAnswered {
        after: Epoch::FIRST,
        deeds: vec![deed()],
        attempt: Some((attempt, true)),
    };
    let titles = [("title deed-asked", asked), ("title deed-answered", answered)];
    let title = |(name, message): (&str, TitleMessage)| {
        (name.to_owned(), Message::Title { entity: ENTITY, message })
    };
    let migrations = migrations().into_iter().map(envelope);
    let deliveries = deliveries().into_iter().map(delivery);
    migrations.chain(deliveries).chain(titles.into_iter().map(title)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// What lies on a disk or is signed: its bytes.
fn kept() -> Vec<(&'static str, Vec<u8>)> {
    let turn = Turn { event: event(), stamp: stamp(InputOrigin::Timer(TimerId::new(1))) };
    let evolution = Turn { event: event(), stamp: stamp(InputOrigin::Evolution) };
    let attempt = AttemptId::new(0xa1);
    let agreed = EvolutionWord::Agreed { attempt, terms: Bytes::from_static(b"terms") };
    let definition = Bytes::from_static(b"definition");
    let adopted = EvolutionWord::Adopted { attempt, definition };
    let incompatible = MigrationFailureReason::IncompatibleMigration {
        summary: "why".to_owned(),
        report: Bytes::from_static(b"report"),
    };
    let unread = MigrationFailureReason::VersionNotRead {
        found: StateVersion::new(3),
        first: StateVersion::new(1),
        last: StateVersion::new(2),
    };
    let subscriptions = vec![SubscriptionBinding { publisher: ENTITY, channel: news() }];
    let luggage = Luggage { ledger: ledger(), host: Bytes::from_static(b"host"), subscriptions };
    vec![
        ("turn", encode(&turn)),
        ("manifest", encode(&manifest())),
        ("luggage", encode(&luggage)),
        ("chunk-list", encode(&ChunkList(vec![chunk(), chunk()]))),
        ("deed", encode(&deed().deed)),
        ("signed-deed", encode(&deed())),
        ("answer", encode(&answer())),
        ("turn-evolution", encode(&evolution)),
        ("evolution-agreed", encode(&agreed)),
        ("evolution-adopted", encode(&adopted)),
        ("reason-incompatible-migration", encode(&incompatible)),
        ("reason-version-not-read", encode(&unread)),
        ("subscription", encode(&SubscriptionState::Leaving { next: Some(7) })),
    ]
}

fn news() -> ChannelName {
    ChannelName::new("news").unwrap()
}

/// What is said about channels, as payloads of events.
fn channel_words() -> Vec<(&'static str, ChannelWord)> {
    let (subscription, payload) = (3, Bytes::from_static(b"payload"));
    let (hearing, start) = (Hearing::Recent { window: 8 }, Start::After(6));
    let refusal = SubscribeRefusal::Window;
    let publisher = ENTITY;
    let pattern = ChannelPattern::new("news/*").unwrap();
    let permit = Permit { publishers: vec![ENTITY], channels: vec![pattern], until: 300 };
    vec![
        ("plain", ChannelWord::Plain(payload.clone())),
        ("subscribe", ChannelWord::Subscribe { channel: news(), subscription, hearing, start }),
        ("subscribed", ChannelWord::Subscribed { channel: news(), subscription, next: 7 }),
        ("refused", ChannelWord::Refused { channel: news(), subscription, refusal }),
        ("unsubscribe", ChannelWord::Unsubscribe { channel: news(), subscription }),
        ("unsubscribed", ChannelWord::Unsubscribed { channel: news(), subscription }),
        (
            "message",
            ChannelWord::Message {
                channel: news(),
                number: 7,
                omitted: 2,
                payload: payload.clone(),
            },
        ),
        ("heard", ChannelWord::Heard { channel: news(), count: 4 }),
        ("join", ChannelWord::Join { publisher, channel: news(), hearing, start }),
        ("leave", ChannelWord::Leave { publisher, channel: news() }),
        ("ask", ChannelWord::Ask { publisher, channel: news() }),
        ("open", ChannelWord::Open { channel: news(), retained: 16 }),
        ("publish", ChannelWord::Publish { channel: news(), payload }),
        ("dismiss", ChannelWord::Dismiss { subscriber: publisher }),
        ("unpermitted", ChannelWord::Unpermitted { channel: news(), subscription }),
        ("permit-all", ChannelWord::Permit { permits: None }),
        ("permit", ChannelWord::Permit { permits: Some(vec![permit]) }),
    ]
}

/// What is hashed, and what ids follow from keys.
fn hashed() -> Vec<(&'static str, String)> {
    let node = NodeKey::from_seed(&[7; 32]);
    let daemon = Identity::from_seed(&[8; 32]);
    let birth = Deed::birth(&daemon, node.public(), StoreId::new(1), AttemptId::new(2));
    let newborn = Head::newborn(&daemon.entity_id(), &birth.digest());
    let (put_out, output) =
        newborn.put_out(daemon.origin_hash(), Epoch::FIRST, Bytes::from_static(b"first"));
    let full = |digest: Digest| hex(digest.as_bytes());
    vec![
        ("node-id", format!("{:016x}", node.node_id().get())),
        ("origin-hash", format!("{:016x}", daemon.origin_hash().get())),
        ("derived-attempt", format!("{:032x}", AttemptId::new(0xa1).derived().get())),
        ("birth", full(birth.digest())),
        ("newborn", full(newborn.hash)),
        ("put-out", full(put_out.hash)),
        ("link", full(output.digest())),
        ("through-deed", full(put_out.through_deed(&deed().digest()).hash)),
        ("snapshot", full(manifest().digest())),
        ("state", full(manifest().state.digest())),
        ("chunk", full(ChunkRef::of(b"chunk").digest)),
        ("random", full(Digest::of(Purpose::Random, b"seed"))),
    ]
}

fn golden() -> String {
    let mut text = String::new();
    for (name, message) in messages() {
        writeln!(text, "frame {name}: {}", hex(&encode_frame(&message).unwrap())).unwrap();
    }
    for (name, bytes) in kept() {
        writeln!(text, "kept {name}: {}", hex(&bytes)).unwrap();
    }
    for (name, word) in channel_words() {
        writeln!(text, "channel {name}: {}", hex(&word.to_payload())).unwrap();
    }
    for (name, value) in hashed() {
        writeln!(text, "hashed {name}: {value}").unwrap();
    }
    text
}

#[test]
fn the_bytes_of_every_message_are_the_ones_of_old() {
    let found = golden();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bytes/golden.txt");
    if std::env::var_os("WHIMBREL_UPDATE").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap();
    for (wanted, found) in wanted.lines().zip(found.lines()) {
        assert_eq!(wanted, found);
    }
    assert_eq!(wanted.lines().count(), found.lines().count());
}

#[test]
fn the_frames_of_old_are_understood() {
    let wanted = include_str!("golden.txt");
    let frames = wanted.lines().filter_map(|line| line.strip_prefix("frame "));
    let mut count = 0;
    for (line, (name, message)) in frames.zip(messages()) {
        let (said, hex) = line.split_once(": ").unwrap();
        assert_eq!(said, name);
        let bytes = hex.as_bytes().chunks(2);
        let bytes = bytes.map(|pair| std::str::from_utf8(pair).unwrap());
        let bytes: Vec<u8> = bytes.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        assert_eq!(decode_frame(&bytes), Ok(message), "{name}");
        count += 1;
    }
    assert_eq!(count, 14 + 6 + 2);
    assert_eq!(decode::<Manifest>(&encode(&manifest())), Ok(manifest()));
}
