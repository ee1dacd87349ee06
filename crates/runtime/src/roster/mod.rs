//! Who is a member, as a node keeps it: the roster, its file, and its spreading.
//!
//! What was said is saved before anything follows from it. Then the list of members of the links changes: who has
//! joined can be sent to and may dial in, who is struck off is cut off, and who has left by itself is cut off a
//! moment later, so that it hears that this is known.
//!
//! * `file`: the bytes on disk; `guest`: how one joins; `people`: what people ask.

mod file;
mod guest;
mod people;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore};
use whimbrel_members::{
    Contact, JoinRefusal, JoinRequest, Roster, RosterConfig, SignedFact, Step, Telling, Word,
};
use whimbrel_trust::chain::Outcome;
use whimbrel_wire::{Digest, NodeId, PublicKey, decode, encode};

pub use self::guest::{JoinError, join};
pub use self::people::LeaveError;
use crate::clock::Clock;
use crate::core::{Core, lock};
use crate::error::MeshError;
use crate::link::{Lane, Member};
use crate::neighbours::say;

/// How long who has left may hear that this is known.
const FAREWELL: Duration = Duration::from_secs(1);

/// Frames that may wait for a member before it is told nothing more of members.
const WAITING_MAX: usize = 16;

/// The members of a node and what is said of them.
pub(crate) struct Membership {
    roster: Mutex<Roster>,
    /// Held while a step is saved: one after the other, and nobody who only looks waits for the disk.
    order: Mutex<()>,
    file: Option<PathBuf>,
    /// Of what members tell, one step is under way at a time; what comes meanwhile is told again.
    stepping: Arc<Semaphore>,
    heard: Notify,
}

/// Why a step was not taken.
#[derive(Debug)]
pub(crate) enum Untaken<E> {
    Refused(E),
    NotSaved(io::Error),
}

impl Membership {
    /// The roster of this config with what is in `file`, if that is there. Waits for the disk.
    pub(crate) fn open(config: RosterConfig, file: Option<PathBuf>) -> Result<Self, MeshError> {
        let damaged = || MeshError::Roster(file.clone().unwrap_or_default());
        let saved = file.as_deref().map(file::read).transpose().map_err(|error| {
            let is_damaged = error.kind() == io::ErrorKind::InvalidData;
            if is_damaged { damaged() } else { error.into() }
        })?;
        let roster = Roster::open(config, saved.flatten().as_deref()).ok_or_else(damaged)?;
        let stepping = Arc::new(Semaphore::new(1));
        Ok(Self {
            roster: Mutex::new(roster),
            order: Mutex::default(),
            file,
            stepping,
            heard: Notify::new(),
        })
    }

