//! Decides which functions an expression may call, and what they give.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of any kind that is not named is a fault, and so is one of a new kind"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Fault;
use super::evaluate::{count, within};
use crate::value::{Float, Value};

/// A function of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// How many items, entries or letters.
    Len,
    /// A value as text.
    Text,
    /// Text as a number.
    Number,
    /// The largest int that is not greater.
    Floor,
    /// A number without its sign.
    Abs,
    /// The least of its arguments.
    Min,
    /// The greatest of its arguments.
    Max,
    /// The names in a map.
    Keys,
    /// Whether a map has a name.
    Has,
    /// Whether a list, map or text contains something.
    Contains,
    /// Whether a text starts with another.
    Starts,
    /// A part of a list or text, from a place up to another.
    Slice,
    /// A map with the entries of a second one over its own.
    Merge,
}

/// The functions with their names and how many arguments they take.
const FUNCTIONS: [(&str, Function, usize, usize); 13] = [
    ("len", Function::Len, 1, 1),
    ("text", Function::Text, 1, 1),
    ("number", Function::Number, 1, 1),
    ("floor", Function::Floor, 1, 1),
    ("abs", Function::Abs, 1, 1),
    ("min", Function::Min, 1, 16),
    ("max", Function::Max, 1, 16),
    ("keys", Function::Keys, 1, 1),
    ("has", Function::Has, 2, 2),
    ("contains", Function::Contains, 2, 2),
    ("starts", Function::Starts, 2, 2),
    ("slice", Function::Slice, 3, 3),
    ("merge", Function::Merge, 2, 2),
];

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        FUNCTIONS.iter().find(|(known, ..)| *known == name).map(|(_, function, ..)| *function)
    }

    pub(super) fn takes(self, arguments: usize) -> bool {
        FUNCTIONS.iter().any(|(_, function, least, most)| {
            *function == self && (*least..=*most).contains(&arguments)
        })
    }

    /// The name by which it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        let named = FUNCTIONS.iter().find(|(_, function, ..)| *function == self);
        named.map_or("", |(name, ..)| name)
    }

    pub(super) fn call(self, arguments: &[Value]) -> Result<Value, Fault> {
        match (self, arguments) {
            (Self::Len, [Value::List(list)]) => Ok(count(list.items().len())),
            (Self::Len, [Value::Map(map)]) => Ok(count(map.entries().len())),
            (Self::Len, [Value::Text(text)]) => Ok(count(text.chars().count())),
            (Self::Text, [value]) => Ok(Value::text(value.to_string())),
            (Self::Number, [Value::Text(text)]) => number(text),
            (Self::Number | Self::Floor | Self::Abs, [Value::Int(int)]) => match self {
                Self::Abs => int
                    .checked_abs()
                    .map(Value::Int)
                    .ok_or_else(|| Fault::new("the number is out of range")),
                _ => Ok(Value::Int(*int)),
            },
            (Self::Number, [Value::Float(float)]) => Ok(Value::Float(*float)),
            (Self::Floor, [Value::Float(float)]) => Value::number(float.get().floor())
                .ok_or_else(|| Fault::new("the number is out of range")),
            (Self::Abs, [Value::Float(float)]) => Float::new(float.get().abs())
                .map(Value::Float)
                .ok_or_else(|| Fault::new("the number is out of range")),
            (Self::Min | Self::Max, [first, rest @ ..]) => self.extreme(first, rest),
            (Self::Keys, [Value::Map(map)]) => {
                Ok(Value::list(map.entries().keys().cloned().map(Value::Text).collect())?)
            }
            (Self::Has, [Value::Map(map), Value::Text(name)]) => {
                Ok(Value::Bool(map.get(name).is_some()))
            }
            (Self::Contains, [of, what]) => within(what, of).map(Value::Bool),
            (Self::Starts, [Value::Text(text), Value::Text(start)]) => {
                Ok(Value::Bool(text.starts_with(&**start)))
            }
            (Self::Slice, [of, Value::Int(from), Value::Int(to)]) => slice(of, *from, *to),
            (Self::Merge, [Value::Map(below), Value::Map(above)]) => {
                let mut entries: BTreeMap<Arc<str>, Value> = below.entries().clone();
                entries.extend(
                    above.entries().iter().map(|(name, value)| (Arc::clone(name), value.clone())),
                );
                Ok(Value::map(entries)?)
            }
            (function, arguments) => {
                let kinds: Vec<_> = arguments.iter().map(Value::kind).collect();
                Err(Fault::new(format!("{} does not take {}", function.name(), kinds.join(", "))))
            }
        }
    }

    fn extreme(self, first: &Value, rest: &[Value]) -> Result<Value, Fault> {
        let mut best = first;
        for next in rest {
            let (Some(one), Some(other)) = (best.as_number(), next.as_number()) else {
                return Err(Fault::new(format!("{} takes numbers", self.name())));
            };
            if (self == Self::Min && other < one) || (self == Self::Max && other > one) {
                best = next;
            }
        }
        if best.as_number().is_none() {
            return Err(Fault::new(format!("{} takes numbers", self.name())));
        }
        Ok(best.clone())
    }
}

fn number(text: &str) -> Result<Value, Fault> {
    let text = text.trim();
    if let Ok(int) = text.parse() {
        return Ok(Value::Int(int));
    }
    let float = text.parse().ok().and_then(Float::new).map(Value::Float);
    float.ok_or_else(|| Fault::new("the text is no number"))
}

fn slice(of: &Value, from: i64, to: i64) -> Result<Value, Fault> {
    let range = |length: usize| {
        let place = |at: i64| usize::try_from(at).unwrap_or(0).min(length);
        place(from)..place(to).max(place(from))
    };
    match of {
        Value::List(list) => Ok(Value::list(list.items()[range(list.items().len())].to_vec())?),
        Value::Text(text) => {
            let range = range(text.chars().count());
            let part: String = text.chars().skip(range.start).take(range.len()).collect();
            Ok(Value::text(part))
        }
        other => Err(Fault::new(format!("slice does not take {}", other.kind()))),
    }
}
