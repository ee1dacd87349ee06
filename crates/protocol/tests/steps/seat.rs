//! The seat: who owns, what stays behind, who may say what; and phases in their order.

use std::time::Duration;

use whimbrel_protocol::{Event, Input, MoveOptions, Output, Standing, Title, TitleError, Warning};
use whimbrel_wire::{
    AttemptId, Deed, DeedError, Digest, Epoch, Head, Holding, Identity, Message,
    MigrationFailureReason, MigrationMessage, MigrationPhase, NodeKey, Role, SignedDeed, StoreId,
    TitleMessage, Write,
};

use crate::stage::{A, B, C, Course, Fate, Item, MOVE, Seen, Stage};

const PHASES: [MigrationPhase; 6] = [
    MigrationPhase::Snapshot,
    MigrationPhase::Transfer,
    MigrationPhase::Restore,
    MigrationPhase::Replay,
    MigrationPhase::Cutover,
    MigrationPhase::Complete,
];

/// The deed by which the owner `from` gives the daemon to `to`.
fn deed_after(
    previous: &SignedDeed,
    from: &NodeKey,
    to: &NodeKey,
    store: StoreId,
    head: Head,
) -> SignedDeed {
    let deed = Deed {
        entity: previous.deed.entity,
        epoch: previous.deed.epoch.next(),
        from: from.public(),
        to: to.public(),
        store,
        attempt: AttemptId::new(0xbb),
        head,
        snapshot: Digest::ZERO,
        previous: previous.digest(),
    };
    deed.sign(from)
}

fn tell(stage: &mut Stage, from: usize, to: usize, deeds: Vec<SignedDeed>) {
    let entity = stage.entity();
    let message = TitleMessage::DeedAnswered { after: Epoch::new(0), deeds, attempt: None };
    stage.put(Item::Message { from, to, message: Message::Title { entity, message } });
}

/// An owner hears that an earlier self, which an old backup forgot, has given the daemon away.
#[test]
fn one_owner_is_who_the_newest_deed_names() {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    let birth = stage.nodes[A].seat.title().last().unwrap().clone();
    let head = stage.nodes[A].seat.status().head.unwrap();
    let (from, to) = (stage.nodes[A].key.clone(), stage.nodes[C].key.clone());
    let deed = deed_after(&birth, &from, &to, stage.nodes[C].store, head);
    stage.forget();
    tell(&mut stage, B, A, vec![deed]);
    assert_eq!(stage.standing(A), Standing::Stranger);
    assert_eq!(stage.nodes[A].copies.len(), 0);
    let late = stage.deliver(A, "b");
    let moved = whimbrel_protocol::DeliverError::Moved(stage.id(C));
    assert_eq!(stage.delivered(late), [Err(moved)]);
    stage.restart(A);
    stage.pass(Duration::from_secs(3));
    assert_ne!(stage.standing(A), Standing::Live, "also after it starts again");
}

#[test]
fn one_owner_and_an_empty_disk_inherits_nothing() {
    let mut stage = Stage::born(2);
    let birth = stage.nodes[A].seat.title().last().unwrap().clone();
    let head = stage.nodes[A].seat.status().head.unwrap();
    let (from, to) = (stage.nodes[A].key.clone(), stage.nodes[B].key.clone());
    let deed = deed_after(&birth, &from, &to, StoreId::new(99), head);
    tell(&mut stage, A, B, vec![birth, deed]);
    stage.pass(Duration::from_secs(3));
    assert_eq!(stage.warnings(B), [Warning::LostTitle { epoch: Epoch::new(2) }]);
    assert_eq!(stage.standing(B), Standing::Stranger);
    assert!(!stage.asked(B).iter().any(|write| matches!(write, Write::Accept { .. })));
}

