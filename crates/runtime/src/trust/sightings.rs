//! Decides how often the same misdeed of the same peer is written down: a peer must not fill the disk.
//!
//! # Limits
//!
//! * [`TOLD_MAX`] of one kind by one peer within [`WINDOW`] are written down one by one; of more the number
//!   is, when the window is over.
//! * [`KNOWN_MAX`] pairs of peer and kind are told apart within a window; those beyond count as one peer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use whimbrel_trust::chain::Entry;

/// Written down one by one.
pub(super) const TOLD_MAX: u64 = 16;

/// For so long is counted.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// Pairs that are told apart.
pub(super) const KNOWN_MAX: usize = 1_024;

/// Who stands for all that are not told apart.
const OTHERS: &str = "others";

/// What was seen of late.
#[derive(Default)]
pub(super) struct Sightings(BTreeMap<(String, String), Seen>);

struct Seen {
    since: Instant,
    count: u64,
    last: Entry,
}

impl Sightings {
    /// Something was seen. Gives back what is to be written down.
    pub(super) fn see(&mut self, now: Instant, mut entry: Entry) -> Option<Entry> {
        let mut key = (entry.who.clone(), entry.what.clone());
        if !self.0.contains_key(&key) && self.0.len() >= KNOWN_MAX {
            OTHERS.clone_into(&mut entry.who);
            key.0.clone_from(&entry.who);
        }
        let seen = self.0.entry(key).or_insert_with(|| Seen {
            since: now,
            count: 0,
            last: Entry::default(),
        });
        seen.count += 1;
        if seen.count <= TOLD_MAX {
            return Some(entry);
        }
        seen.last = entry;
        None
    }

    /// What is to be written down of windows that are over; all of them if `all`.
    pub(super) fn end(&mut self, now: Instant, all: bool) -> Vec<Entry> {
        let over = |seen: &Seen| all || now.duration_since(seen.since) >= WINDOW;
        let mut told = Vec::new();
        self.0.retain(|_, seen| {
            if !over(seen) {
                return true;
            }
            if seen.count > TOLD_MAX {
                let more = seen.count - TOLD_MAX;
                let mut entry = std::mem::take(&mut seen.last);
                entry.detail = format!("{more} more of these; the last: {}", entry.detail);
                told.push(entry);
            }
            false
        });
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(who: &str) -> Entry {
        Entry { who: who.to_owned(), what: "frame".to_owned(), ..Entry::default() }
    }

    #[test]
    fn a_flood_is_told_by_its_number_and_another_peer_is_not_hidden_by_it() {
        let (mut sightings, now) = (Sightings::default(), Instant::now());
        let told = (0..1_000).filter_map(|_| sightings.see(now, entry("n1"))).count();
        assert_eq!(told as u64, TOLD_MAX);
        assert!(sightings.see(now, entry("n2")).is_some());
        assert_eq!(sightings.end(now, false), []);
        let told = sightings.end(now + WINDOW, false);
        assert_eq!(told.len(), 1);
        assert!(told[0].detail.starts_with("984 more"), "{told:?}");
        assert!(sightings.see(now + WINDOW, entry("n1")).is_some());
    }

    #[test]
    fn peers_beyond_the_bound_count_as_one() {
        let (mut sightings, now) = (Sightings::default(), Instant::now());
        let mut told = 0;
        for number in 0..10 * KNOWN_MAX {
            told += usize::from(sightings.see(now, entry(&format!("n{number}"))).is_some());
        }
        assert_eq!(told as u64, KNOWN_MAX as u64 + TOLD_MAX);
        assert!(sightings.0.len() <= KNOWN_MAX + 1);
    }
}
