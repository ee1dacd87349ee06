//! The reference tier: an interpreter that can stop before every instruction.
//!
//! It is the oracle of the other tier, and runs what that one refuses.

mod code;
mod execute;
mod machine;
mod numeric;
mod translate;
mod vector;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::dirty::{PagedState, Rounds};
use crate::host::{Host, Trap};
use crate::isolate::{Outcome, RestoreError};
use crate::module::{Class, Module};
use crate::state::{
    CheckedState, Frame, MemoryImage, NanPolicy, PAGE_BYTES, PendingHostCall, TableImage, VmState,
    items,
};
use crate::value::{ValType, Value};
use execute::{Halt, Until, execute};
use machine::{Activation, Machine, Memory, Program, Segment, Table};

/// The code of a module for this tier; made once, shared by all its programs.
#[derive(Debug, Clone)]
pub struct ReferenceCode {
    program: Arc<Program>,
    module: Arc<Module>,
}

impl ReferenceCode {
    /// Code for a module; functions are translated when they are first called.
    pub fn new(module: &Arc<Module>) -> Result<Self, RestoreError> {
        for element in module.elements() {
            // Only the form matters here; the values of globals come with the state.
            let zeros: Vec<Value> =
                module.globals().iter().map(|global| Value::zero(global.ty)).collect();
            items(module, &element.items, &zeros)
                .map_err(|_| RestoreError::Unsupported("an expression in an element segment"))?;
        }
        Ok(Self { program: Arc::new(Program::new(module)), module: Arc::clone(module) })
    }

    /// The module.
    #[must_use]
    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }
}

/// One program on the reference tier.
#[derive(Debug)]
pub(crate) struct Reference {
    module: Arc<Module>,
    program: Arc<Program>,
    machine: Machine,
    nan: NanPolicy,
    fuel: Option<u64>,
    pending: Option<PendingHostCall>,
}

impl Reference {
    /// A program that goes on from a state, which is one of the module of the code.
    pub(crate) fn restore(code: &ReferenceCode, checked: &CheckedState) -> Self {
        let state = checked.state();
        let module = Arc::clone(&code.module);
        let reference = |element: &Option<u32>| Value::FuncRef(*element).to_slots().0;
        let mut machine = Machine {
            slots: Vec::new(),
            high: Vec::new(),
            vectors: module.has_vectors(),
            frames: Vec::new(),
            globals: state.globals.iter().map(|value| value.to_slots().0).collect(),
            globals_high: state.globals.iter().map(|value| value.to_slots().1).collect(),
            memories: Vec::new(),
            tables: Vec::new(),
            elements: Vec::new(),
            data: Vec::new(),
            limits: state.limits,
        };
        for (image, ty) in state.memories.iter().zip(module.memories()) {
            let limit = state.limits.memory_bytes_max / PAGE_BYTES;
            let mut bytes = vec![0; (image.pages * PAGE_BYTES) as usize];
            image.place(&mut bytes);
            machine.memories.push(Memory {
                bytes,
                pages_declared: image.pages_max,
                pages_max: limit.min(image.pages_max),
                memory64: ty.memory64,
            });
        }
        for (image, ty) in state.tables.iter().zip(module.tables()) {
            let limit = state.limits.table_elements_max;
            machine.tables.push(Table {
                elements: image.elements.iter().map(reference).collect(),
                elements_declared: image.elements_max,
                elements_max: limit.min(image.elements_max),
                table64: ty.table64,
            });
        }
        for (element, dropped) in module.elements().iter().zip(&state.dropped_elements) {
            let entries = items(&module, &element.items, &state.globals).unwrap_or_default();
            let entries = entries.iter().map(reference).collect();
            machine.elements.push(Segment { entries, dropped: *dropped });
        }
        for (data, dropped) in module.data().iter().zip(&state.dropped_data) {
            let entries = module.bytes()[data.bytes.clone()].to_vec();
            machine.data.push(Segment { entries, dropped: *dropped });
        }
        let mut reference = Self {
            program: Arc::clone(&code.program),
            machine,
            nan: state.nan,
            fuel: state.fuel,
            pending: state.pending.clone(),
            module,
        };
        reference.place_frames(&state.frames);
        reference
    }

    fn place_frames(&mut self, frames: &[Frame]) {
        let mut base = 0;
        for frame in frames {
            let code = self.program.code(frame.function);
            self.machine.reserve(code, base);
            let locals = code.locals as usize;
            for local in 0..locals {
                self.machine.put(base + local, Value::I64(0));
            }
            for (local, value) in &frame.locals {
                self.machine.put(base + *local as usize, *value);
            }
            for (height, value) in frame.operands.iter().enumerate() {
                self.machine.put(base + locals + height, *value);
            }
            let at = code.instruction(frame.position) as u32;
            self.machine.frames.push(Activation { function: frame.function, at, base });
            base += locals + frame.operands.len();
        }
    }

