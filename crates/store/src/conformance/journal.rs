//! Checks about births, appends, snapshots, keys, and what is left after a crash.

use whimbrel_wire::{
    CopyRecord, EntityId, Epoch, Head, Holding, Position, SeatRecord, Turn, Write, WriteError,
    WriteRefusal,
};

use super::Harness;
use super::checks;
use super::story::{BIRTH, Story};
use crate::error::StoreError;

checks![
    nothing_is_known_of_a_stranger,
    a_daemon_is_born_once,
    a_birth_for_another_store_is_refused,
    a_birth_is_at_the_first_position,
    turns_come_back_in_order_after_a_crash,
    an_append_in_another_epoch_is_refused,
    an_append_at_another_position_is_refused,
    an_append_with_a_gap_is_refused,
    turns_stamped_with_another_epoch_are_refused,
    an_append_for_a_stranger_is_refused,
    an_append_of_nothing_changes_nothing,
    turns_are_read_in_portions,
    a_large_batch_comes_back_whole,
    a_snapshot_replaces_the_base,
    a_snapshot_beyond_the_journal_is_refused,
    a_snapshot_does_not_go_back,
    nothing_is_forgotten_beyond_the_base,
    a_daemon_resumes_from_snapshot_and_rest_of_the_journal,
    what_is_compacted_is_out_of_sight_at_once_and_tidying_changes_nothing,
    a_tombstone_is_kept_for_ever_where_a_daemon_was_deleted,
    writes_are_conditional_and_a_refused_one_disturbs_no_other,
    a_write_sees_those_before_it_in_its_group,
    daemons_do_not_see_each_other,
    a_lost_answer_is_settled_by_reading_the_record,
    a_key_is_kept_replaced_and_wiped,
    notes_survive_a_crash,
];

fn nothing_is_known_of_a_stranger(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    assert_eq!(story.record(), SeatRecord::default());
    assert_eq!(story.harness.engine().entities(), Ok(vec![]));
    let entity = story.entity();
    let turns = story.harness.engine().turns(&entity, BIRTH, Position::FIRST, 1, 1);
    assert_eq!(turns, Err(StoreError::NoCopy));
}

fn a_daemon_is_born_once(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let birth = story.birth();
    story.done(&birth);
    story.refused(&birth, WriteRefusal::Known);
    story.harness.reopen();
    story.refused(&birth, WriteRefusal::Known);
    let deed = story.birth_deed();
    let manifest = story.manifest(Epoch::FIRST, story.newborn(&deed));
    let copy = CopyRecord { attempt: BIRTH, epoch: Epoch::FIRST, manifest, last: None };
    let record = SeatRecord {
        deeds: vec![deed],
        holding: Holding::Owned(copy),
        attempts: vec![],
        waiting: vec![],
    };
    assert_eq!(story.record(), record);
    let entity = story.entity();
    assert_eq!(story.harness.engine().entities(), Ok(vec![entity]));
}

fn a_birth_for_another_store_is_refused(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let deed = story.foreign_birth();
    let manifest = story.manifest(Epoch::FIRST, story.newborn(&deed));
    story.refused(&Write::Birth { deed, manifest }, WriteRefusal::NotOwner);
}

fn a_birth_is_at_the_first_position(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let deed = story.birth_deed();
    let manifest = story.manifest(Epoch::FIRST, Story::head(4));
    let refusal = WriteRefusal::Position { last: Position::FIRST };
    story.refused(&Write::Birth { deed, manifest }, refusal);
}

fn turns_come_back_in_order_after_a_crash(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (_, mut head) = story.started(0);
    let mut expected = Vec::new();
    for count in [1, 3, 5] {
        expected.extend(story.turns(Epoch::FIRST, head, count));
        let (append, next) = story.append(Epoch::FIRST, head, count);
        story.done(&append);
        head = next;
    }
    for _ in 0..2 {
        let found = story.journal(BIRTH, Position::FIRST);
        assert_eq!(found, expected);
        assert_eq!(story.owned().last, Some(head));
        assert_eq!(story.journal(BIRTH, Position::new(7)), found[7..]);
        assert_eq!(story.journal(BIRTH, Position::new(9)), []);
        story.harness.reopen();
    }
}

fn positions(turns: &[Turn]) -> Vec<u64> {
    turns.iter().map(|turn| turn.position().get()).collect()
}

fn an_append_in_another_epoch_is_refused(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (_, head) = story.started(2);
    let (append, _) = story.append(Epoch::new(2), head, 1);
    story.refused(&append, WriteRefusal::NotOwner);
}

