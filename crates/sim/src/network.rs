//! Decides when a message arrives, and how often: late, twice, never, or after a later one.

use std::collections::BTreeSet;

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
    /// From whom to whom nothing gets.
    pub(crate) cuts: BTreeSet<(usize, usize)>,
    /// What is done to single messages, counted from when this was set.
    pub(crate) meddling: Option<Meddling>,
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
            cuts: BTreeSet::new(),
            meddling: None,
        }
    }

    /// After how long a message from `from` to `to` arrives, once for each time that it does.
    pub(crate) fn carry(&mut self, dice: &mut Dice, from: usize, to: usize) -> Vec<u64> {
        let mut delay = dice.between(self.delay_min, self.delay_max);
        if dice.chance(self.straggle) {
            delay *= 10;
        }
        if self.cuts.contains(&(from, to)) || dice.chance(self.loss) {
            return Vec::new();
        }
        if let Some(meddling) = &mut self.meddling {
            let number = meddling.seen;
            meddling.seen += 1;
            match meddling.meddle {
                Meddle::Lose(which) if which == number => return Vec::new(),
                Meddle::Double(which) if which == number => return vec![delay, delay * 7],
                Meddle::Late(which) if which == number => return vec![delay + 20_000_000],
                Meddle::Count | Meddle::Lose(_) | Meddle::Double(_) | Meddle::Late(_) => {}
            }
        }
        if dice.chance(self.twice) {
            let second = dice.between(self.delay_min, self.delay_max * 20);
            return vec![delay, second];
        }
        vec![delay]
    }
}
