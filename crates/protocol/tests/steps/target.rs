//! The target of a move: what makes a copy live, what it refuses and when, what it takes.

use std::time::Duration;

use bytes::Bytes;
use whimbrel_protocol::{MoveOptions, Output, Standing, Warning};
use whimbrel_wire::{
    AttemptId, Deed, Digest, Epoch, Head, Manifest, Message, MigrationFailureReason,
    MigrationMessage, NodeKey, Position, Role, SignedDeed, StoreId, TitleMessage, Write, decode,
    encode,
};

use crate::stage::{A, B, C, Course, Fate, Item, MOVE, Seen, Stage};

fn is_hand_over(item: &Item) -> bool {
    matches!(item.write(), Some(Write::HandOver { .. }))
}

/// The deed of a move, as the source would sign it for a copy that stands at `head`.
fn deed(stage: &Stage, head: Head) -> Deed {
    let (birth, manifest, _) = stage.birth(A);
    Deed {
        entity: stage.entity(),
        epoch: Epoch::new(2),
        from: stage.nodes[A].key.public(),
        to: stage.nodes[B].key.public(),
        store: stage.nodes[B].store,
        attempt: MOVE,
        head,
        snapshot: manifest.digest(),
        previous: birth.digest(),
    }
}

fn say_deed(stage: &mut Stage, signed: SignedDeed) {
    let daemon_origin = stage.entity().origin_hash();
    let message = MigrationMessage::ActivateTarget { daemon_origin, deed: signed };
    stage.migration(A, B, Role::Source, message);
}

fn accepts(stage: &Stage) -> usize {
    let asked = stage.asked(B).into_iter();
    asked.filter(|write| matches!(write, Write::Accept { .. })).count()
}

/// A copy that has voted and hears nothing of it.
fn voted() -> (Stage, Head) {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    stage.hold(is_hand_over);
    stage.start_move(C, B, MoveOptions::default());
    let head = stage.nodes[B].copies[&MOVE].head;
    (stage, head)
}

#[test]
fn deed_alone_activates_the_copy_that_it_names() {
    type Altering = fn(&mut Deed);
    let wrong: [Altering; 4] = [
        |deed| deed.store = StoreId::new(77),
        |deed| deed.attempt = AttemptId::new(77),
        |deed| deed.head.hash = Digest::ZERO,
        |deed| deed.head.position = Position::new(0),
    ];
    for (index, alter) in wrong.into_iter().enumerate() {
        let (mut stage, head) = voted();
        let mut other = deed(&stage, head);
        alter(&mut other);
        let signed = other.sign(&stage.nodes[A].key.clone());
        say_deed(&mut stage, signed);
        stage.lose(|item| item.migration().is_some());
        stage.pass(Duration::from_secs(30));
        assert_eq!((stage.standing(B), accepts(&stage)), (Standing::Stranger, 0), "{index}");
    }
    let (mut stage, head) = voted();
    let signed = deed(&stage, head).sign(&stage.nodes[A].key.clone());
    say_deed(&mut stage, signed);
    assert_eq!((stage.standing(B), accepts(&stage)), (Standing::Live, 1));
}

#[test]
fn deed_alone_activates_and_only_one_that_verifies() {
    let (mut stage, head) = voted();
    let good = deed(&stage, head);
    let forged = good.clone().sign(&NodeKey::from_seed(&[66; 32]));
    let unlinked = Deed { previous: Digest::ZERO, ..good };
    let unlinked = unlinked.sign(&stage.nodes[A].key.clone());
    let ahead = Deed { epoch: Epoch::new(3), ..good }.sign(&stage.nodes[A].key.clone());
    for signed in [forged, unlinked, ahead] {
        say_deed(&mut stage, signed);
        assert_eq!((stage.standing(B), accepts(&stage)), (Standing::Stranger, 0));
    }
    let bad = stage.warnings(B);
    assert_eq!(bad, vec![Warning::BadDeed { from: stage.id(A) }; 2]);
}

