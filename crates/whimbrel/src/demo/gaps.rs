//! Decides what a pause is: the longest time between two acknowledged events, one after the other,
//! that a client saw around some span of time.

/// A span, in microseconds since the clients began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Span {
    /// Whether they have a moment in common.
    pub(crate) const fn meets(&self, other: &Self) -> bool {
        self.from <= other.to && other.from <= self.to
    }
}

/// The longest time between neighbours among `acknowledged` (in order) that touches `span` and not
/// `except`. None if there are no such neighbours.
pub(crate) fn longest(acknowledged: &[u64], span: Span, except: Option<Span>) -> Option<u64> {
    let first = acknowledged.partition_point(|&at| at < span.from).saturating_sub(1);
    let last = acknowledged.partition_point(|&at| at <= span.to);
    let around = acknowledged.get(first..(last + 1).min(acknowledged.len()))?;
    let pauses = around.windows(2).map(|pair| Span { from: pair[0], to: pair[1] });
    let counted = pauses.filter(|pause| except.is_none_or(|except| !except.meets(pause)));
    counted.map(|pause| pause.to - pause.from).max()
}

/// How pauses are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    pub(crate) count: usize,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

impl Spread {
    /// Of these; none of none.
    pub(crate) fn of(mut pauses: Vec<u64>) -> Option<Self> {
        pauses.sort_unstable();
        let max = *pauses.last()?;
        let at = |percent: usize| pauses[(pauses.len() * percent).div_ceil(100).max(1) - 1];
        Some(Self { count: pauses.len(), p50: at(50), p99: at(99), max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_counts_if_any_part_of_it_is_in_the_span() {
        let acknowledged = [10, 20, 90, 100, 110];
        let pause = |from, to| longest(&acknowledged, Span { from, to }, None);
        assert_eq!(pause(30, 40), Some(70));
        assert_eq!(pause(15, 25), Some(70));
        assert_eq!(pause(95, 105), Some(10));
        assert_eq!(pause(0, 15), Some(10));
        assert_eq!(pause(200, 300), None);
        assert_eq!(longest(&[], Span { from: 0, to: 9 }, None), None);
    }

    #[test]
    fn a_pause_that_reaches_into_what_is_excepted_does_not_count() {
        let (span, dead) = (Span { from: 5, to: 15 }, Span { from: 50, to: 60 });
        assert_eq!(longest(&[0, 10, 14, 70], span, None), Some(56));
        assert_eq!(longest(&[0, 10, 14, 70], span, Some(dead)), Some(10));
        assert_eq!(longest(&[0, 70], span, Some(dead)), None);
    }

    #[test]
    fn the_spread_names_the_middle_the_tail_and_the_worst() {
        let spread = Spread::of((1..=200).rev().collect()).unwrap();
        assert_eq!(spread, Spread { count: 200, p50: 100, p99: 198, max: 200 });
        assert_eq!(Spread::of(vec![7]).unwrap().p99, 7);
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn spans_meet_at_their_ends_too() {
        let span = Span { from: 5, to: 9 };
        assert!(span.meets(&Span { from: 9, to: 20 }) && span.meets(&Span { from: 6, to: 7 }));
        assert!(!span.meets(&Span { from: 10, to: 20 }));
    }
}
