//! Decides how a [`MeshDaemon`] is a [`Body`]: it always finishes its turn.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use whimbrel_wire::{CatchUp, EntityId, StateVersion, TimerId};

use crate::body::{Body, Budget, Coming, Input, Misfit, Objection, Step};
use crate::capture::{FrozenState, Whole};
use crate::context::Context;
use crate::contract::{MeshDaemon, ProcessError, Requirements};
use crate::restore::{RestoreError, StateReader};

/// A native daemon as a body.
pub struct Native {
    daemon: Box<dyn MeshDaemon>,
}

impl Native {
    /// The body of `daemon`.
    #[must_use]
    pub fn new(daemon: Box<dyn MeshDaemon>) -> Self {
        Self { daemon }
    }

    /// The body of `daemon`, boxed for a host.
    #[must_use]
    pub fn boxed(daemon: impl MeshDaemon + 'static) -> Box<dyn Body> {
        Box::new(Self::new(Box::new(daemon)))
    }
}

impl From<Box<dyn MeshDaemon>> for Box<dyn Body> {
    fn from(daemon: Box<dyn MeshDaemon>) -> Self {
        Box::new(Native::new(daemon))
    }
}

impl Body for Native {
    fn name(&self) -> &str {
        self.daemon.name()
    }

    fn catch_up(&self) -> CatchUp {
        self.daemon.catch_up()
    }

    fn version(&self) -> StateVersion {
        self.daemon.version()
    }

    fn requirements(&self) -> Requirements {
        self.daemon.requirements()
    }

    fn reads(&self) -> RangeInclusive<StateVersion> {
        self.daemon.reads()
    }

    fn found(
        &mut self,
        entity: &EntityId,
        given: Option<&[u8]>,
    ) -> Result<Option<TimerId>, Misfit> {
        self.daemon.found(entity, given)
    }

    fn prepare(&mut self) -> Result<(), Misfit> {
        self.daemon.prepare()
    }

    fn foresee(&self, coming: &Coming) -> Result<(), Objection> {
        self.daemon.foresee(coming)
    }

    fn judge(&self, coming: &Coming) -> Result<Option<Bytes>, Objection> {
        self.daemon.judge(coming)
    }

    fn evolves(&self) -> bool {
        self.daemon.evolves()
    }

    fn turn(
        &mut self,
        context: &mut Context<'_>,
        input: Input<'_>,
        _budget: Budget,
    ) -> Result<Step, ProcessError> {
        match input {
            Input::Event(event) => self.daemon.process(context, event).map(Step::Done),
            Input::Timer(timer) => {
                self.daemon.on_timer(context, timer);
                Ok(Step::Done(Vec::new()))
            }
            Input::News(news) => self.daemon.hear(context, news).map(Step::Done),
            Input::Evolution(word) => self.daemon.evolve(context, word).map(Step::Done),
            Input::More => Ok(Step::Done(Vec::new())),
        }
    }

    fn capture(&mut self) -> Arc<dyn FrozenState> {
        if let Some(paged) = self.daemon.paged() {
            return paged.freeze();
        }
        Arc::new(Whole::new(self.daemon.snapshot().unwrap_or_default()))
    }

    fn restore(
        &mut self,
        version: StateVersion,
        state: &mut StateReader<'_>,
    ) -> Result<(), RestoreError> {
        if !self.daemon.reads().contains(&version) {
            return Err(RestoreError::Version { found: version });
        }
        if let Some(paged) = self.daemon.paged() {
            return paged.thaw(state);
        }
        let whole = state.read_whole()?;
        if self.daemon.is_stateful() {
            return self.daemon.restore(&whole);
        }
        if whole.is_empty() {
            return Ok(());
        }
        Err(RestoreError::Malformed("a kind without state was given some"))
    }
}
