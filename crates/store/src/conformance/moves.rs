//! Checks about moves: attempts, hand-overs, copies that wait, acceptance, deeds from elsewhere.

use whimbrel_wire::{
    AttemptId, Epoch, Holding, Position, SignedDeed, Write, WriteError, WriteRefusal,
};

use super::Harness;
use super::checks;
use super::story::{BIRTH, Story};
use crate::error::StoreError;

checks![
    an_attempt_begins_once,
    an_attempt_in_another_epoch_is_refused,
    attempts_are_forgotten_when_the_epoch_ends,
    a_hand_over_is_done_once,
    a_hand_over_from_another_head_is_refused,
    a_hand_over_that_skips_an_epoch_is_refused,
    a_hand_over_by_a_stranger_is_refused,
    a_zombie_cannot_append_after_the_hand_over,
    the_frozen_copy_stays_until_it_is_acknowledged,
    a_frozen_copy_can_be_saved_as_a_snapshot,
    an_acknowledgement_of_another_deed_forgets_nothing,
    an_acknowledged_state_is_gone_and_its_deeds_are_kept_for_ever,
    a_later_deed_acknowledges_an_earlier_one,
    what_was_handed_over_is_taken_back_from_its_frozen_copy,
    what_was_acknowledged_or_never_given_is_not_taken_back,
    a_copy_waits_grows_and_is_thrown_away,
    a_dropped_copy_is_gone_at_once_and_its_name_can_be_saved_again,
    a_copy_of_the_same_attempt_is_replaced,
    a_copy_for_an_epoch_that_is_over_is_refused,
    turns_for_no_copy_are_refused,
    one_live_copy_stands_apart_from_those_that_wait,
    a_copy_goes_live_by_its_deed,
    acceptance_without_a_copy_is_refused,
    acceptance_at_another_head_is_refused,
    acceptance_for_another_store_is_refused,
    a_copy_offered_in_another_epoch_does_not_go_live,
    acceptance_happens_once,
    acceptance_with_a_gap_is_refused,
    deeds_are_learnt_once_and_with_no_gap,
    an_epoch_has_one_deed_and_a_second_is_refused,
    an_owner_that_learns_of_its_hand_over_is_fenced,
    a_deed_for_a_waiting_copy_is_accepted_not_learnt,
    a_daemon_comes_home_while_its_old_copy_waits,
    a_daemon_that_took_nothing_in_moves_on,
    a_lost_answer_to_a_hand_over_is_settled_by_reading_the_record,
];

fn begin(story: &Story<'_>, epoch: Epoch, attempt: u128) -> Write {
    Write::BeginAttempt { entity: story.entity(), epoch, attempt: AttemptId::new(attempt) }
}

fn an_attempt_begins_once(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    story.started(1);
    let write = begin(&story, Epoch::FIRST, 8);
    story.done(&write);
    story.refused(&write, WriteRefusal::AttemptKnown);
    story.harness.reopen();
    story.refused(&write, WriteRefusal::AttemptKnown);
    let write = begin(&story, Epoch::FIRST, 7);
    story.done(&write);
    assert_eq!(story.record().attempts, [AttemptId::new(7), AttemptId::new(8)]);
    let write = begin(&story, Epoch::FIRST, BIRTH.get());
    story.refused(&write, WriteRefusal::AttemptKnown);
}

fn an_attempt_in_another_epoch_is_refused(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let write = begin(&story, Epoch::FIRST, 8);
    story.refused(&write, WriteRefusal::NotOwner);
    story.started(1);
    let write = begin(&story, Epoch::new(2), 8);
    story.refused(&write, WriteRefusal::NotOwner);
}

fn attempts_are_forgotten_when_the_epoch_ends(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    story.gone(5);
    assert_eq!(story.record().attempts, []);
    let write = begin(&story, Epoch::FIRST, 6);
    story.refused(&write, WriteRefusal::NotOwner);
}

fn a_hand_over_is_done_once(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (birth, deed, head) = story.gone(5);
    let again = Write::HandOver { deed: deed.clone() };
    story.refused(&again, WriteRefusal::DeedKnown);
    let other = story.deed(&birth, false, 6, head);
    story.refused(&Write::HandOver { deed: other }, WriteRefusal::DeedKnown);
    story.harness.reopen();
    story.refused(&again, WriteRefusal::DeedKnown);
    assert_eq!(story.record().deeds, [birth, deed]);
}

