//! Senders and owners: what is kept, what is numbered, what is taken once.

use std::time::Duration;

use bytes::Bytes;
use whimbrel_protocol::{Input, MoveOptions, Output, Ticket};
use whimbrel_wire::{
    Answer, CausalEvent, ClientId, DeliveryMessage, EntityId, Epoch, Message, OriginHash, Refusal,
    Sender,
};

use crate::counter::FRIEND;
use crate::stage::{A, B, C, Course, Item, Seen, Stage};

const fn delivery(item: &Item) -> Option<&DeliveryMessage> {
    match item {
        Item::Message { message: Message::Delivery { message, .. }, .. } => Some(message),
        _ => None,
    }
}

fn is_delivered(item: &Item) -> bool {
    matches!(delivery(item), Some(DeliveryMessage::Delivered { .. }))
}

fn is_deliver(item: &Item) -> bool {
    matches!(delivery(item), Some(DeliveryMessage::Deliver { .. }))
}

/// What the owner answered to senders, in order.
fn replies(stage: &Stage) -> Vec<DeliveryMessage> {
    let replies = stage.seen.iter().filter_map(|seen| match seen {
        Seen {
            node: A,
            output: Output::Send { message: Message::Delivery { message, .. }, .. },
        } => Some(message.clone()),
        _ => None,
    });
    replies.collect()
}

/// An output of another daemon, as its owner on `B` would send it.
fn from_friend(number: u64, payload: &'static str) -> DeliveryMessage {
    let payload = Bytes::from_static(payload.as_bytes());
    let event = CausalEvent::unchained(OriginHash::new(1), number, payload);
    DeliveryMessage::Deliver {
        sender: Sender::Daemon(FRIEND),
        number,
        answered: 0,
        event,
        reply_to: whimbrel_wire::NodeKey::from_seed(&[2; 32]).node_id(),
        epoch: Epoch::FIRST,
    }
}

fn say(stage: &mut Stage, message: DeliveryMessage) {
    let entity = stage.entity();
    stage.put(Item::Message { from: B, to: A, message: Message::Delivery { entity, message } });
}

#[test]
fn kept_until_acked_however_often_the_answer_is_lost() {
    let mut stage = Stage::born(2);
    stage.lose(is_delivered);
    let ticket = stage.send(B, "a");
    stage.pass(Duration::from_secs(30));
    assert_eq!(stage.answered(ticket), []);
    assert_eq!(stage.taken(A), ["a"], "it was taken long ago, and once");
    stage.rule(|_| Course::Do);
    stage.pass(Duration::from_secs(3));
    assert_eq!(stage.answered(ticket), [Ok("97".to_owned())]);
    stage.forget();
    stage.pass(Duration::from_secs(60));
    let sent = stage.seen.iter().any(|seen| {
        matches!(
            seen,
            Seen { node: B, output: Output::Send { message: Message::Delivery { .. }, .. } }
        )
    });
    assert!(!sent, "what is acknowledged is sent no more");
}

#[test]
fn kept_until_acked_when_the_daemon_moves_meanwhile() {
    let mut stage = Stage::born(3);
    stage.send(C, "a");
    stage.lose(|item| is_deliver(item) || is_delivered(item));
    let ticket = stage.send(C, "b");
    stage.start_move(C, B, MoveOptions::default());
    assert_eq!(stage.ends(C), [Ok(stage.id(B))]);
    stage.rule(|_| Course::Do);
    stage.pass(Duration::from_secs(3));
    assert_eq!(stage.answered(ticket), [Ok("195".to_owned())]);
}

#[test]
fn kept_until_acked_and_an_output_of_a_daemon_too() {
    let mut stage = Stage::born(2);
    let posted = |stage: &Stage| {
        let posted = stage.seen.iter().filter_map(|seen| match seen {
            Seen { node: B, output: Output::Posted { from: FRIEND, number } } => Some(*number),
            _ => None,
        });
        posted.collect::<Vec<_>>()
    };
    stage.lose(is_delivered);
    for (number, payload) in [(1, "a"), (2, "b")] {
        let payload = Bytes::from_static(str::as_bytes(payload));
        let event = CausalEvent::unchained(OriginHash::new(1), number, payload);
        stage.feed(B, Input::Post { from: FRIEND, number, event });
    }
    stage.pass(Duration::from_secs(30));
    assert_eq!((posted(&stage), stage.taken(A)), (vec![], vec!["a".to_owned(), "b".to_owned()]));
    stage.rule(|_| Course::Do);
    stage.pass(Duration::from_secs(3));
    assert_eq!(posted(&stage).last(), Some(&2));
    assert_eq!(stage.taken(A), ["a", "b"]);
}

