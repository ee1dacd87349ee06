//! Writes the code of a function that may unwind, and of one that goes on in its middle.
//!
//! Code that is not about stopping is copied as it is written. Operands that a frame has to hold are
//! brought into locals of their own, one for each height and type; to the compiler these are names
//! and cost nothing.
//!
//! A continuation opens the constructs around its position again from the outside to the inside, with
//! the operands that lie in each, and then has the rest of the body. A loop becomes the rest of its
//! round, and then the loop as it was.

use std::collections::HashMap;

use wasm_encoder::{BlockType, Encode, Function, Instruction, MemArg};

use crate::fast::lower::{Own, Piece, What};
use crate::fast::plan::{FRAME_HEAD_BYTES, Looks, Plan, Reason, Safepoint, slot_bytes};
use crate::fast::types::{Types, encoded};
use crate::module::{CallSite, ControlKind, Module};
use crate::value::ValType;

/// How code looks whether it should stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Poll {
    /// By an atomic load, which no compiler merges with another.
    Flag,
    /// By counting down, so that a stop comes after a number of polls.
    Count,
}

/// The indices of what was added to a module. They are the same in the main module and beside it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Private {
    pub(super) memory: u32,
    /// Not zero while frames are left behind.
    pub(super) unwinding: u32,
    /// Where the next frame is left, in the private memory.
    pub(super) spill: u32,
    /// Where the next frame is read.
    pub(super) read: u32,
    pub(super) counter: u32,
    /// Where the next reference is left, in the private table.
    pub(super) references: u32,
    pub(super) table: u32,
}

/// Where frames begin in the private memory.
pub(super) const FRAMES_AT: u32 = 64;

/// What the writers of bodies share.
pub(super) struct Context<'a> {
    pub(super) module: &'a Module,
    pub(super) plan: &'a Plan,
    pub(super) poll: Poll,
    pub(super) private: Private,
    /// The functions that are called instead, by what for.
    pub(super) own: &'a HashMap<Own, u32>,
    /// Of a module beside the main one: its table of continuations.
    pub(super) continuations: u32,
}

pub(super) struct Emitter<'a> {
    context: &'a Context<'a>,
    types: &'a mut Types,
    function: u32,
    pieces: &'a [Piece],
    looks: Option<&'a Looks>,
    out: Vec<u8>,
    /// Labels that are open in what is written, by the construct that a branch to them means.
    labels: Vec<Option<usize>>,
    /// Constructs that are open in what is read.
    open: Vec<usize>,
    /// Whether labels differ from what was written.
    remap: bool,
    holders: HashMap<(usize, ValType), u32>,
    holder_types: Vec<ValType>,
    locals: Vec<ValType>,
    /// Constructs with a safepoint inside.
    watched: Vec<bool>,
}

/// A key for a holder that stands for no operand.
const FRAME: usize = usize::MAX;

impl<'a> Emitter<'a> {
    pub(super) fn new(
        context: &'a Context<'a>,
        types: &'a mut Types,
        function: u32,
        pieces: &'a [Piece],
    ) -> Self {
        let body = context.module.body(function);
        let index = (function - context.module.functions_imported()) as usize;
        let looks = context.plan.looks[index].as_ref();
        let mut watched = vec![false; body.controls.len()];
        for at in looks.iter().flat_map(|looks| looks.at.keys()) {
            let mut control = body.control_at[*at as usize] as usize;
            if let What::Open { control: opened, .. } = pieces[*at as usize].what {
                control = opened;
            }
            while !std::mem::replace(&mut watched[control], true) && control != 0 {
                control = body.controls[control].parent;
            }
        }
        Self {
            context,
            types,
            function,
            pieces,
            looks,
            out: Vec::new(),
            labels: vec![Some(0)],
            open: vec![0],
            remap: false,
            holders: HashMap::new(),
            holder_types: Vec::new(),
            locals: body.locals.to_vec(),
            watched,
        }
    }

