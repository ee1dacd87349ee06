//! Decides what each request does, in calls of the runtime.
//!
//! # Limits
//!
//! * [`CHRONICLE_MAX`] events are remembered; older ones are forgotten.
//! * [`CANCEL_WAIT_MAX`] is waited for what came of a cancellation; it stands after that too.
//! * [`EVENTS_BEHIND`]: who follows events more slowly than they come misses some and is told so.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use whimbrel_daemon::{ForkRecord, StateSnapshot};
use whimbrel_protocol::Standing;
use whimbrel_trust::Act;
use whimbrel_wire::{EntityId, Identity, NodeId, PublicKey};

use super::fault::{AdminFault, Again, Code, Fault, chain};
use super::files::{on_thread, read_whole, write_new};
use super::names::Names;
use super::server::Replies;
use super::tell::{line_of, says_of, seems_word, standing_word};
use super::watched::{Watched, micros};
use super::words::{
    Ask, Birth, DaemonLine, Done, EventLine, ForkLine, MoveReport, NodeLine, Part, Payload,
    PlaceLine, Seed, TokenText, Verdict, daemon_text,
};
use crate::clock::Clock;
use crate::config::{DaemonHostConfig, Durability, MigrationOpts};
use crate::core::RuntimeEvent;
use crate::error::MigrationError;
use crate::handle::DaemonStatus;
use crate::migration::MigrationHandle;
use crate::runtime::DaemonRuntime;
use crate::trust::{Caller, TrustError};

/// Events that are remembered.
const CHRONICLE_MAX: usize = 1_000;

/// How long whoever calls a move off waits for what came of it; the source may be away.
const CANCEL_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long an invitation is good for at most: thirty days.
const INVITED_SECONDS_MAX: u64 = 30 * 24 * 3_600;

/// What a follower who missed events is told.
const EVENTS_BEHIND: &str = "missed";

/// What a node does for whoever asks.
pub(super) struct Office {
    runtime: DaemonRuntime,
    pub(super) names: Names,
    /// Moves that were asked for here and have not ended.
    moves: Mutex<HashMap<EntityId, MigrationHandle>>,
    chronicle: Mutex<VecDeque<EventLine>>,
}

impl Office {
    pub(super) fn new(runtime: DaemonRuntime, names: Names) -> Self {
        Self { runtime, names, moves: Mutex::default(), chronicle: Mutex::default() }
    }

    pub(super) fn runtime(&self) -> &DaemonRuntime {
        &self.runtime
    }

    /// Remembers what happens.
    pub(super) async fn keep_chronicle(self: Arc<Self>) {
        let mut events = self.runtime.events();
        while let Some(line) = next_line(&mut events).await {
            let mut chronicle = lock(&self.chronicle);
            if chronicle.len() >= CHRONICLE_MAX {
                chronicle.pop_front();
            }
            chronicle.push_back(line);
        }
    }

    /// Somebody shows a token.
    pub(super) fn present(&self, caller: &Caller, token: &TokenText) -> Result<Caller, AdminFault> {
        Ok(caller.with_token(token.token().map_err(TrustError::from)?)?)
    }

    /// Numbers the event at once; its end is waited for with what is returned.
    pub(super) fn send(
        &self,
        caller: &Caller,
        daemon: &str,
        payload: &Payload,
    ) -> Result<impl Future<Output = Result<Done, AdminFault>> + Send + use<>, AdminFault> {
        let entity = self.daemon(daemon)?;
        let answer = caller.send(entity, bytes_of(payload)?)?;
        Ok(async move {
            let answer = answer.await?;
            let outputs = answer.outputs.iter().map(|event| Payload::of(&event.payload)).collect();
            Ok(Done::Answered { outputs, declined: answer.failure })
        })
    }

