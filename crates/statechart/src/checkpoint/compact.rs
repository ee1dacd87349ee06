//! Decides how a checkpoint is written in few bytes: CBOR (RFC 8949), with the words of the JSON form.
//!
//! A daemon keeps its definition apart from the rest, because the one changes never and the other at
//! each turn; then the rest names the definition by its digest, and goes on under no other.

use std::sync::Arc;

use cbor4ii::core::dec::Read as _;
use cbor4ii::core::utils::SliceReader;
use cbor4ii::serde::Deserializer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Checkpoint, CheckpointError, Record, Shift, format_of, is_read};
use crate::chart::Chart;
use crate::definition::Definition;
use crate::engine::{Above, Instance, Limits, SessionId};

/// A checkpoint beside its definition.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rest<T> {
    format: u32,
    /// The digest of the definition, which covers those of all children.
    definition: Arc<str>,
    name: Arc<str>,
    next_session: u64,
    cursor: SessionId,
    sessions: Vec<T>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    above: Option<Arc<Above>>,
}

impl Checkpoint {
    /// In few bytes. Equal checkpoints have equal bytes.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Malformed`] if it cannot be written: that is our mistake.
    pub fn to_cbor(&self) -> Result<Vec<u8>, CheckpointError> {
        written(self)
    }

    /// From what [`to_cbor`](Self::to_cbor) gave. That it is whole and legal is found out when it is
    /// restored.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Malformed`].
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, CheckpointError> {
        read(bytes)
    }
}

impl Definition {
    /// In few bytes. Equal definitions have equal bytes.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Malformed`] if it cannot be written: that is our mistake.
    pub fn to_cbor(&self) -> Result<Vec<u8>, CheckpointError> {
        written(self)
    }

    /// From what [`to_cbor`](Self::to_cbor) gave.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Malformed`].
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, CheckpointError> {
        read(bytes)
    }
}

impl Instance {
    /// Everything but the definition, which it names by `definition`, its digest. Equal instances
    /// have equal bytes.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Malformed`] if it cannot be written: that is our mistake.
    pub fn to_compact(&self, definition: &Arc<str>) -> Result<Vec<u8>, CheckpointError> {
        let sessions = self.records();
        written(&Rest {
            format: format_of(&sessions, self.above()),
            definition: Arc::clone(definition),
            name: Arc::clone(&self.name),
            next_session: self.next_session,
            cursor: self.cursor,
            sessions,
            above: self.above.clone(),
        })
    }

    /// From what [`to_compact`](Self::to_compact) gave, under `chart`, the digest of whose
    /// definition is `definition`. No action is run.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]; [`CheckpointError::OtherDefinition`] when it was of another one.
    pub fn from_compact(
        bytes: &[u8],
        chart: &Arc<Chart>,
        definition: &str,
        limits: Limits,
        shift: Shift,
    ) -> Result<Self, CheckpointError> {
        let rest: Rest<Record> = read(bytes)?;
        if !is_read(rest.format) || rest.format != format_of(&rest.sessions, rest.above.as_deref())
        {
            return Err(CheckpointError::Format(rest.format));
        }
        if *rest.definition != *definition {
            let (found, expected) = (rest.definition.to_string(), definition.to_owned());
            return Err(CheckpointError::OtherDefinition { found, expected });
        }
        let checkpoint = Checkpoint {
            format: rest.format,
            definition: chart.shared_definition(),
            name: rest.name,
            next_session: rest.next_session,
            cursor: rest.cursor,
            sessions: rest.sessions,
            above: rest.above,
            digest: String::new(),
        };
        checkpoint.revive(chart, limits, shift)
    }
}