    /// The whole function, with looks.
    pub(super) fn main(mut self) -> Function {
        if let Some(entry) = self.looks.and_then(|looks| looks.at_entry) {
            self.poll(entry);
        }
        self.range(0, self.pieces.len());
        let params = self.context.module.signature(self.function).params.len();
        self.finish(params)
    }

    fn finish(self, declared_from: usize) -> Function {
        let declared = self.locals[declared_from..].iter().chain(&self.holder_types);
        let mut function = Function::new_with_locals_types(declared.map(|ty| encoded(*ty)));
        function.raw(self.out);
        function
    }

    fn put(&mut self, instruction: &Instruction<'_>) {
        instruction.encode(&mut self.out);
    }

    fn copy(&mut self, piece: &Piece) {
        self.out.extend_from_slice(&self.context.module.bytes()[piece.range.clone()]);
    }

    /// The local that holds the operand at a height.
    fn holder(&mut self, height: usize, ty: ValType) -> u32 {
        let next = (self.locals.len() + self.holder_types.len()) as u32;
        let holder = *self.holders.entry((height, ty)).or_insert(next);
        if holder == next {
            self.holder_types.push(ty);
        }
        holder
    }

    /// Brings the topmost operands into their holders and leaves them where they are.
    fn hold(&mut self, operands: &[(usize, ValType)]) {
        for (height, ty) in operands.iter().rev() {
            let holder = self.holder(*height, *ty);
            self.put(&Instruction::LocalSet(holder));
        }
        for (height, ty) in operands {
            let holder = self.holder(*height, *ty);
            self.put(&Instruction::LocalGet(holder));
        }
    }

    fn memory(&self, offset: u32, align: u32) -> MemArg {
        MemArg { offset: u64::from(offset), align, memory_index: self.context.private.memory }
    }

    /// Looks whether the code should stop, and leaves the frame behind if so. The operands are held.
    fn poll(&mut self, safepoint: usize) {
        let counter = self.context.private.counter;
        match self.context.poll {
            Poll::Flag => {
                self.put(&Instruction::I32Const(0));
                let flag = self.memory(0, 2);
                self.put(&Instruction::I32AtomicLoad(flag));
            }
            Poll::Count => {
                self.put(&Instruction::GlobalGet(counter));
                self.put(&Instruction::I32Const(1));
                self.put(&Instruction::I32Sub);
                self.put(&Instruction::GlobalSet(counter));
                self.put(&Instruction::GlobalGet(counter));
                self.put(&Instruction::I32Eqz);
            }
        }
        self.put(&Instruction::If(BlockType::Empty));
        self.put(&Instruction::I32Const(1));
        self.put(&Instruction::GlobalSet(self.context.private.unwinding));
        self.leave_frame(safepoint);
        self.put(&Instruction::End);
    }

    /// Looks whether what was called unwinds, and leaves the frame behind if so.
    fn check(&mut self, safepoint: usize) {
        self.put(&Instruction::GlobalGet(self.context.private.unwinding));
        self.put(&Instruction::If(BlockType::Empty));
        self.leave_frame(safepoint);
        self.put(&Instruction::End);
    }

    fn leave_frame(&mut self, number: usize) {
        let context = self.context;
        let safepoint: &Safepoint = &context.plan.safepoints[number];
        let frame = self.holder(FRAME, ValType::I32);
        let spill = context.private.spill;
        self.put(&Instruction::GlobalGet(spill));
        self.put(&Instruction::LocalTee(frame));
        self.put(&Instruction::I32Const(number as i32));
        let head = self.memory(0, 2);
        self.put(&Instruction::I32Store(head));
        let mut offset = FRAME_HEAD_BYTES;
        for (local, ty) in &safepoint.locals {
            self.leave_slot(frame, *local, *ty, offset);
            offset += slot_bytes(*ty);
        }
        for (height, ty) in safepoint.operands.iter().enumerate() {
            let holder = self.holder(height, *ty);
            self.leave_slot(frame, holder, *ty, offset);
            offset += slot_bytes(*ty);
        }
        self.put(&Instruction::LocalGet(frame));
        self.put(&Instruction::I32Const(offset as i32));
        self.put(&Instruction::I32Add);
        self.put(&Instruction::GlobalSet(spill));
        for ty in context.module.signature(self.function).results.iter() {
            self.zero(*ty);
        }
        self.put(&Instruction::Return);
    }

