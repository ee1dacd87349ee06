//! Decides what becomes of the effects of a turn, and how much of them a turn may have.

use std::sync::Arc;

use bytes::Bytes;
use whimbrel_daemon::Context;
use whimbrel_daemon::limits::{
    ANSWER_BYTES_MAX, OUTPUTS_PER_TURN_MAX, PUBLISHED_PER_TURN_MAX, SENT_BYTES_MAX,
};
use whimbrel_wire::limits::PAYLOAD_BYTES_MAX;
use whimbrel_wire::{ChannelName, EntityId, Time};

use super::kin::Envelope;
use super::kind::Refusal;
use super::said::Letter;
use crate::engine::{Effect, Event, Instance, SessionId};
use crate::value::Value;

/// How often in one turn a `send` that goes nowhere is told to the chart. Beyond it the turn does not
/// happen.
pub const REFUSED_SENDS_MAX: u32 = 64;

/// The channel on which a chart logs.
const LOG: &str = "log";

/// What a turn puts out; nothing of it has happened.
#[derive(Default)]
pub(super) struct Outputs {
    pub(super) answers: Vec<Bytes>,
    sends: Vec<(EntityId, Bytes)>,
    published: Vec<(ChannelName, Bytes)>,
    /// Children that are to be born.
    pub(super) unborn: Vec<(SessionId, Arc<str>)>,
    /// What the chart said at its end, if that was in this turn.
    pub(super) done: Option<Value>,
}

/// An event that goes nowhere.
struct Lost {
    session: SessionId,
    event: Event,
    why: &'static str,
}

impl Outputs {
    /// Lets the instance do all there is to do and gathers what it wants.
    pub(super) fn settle(
        instance: &mut Instance,
        myself: &EntityId,
        now: Time,
    ) -> Result<Self, Refusal> {
        Self::settle_after(Vec::new(), instance, myself, now)
    }

    /// The same where the instance wants something already.
    pub(super) fn settle_after(
        wanted: Vec<Effect>,
        instance: &mut Instance,
        myself: &EntityId,
        now: Time,
    ) -> Result<Self, Refusal> {
        let mut outputs = Self::default();
        let mut wanted = wanted;
        for _ in 0..=REFUSED_SENDS_MAX {
            let stepped =
                instance.settle_within(now).map_err(|overrun| Refusal::Overrun(overrun.0))?;
            let mut lost = Vec::new();
            for effect in wanted.drain(..).chain(stepped.effects) {
                lost.extend(outputs.add(effect, myself)?);
            }
            if lost.is_empty() {
                outputs.check()?;
                return Ok(outputs);
            }
            for Lost { session, event, why } in lost {
                instance.undelivered(session, &event, why);
            }
        }
        Err(Refusal::SentNowhere)
    }

    fn add(&mut self, effect: Effect, myself: &EntityId) -> Result<Option<Lost>, Refusal> {
        match effect {
            Effect::Done { data } => self.done = Some(data),
            Effect::Bear { session, child } => self.unborn.push((session, child)),
            Effect::Kin { to, kin } => {
                // An address that is none was never anybody's: whoever is meant cannot be told.
                if let Some(to) = daemon(&to) {
                    self.sends.push((to, json(&Envelope { kin: *kin })?));
                }
            }
            Effect::Log { label, value, .. } => {
                let text = json(&Line { label: label.as_deref(), value: &value })?;
                self.publish(LOG, text)?;
            }
            Effect::Send { session, to, by, event } => {
                let sent = match by.as_deref() {
                    Some("host:answer") => self.answer(&event)?,
                    Some("host:publish") => {
                        let text = json(&letter(&event, None))?;
                        self.publish(&to, text)?
                    }
                    Some("host:raw") => self.send_raw(&to, &event),
                    None => self.send(&to, &event, myself)?,
                    Some(_) => Some("there is no such processor"),
                };
                return Ok(sent.map(|why| Lost { session, event, why }));
            }
        }
        Ok(None)
    }

