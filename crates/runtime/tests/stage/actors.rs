//! Daemons that behave, misbehave, or live outside this language.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use whimbrel_daemon::{Context, MeshDaemon, ProcessError, RestoreError};
use whimbrel_wire::CausalEvent;

/// A host for daemons written in another language, as a binding would keep it.
#[derive(Default)]
pub(crate) struct Binding {
    /// How many daemons the factory closure built.
    pub(crate) built: AtomicU32,
}

impl Binding {
    /// The closure that a binding hands over: it calls into the other language for each daemon.
    pub(crate) fn factory(
        self: &Arc<Self>,
    ) -> impl Fn() -> Box<dyn MeshDaemon> + Send + Sync + use<> {
        let binding = Arc::clone(self);
        move || {
            binding.built.fetch_add(1, Ordering::Relaxed);
            Box::new(Foreign::default())
        }
    }
}

/// A daemon whose code is "elsewhere": it keeps every line that it was sent.
#[derive(Default)]
pub(crate) struct Foreign {
    pub(crate) lines: Vec<String>,
}

impl MeshDaemon for Foreign {
    fn name(&self) -> &str {
        "foreign"
    }

    fn process(
        &mut self,
        _context: &mut Context<'_>,
        event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError> {
        let line = String::from_utf8_lossy(&event.payload).into_owned();
        match line.as_str() {
            "panic" => panic!("as asked"),
            "decline" => return Err(ProcessError::new("not to my taste")),
            "?" => {}
            _ => self.lines.push(line),
        }
        Ok(vec![Bytes::from(self.lines.join(" "))])
    }

    fn snapshot(&self) -> Option<Bytes> {
        Some(Bytes::from(self.lines.join("\n")))
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let text = std::str::from_utf8(state).map_err(|_| RestoreError::declined("not text"))?;
        self.lines = text.lines().map(str::to_owned).collect();
        Ok(())
    }
}

/// Like [`Foreign`] in name and state, and panics when it is restored.
#[derive(Default)]
pub(crate) struct Fragile;

impl MeshDaemon for Fragile {
    fn name(&self) -> &str {
        "foreign"
    }

    fn process(
        &mut self,
        _context: &mut Context<'_>,
        _event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError> {
        Ok(Vec::new())
    }

    fn snapshot(&self) -> Option<Bytes> {
        Some(Bytes::new())
    }

    fn restore(&mut self, _state: &[u8]) -> Result<(), RestoreError> {
        panic!("it broke on the way")
    }
}

/// A daemon without state: it says what it hears.
pub(crate) struct Echo;

impl MeshDaemon for Echo {
    fn name(&self) -> &str {
        "echo"
    }

    fn process(
        &mut self,
        _context: &mut Context<'_>,
        event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError> {
        Ok(vec![event.payload.clone()])
    }
}