    /// Everything but [`Ask::Send`], which is numbered when it is read.
    pub(super) async fn answer(
        self: &Arc<Self>,
        ask: Ask,
        caller: &Caller,
        replies: &Replies,
    ) -> Result<Done, AdminFault> {
        match ask {
            Ask::Node {} => self.node_for(caller),
            Ask::Nodes {} => self.nodes_for(caller, replies).await,
            Ask::Present { token } => self.present(caller, &token).map(|_| Done::Nothing),
            Ask::Revoke { block } => Self::revoke_for(caller, &block).await,
            Ask::Daemons {} => self.daemons_for(caller, replies).await,
            Ask::Find { daemon } => self.find_for(caller, &daemon).await,
            Ask::Spawn { kind, birth, given, file } => {
                self.spawn_for(caller, &kind, birth, given, file).await
            }
            Ask::Fork { daemon, birth } => self.fork_for(caller, &daemon, birth).await,
            Ask::Send { daemon, payload } => self.send(caller, &daemon, &payload)?.await,
            Ask::Migrate { daemon, to, transport_identity, freeze_and_copy, watch, terms } => {
                let options = MigrationOpts {
                    transport_identity,
                    freeze_and_copy,
                    terms: terms.map(Into::into),
                    ..MigrationOpts::default()
                };
                self.migrate_for(caller, &daemon, to.as_deref(), options, watch, replies).await
            }
            Ask::Cancel { daemon } => self.cancel_for(caller, &daemon).await,
            Ask::Invite { guest, seconds, succeeds } => {
                self.invite_for(caller, guest.as_deref(), seconds, succeeds).await
            }
            Ask::Leave { to } => self.leave_for(caller, to.as_deref()).await,
            Ask::Expel { node } => self.expel_for(caller, &node).await,
            Ask::Events { follow } => {
                caller.may(&Act::observe(None))?;
                self.events(follow, replies).await
            }
            Ask::Verify { daemon } => self.verify_for(caller, &daemon).await,
            Ask::Forks { daemon } => self.forks_for(caller, &daemon, replies).await,
            Ask::Export { daemon, file } => self.export_for(caller, &daemon, file).await,
            Ask::Import { file, kind, birth, revive } => {
                self.import_for(caller, file, kind, birth, revive).await
            }
            Ask::Open { .. }
            | Ask::Publish { .. }
            | Ask::Subscribe { .. }
            | Ask::Unsubscribe { .. }
            | Ask::Dismiss { .. }
            | Ask::Channels { .. } => self.of_channels(ask, caller, replies).await,
            Ask::Give { .. } | Ask::Take { .. } | Ask::Held { .. } => {
                self.of_tokens(ask, caller, replies).await
            }
            Ask::Stop { daemon } => self.stop_for(caller, &daemon).await,
            Ask::Delete { daemon } => self.delete_for(caller, &daemon).await,
            Ask::Reclaim { daemon } => self.reclaim_for(caller, &daemon).await,
        }
    }

    pub(super) async fn stop(&self, entity: EntityId) -> Result<Done, AdminFault> {
        self.at_home(entity)?;
        self.runtime.stop(entity.origin_hash()).await?;
        Ok(Done::Nothing)
    }

    pub(super) async fn reclaim(&self, entity: EntityId) -> Result<Done, AdminFault> {
        self.runtime.reclaim(entity).await?;
        Ok(Done::Daemon(self.known(entity)))
    }

    pub(super) fn invite(
        &self,
        guest: Option<PublicKey>,
        seconds: u64,
        succeeds: bool,
    ) -> Result<Done, AdminFault> {
        let valid = Duration::from_secs(seconds.min(INVITED_SECONDS_MAX));
        let invitation = self.runtime.invite(valid, guest, succeeds)?;
        Ok(Done::Invited { invitation })
    }

    pub(super) async fn leave(&self, to: Option<NodeId>) -> Result<Done, AdminFault> {
        let unaware = Box::pin(self.runtime.leave(to)).await?;
        let unaware = unaware.into_iter().map(|node| self.node_name(node)).collect();
        Ok(Done::Left { unaware })
    }

