//! The reference tier: an interpreter that can stop before every instruction.
//!
//! It is the oracle of the other tier, and runs what that one refuses. Vectors are refused here.

mod code;
mod execute;
mod machine;
mod numeric;
mod translate;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

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
        if module.has_vectors() {
            return Err(RestoreError::Unsupported("vectors, by the reference tier"));
        }
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
        let slot = |value: Value| value.to_slot().unwrap_or(0);
        let reference = |element: &Option<u32>| slot(Value::FuncRef(*element));
        let mut machine = Machine {
            slots: Vec::new(),
            frames: Vec::new(),
            globals: state.globals.iter().map(|value| slot(*value)).collect(),
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
            let slots = &mut self.machine.slots[base..];
            slots[..locals].fill(0);
            for (local, value) in &frame.locals {
                slots[*local as usize] = value.to_slot().unwrap_or(0);
            }
            for (slot, value) in slots[locals..].iter_mut().zip(&frame.operands) {
                *slot = value.to_slot().unwrap_or(0);
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
        self.machine.slots.resize(self.machine.slots.len().max(arguments.len()), 0);
        for (slot, value) in self.machine.slots.iter_mut().zip(arguments) {
            *slot = value.to_slot().unwrap_or(0);
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
        let mut note = self.pending.take().map(|pending| pending.note);
        let run = match (count.is_some(), self.nan) {
            (false, NanPolicy::Open) => execute::<false, false>,
            (false, NanPolicy::Canonical) => execute::<false, true>,
            (true, NanPolicy::Open) => execute::<true, false>,
            (true, NanPolicy::Canonical) => execute::<true, true>,
        };
        let halt = run(&self.module, &self.program, &mut self.machine, host, &mut note, &mut until);
        if let (Some(fuel), Some(count)) = (&mut self.fuel, count) {
            *fuel -= count - until.count;
        }
        match halt {
            Halt::Done => Outcome::Returned(self.results(outermost)),
            Halt::Stopped if self.fuel == Some(0) => self.trapped(Trap::OutOfFuel),
            Halt::Stopped => Outcome::Stopped,
            Halt::Suspended(note) => self.suspended(note),
            Halt::Trapped(trap) => self.trapped(trap),
        }
    }

    fn results(&self, function: u32) -> Vec<Value> {
        let types = &self.module.signature(function).results;
        types
            .iter()
            .zip(&self.machine.slots)
            .map(|(ty, slot)| Value::from_slot(*ty, *slot))
            .collect()
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

    /// Everything that the program knows.
    pub(crate) fn capture(&self) -> VmState {
        let count = self.machine.frames.len();
        let frames = self
            .machine
            .frames
            .iter()
            .enumerate()
            .map(|(number, frame)| self.frame(frame, number + 1 == count))
            .collect();
        let number = |slot: &u64| slot.checked_sub(1).map(|number| number as u32);
        let globals = self.module.globals().iter().zip(&self.machine.globals);
        let tables = self.module.tables().iter().zip(&self.machine.tables);
        let memories = self.machine.memories.iter();
        VmState {
            module: self.module.digest(),
            nan: self.nan,
            limits: self.machine.limits,
            fuel: self.fuel,
            frames,
            pending: self.pending.clone(),
            globals: globals.map(|(global, slot)| Value::from_slot(global.ty, *slot)).collect(),
            memories: memories
                .map(|memory| MemoryImage::of(&memory.bytes, memory.pages_declared))
                .collect(),
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
        let slots = &self.machine.slots[frame.base..];
        let live_at = if innermost { position } else { position + 1 };
        let locals = body
            .live(live_at)
            .map(|local| {
                let ty = body.locals[local as usize];
                (local, Value::from_slot(ty, slots[local as usize]))
            })
            .collect();
        let below = operands.len() - taken;
        let stack = &slots[body.locals.len()..];
        let operands = operands[..below].iter().zip(stack);
        Frame {
            function: frame.function,
            position,
            locals,
            operands: operands.map(|(ty, slot)| Value::from_slot(*ty, *slot)).collect(),
        }
    }
}