fn an_append_at_another_position_is_refused(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (deed, head) = story.started(2);
    let refusal = WriteRefusal::Position { last: head.position };
    let (again, _) = story.append(Epoch::FIRST, story.newborn(&deed), 1);
    story.refused(&again, refusal);
    let (ahead, _) = story.append(Epoch::FIRST, Story::head(3), 1);
    story.refused(&ahead, refusal);
}

fn an_append_with_a_gap_is_refused(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (_, head) = story.started(2);
    let mut turns = story.turns(Epoch::FIRST, head, 3);
    turns.remove(1);
    let (entity, epoch, after) = (story.entity(), Epoch::FIRST, head.position);
    let append = Write::Append { entity, epoch, after, turns };
    story.refused(&append, WriteRefusal::Position { last: head.position });
}

fn turns_stamped_with_another_epoch_are_refused(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (_, head) = story.started(2);
    let turns = story.turns(Epoch::new(2), head, 1);
    let (entity, epoch, after) = (story.entity(), Epoch::FIRST, head.position);
    story.refused(&Write::Append { entity, epoch, after, turns }, WriteRefusal::NotOwner);
}

fn an_append_for_a_stranger_is_refused(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (append, _) = story.append(Epoch::FIRST, Story::head(0), 1);
    story.refused(&append, WriteRefusal::NotOwner);
}

fn an_append_of_nothing_changes_nothing(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (_, head) = story.started(2);
    let before = story.record();
    let (append, _) = story.append(Epoch::FIRST, head, 0);
    story.done(&append);
    assert_eq!(story.record(), before);
}

fn turns_are_read_in_portions(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    story.started(20);
    let all = story.journal(BIRTH, Position::FIRST);
    let entity = story.entity();
    let engine = story.harness.engine();
    let mut read = |count, bytes| engine.turns(&entity, BIRTH, Position::new(5), count, bytes);
    assert_eq!(read(4, usize::MAX).as_deref(), Ok(&all[5..9]));
    assert_eq!(read(100, 1).as_deref(), Ok(&all[5..6]), "at least one turn");
    let two = all[5].event.payload.len() + all[6].event.payload.len();
    assert_eq!(read(100, two).as_deref(), Ok(&all[5..7]));
    assert_eq!(read(0, usize::MAX).as_deref(), Ok(&[][..]));
}

fn a_large_batch_comes_back_whole(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (_, head) = story.started(1);
    let (append, last) = story.append(Epoch::FIRST, head, 2_000);
    story.done(&append);
    story.harness.reopen();
    assert_eq!(story.owned().last, Some(last));
    let found = story.journal(BIRTH, Position::new(1));
    assert_eq!(positions(&found), (2..=2_001).collect::<Vec<_>>());
    assert_eq!(story.journal(BIRTH, Position::new(777)), found[776..]);
}

fn publish(story: &Story<'_>, head: Head) -> Write {
    let manifest = story.manifest(Epoch::FIRST, head);
    Write::Publish { entity: story.entity(), epoch: Epoch::FIRST, manifest }
}

fn a_snapshot_replaces_the_base(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (_, middle) = story.started(5);
    let (append, head) = story.append(Epoch::FIRST, middle, 3);
    story.done(&append);
    let write = publish(&story, middle);
    story.done(&write);
    assert_eq!(story.owned().manifest.head, middle);
    assert_eq!(story.owned().last, Some(head), "turns after the base are kept");
    let write = publish(&story, head);
    story.done(&write);
    story.harness.reopen();
    let copy = story.owned();
    assert_eq!((copy.manifest.head, copy.last), (head, None), "nothing lies after the base");
    let (append, _) = story.append(Epoch::FIRST, head, 1);
    story.done(&append);
}

fn a_snapshot_beyond_the_journal_is_refused(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (_, head) = story.started(5);
    let refusal = WriteRefusal::Position { last: head.position };
    let write = publish(&story, Story::head(6));
    story.refused(&write, refusal);
    let manifest = story.manifest(Epoch::FIRST, head);
    let (entity, epoch) = (story.entity(), Epoch::new(2));
    story.refused(&Write::Publish { entity, epoch, manifest }, WriteRefusal::NotOwner);
}

fn a_snapshot_does_not_go_back(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (_, head) = story.started(5);
    let write = publish(&story, head);
    story.done(&write);
    let write = publish(&story, Story::head(4));
    story.refused(&write, WriteRefusal::Position { last: head.position });
}

