//! Decides what an expression is worth in a scope.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of any kind that is not named is a fault, and so is one of a new kind"
)]

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Binary, EventField, Fault, Node, System};
use crate::value::{Float, Value, WEIGHT_MAX};

/// What an expression can see.
pub trait Scope {
    /// The variable at `place`; none if it has no value.
    fn variable(&self, place: u32) -> Option<&Value>;

    /// What the engine knows.
    fn system(&self, which: System) -> Value;

    /// What the engine knows of the event; null if that is nothing.
    fn event(&self, field: EventField) -> Value;

    /// Whether the state of this id is active.
    fn is_in(&self, state: &str) -> bool;

    /// The value of a function that the host offers.
    ///
    /// # Errors
    ///
    /// [`Fault`] when it offers none of this name, or it fails.
    fn host(&self, name: &str, arguments: &[Value]) -> Result<Value, Fault>;
}

pub(super) fn truth(node: &Node, scope: &impl Scope) -> Result<bool, Fault> {
    match node {
        Node::Not(inner) => truth(inner, scope).map(|truth| !truth),
        Node::Both(left, right) => Ok(truth(left, scope)? && truth(right, scope)?),
        Node::Either(left, right) => Ok(truth(left, scope)? || truth(right, scope)?),
        Node::Binary(operator, left, right) => compare_in_place(*operator, left, right, scope)
            .unwrap_or_else(|| evaluate(node, scope).and_then(|value| as_truth(&value))),
        other => evaluate(other, scope).and_then(|value| as_truth(&value)),
    }
}

fn as_truth(value: &Value) -> Result<bool, Fault> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        other => Err(Fault::new(format!("{} is no truth value", other.kind()))),
    }
}

/// A variable or a literal is compared where it is: most guards are that.
fn compare_in_place(
    operator: Binary,
    left: &Node,
    right: &Node,
    scope: &impl Scope,
) -> Option<Result<bool, Fault>> {
    let (left, right) = (in_place(left, scope)?, in_place(right, scope)?);
    match operator {
        Binary::Equal => Some(Ok(left.same(right))),
        Binary::Unequal => Some(Ok(!left.same(right))),
        Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual => {
            Some(order(operator, left, right))
        }
        Binary::Add
        | Binary::Subtract
        | Binary::Multiply
        | Binary::Divide
        | Binary::Remainder
        | Binary::Within => None,
    }
}

fn in_place<'a>(node: &'a Node, scope: &'a impl Scope) -> Option<&'a Value> {
    match node {
        Node::Literal(value) => Some(value),
        Node::Variable(place) => scope.variable(*place),
        _ => None,
    }
}

pub(super) fn evaluate(node: &Node, scope: &impl Scope) -> Result<Value, Fault> {
    match node {
        Node::Literal(value) => Ok(value.clone()),
        Node::Variable(place) => scope
            .variable(*place)
            .cloned()
            .ok_or_else(|| Fault::new("a variable is read that has no value")),
        Node::Unknown(name) => Err(Fault::new(format!("there is no variable {name}"))),
        Node::Broken(what) => Err(Fault::new(&**what)),
        Node::System(which) => Ok(scope.system(*which)),
        Node::Event(field) => Ok(scope.event(*field)),
        Node::Field(of, name) => member(&evaluate(of, scope)?, name),
        Node::Index(of, index) => item(&evaluate(of, scope)?, &evaluate(index, scope)?),
        Node::List(items) => Ok(Value::list(all(items, scope)?)?),
        Node::Map(entries) => {
            let mut map = BTreeMap::new();
            for (name, value) in entries {
                map.insert(Arc::clone(name), evaluate(value, scope)?);
            }
            Ok(Value::map(map)?)
        }
        Node::Not(_) | Node::Both(..) | Node::Either(..) => truth(node, scope).map(Value::Bool),
        Node::Negative(inner) => match evaluate(inner, scope)? {
            Value::Int(int) => int.checked_neg().map(Value::Int).ok_or_else(out_of_range),
            Value::Float(float) => finite(-float.get()),
            other => Err(Fault::new(format!("{} has no negative", other.kind()))),
        },
        Node::Choice(parts) => {
            let (condition, yes, no) = &**parts;
            evaluate(if truth(condition, scope)? { yes } else { no }, scope)
        }
        Node::Binary(operator, left, right) => {
            binary(*operator, &evaluate(left, scope)?, &evaluate(right, scope)?)
        }
        Node::In(state) => match evaluate(state, scope)? {
            Value::Text(state) => Ok(Value::Bool(scope.is_in(&state))),
            other => Err(Fault::new(format!("In takes the id of a state, not {}", other.kind()))),
        },
        Node::Defined(inner) => {
            Ok(Value::Bool(evaluate(inner, scope).is_ok_and(|value| value != Value::Null)))
        }
        Node::Call(function, arguments) => function.call(&all(arguments, scope)?),
        Node::Host(name, arguments) => scope.host(name, &all(arguments, scope)?),
    }
}