#[test]
fn deed_alone_activates_and_no_copy_that_has_not_voted() {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    stage.lose(|item| matches!(item.migration(), Some(MigrationMessage::CutoverNotify { .. })));
    stage.start_move(C, B, MoveOptions::default());
    let head = stage.nodes[B].copies[&MOVE].head;
    assert_eq!(head.position, Position::new(1), "it follows, caught up");
    let signed = deed(&stage, head).sign(&stage.nodes[A].key.clone());
    stage.lose(|item| item.migration().is_some());
    let accepting = stage.asked(B).len();
    let daemon_origin = stage.entity().origin_hash();
    let message = MigrationMessage::ActivateTarget { daemon_origin, deed: signed };
    stage.rule(|item| match item.migration() {
        None | Some(MigrationMessage::ActivateTarget { .. }) => Course::Do,
        Some(_) => Course::Lose,
    });
    stage.migration(A, B, Role::Source, message);
    assert_eq!(stage.asked(B).len(), accepting, "nothing is saved on the strength of it");
    assert_eq!(stage.standing(B), Standing::Stranger);
}

#[test]
fn deed_alone_activates_once_it_is_saved() {
    let mut stage = Stage::born(3);
    stage.hold(|item| matches!(item.write(), Some(Write::Accept { .. })));
    stage.start_move(C, B, MoveOptions::default());
    assert_eq!((stage.standing(A), stage.standing(B)), (Standing::Departed, Standing::Stranger));
    let acks = |stage: &Stage| {
        let said = stage.said(B).into_iter();
        said.filter(|message| matches!(message, MigrationMessage::ActivateAck { .. })).count()
    };
    assert_eq!(acks(&stage), 0);
    stage.release();
    assert_eq!((stage.standing(A), stage.standing(B)), (Standing::Stranger, Standing::Live));
    assert_eq!(acks(&stage), 2, "one for the source, one for the orchestrator");
}

/// How the target of a move ends it when something is wrong on its side.
fn refuses(prepare: impl Fn(&mut Stage)) -> (Vec<MigrationMessage>, Standing) {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    prepare(&mut stage);
    let options = MoveOptions { retry_not_ready: None, ..MoveOptions::default() };
    stage.start_move(C, B, options);
    stage.pass(Duration::from_secs(5));
    assert_eq!(stage.standing(A), Standing::Live, "the source goes on");
    (stage.said(B), stage.standing(B))
}

#[test]
fn refusals_before_the_vote_leave_no_vote() {
    let failing = |which: fn(&Write) -> bool| {
        move |stage: &mut Stage| {
            stage.fates(
                move |node, write| {
                    if node == B && which(write) { Fate::Failed } else { Fate::Good }
                },
            );
        }
    };
    type Prepare = Box<dyn Fn(&mut Stage)>;
    let wrongs: Vec<Prepare> = vec![
        Box::new(|stage| stage.nodes[B].admits = Err(MigrationFailureReason::FactoryNotFound)),
        Box::new(|stage| stage.nodes[B].admits = Err(MigrationFailureReason::NotReady)),
        Box::new(|stage| stage.nodes[B].restores = Err(MigrationFailureReason::FactoryNotFound)),
        Box::new(|stage| stage.nodes[B].saves_chunks = Err("full".to_owned())),
        Box::new(|stage| stage.nodes[B].lists = Err("torn".to_owned())),
        Box::new(failing(|write| matches!(write, Write::SaveCopy { .. }))),
        Box::new(failing(|write| matches!(write, Write::AppendCopy { .. }))),
    ];
    for (index, wrong) in wrongs.into_iter().enumerate() {
        let (said, standing) = refuses(wrong);
        let failures =
            said.iter().filter(|said| matches!(said, MigrationMessage::MigrationFailed { .. }));
        let votes = said
            .iter()
            .filter(|said| matches!(said, MigrationMessage::ReplayComplete { state: Some(_), .. }));
        assert!(failures.count() > 0, "{index}: {said:?}");
        assert_eq!((votes.count(), standing), (0, Standing::Stranger), "{index}");
    }
}

