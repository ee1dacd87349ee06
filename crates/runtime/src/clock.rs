//! Decides what time it is on a node.
//!
//! A delivery to a volatile daemon at rest reads the clock once, and asking the kernel is a tenth of
//! what it costs. Where the kernel itself keeps time by the counter of the processor, so does this;
//! anywhere else the kernel is asked. Both count nanoseconds since the node started. The rate of the
//! counter is measured when the process starts, so the two may run apart by some millionths.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use whimbrel_wire::Time;

/// Where Linux says by what it keeps time.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// The clock of a node: nanoseconds since it started.
#[derive(Clone)]
pub(crate) enum Clock {
    /// The counter of the processor, and what it was at the start.
    Counter(Arc<quanta::Clock>, u64),
    Kernel(Instant),
}

impl Clock {
    pub(crate) fn started() -> Self {
        if !is_counter_fit() {
            return Self::Kernel(Instant::now());
        }
        let counter = quanta::Clock::new();
        let start = counter.raw();
        Self::Counter(Arc::new(counter), start)
    }

    #[inline]
    pub(crate) fn now(&self) -> Time {
        match self {
            Self::Counter(counter, start) => {
                Time::from_nanos(counter.delta_as_nanos(*start, counter.raw()))
            }
            Self::Kernel(start) => {
                Time::from_nanos(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX))
            }
        }
    }

    /// The time on the wall.
    pub(crate) fn wall() -> Time {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The time on the wall, in microseconds since the Unix epoch.
    pub(crate) fn wall_micros() -> u64 {
        Self::wall().as_nanos() / 1_000
    }
}

/// Whether the kernel found that the counter runs evenly and alike on all processors.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn is_counter_fit() -> bool {
    std::fs::read_to_string(SOURCE).is_ok_and(|source| source.trim() == "tsc")
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
const fn is_counter_fit() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn both_clocks_begin_at_the_start_and_never_go_back() {
        let kernel = Clock::Kernel(Instant::now());
        for clock in [Clock::started(), kernel] {
            let mut before = Time::ZERO;
            for _ in 0..10_000 {
                let now = clock.now();
                assert!(before <= now);
                before = now;
            }
        }
    }

    #[test]
    fn the_counter_lies_between_two_looks_at_the_kernel() {
        let (outer, clock, inner) = (Instant::now(), Clock::started(), Instant::now());
        while inner.elapsed() < Duration::from_millis(5) {
            std::thread::yield_now();
        }
        let least = inner.elapsed();
        let now = u128::from(clock.now().as_nanos());
        let most = outer.elapsed();
        // One in a thousand for a rate that was measured, and a microsecond for rounding.
        let slack = |nanos: u128| nanos / 1_000 + 1_000;
        assert!(least.as_nanos() <= now + slack(now), "{least:?} {now}");
        assert!(now <= most.as_nanos() + slack(now), "{now} {most:?}");
    }
}