#[test]
fn one_owner_at_any_moment_of_a_move() {
    // However far a move has come when everything is cut off, at most one node runs the daemon.
    for stop in 0..120 {
        let mut stage = Stage::born(3);
        stage.deliver(A, "a");
        let mut left = stop;
        stage.rule(move |item| match item {
            Item::Message { .. } if left == 0 => Course::Lose,
            Item::Message { .. } => {
                left -= 1;
                Course::Do
            }
            _ => Course::Do,
        });
        stage.start_move(C, B, MoveOptions::default());
        stage.pass(Duration::from_secs(20));
        let owners = [A, B].map(|node| stage.standing(node) == Standing::Live);
        assert!(owners != [true, true], "stopped after {stop} messages");
        stage.rule(|_| Course::Do);
        stage.pass(Duration::from_secs(20));
        let owners = [A, B].map(|node| stage.standing(node) == Standing::Live);
        assert_eq!(owners.iter().filter(|owner| **owner).count(), 1, "{stop}: {owners:?}");
        let node = if owners[0] { A } else { B };
        let next = stage.deliver(node, "b");
        assert_eq!(stage.delivered(next), [Ok("195".to_owned())], "{stop}");
    }
}

#[test]
fn tombstones_stay_and_an_old_offer_is_refused() {
    let mut stage = Stage::born(3);
    let mut offers = Vec::new();
    stage.start_move(C, B, MoveOptions::default());
    for seen in &stage.seen {
        if let Seen { node: A, output: Output::Send { message, .. } } = seen
            && let Message::Migration(envelope) = message
            && matches!(envelope.message, MigrationMessage::SnapshotReady { chunk_index: 0, .. })
        {
            offers.push(message.clone());
        }
    }
    let back = AttemptId::new(0xa2);
    let (target, options) = (stage.id(A), MoveOptions::default());
    stage.feed(C, Input::Move { attempt: back, source: None, target, options });
    assert_eq!((stage.standing(A), stage.standing(B)), (Standing::Live, Standing::Stranger));
    for restart in [false, true] {
        if restart {
            stage.restart(B);
        }
        assert_eq!(stage.nodes[B].seat.title().known(), Epoch::new(3));
        assert_eq!(stage.record(B).deeds.len(), 3);
        stage.forget();
        let message = offers[0].clone();
        stage.put(Item::Message { from: A, to: B, message });
        let reason = MigrationFailureReason::StaleAttempt;
        let daemon_origin = stage.entity().origin_hash();
        assert_eq!(stage.said(B), [MigrationMessage::MigrationFailed { daemon_origin, reason }]);
        assert_eq!(stage.record(B).waiting, []);
    }
}

fn departed() -> Stage {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    stage.lose(|item| {
        matches!(
            item.migration(),
            Some(
                MigrationMessage::ActivateTarget { .. } | MigrationMessage::CleanupComplete { .. }
            )
        )
    });
    stage.start_move(C, B, MoveOptions::default());
    assert_eq!(stage.standing(A), Standing::Departed);
    stage
}

#[test]
fn ack_names_its_deed_and_comes_from_the_heir() {
    let mut stage = departed();
    let deed = stage.nodes[A].seat.title().last().unwrap().digest();
    let birth = stage.nodes[A].seat.title().deeds()[0].digest();
    let daemon_origin = stage.entity().origin_hash();
    let ack = |deed: Digest| MigrationMessage::ActivateAck { daemon_origin, replayed_seq: 1, deed };
    let dropped =
        |stage: &Stage| stage.asked(A).iter().any(|write| matches!(write, Write::DropState { .. }));
    for wrong in [Digest::ZERO, birth, Digest::from_bytes([3; 32])] {
        stage.migration(B, A, Role::Target, ack(wrong));
    }
    stage.migration(C, A, Role::Target, ack(deed));
    stage.migration(C, A, Role::Orchestrator, ack(deed));
    assert!(!dropped(&stage));
    assert_eq!(stage.standing(A), Standing::Departed);
    assert!(matches!(stage.record(A).holding, Holding::HandedOver(_)));
    stage.migration(B, A, Role::Target, ack(deed));
    assert!(dropped(&stage));
    assert_eq!(stage.standing(A), Standing::Stranger);
}

#[test]
fn ack_names_its_deed_so_a_source_repeats_the_deed_until_it_comes() {
    let mut stage = departed();
    stage.lose(|item| matches!(item, Item::Message { .. }));
    stage.pass(Duration::from_secs(600));
    assert_eq!(stage.standing(A), Standing::Departed);
    stage.rule(|_| Course::Do);
    stage.pass(Duration::from_secs(3));
    assert_eq!((stage.standing(A), stage.standing(B)), (Standing::Stranger, Standing::Live));
}