/// After the vote nothing but the source's word ends a copy: it asks, for ever if need be.
#[test]
fn refusals_before_the_vote_and_none_after_it() {
    let (mut stage, head) = voted();
    stage.forget();
    stage.rule(|item| match item {
        Item::Message { .. } => Course::Lose,
        item if is_hand_over(item) => Course::Hold,
        _ => Course::Do,
    });
    stage.pass(Duration::from_secs(600));
    let failed = |said: &[MigrationMessage]| {
        said.iter().any(|said| matches!(said, MigrationMessage::MigrationFailed { .. }))
    };
    assert!(!failed(&stage.said(B)), "{:?}", stage.said(B));
    assert_eq!(stage.nodes[B].copies[&MOVE].head, head, "the copy is kept");
    let asks = stage.seen.iter().filter(|seen| match &seen.output {
        Output::Send { message: Message::Title { message, .. }, .. } if seen.node == B => {
            matches!(message, TitleMessage::DeedAsked { attempt: Some(MOVE), .. })
        }
        _ => false,
    });
    assert!(100 < asks.count(), "and it asks");
    stage.release();
    stage.pass(Duration::from_secs(5));
    assert_eq!((stage.standing(A), stage.standing(B)), (Standing::Stranger, Standing::Live));
}

/// The snapshot pieces of a move are held back, and others come in their place.
fn fetching() -> (Stage, Vec<Item>) {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    stage.hold(|item| {
        matches!(
            item.migration(),
            Some(MigrationMessage::SnapshotReady { chunk_index, .. }) if *chunk_index > 0
        )
    });
    stage.start_move(C, B, MoveOptions::default());
    let held = stage.take_held();
    assert!(!held.is_empty());
    (stage, held)
}

fn saved_chunks(stage: &Stage) -> usize {
    let is_save = |seen: &&Seen| matches!(seen, Seen { node: B, output: Output::SaveChunk { .. } });
    stage.seen.iter().filter(is_save).count()
}

fn piece(item: &Item, alter: impl FnOnce(&mut Bytes, &mut Digest)) -> MigrationMessage {
    let mut message = item.migration().unwrap().clone();
    if let MigrationMessage::SnapshotReady { snapshot_bytes, snapshot, .. } = &mut message {
        alter(snapshot_bytes, snapshot);
    }
    message
}

#[test]
fn one_snapshot_is_taken_from_and_no_piece_of_another() {
    let (mut stage, held) = fetching();
    let other = piece(&held[0], |_, snapshot| *snapshot = Digest::from_bytes([8; 32]));
    stage.migration(A, B, Role::Source, other);
    assert_eq!(saved_chunks(&stage), 0);
    stage.migration(A, B, Role::Source, piece(&held[0], |_, _| {}));
    assert_eq!(saved_chunks(&stage), 1);
    stage.migration(A, B, Role::Source, piece(&held[0], |_, _| {}));
    assert_eq!(saved_chunks(&stage), 1, "a piece that was not asked for is passed over");
}

#[test]
fn one_snapshot_is_taken_from_and_no_other_bytes() {
    let (mut stage, held) = fetching();
    let other = piece(&held[0], |bytes, _| *bytes = Bytes::from_static(b"other"));
    stage.migration(A, B, Role::Source, other);
    assert_eq!(saved_chunks(&stage), 0);
    assert!(matches!(stage.ends(C)[..], [Err(MigrationFailureReason::SnapshotInvalid(_))]));
    assert_eq!((stage.standing(A), stage.standing(B)), (Standing::Live, Standing::Stranger));
}

