//! Decides under which definitions statecharts may go on at a node, and keeps each only once.
//!
//! A daemon brings its definition along. A node that was given another definition with the same id
//! asks the [gate](crate::evolution::Gate): what passes goes on under the node's definition, what does
//! not stays where it was. A node that was given none lets it go on under its own; one whose palette
//! is [closed](Palette::closed) takes none that it was not given. A newborn is of the node's definition.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use thiserror::Error;
use whimbrel_daemon::{FrozenState, Whole};
use whimbrel_wire::{ChunkRef, EntityId};

use super::kin::Calls;
use crate::chart::{Chart, ChartError};
use crate::checkpoint::CheckpointError;
use crate::definition::Definition;
use crate::engine::Instance;
use crate::evolution::{Gate, GateError, Profile};

/// The longest definition that a newborn is given, in bytes.
pub const DEFINITION_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How many definitions are remembered before those that nobody uses are forgotten.
const SEEN_MAX: usize = 1024;

/// The digests of an old definition and a new one.
type Between = (Arc<str>, Arc<str>);

/// How many gates are remembered before all of them are forgotten.
const GATES_MAX: usize = 64;

/// How much memory the gates that are remembered may take together, in bytes. One that takes more alone
/// is made anew whenever it is asked for.
const GATES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A definition that daemons share: the chart, and how it is written down.
pub(super) struct Score {
    pub(super) chart: Arc<Chart>,
    pub(super) written: Whole,
}

/// Gates that are remembered.
#[derive(Default)]
struct Gates {
    known: BTreeMap<Between, Arc<Gate>>,
    bytes: usize,
}

impl Gates {
    fn keep(&mut self, name: Between, gate: &Arc<Gate>) {
        let bytes = gate.weight();
        if self.known.len() >= GATES_MAX || self.bytes.saturating_add(bytes) > GATES_BYTES_MAX {
            self.known.clear();
            self.bytes = 0;
        }
        if bytes <= GATES_BYTES_MAX && self.known.insert(name, Arc::clone(gate)).is_none() {
            self.bytes += bytes;
        }
    }
}

/// The definitions that a node knows.
#[derive(Default)]
pub struct Palette {
    /// Those that it was given, by their ids.
    given: BTreeMap<String, Arc<Score>>,
    closed: bool,
    profile: Profile,
    /// Gates between definitions, by their digests.
    gates: Mutex<Gates>,
    /// What daemons of this node want of it.
    calls: Mutex<BTreeMap<EntityId, Calls>>,
    /// Those that are in use, by the names of their bytes.
    seen: Mutex<BTreeMap<ChunkRef, Weak<Score>>>,
}

/// Why a definition is not played here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PaletteError {
    /// It is too long. Fault: whoever gives it. Changed: nothing. Again: no.
    #[error("the definition has more than {DEFINITION_BYTES_MAX} bytes")]
    TooLong,
    /// It is no definition. Fault: whoever gives it. Changed: nothing. Again: no.
    #[error("not a definition: {0}")]
    Malformed(String),
    /// It is not legal. Fault: whoever gives it. Changed: nothing. Again: no.
    #[error(transparent)]
    Chart(#[from] ChartError),
    /// The node was given another definition of this id. Fault: nobody. Changed: nothing. Again:
    /// at a node that was given the same one, or none.
    #[error("{id} is {found} and this node was given {expected}")]
    Different {
        /// The id of the definition.
        id: String,
        /// The digest of the daemon's.
        found: String,
        /// The digest of the node's.
        expected: String,
    },
    /// The palette is closed and has no such definition. Fault: nobody. Changed: nothing. Again: at
    /// a node that was given it.
    #[error("this node was not given the definition {0}")]
    Unknown(String),
}

impl Palette {
    /// The palette that holds these definitions.
    ///
    /// # Errors
    ///
    /// [`PaletteError`] when one is not legal, or two have one id.
    pub fn new(definitions: impl IntoIterator<Item = Definition>) -> Result<Self, PaletteError> {
        let mut palette = Self::default();
        for definition in definitions {
            let score = palette.play(definition)?;
            let id = score.chart.definition().id.clone();
            if palette.given.insert(id.clone(), score).is_some() {
                return Err(ChartError::Twice(id).into());
            }
        }
        Ok(palette)
    }

    /// The same that takes no definition that it was not given.
    #[must_use]
    pub fn closed(mut self) -> Self {
        self.closed = true;
        self
    }

