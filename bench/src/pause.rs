//! Decides how long a client waited: the longest time between two acknowledgements, around a move
//! and in an equally long time before it, and what the nodes did in the longest one.

use crate::load::Ack;
use crate::parties::{Story, Told};

/// A time between two acknowledgements that followed each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Gap {
    pub(crate) const fn length(self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

/// The longest gap that touches the time from `from` to `to`.
pub(crate) fn longest(acks: &[Ack], from: u64, to: u64) -> Gap {
    let first = acks.partition_point(|ack| ack.at < from).saturating_sub(1);
    let last = (acks.partition_point(|ack| ack.at <= to) + 1).min(acks.len());
    let gaps = acks[first..last].windows(2).map(|pair| Gap { from: pair[0].at, to: pair[1].at });
    gaps.max_by_key(|gap| gap.length()).unwrap_or_default()
}

/// The latency of the events acknowledged from `from` to `to`.
pub(crate) fn latencies(acks: &[Ack], from: u64, to: u64) -> &[Ack] {
    let first = acks.partition_point(|ack| ack.at < from);
    let last = acks.partition_point(|ack| ack.at <= to);
    &acks[first..last.max(first)]
}

/// What the source and the target told during a move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    pub(crate) frozen: u64,
    pub(crate) handed_over: u64,
    pub(crate) live: u64,
    /// The last acknowledgement before the freeze ended, and the first after the daemon lived again.
    pub(crate) silent_from: u64,
    pub(crate) silent_to: u64,
}

/// The last freeze, hand-over and new life between `from` and `to`.
pub(crate) fn steps(story: &Story, acks: &[Ack], from: u64, to: u64) -> Option<Steps> {
    let within = |told: &&Told| (from..=to).contains(&told.at);
    let last = |word: &str| {
        let mut told = story.told.iter().rev().filter(within);
        told.find(|told| told.words.starts_with(word)).map(|told| told.at)
    };
    let live = last("live ")?;
    let (frozen, handed_over) = (last("frozen ")?, last("handed-over ")?);
    // Answers of turns before the freeze still arrive after it.
    let next = acks.partition_point(|ack| ack.at < live);
    let silent_to = acks.get(next)?.at;
    let silent_from = acks.get(next.checked_sub(1)?)?.at;
    Some(Steps { frozen, handed_over, live, silent_from, silent_to })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_counts_when_it_touches_the_time_asked_for() {
        let acks: Vec<Ack> = [10, 20, 90, 100].map(|at| Ack { at, latency: 0 }).to_vec();
        assert_eq!(longest(&acks, 12, 18), Gap { from: 10, to: 20 });
        assert_eq!(longest(&acks, 50, 60), Gap { from: 20, to: 90 });
        assert_eq!(longest(&acks, 95, 200), Gap { from: 90, to: 100 });
        assert_eq!(longest(&[], 1, 2), Gap::default());
    }
}