fn nothing_is_forgotten_beyond_the_base(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (_, middle) = story.started(5);
    let (append, _) = story.append(Epoch::FIRST, middle, 3);
    story.done(&append);
    let write = publish(&story, middle);
    story.done(&write);
    let (entity, epoch) = (story.entity(), Epoch::FIRST);
    let through = middle.position.next();
    let refusal = WriteRefusal::Position { last: middle.position };
    story.refused(&Write::Compact { entity, epoch, through }, refusal);
    let through = middle.position;
    let other = Epoch::new(2);
    story.refused(&Write::Compact { entity, epoch: other, through }, WriteRefusal::NotOwner);
}

fn a_daemon_resumes_from_snapshot_and_rest_of_the_journal(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (_, middle) = story.started(5);
    let (append, head) = story.append(Epoch::FIRST, middle, 300);
    story.done(&append);
    let rest = story.journal(BIRTH, Position::new(105));
    let base = story.journal(BIRTH, Position::new(104))[0].stamp.head;
    let write = publish(&story, base);
    story.done(&write);
    let (entity, epoch) = (story.entity(), Epoch::FIRST);
    story.done(&Write::Compact { entity, epoch, through: base.position });
    for _ in 0..2 {
        let copy = story.owned();
        assert_eq!((copy.manifest.head, copy.last), (base, Some(head)));
        assert_eq!(story.journal(BIRTH, base.position), rest);
        let gone = story.harness.engine().turns(&entity, BIRTH, Position::new(104), 10, 10);
        assert_eq!(gone, Err(StoreError::Forgotten { through: base.position }));
        story.harness.reopen();
    }
    // Once more, and an older point again, are both fine.
    story.done(&Write::Compact { entity, epoch, through: base.position });
    story.done(&Write::Compact { entity, epoch, through: Position::new(3) });
    assert_eq!(story.journal(BIRTH, base.position), rest);
}

fn what_is_compacted_is_out_of_sight_at_once_and_tidying_changes_nothing(
    harness: &mut dyn Harness,
) {
    let mut story = Story::new(harness);
    let (_, mut head) = story.started(1);
    // Many small appends, in one commit: more rows than one slice of any engine takes.
    let mut appends = Vec::new();
    for _ in 0..1_200 {
        let (append, next) = story.append(Epoch::FIRST, head, 1);
        appends.push(append);
        head = next;
    }
    let answers = story.harness.engine().commit(&appends);
    assert!(answers.iter().all(Result::is_ok));
    let base = story.journal(BIRTH, Position::new(1_099))[0].stamp.head;
    let rest = story.journal(BIRTH, base.position);
    let write = publish(&story, base);
    story.done(&write);
    let (entity, epoch, through) = (story.entity(), Epoch::FIRST, base.position);
    story.done(&Write::Compact { entity, epoch, through });
    let record = story.record();
    let same = |story: &mut Story<'_>| {
        assert_eq!(story.record(), record);
        assert_eq!(story.journal(BIRTH, through), rest);
        for after in [0, 1, 600, 1_099].map(Position::new) {
            let gone = story.harness.engine().turns(&entity, BIRTH, after, 10, 10);
            assert_eq!(gone, Err(StoreError::Forgotten { through }));
        }
    };
    same(&mut story);
    let mut more = true;
    while more {
        more = story.harness.engine().tidy().expect("an engine in order can be tidied");
        same(&mut story);
        story.harness.reopen();
        same(&mut story);
    }
    assert_eq!(story.harness.engine().tidy(), Ok(false), "nothing is left");
    let (append, _) = story.append(epoch, head, 3);
    story.done(&append);
    story.done(&Write::Delete { entity, epoch });
    let record = story.record();
    while story.harness.engine().tidy().expect("an engine in order can be tidied") {
        story.harness.reopen();
        assert_eq!(story.record(), record);
    }
    assert_eq!(story.record(), record);
}

fn a_tombstone_is_kept_for_ever_where_a_daemon_was_deleted(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (deed, head) = story.started(3);
    let entity = story.entity();
    let other = Write::Delete { entity, epoch: Epoch::new(2) };
    story.refused(&other, WriteRefusal::NotOwner);
    story.done(&Write::Delete { entity, epoch: Epoch::FIRST });
    for _ in 0..2 {
        let record = story.record();
        assert_eq!(record.holding, Holding::Deleted);
        assert_eq!(record.deeds, std::slice::from_ref(&deed));
        let birth = story.birth();
        story.refused(&birth, WriteRefusal::Known);
        let (append, _) = story.append(Epoch::FIRST, head, 1);
        story.refused(&append, WriteRefusal::NotOwner);
        let copy = story.save_copy(9, Epoch::FIRST, head);
        story.refused(&copy, WriteRefusal::Known);
        let gone = story.harness.engine().turns(&entity, BIRTH, Position::FIRST, 1, 1);
        assert_eq!(gone, Err(StoreError::NoCopy));
        assert_eq!(story.harness.engine().entities(), Ok(vec![entity]));
        story.harness.reopen();
    }
}