    fn leave_slot(&mut self, frame: u32, local: u32, ty: ValType, offset: u32) {
        let argument = |this: &Self, align| this.memory(offset, align);
        self.put(&Instruction::LocalGet(frame));
        if ty.is_reference() {
            let (references, table) = (self.context.private.references, self.context.private.table);
            self.put(&Instruction::GlobalGet(references));
            let at = argument(self, 2);
            self.put(&Instruction::I32Store(at));
            self.put(&Instruction::GlobalGet(references));
            self.put(&Instruction::LocalGet(local));
            self.put(&Instruction::TableSet(table));
            self.put(&Instruction::GlobalGet(references));
            self.put(&Instruction::I32Const(1));
            self.put(&Instruction::I32Add);
            self.put(&Instruction::GlobalSet(references));
            return;
        }
        self.put(&Instruction::LocalGet(local));
        let store = match ty {
            ValType::I32 => Instruction::I32Store(argument(self, 2)),
            ValType::F32 => Instruction::F32Store(argument(self, 2)),
            ValType::F64 => Instruction::F64Store(argument(self, 3)),
            ValType::V128 => Instruction::V128Store(argument(self, 3)),
            ValType::I64 | ValType::FuncRef | ValType::ExternRef => {
                Instruction::I64Store(argument(self, 3))
            }
        };
        self.put(&store);
    }

    fn read_slot(&mut self, frame: u32, into: u32, ty: ValType, offset: u32) {
        let argument = |this: &Self, align| this.memory(offset, align);
        self.put(&Instruction::LocalGet(frame));
        let load = match ty {
            ValType::I32 | ValType::FuncRef | ValType::ExternRef => {
                Instruction::I32Load(argument(self, 2))
            }
            ValType::I64 => Instruction::I64Load(argument(self, 3)),
            ValType::F32 => Instruction::F32Load(argument(self, 2)),
            ValType::F64 => Instruction::F64Load(argument(self, 3)),
            ValType::V128 => Instruction::V128Load(argument(self, 3)),
        };
        self.put(&load);
        if ty.is_reference() {
            self.put(&Instruction::TableGet(self.context.private.table));
        }
        self.put(&Instruction::LocalSet(into));
    }

    fn zero(&mut self, ty: ValType) {
        let zero = match ty {
            ValType::I32 => Instruction::I32Const(0),
            ValType::I64 => Instruction::I64Const(0),
            ValType::F32 => Instruction::F32Const(0.0.into()),
            ValType::F64 => Instruction::F64Const(0.0.into()),
            ValType::V128 => Instruction::V128Const(0),
            ValType::FuncRef => Instruction::RefNull(wasm_encoder::HeapType::FUNC),
            ValType::ExternRef => Instruction::RefNull(wasm_encoder::HeapType::EXTERN),
        };
        self.put(&zero);
    }

    /// The depth of the innermost label that means a construct.
    fn label(&self, control: usize) -> u32 {
        let found = self.labels.iter().rev().position(|label| *label == Some(control));
        found.unwrap_or(0) as u32
    }

    fn depth(&self, written: u32) -> u32 {
        self.label(self.open[self.open.len() - 1 - written as usize])
    }