#[test]
fn order_per_sender_holds_when_the_network_turns_it_round() {
    let mut stage = Stage::born(2);
    stage.send(B, "0");
    stage.hold(is_deliver);
    let tickets = ["a", "b", "c", "d", "e"].map(|payload| stage.send(B, payload));
    let mut held = stage.take_held();
    assert_eq!(held.len(), 5);
    held.reverse();
    stage.rule(|_| Course::Do);
    held.into_iter().for_each(|item| stage.put(item));
    stage.pass(Duration::from_secs(3));
    assert_eq!(stage.taken(A), ["0", "a", "b", "c", "d", "e"]);
    assert!(tickets.iter().all(|ticket| stage.answered(*ticket).len() == 1));
}

#[test]
fn order_per_sender_is_the_order_of_numbers_from_one_on() {
    let mut stage = Stage::born(2);
    stage.send(B, "a");
    stage.send(B, "b");
    stage.send(B, "c");
    let numbers = stage.seen.iter().filter_map(|seen| match seen {
        Seen {
            node: B,
            output:
                Output::Send {
                    message:
                        Message::Delivery {
                            message: DeliveryMessage::Deliver { number, event, .. },
                            ..
                        },
                    ..
                },
        } => Some((*number, event.payload.clone())),
        _ => None,
    });
    let expected = [(1, "a"), (2, "b"), (3, "c")];
    let expected =
        expected.map(|(number, payload)| (number, Bytes::from_static(payload.as_bytes())));
    assert_eq!(numbers.collect::<Vec<_>>(), expected);
}

#[test]
fn nothing_twice_though_every_message_comes_twice() {
    let mut stage = Stage::born(2);
    stage.rule(|item| match item {
        Item::Message { .. } => Course::Twice,
        _ => Course::Do,
    });
    let tickets = ["a", "b"].map(|payload| stage.send(B, payload));
    stage.pass(Duration::from_secs(5));
    assert_eq!(stage.taken(A), ["a", "b"]);
    let answers = tickets.map(|ticket| stage.answered(ticket));
    assert_eq!(answers, ["97", "195"].map(|sum| vec![Ok(sum.to_owned())]));
}

#[test]
fn nothing_twice_and_a_repeat_gets_the_first_answer() {
    let mut stage = Stage::born(2);
    stage.rule(|item| if is_delivered(item) { Course::Lose } else { Course::Do });
    stage.send(B, "a");
    stage.pass(Duration::from_secs(1));
    let answers: Vec<Answer> = replies(&stage)
        .into_iter()
        .filter_map(|reply| match reply {
            DeliveryMessage::Delivered { answer, .. } => Some(answer),
            _ => None,
        })
        .collect();
    assert!(answers.len() > 1, "it was sent again");
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer.outputs.len() == 1));
    assert_eq!(stage.taken(A), ["a"]);
}

#[test]
fn nothing_twice_and_no_other_event_under_its_number() {
    let mut stage = Stage::born(2);
    say(&mut stage, from_friend(1, "a"));
    stage.forget();
    say(&mut stage, from_friend(1, "forged"));
    let sender = Sender::Daemon(FRIEND);
    let forked = DeliveryMessage::Refused { sender, number: 1, refusal: Refusal::Forked };
    assert_eq!(replies(&stage), [forked]);
    assert_eq!(stage.taken(A), ["a"]);
}

#[test]
fn contiguous_marks_let_no_number_be_passed_over() {
    let mut stage = Stage::born(2);
    let sender = Sender::Daemon(FRIEND);
    let expected = |stage: &mut Stage, number: u64, wanted: u64| {
        stage.forget();
        say(stage, from_friend(number, "early"));
        let refusal = Refusal::Expected(wanted);
        assert_eq!(replies(stage), [DeliveryMessage::Refused { sender, number, refusal }]);
    };
    expected(&mut stage, 2, 1);
    say(&mut stage, from_friend(1, "a"));
    expected(&mut stage, 3, 2);
    expected(&mut stage, u64::MAX, 2);
    say(&mut stage, from_friend(2, "b"));
    assert_eq!(stage.taken(A), ["a", "b"]);
    let ledger = stage.nodes[A].seat.ledger().unwrap();
    assert_eq!(ledger.sessions[&sender].mark, 2);
}

#[test]
fn contiguous_marks_need_a_session_that_was_granted() {
    let mut stage = Stage::born(2);
    let sender =
        Sender::Client { client: ClientId::new(9), session: whimbrel_wire::Position::new(1) };
    let DeliveryMessage::Deliver { number, answered, event, reply_to, epoch, .. } =
        from_friend(1, "a")
    else {
        panic!("it is one")
    };
    let message = DeliveryMessage::Deliver { sender, number, answered, event, reply_to, epoch };
    say(&mut stage, message);
    let refusal = Refusal::UnknownSession;
    assert_eq!(replies(&stage), [DeliveryMessage::Refused { sender, number, refusal }]);
    assert_eq!(stage.taken(A), Vec::<String>::new());
}

