//! Decides what a payload says: an event for the chart, or a question about it.

use serde::{Deserialize, Serialize};

use super::kin::{Envelope, MARK, PLACED};
use super::kind::Refusal;
use crate::engine::{Event, Kin};
use crate::value::Value;

/// The longest name of an event from outside, in bytes.
pub const EVENT_NAME_BYTES_MAX: usize = 256;

/// What a payload says.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    Event(Event),
    Question(Question),
    /// A letter of a parent or a child.
    Kin(Box<Kin>),
    /// The host says that it lives where it is to live.
    Placed,
}

/// What people can ask.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Question {
    State,
    Data(Option<String>),
    Definition,
    Checkpoint,
}

/// An event between daemons.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Letter {
    pub(super) event: String,
    #[serde(default = "nothing", skip_serializing_if = "is_nothing")]
    pub(super) data: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) send_id: Option<String>,
}

const fn nothing() -> Value {
    Value::Null
}

fn is_nothing(value: &Value) -> bool {
    *value == Value::Null
}

impl Said {
    pub(super) fn read(payload: &[u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(payload).map_err(|_| Refusal::NoText)?.trim();
        if let Some(question) = text.strip_prefix('?') {
            return Ok(Self::Question(Question::read(question)?));
        }
        if text == PLACED {
            return Ok(Self::Placed);
        }
        if text.starts_with(MARK) {
            let envelope: Envelope = serde_json::from_str(text)
                .map_err(|error| Refusal::Malformed(error.to_string()))?;
            return Ok(Self::Kin(Box::new(envelope.kin)));
        }
        let letter = if text.starts_with('{') {
            serde_json::from_str(text).map_err(|error| Refusal::Malformed(error.to_string()))?
        } else {
            short(text)?
        };
        Ok(Self::Event(event(letter)?))
    }
}

/// `NAME` or `NAME JSON`.
fn short(text: &str) -> Result<Letter, Refusal> {
    let (event, data) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let data = match data.trim() {
        "" => Value::Null,
        data => {
            serde_json::from_str(data).map_err(|error| Refusal::Malformed(error.to_string()))?
        }
    };
    Ok(Letter { event: event.to_owned(), data, origin: None, send_id: None })
}

fn event(letter: Letter) -> Result<Event, Refusal> {
    let name = letter.event.as_str();
    let odd = |letter: char| letter.is_whitespace() || letter.is_control();
    if name.is_empty() || name.len() > EVENT_NAME_BYTES_MAX || name.contains(odd) {
        return Err(Refusal::Name);
    }
    let mut words = name.split('.');
    let engines = match words.next() {
        Some("done" | "error") => true,
        Some("stopped") => words.next() == Some("invoke"),
        Some(_) | None => false,
    };
    if engines {
        return Err(Refusal::Reserved(letter.event));
    }
    let mut event = Event::new(name, letter.data);
    event.origin = letter.origin.map(Into::into);
    event.send_id = letter.send_id.map(Into::into);
    Ok(event)
}

impl Question {
    fn read(text: &str) -> Result<Self, Refusal> {
        let mut words = text.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("state"), None, None) => Ok(Self::State),
            (Some("data"), name, None) => Ok(Self::Data(name.map(str::to_owned))),
            (Some("definition"), None, None) => Ok(Self::Definition),
            (Some("checkpoint"), None, None) => Ok(Self::Checkpoint),
            _ => Err(Refusal::NoQuestion),
        }
    }
}