/// Every message of a move, from a node or in a role that may not say it.
#[test]
fn role_and_peer_are_asked_of_every_message_to_a_source() {
    let mut stage = Stage::born(3);
    stage.lose(|item| matches!(item.migration(), Some(MigrationMessage::CutoverNotify { .. })));
    stage.start_move(B, B, MoveOptions::default());
    let copy = &stage.nodes[B].copies[&MOVE];
    let (head, store, key) = (copy.head, stage.nodes[C].store, stage.nodes[C].key.public());
    let daemon_origin = stage.entity().origin_hash();
    let (_, manifest, _) = stage.birth(A);
    let snapshot = manifest.digest();
    let (target_node, target_head) = (stage.id(B), deed_link(&stage, head));
    let reason = MigrationFailureReason::Diverged;
    let says = [
        (Role::Orchestrator, MigrationMessage::CutoverNotify { daemon_origin, target_node }),
        (Role::Orchestrator, MigrationMessage::Cancel { daemon_origin }),
        (
            Role::Target,
            MigrationMessage::RestoreComplete {
                daemon_origin,
                restored_seq: 0,
                snapshot,
                head,
                store,
                key,
            },
        ),
        (
            Role::Target,
            MigrationMessage::ReplayComplete {
                daemon_origin,
                replayed_seq: 0,
                target_head,
                head,
                state: None,
                store,
                key,
            },
        ),
        (
            Role::Target,
            MigrationMessage::ChunksWanted { daemon_origin, snapshot, ranges: vec![(1, 5)] },
        ),
        (Role::Target, MigrationMessage::MigrationFailed { daemon_origin, reason }),
    ];
    let departing = |stage: &Stage| {
        let asked = stage.nodes[A].seat.manifests_in_use().len();
        (asked, stage.standing(A))
    };
    let before = departing(&stage);
    assert_eq!(before, (1, Standing::Live));
    for (role, message) in says {
        stage.forget();
        // The third node in the right role, and the right node in the role of another.
        stage.migration(C, A, role, message.clone());
        stage.migration(B, A, Role::Source, message.clone());
        assert_eq!(departing(&stage), before, "{message:?}");
        assert_eq!(stage.said(A), [], "{message:?}");
        let acts = stage.seen.iter().any(|seen| {
            matches!(
                seen,
                Seen { node: A, output: Output::SendPiece { .. } | Output::ReadTurns { .. } }
            )
        });
        assert!(!acts, "{message:?}");
    }
}

fn deed_link(stage: &Stage, head: Head) -> whimbrel_wire::CausalLink {
    let origin = stage.entity().origin_hash();
    let (sequence, parent) = (head.sequence, head.hash);
    whimbrel_wire::CausalLink { origin, sequence, epoch: Epoch::FIRST, parent }
}

#[test]
fn role_and_peer_are_asked_of_every_message_to_a_target() {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    stage.lose(|item| matches!(item.migration(), Some(MigrationMessage::CutoverNotify { .. })));
    stage.start_move(A, B, MoveOptions::default());
    let before = stage.nodes[B].copies[&MOVE].head;
    let daemon_origin = stage.entity().origin_hash();
    let turn = stage.journal(A).remove(0);
    let mut stamp = turn.stamp;
    stamp.head.position = stamp.head.position.next();
    let events = MigrationMessage::BufferedEvents {
        daemon_origin,
        events: vec![turn.event],
        stamps: vec![stamp],
        frozen: None,
    };
    let reason = MigrationFailureReason::Cancelled;
    let failed = MigrationMessage::MigrationFailed { daemon_origin, reason };
    for (from, role, message) in [
        (C, Role::Source, events.clone()),
        (A, Role::Target, events.clone()),
        (A, Role::Orchestrator, events),
        (C, Role::Source, failed.clone()),
        (A, Role::Target, failed),
    ] {
        stage.forget();
        stage.migration(from, B, role, message.clone());
        assert_eq!(stage.nodes[B].copies.get(&MOVE).map(|copy| copy.head), Some(before));
        let replays = stage
            .seen
            .iter()
            .any(|seen| matches!(seen, Seen { output: Output::Replay { .. }, .. }));
        assert!(!replays, "{message:?}");
    }
}

fn phases(stage: &Stage, node: usize) -> Vec<MigrationPhase> {
    let phases = stage.events(node).into_iter().filter_map(|event| match event {
        Event::Phase { attempt: MOVE, phase } => Some(phase),
        _ => None,
    });
    phases.collect()
}

