//! Decides whether there were ever two owners.
//!
//! Two witnesses: what the nodes told (a daemon lives somewhere from `live` until `frozen` or
//! `handed-over`), and looks at the standing every few milliseconds.

use crate::parties::Story;

/// A time during which a node ran the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reign {
    pub(crate) party: usize,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// Pairs of reigns of different nodes that overlap.
pub(crate) fn overlaps(mut reigns: Vec<Reign>) -> Vec<(Reign, Reign)> {
    reigns.retain(|reign| reign.from < reign.to);
    reigns.sort_by_key(|reign| reign.from);
    let mut overlaps = Vec::new();
    let mut longest: Option<Reign> = None;
    for reign in reigns {
        if let Some(before) = longest
            && before.party != reign.party
            && reign.from < before.to
        {
            overlaps.push((before, reign));
        }
        if longest.is_none_or(|before| reign.to > before.to) {
            longest = Some(reign);
        }
    }
    overlaps
}

/// The reigns that looks found.
pub(crate) fn looked_at(story: &Story) -> Vec<Reign> {
    story.live.iter().map(|&(party, from, to)| Reign { party, from, to }).collect()
}

/// The reigns that the nodes told of. One that did not end lasts until `end`.
pub(crate) fn told(story: &Story, parties: usize, end: u64) -> Vec<Reign> {
    let mut reigns = Vec::new();
    for party in 0..parties {
        let mut from = None;
        for told in story.told.iter().filter(|told| told.party == party) {
            let word = told.words.split(' ').next().unwrap_or_default();
            match word {
                "live" | "Thawed" => from = from.or(Some(told.at)),
                "frozen" | "handed-over" => {
                    reigns.extend(from.take().map(|from| Reign { party, from, to: told.at }));
                }
                _ => {}
            }
        }
        reigns.extend(from.map(|from| Reign { party, from, to: end }));
    }
    reigns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reigns_overlap_only_when_two_nodes_run_the_daemon_at_once() {
        let reign = |party, from, to| Reign { party, from, to };
        assert!(overlaps(vec![reign(0, 1, 5), reign(1, 5, 9), reign(0, 9, 12)]).is_empty());
        assert_eq!(overlaps(vec![reign(0, 1, 6), reign(1, 5, 9)]).len(), 1);
        assert_eq!(overlaps(vec![reign(0, 1, 20), reign(1, 5, 9), reign(1, 10, 12)]).len(), 2);
    }
}
