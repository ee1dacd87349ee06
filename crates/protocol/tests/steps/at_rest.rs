//! The short way of a delivery comes to the same as the long one.
//!
//! Two stages get the same random orders. On one every delivery is an input and goes the long way;
//! on the other it goes the short way whenever the owner is at rest. After each order the seats,
//! the stores and all that was said are compared.

use std::time::Duration;

use whimbrel_protocol::{Input, MoveOptions, Output, Rarely, Settings};
use whimbrel_store::{Journal, Titles};
use whimbrel_wire::{Holding, Position, Write};

use crate::counter::FRIEND;
use crate::stage::{A, B, Fate, Item, Short, Stage};

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// One thing that happens on both stages.
#[derive(Clone, Copy, Debug)]
enum Order {
    Deliver(&'static str),
    Send(&'static str),
    Acknowledge(u64),
    Snapshot,
    Pass(u64),
    /// The disk of the owner answers no more.
    Hold,
    Release,
    Move,
    Stop,
}

fn order(dice: &mut Dice) -> Order {
    match dice.below(100) {
        0..=54 => Order::Deliver(["a", "bb", "", "write"][dice.below(4) as usize]),
        55..=57 => Order::Deliver("panic"),
        58..=66 => Order::Send(["c", "write"][dice.below(2) as usize]),
        67..=73 => Order::Acknowledge(dice.below(6)),
        74..=77 => Order::Snapshot,
        78..=85 => Order::Pass(dice.below(3_000)),
        86..=89 => Order::Hold,
        90..=97 => Order::Release,
        98 => Order::Move,
        _ if dice.below(8) == 0 => Order::Stop,
        _ => Order::Release,
    }
}

/// One of the two.
struct Side {
    stage: Stage,
    short: bool,
    /// The disk of the owner does not answer at once, so there is no short way.
    holding: bool,
    ways: Vec<Short>,
}

impl Side {
    fn new(settings: &Settings, seed: u64, short: bool) -> Self {
        let mut stage = Stage::with(2, settings.clone());
        let mut dice = Dice(seed);
        stage.spawn(A);
        stage.fates(move |_, write| match (write, dice.below(40)) {
            (Write::Append { .. }, 0) => Fate::Failed,
            (Write::Append { .. }, 1) => Fate::UnknownDone,
            (Write::Append { .. }, 2) => Fate::UnknownLost,
            _ => Fate::Good,
        });
        Self { stage, short, holding: false, ways: Vec::new() }
    }

    fn obey(&mut self, order: Order) {
        let stage = &mut self.stage;
        match order {
            Order::Deliver(payload) if self.short && !self.holding => {
                let way = stage.deliver_short(A, payload);
                self.ways.push(way);
            }
            Order::Deliver(payload) => {
                stage.deliver(A, payload);
            }
            Order::Send(payload) => {
                stage.send(B, payload);
            }
            Order::Acknowledge(number) => stage.feed(A, Input::Posted { to: FRIEND, number }),
            Order::Snapshot => {
                let ticket = stage.ticket();
                stage.feed(A, Input::Snapshot { ticket });
            }
            Order::Pass(millis) => stage.pass(Duration::from_millis(millis)),
            Order::Hold => {
                self.holding = true;
                stage.hold(|item| matches!(item, Item::Save { node: A, .. } | Item::Report { .. }));
            }
            Order::Release => {
                self.holding = false;
                stage.release();
            }
            Order::Move => stage.start_move(B, B, MoveOptions::default()),
            Order::Stop => {
                let ticket = stage.ticket();
                stage.feed(A, Input::Stop { ticket });
            }
        }
    }
}

/// All that there is to see of a stage: seats, copies, stores and what was said. Turns and their
/// saves are asked for on the long way only.
fn picture(stage: &mut Stage) -> Vec<String> {
    let mut all = Vec::new();
    let entity = stage.entity();
    for node in &mut stage.nodes {
        let record = node.memory.record(&entity).unwrap();
        all.push(format!("{:?} {:?} {record:?}", node.seat, node.copies));
        if let Holding::Owned(copy) | Holding::HandedOver(copy) = record.holding {
            let base = copy.manifest.head.position.get();
            let kept = (0..=base).find_map(|after| {
                let after = Position::new(after);
                node.memory.turns(&entity, copy.attempt, after, usize::MAX, usize::MAX).ok()
            });
            all.push(format!("{kept:?}"));
        }
    }
    let said = stage.seen.iter().filter(|seen| {
        let long = matches!(
            seen.output,
            Output::Turn { .. } | Output::Save { write: Write::Append { .. }, .. }
        );
        !long
    });
    all.extend(said.map(|seen| format!("{seen:?}")));
    all
}

fn settings(dice: &mut Dice) -> Settings {
    Settings {
        snapshot_every: dice.below(3) * (2 + dice.below(9)),
        outbox_max: 2 + dice.below(20) as usize,
        unsaved_max: 1 + dice.below(4) as usize,
        append_turns_max: 1 + dice.below(3) as usize,
        rarely: Rarely::of_thousand(100 * dice.below(2) as u16),
        ..Settings::default()
    }
}

/// Runs one seed on both stages; says which ways were taken.
fn compare(seed: u64) -> Result<Vec<Short>, String> {
    let mut dice = Dice(seed);
    let settings = settings(&mut dice);
    let (mut long, mut short) =
        (Side::new(&settings, seed, false), Side::new(&settings, seed, true));
    for step in 0..60 {
        let order = order(&mut dice);
        long.obey(order);
        short.obey(order);
        let pictures = [picture(&mut long.stage), picture(&mut short.stage)];
        let differing = pictures[0].iter().zip(&pictures[1]).find(|(long, short)| long != short);
        if let Some((long, short)) = differing {
            return Err(format!("seed {seed}, step {step}, {order:?}:\n{long}\n{short}"));
        }
        if pictures[0].len() != pictures[1].len() {
            return Err(format!("seed {seed}, step {step}, {order:?}: {pictures:#?}"));
        }
    }
    Ok(short.ways)
}

#[test]
fn same_either_way_whatever_happens() {
    let mut ways = Vec::new();
    for seed in 0..120 {
        match compare(seed) {
            Ok(taken) => ways.extend(taken),
            Err(difference) => panic!("{difference}"),
        }
    }
    let count = |way: Short| ways.iter().filter(|taken| **taken == way).count();
    let counts = [Short::No, Short::Answered, Short::Failed, Short::NotSaved].map(count);
    assert!(counts.iter().all(|count| *count > 20), "each way is taken: {counts:?}");
}

/// An answer without its save is seen: by the comparison, and by the store at the next turn.
#[test]
fn same_either_way_is_no_empty_claim() {
    let (mut long, mut short) = (Stage::born(2), Stage::born(2));
    assert_eq!(picture(&mut long), picture(&mut short));
    long.deliver(A, "a");
    short.loses_appends = true;
    assert_eq!(short.deliver_short(A, "a"), Short::Answered);
    assert_ne!(picture(&mut long), picture(&mut short));
    short.loses_appends = false;
    assert_eq!(short.deliver_short(A, "b"), Short::NotSaved, "the store ends before it");
}

/// What was made before and is not saved has to be saved and answered first.
#[test]
fn a_turn_that_is_not_saved_rules_the_short_way_out() {
    let mut stage = Stage::born(2);
    stage.hold(|item| matches!(item, Item::Save { node: A, .. }));
    stage.deliver(A, "a");
    assert_eq!(stage.deliver_short(A, "b"), Short::No);
    stage.release();
    assert_eq!(stage.deliver_short(A, "c"), Short::Answered);
}
