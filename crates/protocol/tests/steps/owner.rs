//! The owner: what it answers when, what it publishes, how it starts again.

use std::time::Duration;

use whimbrel_protocol::{DeliverError, Event, Input, Output, Settings, Standing, Warning};
use whimbrel_wire::{AttemptId, InputOrigin, Position, Write};

use crate::counter::FRIEND;
use crate::stage::{A, B, Course, Fate, Item, Seen, Stage};

fn is_append(item: &Item) -> bool {
    matches!(item.write(), Some(Write::Append { .. }))
}

fn posts(stage: &Stage) -> Vec<u64> {
    let posts = stage.seen.iter().filter_map(|seen| match seen {
        Seen { output: Output::Post { to, number, .. }, .. } if *to == FRIEND => Some(*number),
        _ => None,
    });
    posts.collect()
}

#[test]
fn acked_after_durable_and_posted_after_it_too() {
    let mut stage = Stage::born(2);
    stage.hold(is_append);
    let tickets = ["a", "write"].map(|payload| stage.deliver(A, payload));
    let made = stage.nodes[A].copies[&AttemptId::new(1)].head.position;
    assert_eq!(made, Position::new(2), "both turns are made");
    stage.pass(Duration::from_secs(60));
    assert_eq!(tickets.map(|ticket| stage.delivered(ticket)), [vec![], vec![]]);
    assert_eq!(posts(&stage), []);
    stage.release();
    let said = ["97", "652"].map(|sum| vec![Ok(sum.to_owned())]);
    assert_eq!(tickets.map(|ticket| stage.delivered(ticket)), said);
    assert_eq!(posts(&stage), [1]);
}

/// Whom it writes to may be stopped as well: what waits behind a full outbox is refused, and not waited for.
#[test]
fn a_daemon_whose_outbox_is_full_can_be_stopped() {
    let mut stage = Stage::with(2, Settings { outbox_max: 1, ..Settings::default() });
    stage.spawn(A);
    let written = stage.deliver(A, "write");
    let waiting = stage.deliver(A, "a");
    stage.pass(Duration::from_secs(60));
    assert_eq!(stage.delivered(written).len(), 1);
    assert_eq!(stage.delivered(waiting), [], "its friend has acknowledged nothing");
    let ticket = stage.ticket();
    stage.feed(A, Input::Stop { ticket });
    stage.run();
    assert_eq!(stage.delivered(waiting), [Err(DeliverError::Stopped)]);
    assert_eq!(stage.standing(A), Standing::Stopped);
}

/// Its own turn was not saved and never will be: it is made again on what the disk has.
#[test]
fn an_event_whose_turn_runs_when_a_save_fails_is_answered_once() {
    for fate in [Fate::Failed, Fate::UnknownDone, Fate::UnknownLost] {
        let mut stage = Stage::born(2);
        stage.hold(|item| {
            let turned = matches!(item, Item::Report { input: Input::Turned { .. }, .. });
            turned || is_append(item)
        });
        let first = stage.deliver(A, "a");
        let turned = stage.take_held();
        turned.into_iter().for_each(|item| stage.put(item));
        let second = stage.deliver(A, "b");
        let held = stage.take_held();
        assert_eq!(held.len(), 2, "one is being saved, the other is being made");
        stage.fates(move |_, _| fate);
        held.into_iter().filter(is_append).for_each(|item| stage.put(item));
        assert_eq!(stage.delivered(first).len(), 1, "{fate:?}");
        assert_eq!(stage.delivered(second), [], "{fate:?}");
        stage.fates(|_, _| Fate::Good);
        stage.release();
        stage.pass(Duration::from_secs(10));
        let taken = if fate == Fate::UnknownDone { 97 } else { 0 };
        assert_eq!(stage.delivered(second), [Ok((98 + taken).to_string())], "{fate:?}");
    }
}