    /// Where others find this node, from here on.
    pub(crate) fn found_at(&mut self, addresses: Vec<SocketAddr>) {
        self.roster.get_mut().unwrap_or_else(PoisonError::into_inner).found_at(addresses);
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Roster) -> T) -> T {
        look(&lock(&self.roster))
    }

    /// What a member is called.
    pub(crate) fn name_of(&self, node: NodeId) -> Option<String> {
        self.look(|roster| roster.other(node).map(|contact| contact.name.clone()))
    }

    /// Takes a step, after it was saved. Waits for the disk.
    fn step<T, E>(
        &self,
        core: &Arc<Core>,
        take: impl FnOnce(&Roster) -> Result<Step<T>, E>,
    ) -> Result<T, Untaken<E>> {
        let _order = lock(&self.order);
        let before = self.look(Roster::clone);
        let step = take(&before).map_err(Untaken::Refused)?;
        let Step { roster: mut next, tellings, result } = step;
        if let Some(file) = self.file.as_deref().filter(|_| !next.is_saved_as(&before)) {
            file::write(file, &next.bytes()).map_err(Untaken::NotSaved)?;
        }
        let (before, after) = (before.others(), next.others());
        let is_leaver = |node: &NodeId| next.has_left_by_itself(*node);
        let leavers: Vec<NodeId> = before
            .keys()
            .filter(|node| !after.contains_key(node))
            .copied()
            .filter(is_leaver)
            .collect();
        let mut roster = lock(&self.roster);
        next.catch_up(&roster);
        *roster = next;
        drop(roster);
        apply(core, &before, &after, &leavers);
        tellings.into_iter().for_each(|telling| tell(core, telling));
        Ok(result)
    }

    /// A member tells facts. They are told again if there is no time for them.
    pub(crate) fn told(&self, core: &Arc<Core>, from: NodeId, facts: Vec<SignedFact>) {
        let Ok(place) = Arc::clone(&self.stepping).try_acquire_owned() else { return };
        let core = Arc::clone(core);
        tokio::task::spawn_blocking(move || {
            let Some(membership) = core.membership() else { return };
            let step = |roster: &Roster| Ok::<_, ()>(roster.told(from, &facts));
            if let Err(Untaken::NotSaved(error)) = membership.step(&core, step) {
                tracing::warn!(%error, "what is said of members could not be saved");
            }
            membership.heard.notify_waiters();
            drop(place);
        });
    }

    /// A member holds facts.
    pub(crate) fn held(&self, from: NodeId, facts: &[Digest]) {
        lock(&self.roster).held(from, facts);
        self.heard.notify_waiters();
    }

    /// Tells again what was not heard.
    pub(crate) fn tell_again(&self, core: &Core) {
        let Some(links) = core.links() else { return };
        for telling in self.look(Roster::untold) {
            let (Telling::Told { to, .. } | Telling::Holds { to, .. }) = &telling;
            if links.waiting(*to, Lane::Control) < WAITING_MAX {
                tell(core, telling);
            }
        }
    }

    /// Somebody with this key asks to be let in. The answer; it is in the audit log as well.
    pub(crate) fn guest(
        &self,
        core: &Arc<Core>,
        from: SocketAddr,
        guest: PublicKey,
        request: &[u8],
    ) -> Bytes {
        let wall = Clock::wall_micros();
        let admitted = match decode::<JoinRequest>(request) {
            Ok(request) => self.step(core, |roster| roster.admit(wall, guest, &request)),
            Err(_) => Err(Untaken::Refused(JoinRefusal::Malformed)),
        };
        let answer = match admitted {
            Ok(welcome) => {
                tracing::info!(node = %guest.node_id(), "a node has joined");
                let detail = format!("with the key {guest}, from {}", from.ip());
                core.trust.note(guest.node_id().to_string(), "joined", Outcome::Done, detail);
                Ok(welcome)
            }
            Err(Untaken::Refused(refusal)) => {
                tracing::warn!(node = %guest.node_id(), %refusal, "a guest was refused");
                core.trust.saw_guest(from, guest.node_id(), &refusal);
                Err(refusal)
            }
            Err(Untaken::NotSaved(error)) => {
                tracing::warn!(%error, "a guest was refused");
                core.trust.saw_guest(from, guest.node_id(), &JoinRefusal::NotSaved);
                Err(JoinRefusal::NotSaved)
            }
        };
        encode(&answer).into()
    }
}

/// Brings the list of the links to where the roster is. What a program of its own changed in it stays.
fn apply(
    core: &Arc<Core>,
    before: &BTreeMap<NodeId, Contact>,
    after: &BTreeMap<NodeId, Contact>,
    leavers: &[NodeId],
) {
    for (node, contact) in after {
        if before.get(node) != Some(contact) {
            core.members.insert(member(contact));
        }
    }
    for node in before.keys().filter(|node| !after.contains_key(node)) {
        if leavers.contains(node) {
            let (here, node) = (Arc::downgrade(core), *node);
            if let Some(tokio) = core.tokio.get() {
                tokio.spawn(async move {
                    tokio::time::sleep(FAREWELL).await;
                    let Some(core) = here.upgrade() else { return };
                    let is_back = |membership: &Membership| {
                        membership.look(|roster| roster.other(node).is_some())
                    };
                    // It may have joined again meanwhile.
                    if !core.membership().is_some_and(is_back) {
                        core.members.remove(node);
                    }
                });
            }
        } else {
            core.members.remove(*node);
        }
    }
}

/// A contact as the links know it.
pub(crate) fn member(contact: &Contact) -> Member {
    Member { key: contact.key, addresses: contact.addresses.clone() }
}

fn tell(core: &Core, telling: Telling) {
    let (to, word) = match telling {
        Telling::Told { to, facts } => (to, Word::Told(facts)),
        Telling::Holds { to, facts } => (to, Word::Holds(facts)),
    };
    say(core, to, &word);
}
