//! Decides what is true of a run so far, beside what the nodes know, and whether a promise is broken
//! by it.
//!
//! A node's step says what became a fact: turns on the disk of an owner, deeds, acknowledgements,
//! ends of moves. The truth is what all facts so far amount to.
//!
//! # Invariants
//!
//! The promises, by the names of the simulator's checkers: one-owner, nothing-lost, nothing-twice,
//! one-lineage, same-meaning, still-serving, it-ends.

use std::collections::{BTreeMap, BTreeSet};

use whimbrel_wire::{
    AttemptId, CausalEvent, Digest, Epoch, Head, InputOrigin, Sender, Sequence, SignedDeed, Turn,
};

/// Attempts that may be derived from the one that was asked for.
const TRIES_MAX: usize = 12;

/// Something that happened and that a promise is about.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    /// A node saw by itself that a promise is broken.
    Broken { promise: &'static str, what: String },
    /// Turns are on the disk of the owner.
    Appended { daemon: usize, turns: Vec<Turn> },
    /// A deed is on the disk of the source.
    HandedOver { daemon: usize, deed: SignedDeed },
    /// A deed is on the disk of the target.
    Accepted { daemon: usize, node: usize, deed: SignedDeed },
    /// A node lost its memory.
    Died { node: usize },
    /// An output left the daemon.
    Left { daemon: usize, event: CausalEvent },
    /// A move was asked for.
    Asked { daemon: usize, node: usize, attempt: AttemptId },
    /// An event was given away.
    Offered { daemon: usize, node: usize, payload: u8 },
    /// Its author was told that it was taken, that it never will be, or that nobody knows.
    Told { daemon: usize, number: u64, taken: Option<bool> },
    /// The daemon went live.
    Live {
        daemon: usize,
        node: usize,
        epoch: Epoch,
        head: Head,
        /// What the copy has noted, if it stands at the head.
        notes: Option<Vec<u8>>,
        has_key: bool,
        /// Whether the copy is what its notes say.
        sound: bool,
    },
    /// Whoever asked for a move was told how it ended: by which attempt and deed, or not at all.
    Ended { daemon: usize, attempt: AttemptId, by: Option<(AttemptId, Digest)> },
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which promise.
    pub promise: &'static str,
    /// How.
    pub what: String,
}

/// All that is true of a run so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Truth {
    daemons: Vec<History>,
}

/// All that is true of one daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct History {
    /// By position, from the first on.
    turns: Vec<Turn>,
    deeds: BTreeMap<Epoch, (AttemptId, Digest)>,
    accepted: BTreeSet<Epoch>,
    left: BTreeMap<Sequence, Digest>,
    offered: BTreeSet<u8>,
    refused: BTreeSet<u8>,
    moves: BTreeMap<AttemptId, Asked>,
    /// Events whose authors live and were not told anything, and on which node.
    waiting: BTreeMap<u8, usize>,
}

/// A move that was asked for and whose asker lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    node: usize,
    /// How it ended, as its asker was told.
    ended: Option<Option<AttemptId>>,
}

/// What the event of the command with this number says.
pub(crate) fn word(number: usize) -> u8 {
    b'a'.saturating_add(u8::try_from(number).unwrap_or(u8::MAX))
}

fn broken(promise: &'static str, what: String) -> Result<(), Broken> {
    Err(Broken { promise, what })
}

impl Truth {
    pub(crate) fn of(daemons: usize) -> Self {
        Self { daemons: vec![History::default(); daemons] }
    }

    /// What is true after these facts.
    pub(crate) fn after(&self, facts: &[Fact]) -> Result<Self, Broken> {
        let mut truth = self.clone();
        facts.iter().try_for_each(|fact| truth.take(fact))?;
        Ok(truth)
    }