impl From<crate::value::TooLarge> for Fault {
    fn from(error: crate::value::TooLarge) -> Self {
        Self::new(error.to_string())
    }
}

fn all(nodes: &[Node], scope: &impl Scope) -> Result<Vec<Value>, Fault> {
    nodes.iter().map(|node| evaluate(node, scope)).collect()
}

pub(crate) fn member(of: &Value, name: &str) -> Result<Value, Fault> {
    match of {
        Value::Map(map) => map
            .get(name)
            .cloned()
            .ok_or_else(|| Fault::new(format!("there is no {name} in the map"))),
        Value::List(list) if name == "length" => Ok(count(list.items().len())),
        Value::Text(text) if name == "length" => Ok(count(text.chars().count())),
        other => Err(Fault::new(format!("{} has no {name}", other.kind()))),
    }
}

pub(crate) fn item(of: &Value, index: &Value) -> Result<Value, Fault> {
    match (of, index) {
        (Value::Map(_), Value::Text(name)) => member(of, name),
        (Value::List(list), Value::Int(index)) => usize::try_from(*index)
            .ok()
            .and_then(|index| list.items().get(index))
            .cloned()
            .ok_or_else(|| Fault::new(format!("there is no item {index} in the list"))),
        (of, index) => Err(Fault::new(format!("{} has no {} in it", of.kind(), index.kind()))),
    }
}

pub(super) fn count(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn binary(operator: Binary, left: &Value, right: &Value) -> Result<Value, Fault> {
    match operator {
        Binary::Equal => Ok(Value::Bool(left.same(right))),
        Binary::Unequal => Ok(Value::Bool(!left.same(right))),
        Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual => {
            order(operator, left, right).map(Value::Bool)
        }
        Binary::Within => within(left, right).map(Value::Bool),
        Binary::Add => add(left, right),
        Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Remainder => {
            arithmetic(operator, left, right)
        }
    }
}

fn order(operator: Binary, left: &Value, right: &Value) -> Result<bool, Fault> {
    let order = match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (left, right) => match (left.as_number(), right.as_number()) {
            (Some(left), Some(right)) => left.partial_cmp(&right),
            _ => None,
        },
    };
    let Some(order) = order else {
        return Err(Fault::new(format!("{} has no order with {}", left.kind(), right.kind())));
    };
    Ok(match operator {
        Binary::Less => order == Ordering::Less,
        Binary::LessOrEqual => order != Ordering::Greater,
        Binary::Greater => order == Ordering::Greater,
        _ => order != Ordering::Less,
    })
}

pub(super) fn within(what: &Value, of: &Value) -> Result<bool, Fault> {
    match (what, of) {
        (what, Value::List(list)) => Ok(list.items().iter().any(|item| item.same(what))),
        (Value::Text(name), Value::Map(map)) => Ok(map.get(name).is_some()),
        (Value::Text(part), Value::Text(whole)) => Ok(whole.contains(&**part)),
        (what, of) => Err(Fault::new(format!("{} cannot be in {}", what.kind(), of.kind()))),
    }
}

fn add(left: &Value, right: &Value) -> Result<Value, Fault> {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => {
            if (left.len() + right.len()) as u64 > WEIGHT_MAX {
                return Err(crate::value::TooLarge.into());
            }
            Ok(Value::text([&**left, &**right].concat()))
        }
        (Value::List(left), Value::List(right)) => {
            Ok(Value::list([left.items(), right.items()].concat())?)
        }
        (left, right) => arithmetic(Binary::Add, left, right),
    }
}

fn arithmetic(operator: Binary, left: &Value, right: &Value) -> Result<Value, Fault> {
    if let (Value::Int(left), Value::Int(right)) = (left, right) {
        return whole(operator, *left, *right);
    }
    let (Some(left), Some(right)) = (left.as_number(), right.as_number()) else {
        let (left, right) = (left.kind(), right.kind());
        return Err(Fault::new(format!("{left} and {right} cannot be reckoned with")));
    };
    finite(match operator {
        Binary::Add => left + right,
        Binary::Subtract => left - right,
        Binary::Multiply => left * right,
        Binary::Divide => left / right,
        _ => left % right,
    })
}

fn whole(operator: Binary, left: i64, right: i64) -> Result<Value, Fault> {
    let int = match operator {
        Binary::Add => left.checked_add(right),
        Binary::Subtract => left.checked_sub(right),
        Binary::Multiply => left.checked_mul(right),
        Binary::Divide if right != 0 && left.checked_rem(right).is_some_and(|rest| rest != 0) => {
            #[expect(clippy::cast_precision_loss, reason = "a quotient that is not whole")]
            return finite(left as f64 / right as f64);
        }
        Binary::Divide => left.checked_div(right),
        _ => left.checked_rem(right),
    };
    int.map(Value::Int).ok_or_else(out_of_range)
}

fn finite(number: f64) -> Result<Value, Fault> {
    Float::new(number).map(Value::Float).ok_or_else(out_of_range)
}

fn out_of_range() -> Fault {
    Fault::new("the number is out of range")
}
