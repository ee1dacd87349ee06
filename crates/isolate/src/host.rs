//! What a program meets outside of itself: what it is supplied with, and who answers its calls.

use thiserror::Error;

use crate::module::{Import, MemoryType, TableType};
use crate::value::{FuncType, Value};

/// Why a program ended without a result.
///
/// Fault: the program, or of `Host` whoever answered. Changed: what it did until then stays done.
/// Again: it would come out the same.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Trap {
    /// It came to an `unreachable`.
    #[error("unreachable was reached")]
    Unreachable,
    /// An address beyond its memory.
    #[error("out of bounds of memory")]
    MemoryOutOfBounds,
    /// An index beyond a table.
    #[error("out of bounds of a table")]
    TableOutOfBounds,
    /// An indirect call of nothing.
    #[error("an indirect call of null")]
    IndirectCallToNull,
    /// An indirect call of a function of another type.
    #[error("an indirect call of another type")]
    BadSignature,
    /// A division that does not fit, or a conversion.
    #[error("integer overflow")]
    IntegerOverflow,
    /// A division by zero.
    #[error("integer division by zero")]
    DivisionByZero,
    /// A NaN as an integer.
    #[error("no integer stands for this float")]
    BadConversion,
    /// Too many calls within calls.
    #[error("the stack is exhausted")]
    StackOverflow,
    /// The instructions that it might execute are used up.
    #[error("the fuel is used up")]
    OutOfFuel,
    /// A host function said so.
    #[error("the host: {0}")]
    Host(String),
}

/// What is supplied for an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Supply {
    /// A function of the host.
    Function(FuncType),
    /// A global with this value.
    Global(Value),
    /// A memory of the program's own, of this type.
    Memory(MemoryType),
    /// A table of the program's own, of this type.
    Table(TableType),
}

/// Says what is supplied for the imports of a program.
pub trait Environment {
    /// What is supplied for this import, if anything.
    fn supply(&self, import: &Import) -> Option<Supply>;
}

/// How a host function answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// With results, of the types that were declared.
    Return(Vec<Value>),
    /// By ending the program.
    Trap(Trap),
    /// Not now: the program is to be stopped, and the call made again where it goes on. The bytes
    /// are noted in the state.
    Suspend(Vec<u8>),
}

/// Answers the calls of a program.
///
/// A call is atomic or restartable: one that answers [`Answer::Suspend`] must not have changed
/// anything that a second call would change again.
pub trait Host: Send {
    /// Answers a call of the imported function of this index. `memory` is the first memory of the
    /// program; `note` is what was noted when the same call was suspended.
    fn call(
        &mut self,
        function: u32,
        arguments: &[Value],
        memory: Option<&mut [u8]>,
        note: Option<&[u8]>,
    ) -> Answer;
}

/// Supplies nothing and answers nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHost;

impl Environment for NoHost {
    fn supply(&self, _: &Import) -> Option<Supply> {
        None
    }
}

impl Host for NoHost {
    fn call(&mut self, _: u32, _: &[Value], _: Option<&mut [u8]>, _: Option<&[u8]>) -> Answer {
        Answer::Trap(Trap::Host("there is no host".to_owned()))
    }
}
