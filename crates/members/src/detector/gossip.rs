//! What `foca` is given: names of nodes, bytes of packets, reports that travel along, and dice.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, BufMut};
use foca::{BroadcastHandler, Codec, Header, Identity, Invalidates, Member, PostcardCodec, State};
use rand_core::TryRng;
use serde::{Deserialize, Serialize};
use whimbrel_wire::NodeId;

use crate::report::SignedReport;

/// A node in one of its runs. A later run takes the place of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Peer {
    pub(super) node: u64,
    pub(super) run: u64,
}

impl Identity for Peer {
    type Addr = u64;

    fn renew(&self) -> Option<Self> {
        Some(Self { run: self.run.saturating_add(1), ..*self })
    }

    fn addr(&self) -> u64 {
        self.node
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.run > adversary.run
    }
}

/// What the parts of a detector share.
pub(super) struct Known {
    own: NodeId,
    pub(super) members: BTreeSet<NodeId>,
    pub(super) reports: BTreeMap<NodeId, SignedReport>,
    /// The newest report of this node.
    own_report: Option<(u64, u64)>,
}

impl Known {
    pub(super) const fn new(own: NodeId) -> Self {
        Self { own, members: BTreeSet::new(), reports: BTreeMap::new(), own_report: None }
    }

    fn is_member(&self, node: NodeId) -> bool {
        node == self.own || self.members.contains(&node)
    }

    /// Whether the report is news about a member.
    fn learn(&mut self, signed: SignedReport, is_own: bool) -> bool {
        let (node, version) = (signed.report.node(), signed.report.version());
        if node == self.own {
            // What comes back over others is known.
            let is_new = is_own && self.own_report < Some(version) && signed.holds();
            if is_new {
                self.own_report = Some(version);
            }
            return is_new;
        }
        let before = self.reports.get(&node).map(|known| known.report.version());
        // News come again and again: what is known costs no look at the signature.
        let is_new = self.members.contains(&node) && before < Some(version) && signed.holds();
        if is_new {
            self.reports.insert(node, signed);
        }
        is_new
    }
}

/// Nothing panics while it holds the lock.
pub(super) fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The node that a packet says it is from.
pub(super) fn sender(packet: &[u8]) -> Option<NodeId> {
    let header: Header<Peer> = PostcardCodec.decode_header(packet).ok()?;
    Some(NodeId::new(header.src.node))
}

/// The bytes of packets. News about a node that is not on the list is read as no news.
pub(super) struct Words {
    sender: Peer,
    known: Arc<Mutex<Known>>,
}

impl Words {
    pub(super) const fn new(own: Peer, known: Arc<Mutex<Known>>) -> Self {
        Self { sender: own, known }
    }
}

impl Codec<Peer> for Words {
    type Error = postcard::Error;

    fn encode_header(&mut self, header: &Header<Peer>, to: impl BufMut) -> postcard::Result<()> {
        PostcardCodec.encode_header(header, to)
    }

    fn decode_header(&mut self, from: impl Buf) -> postcard::Result<Header<Peer>> {
        let header: Header<Peer> = PostcardCodec.decode_header(from)?;
        self.sender = header.src;
        Ok(header)
    }

    fn encode_member(&mut self, member: &Member<Peer>, to: impl BufMut) -> postcard::Result<()> {
        PostcardCodec.encode_member(member, to)
    }

    fn decode_member(&mut self, from: impl Buf) -> postcard::Result<Member<Peer>> {
        let member: Member<Peer> = PostcardCodec.decode_member(from)?;
        if lock(&self.known).is_member(NodeId::new(member.id().node)) {
            return Ok(member);
        }
        // That its sender is alive is known already.
        Ok(Member::new(self.sender, 0, State::Alive))
    }
}

/// Reports on their way.
pub(super) struct Reports {
    known: Arc<Mutex<Known>>,
}

impl Reports {
    pub(super) const fn new(known: Arc<Mutex<Known>>) -> Self {
        Self { known }
    }
}

/// Names a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    node: NodeId,
    version: (u64, u64),
}

impl Invalidates for Version {
    fn invalidates(&self, other: &Self) -> bool {
        self.node == other.node && self.version >= other.version
    }
}

impl BroadcastHandler<Peer> for Reports {
    type Key = Version;
    type Error = Infallible;

    fn receive_item(
        &mut self,
        bytes: &[u8],
        sender: Option<&Peer>,
    ) -> Result<Option<Version>, Infallible> {
        // One that does not hold is passed over; the rest of the packet counts.
        let Some(signed) = SignedReport::claimed(bytes) else { return Ok(None) };
        let version = Version { node: signed.report.node(), version: signed.report.version() };
        let is_new = lock(&self.known).learn(signed, sender.is_none());
        Ok(is_new.then_some(version))
    }
}

/// Chance, all of it from a seed (SplitMix64).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.try_next_u64()? >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Ok(mixed ^ (mixed >> 31))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for part in bytes.chunks_mut(8) {
            let drawn = self.try_next_u64()?.to_le_bytes();
            part.copy_from_slice(&drawn[..part.len()]);
        }
        Ok(())
    }
}