#[test]
fn phases_in_order_each_once() {
    for course in [Course::Do, Course::Twice] {
        let mut stage = Stage::born(3);
        stage.deliver(A, "a");
        stage.rule(move |item| match item {
            Item::Message { .. } => course,
            _ => Course::Do,
        });
        stage.start_move(C, B, MoveOptions::default());
        stage.pass(Duration::from_secs(3));
        assert_eq!(stage.ends(C), [Ok(stage.id(B))]);
        assert_eq!(phases(&stage, C), PHASES, "{course:?}");
    }
}

#[test]
fn phases_in_order_when_the_network_turns_reports_round() {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    stage.hold(|item| {
        matches!(item.migration(), Some(MigrationMessage::Progressed { .. }))
            && matches!(item, Item::Message { to: C, .. })
    });
    stage.start_move(C, B, MoveOptions::default());
    let mut late = stage.take_held();
    late.reverse();
    late.into_iter().for_each(|item| stage.put(item));
    assert_eq!(phases(&stage, C), PHASES);
}

#[test]
fn phases_in_order_up_to_where_a_move_ends() {
    let mut stage = Stage::born(3);
    stage.fates(|_, write| match write {
        Write::SaveCopy { .. } => Fate::Failed,
        _ => Fate::Good,
    });
    stage.start_move(C, B, MoveOptions::default());
    let found = phases(&stage, C);
    assert!(!found.is_empty() && found.len() < 6, "{found:?}");
    assert_eq!(found, PHASES[..found.len()]);
}

#[test]
fn verified_title_takes_what_follows_and_nothing_else() {
    let daemon = Identity::from_seed(&[9; 32]);
    let entity = daemon.entity_id();
    let [first, second, thief] = [1, 2, 3].map(|seed| NodeKey::from_seed(&[seed; 32]));
    let (store, attempt) = (StoreId::new(1), AttemptId::new(1));
    let birth = Deed::birth(&daemon, first.public(), store, attempt);
    let head = Head::newborn(&entity, &birth.digest());
    let to_second = deed_after(&birth, &first, &second, store, head);
    let to_first = deed_after(&to_second, &second, &first, store, head);
    let mut title = Title::unknown(entity);
    assert_eq!((title.epoch(), title.owner()), (None, None));
    let gap = |known| Err(TitleError::Gap { known: Epoch::new(known) });
    assert_eq!(title.learn(std::slice::from_ref(&to_second)), gap(0));
    let learned = title.learn(&[birth.clone(), to_second.clone()]).unwrap();
    assert_eq!(learned.news, [birth.clone(), to_second.clone()]);
    assert_eq!(title.learn(std::slice::from_ref(&birth)).unwrap().news, []);
    assert_eq!(title.owner(), Some(second.node_id()));

    let stolen = deed_after(&to_second, &thief, &thief, store, head);
    assert_eq!(title.learn(&[stolen]), Err(TitleError::Deed(DeedError::Sequence)));
    let mut forged = to_first.clone();
    forged.deed.to = thief.public();
    let signature = Err(TitleError::Deed(DeedError::Signature));
    assert_eq!(title.learn(std::slice::from_ref(&forged)), signature);
    // All or nothing: a good deed before a bad one is not learnt either.
    let after_forged = deed_after(&to_first, &thief, &thief, store, head);
    let both = [to_first.clone(), after_forged];
    assert_eq!(title.learn(&both), Err(TitleError::Deed(DeedError::Sequence)));
    assert_eq!(title.known(), Epoch::new(2));

    // Who signs two deeds of one epoch is found out, and the first one stands.
    let twin = deed_after(&birth, &first, &thief, store, head);
    let conflict = Err(TitleError::Conflict { second: Box::new(twin.clone()) });
    assert_eq!(title.learn(std::slice::from_ref(&twin)), conflict);
    assert_eq!(title.last(), Some(&to_second));
    assert_eq!(title.learn(std::slice::from_ref(&to_first)).unwrap().news, [to_first]);
    assert_eq!(title.owner(), Some(first.node_id()));
    let damaged = Title::from_saved(entity, vec![birth, twin, to_second]);
    assert!(damaged.is_err());
}
