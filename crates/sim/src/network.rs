//! Decides when a message arrives, and how often: late, twice, never, or after a later one.

use std::collections::{BTreeMap, BTreeSet};

use whimbrel_wire::{Message, NodeId};

use crate::dice::Dice;

/// The network between the nodes.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// Nanoseconds on the way.
    pub(crate) delay_min: u64,
    pub(crate) delay_max: u64,
    /// Thousandths.
    pub(crate) loss: u64,
    pub(crate) twice: u64,
    /// Thousandths that take ten times as long.
    pub(crate) straggle: u64,
    /// Whether delays have a long tail: half of them are short, each next half twice as long.
    pub(crate) tail: bool,
    /// Bytes in a second from one node to another; none if that is no matter.
    pub(crate) rate: Option<u64>,
    /// Until when the line from one node to another is busy.
    pub(crate) busy: BTreeMap<(usize, usize), u64>,
    /// From whom to whom nothing gets.
    pub(crate) cuts: BTreeSet<(usize, usize)>,
    /// What is done to single messages, counted from when this was set.
    pub(crate) meddling: Option<Meddling>,
    /// Two messages of moves that change places, counted from when this was set.
    pub(crate) exchange: Option<Exchange>,
}

/// Two messages of moves that change places: the first arrives right after the second.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) first: u64,
    pub(crate) second: u64,
    pub(crate) seen: u64,
    pub(crate) held: Option<(usize, NodeId, Message)>,
}

/// What an exchange makes of a message.
pub(crate) enum Exchanged {
    HeldBack,
    /// It goes on its way, and after it the one that was held back for it.
    Passes(Option<Box<(usize, NodeId, Message)>>),
}

impl Exchange {
    pub(crate) const fn of(first: u64, second: u64) -> Self {
        Self { first, second, seen: 0, held: None }
    }

    pub(crate) fn take(&mut self, to: usize, from: NodeId, message: &Message) -> Exchanged {
        let number = self.seen;
        self.seen += 1;
        if number == self.first {
            self.held = Some((to, from, message.clone()));
            return Exchanged::HeldBack;
        }
        let held = if number == self.second { self.held.take() } else { None };
        Exchanged::Passes(held.map(Box::new))
    }
}

/// How often the delay of a message in a long tail doubles, at most.
const TAIL_DOUBLINGS_MAX: u32 = 9;

/// What becomes of one message.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    /// After how long it arrives, once for each time that it does; the first `count` of these.
    delays: [u64; ARRIVALS_MAX],
    count: usize,
    /// Whether something went wrong with it.
    pub(crate) is_disturbed: bool,
}

/// How often one message arrives at most: doubled by chance and on purpose.
const ARRIVALS_MAX: usize = 3;

impl Carried {
    const LOST: Self = Self { delays: [0; ARRIVALS_MAX], count: 0, is_disturbed: true };

    fn after(delay: u64) -> Self {
        let mut carried = Self { is_disturbed: false, ..Self::LOST };
        carried.add(delay);
        carried
    }

    fn add(&mut self, delay: u64) {
        if let Some(place) = self.delays.get_mut(self.count) {
            *place = delay;
            self.count += 1;
        }
    }

    pub(crate) fn arrivals(&self) -> &[u64] {
        &self.delays[..self.count]
    }
}

/// What is done to single messages.
#[derive(Clone, Debug)]
pub(crate) struct Meddling {
    pub(crate) seen: u64,
    pub(crate) meddle: Meddle,
}

/// One deliberate disturbance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meddle {
    /// Only counts.
    Count,
    Lose(u64),
    Double(u64),
    /// It comes after everything that is said in the next twenty milliseconds.
    Late(u64),
}

impl Network {
    pub(crate) fn calm() -> Self {
        Self {
            delay_min: 300_000,
            delay_max: 900_000,
            loss: 0,
            twice: 0,
            straggle: 0,
            tail: false,
            rate: None,
            busy: BTreeMap::new(),
            cuts: BTreeSet::new(),
            meddling: None,
            exchange: None,
        }
    }

    /// How long a message waits for the line and is on it, if lines have a rate.
    pub(crate) fn pace(&mut self, from: usize, to: usize, bytes: u64, now: u64) -> u64 {
        let Some(rate) = self.rate else { return 0 };
        let busy = self.busy.entry((from, to)).or_insert(now);
        let took = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
        *busy = (*busy).max(now) + u64::try_from(took).unwrap_or(u64::MAX / 4);
        *busy - now
    }

    /// When a message from `from` to `to` arrives.
    pub(crate) fn carry(&mut self, dice: &mut Dice, from: usize, to: usize) -> Carried {
        let mut delay = if self.tail {
            self.delay_min << (dice.next() | 1 << TAIL_DOUBLINGS_MAX).trailing_zeros()
        } else {
            dice.between(self.delay_min, self.delay_max)
        };
        let straggles = dice.chance(self.straggle);
        if straggles {
            delay *= 10;
        }
        if self.cuts.contains(&(from, to)) || dice.chance(self.loss) {
            return Carried::LOST;
        }
        let mut carried = Carried::after(delay);
        if let Some(meddling) = &mut self.meddling {
            let number = meddling.seen;
            meddling.seen += 1;
            match meddling.meddle {
                Meddle::Lose(which) if which == number => carried.count = 0,
                Meddle::Double(which) if which == number => carried.add(delay * 7),
                Meddle::Late(which) if which == number => {
                    carried = Carried::after(delay + 20_000_000)
                }
                Meddle::Count | Meddle::Lose(_) | Meddle::Double(_) | Meddle::Late(_) => {}
            }
        }
        let doubled = dice.chance(self.twice);
        if doubled {
            carried.add(dice.between(self.delay_min, self.delay_max * 20));
        }
        carried.is_disturbed = straggles || doubled;
        carried
    }
}
