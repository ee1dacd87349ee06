//! Decides how often the same misdeed of the same peer is written down: a peer must not fill the disk.
//!
//! # Limits
//!
//! * [`TOLD_MAX`] of one kind by one peer within [`WINDOW`] are written down one by one; of more the number
//!   is, when the window is over.
//! * [`KNOWN_MAX`] pairs of peer and kind are told apart within a window; those beyond count as one peer.
//! * [`ALL_TOLD_MAX`] of all together within a window are written down one by one: whoever calls from many addresses
//!   is many peers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use whimbrel_trust::chain::Entry;

/// Written down one by one.
pub(super) const TOLD_MAX: u64 = 16;

/// For so long is counted.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// Pairs that are told apart.
pub(super) const KNOWN_MAX: usize = 1_024;

/// Written down one by one, of all peers together.
pub(super) const ALL_TOLD_MAX: u64 = 1_024;

/// Who stands for all that are not told apart.
const OTHERS: &str = "others";

/// What was seen of late.
#[derive(Default)]
pub(super) struct Sightings {
    seen: BTreeMap<(String, String), Seen>,
    /// When the present window of all together began, and what was written down in it.
    all: Option<(Instant, u64)>,
}

struct Seen {
    since: Instant,
    count: u64,
    /// Of them written down one by one.
    told: u64,
    last: Entry,
}

impl Sightings {
    /// Something was seen. Gives back what is to be written down.
    pub(super) fn see(&mut self, now: Instant, mut entry: Entry) -> Option<Entry> {
        let mut key = (entry.who.clone(), entry.what.clone());
        if !self.seen.contains_key(&key) && self.seen.len() >= KNOWN_MAX {
            OTHERS.clone_into(&mut entry.who);
            key.0.clone_from(&entry.who);
        }
        let seen = self.seen.entry(key).or_insert_with(|| Seen {
            since: now,
            count: 0,
            told: 0,
            last: Entry::default(),
        });
        seen.count += 1;
        let all = self.all.get_or_insert((now, 0));
        if now.duration_since(all.0) >= WINDOW {
            *all = (now, 0);
        }
        if seen.told < TOLD_MAX && all.1 < ALL_TOLD_MAX {
            seen.told += 1;
            all.1 += 1;
            return Some(entry);
        }
        seen.last = entry;
        None
    }

    /// What is to be written down of windows that are over; all of them if `all`.
    pub(super) fn end(&mut self, now: Instant, all: bool) -> Vec<Entry> {
        let over = |seen: &Seen| all || now.duration_since(seen.since) >= WINDOW;
        let mut told = Vec::new();
        // Whoever has been told of not once is counted together: there may be many.
        let mut untold: Option<(u64, Entry)> = None;
        self.seen.retain(|_, seen| {
            if !over(seen) {
                return true;
            }
            let more = seen.count - seen.told;
            if more > 0 {
                let mut entry = std::mem::take(&mut seen.last);
                if seen.told > 0 {
                    entry.detail = format!("{more} more of these; the last: {}", entry.detail);
                    told.push(entry);
                } else {
                    let before = untold.take().map_or(0, |(count, _)| count);
                    untold = Some((before + more, entry));
                }
            }
            false
        });
        if let Some((more, mut entry)) = untold {
            entry.detail =
                format!("{more} of all kinds; the last: {}: {}", entry.who, entry.detail);
            OTHERS.clone_into(&mut entry.who);
            told.push(entry);
        }
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
        assert_eq!(told as u64, ALL_TOLD_MAX);
        assert!(sightings.seen.len() <= KNOWN_MAX + 1);
    }

    #[test]
    fn a_flood_from_many_addresses_is_told_by_its_number_too() {
        let (mut sightings, now) = (Sightings::default(), Instant::now());
        let (mut told, peers) = (0, 10 * KNOWN_MAX as u64);
        for number in 0..peers {
            told += u64::from(sightings.see(now, entry(&format!("10.0.0.{number}"))).is_some());
        }
        assert_eq!(told, ALL_TOLD_MAX);
        let ended = sightings.end(now + WINDOW, false);
        assert!(ended.len() <= 2, "{ended:?}");
        let left = format!("{} ", peers - told);
        assert!(
            ended.iter().any(|it| it.who == OTHERS && it.detail.starts_with(&left)),
            "{ended:?}"
        );
        assert!(sightings.see(now + WINDOW, entry("n1")).is_some());
    }
}
