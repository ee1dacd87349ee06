//! Decides how sizes are read and figures are printed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Bytes, written with or without `KiB`, `MiB`, `GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            other => return Err(format!("{other} is none of KiB, MiB, GiB")),
        };
        let count: u64 = digits.trim().parse().map_err(|_| format!("{text} is no size"))?;
        count.checked_mul(unit).map(Self).ok_or_else(|| format!("{text} is too much"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        formatter.pad(&match self.0 {
            0..=9_999 => format!("{} B", self.0),
            10_000..=9_999_999 => format!("{:.1} KiB", bytes / 1024.0),
            _ => format!("{:.1} MiB", bytes / f64::from(1 << 20)),
        })
    }
}

/// Nanoseconds as milliseconds.
pub(crate) fn milliseconds(nanos: u64) -> String {
    format!("{:.3}", nanos as f64 / 1e6)
}

/// A row of figures in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row(Vec<u64>);

impl FromIterator<u64> for Row {
    fn from_iter<T: IntoIterator<Item = u64>>(values: T) -> Self {
        let mut values: Vec<u64> = values.into_iter().collect();
        values.sort_unstable();
        Self(values)
    }
}

impl FromIterator<Duration> for Row {
    fn from_iter<T: IntoIterator<Item = Duration>>(values: T) -> Self {
        values.into_iter().map(nanos).collect()
    }
}

impl Row {
    /// The value that `percent` of the row do not exceed; 0 for an empty row.
    pub(crate) fn percentile(&self, percent: usize) -> u64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or(0)
    }

    pub(crate) fn most(&self) -> u64 {
        self.0.last().copied().unwrap_or(0)
    }

    /// p50, p99, max.
    pub(crate) fn summary(&self) -> [u64; 3] {
        [self.percentile(50), self.percentile(99), self.most()]
    }

    /// The least of the row; 0 for an empty one.
    pub(crate) fn least(&self) -> u64 {
        self.0.first().copied().unwrap_or(0)
    }

    /// `p50 / p99 / max` in milliseconds.
    pub(crate) fn in_milliseconds(&self) -> String {
        let [half, most, all] = self.summary();
        format!("{:>9} {:>9} {:>9}", milliseconds(half), milliseconds(most), milliseconds(all))
    }

    /// `p50 / p99 / max` as sizes.
    pub(crate) fn in_bytes(&self) -> String {
        let [half, most, all] = self.summary().map(Size);
        format!("{half} / {most} / {all}")
    }
}

/// Whole nanoseconds.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!("3MiB".parse(), Ok(Size(3 << 20)));
        assert_eq!("17".parse(), Ok(Size(17)));
        assert!("3 parsecs".parse::<Size>().is_err());
    }

    #[test]
    fn a_percentile_is_a_value_of_the_row() {
        let row: Row = (1..=200_u64).collect();
        assert_eq!([row.percentile(50), row.percentile(99), row.most()], [100, 198, 200]);
        assert_eq!(Row::default().percentile(99), 0);
    }
}
