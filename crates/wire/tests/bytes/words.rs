//! Words of every shape, from a seed.
//!
//! A seed that fails is printed by proptest and makes the same word again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use whimbrel_wire::{
    Answer, AttemptId, CatchUp, CausalEvent, CausalLink, ChannelName, ChannelWord, ChunkList,
    ChunkRef, ClientId, Deed, DeliveryMessage, Digest, EntityId, Epoch, EvolutionWord, Frozen,
    Head, Hearing, Identity, InputOrigin, Kind, Ledger, Luggage, Manifest, Message,
    MigrationEnvelope, MigrationFailureReason, MigrationMessage, MigrationPhase, NodeId, Offer,
    OriginHash, Outgoing, Position, Progress, PublicKey, Purpose, Refusal, Role, Sender, Sequence,
    Session, Signature, SignedDeed, Stamp, Start, StateRef, StateVersion, StoreId,
    SubscribeRefusal, SubscriptionBinding, SubscriptionState, Time, TimerId, TitleMessage, Turn,
    Write,
};

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Any word of a kind.
    pub(crate) fn any<T: Word>(&mut self) -> T {
        T::any(self)
    }
}

/// What can be made from a seed.
pub(crate) trait Word {
    fn any(random: &mut Random) -> Self;
}

/// Makes structs whose parts are words.
macro_rules! parts {
    ($($name:ident { $($part:ident),* $(,)? })*) => {
        $(impl Word for $name {
            fn any(random: &mut Random) -> Self {
                Self { $($part: random.any()),* }
            }
        })*
    };
}

/// Makes enums by choosing one of the listed shapes.
macro_rules! choices {
    ($($name:ident { $($shape:expr),* $(,)? })*) => {
        $(impl Word for $name {
            fn any(random: &mut Random) -> Self {
                let shapes: &[fn(&mut Random) -> Self] = &[$($shape),*];
                shapes[random.below(shapes.len() as u64) as usize](random)
            }
        })*
    };
}

/// Makes ids from numbers.
macro_rules! ids {
    ($($name:ident: $inner:ty),* $(,)?) => {
        $(impl Word for $name {
            fn any(random: &mut Random) -> Self {
                Self::new(random.any::<$inner>())
            }
        })*
    };
}

impl Word for u64 {
    /// Small, large and in between: each length of its encoding.
    fn any(random: &mut Random) -> Self {
        let shift = random.below(64);
        random.next() >> shift
    }
}

impl Word for u32 {
    fn any(random: &mut Random) -> Self {
        let shift = random.below(32);
        (random.next() as Self) >> shift
    }
}

impl Word for u128 {
    fn any(random: &mut Random) -> Self {
        let shift = random.below(128);
        ((Self::from(random.next()) << 64) | Self::from(random.next())) >> shift
    }
}

impl Word for u8 {
    fn any(random: &mut Random) -> Self {
        random.next() as Self
    }
}

impl Word for bool {
    fn any(random: &mut Random) -> Self {
        random.below(2) == 0
    }
}

impl<const N: usize> Word for [u8; N] {
    fn any(random: &mut Random) -> Self {
        std::array::from_fn(|_| random.any())
    }
}

impl Word for String {
    fn any(random: &mut Random) -> Self {
        let letters = ['a', 'ß', '鳥', ' ', '"', '\0'];
        (0..random.below(5)).map(|_| letters[random.below(6) as usize]).collect()
    }
}

impl Word for Bytes {
    fn any(random: &mut Random) -> Self {
        let long = if random.below(8) == 0 { 300 } else { 6 };
        (0..random.below(long)).map(|_| random.any::<u8>()).collect()
    }
}

impl<T: Word> Word for Option<T> {
    fn any(random: &mut Random) -> Self {
        (random.below(2) == 0).then(|| random.any())
    }
}

impl<T: Word> Word for Box<T> {
    fn any(random: &mut Random) -> Self {
        Self::new(random.any())
    }
}

impl<T: Word> Word for Vec<T> {
    fn any(random: &mut Random) -> Self {
        (0..random.below(4)).map(|_| random.any()).collect()
    }
}

