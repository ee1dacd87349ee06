//! Decides what data is: one tree of values, with one order and one form for equal values.
//!
//! A float is finite and never negative zero, an int never overflows, a map is sorted by its keys,
//! so equal values have equal bytes. Nothing here can hold a reference, a closure or a handle.
//!
//! # Limits
//!
//! * [`WEIGHT_MAX`]: how much one value may hold. Lists and maps share what they hold, so a few
//!   doublings could name more than any disk; the weight counts what would be written.
//! * [`DEPTH_MAX`]: how deep lists and maps may nest.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What one value may weigh: about as many bytes as it is written in. More is an error of the
/// expression that made it.
pub const WEIGHT_MAX: u64 = 16 * 1024 * 1024;

/// How deep lists and maps may nest.
pub const DEPTH_MAX: u32 = 64;

/// A datum.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(Float),
    /// Text.
    Text(Arc<str>),
    /// Values in a row.
    List(Arc<List>),
    /// Values by name.
    Map(Arc<Map>),
}

/// A finite float that is not negative zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Float(f64);

impl Eq for Float {}

impl PartialOrd for Float {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Float {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Float {
    /// The float of `number`; none if that is no finite number.
    #[must_use]
    pub fn new(number: f64) -> Option<Self> {
        // Adding zero turns negative zero into zero.
        number.is_finite().then_some(Self(number + 0.0))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// Values in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct List {
    items: Vec<Value>,
    weight: u64,
    depth: u32,
}

/// Values by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Map {
    entries: BTreeMap<Arc<str>, Value>,
    weight: u64,
    depth: u32,
}

/// A value would hold too much, or nest too deep.
///
/// Fault: whoever makes it. Changed: nothing. Again: no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value is too large or nests too deep")]
pub struct TooLarge;

impl List {
    /// A list of `items`.
    ///
    /// # Errors
    ///
    /// [`TooLarge`] beyond [`WEIGHT_MAX`] or [`DEPTH_MAX`].
    pub fn new(items: Vec<Value>) -> Result<Self, TooLarge> {
        let (weight, depth) = measure(items.iter())?;
        Ok(Self { items, weight, depth })
    }

    /// What it holds.
    #[must_use]
    pub fn items(&self) -> &[Value] {
        &self.items
    }
}

impl Map {
    /// A map of `entries`.
    ///
    /// # Errors
    ///
    /// [`TooLarge`] beyond [`WEIGHT_MAX`] or [`DEPTH_MAX`].
    pub fn new(entries: BTreeMap<Arc<str>, Value>) -> Result<Self, TooLarge> {
        let (values, depth) = measure(entries.values())?;
        let names: u64 = entries.keys().map(|name| name.len() as u64 + 3).sum();
        let weight = checked(values + names)?;
        Ok(Self { entries, weight, depth })
    }

    /// What it holds.
    #[must_use]
    pub const fn entries(&self) -> &BTreeMap<Arc<str>, Value> {
        &self.entries
    }

    /// What it holds under `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.entries.get(name)
    }
}

fn checked(weight: u64) -> Result<u64, TooLarge> {
    if weight > WEIGHT_MAX { Err(TooLarge) } else { Ok(weight) }
}

fn measure<'a>(values: impl Iterator<Item = &'a Value>) -> Result<(u64, u32), TooLarge> {
    let (mut weight, mut depth) = (2_u64, 0);
    for value in values {
        weight = checked(weight.saturating_add(value.weight() + 1))?;
        depth = depth.max(value.depth());
    }
    let depth = depth + 1;
    if depth > DEPTH_MAX { Err(TooLarge) } else { Ok((weight, depth)) }
}