fn writes_are_conditional_and_a_refused_one_disturbs_no_other(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (_, head) = story.started(2);
    let mut other = story.of_another(9);
    let birth = other.birth();
    let (other_entity, other_deed) = (other.entity(), other.birth_deed());
    let (first, next) = story.append(Epoch::FIRST, head, 2);
    let (zombie, _) = story.append(Epoch::new(7), next, 1);
    let (second, last) = story.append(Epoch::FIRST, next, 1);
    let answers = story.harness.engine().commit(&[first, zombie, birth, second]);
    let refused = Err(WriteError::Refused(WriteRefusal::NotOwner));
    assert_eq!(answers, [Ok(()), refused, Ok(()), Ok(())]);
    story.harness.reopen();
    assert_eq!(story.owned().last, Some(last));
    let record = story.harness.engine().record(&other_entity);
    assert_eq!(record.map(|record| record.deeds), Ok(vec![other_deed]));
}

fn a_write_sees_those_before_it_in_its_group(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    let (_, head) = story.started(2);
    let (first, next) = story.append(Epoch::FIRST, head, 1);
    let (second, last) = story.append(Epoch::FIRST, next, 1);
    let answers = story.harness.engine().commit(&[first.clone(), second.clone(), second, first]);
    let refused = Err(WriteError::Refused(WriteRefusal::Position { last: last.position }));
    assert_eq!(answers, [Ok(()), Ok(()), refused.clone(), refused]);
}

fn daemons_do_not_see_each_other(harness: &mut dyn Harness) {
    let mut story = Story::new(harness);
    story.started(2);
    let before = story.record();
    let entity = story.entity();
    let mut other = story.of_another(9);
    other.started(4);
    other.done(&Write::Delete { entity: other.entity(), epoch: Epoch::FIRST });
    let mut both = vec![entity, other.entity()];
    both.sort();
    assert_eq!(other.harness.engine().entities(), Ok(both));
    assert_eq!(story.record(), before);
}

fn a_lost_answer_is_settled_by_reading_the_record(harness: &mut dyn Harness) {
    for done in [true, false] {
        for crash in [true, false] {
            let seed = 50 + u8::from(done) * 2 + u8::from(crash);
            let mut base = Story::new(harness);
            let mut story = base.of_another(seed);
            let (_, head) = story.started(2);
            let (append, next) = story.append(Epoch::FIRST, head, 1);
            if !story.harness.lose_answer(done) {
                return;
            }
            let answer = story.commit(&append);
            assert!(matches!(answer, Err(WriteError::Unknown(_))), "{answer:?}");
            if crash {
                story.harness.reopen();
            }
            let expected = if done { next } else { head };
            assert_eq!(story.owned().last, Some(expected), "done: {done}, crash: {crash}");
            if done {
                let last = next.position;
                story.refused(&append, WriteRefusal::Position { last });
            } else {
                story.done(&append);
            }
            assert_eq!(story.owned().last, Some(next));
        }
    }
}

fn a_key_is_kept_replaced_and_wiped(harness: &mut dyn Harness) {
    let story = Story::new(harness);
    let (entity, other) = (story.entity(), EntityId::from_bytes([0; 32]));
    for sealed in [&b"sealed"[..], b"sealed again, and longer"] {
        assert_eq!(story.harness.engine().put_key(&entity, sealed), Ok(()));
        story.harness.reopen();
        let found = story.harness.engine().key(&entity).expect("a key can be read");
        assert_eq!(found.as_deref().map(Vec::as_slice), Some(sealed));
        assert_eq!(story.harness.engine().key(&other), Ok(None));
    }
    assert_eq!(story.harness.engine().drop_key(&entity), Ok(()));
    assert_eq!(story.harness.engine().drop_key(&entity), Ok(()), "an absent key is fine");
    story.harness.reopen();
    assert_eq!(story.harness.engine().key(&entity), Ok(None));
}

fn notes_survive_a_crash(harness: &mut dyn Harness) {
    let engine = harness.engine();
    assert_eq!(engine.note("mark"), Ok(None));
    assert_eq!(engine.set_note("mark", b"one"), Ok(()));
    assert_eq!(engine.set_note("mark", b"two"), Ok(()));
    harness.reopen();
    assert_eq!(harness.engine().note("mark"), Ok(Some(b"two".to_vec())));
}