    fn answer(&mut self, event: &Event) -> Result<Option<&'static str>, Refusal> {
        self.answers.push(json(&letter(event, None))?);
        Ok(None)
    }

    fn publish(&mut self, channel: &str, text: Bytes) -> Result<Option<&'static str>, Refusal> {
        let Ok(channel) = ChannelName::new(channel) else {
            return Ok(Some("it is no name of a channel"));
        };
        self.published.push((channel, text));
        Ok(None)
    }

    fn send(
        &mut self,
        to: &str,
        event: &Event,
        myself: &EntityId,
    ) -> Result<Option<&'static str>, Refusal> {
        let Some(to) = daemon(to) else { return Ok(Some("it is no address of a daemon")) };
        self.sends.push((to, json(&letter(event, Some(myself)))?));
        Ok(None)
    }

    fn send_raw(&mut self, to: &str, event: &Event) -> Option<&'static str> {
        let Some(to) = daemon(to) else { return Some("it is no address of a daemon") };
        let Value::Text(text) = &event.data else { return Some("only text is sent as it is") };
        self.sends.push((to, Bytes::copy_from_slice(text.as_bytes())));
        None
    }

    /// A chart that wants too much is refused before the host would give its daemon up.
    fn check(&self) -> Result<(), Refusal> {
        // One more may follow: where it is.
        let count = self.answers.len() + self.sends.len() + self.published.len() + 1;
        let answered: usize = self.answers.iter().map(Bytes::len).sum();
        let sent: usize = self.sends.iter().map(|(_, bytes)| bytes.len()).sum();
        let all = self.sends.iter().map(|(_, bytes)| bytes);
        let all = all.chain(self.published.iter().map(|(_, bytes)| bytes)).chain(&self.answers);
        let longest = all.map(Bytes::len).max().unwrap_or_default();
        let fits = count <= OUTPUTS_PER_TURN_MAX
            && self.published.len() <= PUBLISHED_PER_TURN_MAX
            && answered <= ANSWER_BYTES_MAX
            && sent <= SENT_BYTES_MAX
            && longest <= PAYLOAD_BYTES_MAX;
        if fits { Ok(()) } else { Err(Refusal::TooMuch) }
    }

    /// Asks for everything but the answers, which are given back.
    pub(super) fn ask(self, context: &mut Context<'_>) -> Vec<Bytes> {
        for (to, payload) in self.sends {
            context.send(to, payload);
        }
        for (channel, payload) in self.published {
            context.publish(channel, payload);
        }
        self.answers
    }

    /// Says that the events of timers were lost.
    pub(super) fn lament(context: &mut Context<'_>, why: &Refusal) {
        let value = Value::text(why.to_string());
        let line = json(&Line { label: Some("error"), value: &value });
        if let (Ok(channel), Ok(line)) = (ChannelName::new(LOG), line) {
            context.publish(channel, line);
        }
    }
}

#[derive(serde::Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    value: &'a Value,
}

fn letter(event: &Event, from: Option<&EntityId>) -> Letter {
    Letter {
        event: event.name.to_string(),
        data: event.data.clone(),
        origin: from.map(|from| format!("daemon:{}", from.key())),
        send_id: event.send_id.as_deref().map(str::to_owned),
    }
}

pub(super) fn json(what: &impl serde::Serialize) -> Result<Bytes, Refusal> {
    let text = serde_json::to_vec(what);
    text.map(Bytes::from).map_err(|error| Refusal::Internal(error.to_string()))
}

/// The daemon of `daemon:` and 64 digits.
pub(super) fn daemon(address: &str) -> Option<EntityId> {
    let digits = address.strip_prefix("daemon:")?.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let digit = |digit: &u8| char::from(*digit).to_digit(16);
        let (high, low) = (digit(pair.first()?)?, digit(pair.get(1)?)?);
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(EntityId::from_bytes(bytes))
}