impl Value {
    /// The text `text`.
    #[must_use]
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(text.into())
    }

    /// A list.
    ///
    /// # Errors
    ///
    /// [`TooLarge`].
    pub fn list(items: Vec<Self>) -> Result<Self, TooLarge> {
        Ok(Self::List(Arc::new(List::new(items)?)))
    }

    /// A map.
    ///
    /// # Errors
    ///
    /// [`TooLarge`].
    pub fn map(entries: BTreeMap<Arc<str>, Self>) -> Result<Self, TooLarge> {
        Ok(Self::Map(Arc::new(Map::new(entries)?)))
    }

    /// The number `number`, as an int where that is exact.
    #[must_use]
    pub fn number(number: f64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
        let int = (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0)
            .then_some(number as i64);
        match int {
            Some(int) => Some(Self::Int(int)),
            None => Float::new(number).map(Self::Float),
        }
    }

    /// About how many bytes it is written in.
    #[must_use]
    pub fn weight(&self) -> u64 {
        match self {
            Self::Null | Self::Bool(_) => 5,
            Self::Int(_) => 10,
            Self::Float(_) => 18,
            Self::Text(text) => text.len() as u64 + 2,
            Self::List(list) => list.weight,
            Self::Map(map) => map.weight,
        }
    }

    fn depth(&self) -> u32 {
        match self {
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Text(_) => 0,
            Self::List(list) => list.depth,
            Self::Map(map) => map.depth,
        }
    }

    /// What kind of value it is, for messages.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a truth value",
            Self::Int(_) => "an int",
            Self::Float(_) => "a float",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::List(_)
            | Self::Map(_) => None,
        }
    }

    /// The number, if it is one.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a float is what is asked for")]
    pub const fn as_number(&self) -> Option<f64> {
        match self {
            Self::Int(int) => Some(*int as f64),
            Self::Float(float) => Some(float.get()),
            Self::Null | Self::Bool(_) | Self::Text(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// Whether two values mean the same: an int and a float that are one number do.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => left == right,
            (Self::Int(_) | Self::Float(_), Self::Int(_) | Self::Float(_)) => {
                self.as_number() == other.as_number()
            }
            (Self::List(left), Self::List(right)) => {
                let pairs = left.items.iter().zip(&right.items);
                left.items.len() == right.items.len()
                    && pairs.into_iter().all(|(left, right)| left.same(right))
            }
            (Self::Map(left), Self::Map(right)) => {
                let pairs = left.entries.iter().zip(&right.entries);
                left.entries.len() == right.entries.len()
                    && pairs
                        .into_iter()
                        .all(|(left, right)| left.0 == right.0 && left.1.same(right.1))
            }
            (left, right) => left == right,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(truth) => write!(f, "{truth}"),
            Self::Int(int) => write!(f, "{int}"),
            Self::Float(float) => write!(f, "{}", float.get()),
            Self::Text(text) => f.write_str(text),
            Self::List(_) | Self::Map(_) => {
                f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
            }
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Int(int) => serializer.serialize_i64(*int),
            Self::Float(float) => serializer.serialize_f64(float.get()),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(list) => {
                let mut row = serializer.serialize_seq(Some(list.items.len()))?;
                for item in &list.items {
                    row.serialize_element(item)?;
                }
                row.end()
            }
            Self::Map(map) => {
                let mut entries = serializer.serialize_map(Some(map.entries.len()))?;
                for (name, value) in &map.entries {
                    entries.serialize_entry(&**name, value)?;
                }
                entries.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, int: i64) -> Result<Value, E> {
        Ok(Value::Int(int))
    }

    fn visit_u64<E: de::Error>(self, int: u64) -> Result<Value, E> {
        i64::try_from(int).map(Value::Int).map_err(|_| E::custom("the int is too large"))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Float::new(number).map(Value::Float).ok_or_else(|| E::custom("the float is not finite"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut row: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = row.next_element()? {
            items.push(item);
        }
        Value::list(items).map_err(de::Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if entries.insert(name.as_str().into(), value).is_some() {
                return Err(de::Error::custom(format!("{name} stands there twice")));
            }
        }
        Value::map(entries).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_equal_bytes() {
        let written = |text: &str| {
            let value: Value = serde_json::from_str(text).unwrap();
            serde_json::to_string(&value).unwrap()
        };
        assert_eq!(written(r#"{"b":1,"a":[true,null,-0.0]}"#), r#"{"a":[true,null,0.0],"b":1}"#);
        assert_eq!(Float::new(f64::NAN), None);
        assert_eq!(Float::new(-0.0), Float::new(0.0));
    }

    #[test]
    fn what_doubles_itself_is_stopped() {
        let mut value = Value::text("0123456789");
        let mut doublings = 0;
        while let Ok(double) = Value::list(vec![value.clone(), value.clone()]) {
            value = double;
            doublings += 1;
        }
        assert!((18..24).contains(&doublings), "{doublings}");
    }

    #[test]
    fn what_nests_too_deep_is_no_value() {
        let text = format!("{}{}", "[".repeat(65), "]".repeat(65));
        assert!(serde_json::from_str::<Value>(&text).is_err());
        let text = format!("{}{}", "[".repeat(64), "]".repeat(64));
        assert!(serde_json::from_str::<Value>(&text).is_ok());
    }

    #[test]
    fn one_number_is_the_same_as_int_and_as_float() {
        let float = Value::Float(Float::new(2.0).unwrap());
        assert!(Value::Int(2).same(&float));
        assert_ne!(Value::Int(2), float);
        assert_eq!(Value::number(2.0), Some(Value::Int(2)));
    }
}
