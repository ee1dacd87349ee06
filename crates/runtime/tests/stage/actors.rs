//! Daemons that behave, misbehave, or live outside this language.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use whimbrel_daemon::{
    Coming, Context, MeshDaemon, Misfit, News, Objection, ProcessError, Requirements, RestoreError,
};
use whimbrel_wire::{CausalEvent, ChannelName, EntityId, Hearing, Start, StateVersion};

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

/// What a [`Choosy`] minds, for a test to change.
#[derive(Default)]
pub(crate) struct Whims {
    /// It will not leave.
    pub(crate) stays: AtomicBool,
    /// It breaks when it is to get ready.
    pub(crate) breaks: AtomicBool,
    /// It may not go on where it comes.
    pub(crate) refuses: AtomicBool,
    /// What it claims.
    pub(crate) memory_bytes: AtomicU64,
}

/// Like [`Foreign`], and minds moves.
pub(crate) struct Choosy {
    whims: Arc<Whims>,
    inner: Foreign,
}

impl Choosy {
    pub(crate) fn factory(
        whims: &Arc<Whims>,
    ) -> impl Fn() -> Box<dyn MeshDaemon> + Send + Sync + use<> {
        let whims = Arc::clone(whims);
        move || Box::new(Self { whims: Arc::clone(&whims), inner: Foreign::default() })
    }
}

impl MeshDaemon for Choosy {
    fn name(&self) -> &str {
        "choosy"
    }

    fn requirements(&self) -> Requirements {
        let memory_bytes = self.whims.memory_bytes.load(Ordering::Relaxed);
        Requirements { memory_bytes, ..Requirements::default() }
    }

    fn process(
        &mut self,
        context: &mut Context<'_>,
        event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError> {
        self.inner.process(context, event)
    }

    fn snapshot(&self) -> Option<Bytes> {
        self.inner.snapshot()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        self.inner.restore(state)
    }

    fn prepare(&mut self) -> Result<(), Misfit> {
        assert!(!self.whims.breaks.load(Ordering::Relaxed), "as asked");
        let stays = self.whims.stays.load(Ordering::Relaxed);
        if stays { Err(Misfit("not today".to_owned())) } else { Ok(()) }
    }

    fn judge(&self, _coming: &Coming) -> Result<Option<Bytes>, Objection> {
        let refuses = self.whims.refuses.load(Ordering::Relaxed);
        let summary = "not with this state".to_owned();
        let report = Some(Bytes::from_static(b"{}"));
        if refuses { Err(Objection { summary, report }) } else { Ok(None) }
    }
}

/// Like [`Foreign`], and its state is written in one format and read in some.
pub(crate) struct Dated {
    reads: RangeInclusive<u32>,
    inner: Foreign,
}

impl Dated {
    /// It writes the newest of the formats that it reads.
    pub(crate) fn factory(
        reads: RangeInclusive<u32>,
    ) -> impl Fn() -> Box<dyn MeshDaemon> + Send + Sync {
        move || Box::new(Self { reads: reads.clone(), inner: Foreign::default() })
    }
}

impl MeshDaemon for Dated {
    fn name(&self) -> &str {
        "dated"
    }

    fn process(
        &mut self,
        context: &mut Context<'_>,
        event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError> {
        self.inner.process(context, event)
    }

    fn version(&self) -> StateVersion {
        StateVersion::new(*self.reads.end())
    }

    fn reads(&self) -> RangeInclusive<StateVersion> {
        StateVersion::new(*self.reads.start())..=self.version()
    }

    /// Each format begins with its number.
    fn snapshot(&self) -> Option<Bytes> {
        Some(Bytes::from(format!("{}\n{}", self.reads.end(), self.inner.lines.join("\n"))))
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let end = state.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| RestoreError::declined("no number"))?;
        self.inner.restore(&state[end + 1..])
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

/// A daemon whose own code listens to what it is told to, and remembers what came of it.
#[derive(Default)]
pub(crate) struct Seeker {
    lines: Vec<String>,
}

impl Seeker {
    pub(crate) const NAME: &'static str = "seeker";

    /// What makes it listen.
    pub(crate) fn seek(publisher: EntityId, channel: &str) -> Bytes {
        [publisher.as_bytes(), channel.as_bytes()].concat().into()
    }
}

impl MeshDaemon for Seeker {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn process(
        &mut self,
        context: &mut Context<'_>,
        event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError> {
        if event.payload == "?" {
            return Ok(vec![Bytes::from(self.lines.join("\n"))]);
        }
        let seek = || {
            let (publisher, name) = event.payload.split_first_chunk()?;
            let channel = ChannelName::new(std::str::from_utf8(name).ok()?).ok()?;
            Some((EntityId::from_bytes(*publisher), channel))
        };
        let (publisher, channel) =
            seek().ok_or_else(|| ProcessError::new("a publisher, a name"))?;
        context.unsubscribe(publisher, channel.clone());
        context.subscribe(publisher, channel, Hearing::All, Start::Next);
        Ok(Vec::new())
    }

    fn hear(
        &mut self,
        _context: &mut Context<'_>,
        news: &News,
    ) -> Result<Vec<Bytes>, ProcessError> {
        self.lines.push(match news {
            News::Message { channel, event, .. } => {
                format!("{channel}: {}", String::from_utf8_lossy(&event.payload))
            }
            News::Subscribed { channel, .. } => format!("{channel} stands"),
            News::Refused { channel, refusal, .. } => format!("{channel}: {refusal}"),
            other => format!("{other:?}"),
        });
        Ok(Vec::new())
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