    /// The operators from one position to another, at the same depth of constructs.
    fn range(&mut self, from: usize, to: usize) {
        let pieces = self.pieces;
        for (at, piece) in pieces.iter().enumerate().take(to).skip(from) {
            let safepoint = self.looks.and_then(|looks| looks.at.get(&(at as u32))).copied();
            match &piece.what {
                What::Open { control, condition, .. } => {
                    self.open(piece, *control, *condition);
                    if let Some(safepoint) = safepoint {
                        self.hold_params(*control, safepoint);
                        self.poll(safepoint);
                    }
                }
                What::End => {
                    self.copy(piece);
                    self.labels.pop();
                    self.open.pop();
                }
                What::Branch(depth) if self.remap => {
                    let depth = self.depth(*depth);
                    self.put(&Instruction::Br(depth));
                }
                What::BranchIf(depth) if self.remap => {
                    let depth = self.depth(*depth);
                    self.put(&Instruction::BrIf(depth));
                }
                What::Table(targets, default) if self.remap => {
                    let targets: Vec<u32> =
                        targets.iter().map(|target| self.depth(*target)).collect();
                    let default = self.depth(*default);
                    self.put(&Instruction::BrTable(targets.into(), default));
                }
                What::Call(call) => match safepoint {
                    Some(safepoint) => self.call(piece, *call, safepoint),
                    None => self.copy(piece),
                },
                What::TailCall(Some(callee)) if safepoint.is_some() => {
                    self.hold(&piece.within_reach);
                    self.put(&Instruction::Call(*callee));
                    safepoint.into_iter().for_each(|safepoint| self.check(safepoint));
                    self.put(&Instruction::Return);
                }
                What::Own(own) => match self.context.own.get(own) {
                    Some(function) => self.put(&Instruction::Call(*function)),
                    None => self.copy(piece),
                },
                What::Plain
                | What::Else
                | What::Branch(_)
                | What::BranchIf(_)
                | What::Table(..)
                | What::TailCall(_) => self.copy(piece),
            }
        }
    }

    fn open(&mut self, piece: &Piece, control: usize, condition: bool) {
        let height = self.context.module.body(self.function).controls[control].height;
        let hidden = piece.within_reach.iter().any(|(at, _)| *at < height);
        if self.watched[control] && hidden {
            let mut operands = piece.within_reach.clone();
            if condition {
                // The condition is on top, above what is held.
                operands.pop();
                let holder = self.holder(FRAME - 1, ValType::I32);
                self.put(&Instruction::LocalSet(holder));
                self.hold(&operands);
                self.put(&Instruction::LocalGet(holder));
            } else {
                self.hold(&operands);
            }
        }
        self.copy(piece);
        self.labels.push(Some(control));
        self.open.push(control);
    }

    /// Holds the parameters of a loop, which are the operands above its height.
    fn hold_params(&mut self, control: usize, safepoint: usize) {
        let context = self.context;
        let height = context.module.body(self.function).controls[control].height;
        let operands = &context.plan.safepoints[safepoint].operands;
        let params: Vec<(usize, ValType)> =
            operands.iter().copied().enumerate().skip(height).collect();
        self.hold(&params);
    }

    fn call(&mut self, piece: &Piece, call: CallSite, safepoint: usize) {
        let kept = match self.context.plan.safepoints[safepoint].reason {
            Reason::Host => piece.within_reach.len(),
            Reason::Call | Reason::Poll => {
                piece.within_reach.len() - call.taken(self.context.module)
            }
        };
        if kept > 0 {
            self.hold(&piece.within_reach);
        }
        self.copy(piece);
        self.check(safepoint);
    }

    /// A function without parameters that reads its frame and goes on from a place.
    pub(super) fn continuation(mut self, place: &Safepoint) -> Function {
        self.remap = true;
        let context = self.context;
        let body = context.module.body(self.function);
        self.read_frame(place);
        let mut chain = vec![body.control_at[place.position as usize] as usize];
        while let Some(&control) = chain.last().filter(|control| **control != 0) {
            chain.push(body.controls[control].parent);
        }
        chain.reverse();
        for (number, &control) in chain.iter().enumerate() {
            if control != 0 {
                self.reopen(control);
            }
            let low = body.controls[control].height;
            let next = chain.get(number + 1).map(|next| body.controls[*next].height);
            let high = next.unwrap_or(place.operands.len());
            for height in low..high {
                let holder = self.holder(height, place.operands[height]);
                self.put(&Instruction::LocalGet(holder));
            }
        }
        let mut position = place.position as usize;
        if place.reason == Reason::Call {
            self.call_next(place);
            position += 1;
        }
        for &control in chain.iter().rev() {
            let shape = &body.controls[control];
            let otherwise = shape.otherwise.filter(|otherwise| position <= *otherwise as usize);
            self.range(position, otherwise.unwrap_or(shape.end) as usize);
            self.close(control);
            position = shape.end as usize + 1;
        }
        self.finish(0)
    }