    fn take(&mut self, fact: &Fact) -> Result<(), Broken> {
        match fact {
            Fact::Broken { promise, what } => broken(promise, what.clone()),
            Fact::Died { node } => {
                for history in &mut self.daemons {
                    history.moves.retain(|_, move_| move_.node != *node);
                    history.waiting.retain(|_, at| at != node);
                }
                Ok(())
            }
            Fact::Appended { daemon, turns } => self.daemons[*daemon].appended(turns),
            Fact::HandedOver { daemon, deed } => self.daemons[*daemon].handed_over(deed),
            Fact::Accepted { daemon, node, deed } => self.daemons[*daemon].accepted(*node, deed),
            Fact::Left { daemon, event } => self.daemons[*daemon].left(event),
            Fact::Asked { daemon, node, attempt } => {
                let asked = Asked { node: *node, ended: None };
                self.daemons[*daemon].moves.insert(*attempt, asked);
                Ok(())
            }
            Fact::Offered { daemon, node, payload } => {
                self.daemons[*daemon].offered.insert(*payload);
                self.daemons[*daemon].waiting.insert(*payload, *node);
                Ok(())
            }
            Fact::Told { daemon, number, taken } => {
                let number = usize::try_from(*number).unwrap_or(usize::MAX);
                self.daemons[*daemon].told(word(number), *taken)
            }
            Fact::Live { daemon, node, epoch, head, notes, has_key, sound } => {
                let name = format!("node {node} in {epoch}");
                if !has_key {
                    return broken("one-owner", format!("live on {name} without its key"));
                }
                if !sound {
                    return broken("same-meaning", format!("came out differently on {name}"));
                }
                self.daemons[*daemon].live(&name, *head, notes.as_deref())
            }
            Fact::Ended { daemon, attempt, by } => self.daemons[*daemon].ended(*attempt, *by),
        }
    }

    /// What is still owed when everything has come to rest.
    pub(crate) fn at_rest(&self) -> Result<(), Broken> {
        let open = |history: &History| {
            let open = history.moves.iter().find(|(_, move_)| move_.ended.is_none());
            open.map(|(attempt, _)| *attempt)
        };
        if let Some(payload) = self.daemons.iter().find_map(|history| history.waiting.keys().next())
        {
            let what = format!("nobody told the author of {}", char::from(*payload));
            return broken("it-ends", what);
        }
        match self.daemons.iter().find_map(open) {
            Some(attempt) => broken("it-ends", format!("the move {attempt} never ended")),
            None => Ok(()),
        }
    }

    /// What this daemon has noted, by the disks of its owners.
    pub(crate) fn notes(&self, daemon: usize) -> Vec<u8> {
        self.daemons[daemon].notes()
    }
}

impl History {
    fn notes(&self) -> Vec<u8> {
        let events = self.turns.iter().filter(|turn| is_event(turn));
        events.flat_map(|turn| turn.event.payload.to_vec()).collect()
    }

    fn appended(&mut self, turns: &[Turn]) -> Result<(), Broken> {
        for turn in turns {
            let position = turn.position().get();
            let place = usize::try_from(position.saturating_sub(1)).unwrap_or(usize::MAX);
            if let Some(known) = self.turns.get(place) {
                if known != turn {
                    let (one, other) = (known.stamp, turn.stamp);
                    let what = format!("two histories at p{position}: {one:?} and {other:?}");
                    return broken("one-lineage", what);
                }
                continue;
            }
            if place != self.turns.len() {
                return broken("one-lineage", format!("no turn before p{position}"));
            }
            if let Some(payload) = turn.event.payload.first().filter(|_| is_event(turn)) {
                let name = char::from(*payload);
                if self.notes().contains(payload) {
                    return broken("nothing-twice", format!("{name} was taken twice"));
                }
                if self.refused.contains(payload) {
                    let what = format!("{name} was taken after its author was told that it is not");
                    return broken("nothing-twice", what);
                }
                if sender(turn).is_some() && !self.offered.contains(payload) {
                    return broken("nothing-twice", format!("{name} was taken, nobody sent it"));
                }
                if self.turns.iter().any(|earlier| is_overtaken(earlier, turn)) {
                    return broken("nothing-twice", format!("{name} was taken out of order"));
                }
            }
            self.turns.push(turn.clone());
        }
        Ok(())
    }

    fn handed_over(&mut self, deed: &SignedDeed) -> Result<(), Broken> {
        let (epoch, attempt) = (deed.deed.epoch, deed.deed.attempt);
        let known = self.deeds.insert(epoch, (attempt, deed.digest()));
        if known.is_some_and(|(_, known)| known != deed.digest()) {
            return broken("one-owner", format!("two deeds begin {epoch}"));
        }
        let failed = self.moves.iter().find(|(asked, move_)| {
            move_.ended == Some(None) && tries(**asked).any(|try_| try_ == attempt)
        });
        if let Some((asked, _)) = failed {
            return broken("it-ends", format!("{asked} is said to have failed, and moved"));
        }
        let notes = usize::try_from(deed.deed.head.position.get()).unwrap_or(usize::MAX);
        if notes < self.turns.len() {
            let (at, end) = (deed.deed.head.position, self.turns.len());
            return broken("nothing-lost", format!("handed over at {at}, {end} turns were made"));
        }
        Ok(())
    }