fn a_hand_over_from_another_head_is_refused(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (birth, head) = story.started(3);
    let refusal = WriteRefusal::Position { last: head.position };
    for wrong in [story.newborn(&birth), Story::head(2), Story::head(4)] {
        let deed = story.deed(&birth, false, 5, wrong);
        story.refused(&Write::HandOver { deed }, refusal);
    }
}

fn a_hand_over_that_skips_an_epoch_is_refused(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (birth, head) = story.started(3);
    let next = story.deed(&birth, false, 5, head);
    let skipping = story.deed(&next, false, 6, head);
    story.refused(&Write::HandOver { deed: skipping }, WriteRefusal::DeedGap);
}

fn a_hand_over_by_a_stranger_is_refused(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let birth = story.foreign_birth();
    let deed = story.deed(&birth, false, 5, Story::head(0));
    story.refused(&Write::HandOver { deed: deed.clone() }, WriteRefusal::NotOwner);
    story.done(&Write::Learn { deeds: vec![birth] });
    story.refused(&Write::HandOver { deed }, WriteRefusal::NotOwner);
}

fn a_zombie_cannot_append_after_the_hand_over(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (_, _, head) = story.gone(5);
    for epoch in [Epoch::FIRST, Epoch::new(2)] {
        let (append, _) = story.append(epoch, head, 1);
        story.refused(&append, WriteRefusal::NotOwner);
    }
    story.harness.reopen();
    let (append, _) = story.append(Epoch::FIRST, head, 1);
    story.refused(&append, WriteRefusal::NotOwner);
    let entity = story.entity();
    story.refused(&Write::Delete { entity, epoch: Epoch::FIRST }, WriteRefusal::NotOwner);
}

fn the_frozen_copy_stays_until_it_is_acknowledged(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (_, _, head) = story.gone(5);
    story.harness.reopen();
    let Holding::HandedOver(copy) = story.record().holding else {
        panic!("the copy is not frozen");
    };
    assert_eq!((copy.attempt, copy.head()), (BIRTH, head));
    assert_eq!(story.journal(BIRTH, Position::FIRST).len(), 3);
    let drop = Write::DropCopy { entity: story.entity(), attempt: BIRTH };
    story.done(&drop);
    assert!(matches!(story.record().holding, Holding::HandedOver(_)), "it does not wait");
}

fn a_frozen_copy_can_be_saved_as_a_snapshot(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (_, _, head) = story.gone(5);
    let manifest = story.manifest(Epoch::FIRST, head);
    let entity = story.entity();
    let other = Write::Publish { entity, epoch: Epoch::new(2), manifest: manifest.clone() };
    story.refused(&other, WriteRefusal::NotOwner);
    story.done(&Write::Publish { entity, epoch: Epoch::FIRST, manifest });
    let Holding::HandedOver(copy) = story.record().holding else {
        panic!("the copy is not frozen");
    };
    assert_eq!((copy.manifest.head, copy.last), (head, None));
}

fn drop_state(story: &Story<'_>, deed: &SignedDeed) -> Write {
    Write::DropState { entity: story.entity(), deed: deed.digest() }
}

fn an_acknowledgement_of_another_deed_forgets_nothing(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (birth, head) = story.started(3);
    let early = drop_state(&story, &birth);
    story.refused(&early, WriteRefusal::NotOwner);
    let deed = story.deed(&birth, false, 5, head);
    story.done(&Write::HandOver { deed });
    story.refused(&early, WriteRefusal::NotOwner);
    let unheard = story.deed(&birth, false, 6, head);
    let unheard = drop_state(&story, &unheard);
    story.refused(&unheard, WriteRefusal::NotOwner);
}

fn an_acknowledged_state_is_gone_and_its_deeds_are_kept_for_ever(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (birth, deed, head) = story.gone(5);
    let write = drop_state(&story, &deed);
    story.done(&write);
    story.done(&write);
    story.harness.reopen();
    let record = story.record();
    assert_eq!(record.holding, Holding::Nothing);
    assert_eq!(record.deeds, [birth, deed]);
    let again = story.birth();
    story.refused(&again, WriteRefusal::Known);
    let old = story.save_copy(5, Epoch::FIRST, head);
    story.refused(&old, WriteRefusal::DeedKnown);
    let entity = story.entity();
    let turns = story.harness.engine().turns(&entity, BIRTH, Position::FIRST, 1, 1);
    assert_eq!(turns, Err(StoreError::NoCopy));
}

