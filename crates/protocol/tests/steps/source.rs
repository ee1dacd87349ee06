//! The source of a move: what it ships, when it freezes, and when it hands over.

use std::time::Duration;

use whimbrel_protocol::{Event, Input, MoveOptions, Output, Standing};
use whimbrel_wire::limits::TERMS_BYTES_MAX;
use whimbrel_wire::{
    Digest, Head, MigrationFailureReason, MigrationMessage, Position, Role, Sequence, Write,
};

use crate::stage::{A, B, C, Course, Fate, Item, MOVE, Seen, Stage};

const FREEZE_AND_COPY: MoveOptions = MoveOptions {
    transport_identity: true,
    retry_not_ready: None,
    freeze_and_copy: true,
    terms: None,
};

fn is_vote(item: &Item) -> bool {
    matches!(item.migration(), Some(MigrationMessage::ReplayComplete { state: Some(_), .. }))
}

fn is_cutover(item: &Item) -> bool {
    matches!(item.migration(), Some(MigrationMessage::CutoverNotify { .. }))
}

fn is_hand_over(item: &Item) -> bool {
    matches!(item.write(), Some(Write::HandOver { .. }))
}

fn is_append(item: &Item) -> bool {
    matches!(item.write(), Some(Write::Append { .. }))
}

fn shipped(stage: &Stage) -> Vec<u64> {
    let said = stage.said(A).into_iter();
    let stamps = said.filter_map(|message| match message {
        MigrationMessage::BufferedEvents { stamps, .. } => Some(stamps),
        _ => None,
    });
    stamps.flatten().map(|stamp| stamp.head.position.get()).collect()
}

/// The move stands just before its final vote: the vote itself is held back.
fn voting() -> (Stage, MigrationMessage) {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    stage.hold(is_vote);
    stage.start_move(C, B, MoveOptions::default());
    let held = stage.take_held();
    let vote = held.first().and_then(Item::migration).unwrap().clone();
    assert_eq!(stage.standing(A), Standing::Frozen);
    (stage, vote)
}

fn altered(
    vote: &MigrationMessage,
    alter: impl Fn(&mut Head, &mut Option<Digest>),
) -> MigrationMessage {
    let mut vote = vote.clone();
    if let MigrationMessage::ReplayComplete { head, state, .. } = &mut vote {
        alter(head, state);
    }
    vote
}

#[test]
fn no_early_vote_counts_only_the_exact_one() {
    type Altering = fn(&mut Head, &mut Option<Digest>);
    let wrong: [Altering; 5] = [
        |_, state| *state = None,
        |_, state| *state = Some(Digest::from_bytes([1; 32])),
        |head, _| head.position = Position::new(0),
        |head, _| head.sequence = Sequence::new(9),
        |head, _| head.hash = Digest::from_bytes([1; 32]),
    ];
    let (mut stage, vote) = voting();
    for alter in wrong {
        stage.migration(B, A, Role::Target, altered(&vote, alter));
        assert_eq!(stage.hand_overs(A), [], "{:?}", altered(&vote, alter));
        assert_eq!(stage.standing(A), Standing::Frozen);
    }
    stage.migration(B, A, Role::Target, vote);
    assert_eq!(stage.hand_overs(A).len(), 1);
    assert_eq!(stage.standing(B), Standing::Live);
}

#[test]
fn no_early_vote_is_taken_before_the_freeze() {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    stage.hold(is_cutover);
    stage.start_move(C, B, MoveOptions::default());
    let copy = &stage.nodes[B].copies[&MOVE];
    let (head, state) = (copy.head, copy.digest());
    let vote = MigrationMessage::ReplayComplete {
        daemon_origin: stage.entity().origin_hash(),
        replayed_seq: head.position.get(),
        target_head: copy.last.unwrap(),
        head,
        state: Some(state),
        store: stage.nodes[B].store,
        key: stage.nodes[B].key.public(),
    };
    stage.migration(B, A, Role::Target, vote);
    assert_eq!(stage.hand_overs(A), []);
    assert_eq!(stage.standing(A), Standing::Live);
}

#[test]
fn the_deed_says_what_was_voted_on() {
    let (mut stage, vote) = voting();
    let copy = &stage.nodes[B].copies[&MOVE];
    let (head, entity) = (copy.head, stage.entity());
    stage.migration(B, A, Role::Target, vote);
    let [signed] = &stage.hand_overs(A)[..] else { panic!("one hand-over") };
    let deed = &signed.deed;
    assert_eq!((deed.entity, deed.attempt, deed.epoch.get()), (entity, MOVE, 2));
    assert_eq!((deed.from, deed.to), (stage.nodes[A].key.public(), stage.nodes[B].key.public()));
    assert_eq!((deed.store, deed.head), (stage.nodes[B].store, head));
    let (birth, manifest, _) = stage.birth(A);
    assert_eq!((deed.previous, deed.snapshot), (birth.digest(), manifest.digest()));
    assert_eq!(signed.verify_after(&birth), Ok(()));
}