/// A source that lies about its snapshot, and keeps to the lie.
fn lies(alter: fn(&mut Manifest)) -> impl FnMut(&mut Item) -> Course {
    let mut told: Option<(Digest, Digest)> = None;
    move |item| {
        let Item::Message { message: Message::Migration(envelope), .. } = item else {
            return Course::Do;
        };
        match &mut envelope.message {
            MigrationMessage::SnapshotReady {
                chunk_index: 0, snapshot_bytes, snapshot, ..
            } => {
                let mut manifest: Manifest = decode(snapshot_bytes).unwrap();
                alter(&mut manifest);
                told = Some((*snapshot, manifest.digest()));
                (*snapshot_bytes, *snapshot) = (encode(&manifest).into(), manifest.digest());
            }
            MigrationMessage::SnapshotReady { snapshot, .. } => {
                *snapshot = told.map_or(*snapshot, |(_, lie)| lie);
            }
            MigrationMessage::ChunksWanted { snapshot, .. } => {
                *snapshot = told.map_or(*snapshot, |(truth, _)| truth);
            }
            _ => {}
        }
        Course::Do
    }
}

#[test]
fn a_snapshot_whose_sizes_are_not_what_it_says_is_refused() {
    let alterations: [fn(&mut Manifest); 4] = [
        |manifest| manifest.state.bytes += 1,
        |manifest| manifest.state.chunks -= 1,
        |manifest| manifest.state.chunks = u32::MAX,
        |manifest| manifest.state.lists[0].bytes += 1,
    ];
    for alter in alterations {
        let mut stage = Stage::born(3);
        stage.deliver(A, "a");
        stage.rule(lies(alter));
        stage.start_move(C, B, MoveOptions::default());
        let ends = stage.ends(C);
        assert!(matches!(ends[..], [Err(MigrationFailureReason::SnapshotInvalid(_))]), "{ends:?}");
        assert_eq!((stage.standing(A), stage.standing(B)), (Standing::Live, Standing::Stranger));
    }
}

#[test]
fn pieces_that_are_there_already_do_not_travel() {
    let mut stage = Stage::born(3);
    stage.start_move(C, B, MoveOptions::default());
    let first = saved_chunks(&stage);
    assert_eq!(first, 5, "a list, the luggage, three chunks");
    stage.forget();
    let (attempt, target) = (AttemptId::new(0xa2), stage.id(A));
    let options = MoveOptions::default();
    let back = whimbrel_protocol::Input::Move { attempt, source: None, target, options };
    stage.feed(C, back);
    assert_eq!(stage.standing(A), Standing::Live);
    let asked = stage.said(A).into_iter();
    let wanted = asked.filter(|said| matches!(said, MigrationMessage::ChunksWanted { .. }));
    assert_eq!(wanted.count(), 0, "the home of a daemon has its chunks");
}

/// A late offer begins an attempt anew while the copy of the first time is still being saved.
#[test]
fn the_report_of_an_earlier_save_is_not_taken_for_that_of_a_later_one() {
    let is_of_copy =
        |item: &Item| matches!(item.write(), Some(Write::SaveCopy { .. } | Write::DropCopy { .. }));
    let mut stage = Stage::born(2);
    stage.hold(is_of_copy);
    stage.start_move(A, B, MoveOptions::default());
    let offer = stage
        .said(A)
        .into_iter()
        .find(|said| matches!(said, MigrationMessage::SnapshotReady { chunk_index: 0, .. }));
    stage.feed(A, whimbrel_protocol::Input::Cancel { attempt: MOVE });
    stage.migration(A, B, Role::Source, offer.unwrap());
    let held = stage.take_held();
    let writes: Vec<&Write> = held.iter().filter_map(Item::write).collect();
    assert!(matches!(
        writes[..],
        [Write::SaveCopy { .. }, Write::DropCopy { .. }, Write::SaveCopy { .. }]
    ));
    let mut built = Vec::new();
    for save in held {
        stage.put(save);
        let restores = stage.seen.iter().filter(|seen| match &seen.output {
            Output::Restore { .. } => seen.node == B,
            _ => false,
        });
        built.push(restores.count());
    }
    assert_eq!(built, [0, 0, 1], "a copy is built once it is on the disk");
}
