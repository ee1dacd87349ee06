//! Decides what this node says of itself: what it offers, and how busy it is.

use std::fs;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use whimbrel_members::{Load, Offer, Report, SignedReport};

use crate::core::{Core, lock};

/// Where Linux says how many threads want a processor.
const LOAD_FILE: &str = "/proc/loadavg";

/// The reports of this node.
pub(super) struct Own {
    run: u64,
    count: AtomicU64,
    last: Mutex<Option<Report>>,
}

impl Own {
    pub(super) const fn new(run: u64) -> Self {
        Self { run, count: AtomicU64::new(0), last: Mutex::new(None) }
    }

    /// The last one.
    pub(super) fn last(&self) -> Option<Report> {
        lock(&self.last).clone()
    }

    /// A new one; none if the node is going down.
    pub(super) async fn report(&self, core: &Arc<Core>) -> Option<SignedReport> {
        let counting = Arc::clone(core);
        // A cell may be in the middle of a long turn.
        let daemons = tokio::task::spawn_blocking(move || counting.daemons_here());
        let daemons = daemons.await.ok()?;
        let report = Report {
            key: core.station.public(),
            run: self.run,
            count: self.count.fetch_add(1, Ordering::Relaxed),
            offer: offer(core),
            load: Load {
                daemons: daemons as u64,
                memory_free_bytes: core.claims.free_bytes(),
                busy_permille: busy_permille(),
            },
        };
        *lock(&self.last) = Some(report.clone());
        Some(report.sign(&core.key))
    }
}

fn offer(core: &Core) -> Offer {
    let offer = Offer {
        hosts: core.hosts(),
        kinds: core.kinds.names(),
        tags: core.tags.clone(),
        is_whole: true,
    };
    offer.cut()
}

/// The load of the last minute for each processor, in thousandths.
fn busy_permille() -> Option<u32> {
    let text = fs::read_to_string(LOAD_FILE).ok()?;
    let processors = std::thread::available_parallelism().ok()?.get();
    permille(&text, processors)
}

fn permille(text: &str, processors: usize) -> Option<u32> {
    let (whole, hundredths) = text.split_whitespace().next()?.split_once('.')?;
    let hundredths = whole.parse::<u64>().ok()? * 100 + hundredths.parse::<u64>().ok()?;
    u32::try_from(hundredths * 10 / processors as u64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_shared_by_the_processors() {
        assert_eq!(permille("3.50 2.00 1.00 2/300 4711\n", 2), Some(1_750));
        assert_eq!(permille("0.04 0 0", 4), Some(10));
        assert_eq!(permille("", 4), None);
        assert_eq!(permille("x.y", 4), None);
    }
}
