//! Tells of channels whose publisher and subscribers all move while they talk.

use std::collections::BTreeMap;

use whimbrel_protocol::MoveOptions;
use whimbrel_wire::{DeliveryMessage, Hearing, Message, Refusal, Start, SubscriptionState};

use super::{Failure, expect, finish, settings};
use crate::cluster::{Action, Cluster, Happening, MILLI, SECOND};
use crate::medium::Medium;
use crate::scribe::Style;

/// Messages of one story.
const MESSAGES: u64 = 40;

/// How often the sender of a letter is sent on to somebody else, at most, when nothing else goes wrong.
const FORWARDS_MAX: u32 = 2;

/// Outputs of one party beyond which the moves are over.
const OUTPUTS_MAX: u64 = 1_000;

/// A publisher on A, one who hears all on B, one who hears the recent messages on C, and one who comes late,
/// on A. All talk; then the first three move at the same time, each to the next node.
fn talking(seed: u64, style: Style, medium: Medium) -> Cluster {
    let mut cluster = Cluster::new(seed, 3, &settings(), medium, false);
    cluster.panics = false;
    for node in [0, 1, 2, 0] {
        cluster.spawn(node, style);
    }
    cluster.open_channel(0, 0, 4);
    cluster.join(MILLI, 1, 0, Hearing::All, Start::Next);
    cluster.join(MILLI, 2, 0, Hearing::Recent { window: 2 }, Start::Next);
    cluster.join(70 * MILLI, 3, 0, Hearing::All, Start::Retained);
    for message in 0..MESSAGES {
        cluster.plan((10 + 4 * message) * MILLI, Happening::Act(Action::Publish { daemon: 0 }));
    }
    cluster.run_until(cluster.now + 40 * MILLI);
    for daemon in 0..3 {
        let (node, target) = ((daemon + 2) % 3, (daemon + 1) % 3);
        cluster.ask_move(node, daemon, target, MoveOptions::default());
    }
    cluster
}

/// Whether the story was worth telling: so many listened, and so many moved.
fn told(
    cluster: &mut Cluster,
    case: &str,
    listeners: usize,
    hand_overs: u64,
) -> Result<(), Failure> {
    let endings = cluster.endings();
    let listening = endings.iter().map(|ending| ending.listens.len()).sum::<usize>() >= listeners;
    expect(cluster, case, "each-heard", listening, "somebody listens no more")?;
    let heard = endings.iter().filter_map(|ending| ending.shown.as_ref()?.pages());
    let heard = heard.filter(|pages| !pages.heard.is_empty()).count() >= listeners;
    expect(cluster, case, "each-heard", heard, "somebody heard nothing")?;
    let moved = cluster.tally.hand_overs >= hand_overs;
    expect(cluster, case, "it-ends", moved, "somebody did not move")
}

/// How often the sender of one letter was sent on to somebody else, at most.
fn forwards(cluster: &Cluster) -> u32 {
    let mut forwards = BTreeMap::new();
    for (_, _, message) in cluster.kept.iter().flatten() {
        if let Message::Delivery { entity, message } = message
            && let DeliveryMessage::Refused { sender, number, refusal } = message
            && matches!(refusal, Refusal::Moved(_) | Refusal::NotHere)
        {
            *forwards.entry((*entity, *sender, *number)).or_insert(0) += 1;
        }
    }
    forwards.into_values().max().unwrap_or(0)
}

/// Publisher and subscribers move at the same time.
pub(super) fn moves() -> Result<u64, Failure> {
    let mut runs = 0;
    for style in [Style::Replays, Style::Deltas, Style::Freezes] {
        for seed in 0..20 {
            let case = format!("{style:?}, seed {seed}");
            let mut cluster = talking(seed, style, Medium::Memory);
            cluster.kept = Some(Vec::new());
            cluster.run_until(cluster.now + 3 * SECOND);
            let repaired = forwards(&cluster) <= FORWARDS_MAX;
            expect(&cluster, &case, "each-heard", repaired, "a letter was sent on too often")?;
            cluster.kept = None;
            // By now everybody has room for one more.
            cluster.plan(0, Happening::Act(Action::Publish { daemon: 0 }));
            finish(&mut cluster, &case)?;
            told(&mut cluster, &case, 3, 3)?;
            let endings = cluster.endings();
            let said = endings[0].shown.as_ref().and_then(|shown| shown.pages());
            let next = said.map_or(0, |pages| pages.published) + 1;
            let last = SubscriptionState::Live { next };
            let mut states = endings.iter().flat_map(|ending| &ending.listens);
            let heard = states.all(|(.., state)| *state == last);
            expect(&cluster, &case, "each-heard", heard, "somebody did not hear the last one")?;
            runs += 1;
        }
    }
    Ok(runs)
}

/// The same, and each of the nodes crashes once at each of its outputs.
pub(super) fn crashes() -> Result<u64, Failure> {
    let mut runs = 0;
    for node in 0..3 {
        for output in 0..OUTPUTS_MAX {
            let case = format!("node {node} crashes at its output {output}");
            let mut cluster = talking(11, Style::Replays, Medium::Memory);
            cluster.crash_at = Some((node, output));
            cluster.run_until(cluster.now + 500 * MILLI);
            if cluster.crash_at.is_some() {
                break;
            }
            cluster.run_until(cluster.now + 2 * SECOND);
            finish(&mut cluster, &case)?;
            // The late one may have been asked to listen by a node that died of it.
            told(&mut cluster, &case, 2, 0)?;
            runs += 1;
        }
    }
    Ok(runs)
}

/// They subscribe and leave again and again while they move: no answer to one subscription is taken for that to
/// another.
pub(super) fn fickle() -> Result<u64, Failure> {
    const RUNS: u64 = 30;
    for seed in 0..RUNS {
        let case = format!("seed {seed}");
        let mut cluster = talking(seed, Style::Replays, Medium::Memory);
        cluster.network.delay_max = (1 + seed) * MILLI;
        for round in 0..10 {
            let at = round * 12 * MILLI;
            cluster.leave(at, 1, 0);
            cluster.join(at + seed * MILLI / 3, 1, 0, Hearing::All, Start::Next);
        }
        cluster.run_until(cluster.now + 3 * SECOND);
        // One that was asked for while the last one ended.
        cluster.join(0, 1, 0, Hearing::All, Start::Next);
        cluster.run_until(cluster.now + SECOND);
        cluster.plan(0, Happening::Act(Action::Publish { daemon: 0 }));
        finish(&mut cluster, &case)?;
        told(&mut cluster, &case, 3, 3)?;
    }
    Ok(RUNS)
}