    /// Calls a function of the module. It must wait to be called.
    pub(crate) fn call(
        &mut self,
        function: u32,
        arguments: &[Value],
        host: &mut dyn Host,
        stop: &AtomicBool,
        instructions: Option<u64>,
    ) -> Outcome {
        if !self.machine.frames.is_empty() {
            return Outcome::Refused("the program does not wait to be called");
        }
        let Some(ty) = self.module.function_type(function) else {
            return Outcome::Refused("there is no such function");
        };
        if !ty.params.iter().copied().eq(arguments.iter().map(|value| value.ty())) {
            return Outcome::Refused("the arguments are of other types");
        }
        if !self.module.is_defined(function) {
            return self.call_import(function, arguments, host);
        }
        let code = self.program.code(function);
        self.machine.have_slots(arguments.len());
        for (at, value) in arguments.iter().enumerate() {
            self.machine.put(at, *value);
        }
        if let Err(trap) = self.machine.enter(code, function, 0) {
            return Outcome::Trapped(trap);
        }
        self.resume(host, stop, instructions)
    }

    /// An export may be an import: then there is nothing to stop in.
    fn call_import(&mut self, function: u32, arguments: &[Value], host: &mut dyn Host) -> Outcome {
        let memory = self.machine.memories.first_mut().map(|memory| &mut *memory.bytes);
        match host.call(function, arguments, memory, None) {
            crate::host::Answer::Return(results) => Outcome::Returned(results),
            crate::host::Answer::Trap(trap) => Outcome::Trapped(trap),
            crate::host::Answer::Suspend(_) => {
                Outcome::Trapped(Trap::Host("a suspended call without a frame".to_owned()))
            }
        }
    }

    /// Goes on until the program returns, traps, is asked to stop, or has executed this many
    /// instructions.
    pub(crate) fn resume(
        &mut self,
        host: &mut dyn Host,
        stop: &AtomicBool,
        instructions: Option<u64>,
    ) -> Outcome {
        let Some(outermost) = self.machine.frames.first().map(|frame| frame.function) else {
            return Outcome::Refused("the program waits to be called");
        };
        let count = match (instructions, self.fuel) {
            (None, fuel) => fuel,
            (instructions, None) => instructions,
            (Some(instructions), Some(fuel)) => Some(instructions.min(fuel)),
        };
        let mut until = Until { asked: stop, count: count.unwrap_or(u64::MAX) };
        let pending = self.pending.take();
        let mut note = pending.as_ref().map(|pending| pending.note.clone());
        let run = match (count.is_some(), self.nan, self.machine.vectors) {
            (false, NanPolicy::Open, false) => execute::<false, false, false>,
            (false, NanPolicy::Open, true) => execute::<false, false, true>,
            (false, NanPolicy::Canonical, false) => execute::<false, true, false>,
            (false, NanPolicy::Canonical, true) => execute::<false, true, true>,
            (true, NanPolicy::Open, false) => execute::<true, false, false>,
            (true, NanPolicy::Open, true) => execute::<true, false, true>,
            (true, NanPolicy::Canonical, false) => execute::<true, true, false>,
            (true, NanPolicy::Canonical, true) => execute::<true, true, true>,
        };
        let halt = run(&self.module, &self.program, &mut self.machine, host, &mut note, &mut until);
        if let (Some(fuel), Some(count)) = (&mut self.fuel, count) {
            *fuel -= count - until.count;
        }
        match halt {
            Halt::Done => Outcome::Returned(self.results(outermost)),
            Halt::Stopped if self.fuel == Some(0) => self.trapped(Trap::OutOfFuel),
            Halt::Stopped => {
                // Stopped before the call was made again: it is still to be made.
                self.pending = pending.filter(|_| note.is_some());
                Outcome::Stopped
            }
            Halt::Suspended(note) => self.suspended(note),
            Halt::Trapped(trap) => self.trapped(trap),
        }
    }

    fn results(&self, function: u32) -> Vec<Value> {
        let types = &self.module.signature(function).results;
        types.iter().enumerate().map(|(at, ty)| self.value(*ty, at)).collect()
    }

    /// What is in a slot.
    fn value(&self, ty: ValType, at: usize) -> Value {
        let (low, high) = self.machine.halves(at);
        Value::from_slots(ty, low, high)
    }

