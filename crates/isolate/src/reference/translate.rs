//! Translates a function body into the code of the interpreter.

use wasmparser::{BlockType, MemArg, Operator};

use crate::module::{Body, ControlKind, Module, Step};
use crate::reference::code::{Branch, Code, Op, VectorOp};
use crate::reference::numeric::numeric_ops;
use crate::reference::vector::{LaneOf, Shape, access, lane_of, shape};

/// A place in the code that is filled in when the end of a construct is known.
enum Patch {
    Jump(usize),
    Branch(usize),
}

/// Where a branch leads: to an instruction, moving nothing, or as it is noted under a number.
enum Target {
    Known(u32),
    Numbered(u32),
}

struct Open {
    kind: ControlKind,
    /// Where a branch to it goes, if that is known already: into a loop.
    begin: u32,
    /// How many values a branch to it carries, and the slot to which.
    arity: u16,
    into: u16,
    patches: Vec<Patch>,
    /// The jump over the first arm of an `if`.
    otherwise: Option<usize>,
}

pub(super) fn translate(module: &Module, function: u32) -> Code {
    let body = module.body(function);
    let ty = module.signature(function);
    let mut translation = Translation {
        module,
        body,
        code: Code {
            ops: Vec::new(),
            branches: Vec::new(),
            vectors: Vec::new(),
            constants: Vec::new(),
            accesses: Vec::new(),
            positions: Vec::new(),
            slots: 0,
            locals: body.locals.len() as u32,
            params: ty.params.len() as u32,
            results: ty.results.len() as u32,
        },
        open: vec![Open {
            kind: ControlKind::Function,
            begin: 0,
            arity: ty.results.len() as u16,
            into: 0,
            patches: Vec::new(),
            otherwise: None,
        }],
    };
    module.walk(function, |step| translation.step(step));
    let mut code = translation.code;
    // Results are copied to where the frame begins, also by a function without operands.
    code.slots = code.slots.max(code.results).max(code.locals) + 3;
    code
}

struct Translation<'m> {
    module: &'m Module,
    body: &'m Body,
    code: Code,
    open: Vec<Open>,
}

