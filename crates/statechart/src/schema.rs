//! Decides what a type of data says of a value.
//!
//! A type is a promise for the evolution gate: the values that an instance holds are compared with
//! it when the instance goes on under another definition. The engine assigns without looking at it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::value::Value;

/// What a value is.
///
/// Written `"int"`, `{"optional": "text"}`, `{"map": {"sum": "float"}}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Type {
    /// Any value.
    #[default]
    Any,
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A number, whole or not.
    Float,
    /// Text.
    Text,
    /// One of these texts.
    OneOf(Vec<String>),
    /// That, or null, or no value.
    Optional(Box<Self>),
    /// Values of one type in a row.
    List(Box<Self>),
    /// Values by these names; what has other names is kept and not looked at.
    Map(BTreeMap<String, Self>),
    /// Values of one type by any names.
    Table(Box<Self>),
}

impl Type {
    /// Whether no value is good enough.
    #[must_use]
    pub const fn is_optional(&self) -> bool {
        matches!(self, Self::Optional(_) | Self::Any)
    }

    /// Where `value` is not of this type, as a path; none if it is.
    #[must_use]
    pub fn misfit(&self, value: &Value) -> Option<String> {
        let here = |fits: bool| (!fits).then(|| format!("{} is no {self}", value.kind()));
        match (self, value) {
            (Self::Any, _) => None,
            (Self::Optional(_), Value::Null) => None,
            (Self::Optional(inner), value) => inner.misfit(value),
            (Self::Bool, value) => here(matches!(value, Value::Bool(_))),
            (Self::Int, value) => here(matches!(value, Value::Int(_))),
            (Self::Float, value) => here(value.as_number().is_some()),
            (Self::Text, value) => here(value.as_text().is_some()),
            (Self::OneOf(texts), value) => {
                here(value.as_text().is_some_and(|text| texts.iter().any(|known| known == text)))
            }
            (Self::List(inner), Value::List(list)) => {
                let items = list.items().iter().enumerate();
                items
                    .filter_map(|(place, item)| {
                        inner.misfit(item).map(|what| format!("[{place}]: {what}"))
                    })
                    .next()
            }
            (Self::Table(inner), Value::Map(map)) => map
                .entries()
                .iter()
                .find_map(|(name, item)| inner.misfit(item).map(|what| format!(".{name}: {what}"))),
            (Self::Map(fields), Value::Map(map)) => {
                fields.iter().find_map(|(name, field)| match map.get(name) {
                    Some(item) => field.misfit(item).map(|what| format!(".{name}: {what}")),
                    None if field.is_optional() => None,
                    None => Some(format!(".{name} is missing")),
                })
            }
            (Self::List(_) | Self::Table(_) | Self::Map(_), _) => here(false),
        }
    }

    /// Whether each value of `other` is one of this type.
    #[must_use]
    pub fn takes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Optional(inner), Self::Optional(other)) => inner.takes(other),
            (Self::Optional(inner), other) => inner.takes(other),
            (Self::Float, Self::Int | Self::Float) => true,
            (Self::Text, Self::Text | Self::OneOf(_)) => true,
            (Self::OneOf(texts), Self::OneOf(others)) => {
                others.iter().all(|other| texts.contains(other))
            }
            (Self::List(inner), Self::List(other)) | (Self::Table(inner), Self::Table(other)) => {
                inner.takes(other)
            }
            (Self::Table(inner), Self::Map(_)) => **inner == Self::Any,
            (Self::Map(fields), Self::Map(others)) => {
                fields.iter().all(|(name, field)| match others.get(name) {
                    Some(other) => field.takes(other),
                    // What the other does not name may be there all the same, with any type.
                    None => *field == Self::Any,
                })
            }
            (left, right) => left == right,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(text.trim_matches('"'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Type {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_value_is_compared_with_its_type_down_to_the_leaf() {
        for (kind, value, expected) in [
            (r#""int""#, "1", None),
            (r#""int""#, "1.5", Some("a float is no int")),
            (r#""float""#, "1", None),
            (r#"{"optional":"text"}"#, "null", None),
            (r#"{"one-of":["a","b"]}"#, r#""c""#, Some(r#"text is no {"one-of":["a","b"]}"#)),
            (r#"{"list":"bool"}"#, "[true,1]", Some("[1]: an int is no bool")),
            (r#"{"map":{"a":"int"}}"#, r#"{"b":1}"#, Some(".a is missing")),
            (r#"{"map":{"a":"int"}}"#, r#"{"a":1,"b":2}"#, None),
            (r#"{"table":"int"}"#, r#"{"a":1,"b":""}"#, Some(".b: text is no int")),
        ] {
            let value: Value = serde_json::from_str(value).unwrap();
            assert_eq!(of(kind).misfit(&value).as_deref(), expected, "{kind}");
        }
    }

    #[test]
    fn a_wider_type_takes_a_narrower_one_and_not_the_other_way_round() {
        for (wide, narrow) in [
            (r#""float""#, r#""int""#),
            (r#"{"optional":"int"}"#, r#""int""#),
            (r#"{"one-of":["a","b"]}"#, r#"{"one-of":["a"]}"#),
            (r#""text""#, r#"{"one-of":["a"]}"#),
            (r#""any""#, r#""bool""#),
            (r#"{"list":"float"}"#, r#"{"list":"int"}"#),
            (r#"{"map":{"a":"float"}}"#, r#"{"map":{"a":"int","b":"int"}}"#),
        ] {
            assert!(of(wide).takes(&of(narrow)), "{wide} takes {narrow}");
            assert!(!of(narrow).takes(&of(wide)), "{narrow} does not take {wide}");
        }
    }
}
