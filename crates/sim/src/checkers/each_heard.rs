//! Decides each-heard: on a channel a subscriber hears each message once and in the publisher's order, what is
//! missing is told, and one that hears all misses none.

use whimbrel_wire::{Hearing, SubscriptionState};

use super::EndDaemon;
use crate::kinds::Shown;

pub(super) const NAME: &str = "each-heard";

/// Everybody heard what was published since they began to listen, the last time and each time before.
pub(super) fn end(daemons: &[EndDaemon]) -> Result<(), String> {
    for listener in daemons {
        let pages = listener.shown.as_ref().and_then(Shown::pages);
        for (publisher, heard) in pages.into_iter().flat_map(|pages| &pages.heard) {
            let mut next = None;
            let all = listener.listens.iter().any(|(binding, hearing, _)| {
                binding.publisher == *publisher && *hearing == Hearing::All
            });
            for (number, missed) in heard {
                let Some(missed) = missed else {
                    next = Some(*number);
                    continue;
                };
                if all && *missed > 0 {
                    let who = listener.entity;
                    return Err(format!("{who} wants all and missed {missed} of {publisher}"));
                }
                if next.map(|next| next + missed) != Some(*number) {
                    let who = listener.entity;
                    return Err(format!("{who} heard {number} of {publisher}, not {next:?}"));
                }
                next = Some(number + 1);
            }
        }
        each_heard(listener, daemons)?;
    }
    Ok(())
}

/// The ledger of a subscriber is where its publisher is.
fn each_heard(listener: &EndDaemon, daemons: &[EndDaemon]) -> Result<(), String> {
    let who = listener.entity;
    for (binding, hearing, state) in &listener.listens {
        let publisher = daemons.iter().find(|daemon| daemon.entity == binding.publisher);
        let Some(publisher) = publisher.filter(|publisher| !publisher.deleted) else { continue };
        let Some(said) = publisher.shown.as_ref().and_then(Shown::pages) else { continue };
        let SubscriptionState::Live { next } = state else {
            return Err(format!("{who} is {state:?} towards {} for ever", publisher.entity));
        };
        // What was left out after the last message that was sent is told with the next one.
        let may_lack = matches!(hearing, Hearing::Recent { .. }) && *next <= said.published;
        if *next != said.published + 1 && !may_lack {
            let (heard, said) = (next - 1, said.published);
            return Err(format!(
                "{who} heard {heard} of the {said} that {} said",
                publisher.entity
            ));
        }
        let pages = listener.shown.as_ref().and_then(Shown::pages);
        let last = pages.and_then(|pages| pages.heard.get(&binding.publisher)?.last());
        if last.is_some_and(|(number, missed)| number + u64::from(missed.is_some()) != *next) {
            return Err(format!("the ledger of {who} says {next}, the daemon heard {last:?}"));
        }
    }
    Ok(())
}