fn a_later_deed_acknowledges_an_earlier_one(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (_, deed, head) = story.gone(5);
    let later = story.deed(&deed, false, 6, head);
    story.done(&Write::Learn { deeds: vec![later.clone()] });
    assert!(matches!(story.record().holding, Holding::HandedOver(_)), "learning forgets nothing");
    let write = drop_state(&story, &later);
    story.done(&write);
    assert_eq!(story.record().holding, Holding::Nothing);
}

fn append_copy(story: &Story<'_>, attempt: u128, after: u64, count: u64) -> Write {
    Write::AppendCopy {
        entity: story.entity(),
        attempt: AttemptId::new(attempt),
        after: Position::new(after),
        turns: story.turns(Epoch::FIRST, Story::head(after), count),
    }
}

fn a_copy_waits_grows_and_is_thrown_away(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let save = story.save_copy(5, Epoch::FIRST, Story::head(10));
    story.done(&save);
    let write = append_copy(&story, 5, 10, 4);
    story.done(&write);
    story.refused(&write, WriteRefusal::Position { last: Position::new(14) });
    let write = append_copy(&story, 5, 14, 1);
    story.done(&write);
    story.harness.reopen();
    let record = story.record();
    assert_eq!((record.holding, record.deeds), (Holding::Nothing, vec![]));
    assert_eq!(record.waiting.len(), 1);
    let copy = &record.waiting[0];
    assert_eq!((copy.attempt.get(), copy.epoch), (5, Epoch::FIRST));
    assert_eq!(copy.last.map(|head| head.position), Some(Position::new(15)));
    assert_eq!(story.journal(copy.attempt, Position::new(10)).len(), 5);
    let entity = story.entity();
    let early = story.harness.engine().turns(&entity, copy.attempt, Position::new(9), 1, 1);
    assert_eq!(early, Err(StoreError::Forgotten { through: Position::new(10) }));
    let birth = story.birth();
    story.refused(&birth, WriteRefusal::Known);
    let drop = Write::DropCopy { entity: story.entity(), attempt: copy.attempt };
    story.done(&drop);
    story.done(&drop);
    story.harness.reopen();
    assert_eq!(story.record().waiting, []);
    assert_eq!(story.harness.engine().entities(), Ok(vec![]));
}

fn a_dropped_copy_is_gone_at_once_and_its_name_can_be_saved_again(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (entity, attempt) = (story.entity(), AttemptId::new(5));
    for round in 0..3 {
        let save = story.save_copy(5, Epoch::FIRST, Story::head(10 + round));
        story.done(&save);
        let found = story.journal(attempt, Position::new(10 + round));
        assert_eq!(found, [], "turns of the copy before");
        let write = append_copy(&story, 5, 10 + round, 700);
        story.done(&write);
        let expected = story.turns(Epoch::FIRST, Story::head(10 + round), 700);
        // Slices of the copies before go between; a crash too.
        let tidied = story.harness.engine().tidy();
        assert!(tidied.is_ok(), "{tidied:?}");
        story.harness.reopen();
        assert_eq!(story.journal(attempt, Position::new(10 + round)), expected);
        story.done(&Write::DropCopy { entity, attempt });
        let gone = story.harness.engine().turns(&entity, attempt, Position::new(12), 1, 1);
        assert_eq!(gone, Err(StoreError::NoCopy));
        assert_eq!(story.record().waiting, []);
        assert_eq!(story.harness.engine().entities(), Ok(vec![]));
    }
    let birth = story.birth();
    story.done(&birth);
    let record = story.record();
    while story.harness.engine().tidy().expect("an engine in order can be tidied") {
        story.harness.reopen();
        assert_eq!(story.record(), record);
    }
    assert_eq!(story.record(), record);
}

fn a_copy_of_the_same_attempt_is_replaced(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let save = story.save_copy(5, Epoch::FIRST, Story::head(10));
    story.done(&save);
    let write = append_copy(&story, 5, 10, 4);
    story.done(&write);
    let save = story.save_copy(6, Epoch::FIRST, Story::head(11));
    story.done(&save);
    let save = story.save_copy(5, Epoch::FIRST, Story::head(12));
    story.done(&save);
    let waiting = story.record().waiting;
    let heads: Vec<_> = waiting.iter().map(|copy| copy.head().position.get()).collect();
    assert_eq!(heads, [12, 11]);
    assert_eq!(story.journal(AttemptId::new(5), Position::new(12)), []);
}

