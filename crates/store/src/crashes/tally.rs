//! Decides how it is counted where the power went.

use std::collections::BTreeMap;
use std::fmt;

use super::life::Deed;
use crate::vfs::DiskCall;

/// Crash points by place: what was under way, in which file, at which call.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    points: u64,
    lives: u64,
    calls: u64,
    /// Points at which the life ended before the disk stopped.
    beyond: u64,
    places: BTreeMap<(Deed, String, DiskCall), u64>,
}

impl Tally {
    /// How many crash points were tried.
    #[must_use]
    pub fn points(&self) -> u64 {
        self.points
    }

    /// How many there were at this call of this file.
    #[must_use]
    pub fn at(&self, file: &str, call: DiskCall) -> u64 {
        let here = |(_, of, at): &&(Deed, String, DiskCall)| of == file && *at == call;
        self.places.iter().filter(|(place, _)| here(place)).map(|(_, count)| count).sum()
    }

    pub(super) fn life(&mut self, calls: u64) {
        self.lives += 1;
        self.calls += calls;
    }

    pub(super) fn point(&mut self, deed: Deed, stopped_at: Option<(String, DiskCall)>) {
        self.points += 1;
        match stopped_at {
            Some((file, call)) => *self.places.entry((deed, file, call)).or_default() += 1,
            None => self.beyond += 1,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} lives of {} calls; {} crash points, {} of them after the end of a life",
            self.lives, self.calls, self.points, self.beyond
        )?;
        let mut files: BTreeMap<(&str, DiskCall), u64> = BTreeMap::new();
        let mut deeds: BTreeMap<Deed, u64> = BTreeMap::new();
        for ((deed, file, call), count) in &self.places {
            *files.entry((file, *call)).or_default() += count;
            *deeds.entry(*deed).or_default() += count;
        }
        for ((file, call), count) in files {
            writeln!(f, "{count:>8}  {file:<22} {call:?}")?;
        }
        for (deed, count) in deeds {
            writeln!(f, "{count:>8}  during {deed:?}")?;
        }
        Ok(())
    }
}