    fn trapped(&mut self, trap: Trap) -> Outcome {
        self.machine.frames.clear();
        Outcome::Trapped(trap)
    }

    /// Notes that the call at which the innermost frame stands has to be made again.
    fn suspended(&mut self, note: Vec<u8>) -> Outcome {
        if let Some(function) = self.called() {
            self.pending = Some(PendingHostCall { function, note });
        }
        Outcome::Stopped
    }

    /// The imported function that the innermost frame is about to call.
    fn called(&self) -> Option<u32> {
        use code::Op;
        let frame = self.machine.frames.last()?;
        let code = self.program.code(frame.function);
        let op = code.ops.get(frame.at as usize)?;
        let callee = |i: u16, table: u32| {
            let index = self.machine.slots[frame.base + i as usize];
            let element = self.machine.tables[table as usize].elements.get(index as usize)?;
            Some(element.checked_sub(1)? as u32)
        };
        if let Op::CallHost { function, .. } | Op::ReturnCall { function, .. } = op {
            Some(*function)
        } else if let Op::CallIndirect { i, table, .. } | Op::ReturnCallIndirect { i, table, .. } =
            op
        {
            callee(*i, *table)
        } else {
            None
        }
    }

    /// The largest size of each memory by its type.
    pub(crate) fn memory_maxima(&self) -> Vec<u64> {
        self.machine.memories.iter().map(|memory| memory.pages_declared).collect()
    }

    /// Everything that the program knows, with a last round.
    pub(crate) fn capture_rounds(&self, rounds: &mut Rounds) -> PagedState {
        let memories = self.machine.memories.iter().map(|memory| &*memory.bytes);
        let sizes = rounds.last(memories);
        rounds.state(self.capture_with(sizes))
    }

    pub(crate) fn memory(&mut self) -> Option<&mut [u8]> {
        self.machine.memories.first_mut().map(|memory| &mut *memory.bytes)
    }

    /// Everything that the program knows.
    pub(crate) fn capture(&self) -> VmState {
        let memories = self.machine.memories.iter();
        self.capture_with(
            memories.map(|memory| MemoryImage::of(&memory.bytes, memory.pages_declared)).collect(),
        )
    }

    fn capture_with(&self, memories: Vec<MemoryImage>) -> VmState {
        let count = self.machine.frames.len();
        let frames = self
            .machine
            .frames
            .iter()
            .enumerate()
            .map(|(number, frame)| self.frame(frame, number + 1 == count))
            .collect();
        let number = |slot: &u64| slot.checked_sub(1).map(|number| number as u32);
        let halves = self.machine.globals.iter().zip(&self.machine.globals_high);
        let globals = self.module.globals().iter().zip(halves);
        let tables = self.module.tables().iter().zip(&self.machine.tables);
        VmState {
            module: self.module.digest(),
            nan: self.nan,
            limits: self.machine.limits,
            fuel: self.fuel,
            frames,
            pending: self.pending.clone(),
            globals: globals
                .map(|(global, (low, high))| Value::from_slots(global.ty, *low, *high))
                .collect(),
            memories,
            tables: tables
                .map(|(ty, table)| TableImage {
                    element: ty.element,
                    elements_max: table.elements_declared,
                    elements: table.elements.iter().map(number).collect(),
                })
                .collect(),
            dropped_elements: self.machine.elements.iter().map(|it| it.dropped).collect(),
            dropped_data: self.machine.data.iter().map(|it| it.dropped).collect(),
        }
    }

    fn frame(&self, frame: &Activation, innermost: bool) -> Frame {
        let code = self.program.code(frame.function);
        let body = self.module.body(frame.function);
        let written = code.positions[frame.at as usize];
        let position = if innermost { body.canonical(written) } else { written };
        let point = self.module.point(frame.function, position);
        let operands: &[ValType] = point.as_ref().map_or(&[], |point| &point.operands);
        let taken = match (innermost, point.as_ref().and_then(|point| point.call)) {
            (false, Some(call)) => call.taken(&self.module),
            _ => 0,
        };
        debug_assert!(innermost || body.class(position) == Class::Call);
        let live_at = if innermost { position } else { position + 1 };
        let locals = body
            .live(live_at)
            .map(|local| {
                let ty = body.locals[local as usize];
                (local, self.value(ty, frame.base + local as usize))
            })
            .collect();
        let below = operands.len() - taken;
        let stack = frame.base + body.locals.len();
        let operands = operands[..below].iter().zip(stack..);
        Frame {
            function: frame.function,
            position,
            locals,
            operands: operands.map(|(ty, at)| self.value(*ty, at)).collect(),
        }
    }
}