/// The turns are on the disk, and the owner has not been told so.
#[test]
fn only_durable_shipped_though_more_is_on_the_disk() {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    let mut appends = 0;
    stage.rule(move |item| match item {
        Item::Save { write: Write::Append { .. }, .. } => {
            appends += 1;
            Course::Do
        }
        Item::Report { input: Input::Saved { .. }, node: A } if appends == 1 => Course::Hold,
        item if is_cutover(item) => Course::Hold,
        _ => Course::Do,
    });
    stage.deliver(A, "b");
    stage.deliver(A, "c");
    assert_eq!(stage.taken(A), ["a", "b"], "the disk has one more than is confirmed");
    // The attempt is begun by a save as well, so its report is let through by hand.
    stage.start_move(C, B, MoveOptions::default());
    let mut held = stage.take_held();
    let begun = held.remove(1);
    stage.rule(|item| if is_cutover(item) { Course::Hold } else { Course::Do });
    stage.put(begun);
    assert_eq!(shipped(&stage), [1]);
    held.into_iter().for_each(|item| stage.put(item));
    assert_eq!(shipped(&stage), [1, 2, 3]);
    stage.release();
    assert_eq!(stage.ends(C), [Ok(stage.id(B))]);
}

#[test]
fn only_durable_shipped_and_the_freeze_waits_for_it() {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    stage.hold(is_append);
    let waiting = stage.deliver(A, "b");
    stage.start_move(C, B, MoveOptions::default());
    let frozen =
        |stage: &Stage| stage.events(A).iter().any(|event| matches!(event, Event::Frozen { .. }));
    assert_eq!(stage.standing(A), Standing::Frozen, "no turn starts");
    assert!(!frozen(&stage), "and the freeze is not complete");
    assert_eq!((shipped(&stage), stage.delivered(waiting)), (vec![1], vec![]));
    stage.release();
    assert!(frozen(&stage));
    assert_eq!(shipped(&stage), [1, 2]);
    assert_eq!(stage.delivered(waiting), [Ok("195".to_owned())]);
    assert_eq!(stage.ends(C), [Ok(stage.id(B))]);
}

/// The answer to a round is under way when the cut-over is asked for.
#[test]
fn nothing_freezes_in_the_middle_of_a_round() {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    let of_copy = |item: &Item| matches!(item.write(), Some(Write::AppendCopy { .. }));
    stage.hold(of_copy);
    stage.start_move(C, B, MoveOptions::default());
    assert_eq!(shipped(&stage), [1], "a round is under way");
    let served = stage.deliver(A, "b");
    assert_eq!(stage.standing(A), Standing::Live);
    assert_eq!(stage.delivered(served), [Ok("195".to_owned())]);
    stage.release();
    assert_eq!(stage.ends(C), [Ok(stage.id(B))]);
    assert_eq!(stage.taken(B), ["a", "b"]);
}

#[test]
fn what_was_saved_during_the_move_is_not_read_back_to_be_shipped() {
    let mut stage = Stage::born(3);
    stage.hold(is_cutover);
    stage.start_move(C, B, MoveOptions::default());
    stage.forget();
    stage.deliver(A, "a");
    stage.deliver(A, "b");
    stage.release();
    assert_eq!(stage.ends(C), [Ok(stage.id(B))]);
    assert_eq!(shipped(&stage), [1, 2]);
    let reads = stage
        .seen
        .iter()
        .filter(|seen| matches!(seen, Seen { node: A, output: Output::ReadTurns { .. } }));
    assert_eq!(reads.count(), 0);
}

#[test]
fn asked_for_is_every_hand_over_also_of_a_daemon_that_is_frozen_first() {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    stage.lose(is_cutover);
    stage.start_move(C, B, FREEZE_AND_COPY);
    let voted = |stage: &Stage| {
        let said = stage.said(B);
        said.iter().any(|message| {
            matches!(message, MigrationMessage::ReplayComplete { state: Some(_), .. })
        })
    };
    assert!(voted(&stage), "the vote is in");
    assert_eq!(stage.hand_overs(A), [], "and nobody asked for the cut-over");
    stage.pass(Duration::from_secs(5));
    assert_eq!(stage.hand_overs(A), []);
    stage.rule(|_| Course::Do);
    stage.pass(Duration::from_secs(1));
    assert_eq!(stage.hand_overs(A).len(), 1);
    assert_eq!(stage.ends(C), [Ok(stage.id(B))]);
}

