//! The internal code of the interpreter: instructions that name their operands by slots.
//!
//! A frame has a slot for each local and one for each height of the operand stack; how high the stack
//! is at each instruction is known beforehand, so no instruction moves a stack pointer. There is one
//! instruction for each operator that does something, so that every position of a program is the
//! boundary of an instruction.

use crate::reference::numeric::numeric_ops;
use crate::reference::vector::{Access, Floats};

macro_rules! define_op {
    (
        binary { $($b:ident($($bt:tt)*))* } float_binary { $($fb:ident($($fbt:tt)*))* }
        try_binary { $($tb:ident($($tbt:tt)*))* } unary { $($u:ident($($ut:tt)*))* }
        float_unary { $($fu:ident($($fut:tt)*))* } try_unary { $($tu:ident($($tut:tt)*))* }
        load { $($l:ident($($lt:tt)*))* } store { $($s:ident($($st:tt)*))* }
    ) => {
        /// One instruction. `d` is the slot of the result, `a`, `b`, `c` are those of operands.
        #[derive(Debug, Clone, Copy)]
        pub(super) enum Op {
            $($b { d: u16, a: u16, b: u16 },)* $($fb { d: u16, a: u16, b: u16 },)*
            $($tb { d: u16, a: u16, b: u16 },)*
            $($u { d: u16, a: u16 },)* $($fu { d: u16, a: u16 },)* $($tu { d: u16, a: u16 },)*
            $($l { d: u16, a: u16, memory: u16, offset: u64 },)*
            $($s { a: u16, b: u16, memory: u16, offset: u64 },)*
            Const { d: u16, value: u64 },
            Copy { d: u16, a: u16 },
            Drop,
            Select { d: u16, a: u16, b: u16, c: u16 },
            GlobalGet { d: u16, global: u32 },
            GlobalSet { a: u16, global: u32 },
            Jump { to: u32 },
            /// To `to` unless the slot is zero.
            JumpIf { a: u16, to: u32 },
            JumpUnless { a: u16, to: u32 },
            /// The branch of this number, which moves values.
            Branch { branch: u32 },
            BranchIf { a: u16, branch: u32 },
            /// One of `count` branches from `first` on, the last for everything above.
            Table { a: u16, first: u32, count: u32 },
            Return { a: u16 },
            Unreachable,
            /// Arguments begin at slot `a`, where the results will be.
            Call { a: u16, function: u32 },
            CallHost { a: u16, function: u32 },
            /// The index into the table is above the arguments.
            CallIndirect { a: u16, i: u16, table: u32, ty: u32 },
            ReturnCall { a: u16, function: u32 },
            ReturnCallIndirect { a: u16, i: u16, table: u32, ty: u32 },
            RefIsNull { d: u16, a: u16 },
            MemorySize { d: u16, memory: u16 },
            MemoryGrow { d: u16, a: u16, memory: u16 },
            /// Destination, source and length are in three slots from `a` on; of all bulk instructions.
            MemoryCopy { a: u16, to: u16, from: u16 },
            MemoryFill { a: u16, memory: u16 },
            MemoryInit { a: u16, memory: u16, segment: u32 },
            DataDrop { segment: u32 },
            TableGet { d: u16, a: u16, table: u32 },
            TableSet { a: u16, b: u16, table: u32 },
            TableSize { d: u16, table: u32 },
            TableGrow { d: u16, a: u16, b: u16, table: u32 },
            TableFill { a: u16, table: u32 },
            TableCopy { a: u16, to: u32, from: u32 },
            TableInit { a: u16, table: u32, segment: u32 },
            ElemDrop { segment: u32 },
            /// The instruction on vectors of this number.
            Vector { number: u32 },
        }
    };
}

numeric_ops!(define_op);

/// One instruction on vectors.
#[derive(Debug, Clone, Copy)]
pub(super) enum VectorOp {
    Const {
        d: u16,
        constant: u32,
    },
    One {
        d: u16,
        a: u16,
        floats: Floats,
        of: fn(u128) -> u128,
    },
    Two {
        d: u16,
        a: u16,
        b: u16,
        floats: Floats,
        of: fn(u128, u128) -> u128,
    },
    Shift {
        d: u16,
        a: u16,
        b: u16,
        of: fn(u128, u32) -> u128,
    },
    Splat {
        d: u16,
        a: u16,
        of: fn(u64) -> u128,
    },
    Test {
        d: u16,
        a: u16,
        of: fn(u128) -> u64,
    },
    /// The bits of `a` where `c` has ones, and those of `b` elsewhere.
    Select {
        d: u16,
        a: u16,
        b: u16,
        c: u16,
    },
    Shuffle {
        d: u16,
        a: u16,
        b: u16,
        constant: u32,
    },
    ExtractLane {
        d: u16,
        a: u16,
        lane: u8,
        of: fn(u128, u32) -> u64,
    },
    ReplaceLane {
        d: u16,
        a: u16,
        b: u16,
        lane: u8,
        bits: u8,
    },
    /// The address is in `a`, a vector in `b`.
    Access {
        d: u16,
        a: u16,
        b: u16,
        access: u32,
    },
}

/// Instructions are read one after the other: their size is how fast that is.
const _: () = assert!(size_of::<Op>() == 16);

/// A branch that moves values: `count` slots from `from` to `into`, then on at `to`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Branch {
    pub(super) to: u32,
    pub(super) from: u16,
    pub(super) into: u16,
    pub(super) count: u16,
}

/// The code of one function.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) ops: Vec<Op>,
    pub(super) branches: Vec<Branch>,
    pub(super) vectors: Vec<VectorOp>,
    pub(super) constants: Vec<u128>,
    pub(super) accesses: Vec<Access>,
    /// The position of each instruction.
    pub(super) positions: Vec<u32>,
    /// How many slots its frame needs, of which locals, of which parameters; and how many results.
    pub(super) slots: u32,
    pub(super) locals: u32,
    pub(super) params: u32,
    pub(super) results: u32,
}

impl Code {
    /// The first instruction at or after a position.
    pub(super) fn instruction(&self, position: u32) -> usize {
        self.positions.partition_point(|at| *at < position)
    }
}
