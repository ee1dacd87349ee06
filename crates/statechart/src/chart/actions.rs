//! Decides what executable content is once it was read: expressions parsed, variables numbered.

use std::sync::Arc;

use crate::definition::{Origin, Supervise};
use crate::expression::{Expression, Node};
use crate::value::Value;

/// Something to do.
#[derive(Debug)]
pub(crate) enum Act {
    Raise(Arc<str>),
    Assign { to: Place, value: Source },
    If(Vec<(Option<Expression>, Vec<Self>)>),
    ForEach { list: Expression, item: Option<u32>, index: Option<Option<u32>>, acts: Vec<Self> },
    Log { label: Option<Arc<str>>, value: Option<Expression> },
    Send(Box<Sending>),
    Cancel(Word),
    Spawn(Box<Spawning>),
    Stop(Word),
    Fail(Arc<str>),
    At(Arc<Origin>, Box<Self>),
}

/// A value that is written down or reckoned.
#[derive(Debug)]
pub(crate) enum Source {
    Literal(Value),
    Expression(Expression),
}

/// Text that is written down or reckoned.
#[derive(Debug)]
pub(crate) enum Word {
    Fixed(Arc<str>),
    Expression(Expression),
}

/// A variable or a part of one.
#[derive(Debug)]
pub(crate) struct Place {
    /// None: it is no variable of the chart, and giving it a value is an error.
    pub(crate) variable: Option<u32>,
    pub(crate) steps: Vec<Step>,
    pub(crate) text: Arc<str>,
}

/// A step into a value.
#[derive(Debug)]
pub(crate) enum Step {
    Field(Arc<str>),
    Index(Expression),
}

/// An event to send.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) slot: Arc<str>,
    pub(crate) id: Option<Arc<str>>,
    pub(crate) id_into: Option<Place>,
    pub(crate) event: Option<Word>,
    pub(crate) to: Option<Word>,
    pub(crate) by: Option<Word>,
    pub(crate) delay: Option<Word>,
    pub(crate) data: Body,
}

/// A child to spawn.
#[derive(Debug)]
pub(crate) struct Spawning {
    pub(crate) id: Option<Word>,
    pub(crate) id_into: Option<Place>,
    pub(crate) chart: Word,
    pub(crate) data: Body,
    pub(crate) supervise: Option<Supervise>,
    pub(crate) mailbox: Option<u32>,
    pub(crate) on: Option<Word>,
}

/// What an event brings.
#[derive(Debug, Default)]
pub(crate) struct Body {
    /// Names, with the variable or what is reckoned.
    pub(crate) params: Vec<(Arc<str>, Source)>,
    pub(crate) content: Option<Source>,
}

/// The place that a parsed expression names; none if it names none.
pub(crate) fn place(text: &str, parsed: &Node) -> Option<Place> {
    let mut steps = Vec::new();
    let mut node = parsed;
    loop {
        match node {
            Node::Field(of, name) => {
                steps.push(Step::Field(Arc::clone(name)));
                node = of;
            }
            Node::Index(of, index) => {
                steps.push(Step::Index(Expression::of(text, (**index).clone())));
                node = of;
            }
            Node::Variable(variable) => {
                steps.reverse();
                return Some(Place { variable: Some(*variable), steps, text: text.into() });
            }
            Node::Unknown(_) | Node::System(_) | Node::Event(_) => {
                return Some(Place { variable: None, steps: Vec::new(), text: text.into() });
            }
            Node::Literal(_)
            | Node::List(_)
            | Node::Map(_)
            | Node::Not(_)
            | Node::Negative(_)
            | Node::Both(..)
            | Node::Either(..)
            | Node::Choice(_)
            | Node::Binary(..)
            | Node::In(_)
            | Node::Defined(_)
            | Node::Call(..)
            | Node::Host(..)
            | Node::Broken(_) => return None,
        }
    }
}