/// Terms become a turn of the journal, which has to fit into a frame when it is sent on.
#[test]
fn terms_that_are_too_long_are_refused_by_the_source_whoever_sent_them() {
    for (length, is_taken) in [(TERMS_BYTES_MAX, true), (TERMS_BYTES_MAX + 1, false)] {
        let mut stage = Stage::born(3);
        let terms = Some(vec![0; length].into());
        stage.start_move(C, B, MoveOptions { terms, ..MoveOptions::default() });
        let refused = stage.ends(C).iter().any(|end| {
            matches!(end, Err(MigrationFailureReason::Incompatible(what)) if what.contains("terms"))
        });
        assert_eq!(!refused, is_taken, "{length}: {:?}", stage.ends(C));
        let late = stage.deliver(A, "a");
        assert!(is_taken || stage.delivered(late) == [Ok("97".to_owned())]);
    }
}

#[test]
fn asked_for_means_that_without_a_cut_over_nothing_freezes() {
    let mut stage = Stage::born(3);
    stage.lose(is_cutover);
    stage.start_move(C, B, MoveOptions::default());
    stage.pass(Duration::from_secs(60));
    assert_eq!(stage.hand_overs(A), []);
    assert!(!stage.events(A).iter().any(|event| matches!(event, Event::Frozen { .. })));
    let late = stage.deliver(A, "a");
    assert_eq!(stage.delivered(late), [Ok("97".to_owned())]);
}

/// The hand-over is being saved; then everything happens that would end an attempt before.
#[test]
fn no_way_back_once_the_hand_over_is_being_saved() {
    let mut stage = Stage::born(3);
    stage.deliver(A, "a");
    stage.hold(is_hand_over);
    stage.start_move(C, B, MoveOptions::default());
    assert_eq!(stage.hand_overs(A).len(), 1);
    stage.forget();
    let daemon_origin = stage.entity().origin_hash();
    stage.feed(C, Input::Cancel { attempt: MOVE });
    let reason = MigrationFailureReason::Diverged;
    let failed = MigrationMessage::MigrationFailed { daemon_origin, reason };
    stage.migration(B, A, Role::Target, failed);
    let ticket = stage.ticket();
    stage.feed(A, Input::Stop { ticket });
    let waiting = stage.deliver(A, "b");
    stage.pass(Duration::from_secs(120));
    assert_eq!(stage.standing(A), Standing::Frozen);
    let events = stage.events(A);
    assert!(!events.iter().any(|event| matches!(event, Event::Thawed { .. })), "{events:?}");
    let turns = stage
        .seen
        .iter()
        .filter(|seen| matches!(seen, Seen { node: A, output: Output::Turn { .. } }));
    assert_eq!(turns.count(), 0);
    assert_eq!(stage.delivered(waiting), []);
    stage.release();
    assert_eq!(stage.standing(B), Standing::Live);
    assert_eq!(stage.ends(C), [Ok(stage.id(B))]);
    let moved = whimbrel_protocol::DeliverError::Moved(stage.id(B));
    assert_eq!(stage.delivered(waiting), [Err(moved)]);
}

/// What the disk has decides, whatever its answer was (rule 7).
#[test]
fn no_way_back_from_a_hand_over_whose_answer_is_lost() {
    for (fate, moved) in [(Fate::UnknownDone, true), (Fate::UnknownLost, false)] {
        let mut stage = Stage::born(3);
        stage.deliver(A, "a");
        stage.fates(move |_, write| match write {
            Write::HandOver { .. } => fate,
            _ => Fate::Good,
        });
        stage.start_move(C, B, MoveOptions::default());
        stage.pass(Duration::from_secs(60));
        let (there, here) = (stage.standing(B), stage.standing(A));
        let expected = if moved {
            (Standing::Live, Standing::Stranger)
        } else {
            (Standing::Stranger, Standing::Live)
        };
        assert_eq!((there, here), expected, "{fate:?}");
        let sum = stage.deliver(if moved { B } else { A }, "b");
        assert_eq!(stage.delivered(sum), [Ok("195".to_owned())]);
    }
}

#[test]
fn a_definite_failure_of_the_hand_over_thaws() {
    let mut stage = Stage::born(3);
    stage.fates(|_, write| match write {
        Write::HandOver { .. } => Fate::Failed,
        _ => Fate::Good,
    });
    stage.start_move(C, B, MoveOptions::default());
    stage.pass(Duration::from_secs(5));
    assert!(matches!(stage.ends(C)[..], [Err(MigrationFailureReason::StoreFailed(_))]));
    assert_eq!((stage.standing(A), stage.standing(B)), (Standing::Live, Standing::Stranger));
}
