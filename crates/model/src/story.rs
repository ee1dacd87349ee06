//! Decides what is explored: how many nodes, which commands, how much may go wrong.

use bytes::Bytes;
use whimbrel_protocol::{Input, MoveOptions, Ticket};
use whimbrel_wire::{AttemptId, CausalEvent, ClientId};

use crate::facts::word;
use crate::node::Surroundings;

/// The nodes, by their places.
const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

/// One configuration of the model.
#[derive(Clone, Debug)]
pub struct Story {
    /// Its name.
    pub name: &'static str,
    /// What is in it, for people.
    pub about: &'static str,
    pub(crate) nodes: usize,
    /// Where each daemon is born. The first passes each event on to the second.
    pub(crate) births: &'static [usize],
    pub(crate) commands: Vec<(Command, When)>,
    /// What may go wrong, in all of a run.
    pub limits: Limits,
    /// Messages on their way at a time. Beyond it the one that was known first is lost.
    pub(crate) channel: usize,
    pub(crate) tempo: Tempo,
    /// The node whose copies slip.
    pub(crate) slips: Option<usize>,
}

/// How often each thing may happen in one run. Loss and reordering are not counted: any message
/// may come at any later time or never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Timers that fire as early as they can.
    pub wakes: u8,
    /// How often a node lets more time pass than any wait lasts before it is woken or hears more.
    pub oversleeps: u8,
    /// Messages that stay on their way when they are delivered.
    pub repeats: u8,
    /// Crashes of any node.
    pub crashes: u8,
    /// Saves that fail, or of which nobody knows.
    pub disk_faults: u8,
    /// How often a disk loses the copies that wait for a deed.
    pub copies_lost: u8,
}

impl Limits {
    /// Whether each of them fits into a state of the model.
    #[must_use]
    pub fn fit(&self) -> bool {
        let Self { wakes, oversleeps, repeats, crashes, disk_faults, copies_lost } = *self;
        [wakes, oversleeps, repeats, crashes, disk_faults, copies_lost]
            .iter()
            .all(|limit| *limit < 16)
    }
}

/// What may come between what a node asks for and the end of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tempo {
    /// The disk is so fast that nothing comes between.
    pub(crate) disk_at_once: bool,
    /// The same for all other work.
    pub(crate) work_at_once: bool,
}

/// Something that people do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command {
    /// A caller on the node delivers an event.
    Deliver {
        node: usize,
    },
    /// A client on the node sends an event to wherever the first daemon lives.
    Send {
        node: usize,
    },
    Move {
        node: usize,
        attempt: AttemptId,
        target: usize,
        copy: bool,
    },
    Cancel {
        node: usize,
        attempt: AttemptId,
    },
}

/// When a command may be given; each is given once at most.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Anytime,
    /// Once that command was given.
    After(usize),
    /// Once the first daemon runs on that node and that command was given.
    Lives {
        node: usize,
        after: usize,
    },
}

impl Command {
    pub(crate) const fn node(&self) -> usize {
        match self {
            Self::Deliver { node }
            | Self::Send { node }
            | Self::Move { node, .. }
            | Self::Cancel { node, .. } => *node,
        }
    }

    /// Whether it gives an event away.
    pub(crate) const fn is_event(&self) -> bool {
        matches!(self, Self::Deliver { .. } | Self::Send { .. })
    }

    /// What the seat of the first daemon is told.
    pub(crate) fn input(&self, world: &Surroundings, number: usize, life: u8) -> Input {
        let payload = Bytes::from(vec![word(number)]);
        let ticket = Ticket(number as u64);
        match *self {
            Self::Deliver { .. } => {
                let event = CausalEvent::unchained(world.daemons[0].origin, 0, payload);
                Input::Deliver { ticket, event }
            }
            Self::Send { node } => {
                let client = ClientId::new(u128::from(life) << 8 | node as u128);
                Input::Send { ticket, client, payload }
            }
            Self::Move { attempt, target, copy, .. } => {
                let target = world.stations[target].node();
                let options = MoveOptions {
                    retry_not_ready: None,
                    freeze_and_copy: copy,
                    ..MoveOptions::default()
                };
                Input::Move { attempt, source: None, target, options }
            }
            Self::Cancel { attempt, .. } => Input::Cancel { attempt },
        }
    }
}

const FIRST: AttemptId = AttemptId::new(0xa1 << 96);
const SECOND: AttemptId = AttemptId::new(0xa2 << 96);

