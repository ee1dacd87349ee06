//! Tells of an admitted node that says what is not its to say: it is not heard.

use whimbrel_protocol::{Event, Input, MoveOptions, Warning};
use whimbrel_wire::{
    AttemptId, Deed, Digest, Epoch, Message, MigrationEnvelope, MigrationFailureReason,
    MigrationMessage, NodeId, Role, Write,
};

use super::{Failure, expect, finish, stage};
use crate::cluster::{Cluster, MILLI, SECOND};
use crate::scribe::Style;

/// The vote of the target, if it is on its way to the source.
fn vote_under_way(cluster: &mut Cluster) -> Option<MigrationEnvelope> {
    let kept = cluster.kept.replace(Vec::new()).unwrap_or_default();
    kept.into_iter().find_map(|(to, _, message)| match message {
        Message::Migration(envelope) if to == 0 => {
            let MigrationMessage::ReplayComplete { state, .. } = &envelope.message else {
                return None;
            };
            state.is_some().then_some(envelope)
        }
        Message::Migration(_) | Message::Delivery { .. } | Message::Title { .. } => None,
    })
}

fn warned(cluster: &Cluster, liar: NodeId) -> bool {
    cluster.warnings.iter().any(|warning| {
        matches!(warning, Event::Warning(Warning::WrongPeer { from, .. }) if *from == liar)
    })
}

/// C overtakes the vote of B with one of its own: B is the heir all the same.
pub(super) fn vote() -> Result<u64, Failure> {
    for seed in 0..10 {
        let case = format!("seed {seed}");
        let mut cluster = stage(seed, Style::Replays, 20);
        (cluster.network.delay_min, cluster.network.delay_max) = (2 * MILLI, 4 * MILLI);
        cluster.kept = Some(Vec::new());
        let entity = cluster.daemons[0].entity;
        cluster.ask_move(0, 0, 1, MoveOptions::default());
        let end = cluster.now + 2 * SECOND;
        let mut forged = None;
        while forged.is_none() && cluster.now < end {
            cluster.run_until(cluster.now + MILLI / 20);
            forged = vote_under_way(&mut cluster);
        }
        cluster.kept = None;
        let (liar, station) = (cluster.nodes[2].id, cluster.nodes[2].station.clone());
        let voted = forged.is_some();
        expect(&cluster, &case, "it-ends", voted, "the target did not vote")?;
        if let Some(mut envelope) = forged {
            if let MigrationMessage::ReplayComplete { store, key, .. } = &mut envelope.message {
                (*store, *key) = (station.store(), station.public());
            }
            let message = Message::Migration(envelope);
            cluster.feed(0, entity, Input::Message { from: liar, message });
        }
        cluster.run_until(cluster.now + 5 * SECOND);
        finish(&mut cluster, &case)?;
        let there = cluster.owner_is(0, 1);
        expect(&cluster, &case, "one-owner", there, "the daemon is not where it was moved")?;
        let told = warned(&cluster, liar);
        expect(&cluster, &case, "one-owner", told, "nobody was told of the liar")?;
    }
    Ok(10)
}

/// C asks the source to hand over a move that A orchestrates.
pub(super) fn cut_over() -> Result<u64, Failure> {
    for after in 1..10 {
        let case = format!("{after} ms after the move was asked for");
        let mut cluster = stage(after, Style::Replays, 20);
        (cluster.network.delay_min, cluster.network.delay_max) = (4 * MILLI, 8 * MILLI);
        let (entity, target) = (cluster.daemons[0].entity, cluster.nodes[1].id);
        let liar = cluster.nodes[2].id;
        let attempt = cluster.ask_move(0, 0, 1, MoveOptions::default());
        cluster.run_until(cluster.now + after * MILLI);
        let daemon_origin = entity.origin_hash();
        let message = MigrationMessage::CutoverNotify { daemon_origin, target_node: target };
        let (epoch, role) = (Epoch::FIRST, Role::Orchestrator);
        let message =
            Message::Migration(MigrationEnvelope { entity, attempt, epoch, role, message });
        cluster.feed(0, entity, Input::Message { from: liar, message });
        cluster.run_until(cluster.now + 5 * SECOND);
        finish(&mut cluster, &case)?;
        let told = warned(&cluster, liar);
        expect(&cluster, &case, "it-ends", told, "somebody else decided over the move")?;
    }
    Ok(9)
}

