//! Decides how a machine says what it wants: the tools that every machine of a seat shares.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use whimbrel_wire::{
    AttemptId, Deed, DeliveryMessage, Digest, EntityId, Epoch, Message, MigrationEnvelope,
    MigrationFailureReason, MigrationMessage, NodeId, NodeKey, OriginHash, PublicKey, Role,
    Signature, SignedDeed, StoreId, Time, TitleMessage, Write,
};

use crate::port::{Event, Output, SaveTicket, Warning};
use crate::rarely::Spot;
use crate::settings::Settings;
use crate::title::Title;

/// What is true of the node on which a seat stands.
#[derive(Clone, Debug)]
pub struct Station {
    pen: Pen,
    public: PublicKey,
    node: NodeId,
    store: StoreId,
    /// Its waits and bounds.
    pub settings: Settings,
}

/// How deeds of the node come by their signatures.
#[derive(Clone, Debug)]
enum Pen {
    Key(NodeKey),
    /// It has none: these deeds were seen signed.
    Seen(BTreeMap<Digest, SignedDeed>),
}

/// The public key stands for the secret one.
impl PartialEq for Station {
    fn eq(&self, other: &Self) -> bool {
        (self.public, self.store, &self.settings) == (other.public, other.store, &other.settings)
    }
}

impl Eq for Station {}

impl Hash for Station {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.public, self.store, &self.settings).hash(state);
    }
}

impl Station {
    /// The station of the node with this key and this data folder.
    #[must_use]
    pub fn new(key: NodeKey, store: StoreId, settings: Settings) -> Self {
        let public = key.public();
        Self { pen: Pen::Key(key), public, node: public.node_id(), store, settings }
    }

    /// The station as it was for a node whose key is not at hand: it signs nothing but what was
    /// seen signed. Any other deed stays without a signature that holds.
    #[must_use]
    pub fn witness(
        public: PublicKey,
        store: StoreId,
        settings: Settings,
        seen: impl IntoIterator<Item = SignedDeed>,
    ) -> Self {
        let seen = seen.into_iter().map(|signed| (signed.digest(), signed)).collect();
        Self { pen: Pen::Seen(seen), public, node: public.node_id(), store, settings }
    }

    /// Its node.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// Its public key.
    #[must_use]
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs a deed of this node.
    pub(crate) fn sign(&self, deed: Deed) -> SignedDeed {
        match &self.pen {
            Pen::Key(key) => deed.sign(key),
            Pen::Seen(seen) => {
                let signed = seen.get(&deed.digest()).cloned();
                signed.unwrap_or(SignedDeed { deed, signature: Signature::from_bytes([0; 64]) })
            }
        }
    }

    /// Its data folder.
    #[must_use]
    pub const fn store(&self) -> StoreId {
        self.store
    }
}

/// Why a save was asked for, so that its end finds its way back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Saving {
    Birth,
    /// The copy of a daemon that is brought back.
    Revival,
    Turns {
        count: usize,
    },
    Snapshot,
    Housekeeping,
    Attempt(AttemptId),
    HandOver,
    Copy(AttemptId),
    CopyTurns(AttemptId),
    Accept(AttemptId),
    DropCopy(AttemptId),
    DropState,
    Reclaim,
    Delete,
}

/// Saves whose end is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Saves {
    next: u64,
    open: BTreeMap<SaveTicket, Saving>,
}

impl Saves {
    pub(crate) fn end(&mut self, ticket: SaveTicket) -> Option<Saving> {
        self.open.remove(&ticket)
    }

    /// Gives the saves that are still to be reported the numbers 0, 1, … in this order.
    pub(crate) fn renumber(&mut self, pending: &[SaveTicket]) {
        let mut old = std::mem::take(&mut self.open);
        for (ticket, number) in pending.iter().zip(0..) {
            self.open.extend(old.remove(ticket).map(|saving| (SaveTicket(number), saving)));
        }
        self.next = pending.len() as u64;
    }

    /// Begins a save and ends it.
    pub(crate) const fn pass(&mut self) {
        self.next += 1;
    }