    pub(super) async fn expel(&self, node: NodeId) -> Result<Done, AdminFault> {
        self.runtime.strike_off(node).await?;
        Ok(Done::Nothing)
    }

    pub(super) fn own_node(&self) -> NodeId {
        self.runtime.mesh().node_id()
    }

    /// This node first, then the others.
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        let own = self.own_node();
        let others = self.runtime.mesh().members().nodes().into_iter().filter(|&node| node != own);
        std::iter::once(own).chain(others).collect()
    }

    /// What a node is called: here, or by itself.
    fn name_of(&self, node: NodeId) -> Option<String> {
        self.names.of_node(node).or_else(|| self.runtime.mesh().name_of(node))
    }

    pub(super) fn node_name(&self, node: NodeId) -> String {
        self.name_of(node).unwrap_or_else(|| node.to_string())
    }

    /// The node that `word` means.
    pub(super) fn node(&self, word: &str) -> Result<NodeId, AdminFault> {
        let nodes = self.nodes();
        let named = nodes.iter().find(|node| self.name_of(**node).as_deref() == Some(word));
        named.map_or_else(|| self.names.node(word, &nodes), |node| Ok(*node))
    }

    pub(super) fn daemon(&self, word: &str) -> Result<EntityId, AdminFault> {
        self.names
            .daemon(word, || self.runtime.daemons().iter().map(|status| status.entity).collect())
    }

    /// Refuses a daemon that lives elsewhere.
    pub(super) fn at_home(&self, entity: EntityId) -> Result<(), AdminFault> {
        let owner = self.runtime.status(entity).and_then(|status| status.owner);
        match owner.filter(|&owner| owner != self.own_node()) {
            None => Ok(()),
            Some(owner) => {
                let owner = self.node_name(owner);
                Err(AdminFault::caller(
                    Code::Elsewhere,
                    format!("the daemon lives on {owner}"),
                    format!("ask {owner}, or move the daemon here first"),
                ))
            }
        }
    }

    pub(super) fn node_line(&self, node: NodeId) -> NodeLine {
        let mesh = self.runtime.mesh();
        let own = node == self.own_node();
        let member = mesh.members().member(node);
        let link = mesh.link_statistics(node);
        let key: Option<PublicKey> =
            if own { Some(mesh.public_key()) } else { member.as_ref().map(|member| member.key) };
        let addresses = match member {
            Some(member) if !own => member.addresses,
            Some(_) | None if own => vec![mesh.local_address()],
            Some(_) | None => Vec::new(),
        };
        let neighbour = self.runtime.neighbour(node);
        let living = self.runtime.daemons().iter().filter(|it| it.owner == Some(node)).count();
        NodeLine {
            node: node.to_string(),
            name: self.name_of(node),
            key: key.map(|key| key.to_string()).unwrap_or_default(),
            addresses: addresses.iter().map(ToString::to_string).collect(),
            own,
            connected: own || link.is_some_and(|link| link.connected.contains(&true)),
            round_trip_us: link.and_then(|link| link.round_trip).map(micros),
            daemons: living as u64,
            ready: own && self.runtime.is_ready(),
            state: neighbour.as_ref().map(|it| seems_word(it.seems)).unwrap_or_default(),
            state_for_us: neighbour.as_ref().map_or(0, |it| micros(it.since)),
            says: neighbour.and_then(|it| it.report).map(says_of),
        }
    }

    pub(super) fn daemon_line(&self, status: &DaemonStatus) -> DaemonLine {
        DaemonLine {
            daemon: daemon_text(&status.entity),
            origin: status.origin_hash.to_string(),
            name: self.names.of(&status.entity),
            kind: status.kind.as_ref().map(ToString::to_string),
            standing: standing_word(&status.standing),
            owner: status.owner.map(|node| node.to_string()),
            owner_name: status.owner.and_then(|node| self.name_of(node)),
            epoch: status.epoch.map(whimbrel_wire::Epoch::get),
            position: status.head.map(|head| head.position.get()),
            held: status.held as u64,
            particulars: status.particulars.clone(),
        }
    }

    /// What is known here about a daemon, even if that is little.
    fn known(&self, entity: EntityId) -> DaemonLine {
        match self.runtime.status(entity) {
            Some(status) => self.daemon_line(&status),
            None => DaemonLine {
                daemon: daemon_text(&entity),
                origin: entity.origin_hash().to_string(),
                name: self.names.of(&entity),
                standing: standing_word(&Standing::Stranger),
                ..DaemonLine::default()
            },
        }
    }

    pub(super) async fn find(&self, entity: EntityId) -> Result<Done, AdminFault> {
        let owner = self.runtime.find(entity).await?;
        Ok(Done::Daemon(DaemonLine {
            owner: Some(owner.to_string()),
            owner_name: self.name_of(owner),
            ..self.known(entity)
        }))
    }

    pub(super) async fn spawn(
        &self,
        kind: &str,
        birth: Birth,
        given: Option<Payload>,
        file: Option<PathBuf>,
    ) -> Result<Done, AdminFault> {
        let (identity, config) = self.prepare(&birth)?;
        let given = given.map(|given| bytes_of(&given)).transpose()?;
        let mut given = given.map(Vec::from);
        if let Some(file) = file {
            let bytes = on_thread(move || read_whole(&file)).await?;
            given.get_or_insert_default().extend_from_slice(&bytes);
        }
        let born = self.runtime.spawn_given(kind, identity, config, given).await?;
        let entity = born.entity_id();
        self.christen(&birth, entity)
    }

    fn prepare(&self, birth: &Birth) -> Result<(Identity, DaemonHostConfig), AdminFault> {
        if let Some(name) = &birth.name {
            self.names.check(name)?;
        }
        let mut config = DaemonHostConfig::default();
        if birth.volatile {
            config.durability = Durability::Volatile;
        }
        Ok((identity(birth.seed.as_ref())?, config))
    }

    fn christen(&self, birth: &Birth, entity: EntityId) -> Result<Done, AdminFault> {
        if let Some(name) = &birth.name {
            self.names.give(name, &entity)?;
        }
        Ok(Done::Daemon(self.known(entity)))
    }

    pub(super) async fn migrate(
        self: &Arc<Self>,
        entity: EntityId,
        target: NodeId,
        options: MigrationOpts,
        watch: Option<&Replies>,
    ) -> Result<Done, AdminFault> {
        let events = self.runtime.events();
        let begun = Instant::now();
        let handle = self.runtime.migrate(entity, target, options).await?;
        self.keep(entity, handle.clone());
        let mut watched = Watched::new(entity, begun);
        let round_trip = self.runtime.mesh().link_statistics(target);
        watched.round_trip = round_trip.and_then(|link| link.round_trip).unwrap_or_default();
        watched.follow(&handle, events, watch).await?;
        let epoch = self.runtime.status(entity).and_then(|status| status.epoch);
        Ok(Done::Moved(MoveReport {
            owner: target.to_string(),
            owner_name: self.name_of(target),
            epoch: epoch.map(whimbrel_wire::Epoch::get),
            elapsed_us: micros(begun.elapsed()),
            cutover_us: watched.cutover().map(micros),
            pause_expected_us: watched.expected.map(micros),
            bytes_total: watched
                .progress
                .map_or(0, |progress| progress.bytes_total.max(progress.bytes_sent)),
            events_replayed: watched.progress.map_or(0, |progress| progress.events_replayed),
        }))
    }

    /// The node that suits a daemon best, after a part for each node.
    pub(super) async fn choose(
        &self,
        entity: EntityId,
        replies: &Replies,
    ) -> Result<NodeId, AdminFault> {
        let (chosen, placement) = self.runtime.best(entity).await?;
        for place in &placement.places {
            let line = PlaceLine {
                node: place.node.to_string(),
                name: self.name_of(place.node),
                chosen: place.node == chosen,
                fits: place.unfit.is_none(),
                why: place.to_string(),
            };
            replies.part(Part::Place(line)).await;
        }
        Ok(chosen)
    }

    /// Keeps the handle while the move goes on, even if whoever asked for it goes away.
    fn keep(self: &Arc<Self>, entity: EntityId, handle: MigrationHandle) {
        lock(&self.moves).insert(entity, handle.clone());
        let office = Arc::clone(self);
        tokio::spawn(async move {
            // How it ended is told to whoever asked for it.
            let _ = handle.wait().await;
            let mut moves = lock(&office.moves);
            if moves.get(&entity).is_some_and(|last| last.attempt() == handle.attempt()) {
                moves.remove(&entity);
            }
        });
    }

    pub(super) async fn cancel(&self, entity: EntityId) -> Result<Done, AdminFault> {
        let Some(handle) = lock(&self.moves).get(&entity).cloned() else {
            return Err(AdminFault::caller(
                Code::NoMove,
                "no move of this daemon that was asked for at this node is under way",
                "cancel it at the node at which it was asked for; if it ended, move it back",
            ));
        };
        let told = tokio::time::timeout(CANCEL_WAIT_MAX, handle.cancel_and_wait()).await;
        told.unwrap_or(Err(MigrationError::StillRunning))?;
        Ok(Done::Nothing)
    }

    async fn events(&self, follow: bool, replies: &Replies) -> Result<Done, AdminFault> {
        let mut events = self.runtime.events();
        let past: Vec<EventLine> = lock(&self.chronicle).iter().cloned().collect();
        for line in past {
            replies.part(Part::Event(line)).await;
        }
        while follow && let Some(line) = next_line(&mut events).await {
            if !replies.part(Part::Event(line)).await {
                break;
            }
        }
        Ok(Done::Nothing)
    }

    pub(super) async fn verify(&self, entity: EntityId) -> Result<Done, AdminFault> {
        self.at_home(entity)?;
        let proof = self.runtime.lineage(entity).await?;
        proof.verify(&entity).map_err(|error| {
            let next = "stop the daemon, keep the data folders of all nodes, and report this";
            AdminFault::caller(Code::Chain, format!("the chain does not hold: {error}"), next)
                .blaming(Fault::Peer, Again::No)
        })?;
        Ok(Done::Verified(Verdict {
            daemon: daemon_text(&entity),
            deeds: proof.deeds.len() as u64,
            links: proof.links.len() as u64,
            complete: proof.is_complete(),
            sequence: proof.to.sequence.get(),
            epoch: proof.deeds.last().map_or(0, |deed| deed.deed.epoch.get()),
            forks: ForkRecord::all(entity, &proof.deeds).len() as u64,
        }))
    }

    pub(super) async fn forks(
        &self,
        entity: EntityId,
        replies: &Replies,
    ) -> Result<Done, AdminFault> {
        let name = |node| self.node_name(node);
        for record in self.runtime.forks(entity).await? {
            // A title holds nothing that was not verified; whoever is shown this need not take it for granted.
            let point = record.verify(&entity).map_err(|error| {
                let message = format!("a record of the title does not hold: {error}");
                AdminFault::caller(Code::Chain, message, "keep the data folder, and report this")
                    .blaming(Fault::Node, Again::No)
            })?;
            let line = ForkLine {
                daemon: daemon_text(&entity),
                lost: point.lost.get(),
                epoch: point.epoch.get(),
                position: point.head.position.get(),
                loser: name(point.loser),
                by: if point.by == entity.key() { String::new() } else { name(point.by.node_id()) },
            };
            replies.part(Part::Fork(line)).await;
        }
        Ok(Done::Nothing)
    }

    pub(super) async fn fork(&self, entity: EntityId, birth: Birth) -> Result<Done, AdminFault> {
        self.at_home(entity)?;
        let (identity, config) = self.prepare(&birth)?;
        let snapshot = self.snapshot_of(entity).await?;
        let born = self.runtime.fork(identity, snapshot, config).await?;
        self.christen(&birth, born.entity_id())
    }

    async fn snapshot_of(&self, entity: EntityId) -> Result<StateSnapshot, AdminFault> {
        self.runtime.snapshot(entity.origin_hash()).await?.ok_or_else(|| {
            AdminFault::caller(Code::Snapshot, "a daemon of this kind has no state", "leave it")
        })
    }

    pub(super) async fn export(&self, entity: EntityId, file: PathBuf) -> Result<Done, AdminFault> {
        self.at_home(entity)?;
        let snapshot = self.snapshot_of(entity).await?;
        let bytes = on_thread(move || write_new(&file, &snapshot.to_bytes())).await?;
        Ok(Done::Exported { bytes })
    }

    pub(super) async fn import(
        &self,
        file: PathBuf,
        kind: Option<String>,
        birth: Birth,
        revive: bool,
    ) -> Result<Done, AdminFault> {
        let (identity, config) = self.prepare(&birth)?;
        let bytes = on_thread(move || read_whole(&file)).await?;
        let snapshot = StateSnapshot::from_bytes(bytes).map_err(|error| {
            let next = "use a file that whimbrel snapshot export wrote, whole and unchanged";
            AdminFault::caller(Code::Snapshot, chain(&error), next)
        })?;
        if revive {
            let back = self.runtime.revive(identity, snapshot, config).await?;
            return self.christen(&birth, back.entity_id());
        }
        let kind = kind.unwrap_or_else(|| snapshot.kind().to_string());
        let born = self.runtime.spawn_from_snapshot(&kind, identity, snapshot, config).await?;
        self.christen(&birth, born.entity_id())
    }

    pub(super) async fn delete(&self, entity: EntityId) -> Result<Done, AdminFault> {
        self.at_home(entity)?;
        self.runtime.delete(entity.origin_hash()).await?;
        if let Err(error) = self.names.forget(&entity) {
            tracing::warn!(%error, "could not forget the name of a deleted daemon");
        }
        Ok(Done::Nothing)
    }
}