#[test]
fn events_that_are_held_at_the_cut_over_are_answered_by_the_new_owner() {
    let mut stage = Stage::born(3);
    stage.send(C, "a");
    stage.hold(|item| matches!(item.write(), Some(whimbrel_wire::Write::HandOver { .. })));
    stage.start_move(C, B, MoveOptions::default());
    let tickets: [Ticket; 3] = ["b", "c", "d"].map(|payload| stage.send(C, payload));
    assert!(tickets.iter().all(|ticket| stage.answered(*ticket).is_empty()));
    stage.forget();
    stage.release();
    let forwarded = replies(&stage);
    let forwarded = forwarded.iter().filter(|said| matches!(said, DeliveryMessage::Deliver { .. }));
    assert_eq!(forwarded.count(), 3, "the old owner sends them on");
    stage.pass(Duration::from_secs(3));
    let sums = tickets.map(|ticket| stage.answered(ticket));
    assert_eq!(sums, ["195", "294", "394"].map(|sum| vec![Ok(sum.to_owned())]));
}

#[test]
fn a_daemon_that_nobody_knows_is_said_to_be_unknown() {
    let mut stage = Stage::new(2);
    let ticket = stage.send(B, "a");
    stage.pass(Duration::from_secs(10));
    assert_eq!(stage.answered(ticket), [Err(whimbrel_protocol::SendError::NotFound)]);
    assert_eq!(stage.entity(), EntityId::from_bytes(*stage.entity().as_bytes()));
}

/// The events that `node` has sent to `to`.
fn sent_to(stage: &Stage, node: usize, to: usize) -> usize {
    let to = stage.id(to);
    let sent = stage.seen.iter().filter(|seen| {
        let Output::Send { to: whom, message: Message::Delivery { message, .. } } = &seen.output
        else {
            return false;
        };
        seen.node == node && *whom == to && matches!(message, DeliveryMessage::Deliver { .. })
    });
    sent.count()
}

/// The heir by the title says that it is none, as a node may whose disk was lost: it is asked
/// again, ever more seldom, instead of as fast as messages travel.
#[test]
fn an_owner_that_says_it_is_none_is_asked_again_ever_more_seldom() {
    let mut stage = Stage::born(3);
    let first = stage.send(C, "a");
    assert_eq!(stage.answered(first), [Ok("97".to_owned())]);
    // From here on the owner takes nothing and answers like a stranger.
    let disobeys = |item: &mut Item| {
        let Item::Message { from, to, message: Message::Delivery { message, .. } } = item else {
            return Course::Do;
        };
        let DeliveryMessage::Deliver { sender, number, .. } = message else { return Course::Do };
        let refusal = Refusal::NotHere;
        *message = DeliveryMessage::Refused { sender: *sender, number: *number, refusal };
        (*from, *to) = (A, C);
        Course::Do
    };
    stage.rule(disobeys);
    stage.forget();
    let waiting: Vec<Ticket> = (0..8).map(|_| stage.send(C, "b")).collect();
    stage.pass(Duration::from_secs(20));
    // Eight letters each time, after rests of 25 ms that double up to two seconds.
    let asked = sent_to(&stage, C, A);
    assert!((8 * 8..8 * 32).contains(&asked), "{asked} in 20 seconds");
    stage.rule(|_| Course::Do);
    stage.pass(Duration::from_secs(3));
    for ticket in waiting {
        assert!(matches!(stage.answered(ticket)[..], [Ok(_)]), "{:?}", stage.answered(ticket));
    }
}

/// Each event that came too late for the old owner is answered with the deed. The first such answer
/// brings the whole window to the new owner; the others bring nothing.
#[test]
fn a_window_that_is_redirected_goes_out_again_once() {
    let mut stage = Stage::born(3);
    let first = stage.send(C, "a");
    stage.rule(|item| match item {
        Item::Message { to: C, message: Message::Title { .. }, .. } => Course::Lose,
        _ => Course::Do,
    });
    stage.start_move(B, B, MoveOptions::default());
    assert_eq!(stage.ends(B), [Ok(stage.id(B))]);
    assert_eq!(stage.answered(first), [Ok("97".to_owned())]);
    stage.rule(|item| if is_deliver(item) { Course::Hold } else { Course::Do });
    let waiting: Vec<Ticket> = (0..16).map(|_| stage.send(C, "b")).collect();
    stage.release();
    assert_eq!(sent_to(&stage, C, B), 16);
    for ticket in waiting {
        assert!(matches!(stage.answered(ticket)[..], [Ok(_)]), "{:?}", stage.answered(ticket));
    }
}