fn a_copy_for_an_epoch_that_is_over_is_refused(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let birth = story.foreign_birth();
    let deed = story.deed(&birth, false, 4, Story::head(2));
    story.done(&Write::Learn { deeds: vec![birth, deed] });
    let old = story.save_copy(5, Epoch::FIRST, Story::head(2));
    story.refused(&old, WriteRefusal::DeedKnown);
    let present = story.save_copy(5, Epoch::new(2), Story::head(2));
    story.done(&present);
}

fn turns_for_no_copy_are_refused(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let write = append_copy(&story, 5, 10, 4);
    story.refused(&write, WriteRefusal::NoCopy);
}

fn one_live_copy_stands_apart_from_those_that_wait(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (_, head) = story.started(3);
    let (entity, attempt, after) = (story.entity(), BIRTH, head.position);
    let turns = story.turns(Epoch::FIRST, head, 1);
    let write = Write::AppendCopy { entity, attempt, after, turns };
    story.refused(&write, WriteRefusal::NoCopy);
    let save = story.save_copy(BIRTH.get(), Epoch::FIRST, head);
    story.refused(&save, WriteRefusal::AttemptKnown);
    let before = story.record();
    story.done(&Write::DropCopy { entity, attempt });
    assert_eq!(story.record(), before);
}

/// A foreign birth, a copy of attempt 5 that waits at 14, and the deed that makes it live.
fn arriving(story: &mut Story<'_>) -> (SignedDeed, SignedDeed) {
    let birth = story.foreign_birth();
    let save = story.save_copy(5, Epoch::FIRST, Story::head(10));
    story.done(&save);
    let write = append_copy(story, 5, 10, 4);
    story.done(&write);
    let head = story.record().waiting[0].head();
    let deed = story.deed(&birth, true, 5, head);
    (birth, deed)
}

fn a_copy_goes_live_by_its_deed(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (birth, deed) = arriving(&mut story);
    let other = story.save_copy(6, Epoch::FIRST, Story::head(2));
    story.done(&other);
    story.done(&Write::Accept { deeds: vec![birth.clone(), deed.clone()] });
    story.harness.reopen();
    let record = story.record();
    assert_eq!(record.deeds, [birth, deed.clone()]);
    assert_eq!(record.waiting.len(), 1, "other copies are for the caller to throw away");
    let copy = story.owned();
    assert_eq!((copy.attempt.get(), copy.head()), (5, deed.deed.head));
    let epoch = Epoch::new(2);
    let head = copy.head().through_deed(&deed.digest());
    let (append, _) = story.append(epoch, head, 2);
    story.done(&append);
    assert_eq!(story.journal(copy.attempt, Position::new(10)).len(), 6);
    let (zombie, _) = story.append(Epoch::FIRST, head, 2);
    story.refused(&zombie, WriteRefusal::NotOwner);
}

fn acceptance_without_a_copy_is_refused(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (birth, deed) = arriving(&mut story);
    let head = deed.deed.head;
    let other = story.deed(&birth, true, 6, head);
    story.refused(&Write::Accept { deeds: vec![birth.clone(), other] }, WriteRefusal::NoCopy);
    let entity = story.entity();
    story.done(&Write::DropCopy { entity, attempt: AttemptId::new(5) });
    story.refused(&Write::Accept { deeds: vec![birth, deed] }, WriteRefusal::NoCopy);
}

fn acceptance_at_another_head_is_refused(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (birth, _) = arriving(&mut story);
    let refusal = WriteRefusal::Position { last: Position::new(14) };
    for wrong in [Story::head(13), Story::head(15)] {
        let deed = story.deed(&birth, true, 5, wrong);
        story.refused(&Write::Accept { deeds: vec![birth.clone(), deed] }, refusal);
    }
}

fn acceptance_for_another_store_is_refused(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (birth, deed) = arriving(&mut story);
    let elsewhere = story.deed(&birth, false, 5, deed.deed.head);
    story.refused(&Write::Accept { deeds: vec![birth, elsewhere] }, WriteRefusal::NotOwner);
}