fn written(what: &impl Serialize) -> Result<Vec<u8>, CheckpointError> {
    let mut bytes = Vec::new();
    ciborium::into_writer(what, &mut bytes)
        .map_err(|error| CheckpointError::Malformed(error.to_string()))?;
    Ok(bytes)
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CheckpointError> {
    let mut reader = SliceReader::new(bytes);
    let read = T::deserialize(&mut Deserializer::new(&mut reader))
        .map_err(|error| CheckpointError::Malformed(error.to_string()))?;
    let rest = reader.fill(1).map_err(|error| CheckpointError::Malformed(error.to_string()))?;
    if rest.as_ref().is_empty() {
        return Ok(read);
    }
    Err(CheckpointError::Malformed("bytes follow its end".to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use whimbrel_wire::Time;

    use super::*;
    use crate::engine::Event;
    use crate::value::{Float, Value};

    const CHART: &str = r#"{ "id": "small", "data": [{ "id": "kept", "value": { "literal": null } }], "states": [
      { "id": "open", "on_entry": [[{ "send": { "id": "late", "event": "late", "delay": "1h" } }]],
        "transitions": [{ "on": ["keep"], "do": [{ "assign": { "to": "kept", "value": { "expression": "_event.data" } } }] }] }] }"#;

    fn chart() -> (Arc<Chart>, Arc<str>) {
        let chart = Chart::new(serde_json::from_str(CHART).unwrap()).unwrap();
        let digest = chart.definition().digest().into();
        (Arc::new(chart), digest)
    }

    fn instance(chart: &Arc<Chart>, kept: Value) -> Instance {
        let mut instance = Instance::new(Arc::clone(chart), "one", Limits::default());
        instance.step(Event::new("keep", kept), Time::from_nanos(7)).unwrap();
        instance
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<f64>().prop_filter_map("finite", Float::new).prop_map(Value::Float),
            Just(Value::Float(Float::new(2.0).unwrap())),
            "\\PC{0,12}".prop_map(Value::text),
        ];
        leaf.prop_recursive(5, 32, 6, |inner| {
            let entries = prop::collection::btree_map("\\PC{0,6}", inner.clone(), 0..6);
            let map = entries.prop_map(|entries| {
                let entries = entries.into_iter().map(|(name, value)| (name.into(), value));
                Value::map(entries.collect()).unwrap()
            });
            let list = prop::collection::vec(inner, 0..6);
            prop_oneof![list.prop_map(|items| Value::list(items).unwrap()), map]
        })
    }

    proptest! {
        #[test]
        fn the_compact_form_says_what_json_says(kept in value()) {
            let (chart, digest) = chart();
            let instance = instance(&chart, kept);
            let checkpoint = instance.capture().unwrap();
            let bytes = checkpoint.to_cbor().unwrap();
            prop_assert_eq!(&Checkpoint::from_cbor(&bytes).unwrap(), &checkpoint);
            let bytes = instance.to_compact(&digest).unwrap();
            let (limits, shift) = (Limits::default(), Shift::default());
            let again = Instance::from_compact(&bytes, &chart, &digest, limits, shift).unwrap();
            prop_assert_eq!(again.capture().unwrap(), checkpoint);
            prop_assert_eq!(again.to_compact(&digest).unwrap(), bytes);
        }

        #[test]
        fn bytes_that_were_spoilt_are_an_instance_or_refused(
            spoilt in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            length in any::<prop::sample::Index>(),
        ) {
            let (chart, digest) = chart();
            let mut bytes = instance(&chart, Value::text("kept")).to_compact(&digest).unwrap();
            for (at, byte) in spoilt {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(length.index(bytes.len()) + 1);
            let (limits, shift) = (Limits::default(), Shift::default());
            if let Ok(read) = Instance::from_compact(&bytes, &chart, &digest, limits, shift) {
                prop_assert!(read.to_compact(&digest).is_ok());
            }
        }
    }

    #[test]
    fn what_is_of_another_definition_or_nests_without_end_is_refused() {
        let (chart, digest) = chart();
        let bytes = instance(&chart, Value::Null).to_compact(&digest).unwrap();
        let (limits, shift) = (Limits::default(), Shift::default());
        let other = Instance::from_compact(&bytes, &chart, "other", limits, shift).unwrap_err();
        assert!(matches!(other, CheckpointError::OtherDefinition { .. }), "{other}");
        let deep = vec![0x81; 100_000];
        let refused = Instance::from_compact(&deep, &chart, &digest, limits, shift).unwrap_err();
        assert!(matches!(refused, CheckpointError::Malformed(_)), "{refused}");
        let deep = [&b"\xa1\x64name"[..], &deep].concat();
        assert!(Checkpoint::from_cbor(&deep).is_err());
    }
}
