//! Decides which inputs a target sees: the corpus, its truncations, and what a seed makes of it.
//!
//! There is no feedback from the code under test, so the same seed gives the same inputs for ever
//! and with every compiler. What has to be reached must be near the corpus.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::allocations::take_largest;

/// Inputs that mutation makes are not longer.
const INPUT_BYTES_MAX: usize = 4096;

/// Changes to one input.
const CHANGES_MAX: u64 = 6;

/// Numbers at which lengths and counts turn over, as the words of the wire write them.
const NUMBERS: [&[u8]; 10] = [
    &[0],
    &[1],
    &[0x7f],
    &[0x80, 1],
    &[0xff],
    &[0xff, 0x7f],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
];

/// Something that takes bytes, and panics if anything is wrong.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Its corpus, as [`crate::read`] reads it.
    pub corpus: &'static str,
    /// How many bytes it may ask for at once for each byte of input, beside 8 KiB; none for a
    /// target that does more than decode.
    pub growth_max: Option<usize>,
    /// Of so many inputs that others get it gets one: how slow it is.
    pub every: u64,
    /// Takes one input.
    pub run: fn(&[u8]),
}

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

/// How a target is driven.
#[derive(Clone, Copy, Debug)]
pub struct Drive {
    /// From which seed.
    pub seed: u64,
    /// How many inputs beyond the corpus and its truncations, for a target that is fast.
    pub count: u64,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// How many inputs.
    pub inputs: u64,
    /// The most that one of them allocated at once, in bytes.
    pub largest: usize,
}

/// An input that a target does not take.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Whose.
    pub target: &'static str,
    /// After how many inputs.
    pub inputs: u64,
    /// The bytes.
    pub input: Vec<u8>,
    /// What happened.
    pub what: String,
}

impl Random {
    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`; 0 for none.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.word() % (bound as u64).max(1)) as usize
    }
}

impl Drive {
    /// Runs a target; stops at the first input that it does not take.
    ///
    /// # Errors
    ///
    /// [`Fault`] with that input.
    pub fn run(&self, target: &Target) -> Result<Ran, Box<Fault>> {
        let corpus = crate::read(target.corpus);
        let mut ran = Ran { inputs: 0, largest: 0 };
        one(target, &[], &mut ran)?;
        for input in &corpus {
            one(target, input, &mut ran)?;
            // Long ones are cut at every so many places only.
            for cut in (0..input.len()).step_by(1 + input.len() / 256) {
                one(target, &input[..cut], &mut ran)?;
            }
        }
        let mut random = Random(self.seed);
        for _ in 0..self.count / target.every.max(1) {
            let input = mutated(&corpus, &mut random);
            one(target, &input, &mut ran)?;
        }
        Ok(ran)
    }
}

/// Gives a target one input.
fn one(target: &Target, input: &[u8], ran: &mut Ran) -> Result<(), Box<Fault>> {
    ran.inputs += 1;
    take_largest();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let largest = take_largest();
    ran.largest = ran.largest.max(largest);
    let fault = |what: String| {
        let (target, inputs, input) = (target.name, ran.inputs, input.to_vec());
        Err(Box::new(Fault { target, inputs, input, what }))
    };
    if let Err(panic) = outcome {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        return fault(format!("it panicked: {}", text.unwrap_or("without a word")));
    }
    match target.growth_max {
        Some(growth) if largest > 8192 + growth * input.len() => {
            fault(format!("it asked for {largest} bytes at once"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Some input of the corpus, changed in some places; now and then nothing but noise.
fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = match corpus.get(random.below(corpus.len() + corpus.len() / 16)) {
        Some(input) => input.clone(),
        None => (0..random.below(64)).map(|_| random.word() as u8).collect(),
    };
    for _ in 0..=random.word() % CHANGES_MAX {
        change(&mut input, corpus, random);
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len());
    match random.below(8) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.word() as u8,
        2 => input.truncate(at),
        3 => {
            let end = (at + 1 + random.below(16)).min(input.len());
            input.drain(at.min(end)..end);
        }
        4 => {
            let number = NUMBERS[random.below(NUMBERS.len())];
            input.splice(at..at, number.iter().copied());
        }
        5 => {
            let number = NUMBERS[random.below(NUMBERS.len())];
            let end = (at + 1).min(input.len());
            input.splice(at..end, number.iter().copied());
        }
        6 => {
            let end = (at + 1 + random.below(32)).min(input.len());
            let again = input[at.min(end)..end].to_vec();
            input.splice(at..at, again);
        }
        _ => {
            // The end of another one.
            if let Some(other) = corpus.get(random.below(corpus.len())) {
                input.truncate(at);
                input.extend_from_slice(&other[random.below(other.len())..]);
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {} inputs: {}; the input is ", self.target, self.inputs, self.what)?;
        self.input.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