/// None when there will be no more.
async fn next_line(events: &mut Receiver<RuntimeEvent>) -> Option<EventLine> {
    match events.recv().await {
        Ok(event) => Some(line_of(&event)),
        Err(RecvError::Lagged(count)) => Some(EventLine {
            at_us: Clock::wall_micros(),
            daemon: String::new(),
            event: EVENTS_BEHIND.to_owned(),
            detail: format!("{count} events came faster than they were read"),
        }),
        Err(RecvError::Closed) => None,
    }
}

pub(super) fn bytes_of(payload: &Payload) -> Result<Bytes, AdminFault> {
    payload.bytes().ok_or_else(|| {
        AdminFault::caller(Code::Malformed, "the digits are not hexadecimal", "mend them")
    })
}

fn identity(seed: Option<&Seed>) -> Result<Identity, AdminFault> {
    if let Some(seed) = seed {
        return seed.identity().ok_or_else(|| {
            AdminFault::caller(Code::Malformed, "the seed is none", "give 64 hexadecimal digits")
        });
    }
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(|error| {
        let message = format!("the system gives no random bytes: {error}");
        AdminFault::caller(Code::Internal, message, "look at the machine")
            .blaming(Fault::Surroundings, Again::Yes)
    })?;
    Ok(Identity::from_seed(&seed))
}

/// The key of 64 hexadecimal digits.
pub(super) fn key_of(text: &str) -> Result<PublicKey, AdminFault> {
    PublicKey::parse(text.trim()).ok_or_else(|| {
        let next = "whimbrel node key prints the key of a node";
        AdminFault::caller(Code::Malformed, "a key is 64 hexadecimal digits", next)
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
