//! Decides how the steps of a run read: one line for each, and what came of it below.

use whimbrel_protocol::Standing;
use whimbrel_wire::{DeliveryMessage, Message, MigrationMessage, Refusal, TitleMessage, Write};

use crate::atlas::{Atlas, State, Step};
use crate::facts::Fact;
use crate::node::{Dispatch, Node, Request};

/// Goes the steps from a state and tells them. The state is that after the last step that broke
/// nothing.
pub(crate) fn follow(atlas: &mut Atlas, mut state: State, steps: &[Step]) -> (State, Vec<String>) {
    let mut lines = Vec::new();
    for step in steps {
        let place = atlas.place(*step);
        let before = state.nodes[place];
        lines.push(heading(atlas, before, *step));
        let number = atlas.effect(before, *step);
        lines.extend(consequences(atlas, place, before, number));
        match atlas.after(&state, *step) {
            Ok(next) => state = next,
            Err(broken) => {
                lines.push(format!("    BROKEN {}: {}", broken.promise, broken.what));
                break;
            }
        }
    }
    (state, lines)
}

/// The name of a node.
fn name(place: usize) -> char {
    char::from(b'A'.saturating_add(u8::try_from(place).unwrap_or(u8::MAX)))
}

fn heading(atlas: &Atlas, before: u32, step: Step) -> String {
    let at = name(atlas.place(step));
    match step {
        Step::Hear { dispatch, stays } => {
            let Dispatch { from, message, .. } = &**atlas.dispatches.get(dispatch);
            let again = if stays { ", and may hear it again" } else { "" };
            format!("{at} hears {}: {}{again}", name(*from), describe(message))
        }
        Step::Disk { fate, .. } => {
            let request = atlas.nodes.get(before).disk.front();
            let what = request.map_or_else(String::new, |(_, request)| asked(request));
            format!("{at} disk, {fate:?}: {what}")
        }
        Step::Work { .. } => format!("{at} work ends"),
        Step::Crash { done, .. } => format!("{at} crashes and starts again, {done} requests done"),
        Step::LoseCopies { .. } => format!("{at} crashes, its disk loses the waiting copies"),
        Step::Wake { .. } => format!("{at} is woken"),
        Step::Oversleep { .. } => format!("{at} oversleeps: all its timers are due"),
        Step::Tell { number } => format!("{at} is told: {:?}", atlas.story.commands[number].0),
    }
}

fn consequences(atlas: &Atlas, place: usize, before: u32, number: u32) -> Vec<String> {
    let effect = &atlas.effects[number as usize];
    let mut lines = Vec::new();
    for dispatch in &effect.sent {
        let Dispatch { to, message, .. } = &**atlas.dispatches.get(*dispatch);
        lines.push(format!("    to {}: {}", name(*to), describe(message)));
    }
    let (old, new) = (atlas.nodes.get(before), atlas.nodes.get(effect.node));
    for (_, request) in new.disk.iter().skip(old.disk.len().saturating_sub(1)) {
        if !old.disk.iter().any(|(_, other)| same(other, request)) {
            lines.push(format!("    asks its disk: {}", asked(request)));
        }
    }
    lines.extend(effect.facts.iter().map(|fact| format!("    * {}", told(fact))));
    let (was, is) = (standings(old), standings(new));
    if was != is {
        lines.push(format!("    {} was {was:?}, is {is:?}", name(place)));
    }
    lines
}

fn same(one: &Request, other: &Request) -> bool {
    asked(one) == asked(other)
}

fn standings(node: &Node) -> Vec<Standing> {
    node.berths.iter().map(|berth| berth.seat.status().standing).collect()
}

/// The name of a variant, without what is in it.
fn variant(thing: &impl std::fmt::Debug) -> String {
    let text = format!("{thing:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

fn asked(request: &Request) -> String {
    match request {
        Request::Save { write: Write::Append { after, turns, .. }, .. } => {
            format!("Append after {after} x{}", turns.len())
        }
        Request::Save { write, .. } => variant(write),
        Request::Read => "Read".to_owned(),
        Request::Turns { after, .. } => format!("Turns after {after}"),
    }
}

fn told(fact: &Fact) -> String {
    match fact {
        Fact::Broken { promise, what } => format!("BROKEN {promise}: {what}"),
        Fact::Appended { turns, .. } => {
            let positions: Vec<String> =
                turns.iter().map(|turn| turn.position().to_string()).collect();
            format!("on the disk of the owner: {}", positions.join(" "))
        }
        Fact::HandedOver { deed, .. } => {
            format!("handed over: {} at {}", deed.deed.epoch, deed.deed.head.position)
        }
        Fact::Accepted { deed, .. } => format!("accepted: {}", deed.deed.epoch),
        Fact::Died { .. } => "memory lost".to_owned(),
        Fact::Left { event, .. } => format!("output {} left", event.link.sequence),
        Fact::Asked { attempt, .. } => format!("move {attempt} asked for"),
        Fact::Offered { payload, .. } => format!("event {} given away", char::from(*payload)),
        Fact::Told { number, taken: Some(taken), .. } => format!("event {number} taken: {taken}"),
        Fact::Told { number, taken: None, .. } => format!("event {number}: nobody knows"),
        Fact::Live { epoch, head, .. } => format!("live in {epoch} at {}", head.position),
        Fact::Ended { attempt, by, .. } => format!("move {attempt} ended, done: {}", by.is_some()),
    }
}

fn describe(message: &Message) -> String {
    match message {
        Message::Migration(envelope) => {
            let attempt = envelope.attempt;
            let what = migration(&envelope.message);
            format!("{}{what} {attempt}", variant(&envelope.message))
        }
        Message::Delivery { message, .. } => delivery(message),
        Message::Title { message, .. } => match message {
            TitleMessage::DeedAsked { after, attempt } => {
                format!("DeedAsked after {after}, attempt {attempt:?}")
            }
            TitleMessage::DeedAnswered { deeds, attempt, .. } => {
                let epochs: Vec<String> =
                    deeds.iter().map(|deed| deed.deed.epoch.to_string()).collect();
                format!("DeedAnswered {}, open {attempt:?}", epochs.join(" "))
            }
        },
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "what has no figures reads as its name; a trace decides nothing"
)]
fn migration(message: &MigrationMessage) -> String {
    match message {
        MigrationMessage::SnapshotReady { chunk_index, .. } => format!(" piece {chunk_index}"),
        MigrationMessage::BufferedEvents { events, frozen, .. } => {
            let last = if frozen.is_some() { " final" } else { "" };
            format!(" x{}{last}", events.len())
        }
        MigrationMessage::ReplayComplete { head, state, .. } => {
            let vote = if state.is_some() { " vote" } else { "" };
            format!(" at {}{vote}", head.position)
        }
        MigrationMessage::RestoreComplete { head, .. } => format!(" at {}", head.position),
        MigrationMessage::MigrationFailed { reason, .. } => format!(" ({reason})"),
        _ => String::new(),
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "what has no figures reads as its name; a trace decides nothing"
)]
fn delivery(message: &DeliveryMessage) -> String {
    match message {
        DeliveryMessage::Deliver { number, .. } => format!("Deliver {number}"),
        DeliveryMessage::Delivered { number, .. } => format!("Delivered {number}"),
        DeliveryMessage::Refused { number, refusal, .. } => match refusal {
            Refusal::Moved(deed) => format!("Refused {number}: moved, {}", deed.deed.epoch),
            other => format!("Refused {number}: {other:?}"),
        },
        other => variant(other),
    }
}