impl Translation<'_> {
    fn slot(&self, height: usize) -> u16 {
        self.body.locals.len().wrapping_add(height) as u16
    }

    fn emit(&mut self, step: &Step<'_, '_>, op: Op) {
        self.code.positions.push(step.position);
        self.code.ops.push(op);
    }

    fn here(&self) -> u32 {
        self.code.ops.len() as u32
    }

    fn step(&mut self, step: &Step<'_, '_>) {
        let height = step.height();
        self.code.slots = self.code.slots.max((self.body.locals.len() + height) as u32 + 1);
        if !self.control(step, height) && step.reachable {
            let top = |depth: usize| self.slot(height.wrapping_sub(depth));
            let op = numeric(step.operator, top)
                .or_else(|| self.variable(step.operator, top))
                .or_else(|| self.table_or_memory(step.operator, top))
                .or_else(|| {
                    let vector = self.vector(step.operator, height)?;
                    self.code.vectors.push(vector);
                    Some(Op::Vector { number: self.code.vectors.len() as u32 - 1 })
                });
            debug_assert!(op.is_some(), "{:?} is not translated", step.operator);
            self.emit(step, op.unwrap_or(Op::Unreachable));
        }
    }

    /// Constructs, branches and calls; false if the operator is none of them.
    #[allow(clippy::wildcard_enum_match_arm, reason = "all others are translated elsewhere")]
    fn control(&mut self, step: &Step<'_, '_>, height: usize) -> bool {
        let locals = self.body.locals.len();
        let top = |depth: usize| locals.wrapping_add(height.wrapping_sub(depth)) as u16;
        match step.operator {
            Operator::Nop => {}
            Operator::Block { blockty } => self.enter(step, ControlKind::Block, *blockty),
            Operator::Loop { blockty } => self.enter(step, ControlKind::Loop, *blockty),
            Operator::If { blockty } => {
                let at = self.code.ops.len();
                self.emit(step, Op::JumpUnless { a: top(1), to: 0 });
                self.enter(step, ControlKind::If, *blockty);
                if let Some(open) = self.open.last_mut() {
                    open.otherwise = Some(at);
                }
            }
            Operator::Else => {
                let at = self.code.ops.len();
                self.emit(step, Op::Jump { to: 0 });
                let here = self.here();
                if let Some(open) = self.open.last_mut() {
                    open.patches.push(Patch::Jump(at));
                    if let Some(jump) = open.otherwise.take() {
                        self.code.ops[jump] = retarget(self.code.ops[jump], here);
                    }
                }
            }
            Operator::End => self.leave(step),
            Operator::Br { relative_depth } => {
                if step.reachable {
                    let op = match self.branch(height, *relative_depth) {
                        Target::Known(to) => Op::Jump { to },
                        Target::Numbered(branch) => Op::Branch { branch },
                    };
                    self.emit(step, op);
                }
            }
            Operator::BrIf { relative_depth } => {
                if step.reachable {
                    let a = top(1);
                    let op = match self.branch(height - 1, *relative_depth) {
                        Target::Known(to) => Op::JumpIf { a, to },
                        Target::Numbered(branch) => Op::BranchIf { a, branch },
                    };
                    self.emit(step, op);
                }
            }
            Operator::BrTable { targets } => {
                if step.reachable {
                    let first = self.code.branches.len() as u32;
                    for target in targets.targets().flatten() {
                        self.numbered(height - 1, target);
                    }
                    self.numbered(height - 1, targets.default());
                    let count = self.code.branches.len() as u32 - first;
                    self.emit(step, Op::Table { a: top(1), first, count });
                }
            }
            Operator::Return => {
                let results = self.code.results as usize;
                self.emit(step, Op::Return { a: top(results) });
            }
            Operator::Unreachable => self.emit(step, Op::Unreachable),
            Operator::Call { function_index } => {
                let function = *function_index;
                let a = top(self.module.signature(function).params.len());
                if self.module.is_defined(function) {
                    self.emit(step, Op::Call { a, function });
                } else {
                    self.emit(step, Op::CallHost { a, function });
                }
            }
            Operator::ReturnCall { function_index } => {
                let function = *function_index;
                let a = top(self.module.signature(function).params.len());
                self.emit(step, Op::ReturnCall { a, function });
            }
            Operator::CallIndirect { type_index, table_index } => {
                let params = self.module.types()[*type_index as usize].params.len();
                let (a, i) = (top(params + 1), top(1));
                let (table, ty) = (*table_index, *type_index);
                self.emit(step, Op::CallIndirect { a, i, table, ty });
            }
            Operator::ReturnCallIndirect { type_index, table_index } => {
                let params = self.module.types()[*type_index as usize].params.len();
                let (a, i) = (top(params + 1), top(1));
                let (table, ty) = (*table_index, *type_index);
                self.emit(step, Op::ReturnCallIndirect { a, i, table, ty });
            }
            _ => return false,
        }
        true
    }

    fn enter(&mut self, step: &Step<'_, '_>, kind: ControlKind, block: BlockType) {
        let (params, results) = self.arity(block);
        let popped = params + usize::from(kind == ControlKind::If);
        let into = self.slot(step.height().wrapping_sub(popped));
        let arity = if kind == ControlKind::Loop { params } else { results } as u16;
        let begin = self.here();
        self.open.push(Open { kind, begin, arity, into, patches: Vec::new(), otherwise: None });
    }

    fn leave(&mut self, step: &Step<'_, '_>) {
        let here = self.here();
        let Some(open) = self.open.pop() else { return };
        if let Some(jump) = open.otherwise {
            self.code.ops[jump] = retarget(self.code.ops[jump], here);
        }
        for patch in open.patches {
            match patch {
                Patch::Jump(at) => self.code.ops[at] = retarget(self.code.ops[at], here),
                Patch::Branch(number) => self.code.branches[number].to = here,
            }
        }
        if open.kind == ControlKind::Function {
            // Nothing but the results is on the stack here.
            let a = self.slot(0);
            self.emit(step, Op::Return { a });
        }
    }

    fn arity(&self, block: BlockType) -> (usize, usize) {
        match block {
            BlockType::Empty => (0, 0),
            BlockType::Type(_) => (0, 1),
            BlockType::FuncType(index) => {
                let ty = &self.module.types()[index as usize];
                (ty.params.len(), ty.results.len())
            }
        }
    }

    /// Where a branch from a stack of this height leads.
    fn branch(&mut self, height: usize, depth: u32) -> Target {
        let open = &self.open[self.open.len() - 1 - depth as usize];
        let from = self.slot(height.wrapping_sub(open.arity as usize));
        if open.kind == ControlKind::Loop && (open.arity == 0 || from == open.into) {
            return Target::Known(open.begin);
        }
        Target::Numbered(self.numbered(height, depth))
    }

    /// Notes a branch and gives its number.
    fn numbered(&mut self, height: usize, depth: u32) -> u32 {
        let number = self.code.branches.len();
        let at = self.open.len() - 1 - depth as usize;
        let from = self.slot(height.wrapping_sub(self.open[at].arity as usize));
        let first = self.slot(0);
        let open = &mut self.open[at];
        let mut branch = Branch { to: open.begin, from, into: open.into, count: open.arity };
        match open.kind {
            ControlKind::Loop => {}
            // To where the results lie at the last `end`.
            ControlKind::Function => {
                branch.into = first;
                open.patches.push(Patch::Branch(number));
            }
            ControlKind::Block | ControlKind::If => open.patches.push(Patch::Branch(number)),
        }
        self.code.branches.push(branch);
        number as u32
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "all others are translated elsewhere")]
    fn variable(&self, operator: &Operator<'_>, top: impl Fn(usize) -> u16) -> Option<Op> {
        let next = top(0);
        Some(match operator {
            Operator::LocalGet { local_index } => Op::Copy { d: next, a: *local_index as u16 },
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                Op::Copy { d: *local_index as u16, a: top(1) }
            }
            Operator::GlobalGet { global_index } => {
                Op::GlobalGet { d: next, global: *global_index }
            }
            Operator::GlobalSet { global_index } => {
                Op::GlobalSet { a: top(1), global: *global_index }
            }
            Operator::I32Const { value } => Op::Const { d: next, value: u64::from(*value as u32) },
            Operator::I64Const { value } => Op::Const { d: next, value: *value as u64 },
            Operator::F32Const { value } => Op::Const { d: next, value: u64::from(value.bits()) },
            Operator::F64Const { value } => Op::Const { d: next, value: value.bits() },
            Operator::RefNull { .. } => Op::Const { d: next, value: 0 },
            Operator::RefFunc { function_index } => {
                Op::Const { d: next, value: u64::from(*function_index) + 1 }
            }
            Operator::RefIsNull => Op::RefIsNull { d: top(1), a: top(1) },
            Operator::Drop => Op::Drop,
            Operator::Select | Operator::TypedSelect { .. } => {
                Op::Select { d: top(3), a: top(3), b: top(2), c: top(1) }
            }
            _ => return None,
        })
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "all others are translated by their shape")]
    fn vector(&mut self, operator: &Operator<'_>, height: usize) -> Option<VectorOp> {
        let top = |depth: usize| self.slot(height.wrapping_sub(depth));
        let (one, two, three, next) = (top(1), top(2), top(3), top(0));
        match operator {
            Operator::V128Const { value } => {
                let constant = self.constant(u128::from_le_bytes(*value.bytes()));
                return Some(VectorOp::Const { d: next, constant });
            }
            Operator::I8x16Shuffle { lanes } => {
                let constant = self.constant(u128::from_le_bytes(*lanes));
                return Some(VectorOp::Shuffle { d: two, a: two, b: one, constant });
            }
            Operator::V128Bitselect => {
                return Some(VectorOp::Select { d: three, a: three, b: two, c: one });
            }
            _ => {}
        }
        if let Some(reached) = access(operator) {
            let access = self.code.accesses.len() as u32;
            let loads = matches!(reached.kind, crate::reference::vector::AccessKind::Load { .. });
            self.code.accesses.push(reached);
            let a = if loads { one } else { two };
            return Some(VectorOp::Access { d: a, a, b: one, access });
        }
        if let Some((what, lane)) = lane_of(operator) {
            return Some(match what {
                LaneOf::Extract(of) => VectorOp::ExtractLane { d: one, a: one, lane, of },
                LaneOf::Replace(bits) => {
                    VectorOp::ReplaceLane { d: two, a: two, b: one, lane, bits }
                }
            });
        }
        let (shape, floats) = shape(operator)?;
        Some(match shape {
            Shape::One(of) => VectorOp::One { d: one, a: one, floats, of },
            Shape::Two(of) => VectorOp::Two { d: two, a: two, b: one, floats, of },
            Shape::Shift(of) => VectorOp::Shift { d: two, a: two, b: one, of },
            Shape::Splat(of) => VectorOp::Splat { d: one, a: one, of },
            Shape::Test(of) => VectorOp::Test { d: one, a: one, of },
        })
    }

    fn constant(&mut self, bits: u128) -> u32 {
        self.code.constants.push(bits);
        self.code.constants.len() as u32 - 1
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "all others are translated elsewhere")]
    fn table_or_memory(&self, operator: &Operator<'_>, top: impl Fn(usize) -> u16) -> Option<Op> {
        Some(match operator {
            Operator::MemorySize { mem } => Op::MemorySize { d: top(0), memory: *mem as u16 },
            Operator::MemoryGrow { mem } => {
                Op::MemoryGrow { d: top(1), a: top(1), memory: *mem as u16 }
            }
            Operator::MemoryCopy { dst_mem, src_mem } => {
                Op::MemoryCopy { a: top(3), to: *dst_mem as u16, from: *src_mem as u16 }
            }
            Operator::MemoryFill { mem } => Op::MemoryFill { a: top(3), memory: *mem as u16 },
            Operator::MemoryInit { data_index, mem } => {
                Op::MemoryInit { a: top(3), memory: *mem as u16, segment: *data_index }
            }
            Operator::DataDrop { data_index } => Op::DataDrop { segment: *data_index },
            Operator::TableGet { table } => Op::TableGet { d: top(1), a: top(1), table: *table },
            Operator::TableSet { table } => Op::TableSet { a: top(2), b: top(1), table: *table },
            Operator::TableSize { table } => Op::TableSize { d: top(0), table: *table },
            Operator::TableGrow { table } => {
                Op::TableGrow { d: top(2), a: top(2), b: top(1), table: *table }
            }
            Operator::TableFill { table } => Op::TableFill { a: top(3), table: *table },
            Operator::TableCopy { dst_table, src_table } => {
                Op::TableCopy { a: top(3), to: *dst_table, from: *src_table }
            }
            Operator::TableInit { elem_index, table } => {
                Op::TableInit { a: top(3), table: *table, segment: *elem_index }
            }
            Operator::ElemDrop { elem_index } => Op::ElemDrop { segment: *elem_index },
            _ => return None,
        })
    }
}