    fn accepted(&mut self, node: usize, deed: &SignedDeed) -> Result<(), Broken> {
        let epoch = deed.deed.epoch;
        if self.deeds.get(&epoch).is_none_or(|(_, known)| *known != deed.digest()) {
            let what = format!("node {node} accepted a deed of {epoch} that nobody gave");
            return broken("one-owner", what);
        }
        self.accepted.insert(epoch);
        Ok(())
    }

    fn left(&mut self, event: &CausalEvent) -> Result<(), Broken> {
        let (sequence, digest) = (event.link.sequence, event.digest());
        let known = self.left.insert(sequence, digest);
        if known.is_some_and(|known| known != digest) {
            return broken("one-lineage", format!("two different outputs {sequence} left"));
        }
        Ok(())
    }

    fn told(&mut self, payload: u8, taken: Option<bool>) -> Result<(), Broken> {
        self.waiting.remove(&payload);
        let Some(taken) = taken else { return Ok(()) };
        let noted = self.notes().contains(&payload);
        let name = char::from(payload);
        if taken && !noted {
            let what = format!("{name} was acknowledged and is on no disk of an owner");
            return broken("nothing-lost", what);
        }
        if !taken && noted {
            return broken("nothing-twice", format!("{name} was refused and taken"));
        }
        if !taken {
            self.refused.insert(payload);
        }
        Ok(())
    }