fn a_copy_offered_in_another_epoch_does_not_go_live(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let birth = story.foreign_birth();
    let save = story.save_copy(5, Epoch::new(2), Story::head(10));
    story.done(&save);
    let deed = story.deed(&birth, true, 5, Story::head(10));
    story.refused(&Write::Accept { deeds: vec![birth, deed] }, WriteRefusal::NoCopy);
}

fn acceptance_happens_once(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (birth, deed) = arriving(&mut story);
    story.done(&Write::Learn { deeds: vec![birth.clone()] });
    let accept = Write::Accept { deeds: vec![deed.clone()] };
    story.done(&accept);
    story.refused(&accept, WriteRefusal::DeedKnown);
    story.refused(&Write::Accept { deeds: vec![birth, deed] }, WriteRefusal::DeedKnown);
}

fn acceptance_with_a_gap_is_refused(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (birth, deed) = arriving(&mut story);
    story.refused(&Write::Accept { deeds: vec![deed] }, WriteRefusal::DeedGap);
    let missing = story.deed(&birth, false, 4, Story::head(10));
    let save = story.save_copy(7, Epoch::new(2), Story::head(10));
    story.done(&save);
    let last = story.deed(&missing, true, 7, Story::head(10));
    story.refused(&Write::Accept { deeds: vec![birth, last] }, WriteRefusal::DeedGap);
    let answers = story.harness.engine().commit(&[Write::Accept { deeds: vec![] }]);
    assert_eq!(answers, [Err(WriteError::Refused(WriteRefusal::DeedGap))]);
}

fn deeds_are_learnt_once_and_with_no_gap(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let birth = story.foreign_birth();
    let second = story.deed(&birth, false, 4, Story::head(1));
    let third = story.deed(&second, false, 5, Story::head(2));
    story.refused(&Write::Learn { deeds: vec![second.clone()] }, WriteRefusal::DeedGap);
    story.done(&Write::Learn { deeds: vec![birth.clone()] });
    story.refused(&Write::Learn { deeds: vec![third.clone()] }, WriteRefusal::DeedGap);
    let gap = vec![birth.clone(), third.clone()];
    story.refused(&Write::Learn { deeds: gap }, WriteRefusal::DeedGap);
    let all = vec![birth, second, third];
    story.done(&Write::Learn { deeds: all.clone() });
    story.done(&Write::Learn { deeds: all.clone() });
    story.done(&Write::Learn { deeds: vec![] });
    story.harness.reopen();
    assert_eq!(story.record().deeds, all);
    assert_eq!(story.record().holding, Holding::Nothing);
}

fn an_epoch_has_one_deed_and_a_second_is_refused(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let birth = story.foreign_birth();
    let second = story.deed(&birth, false, 4, Story::head(1));
    let other = story.deed(&birth, false, 5, Story::head(1));
    let after = story.deed(&other, false, 6, Story::head(1));
    story.done(&Write::Learn { deeds: vec![birth.clone(), second.clone()] });
    let forked = vec![other.clone(), after.clone()];
    story.refused(&Write::Learn { deeds: forked }, WriteRefusal::DeedKnown);
    story.refused(&Write::Learn { deeds: vec![after] }, WriteRefusal::DeedGap);
    let own = story.birth_deed();
    story.refused(&Write::Learn { deeds: vec![own] }, WriteRefusal::DeedKnown);
    assert_eq!(story.record().deeds, [birth, second]);
}

/// The deed by which the source takes back what `given` gave away.
fn taking_back(story: &mut Story<'_>, given: &SignedDeed) -> SignedDeed {
    let head = given.deed.head.through_deed(&given.digest());
    story.reclaim(given, head)
}

fn what_was_handed_over_is_taken_back_from_its_frozen_copy(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (_, deed, head) = story.gone(5);
    let back = taking_back(&mut story, &deed);
    story.done(&Write::Reclaim { deed: back.clone() });
    story.harness.reopen();
    let record = story.record();
    assert_eq!(record.deeds.last(), Some(&back));
    assert_eq!(story.owned().head().position, head.position);
    story.refused(&Write::Reclaim { deed: back.clone() }, WriteRefusal::DeedKnown);
    // An acknowledgement of what was taken back comes too late.
    let late = drop_state(&story, &deed);
    story.refused(&late, WriteRefusal::NotOwner);
    let (append, _) = story.append(back.deed.epoch, head, 1);
    story.done(&append);
}

