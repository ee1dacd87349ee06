//! Decides what a program should have done, and what differs from that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use whimbrel::daemon::Host;
use whimbrel::isolate::daemon::{Isolate, Library};
use whimbrel::wire::{Digest, InputOrigin, Sender, Time};
use whimbrel::{CausalEvent, EntityId, Kind, OriginHash};

use crate::run::Standing;

/// How a program ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) code: u32,
    pub(super) out: Vec<u8>,
    pub(super) hashes: String,
    pub(super) effects: BTreeMap<String, u64>,
}

/// The same program in this process, from its beginning to its end.
pub(super) fn undisturbed(library: &Arc<Library>, given: &[u8]) -> Result<Ended> {
    let kind = Kind::new(Isolate::NAME).context("no kind")?;
    let entity = EntityId::from_bytes([9; 32]);
    let body = Isolate::boxed(library);
    let mut host = Host::born(entity, kind, body, [7; 32], &Digest::ZERO);
    host.found(Some(given))?;
    let (mut effects, mut out, begun) = (BTreeMap::new(), Vec::new(), Instant::now());
    let time = || Time::from_nanos(1 + begun.elapsed().as_nanos() as u64);
    let event = |payload: &str| {
        let payload = payload.to_owned().into_bytes().into();
        CausalEvent::unchained(OriginHash::new(0), 1, payload)
    };
    let told = InputOrigin::Event { sender: Sender::Host, number: 0, answered: 0 };
    loop {
        let next = host.next_timer();
        if let Some((_, timer)) = next {
            let turned = host.turn(host.epoch(), time(), &InputOrigin::Timer(timer), &event(""))?;
            for (_, sent) in turned.sent {
                let text = String::from_utf8_lossy(&sent.payload).into_owned();
                let key = text.split(' ').nth(1).unwrap_or_default().to_owned();
                *effects.entry(key).or_insert(0) += 1;
            }
        }
        let take = format!("take {} 0", out.len());
        let turned = host.turn(host.epoch(), time(), &told, &event(&take))?;
        let first = turned.answer.outputs.first().context("the program said nothing")?;
        let standing: Standing = serde_json::from_slice(&first.payload)?;
        if let Some(bytes) = turned.answer.outputs.get(1) {
            out.extend_from_slice(&bytes.payload);
        } else if next.is_none() {
            let turned = host.turn(host.epoch(), time(), &told, &event("?hashes"))?;
            let hashes = turned.answer.outputs.first().context("no hashes")?;
            let hashes = String::from_utf8_lossy(&hashes.payload).into_owned();
            return Ok(Ended { code: standing.code, out, hashes, effects });
        }
    }
}

/// What differs.
pub(super) fn compare(name: &str, ended: &Ended, undisturbed: &Ended) -> Vec<String> {
    let mut told = Vec::new();
    if ended.code != undisturbed.code {
        told.push(format!("exit {} instead of {}", ended.code, undisturbed.code));
    }
    if ended.out != undisturbed.out {
        let same = ended.out.iter().zip(&undisturbed.out).take_while(|(a, b)| a == b).count();
        told.push(format!(
            "output differs from byte {same} on ({} bytes instead of {})",
            ended.out.len(),
            undisturbed.out.len()
        ));
    }
    if ended.hashes != undisturbed.hashes {
        told.push("the state or a memory differs".to_owned());
    }
    let wrong = |(key, count): &(&String, &u64)| undisturbed.effects.get(*key) != Some(*count);
    let wrong_effects = ended.effects.iter().filter(wrong).count();
    let missing =
        undisturbed.effects.keys().filter(|key| !ended.effects.contains_key(*key)).count();
    if wrong_effects + missing > 0 {
        told.push(format!(
            "{wrong_effects} effects of {} happened another number of times, {missing} not at all",
            name
        ));
    }
    told
}