impl<T: Word> Word for VecDeque<T> {
    fn any(random: &mut Random) -> Self {
        Vec::any(random).into()
    }
}

impl<K: Word + Ord, V: Word> Word for BTreeMap<K, V> {
    fn any(random: &mut Random) -> Self {
        (0..random.below(4)).map(|_| (random.any(), random.any())).collect()
    }
}

impl<A: Word, B: Word> Word for (A, B) {
    fn any(random: &mut Random) -> Self {
        (random.any(), random.any())
    }
}

ids! {
    NodeId: u64, OriginHash: u64, Epoch: u64, Position: u64, Sequence: u64, TimerId: u64,
    StateVersion: u32, AttemptId: u128, StoreId: u128, ClientId: u128,
}

impl Word for Time {
    fn any(random: &mut Random) -> Self {
        Self::ZERO + Duration::from_nanos(random.any())
    }
}

impl Word for Digest {
    fn any(random: &mut Random) -> Self {
        Self::from_bytes(random.any())
    }
}

impl Word for EntityId {
    fn any(random: &mut Random) -> Self {
        Self::from_bytes(random.any())
    }
}

impl Word for PublicKey {
    fn any(random: &mut Random) -> Self {
        Self::from_bytes(random.any())
    }
}

impl Word for Signature {
    fn any(random: &mut Random) -> Self {
        Self::from_bytes(random.any())
    }
}

impl Word for Kind {
    fn any(random: &mut Random) -> Self {
        Self::new(format!("k{}", random.any::<String>())).unwrap()
    }
}

impl Word for ChannelName {
    fn any(random: &mut Random) -> Self {
        let name = format!("c{}", random.any::<String>()).replace('\0', "");
        Self::new(name).unwrap()
    }
}

impl Word for ChunkList {
    fn any(random: &mut Random) -> Self {
        Self(random.any())
    }
}

parts! {
    ChunkRef { digest, bytes }
    CausalLink { origin, sequence, epoch, parent }
    CausalEvent { link, payload }
    Head { position, sequence, hash }
    Deed { entity, epoch, from, to, store, attempt, head, snapshot, previous }
    SignedDeed { deed, signature }
    Stamp { time, epoch, origin, head }
    Answer { outputs, failure }
    Turn { event, stamp }
    Session { mark, last, heard, answers }
    Outgoing { next, waiting }
    Ledger { sessions, outgoing }
    StateRef { bytes, chunks, lists }
    Manifest { entity, kind, version, epoch, head, last, time, state, luggage }
    SubscriptionBinding { publisher, channel }
    Luggage { ledger, host, subscriptions }
    Frozen { head, state }
    Offer { orchestrator, envelope, catch_up, frozen }
    Progress {
        phase, bytes_sent, bytes_total, chunks_sent, chunks_total, events_replayed, lag, position,
    }
    MigrationEnvelope { entity, attempt, epoch, role, message }
}

