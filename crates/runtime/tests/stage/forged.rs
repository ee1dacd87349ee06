//! What somebody who is not a party could say about a move.

use bytes::Bytes;
use whimbrel_wire::{
    AttemptId, CausalEvent, CausalLink, Deed, Digest, EntityId, Epoch, Frozen, Head, InputOrigin,
    Message, MigrationEnvelope, MigrationFailureReason, MigrationMessage, NodeId, NodeKey,
    Position, Role, Sender, Sequence, SignedDeed, Stamp, StoreId, Time, encode_frame,
};

/// What anyone could know of a move.
pub(crate) struct Move {
    pub(crate) entity: EntityId,
    pub(crate) attempt: AttemptId,
    pub(crate) epoch: Epoch,
}

impl Move {
    pub(crate) const fn names(&self) -> (EntityId, AttemptId, Epoch) {
        (self.entity, self.attempt, self.epoch)
    }
}

pub(crate) fn anywhere() -> Head {
    Head { position: Position::new(7), sequence: Sequence::new(3), hash: Digest::ZERO }
}

/// A hand-over of the daemon to `to`, which only its owner could sign.
pub(crate) fn forged_deed(
    title: &[SignedDeed],
    forger: &NodeKey,
    to: &NodeKey,
    of: &Move,
) -> SignedDeed {
    let last = title.last().unwrap();
    let deed = Deed {
        entity: of.entity,
        epoch: last.deed.epoch.next(),
        from: last.deed.to,
        to: to.public(),
        store: StoreId::new(1),
        attempt: of.attempt,
        head: anywhere(),
        snapshot: Digest::ZERO,
        previous: last.digest(),
    };
    deed.sign(forger)
}

pub(crate) fn injected(of: &Move) -> MigrationMessage {
    let daemon_origin = of.entity.origin_hash();
    let event = CausalEvent::unchained(daemon_origin, 1, Bytes::from_static(b"put a forged"));
    let origin = InputOrigin::Event { sender: Sender::Host, number: 0, answered: 0 };
    let stamp = Stamp { time: Time::from_nanos(1), epoch: of.epoch, origin, head: anywhere() };
    let frozen = Some(Frozen { head: anywhere(), state: Digest::ZERO });
    MigrationMessage::BufferedEvents {
        daemon_origin,
        events: vec![event],
        stamps: vec![stamp],
        frozen,
    }
}

/// All of them, each with the role that it needs, as frames.
pub(crate) fn all_forged_frames(
    of: &Move,
    liar: &NodeKey,
    deed: &SignedDeed,
    target: NodeId,
) -> Vec<Bytes> {
    let (entity, attempt, epoch) = of.names();
    let framed = |(role, message)| {
        let envelope = MigrationEnvelope { entity, attempt, epoch, role, message };
        encode_frame(&Message::Migration(envelope)).unwrap()
    };
    all_forgeries(of, liar, deed, target).into_iter().map(framed).collect()
}

/// Each with the role that it needs.
pub(crate) fn all_forgeries(
    of: &Move,
    liar: &NodeKey,
    deed: &SignedDeed,
    target: NodeId,
) -> Vec<(Role, MigrationMessage)> {
    let daemon_origin = of.entity.origin_hash();
    let link = CausalLink {
        origin: daemon_origin,
        sequence: Sequence::new(3),
        epoch: of.epoch,
        parent: Digest::ZERO,
    };
    let (head, snapshot, store, key) = (anywhere(), Digest::ZERO, StoreId::new(1), liar.public());
    let (restored_seq, replayed_seq, target_node) = (7, 7, target);
    let failed = || MigrationMessage::MigrationFailed {
        daemon_origin,
        reason: MigrationFailureReason::Cancelled,
    };
    vec![
        (Role::Orchestrator, MigrationMessage::CutoverNotify { daemon_origin, target_node }),
        (Role::Orchestrator, MigrationMessage::Cancel { daemon_origin }),
        (
            Role::Target,
            MigrationMessage::RestoreComplete {
                daemon_origin,
                restored_seq,
                snapshot,
                head,
                store,
                key,
            },
        ),
        (
            Role::Target,
            MigrationMessage::ReplayComplete {
                daemon_origin,
                replayed_seq,
                target_head: link,
                head,
                state: Some(Digest::ZERO),
                store,
                key,
            },
        ),
        (
            Role::Target,
            MigrationMessage::ChunksWanted { daemon_origin, snapshot, ranges: vec![(0, 9)] },
        ),
        (Role::Target, failed()),
        (Role::Source, failed()),
        (Role::Orchestrator, failed()),
        (
            Role::Target,
            MigrationMessage::ActivateAck { daemon_origin, replayed_seq, deed: deed.digest() },
        ),
        (
            Role::Orchestrator,
            MigrationMessage::ActivateTarget { daemon_origin, deed: deed.clone() },
        ),
        (Role::Source, MigrationMessage::CleanupComplete { daemon_origin, deed: deed.clone() }),
        (Role::Source, injected(of)),
        (
            Role::Source,
            MigrationMessage::SnapshotReady {
                daemon_origin,
                snapshot_bytes: Bytes::from_static(b"a piece"),
                seq_through: 7,
                chunk_index: 1,
                total_chunks: 2,
                snapshot,
                offer: None,
            },
        ),
    ]
}