fn what_was_acknowledged_or_never_given_is_not_taken_back(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (birth, deed, _) = story.gone(5);
    let back = taking_back(&mut story, &deed);
    let elsewhere = story.reclaim(&deed, Story::head(9));
    story.refused(&Write::Reclaim { deed: elsewhere }, WriteRefusal::NotOwner);
    let skipping = taking_back(&mut story, &birth);
    story.refused(&Write::Reclaim { deed: skipping }, WriteRefusal::DeedKnown);
    let write = drop_state(&story, &deed);
    story.done(&write);
    story.refused(&Write::Reclaim { deed: back }, WriteRefusal::NotOwner);
}

fn an_owner_that_learns_of_its_hand_over_is_fenced(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (birth, head) = story.started(3);
    let deed = story.deed(&birth, false, 5, Story::head(9));
    let write = begin(&story, Epoch::FIRST, 8);
    story.done(&write);
    story.done(&Write::Learn { deeds: vec![deed.clone()] });
    story.harness.reopen();
    let (append, _) = story.append(Epoch::FIRST, head, 1);
    story.refused(&append, WriteRefusal::NotOwner);
    let record = story.record();
    assert!(matches!(record.holding, Holding::HandedOver(_)));
    assert_eq!(record.attempts, []);
    let write = drop_state(&story, &deed);
    story.done(&write);
    assert_eq!(story.record().holding, Holding::Nothing);
}

fn a_deed_for_a_waiting_copy_is_accepted_not_learnt(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (birth, deed) = arriving(&mut story);
    let deeds = vec![birth, deed];
    story.refused(&Write::Learn { deeds: deeds.clone() }, WriteRefusal::Known);
    story.done(&Write::Accept { deeds });
}

fn a_daemon_comes_home_while_its_old_copy_waits(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (birth, away, head) = story.gone(5);
    let epoch = Epoch::new(2);
    let stood = head.through_deed(&away.digest());
    let save = story.save_copy(6, epoch, stood);
    story.done(&save);
    let turns = story.turns(epoch, stood, 2);
    let after = stood.position;
    let (entity, attempt) = (story.entity(), AttemptId::new(6));
    story.done(&Write::AppendCopy { entity, attempt, after, turns });
    let head = story.record().waiting[0].head();
    let back = story.deed(&away, true, 6, head);
    story.done(&Write::Accept { deeds: vec![back.clone()] });
    story.harness.reopen();
    assert_eq!(story.record().deeds, [birth, away.clone(), back]);
    assert_eq!((story.owned().attempt, story.owned().head()), (attempt, head));
    assert_eq!(story.record().waiting, []);
    // Everything of the first move, once more.
    let late = drop_state(&story, &away);
    story.refused(&late, WriteRefusal::NotOwner);
    let again = Write::HandOver { deed: away.clone() };
    story.refused(&again, WriteRefusal::DeedKnown);
    story.done(&Write::Learn { deeds: vec![away] });
    assert_eq!(story.owned().head(), head);
}

fn a_daemon_that_took_nothing_in_moves_on(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (_, deed) = arriving(&mut story);
    let birth = story.foreign_birth();
    story.done(&Write::Accept { deeds: vec![birth, deed.clone()] });
    let stood = deed.deed.head.through_deed(&deed.digest());
    let next = story.deed(&deed, false, 7, stood);
    story.done(&Write::HandOver { deed: next });
}

fn a_lost_answer_to_a_hand_over_is_settled_by_reading_the_record(harness: &mut dyn Harness) {
    for done in [true, false] {
        for crash in [true, false] {
            let seed = 60 + u8::from(done) * 2 + u8::from(crash);
            let mut base = Story::new(harness);
            let mut story = base.of_another(seed);
            let (birth, head) = story.started(2);
            let deed = story.deed(&birth, false, 5, head);
            let write = Write::HandOver { deed: deed.clone() };
            if !story.harness.lose_answer(done) {
                return;
            }
            let answer = story.commit(&write);
            assert!(matches!(answer, Err(WriteError::Unknown(_))), "{answer:?}");
            if crash {
                story.harness.reopen();
            }
            let record = story.record();
            assert_eq!(record.deeds.contains(&deed), done);
            assert_eq!(matches!(record.holding, Holding::HandedOver(_)), done);
            let (append, _) = story.append(Epoch::FIRST, head, 1);
            if done {
                story.refused(&append, WriteRefusal::NotOwner);
            } else {
                story.done(&append);
            }
        }
    }
}