#[test]
fn acked_after_durable_and_never_when_the_save_failed() {
    let unknown: Result<String, _> = Err(DeliverError::OutcomeUnknown);
    for (fate, taken) in [(Fate::Failed, 0), (Fate::UnknownLost, 0), (Fate::UnknownDone, 1)] {
        let mut stage = Stage::born(2);
        stage.fates(move |_, write| match write {
            Write::Append { .. } => fate,
            _ => Fate::Good,
        });
        let ticket = stage.deliver(A, "a");
        let answers = stage.delivered(ticket);
        if fate == Fate::Failed {
            assert!(matches!(answers[..], [Err(DeliverError::Store(_))]), "{answers:?}");
        } else {
            assert_eq!(answers, std::slice::from_ref(&unknown));
        }
        stage.fates(|_, _| Fate::Good);
        stage.pass(Duration::from_secs(10));
        assert_eq!(stage.standing(A), Standing::Live);
        assert_eq!(stage.taken(A).len(), taken, "{fate:?}");
        let sum = stage.deliver(A, "b");
        let expected = 98 + 97 * taken;
        assert_eq!(stage.delivered(sum), [Ok(expected.to_string())], "as the disk has it");
    }
}

/// The saves of two groups are reported one by one; each frees its own turns only.
#[test]
fn durable_before_shipped_and_answered_group_by_group() {
    let mut stage = Stage::born(2);
    stage.hold(|item| matches!(item, Item::Report { input: Input::Saved { .. }, .. }));
    let first = stage.deliver(A, "a");
    let second = stage.deliver(A, "b");
    assert_eq!(stage.taken(A), ["a"], "one group at a time");
    let [report] = &stage.take_held()[..] else { panic!("one save") };
    stage.put(report.clone());
    assert_eq!(stage.taken(A), ["a", "b"], "both are on the disk, one is confirmed");
    assert_eq!(stage.delivered(first), [Ok("97".to_owned())]);
    assert_eq!(stage.delivered(second), []);
    stage.release();
    assert_eq!(stage.delivered(second), [Ok("195".to_owned())]);
}

#[test]
fn published_within_journal_though_the_snapshot_is_ready_before() {
    let mut stage = Stage::born(2);
    stage.deliver(A, "a");
    stage.hold(is_append);
    stage.deliver(A, "b");
    let ticket = stage.ticket();
    stage.feed(A, Input::Snapshot { ticket });
    let published = |stage: &Stage| {
        let asked = stage.asked(A).into_iter();
        let publishes = asked.filter_map(|write| match write {
            Write::Publish { manifest, .. } => Some(manifest.head.position.get()),
            _ => None,
        });
        publishes.collect::<Vec<_>>()
    };
    let captured = stage.seen.iter().any(|seen| {
        matches!(seen, Seen { output: Output::Capture(capture), .. }
            if capture.head.position == Position::new(2))
    });
    assert!(captured, "the snapshot is of the second turn");
    assert_eq!(published(&stage), [], "which is not durable");
    stage.release();
    assert_eq!(published(&stage), [2]);
    let compacted = stage.asked(A).into_iter().any(
        |write| matches!(write, Write::Compact { through, .. } if through == Position::new(2)),
    );
    assert!(compacted);
}

#[test]
fn replay_matches_when_a_node_starts_again() {
    let mut stage = Stage::born(2);
    for payload in ["a", "write", "b"] {
        stage.deliver(A, payload);
    }
    let before = stage.nodes[A].seat.status();
    let ledger = stage.nodes[A].seat.ledger().cloned();
    stage.restart(A);
    stage.pass(Duration::from_secs(2));
    assert_eq!(stage.nodes[A].seat.status(), before);
    assert_eq!(stage.nodes[A].seat.ledger().cloned(), ledger);
    let next = stage.deliver(A, "c");
    assert_eq!(stage.delivered(next), [Ok("849".to_owned())]);
}