/// C tells the target, in the name of the source, that the move has failed.
pub(super) fn end() -> Result<u64, Failure> {
    let mut ended = 0;
    for after in (10..120).step_by(2) {
        let case = format!("{after} ms after the move was asked for");
        let mut cluster = stage(after, Style::Replays, 20);
        (cluster.network.delay_min, cluster.network.delay_max) = (2 * MILLI, 4 * MILLI);
        let (entity, liar) = (cluster.daemons[0].entity, cluster.nodes[2].id);
        let attempt = cluster.ask_move(0, 0, 1, MoveOptions::default());
        cluster.run_until(cluster.now + after * MILLI);
        let reason = MigrationFailureReason::Cancelled;
        let daemon_origin = entity.origin_hash();
        let message = MigrationMessage::MigrationFailed { daemon_origin, reason };
        let (epoch, role) = (Epoch::FIRST, Role::Source);
        let message =
            Message::Migration(MigrationEnvelope { entity, attempt, epoch, role, message });
        cluster.feed(1, entity, Input::Message { from: liar, message });
        cluster.run_until(cluster.now + 5 * SECOND);
        finish(&mut cluster, &case)?;
        let by_it = cluster.checkers.has_handed_over(attempt);
        expect(&cluster, &case, "it-ends", by_it, "somebody else ended the move")?;
        ended += 1;
    }
    Ok(ended)
}

/// After the deed B acknowledges another one, and its copy is lost: the source has kept the state.
pub(super) fn acknowledgement() -> Result<u64, Failure> {
    for style in [Style::Replays, Style::Freezes] {
        let case = format!("{style:?}");
        let mut cluster = stage(29, style, 10);
        let entity = cluster.daemons[0].entity;
        let attempt = cluster.ask_move(2, 0, 1, MoveOptions::default());
        while cluster.tally.hand_overs == 0 && cluster.now < 20 * SECOND {
            cluster.run_until(cluster.now + MILLI / 20);
        }
        let target = cluster.nodes[1].id;
        cluster.crash(1, None);
        // The source learns that its deed is saved.
        cluster.run_until(cluster.now + 20 * MILLI);
        let message = MigrationMessage::ActivateAck {
            daemon_origin: entity.origin_hash(),
            replayed_seq: 0,
            deed: Digest::ZERO,
        };
        let (epoch, role) = (Epoch::FIRST, Role::Target);
        let message =
            Message::Migration(MigrationEnvelope { entity, attempt, epoch, role, message });
        cluster.feed(0, entity, Input::Message { from: target, message });
        cluster.write_behind(1, &Write::DropCopy { entity, attempt });
        cluster.run_until(cluster.now + SECOND);
        cluster.restart(1);
        cluster.run_until(cluster.now + 5 * SECOND);
        finish(&mut cluster, &case)?;
        let there = cluster.owner_is(0, 1);
        expect(&cluster, &case, "it-ends", there, "the daemon is not on the target")?;
    }
    Ok(2)
}

/// C signs a deed that makes it the owner, in the name of A: A goes on.
pub(super) fn forged_deed() -> Result<u64, Failure> {
    for seed in 0..10 {
        let case = format!("seed {seed}");
        let mut cluster = stage(seed, Style::Replays, 20);
        let entity = cluster.daemons[0].entity;
        let (liar, thief) = (cluster.nodes[2].id, cluster.nodes[2].station.clone());
        let title =
            cluster.nodes[0].seats.get(&entity).and_then(|seat| seat.title().last().cloned());
        let Some(title) = title else {
            return expect(&cluster, &case, "one-owner", false, "the daemon has no title")
                .map(|()| 0);
        };
        let attempt = AttemptId::new(0xf0);
        let deed = Deed {
            entity,
            epoch: title.deed.epoch.next(),
            from: title.deed.to,
            to: thief.public(),
            store: thief.store(),
            attempt,
            head: title.deed.head,
            snapshot: title.deed.snapshot,
            previous: title.digest(),
        };
        let deed = deed.sign(&cluster.nodes[2].key);
        let message =
            MigrationMessage::ActivateTarget { daemon_origin: entity.origin_hash(), deed };
        let (epoch, role) = (Epoch::FIRST, Role::Source);
        let message =
            Message::Migration(MigrationEnvelope { entity, attempt, epoch, role, message });
        for to in [0, 1] {
            let message = message.clone();
            cluster.feed(to, entity, Input::Message { from: liar, message });
        }
        cluster.run_until(cluster.now + SECOND);
        finish(&mut cluster, &case)?;
        let stays = cluster.owner_is(0, 0);
        expect(&cluster, &case, "one-owner", stays, "the daemon is not where it was")?;
    }
    Ok(10)
}