    /// Forgets what was asked for before the record was read anew: late reports find nothing.
    pub(crate) fn forget(&mut self, which: impl Fn(&Saving) -> bool) {
        self.open.retain(|_, saving| !which(saving));
    }
}

/// The tools of one step.
pub(crate) struct Desk<'a> {
    pub(crate) station: &'a Station,
    pub(crate) entity: EntityId,
    pub(crate) origin: OriginHash,
    pub(crate) title: &'a mut Title,
    pub(crate) saves: &'a mut Saves,
    pub(crate) now: Time,
    pub(crate) out: &'a mut Vec<Output>,
}

impl Desk<'_> {
    pub(crate) const fn settings(&self) -> &Settings {
        &self.station.settings
    }

    /// Whether a rare branch is taken here and now without a reason.
    pub(crate) fn rarely(&self, spot: Spot) -> bool {
        self.station.settings.rarely.strikes(self.now, spot)
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.out.push(output);
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.out.push(Output::Event(event));
    }

    pub(crate) fn warn(&mut self, warning: Warning) {
        self.event(Event::Warning(warning));
    }

    pub(crate) fn save(&mut self, saving: Saving, write: Write) {
        let ticket = SaveTicket(self.saves.next);
        self.saves.next += 1;
        self.saves.open.insert(ticket, saving);
        self.out.push(Output::Save { ticket, write });
    }

    /// Forgets the saves of an arrival that begins anew or is over: the report of an earlier one
    /// must not be taken for that of a later one.
    pub(crate) fn forget_saves(&mut self, of: AttemptId) {
        self.saves.forget(|saving| match saving {
            Saving::Copy(attempt) | Saving::CopyTurns(attempt) | Saving::Accept(attempt) => {
                *attempt == of
            }
            Saving::Birth
            | Saving::Revival
            | Saving::Turns { .. }
            | Saving::Snapshot
            | Saving::Housekeeping
            | Saving::Attempt(_)
            | Saving::HandOver
            | Saving::DropCopy(_)
            | Saving::DropState
            | Saving::Reclaim
            | Saving::Delete => false,
        });
    }

    pub(crate) fn delivery(&mut self, to: NodeId, message: DeliveryMessage) {
        let entity = self.entity;
        self.push(Output::Send { to, message: Message::Delivery { entity, message } });
    }

    pub(crate) fn title_message(&mut self, to: NodeId, message: TitleMessage) {
        let entity = self.entity;
        self.push(Output::Send { to, message: Message::Title { entity, message } });
    }

    pub(crate) fn ask_all(&mut self, attempt: Option<AttemptId>) {
        let message = TitleMessage::DeedAsked { after: self.title.known(), attempt };
        let entity = self.entity;
        self.push(Output::Broadcast { message: Message::Title { entity, message } });
    }

    pub(crate) fn ask(&mut self, to: NodeId, attempt: Option<AttemptId>) {
        let after = self.title.known();
        self.title_message(to, TitleMessage::DeedAsked { after, attempt });
    }

    /// Tells another party of a move that this one ends it, or takes no part in it.
    pub(crate) fn say_failed(
        &mut self,
        to: NodeId,
        attempt: AttemptId,
        epoch: Epoch,
        role: Role,
        reason: MigrationFailureReason,
    ) {
        let daemon_origin = self.origin;
        let failed = MigrationMessage::MigrationFailed { daemon_origin, reason };
        let message = self.envelope(attempt, epoch, role, failed);
        self.push(Output::Send { to, message });
    }

    /// Wraps a message of a move.
    pub(crate) fn envelope(
        &self,
        attempt: AttemptId,
        epoch: Epoch,
        role: Role,
        message: MigrationMessage,
    ) -> Message {
        let entity = self.entity;
        Message::Migration(MigrationEnvelope { entity, attempt, epoch, role, message })
    }
}

/// The save of deeds that make another node the owner.
pub(crate) const fn learn(deeds: Vec<SignedDeed>) -> Write {
    Write::Learn { deeds }
}
