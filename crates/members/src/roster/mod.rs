//! Decides who is a member: the fixed list of the config, and what was said since by those who may say it.
//!
//! A fact is signed, so it can come from anybody: by an *inviter* that somebody joined or was struck off, by a
//! member that it left, or by a member who its successor is. Facts spread until every member has said that it
//! holds them.
//!
//! Each step gives a changed roster and what is to be done **after** that was saved; if it cannot be saved,
//! nothing happened.
//!
//! # Invariants
//!
//! * M1 (rightly said): every fact that is kept was signed by somebody who may say it, in this mesh.
//! * M2 (one successor): of the successors that a member names, the first that is heard of counts.
//! * M3 (saved before said): that a fact is held is said only after it was saved.
//!
//! # Limits
//!
//! * [`FACTS_MAX`] facts are kept, one for each node that ever joined; further nodes are refused.
//! * [`TOLD_MAX`] facts are told at once.

mod fact;
mod invitation;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use whimbrel_wire::{Digest, NodeId, NodeKey, PublicKey, decode, encode};

pub use self::fact::{ADDRESSES_MAX, Contact, Fact, MeshId, NAME_BYTES_MAX, Says, SignedFact};
pub use self::invitation::{Invitation, JoinRefusal, JoinRequest, SignedInvitation, Welcome};

/// Most facts that are kept.
pub const FACTS_MAX: usize = 1_024;

/// Most facts in one word.
pub const TOLD_MAX: usize = 64;

/// Most used invitations that are remembered until they end.
const USED_MAX: usize = 1_024;

/// What a roster wants done once it is saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Telling {
    /// Tell this node these facts.
    Told {
        /// Whom.
        to: NodeId,
        /// What.
        facts: Vec<SignedFact>,
    },
    /// Tell this node that these facts are held here, or what took their place.
    Holds {
        /// Whom.
        to: NodeId,
        /// By their digests.
        facts: Vec<Digest>,
    },
}

/// A step: what the roster becomes, and what is to be said then.
#[derive(Clone, Debug)]
#[must_use = "nothing happened before it is saved"]
pub struct Step<T> {
    /// The roster after it.
    pub roster: Roster,
    /// What is to be said once that is saved.
    pub tellings: Vec<Telling>,
    /// What came of it.
    pub result: T,
}

/// Why this node does not invite, or somebody is not struck off.
///
/// Fault: caller. Changed: nothing. Again: after the config was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RosterError {
    /// The mesh has no id, so nobody can join or leave it.
    #[error("this mesh has no id")]
    NoMesh,
    /// This node is not among those whose word counts.
    #[error("this node is no inviter")]
    NoInviter,
    /// There is no such member.
    #[error("there is no such member")]
    NoMember,
    /// It is a member already.
    #[error("it is a member already")]
    Member,
    /// This node has left.
    #[error("this node has left the mesh")]
    Left,
}

/// Who is a member.
#[derive(Clone, Debug)]
pub struct Roster {
    key: NodeKey,
    own: Contact,
    /// By the config.
    fixed: BTreeMap<NodeId, Contact>,
    config_inviters: BTreeSet<PublicKey>,
    kept: Kept,
    /// Who has said that it holds a fact.
    holders: BTreeMap<Digest, BTreeSet<NodeId>>,
}

/// What is on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    mesh: Option<MeshId>,
    /// Those that the host named when this node joined.
    inviters: BTreeSet<PublicKey>,
    /// Members that the host named then.
    contacts: Vec<Contact>,
    facts: BTreeMap<NodeId, SignedFact>,
    /// Invitations by which somebody joined here, and when they end.
    used: BTreeMap<u128, u64>,
}

/// What a roster begins with.
#[derive(Clone, Debug)]
pub struct RosterConfig {
    /// The key of this node.
    pub key: NodeKey,
    /// What it is called.
    pub name: String,
    /// Where others find it.
    pub addresses: Vec<SocketAddr>,
    /// The mesh, by the config.
    pub mesh: Option<MeshId>,
    /// Whose word counts, by the config.
    pub inviters: BTreeSet<PublicKey>,
    /// The other members, by the config.
    pub fixed: Vec<Contact>,
}