const THIRD: AttemptId = AttemptId::new(0xa3 << 96);

const fn go(node: usize, target: usize) -> Command {
    Command::Move { node, attempt: FIRST, target, copy: false }
}

const fn go_on(node: usize, target: usize) -> Command {
    Command::Move { node, attempt: SECOND, target, copy: false }
}

const fn go_again(node: usize, target: usize) -> Command {
    Command::Move { node, attempt: THIRD, target, copy: false }
}

/// Everything ends at once but what a disk may lie about.
const FAST: Tempo = Tempo { disk_at_once: true, work_at_once: true };

/// Anything may come between a question to the disk and its end.
const STEPWISE: Tempo = Tempo { disk_at_once: false, work_at_once: true };

/// The same for all other work.
const SLOW: Tempo = Tempo { disk_at_once: false, work_at_once: false };

const CALM: Limits =
    Limits { wakes: 0, oversleeps: 0, repeats: 0, crashes: 0, disk_faults: 0, copies_lost: 0 };

/// All configurations.
#[must_use]
pub fn stories() -> Vec<Story> {
    [of_one_move(), of_other_askers(), of_two_moves(), of_many()].concat()
}

/// What stories have unless they say otherwise.
const fn plain() -> Story {
    Story {
        name: "",
        about: "",
        nodes: 2,
        births: &[A],
        commands: Vec::new(),
        limits: CALM,
        channel: 8,
        tempo: STEPWISE,
        slips: None,
    }
}

/// One move of one daemon.
fn of_one_move() -> Vec<Story> {
    let one_event =
        || vec![(go(A, B), When::Anytime), (Command::Deliver { node: A }, When::Anytime)];
    vec![
        Story {
            name: "slow",
            about: "A to B, one event, all work takes its time, turns too, a crash",
            commands: one_event(),
            limits: Limits { crashes: 1, ..CALM },
            tempo: SLOW,
            ..plain()
        },
        Story {
            name: "slip",
            about: "A to B, whose copies note what nobody told them",
            commands: vec![
                (Command::Deliver { node: A }, When::Anytime),
                (go(A, B), When::After(0)),
            ],
            limits: Limits { wakes: 1, ..CALM },
            slips: Some(B),
            tempo: FAST,
            ..plain()
        },
        Story {
            name: "one-move",
            about: "A to B, one event, messages lost and late",
            commands: one_event(),
            limits: Limits { wakes: 1, oversleeps: 1, ..CALM },
            ..plain()
        },
        Story {
            name: "repeats",
            about: "A to B, one event, a message that comes twice",
            commands: one_event(),
            limits: Limits { oversleeps: 1, repeats: 1, ..CALM },
            ..plain()
        },
        Story {
            name: "crashes",
            about: "A to B, one event, a crash",
            commands: one_event(),
            limits: Limits { wakes: 1, crashes: 1, ..CALM },
            ..plain()
        },
        Story {
            name: "disks",
            about: "A to B, one event, disks that fail or do not know, a copy lost",
            commands: one_event(),
            limits: Limits { oversleeps: 1, disk_faults: 1, copies_lost: 1, ..CALM },
            ..plain()
        },
    ]
}

/// Moves that are asked for elsewhere, given up, or seen by others.
fn of_other_askers() -> Vec<Story> {
    vec![
        Story {
            name: "bystander",
            about: "A to B before the eyes of C, a crash",
            nodes: 3,
            commands: vec![(go(A, B), When::Anytime)],
            limits: Limits { wakes: 1, crashes: 1, ..CALM },
            tempo: FAST,
            ..plain()
        },
        Story {
            name: "copied",
            about: "A to B frozen first and copied then, one event, a crash",
            commands: vec![
                (Command::Move { node: A, attempt: FIRST, target: B, copy: true }, When::Anytime),
                (Command::Deliver { node: A }, When::Anytime),
            ],
            limits: Limits { wakes: 1, crashes: 1, ..CALM },
            tempo: FAST,
            ..plain()
        },
        Story {
            name: "restart",
            about: "A to B asked for on B and given up, a message that comes twice",
            commands: vec![
                (go(B, B), When::Anytime),
                (Command::Cancel { node: B, attempt: FIRST }, When::After(0)),
            ],
            limits: Limits { repeats: 1, ..CALM },
            tempo: FAST,
            ..plain()
        },
        Story {
            name: "cancel",
            about: "A to B asked for on B and given up, one event",
            commands: vec![
                (go(B, B), When::Anytime),
                (Command::Cancel { node: B, attempt: FIRST }, When::After(0)),
                (Command::Deliver { node: A }, When::Anytime),
            ],
            limits: Limits { oversleeps: 1, ..CALM },
            ..plain()
        },
    ]
}