#[test]
fn replay_matches_or_the_owner_does_not_run() {
    let mut stage = Stage::born(2);
    stage.deliver(A, "a");
    stage.nodes[A].drift = 1;
    stage.restart(A);
    stage.forget();
    stage.pass(Duration::from_secs(2));
    assert!(matches!(stage.standing(A), Standing::Parked(_)), "{:?}", stage.standing(A));
    let live = stage.events(A).into_iter().any(|event| matches!(event, Event::Live { .. }));
    assert!(!live);
    assert_eq!(stage.warnings(A)[0], Warning::Diverged { copy: AttemptId::new(1) });
    let refused = stage.deliver(A, "b");
    assert!(matches!(stage.delivered(refused)[..], [Err(DeliverError::NotRunnable(_))]));
}

#[test]
fn an_event_on_which_the_daemon_panics_counts_and_is_never_seen_again() {
    let mut stage = Stage::born(2);
    let good = stage.deliver(A, "a");
    let bad = stage.deliver(A, "panic");
    stage.pass(Duration::from_secs(5));
    assert_eq!(stage.delivered(good), [Ok("97".to_owned())]);
    assert_eq!(stage.delivered(bad), [Ok(String::new())]);
    let origins: Vec<bool> = stage
        .journal(A)
        .into_iter()
        .map(|turn| matches!(turn.stamp.origin, InputOrigin::Poisoned { .. }))
        .collect();
    assert_eq!(origins, [false, true]);
    stage.restart(A);
    stage.pass(Duration::from_secs(2));
    let after = stage.deliver(A, "b");
    assert_eq!(stage.delivered(after), [Ok("195".to_owned())]);
}

#[test]
fn a_birth_whose_save_failed_is_no_birth() {
    for (fate, standing) in
        [(Fate::Failed, Standing::Stranger), (Fate::UnknownDone, Standing::Live)]
    {
        let mut stage = Stage::new(2);
        stage.fates(move |_, _| fate);
        stage.rule(|_| Course::Do);
        stage.spawn(A);
        stage.fates(|_, _| Fate::Good);
        stage.pass(Duration::from_secs(5));
        assert_eq!(stage.standing(A), standing, "{fate:?}");
        let spawned = stage.seen.iter().filter_map(|seen| match seen {
            Seen { output: Output::Spawned { result, .. }, .. } => Some(result.is_ok()),
            _ => None,
        });
        assert_eq!(spawned.collect::<Vec<_>>(), [false]);
        assert_eq!(stage.standing(B), Standing::Stranger);
    }
}

/// A snapshot is under way when the turns that it saw are taken back, and others take their place.
#[test]
fn of_this_past_is_every_snapshot_that_is_published() {
    let is_capture =
        |item: &Item| matches!(item, Item::Report { input: Input::Captured { .. }, .. });
    let mut stage = Stage::born(2);
    stage.deliver(A, "a");
    stage.hold(move |item| is_capture(item) || is_append(item));
    stage.deliver(A, "b");
    let ticket = stage.ticket();
    stage.feed(A, Input::Snapshot { ticket });
    let mut held = stage.take_held();
    let place = held.iter().position(is_capture).unwrap();
    let late = held.remove(place);
    stage.fates(|_, write| match write {
        Write::Append { .. } => Fate::Failed,
        _ => Fate::Good,
    });
    stage.hold(is_capture);
    held.into_iter().for_each(|item| stage.put(item));
    stage.fates(|_, _| Fate::Good);
    stage.pass(Duration::from_secs(5));
    stage.deliver(A, "c");
    assert_eq!(stage.taken(A), ["a", "c"], "as many turns as the snapshot has seen");
    let heads: Vec<_> = stage.journal(A).into_iter().map(|turn| turn.stamp.head).collect();
    // Somebody waits for a snapshot when the late one is reported.
    let ticket = stage.ticket();
    stage.feed(A, Input::Snapshot { ticket });
    stage.put(late);
    stage.release();
    let published = stage.asked(A).into_iter().filter_map(|write| match write {
        Write::Publish { manifest, .. } => Some(manifest.head),
        _ => None,
    });
    let published: Vec<_> = published.collect();
    assert_eq!(published, heads[1..], "the one that was asked for last, and no other");
}
