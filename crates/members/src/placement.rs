//! Decides which node suits a daemon best, and says of each other one why not.
//!
//! What a node said of itself may be old: the target has the last word, and refuses what it cannot run before
//! anything has changed.
//!
//! The best is the first by: seems alive before suspect; less busy, in steps of a tenth of its processors;
//! fewer daemons; more free memory; the smaller id.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use whimbrel_wire::NodeId;

use crate::detector::Seems;
use crate::report::{Load, Report};

/// Busy nodes count as equal within this many thousandths.
const STEP_PERMILLE: u32 = 100;

/// What a daemon wants of its node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Its kind.
    pub kind: String,
    /// Tags that the node must carry.
    pub tags: BTreeSet<String>,
    /// Memory that it claims, in bytes.
    pub memory_bytes: u64,
}

/// A node that might take a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub node: NodeId,
    /// How it seems to be.
    pub seems: Seems,
    /// What it last said of itself.
    pub report: Option<Report>,
}

/// Why a node is not suited.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// The daemon lives there.
    IsThere,
    /// It seems down.
    Down,
    /// Nothing was heard of it yet.
    Unheard,
    /// It hosts no daemons.
    HostsNone,
    /// It cannot build the kind.
    Kind,
    /// It lacks these tags.
    Tags(BTreeSet<String>),
    /// It has only so much memory left, in bytes.
    Memory(u64),
}

/// What is to be said of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which.
    pub node: NodeId,
    /// How it seems to be.
    pub seems: Seems,
    /// How busy it is; none if it is not known.
    pub load: Option<Load>,
    /// Why it is not suited; none if it is.
    pub unfit: Option<Unfit>,
}

/// All nodes: the suited ones first, the best of them at the front.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// In order.
    pub places: Vec<Place>,
}

impl Placement {
    /// The best node, if any is suited.
    #[must_use]
    pub fn best(&self) -> Option<&Place> {
        self.places.first().filter(|place| place.unfit.is_none())
    }
}

/// Ranks the candidates for a daemon that lives on `owner`.
#[must_use]
pub fn place(wanted: &Wanted, owner: NodeId, candidates: Vec<Candidate>) -> Placement {
    let judged = candidates.into_iter().map(|candidate| Place {
        node: candidate.node,
        seems: candidate.seems,
        load: candidate.report.as_ref().map(|report| report.load),
        unfit: unfit(wanted, owner, &candidate),
    });
    let mut places: Vec<Place> = judged.collect();
    places.sort_by_key(rank);
    Placement { places }
}

fn rank(place: &Place) -> (bool, bool, u32, u64, Reverse<u64>, NodeId) {
    let load = place.load.unwrap_or_default();
    let busy = load.busy_permille.unwrap_or(u32::MAX) / STEP_PERMILLE;
    (
        place.unfit.is_some(),
        place.seems != Seems::Alive,
        busy,
        load.daemons,
        Reverse(load.memory_free_bytes),
        place.node,
    )
}

