//! Decides which durable turns the source of a move keeps at hand, so that what the target lacks
//! at the end need not be read back from the journal.
//!
//! # Invariants
//!
//! * N1 (confirmed): it holds only turns whose save was confirmed, without a gap between them.
//!
//! # Limits
//!
//! * `round_turns_max` turns and `round_bytes_max` bytes: beyond them the oldest go, and are read
//!   from the journal if the target lacks them.

use std::collections::VecDeque;

use whimbrel_wire::{Position, Turn};

use crate::settings::Settings;

/// The newest durable turns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Recent {
    turns: VecDeque<Turn>,
    bytes: usize,
}

impl Recent {
    /// Takes a turn whose save was confirmed.
    pub(super) fn keep(&mut self, turn: Turn, settings: &Settings) {
        let follows =
            self.turns.back().is_none_or(|last| last.position().next() == turn.position());
        if !follows {
            *self = Self::default();
        }
        self.bytes += turn.event.payload.len();
        self.turns.push_back(turn);
        while self.turns.len() > settings.round_turns_max || self.bytes > settings.round_bytes_max {
            if self.strike().is_none() {
                return;
            }
        }
    }

    /// All turns after `after`, if they are here.
    pub(super) fn after(&self, after: Position) -> Option<Vec<Turn>> {
        let first = self.turns.front()?.position();
        (first <= after.next())
            .then(|| self.turns.iter().filter(|turn| after < turn.position()).cloned().collect())
    }

    /// The target has everything through `through`.
    pub(super) fn forget(&mut self, through: Position) {
        while self.turns.front().is_some_and(|turn| turn.position() <= through) {
            let _ = self.strike();
        }
    }

    fn strike(&mut self) -> Option<Turn> {
        let turn = self.turns.pop_front()?;
        self.bytes -= turn.event.payload.len();
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use whimbrel_wire::{
        CausalEvent, Digest, Epoch, Head, InputOrigin, OriginHash, Sender, Sequence, Stamp, Time,
    };

    use super::*;

    fn turn(position: u64, bytes: usize) -> Turn {
        let payload = vec![0; bytes].into();
        let event = CausalEvent::unchained(OriginHash::new(1), 1, payload);
        let position = Position::new(position);
        let head = Head { position, sequence: Sequence::FIRST, hash: Digest::ZERO };
        let origin = InputOrigin::Event { sender: Sender::Host, number: 0, answered: 0 };
        Turn { event, stamp: Stamp { time: Time::ZERO, epoch: Epoch::FIRST, origin, head } }
    }

    fn positions(turns: Option<Vec<Turn>>) -> Option<Vec<u64>> {
        turns.map(|turns| turns.iter().map(|turn| turn.position().get()).collect())
    }

    #[test]
    fn confirmed_turns_are_given_only_when_none_is_missing_between() {
        let settings = Settings { round_turns_max: 3, round_bytes_max: 100, ..Settings::default() };
        let mut recent = Recent::default();
        assert_eq!(recent.after(Position::new(4)), None);
        (5..=7).for_each(|position| recent.keep(turn(position, 1), &settings));
        assert_eq!(positions(recent.after(Position::new(4))), Some(vec![5, 6, 7]));
        assert_eq!(positions(recent.after(Position::new(6))), Some(vec![7]));
        assert_eq!(recent.after(Position::new(3)), None, "4 would be missing");
        recent.keep(turn(8, 1), &settings);
        assert_eq!(recent.after(Position::new(4)), None, "5 had to go");
        recent.forget(Position::new(7));
        assert_eq!(positions(recent.after(Position::new(7))), Some(vec![8]));
        recent.keep(turn(10, 1), &settings);
        assert_eq!(recent.after(Position::new(7)), None, "9 was never confirmed here");
        assert_eq!(positions(recent.after(Position::new(9))), Some(vec![10]));
        recent.keep(turn(11, 101), &settings);
        assert_eq!(recent.after(Position::new(9)), None, "too large to be kept");
    }
}
