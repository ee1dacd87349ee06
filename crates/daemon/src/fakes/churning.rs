//! Decides what the fake does whose memory changes by itself.
//!
//! Its memory is [`FRAMES`] frames of [`FRAME_BYTES`]; the first one holds its registers. Frames
//! are shared with frozen views until they change, and their names with them.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use whimbrel_wire::{CatchUp, ChunkList, ChunkRef, Digest, Purpose, StateVersion, encode};

use crate::body::{Body, Budget, Idle, Input, Step};
use crate::capture::{ChunkVisitor, FrozenList, FrozenState, ListVisitor, SinkError};
use crate::channels::News;
use crate::context::Context;
use crate::contract::ProcessError;
use crate::restore::{RestoreError, StateReader};

const FRAMES: usize = 64;
const FRAME_BYTES: usize = 4096;
const REGISTERS: usize = 16;

/// A program with memory that goes on between events: each unit of budget changes one frame.
pub struct Churning {
    frames: Memory,
}

#[derive(Clone)]
struct Memory(Vec<Arc<Frame>>);

struct Frame {
    bytes: Vec<u8>,
    name: OnceLock<ChunkRef>,
}

impl Clone for Frame {
    fn clone(&self) -> Self {
        Self::new(self.bytes.clone())
    }
}

impl Frame {
    fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, name: OnceLock::new() }
    }

    fn name(&self) -> ChunkRef {
        *self.name.get_or_init(|| ChunkRef::of(&self.bytes))
    }
}

impl Default for Churning {
    fn default() -> Self {
        Self::new()
    }
}

impl Churning {
    /// A program at its beginning.
    #[must_use]
    pub fn new() -> Self {
        let frame = Arc::new(Frame::new(vec![0; FRAME_BYTES]));
        Self { frames: Memory(vec![frame; FRAMES]) }
    }

    /// How many steps it has made and how many events it has taken.
    #[must_use]
    pub fn registers(&self) -> (u64, u64) {
        (self.register(0), self.register(8))
    }

    fn register(&self, at: usize) -> u64 {
        let bytes = &self.frames.0[0].bytes[at..at + 8];
        bytes.try_into().map_or(0, u64::from_le_bytes)
    }

    fn frame(&mut self, index: usize) -> &mut [u8] {
        let frame = Arc::make_mut(&mut self.frames.0[index]);
        frame.name.take();
        &mut frame.bytes
    }

    /// Writes a mixture of `said` and of what it has done so far to a frame that this names.
    fn scribble(&mut self, said: &[u8]) {
        let (steps, events) = self.registers();
        let mixed = [&steps.to_le_bytes(), &events.to_le_bytes(), said].concat();
        let mixed = Digest::of(Purpose::Random, &mixed);
        #[allow(clippy::cast_possible_truncation, reason = "any part of the number will do")]
        let index = 1 + mixed.prefix() as usize % (FRAMES - 1);
        self.frame(index)[..32].copy_from_slice(mixed.as_bytes());
    }
}

impl Body for Churning {
    fn name(&self) -> &str {
        "churning"
    }

    fn catch_up(&self) -> CatchUp {
        CatchUp::Deltas
    }

    fn version(&self) -> StateVersion {
        StateVersion::new(1)
    }

    fn turn(
        &mut self,
        _context: &mut Context<'_>,
        input: Input<'_>,
        _budget: Budget,
    ) -> Result<Step, ProcessError> {
        let event = match input {
            Input::Event(event) | Input::News(News::Message { event, .. }) => event,
            Input::News(_) | Input::Timer(_) | Input::Evolution(_) | Input::More => {
                return Ok(Step::Done(Vec::new()));
            }
        };
        let events = self.register(8) + 1;
        self.frame(0)[8..REGISTERS].copy_from_slice(&events.to_le_bytes());
        self.scribble(&event.payload);
        Ok(Step::Done(vec![Bytes::copy_from_slice(&events.to_le_bytes())]))
    }

    fn idle(&mut self, budget: Budget) -> Idle {
        for _ in 0..budget.0 {
            let steps = self.register(0) + 1;
            self.frame(0)[..8].copy_from_slice(&steps.to_le_bytes());
            self.scribble(&[]);
        }
        Idle::Working
    }

    fn capture(&mut self) -> Arc<dyn FrozenState> {
        Arc::new(self.frames.clone())
    }

    fn restore(
        &mut self,
        version: StateVersion,
        state: &mut StateReader<'_>,
    ) -> Result<(), RestoreError> {
        if version != self.version() {
            return Err(RestoreError::Version { found: version });
        }
        let mut frames = Vec::new();
        while state.next_list()?.is_some() {
            while let Some((name, bytes)) = state.next_chunk()? {
                if bytes.len() != FRAME_BYTES || frames.len() == FRAMES {
                    return Err(RestoreError::Malformed("a frame has another size"));
                }
                let name = OnceLock::from(name);
                frames.push(Arc::new(Frame { bytes: bytes.into(), name }));
            }
        }
        if frames.len() != FRAMES {
            return Err(RestoreError::Malformed("frames are missing"));
        }
        self.frames = Memory(frames);
        Ok(())
    }
}

impl FrozenState for Memory {
    fn visit(&self, visitor: &mut ListVisitor<'_>) -> Result<(), SinkError> {
        visitor(self)
    }
}

impl FrozenList for Memory {
    fn name(&self) -> ChunkRef {
        ChunkRef::of(&self.encoded())
    }

    fn encoded(&self) -> Bytes {
        encode(&ChunkList(self.0.iter().map(|frame| frame.name()).collect())).into()
    }

    fn chunks(&self) -> u64 {
        self.0.len() as u64
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|frame| frame.bytes.len() as u64).sum()
    }

    fn visit(&self, visitor: &mut ChunkVisitor<'_>) -> Result<(), SinkError> {
        self.0
            .iter()
            .try_for_each(|frame| visitor(frame.name(), &|| Bytes::copy_from_slice(&frame.bytes)))
    }
}