fn retarget(op: Op, to: u32) -> Op {
    if let Op::JumpUnless { a, .. } = op { Op::JumpUnless { a, to } } else { Op::Jump { to } }
}

macro_rules! define_numeric {
    (
        binary { $($b:ident($($bt:tt)*))* } float_binary { $($fb:ident($($fbt:tt)*))* }
        try_binary { $($tb:ident($($tbt:tt)*))* } unary { $($u:ident($($ut:tt)*))* }
        float_unary { $($fu:ident($($fut:tt)*))* } try_unary { $($tu:ident($($tut:tt)*))* }
        load { $($l:ident($($lt:tt)*))* } store { $($s:ident($($st:tt)*))* }
    ) => {
        #[allow(clippy::wildcard_enum_match_arm, reason = "all others are translated elsewhere")]
        fn numeric(operator: &Operator<'_>, top: impl Fn(usize) -> u16) -> Option<Op> {
            let memory = |argument: &MemArg| (argument.memory as u16, argument.offset);
            Some(match operator {
                $(Operator::$b => Op::$b { d: top(2), a: top(2), b: top(1) },)*
                $(Operator::$fb => Op::$fb { d: top(2), a: top(2), b: top(1) },)*
                $(Operator::$tb => Op::$tb { d: top(2), a: top(2), b: top(1) },)*
                $(Operator::$u => Op::$u { d: top(1), a: top(1) },)*
                $(Operator::$fu => Op::$fu { d: top(1), a: top(1) },)*
                $(Operator::$tu => Op::$tu { d: top(1), a: top(1) },)*
                $(Operator::$l { memarg } => {
                    let (memory, offset) = memory(memarg);
                    Op::$l { d: top(1), a: top(1), memory, offset }
                })*
                $(Operator::$s { memarg } => {
                    let (memory, offset) = memory(memarg);
                    Op::$s { a: top(2), b: top(1), memory, offset }
                })*
                _ => return None,
            })
        }
    };
}

numeric_ops!(define_numeric);