impl Roster {
    /// The roster by the config, with what was saved; none if those bytes were not saved by a roster.
    #[must_use]
    pub fn open(config: RosterConfig, saved: Option<&[u8]>) -> Option<Self> {
        let mut kept: Kept = match saved {
            Some(bytes) => decode(bytes).ok()?,
            None => Kept::default(),
        };
        kept.mesh = config.mesh.or(kept.mesh);
        let RosterConfig { key, name, addresses, inviters, fixed, .. } = config;
        let own = Contact::new(key.public(), &name, &addresses);
        let fixed = fixed.into_iter().map(|contact| (contact.node(), contact)).collect();
        let roster =
            Self { key, own, fixed, config_inviters: inviters, kept, holders: BTreeMap::new() };
        let is_sound = |(node, signed): (&NodeId, &SignedFact)| {
            *node == signed.fact.node() && signed.holds() && Some(signed.fact.mesh) == roster.mesh()
        };
        roster.kept.facts.iter().all(is_sound).then_some(roster)
    }

    /// The bytes to be saved.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        encode(&self.kept)
    }

    /// The mesh.
    #[must_use]
    pub const fn mesh(&self) -> Option<MeshId> {
        self.kept.mesh
    }

    fn node(&self) -> NodeId {
        self.own.node()
    }

    /// The other members, as they are found. None once this node has left.
    #[must_use]
    pub fn members(&self) -> BTreeMap<NodeId, Contact> {
        if self.has_left() { BTreeMap::new() } else { self.others() }
    }

    /// The other members, whether or not this node has left.
    #[must_use]
    pub fn others(&self) -> BTreeMap<NodeId, Contact> {
        let welcomed = self.kept.contacts.iter().map(|contact| (contact.node(), contact.clone()));
        let mut members: BTreeMap<NodeId, Contact> = welcomed.collect();
        members.extend(self.fixed.clone());
        for (node, signed) in &self.kept.facts {
            match &signed.fact.says {
                Says::Joined { contact, .. } => drop(members.insert(*node, contact.clone())),
                Says::Left => drop(members.remove(node)),
            }
        }
        members.remove(&self.node());
        members
    }

    /// One of the [`others`](Self::others).
    #[must_use]
    pub fn other(&self, node: NodeId) -> Option<&Contact> {
        if node == self.node() {
            return None;
        }
        match self.kept.facts.get(&node).map(|signed| &signed.fact.says) {
            Some(Says::Joined { contact, .. }) => Some(contact),
            Some(Says::Left) => None,
            None => {
                // The last that is called so, as in the list of all.
                let welcomed = || self.kept.contacts.iter().rfind(|it| it.node() == node);
                self.fixed.get(&node).or_else(welcomed)
            }
        }
    }

    /// One of the [`members`](Self::members).
    fn member(&self, node: NodeId) -> Option<&Contact> {
        if self.has_left() { None } else { self.other(node) }
    }

    /// Whether this node has left, or was struck off.
    #[must_use]
    pub fn has_left(&self) -> bool {
        let own = self.kept.facts.get(&self.node());
        own.is_some_and(|signed| signed.fact.says == Says::Left)
    }

    /// Whether a member has left by its own word.
    #[must_use]
    pub fn has_left_by_itself(&self, node: NodeId) -> bool {
        let signed = self.kept.facts.get(&node);
        signed.is_some_and(|it| it.fact.says == Says::Left && it.fact.by == it.fact.member)
    }

    /// Where others find this node, from here on.
    pub fn found_at(&mut self, addresses: Vec<SocketAddr>) {
        self.own = Contact::new(self.own.key, &self.own.name, &addresses);
    }

    /// Whose word counts.
    #[must_use]
    pub fn inviters(&self) -> BTreeSet<PublicKey> {
        self.config_inviters.union(&self.kept.inviters).copied().collect()
    }

    fn is_inviter(&self, key: &PublicKey) -> bool {
        self.config_inviters.contains(key) || self.kept.inviters.contains(key)
    }

    /// Whether anybody could join here: then strangers are listened to, for a moment.
    #[must_use]
    pub fn may_invite(&self) -> bool {
        self.mesh().is_some() && !self.has_left()
    }

    /// Writes an invitation. A successor needs no inviter, but a key; others need one.
    ///
    /// # Errors
    ///
    /// [`RosterError`].
    pub fn invite(
        &self,
        serial: u128,
        ends: u64,
        guest: Option<PublicKey>,
        succeeds: bool,
    ) -> Result<SignedInvitation, RosterError> {
        let mesh = self.mesh().ok_or(RosterError::NoMesh)?;
        if self.has_left() {
            return Err(RosterError::Left);
        }
        let by = self.own.key;
        let may_invite = self.is_inviter(&by) || succeeds && guest.is_some();
        if !may_invite {
            return Err(RosterError::NoInviter);
        }
        let is_member = |guest: &PublicKey| self.member(guest.node_id()).is_some();
        if guest.as_ref().is_some_and(is_member) {
            return Err(RosterError::Member);
        }
        let addresses = self.own.addresses.clone();
        let invitation = Invitation { mesh, by, addresses, serial, ends, guest, succeeds };
        Ok(invitation.sign(&self.key))
    }

    /// Lets a guest in, who has proved to have the key `guest`. `wall` is the time in microseconds since the
    /// Unix epoch.
    ///
    /// # Errors
    ///
    /// [`JoinRefusal`].
    pub fn admit(
        &self,
        wall: u64,
        guest: PublicKey,
        request: &JoinRequest,
    ) -> Result<Step<Welcome>, JoinRefusal> {
        let signed = &request.invitation;
        let invitation = &signed.invitation;
        if invitation.by != self.own.key || !signed.holds() {
            return Err(JoinRefusal::Forged);
        }
        if Some(invitation.mesh) != self.mesh() {
            return Err(JoinRefusal::Mesh);
        }
        let may_invite = self.is_inviter(&self.own.key) || invitation.succeeds;
        if self.has_left() || !may_invite {
            return Err(JoinRefusal::NoInviter);
        }
        if invitation.ends <= wall {
            return Err(JoinRefusal::Expired);
        }
        if invitation.guest.is_some_and(|named| named != guest) {
            return Err(JoinRefusal::Guest);
        }
        let name = request.name.clone();
        let contact = Contact { key: guest, name, addresses: request.addresses.clone() };
        if !contact.is_fit() || guest == self.own.key {
            return Err(JoinRefusal::Malformed);
        }
        // Whoever did not hear that it was let in asks again, with the same key.
        let is_back = self.joined_by(&contact, invitation.succeeds);
        if self.kept.used.contains_key(&invitation.serial) && !is_back {
            return Err(JoinRefusal::Used);
        }
        if is_back {
            return Ok(self.step(self.clone(), Vec::new(), self.welcome(&guest)));
        }
        if self.member(guest.node_id()).is_some() {
            return Err(JoinRefusal::Member);
        }
        if invitation.succeeds && self.successor().is_some() {
            return Err(JoinRefusal::Used);
        }
        let mut next = self.clone();
        next.kept.used.retain(|_, ends| *ends > wall);
        if next.kept.used.len() >= USED_MAX || next.kept.facts.len() >= FACTS_MAX {
            return Err(JoinRefusal::Full);
        }
        next.kept.used.insert(invitation.serial, invitation.ends);
        let says = Says::Joined { contact, succeeds: invitation.succeeds };
        let fact = self.next_fact(guest, invitation.mesh, says);
        let tellings = next.note(fact);
        let welcome = next.welcome(&guest);
        Ok(self.step(next, tellings, welcome))
    }

    /// The member that takes the place of this node, if one has joined as that.
    #[must_use]
    pub fn successor(&self) -> Option<NodeId> {
        let named = self.kept.facts.iter().find(|(_, signed)| {
            let succeeds = matches!(signed.fact.says, Says::Joined { succeeds: true, .. });
            succeeds && signed.fact.by == self.own.key
        });
        named.map(|(node, _)| *node)
    }

    fn joined_by(&self, guest: &Contact, succeeds: bool) -> bool {
        let signed = self.kept.facts.get(&guest.node());
        signed.is_some_and(|signed| {
            let says = Says::Joined { contact: guest.clone(), succeeds };
            signed.fact.by == self.own.key && signed.fact.says == says
        })
    }

    fn next_fact(&self, member: PublicKey, mesh: MeshId, says: Says) -> SignedFact {
        let before = self.kept.facts.get(&member.node_id());
        let version = before.map_or(0, |signed| signed.fact.version).saturating_add(1);
        Fact { mesh, member, version, says, by: self.own.key }.sign(&self.key)
    }

    /// Keeps a fact of this node, for all to hear.
    fn note(&mut self, signed: SignedFact) -> Vec<Telling> {
        let before = self.members();
        self.kept.facts.insert(signed.fact.node(), signed.clone());
        let mut hearers: BTreeSet<NodeId> = self.members().into_keys().collect();
        // Whoever is struck off hears it too, as long as a link stands.
        hearers.extend(before.into_keys());
        hearers.remove(&self.node());
        let told = |to| Telling::Told { to, facts: vec![signed.clone()] };
        hearers.into_iter().map(told).collect()
    }

    /// What a guest has to know, without itself.
    fn welcome(&self, guest: &PublicKey) -> Welcome {
        let mut contacts: Vec<Contact> = self.members().into_values().collect();
        contacts.retain(|contact| contact.key != *guest);
        contacts.push(self.own.clone());
        let inviters = self.inviters().into_iter().collect();
        Welcome { inviters, contacts, facts: self.kept.facts.values().cloned().collect() }
    }

    /// The roster of a guest that was let in by `invitation`.
    #[must_use]
    pub fn welcomed(
        config: RosterConfig,
        invitation: &Invitation,
        welcome: Welcome,
    ) -> Option<Self> {
        let mut roster = Self::open(RosterConfig { mesh: Some(invitation.mesh), ..config }, None)?;
        roster.kept.inviters = welcome.inviters.into_iter().take(FACTS_MAX).collect();
        // Its own admission is by the host, who may be no inviter if the guest succeeds it.
        let fit = welcome.contacts.into_iter().filter(Contact::is_fit).take(FACTS_MAX);
        roster.kept.contacts = fit.collect();
        for signed in welcome.facts.into_iter().take(FACTS_MAX) {
            if signed.fact.mesh == invitation.mesh && signed.holds() {
                roster.kept.facts.insert(signed.fact.node(), signed);
            }
        }
        Some(roster)
    }

    /// This node leaves, for all to hear.
    ///
    /// # Errors
    ///
    /// [`RosterError`].
    pub fn leave(&self) -> Result<Step<Digest>, RosterError> {
        self.strike(self.own.key)
    }

    /// Strikes a member off, as an inviter may; any member may strike off itself.
    ///
    /// # Errors
    ///
    /// [`RosterError`].
    pub fn strike_off(&self, node: NodeId) -> Result<Step<Digest>, RosterError> {
        let member = self.member(node).ok_or(RosterError::NoMember)?.key;
        if !self.is_inviter(&self.own.key) {
            return Err(RosterError::NoInviter);
        }
        self.strike(member)
    }

    fn strike(&self, member: PublicKey) -> Result<Step<Digest>, RosterError> {
        let mesh = self.mesh().ok_or(RosterError::NoMesh)?;
        if self.has_left() {
            return Err(RosterError::Left);
        }
        let fact = self.next_fact(member, mesh, Says::Left);
        let digest = fact.fact.digest();
        let mut next = self.clone();
        let tellings = next.note(fact);
        Ok(self.step(next, tellings, digest))
    }

    /// Somebody tells facts. Those that are believed are told on.
    pub fn told(&self, from: NodeId, facts: &[SignedFact]) -> Step<()> {
        let mut next = self.clone();
        let mut news = Vec::new();
        let mut held = Vec::new();
        for signed in facts.iter().take(TOLD_MAX) {
            let known = next.kept.facts.get(&signed.fact.node());
            if known.is_none_or(|known| signed.beats(known)) {
                if !next.believes(signed) {
                    continue;
                }
                next.kept.facts.insert(signed.fact.node(), signed.clone());
                news.push(signed.clone());
            }
            held.push(signed.fact.digest());
            next.holders.entry(signed.fact.digest()).or_default().insert(from);
        }
        let mut tellings = Vec::new();
        if !held.is_empty() {
            tellings.push(Telling::Holds { to: from, facts: held });
        }
        if !news.is_empty() {
            let others = next.members().into_keys().filter(|&node| node != from);
            let told = |to| Telling::Told { to, facts: news.clone() };
            tellings.extend(others.map(told));
        }
        next.forget_holders();
        self.step(next, tellings, ())
    }

    /// Whether a fact that would be new was said by somebody who may say it.
    fn believes(&self, signed: &SignedFact) -> bool {
        let fact = &signed.fact;
        let is_known = self.kept.facts.contains_key(&fact.node());
        let has_room = is_known || self.kept.facts.len() < FACTS_MAX;
        if Some(fact.mesh) != self.mesh() || !has_room {
            return false;
        }
        let is_second = |other: &SignedFact| {
            let succeeds = matches!(other.fact.says, Says::Joined { succeeds: true, .. });
            succeeds && other.fact.by == fact.by && other.fact.member != fact.member
        };
        let may_say = match &fact.says {
            Says::Joined { succeeds: false, .. } => self.is_inviter(&fact.by),
            // A successor may be heard of after its predecessor has left.
            Says::Joined { succeeds: true, .. } => {
                let is_one = !self.kept.facts.values().any(is_second);
                is_one && (self.is_inviter(&fact.by) || self.was_member(&fact.by))
            }
            Says::Left => fact.by == fact.member || self.is_inviter(&fact.by),
        };
        may_say && signed.holds()
    }

    /// Whether this key is that of a member, or of one that left by itself.
    fn was_member(&self, key: &PublicKey) -> bool {
        let node = key.node_id();
        let left = self.kept.facts.get(&node).is_some_and(|signed| {
            signed.fact.says == Says::Left && signed.fact.by == *key && signed.fact.member == *key
        });
        let is_listed = self.member(node).is_some_and(|contact| contact.key == *key);
        left || is_listed || *key == self.own.key
    }

    /// Somebody says that it holds facts.
    pub fn held(&mut self, from: NodeId, facts: &[Digest]) {
        let own: BTreeSet<Digest> = self.digests();
        for digest in facts.iter().take(TOLD_MAX).filter(|digest| own.contains(digest)) {
            self.holders.entry(*digest).or_default().insert(from);
        }
    }

    /// Takes over what was said to `other` about holding facts, while this was being saved.
    pub fn catch_up(&mut self, other: &Self) {
        for (digest, nodes) in &other.holders {
            self.holders.entry(*digest).or_default().extend(nodes);
        }
        self.forget_holders();
    }

    /// What members have not said that they hold.
    #[must_use]
    pub fn untold(&self) -> Vec<Telling> {
        let mut tellings = Vec::new();
        let facts = self.kept.facts.iter();
        let held: Vec<_> = facts
            .map(|(of, signed)| (*of, signed, self.holders.get(&signed.fact.digest())))
            .collect();
        for node in self.others().into_keys() {
            let unheld = held.iter().filter(|(of, _, holders)| {
                *of != node && holders.is_none_or(|holders| !holders.contains(&node))
            });
            let unheld = unheld.map(|(_, signed, _)| SignedFact::clone(signed));
            let facts: Vec<SignedFact> = unheld.take(TOLD_MAX).collect();
            if !facts.is_empty() {
                tellings.push(Telling::Told { to: node, facts });
            }
        }
        tellings
    }

    /// The members that have not said that they hold what is said of `node`; all of them if nothing is.
    #[must_use]
    pub fn unaware_of(&self, node: NodeId) -> BTreeSet<NodeId> {
        let mut members: BTreeSet<NodeId> = self.members().into_keys().collect();
        members.remove(&node);
        if let Some(signed) = self.kept.facts.get(&node)
            && let Some(holders) = self.holders.get(&signed.fact.digest())
        {
            members.retain(|node| !holders.contains(node));
        }
        members
    }

    /// Of these nodes, those that have not said that they hold the fact with this digest.
    #[must_use]
    pub fn not_held_by(&self, fact: &Digest, nodes: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let holders = self.holders.get(fact);
        let holds = |node: &NodeId| holders.is_some_and(|holders| holders.contains(node));
        nodes.iter().filter(|node| !holds(node)).copied().collect()
    }

    fn digests(&self) -> BTreeSet<Digest> {
        self.kept.facts.values().map(|signed| signed.fact.digest()).collect()
    }

    fn forget_holders(&mut self) {
        let own = self.digests();
        self.holders.retain(|digest, _| own.contains(digest));
    }

    fn step<T>(&self, roster: Self, tellings: Vec<Telling>, result: T) -> Step<T> {
        Step { roster, tellings, result }
    }

    /// Whether what is on disk differs from `other`'s.
    #[must_use]
    pub fn is_saved_as(&self, other: &Self) -> bool {
        self.kept == other.kept
    }
}