fn unfit(wanted: &Wanted, owner: NodeId, candidate: &Candidate) -> Option<Unfit> {
    if candidate.node == owner {
        return Some(Unfit::IsThere);
    }
    if candidate.seems == Seems::Down {
        return Some(Unfit::Down);
    }
    let Some(report) = &candidate.report else { return Some(Unfit::Unheard) };
    let offer = &report.offer;
    if !offer.hosts {
        return Some(Unfit::HostsNone);
    }
    if offer.is_whole && !offer.kinds.contains(&wanted.kind) {
        return Some(Unfit::Kind);
    }
    let missing: BTreeSet<String> = wanted.tags.difference(&offer.tags).cloned().collect();
    if offer.is_whole && !missing.is_empty() {
        return Some(Unfit::Tags(missing));
    }
    let free = report.load.memory_free_bytes;
    (free < wanted.memory_bytes).then_some(Unfit::Memory(free))
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IsThere => f.write_str("the daemon lives there"),
            Self::Down => f.write_str("it seems down"),
            Self::Unheard => f.write_str("nothing was heard of it yet"),
            Self::HostsNone => f.write_str("it hosts no daemons"),
            Self::Kind => f.write_str("it cannot build the kind"),
            Self::Tags(tags) => {
                let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
                write!(f, "it lacks {}", tags.join(", "))
            }
            Self::Memory(free) => write!(f, "it has only {free} bytes left to claim"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(unfit) = &self.unfit {
            return fmt::Display::fmt(unfit, f);
        }
        let load = self.load.unwrap_or_default();
        match load.busy_permille {
            Some(busy) => write!(f, "{} % busy, ", busy / 10)?,
            None => f.write_str("busy to an unknown degree, ")?,
        }
        write!(f, "{} daemons", load.daemons)?;
        if self.seems == Seems::Suspect { f.write_str(", suspected to be down") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use whimbrel_wire::NodeKey;

    use super::*;
    use crate::report::Offer;

    fn candidate(node: u64, busy: u32, daemons: u64) -> Candidate {
        let key = NodeKey::from_seed(&[1; 32]).public();
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let offer =
            Offer { hosts: true, kinds: words(&["kv"]), tags: words(&["gpu"]), is_whole: true };
        let load = Load { daemons, memory_free_bytes: 100, busy_permille: Some(busy) };
        let report = Some(Report { key, run: 1, count: 1, offer, load });
        Candidate { node: NodeId::new(node), seems: Seems::Alive, report }
    }

    fn wanted() -> Wanted {
        let tags = [String::from("gpu")].into();
        Wanted { kind: "kv".to_owned(), tags, memory_bytes: 100 }
    }

    fn order(candidates: Vec<Candidate>) -> Vec<u64> {
        let placement = place(&wanted(), NodeId::new(9), candidates);
        placement.places.iter().map(|place| place.node.get()).collect()
    }

    #[test]
    fn the_least_busy_one_is_best_and_a_suspect_comes_last() {
        let mut suspect = candidate(1, 0, 0);
        suspect.seems = Seems::Suspect;
        let found =
            order(vec![suspect, candidate(2, 950, 0), candidate(3, 110, 7), candidate(4, 190, 6)]);
        assert_eq!(found, [4, 3, 2, 1]);
    }

    #[test]
    fn what_is_not_suited_says_why() {
        let mut cases = vec![candidate(9, 0, 0)];
        let mut case = |change: fn(&mut Candidate)| {
            let mut candidate = candidate(1, 0, 0);
            change(&mut candidate);
            cases.push(candidate);
        };
        case(|it| it.seems = Seems::Down);
        case(|it| it.report = None);
        case(|it| it.report.as_mut().unwrap().offer.hosts = false);
        case(|it| it.report.as_mut().unwrap().offer.kinds.clear());
        case(|it| it.report.as_mut().unwrap().offer.tags.clear());
        case(|it| it.report.as_mut().unwrap().load.memory_free_bytes = 99);
        let why: Vec<Option<Unfit>> =
            cases.iter().map(|it| unfit(&wanted(), NodeId::new(9), it)).collect();
        let expected = [
            Unfit::IsThere,
            Unfit::Down,
            Unfit::Unheard,
            Unfit::HostsNone,
            Unfit::Kind,
            Unfit::Tags([String::from("gpu")].into()),
            Unfit::Memory(99),
        ];
        assert_eq!(why, expected.map(Some));
        assert!(place(&wanted(), NodeId::new(9), cases).best().is_none());
    }

    #[test]
    fn a_node_that_could_not_say_all_is_asked() {
        let mut candidate = candidate(1, 0, 0);
        let offer = &mut candidate.report.as_mut().unwrap().offer;
        offer.tags.clear();
        offer.kinds.clear();
        offer.is_whole = false;
        let placement = place(&wanted(), NodeId::new(9), vec![candidate]);
        assert_eq!(placement.best().map(|place| place.node), Some(NodeId::new(1)));
    }
}