choices! {
    Sender {
        |_| Self::Host,
        |r| Self::Client { client: r.any(), session: r.any() },
        |r| Self::Daemon(r.any()),
    }
    InputOrigin {
        |r| Self::Event { sender: r.any(), number: r.any(), answered: r.any() },
        |r| Self::Poisoned { sender: r.any(), number: r.any(), answered: r.any() },
        |r| Self::Timer(r.any()),
        |r| Self::SessionOpened(r.any()),
        |_| Self::Evolution,
    }
    EvolutionWord {
        |r| Self::Agreed { attempt: r.any(), terms: r.any() },
        |r| Self::Adopted { attempt: r.any(), definition: r.any() },
    }
    Hearing { |_| Self::All, |r| Self::Recent { window: r.any() } }
    Start { |_| Self::Next, |_| Self::Retained, |r| Self::After(r.any()) }
    SubscribeRefusal {
        |_| Self::NoChannel,
        |_| Self::Full,
        |_| Self::Window,
        |_| Self::Itself,
    }
    SubscriptionState {
        |_| Self::Asked,
        |r| Self::Live { next: r.any() },
        |r| Self::Leaving { next: r.any() },
        |r| Self::Refused(r.any()),
        |_| Self::Nothing,
    }
    ChannelWord {
        |r| Self::Plain(r.any()),
        |r| Self::Subscribe {
            channel: r.any(),
            subscription: r.any(),
            hearing: r.any(),
            start: r.any(),
        },
        |r| Self::Subscribed { channel: r.any(), subscription: r.any(), next: r.any() },
        |r| Self::Refused { channel: r.any(), subscription: r.any(), refusal: r.any() },
        |r| Self::Unsubscribe { channel: r.any(), subscription: r.any() },
        |r| Self::Unsubscribed { channel: r.any(), subscription: r.any() },
        |r| Self::Message {
            channel: r.any(),
            number: r.any(),
            omitted: r.any(),
            payload: r.any(),
        },
        |r| Self::Heard { channel: r.any(), count: r.any() },
        |r| Self::Join {
            publisher: r.any(),
            channel: r.any(),
            hearing: r.any(),
            start: r.any(),
        },
        |r| Self::Leave { publisher: r.any(), channel: r.any() },
        |r| Self::Ask { publisher: r.any(), channel: r.any() },
        |r| Self::Open { channel: r.any(), retained: r.any() },
        |r| Self::Publish { channel: r.any(), payload: r.any() },
    }
    CatchUp { |_| Self::Replay, |_| Self::Deltas, |_| Self::FreezeAndCopy }
    Role { |_| Self::Source, |_| Self::Target, |_| Self::Orchestrator }
    MigrationPhase {
        |_| Self::Snapshot,
        |_| Self::Transfer,
        |_| Self::Restore,
        |_| Self::Replay,
        |_| Self::Cutover,
        |_| Self::Complete,
    }
    MigrationFailureReason {
        |_| Self::NotReady,
        |_| Self::FactoryNotFound,
        |_| Self::ComputeNotSupported,
        |r| Self::StateFailed(r.any()),
        |_| Self::AlreadyMigrating,
        |r| Self::IdentityTransportFailed(r.any()),
        |r| Self::NotReadyTimeout { attempts: r.any() },
        |_| Self::NotOwner,
        |_| Self::StaleAttempt,
        |_| Self::Diverged,
        |_| Self::CouldNotCatchUp,
        |_| Self::TimedOut,
        |_| Self::Cancelled,
        |_| Self::CapacityExceeded,
        |r| Self::StoreFailed(r.any()),
        |r| Self::SnapshotInvalid(r.any()),
        |_| Self::SameNode,
        |_| Self::UnknownNode,
        |r| Self::Incompatible(r.any()),
        |_| Self::WrongPeer,
        |_| Self::TooLate,
        |_| Self::ShuttingDown,
        |r| Self::IncompatibleMigration { summary: r.any(), report: r.any() },
        |r| Self::VersionNotRead { found: r.any(), first: r.any(), last: r.any() },
    }
    Refusal {
        |_| Self::Busy,
        |r| Self::Expected(r.any()),
        |_| Self::UnknownSession,
        |r| Self::Moved(r.any()),
        |_| Self::NotHere,
        |_| Self::Deleted,
        |_| Self::TooLarge,
        |_| Self::Forked,
        |_| Self::NotRunnable,
    }
    MigrationMessage {
        |r| Self::TakeSnapshot {
            daemon_origin: r.any(),
            target_node: r.any(),
            transport_identity: r.any(),
            catch_up: r.any(),
        },
        |r| Self::SnapshotReady {
            daemon_origin: r.any(),
            snapshot_bytes: r.any(),
            seq_through: r.any(),
            chunk_index: r.any(),
            total_chunks: r.any(),
            snapshot: r.any(),
            offer: r.any(),
        },
        |r| Self::RestoreComplete {
            daemon_origin: r.any(),
            restored_seq: r.any(),
            snapshot: r.any(),
            head: r.any(),
            store: r.any(),
            key: r.any(),
        },
        |r| Self::ReplayComplete {
            daemon_origin: r.any(),
            replayed_seq: r.any(),
            target_head: r.any(),
            head: r.any(),
            state: r.any(),
            store: r.any(),
            key: r.any(),
        },
        |r| Self::CutoverNotify { daemon_origin: r.any(), target_node: r.any() },
        |r| Self::CleanupComplete { daemon_origin: r.any(), deed: r.any() },
        |r| Self::MigrationFailed { daemon_origin: r.any(), reason: r.any() },
        |r| Self::BufferedEvents {
            daemon_origin: r.any(),
            events: r.any(),
            stamps: r.any(),
            frozen: r.any(),
        },
        |r| Self::ActivateTarget { daemon_origin: r.any(), deed: r.any() },
        |r| Self::ActivateAck { daemon_origin: r.any(), replayed_seq: r.any(), deed: r.any() },
        |r| Self::ChunksWanted { daemon_origin: r.any(), snapshot: r.any(), ranges: r.any() },
        |r| Self::Progressed { daemon_origin: r.any(), progress: r.any() },
        |r| Self::Cancel { daemon_origin: r.any() },
        |r| Self::TakeSnapshotOnTerms {
            daemon_origin: r.any(),
            target_node: r.any(),
            transport_identity: r.any(),
            catch_up: r.any(),
            terms: r.any(),
        },
    }
    DeliveryMessage {
        |r| Self::OpenSession { client: r.any(), reply_to: r.any() },
        |r| Self::SessionOpened { client: r.any(), session: r.any() },
        |r| Self::Deliver {
            sender: r.any(),
            number: r.any(),
            answered: r.any(),
            event: r.any(),
            reply_to: r.any(),
            epoch: r.any(),
        },
        |r| Self::Delivered { sender: r.any(), number: r.any(), answer: r.any(), deed: r.any() },
        |r| Self::Refused { sender: r.any(), number: r.any(), refusal: r.any() },
        |r| Self::SessionRefused { client: r.any(), refusal: r.any() },
    }
    TitleMessage {
        |r| Self::DeedAsked { after: r.any(), attempt: r.any() },
        |r| Self::DeedAnswered { after: r.any(), deeds: r.any(), attempt: r.any() },
    }
    Message {
        |r| Self::Migration(r.any()),
        |r| Self::Delivery { entity: r.any(), message: r.any() },
        |r| Self::Title { entity: r.any(), message: r.any() },
    }
    Write {
        |r| Self::Birth { deed: r.any(), manifest: r.any() },
        |r| Self::Append { entity: r.any(), epoch: r.any(), after: r.any(), turns: r.any() },
        |r| Self::Publish { entity: r.any(), epoch: r.any(), manifest: r.any() },
        |r| Self::Compact { entity: r.any(), epoch: r.any(), through: r.any() },
        |r| Self::BeginAttempt { entity: r.any(), epoch: r.any(), attempt: r.any() },
        |r| Self::HandOver { deed: r.any() },
        |r| Self::Reclaim { deed: r.any() },
        |r| Self::SaveCopy {
            entity: r.any(),
            attempt: r.any(),
            epoch: r.any(),
            manifest: r.any(),
        },
        |r| Self::AppendCopy { entity: r.any(), attempt: r.any(), after: r.any(), turns: r.any() },
        |r| Self::Accept { deeds: r.any() },
        |r| Self::Learn { deeds: r.any() },
        |r| Self::DropCopy { entity: r.any(), attempt: r.any() },
        |r| Self::DropState { entity: r.any(), deed: r.any() },
        |r| Self::Delete { entity: r.any(), epoch: r.any() },
    }
}

#[test]
fn a_link_is_hashed_alike_with_short_and_with_long_payloads() {
    let origin = Identity::from_seed(&[3; 32]).origin_hash();
    for bytes in [0, 1, 8, 199, 200, 201, 968, 969, 5_000] {
        let event = CausalEvent::unchained(origin, 7, vec![0x5a; bytes].into());
        let mut words = [origin.get(), 7, Epoch::FIRST.get()].map(u64::to_le_bytes).concat();
        words.extend(Digest::ZERO.as_bytes());
        words.extend(&event.payload);
        assert_eq!(event.digest(), Digest::of(Purpose::Link, &words), "{bytes} bytes");
    }
}
