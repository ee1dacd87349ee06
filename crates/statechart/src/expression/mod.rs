//! Decides what an expression means: a small total language over [`Value`]s.
//!
//! There are no loops, no recursion, no assignment and no state: an expression always ends, costs in
//! proportion to what it names, and gives a value or a [`Fault`]. Nothing is converted in silence:
//! a condition is a truth value, text is added to text, and a number that is out of range is a
//! fault.
//!
//! ```text
//! condition ? a : b      || && !      == != < <= > >= in      + - * / %      -a
//! a.b   a[b]   [a, b]   {name: a}   'text'   "text"   1   1.5   true   false   null
//! _event _event.data … _sessionid _name _ioprocessors      In('state')      defined(a)
//! len text number floor abs min max keys has contains starts slice merge host functions
//! ```
//!
//! * `a == b` compares whole values, an int with a float as numbers.
//! * `a in b`: an item of a list, a name of a map, a part of a text.
//! * `a / b` is an int where that is exact. Division by zero is a fault.
//! * `a && b`, `a || b`, `a ? b : c` do not look at what they do not need.
//! * `defined(a)`: whether `a` has a value other than null; no fault whatever `a` is.
//!
//! # Limits
//!
//! * [`SOURCE_BYTES_MAX`] of text, [`NESTING_MAX`] levels; beyond them it is not an expression.

mod evaluate;
mod functions;
mod parse;
mod token;

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

pub use evaluate::Scope;
pub use functions::Function;

use crate::value::Value;

/// How long an expression may be.
pub const SOURCE_BYTES_MAX: usize = 64 * 1024;

/// How deep an expression may nest.
pub const NESTING_MAX: usize = 48;

/// An expression, read and bound to the variables of its chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    source: Arc<str>,
    root: Node,
}

/// Where the names of an expression lead.
pub trait Names {
    /// The place of a variable; none if the chart has no such variable.
    fn variable(&self, name: &str) -> Option<u32>;
}

/// Text that is no expression.
///
/// Fault: whoever wrote it. Changed: nothing. Again: no.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what} at byte {at} of `{source_text}`")]
pub struct SyntaxError {
    /// What is wrong.
    pub what: String,
    /// Where.
    pub at: usize,
    /// In which text.
    pub source_text: String,
}

/// An expression that has no value at present.
///
/// Fault: the chart, or the event. Changed: nothing. It becomes the event `error.execution`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Fault(pub String);

impl Fault {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Literal(Value),
    Variable(u32),
    /// A name that leads nowhere: a fault when it is read.
    Unknown(Arc<str>),
    System(System),
    Event(EventField),
    Field(Box<Self>, Arc<str>),
    Index(Box<Self>, Box<Self>),
    List(Vec<Self>),
    Map(Vec<(Arc<str>, Self)>),
    Not(Box<Self>),
    Negative(Box<Self>),
    Both(Box<Self>, Box<Self>),
    Either(Box<Self>, Box<Self>),
    Choice(Box<(Self, Self, Self)>),
    Binary(Binary, Box<Self>, Box<Self>),
    In(Box<Self>),
    Defined(Box<Self>),
    Call(Function, Vec<Self>),
    Host(Arc<str>, Vec<Self>),
    /// Text that is no expression, kept by a lenient chart: a fault when it is read.
    Broken(Arc<str>),
}

impl Node {
    fn unknown(&self) -> Option<&str> {
        match self {
            Self::Unknown(name) => Some(name),
            Self::Literal(_)
            | Self::Variable(_)
            | Self::System(_)
            | Self::Event(_)
            | Self::Defined(_)
            | Self::Broken(_) => None,
            Self::Field(inner, _) | Self::Not(inner) | Self::Negative(inner) | Self::In(inner) => {
                inner.unknown()
            }
            Self::Index(left, right)
            | Self::Both(left, right)
            | Self::Either(left, right)
            | Self::Binary(_, left, right) => left.unknown().or_else(|| right.unknown()),
            Self::List(items) | Self::Call(_, items) | Self::Host(_, items) => {
                items.iter().find_map(Self::unknown)
            }
            Self::Map(entries) => entries.iter().find_map(|(_, value)| value.unknown()),
            Self::Choice(parts) => {
                let (condition, yes, no) = &**parts;
                [condition, yes, no].into_iter().find_map(Self::unknown)
            }
        }
    }
}

/// What the engine knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// The event that is being processed.
    Event,
    /// The session.
    SessionId,
    /// The chart's name.
    Name,
    /// Where events can be sent.
    IoProcessors,
}

/// What the engine knows of the event that is being processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventField {
    /// Its name.
    Name,
    /// Platform, internal or external.
    Type,
    /// The id of the `send` that failed or sent it.
    SendId,
    /// Where an answer goes.
    Origin,
    /// By which processor.
    OriginType,
    /// Of which invocation.
    InvokeId,
    /// What it brings.
    Data,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Within,
}

impl Expression {
    /// Reads `source`.
    ///
    /// # Errors
    ///
    /// [`SyntaxError`] when it is no expression.
    pub fn parse(source: &str, names: &dyn Names) -> Result<Self, SyntaxError> {
        let root = parse::parse(source, names)?;
        Ok(Self { source: source.into(), root })
    }

    /// Reads `source`; what is no expression becomes one that always faults.
    #[must_use]
    pub fn lenient(source: &str, names: &dyn Names) -> Self {
        Self::parse(source, names).unwrap_or_else(|error| Self {
            source: source.into(),
            root: Node::Broken(error.to_string().into()),
        })
    }

    /// A part of the expression `source`.
    pub(crate) fn of(source: &str, root: Node) -> Self {
        Self { source: source.into(), root }
    }

    /// Its value.
    ///
    /// # Errors
    ///
    /// [`Fault`] when it has none at present.
    pub fn evaluate(&self, scope: &impl Scope) -> Result<Value, Fault> {
        evaluate::evaluate(&self.root, scope)
    }

    /// Whether it holds.
    ///
    /// # Errors
    ///
    /// [`Fault`] when it has no value, or one that is no truth value.
    pub fn holds(&self, scope: &impl Scope) -> Result<bool, Fault> {
        evaluate::truth(&self.root, scope)
    }

    /// A name in it that leads nowhere, if it is read and not only asked whether it is defined.
    pub(crate) fn unknown(&self) -> Option<&str> {
        self.root.unknown()
    }

    /// The text that it was read from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    pub(crate) const fn root(&self) -> &Node {
        &self.root
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

#[cfg(test)]
mod tests;