/// Two moves, one after the other or at once.
fn of_two_moves() -> Vec<Story> {
    let and_back = vec![
        (go(A, B), When::Anytime),
        (go_on(B, A), When::Lives { node: B, after: 0 }),
        (Command::Deliver { node: A }, When::Anytime),
    ];
    vec![
        Story {
            name: "there-and-back",
            about: "A to B and back, one event, a message that comes twice",
            commands: and_back.clone(),
            limits: Limits { repeats: 1, ..CALM },
            tempo: FAST,
            ..plain()
        },
        Story {
            name: "back-and-crash",
            about: "A to B and back, one event, a crash",
            commands: and_back,
            limits: Limits { crashes: 1, ..CALM },
            tempo: FAST,
            ..plain()
        },
        Story {
            name: "thrice",
            about: "A to B, back, and to B again, a repeat, a copy lost: for a night",
            commands: vec![
                (go(A, B), When::Anytime),
                (go_on(B, A), When::Lives { node: B, after: 0 }),
                (go_again(A, B), When::Lives { node: A, after: 1 }),
            ],
            limits: Limits { repeats: 1, copies_lost: 1, ..CALM },
            tempo: FAST,
            ..plain()
        },
        Story {
            name: "onwards",
            about: "A to B to C, one event, a message that comes twice",
            nodes: 3,
            commands: vec![
                (go(A, B), When::Anytime),
                (go_on(B, C), When::Lives { node: B, after: 0 }),
                (Command::Deliver { node: A }, When::Anytime),
            ],
            limits: Limits { repeats: 1, ..CALM },
            tempo: FAST,
            ..plain()
        },
        Story {
            name: "rivals",
            about: "A to B asked for on A, A to C asked for on C, one event",
            nodes: 3,
            commands: vec![
                (go(A, B), When::Anytime),
                (go_on(C, C), When::Anytime),
                (Command::Deliver { node: A }, When::Anytime),
            ],
            limits: CALM,
            tempo: FAST,
            ..plain()
        },
    ]
}

/// More than one event, more than one daemon, more of everything.
fn of_many() -> Vec<Story> {
    let one_event =
        || vec![(go(A, B), When::Anytime), (Command::Deliver { node: A }, When::Anytime)];
    let two_events = vec![
        (go(A, B), When::Anytime),
        (Command::Send { node: B }, When::Anytime),
        (Command::Send { node: B }, When::After(1)),
    ];
    vec![
        Story {
            name: "client",
            about: "A to B, two events of a client on B, a message that comes twice",
            commands: two_events.clone(),
            limits: Limits { repeats: 1, ..CALM },
            tempo: FAST,
            ..plain()
        },
        Story {
            name: "client-late",
            about: "A to B, two events of a client on B, a timer: for a night",
            commands: two_events,
            limits: Limits { wakes: 1, ..CALM },
            tempo: FAST,
            ..plain()
        },
        Story {
            name: "two-daemons",
            about: "A to B, each event passed on to a second daemon on B, a crash",
            births: &[A, B],
            commands: one_event(),
            limits: Limits { wakes: 1, crashes: 1, ..CALM },
            tempo: FAST,
            ..plain()
        },
        Story {
            name: "deep",
            about: "A to B and on to C, two events, everything goes wrong: for a night",
            nodes: 3,
            commands: vec![
                (go(A, B), When::Anytime),
                (go_on(B, C), When::Lives { node: B, after: 0 }),
                (Command::Send { node: B }, When::Anytime),
                (Command::Send { node: B }, When::After(2)),
                (Command::Cancel { node: A, attempt: FIRST }, When::After(0)),
            ],
            limits: Limits {
                wakes: 3,
                oversleeps: 1,
                repeats: 2,
                crashes: 2,
                disk_faults: 1,
                copies_lost: 1,
            },
            channel: 8,
            tempo: SLOW,
            ..plain()
        },
    ]
}

/// The configuration of this name.
#[must_use]
pub fn story(name: &str) -> Option<Story> {
    stories().into_iter().find(|story| story.name == name)
}