    fn read_frame(&mut self, place: &Safepoint) {
        let frame = self.holder(FRAME, ValType::I32);
        let bytes: u32 = place.slots().map(slot_bytes).sum();
        self.put(&Instruction::GlobalGet(self.context.private.read));
        self.put(&Instruction::LocalTee(frame));
        self.put(&Instruction::I32Const((FRAME_HEAD_BYTES + bytes) as i32));
        self.put(&Instruction::I32Add);
        self.put(&Instruction::GlobalSet(self.context.private.read));
        let mut offset = FRAME_HEAD_BYTES;
        for (local, ty) in &place.locals {
            self.read_slot(frame, *local, *ty, offset);
            offset += slot_bytes(*ty);
        }
        for (height, ty) in place.operands.iter().enumerate() {
            let holder = self.holder(height, *ty);
            self.read_slot(frame, holder, *ty, offset);
            offset += slot_bytes(*ty);
        }
    }

    fn reopen(&mut self, control: usize) {
        let (params, results) = self.arity(control);
        let block = self.types.block(&[], &results);
        self.put(&Instruction::Block(block));
        self.open.push(control);
        if self.context.module.body(self.function).controls[control].kind == ControlKind::Loop {
            self.labels.push(None);
            let again = self.types.block(&[], &params);
            self.put(&Instruction::Block(again));
        }
        self.labels.push(Some(control));
    }

    fn close(&mut self, control: usize) {
        let body = self.context.module.body(self.function);
        let shape = &body.controls[control];
        if shape.kind == ControlKind::Loop {
            // The round is over: out of both blocks. Whoever goes round once more comes out of the
            // inner one and into the loop.
            self.put(&Instruction::Br(1));
            self.put(&Instruction::End);
            self.labels.pop();
            self.open.pop();
            let start = shape.start as usize;
            let piece = &self.pieces[start];
            self.copy(piece);
            self.labels.push(Some(control));
            self.open.push(control);
            if let Some(safepoint) =
                self.looks.and_then(|looks| looks.at.get(&shape.start)).copied()
            {
                self.hold_params(control, safepoint);
                self.poll(safepoint);
            }
            self.range(start + 1, shape.end as usize + 1);
        } else {
            self.open.pop();
        }
        self.put(&Instruction::End);
        self.labels.pop();
    }

    /// Calls the continuation of the frame inside this one, for the results of the call under way.
    fn call_next(&mut self, place: &Safepoint) {
        let module = self.context.module;
        let point = module.point(place.function, place.position);
        let call = point.and_then(|point| point.call);
        let results = call.map(|call| &*module.types()[call.type_index as usize].results);
        let ty = self.types.function(&[], results.unwrap_or(&[]));
        self.put(&Instruction::GlobalGet(self.context.private.read));
        let head = self.memory(0, 2);
        self.put(&Instruction::I32Load(head));
        let table_index = self.context.continuations;
        self.put(&Instruction::CallIndirect { type_index: ty, table_index });
        let safepoint = self.looks.and_then(|looks| looks.at.get(&place.position)).copied();
        if let Some(safepoint) = safepoint {
            self.check(safepoint);
        }
    }

    fn arity(&self, control: usize) -> (Vec<ValType>, Vec<ValType>) {
        let module = self.context.module;
        match module.body(self.function).controls[control].block {
            Some(wasmparser::BlockType::Type(ty)) => {
                (Vec::new(), ValType::from_parser(ty).into_iter().collect())
            }
            Some(wasmparser::BlockType::FuncType(index)) => {
                let ty = &module.types()[index as usize];
                (ty.params.to_vec(), ty.results.to_vec())
            }
            Some(wasmparser::BlockType::Empty) | None => (Vec::new(), Vec::new()),
        }
    }
}