    /// The same that lets pass what this profile does, instead of the standard one.
    #[must_use]
    pub const fn with_profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// What the daemons that were made with this palette want of their node: children that are to be
    /// born, and to live elsewhere. Copies that do not live call as well.
    #[must_use]
    pub fn calls(&self) -> Vec<(EntityId, Calls)> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().map(|(entity, calls)| (*entity, calls.clone())).collect()
    }

    /// Forgets what a daemon wants, until it says it again.
    pub fn forget_calls(&self, entity: &EntityId) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(entity);
    }

    pub(super) fn hear_calls(&self, instance: &Instance) {
        let Some((entity, wanted)) = Calls::of(instance) else { return };
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.is_empty() {
            calls.remove(&entity);
        } else {
            calls.insert(entity, wanted);
        }
    }

    /// What passes the gate here.
    pub(super) const fn profile(&self) -> Profile {
        self.profile
    }

    /// The score of a definition as JSON.
    pub(super) fn read(&self, text: &[u8]) -> Result<Arc<Score>, PaletteError> {
        if text.len() > DEFINITION_BYTES_MAX {
            return Err(PaletteError::TooLong);
        }
        let definition: Definition = serde_json::from_slice(text)
            .map_err(|error| PaletteError::Malformed(error.to_string()))?;
        self.play(definition)
    }

    pub(super) fn play(&self, definition: Definition) -> Result<Arc<Score>, PaletteError> {
        let chart = Chart::new(definition)?;
        let bytes = chart.definition().to_cbor().map_err(malformed)?;
        let written = Whole::new(Bytes::from(bytes));
        let name = name_of(&written);
        Ok(self.share(name, || Score::new(chart, written)))
    }

    /// The score that stands under this name, if it is in use.
    pub(super) fn seen(&self, name: &ChunkRef) -> Option<Arc<Score>> {
        self.lock().get(name)?.upgrade()
    }

    /// The score of a definition that was written down.
    pub(super) fn restore(&self, name: ChunkRef, bytes: Bytes) -> Result<Arc<Score>, PaletteError> {
        let definition = Definition::from_cbor(&bytes).map_err(malformed)?;
        let chart = Chart::new(definition)?;
        let written = Whole::new(bytes);
        Ok(self.share(name, || Score::new(chart, written)))
    }

    /// Whether a newborn may be of this definition here.
    pub(super) fn bears(&self, score: &Score) -> Result<(), PaletteError> {
        match self.other_than(score)? {
            None => Ok(()),
            Some(known) => Err(PaletteError::Different {
                id: score.chart.definition().id.clone(),
                found: score.chart.digest.to_string(),
                expected: known.chart.digest.to_string(),
            }),
        }
    }

    /// The definition of the same id that this node was given, if it is another one.
    pub(super) fn other_than(&self, score: &Score) -> Result<Option<Arc<Score>>, PaletteError> {
        let id = &score.chart.definition().id;
        match self.given.get(id) {
            Some(known) if known.chart.digest == score.chart.digest => Ok(None),
            Some(known) => Ok(Some(Arc::clone(known))),
            None if self.closed => Err(PaletteError::Unknown(id.clone())),
            None => Ok(None),
        }
    }

    /// The gate between two definitions.
    pub(super) fn gate(&self, old: &Score, new: &Score) -> Result<Arc<Gate>, GateError> {
        let name = (Arc::clone(&old.chart.digest), Arc::clone(&new.chart.digest));
        let locked = || self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = locked().known.get(&name) {
            return Ok(Arc::clone(gate));
        }
        let gate = Arc::new(Gate::between(&old.chart, &new.chart)?);
        locked().keep(name, &gate);
        Ok(gate)
    }

    /// The score of a definition as CBOR, which a turn brought.
    pub(super) fn told(&self, bytes: &Bytes) -> Result<Arc<Score>, PaletteError> {
        let name = name_of(&Whole::new(bytes.clone()));
        match self.seen(&name) {
            Some(score) => Ok(score),
            None => self.restore(name, bytes.clone()),
        }
    }

    fn share(&self, name: ChunkRef, make: impl FnOnce() -> Score) -> Arc<Score> {
        let mut seen = self.lock();
        if let Some(score) = seen.get(&name).and_then(Weak::upgrade) {
            return score;
        }
        if seen.len() >= SEEN_MAX {
            seen.retain(|_, score| score.strong_count() > 0);
        }
        let score = Arc::new(make());
        seen.insert(name, Arc::downgrade(&score));
        score
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ChunkRef, Weak<Score>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn malformed(error: CheckpointError) -> PaletteError {
    PaletteError::Malformed(error.to_string())
}

/// The name of what was written: that of its first list of chunks, of which a definition has one.
fn name_of(written: &Whole) -> ChunkRef {
    let mut name = ChunkRef::of(&[]);
    let visited = written.visit(&mut |list| {
        name = list.name();
        Ok(())
    });
    // The visitor does not fail, so neither does the visit.
    drop(visited);
    name
}

impl Score {
    fn new(chart: Chart, written: Whole) -> Self {
        Self { chart: Arc::new(chart), written }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chart of so many states in a row.
    fn row(id: &str, states: usize) -> Arc<Chart> {
        let states: Vec<String> = (0..states)
            .map(|state| {
                let next = (state + 1) % states;
                format!(r#"{{ "id": "s{state}", "transitions": [{{ "on": ["e"], "to": ["s{next}"] }}] }}"#)
            })
            .collect();
        let text = format!(r#"{{ "id": "{id}", "states": [{}] }}"#, states.join(","));
        Arc::new(Chart::new(serde_json::from_str(&text).unwrap()).unwrap())
    }

    #[test]
    fn gates_are_remembered_within_a_bound_of_memory() {
        let mut gates = Gates::default();
        let mut forgotten = 0;
        for number in 0..24 {
            let (old, new) = (row("row", 4_000), row("row", 4_000));
            let gate = Arc::new(Gate::between(&old, &new).unwrap());
            let before = gates.known.len();
            gates.keep((number.to_string().into(), "new".into()), &gate);
            assert!(gates.bytes <= GATES_BYTES_MAX);
            let each: usize = gates.known.values().map(|gate| gate.weight()).sum();
            assert_eq!(gates.bytes, each, "what is counted is what is held");
            forgotten += usize::from(gates.known.len() <= before);
        }
        assert!(forgotten > 0, "they never came to the bound");
        let large = row("large", 20_000);
        let gate = Arc::new(Gate::between(&large, &large).unwrap());
        assert!(gate.weight() > GATES_BYTES_MAX);
        gates.keep(("large".into(), "large".into()), &gate);
        assert!(gates.known.is_empty() && gates.bytes == 0, "alone it is too large");
    }
}