    fn live(&self, name: &str, head: Head, notes: Option<&[u8]>) -> Result<(), Broken> {
        let (at, end) = (head.position.get(), self.turns.len() as u64);
        if at < end {
            return broken("nothing-lost", format!("live on {name} at p{at} of p{end}"));
        }
        if end < at {
            return broken(
                "one-lineage",
                format!("live on {name} at p{at}, only p{end} was saved"),
            );
        }
        match notes {
            Some(notes) if notes != self.notes() => {
                let what = format!("{name} has noted {notes:?} and not {:?}", self.notes());
                broken("same-meaning", what)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn ended(&mut self, asked: AttemptId, by: Option<(AttemptId, Digest)>) -> Result<(), Broken> {
        let Some(move_) = self.moves.get_mut(&asked) else { return Ok(()) };
        if move_.ended.replace(by.map(|(attempt, _)| attempt)).is_some() {
            return broken("it-ends", format!("{asked} ended twice"));
        }
        let given = self.deeds.iter().find(|(_, (attempt, digest))| match by {
            Some(by) => (*attempt, *digest) == by,
            None => tries(asked).any(|try_| try_ == *attempt),
        });
        match (by, given) {
            (Some(_), Some((epoch, _))) if self.accepted.contains(epoch) => Ok(()),
            (Some(_), _) => broken("it-ends", format!("{asked} is said to be done, it is not")),
            (None, Some(_)) => {
                broken("it-ends", format!("{asked} is said to have failed, it moved"))
            }
            (None, None) => Ok(()),
        }
    }
}

fn is_event(turn: &Turn) -> bool {
    matches!(turn.stamp.origin, InputOrigin::Event { .. })
}

/// The client from which a turn came.
const fn sender(turn: &Turn) -> Option<Sender> {
    match turn.stamp.origin {
        InputOrigin::Event { sender: sender @ Sender::Client { .. }, .. } => Some(sender),
        InputOrigin::Event { sender: Sender::Host | Sender::Daemon(_), .. }
        | InputOrigin::Poisoned { .. }
        | InputOrigin::Timer(_)
        | InputOrigin::SessionOpened(_)
        | InputOrigin::Evolution => None,
    }
}

/// Whether a sender's later event was taken before its earlier one.
fn is_overtaken(before: &Turn, after: &Turn) -> bool {
    sender(before).is_some()
        && sender(before) == sender(after)
        && before.event.payload > after.event.payload
}

/// The attempts under which a move may be tried.
fn tries(asked: AttemptId) -> impl Iterator<Item = AttemptId> {
    std::iter::successors(Some(asked), |attempt| Some(attempt.derived())).take(TRIES_MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use whimbrel_wire::{ClientId, OriginHash, Position, Stamp, Time};

    use super::*;

    fn turn(position: u64, number: u64, payload: u8) -> Turn {
        let sender = Sender::Client { client: ClientId::new(1), session: Position::FIRST };
        let origin = InputOrigin::Event { sender, number, answered: 0 };
        let hash = Digest::ZERO;
        let head = Head { position: Position::new(position), sequence: Sequence::FIRST, hash };
        let event = CausalEvent::unchained(OriginHash::new(1), 0, Bytes::from(vec![payload]));
        Turn { event, stamp: Stamp { time: Time::ZERO, epoch: Epoch::FIRST, origin, head } }
    }

    fn appended(turns: Vec<Turn>) -> Fact {
        Fact::Appended { daemon: 0, turns }
    }

    fn offered(payload: u8) -> Fact {
        Fact::Offered { daemon: 0, node: 0, payload }
    }

    fn told(number: u64, taken: bool) -> Fact {
        Fact::Told { daemon: 0, number, taken: Some(taken) }
    }

    fn live(position: u64, notes: &[u8]) -> Fact {
        Fact::Live {
            daemon: 0,
            node: 0,
            epoch: Epoch::FIRST,
            head: turn(position, 1, 0).stamp.head,
            notes: Some(notes.to_vec()),
            has_key: true,
            sound: true,
        }
    }

    /// The promise that these facts break.
    fn breaks(facts: &[Fact]) -> Option<&'static str> {
        Truth::of(1).after(facts).err().map(|broken| broken.promise)
    }

    #[test]
    fn a_good_run_breaks_nothing() {
        let turns = vec![turn(1, 1, b'a'), turn(2, 2, b'b')];
        let facts = [offered(b'a'), offered(b'b'), appended(turns), told(0, true), live(2, b"ab")];
        assert_eq!(breaks(&facts), None);
    }

    #[test]
    fn nothing_lost_is_broken_by_an_acknowledgement_of_nothing_and_by_a_short_life() {
        assert_eq!(breaks(&[offered(b'a'), told(0, true)]), Some("nothing-lost"));
        let facts = [offered(b'a'), appended(vec![turn(1, 1, b'a')]), live(0, b"")];
        assert_eq!(breaks(&facts), Some("nothing-lost"));
    }

    #[test]
    fn nothing_twice_is_broken_by_a_repeat_by_disorder_and_by_what_nobody_sent() {
        let all = [offered(b'a'), offered(b'b')];
        let twice = appended(vec![turn(1, 1, b'a'), turn(2, 2, b'a')]);
        let wrong = appended(vec![turn(1, 1, b'b'), turn(2, 2, b'a')]);
        let first = all.into_iter();
        assert_eq!(
            breaks(&first.clone().chain([twice]).collect::<Vec<_>>()),
            Some("nothing-twice")
        );
        assert_eq!(breaks(&first.chain([wrong]).collect::<Vec<_>>()), Some("nothing-twice"));
        assert_eq!(breaks(&[appended(vec![turn(1, 1, b'a')])]), Some("nothing-twice"));
        let refused = [offered(b'a'), told(0, false), appended(vec![turn(1, 1, b'a')])];
        assert_eq!(breaks(&refused), Some("nothing-twice"));
    }

    #[test]
    fn one_lineage_is_broken_by_two_turns_at_one_position() {
        let (one, other) = (turn(1, 1, b'a'), turn(1, 1, b'b'));
        let facts = [offered(b'a'), offered(b'b'), appended(vec![one]), appended(vec![other])];
        assert_eq!(breaks(&facts), Some("one-lineage"));
    }

    #[test]
    fn same_meaning_is_broken_by_other_notes() {
        let facts = [offered(b'a'), appended(vec![turn(1, 1, b'a')]), live(1, b"b")];
        assert_eq!(breaks(&facts), Some("same-meaning"));
    }

    #[test]
    fn it_ends_is_broken_by_a_false_end_and_by_none() {
        let attempt = AttemptId::new(7);
        let asked = Fact::Asked { daemon: 0, node: 0, attempt };
        let done = Fact::Ended { daemon: 0, attempt, by: Some((attempt, Digest::ZERO)) };
        let failed = Fact::Ended { daemon: 0, attempt, by: None };
        assert_eq!(breaks(&[asked.clone(), done]), Some("it-ends"));
        assert_eq!(breaks(&[asked.clone(), failed.clone(), failed]), Some("it-ends"));
        let truth = Truth::of(1).after(std::slice::from_ref(&asked)).unwrap();
        assert_eq!(truth.at_rest().unwrap_err().promise, "it-ends");
        let died = truth.after(&[Fact::Died { node: 0 }]).unwrap();
        assert_eq!(died.at_rest(), Ok(()), "nobody is left who waits to be told");
    }
}
