//! Decides how a statechart daemon is written down: its definition, then all the rest; before them
//! what was agreed for a move, if anything was.
//!
//! Definition and rest are CBOR. The definition is a list of chunks of its own, so its name does not change from
//! snapshot to snapshot, and a target that has it is not sent it again.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use whimbrel_daemon::{
    FrozenState, ListVisitor, Paged, RestoreError, SinkError, StateReader, Whole,
};

use super::becoming::Terms;
use super::kind::{Running, Statechart, limits};
use super::palette::Score;
use crate::checkpoint::Shift;
use crate::engine::Instance;

/// Frozen: the instance is a copy that shares what it can, and is written down when somebody asks.
struct Frozen {
    running: Option<(Arc<Score>, Instance, Option<Arc<Terms>>)>,
    rest: OnceLock<Result<Whole, SinkError>>,
}

impl Frozen {
    fn rest(&self, score: &Score, instance: &Instance) -> Result<&Whole, SinkError> {
        let rest = self.rest.get_or_init(|| {
            let bytes = instance.to_compact(&score.chart.digest);
            let bytes = bytes.map_err(|error| SinkError(error.to_string()))?;
            Ok(Whole::new(Bytes::from(bytes)))
        });
        rest.as_ref().map_err(Clone::clone)
    }
}

impl FrozenState for Frozen {
    fn visit(&self, visitor: &mut ListVisitor<'_>) -> Result<(), SinkError> {
        let Some((score, instance, terms)) = &self.running else { return Ok(()) };
        if let Some(terms) = terms {
            terms.written().visit(visitor)?;
        }
        score.written.visit(visitor)?;
        self.rest(score, instance)?.visit(visitor)
    }
}

impl Paged for Statechart {
    fn freeze(&self) -> Arc<dyn FrozenState> {
        let running = self.running.as_ref();
        let running = running.map(|running| {
            (Arc::clone(&running.score), running.instance.clone(), running.terms.clone())
        });
        Arc::new(Frozen { running, rest: OnceLock::new() })
    }

    fn thaw(&mut self, state: &mut StateReader<'_>) -> Result<(), RestoreError> {
        let declined = |error: &dyn std::fmt::Display| RestoreError::declined(error.to_string());
        const NONE: RestoreError = RestoreError::Malformed("terms and no definition");
        let Some(mut name) = state.next_list()? else {
            self.running = None;
            return Ok(());
        };
        let mut definition = Bytes::from(list(state)?);
        let terms = match Terms::read(&definition) {
            None => None,
            Some(terms) => {
                let terms = terms.map_err(|error| declined(&error))?;
                name = state.next_list()?.ok_or(NONE)?;
                definition = Bytes::from(list(state)?);
                Some(Arc::new(terms))
            }
        };
        let score = match self.palette.seen(&name) {
            Some(score) => score,
            None => self.palette.restore(name, definition).map_err(|error| declined(&error))?,
        };
        let mut rest = Vec::new();
        while state.next_list()?.is_some() {
            rest.append(&mut list(state)?);
        }
        let (chart, digest) = (&score.chart, &*score.chart.digest);
        let instance = Instance::from_compact(&rest, chart, digest, limits(), Shift::default());
        let instance = instance.map_err(|error| declined(&error))?;
        self.palette.hear_calls(&instance);
        self.running = Some(Running { score, instance, terms, calls: false });
        Ok(())
    }
}

/// The chunks of the present list.
fn list(state: &mut StateReader<'_>) -> Result<Vec<u8>, RestoreError> {
    let mut bytes = Vec::new();
    while let Some((_, chunk)) = state.next_chunk()? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
