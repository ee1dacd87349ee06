//! Nodes that join by an invitation, leave, are struck off, and let another key take over.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod stage;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use stage::{Node, config, identity, local, open_as, quick, until};
use whimbrel_protocol::Standing;
use whimbrel_runtime::link::Member;
use whimbrel_runtime::{
    DaemonError, DaemonHostConfig, JoinError, JoinRefusal, LeaveError, Mesh, MeshConfig, MeshError,
    MeshId, MigrationOpts, RosterError, audit_files, join,
};
use whimbrel_wire::{NodeKey, PublicKey};

const HOUR: Duration = Duration::from_secs(3_600);

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

fn roster_file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("members")
}

/// A node of the mesh in which the first one invites.
fn config_in(seed: u8, folder: &tempfile::TempDir, members: &[Member]) -> MeshConfig {
    let data = Some(folder.path().join("store"));
    let mut config = config(key(seed), data, members, local(), quick());
    config.name = format!("n{seed}");
    config.mesh = Some(MeshId::new(7));
    config.inviters = [key(1).public()].into();
    config.roster = Some(roster_file(folder));
    config
}

async fn start(config: MeshConfig, folder: tempfile::TempDir) -> Node {
    let node = open_as(config.key.clone(), config).await;
    node.runtime.start().await.unwrap();
    Node { folder: Some(folder), ..node }
}

/// An address that nobody listens at.
fn free() -> SocketAddr {
    std::net::UdpSocket::bind(local()).unwrap().local_addr().unwrap()
}

/// Two nodes that list each other.
async fn two() -> Vec<Node> {
    let ports = [free(), free()];
    let mut nodes = Vec::new();
    for (index, seed) in [(0, 1), (1, 2)] {
        let folder = tempfile::tempdir().unwrap();
        let addresses = vec![ports[1 - index]];
        let other = Member { key: key(3 - seed).public(), addresses };
        let mut config = config_in(seed, &folder, &[other]);
        config.listen = ports[index];
        nodes.push(start(config, folder).await);
    }
    nodes
}

/// A node that knows nothing but its own key, and joins.
async fn guest(seed: u8, invitation: &str) -> Result<Node, JoinError> {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config_in(seed, &folder, &[]);
    (config.mesh, config.inviters) = (None, [].into());
    // The port has to be known before the node listens.
    config.listen = free();
    config.addresses = vec![config.listen];
    join(config.roster(), invitation, &roster_file(&folder)).await?;
    Ok(start(config, folder).await)
}

fn invitation(host: &Node, guest: Option<PublicKey>) -> String {
    host.runtime.invite(HOUR, guest, false).unwrap()
}

async fn knows(node: &Node, seed: u8) {
    let id = key(seed).node_id();
    until("it is known", || node.runtime.mesh().members().member(id).is_some()).await;
}

async fn forgets(node: &Node, seed: u8) {
    let id = key(seed).node_id();
    until("it is forgotten", || node.runtime.mesh().members().member(id).is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_by_an_invitation_is_known_to_all_and_stays() {
    let nodes = two().await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let c = guest(3, &invitation(a, None)).await.unwrap();
    for node in [a, b] {
        knows(node, 3).await;
        assert_eq!(node.runtime.mesh().name_of(c.id()).as_deref(), Some("n3"));
    }
    assert_eq!(c.runtime.mesh().members().nodes().len(), 3);
    assert_eq!(c.runtime.mesh().mesh_id(), Some(MeshId::new(7)));
    // It works with both, also with the one that it never called as a guest.
    let host = DaemonHostConfig::default();
    let entity = b.runtime.spawn("kv", identity(1), host).await.unwrap().entity_id();
    assert_eq!(c.send(entity, "add a 1").await, "1");
    b.migrate(entity, &c, MigrationOpts::default()).await.unwrap();
    assert_eq!(a.send(entity, "add a 1").await, "2");
    // What was told is on the disk: the next start knows it without an invitation.
    let Node { runtime, folder, .. } = c;
    let listen = runtime.mesh().local_address();
    runtime.shutdown().await.unwrap();
    drop(runtime);
    let folder = folder.unwrap();
    let mut config = config_in(3, &folder, &[]);
    (config.mesh, config.inviters) = (None, [].into());
    (config.listen, config.addresses) = (listen, vec![listen]);
    let mesh = stage::eventually("it opens again", || Mesh::open(config.clone())).await;
    assert_eq!(mesh.members().nodes().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_invited_are_let_in() {
    let nodes = two().await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let refusal = |joined: Result<Node, JoinError>| match joined {
        Err(JoinError::Refused(refusal)) => refusal,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was let in"),
    };
    assert!(matches!(guest(3, "no invitation").await, Err(JoinError::NoInvitation)));
    let named = invitation(a, Some(key(4).public()));
    assert_eq!(refusal(guest(3, &named).await), JoinRefusal::Guest);
    let open = invitation(a, None);
    let c = guest(3, &open).await.unwrap();
    assert_eq!(refusal(guest(4, &open).await), JoinRefusal::Used);
    let over = a.runtime.invite(Duration::ZERO, None, false).unwrap();
    assert_eq!(refusal(guest(4, &over).await), JoinRefusal::Expired);
    assert_eq!(b.runtime.invite(HOUR, None, false).unwrap_err(), RosterError::NoInviter);
    // A guest is heard once and gets no link: strangers are none of its peers.
    assert!(a.runtime.mesh().members().member(key(4).node_id()).is_none());
    drop(c);
    // A mesh without an id has no door.
    let alone = stage::nodes(1, false).await;
    assert_eq!(alone[0].runtime.invite(HOUR, None, false).unwrap_err(), RosterError::NoMesh);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_is_refused_is_written_down_and_who_joined_too() {
    let (log, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut config = config_in(1, &folder, &[]);
    config.trust.folder = Some(log.path().to_owned());
    let host = start(config, folder).await;
    let named = invitation(&host, Some(key(4).public()));
    assert!(matches!(guest(3, &named).await, Err(JoinError::Refused(JoinRefusal::Guest))));
    drop(guest(4, &named).await.unwrap());
    let entries = |of_sightings| {
        let files = audit_files(log.path()).unwrap().into_iter();
        let files = files.filter(|file| file.of_sightings == of_sightings);
        files.flat_map(|file| file.read.entries).collect::<Vec<_>>()
    };
    until("the refusal is written down", || {
        entries(true).iter().any(|it| it.what == "guest refused" && it.who == "127.0.0.1")
    })
    .await;
    let joined = key(4).node_id().to_string();
    until("who joined is written down", || {
        entries(false).iter().any(|it| it.what == "joined" && it.who == joined)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_takes_nothing_along_and_is_cut_off() {
    let nodes = two().await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let c = guest(3, &invitation(a, None)).await.unwrap();
    knows(b, 3).await;
    let host = DaemonHostConfig::default();
    let mut entities = Vec::new();
    for seed in 1..=5 {
        let entity = c.runtime.spawn("kv", identity(seed), host).await.unwrap().entity_id();
        assert_eq!(c.send(entity, "add a 1").await, "1");
        entities.push(entity);
    }
    // Each goes where it suits best, once it is known where that is.
    for node in [a, b] {
        until("what it offers is known", || {
            let neighbour = c.runtime.neighbour(node.id());
            neighbour.is_some_and(|neighbour| neighbour.report.is_some())
        })
        .await;
    }
    let unaware = c.runtime.leave(None).await.unwrap();
    assert_eq!(unaware, Vec::new());
    assert_eq!(c.runtime.daemon_count(), 0);
    for node in [a, b] {
        forgets(node, 3).await;
    }
    for entity in entities {
        assert_eq!(b.send(entity, "add a 1").await, "2");
    }
    assert!(matches!(
        c.runtime.leave(None).await,
        Err(LeaveError::Roster(RosterError::Left | RosterError::NoMesh))
    ));
    let refused = c.runtime.spawn("kv", identity(9), host).await;
    assert!(matches!(refused, Err(DaemonError::HostsNone)), "{:?}", refused.err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_move_its_daemons_away_stays() {
    let nodes = two().await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let host = DaemonHostConfig::default();
    let entity = b.runtime.spawn("kv", identity(1), host).await.unwrap().entity_id();
    let stays = b.runtime.leave(Some(b.id())).await;
    assert!(matches!(stays, Err(LeaveError::Stays { .. })), "{stays:?}");
    assert_eq!(b.standing(entity), Some(Standing::Live));
    assert_eq!(a.send(entity, "add a 1").await, "1");
    assert!(a.runtime.mesh().members().member(b.id()).is_some());
    b.runtime.spawn("kv", identity(2), host).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_struck_off_node_is_cut_off_everywhere_and_after_a_start_too() {
    let nodes = two().await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let c = guest(3, &invitation(a, None)).await.unwrap();
    knows(b, 3).await;
    let error = b.runtime.strike_off(c.id()).await.unwrap_err();
    assert!(matches!(error, LeaveError::Roster(RosterError::NoInviter)), "{error:?}");
    a.runtime.strike_off(c.id()).await.unwrap();
    for node in [a, b] {
        forgets(node, 3).await;
    }
    let host = DaemonHostConfig::default();
    let entity = a.runtime.spawn("kv", identity(1), host).await.unwrap().entity_id();
    let lost = c.runtime.find(entity).await;
    assert!(matches!(lost, Err(DaemonError::Unknown)), "{lost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_takes_over_once_all_know_it() {
    let nodes = two().await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let host = DaemonHostConfig::default();
    let entity = b.runtime.spawn("kv", identity(1), host).await.unwrap().entity_id();
    assert_eq!(a.send(entity, "add a 1").await, "1");
    // The node invites nobody, but may name the key that takes its place, signed by the old one.
    assert!(b.runtime.invite(HOUR, None, true).is_err());
    let named = b.runtime.invite(HOUR, Some(key(3).public()), true).unwrap();
    let c = guest(3, &named).await.unwrap();
    knows(a, 3).await;
    let unaware = b.runtime.leave(None).await.unwrap();
    assert_eq!(unaware, Vec::new());
    c.runs(entity).await;
    assert_eq!(a.send(entity, "add a 1").await, "2");
    forgets(a, 2).await;
    // By its title the daemon went from the old key to the new one.
    let proof = c.runtime.lineage(entity).await.unwrap();
    proof.verify(&entity).unwrap();
    let last = proof.deeds.last().unwrap();
    assert_eq!((last.deed.from, last.deed.to), (key(2).public(), key(3).public()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_list_of_members_keeps_the_node_down_and_leaves_nothing_of_it_running() {
    let folder = tempfile::tempdir().unwrap();
    let config = config_in(1, &folder, &[]);
    std::fs::write(roster_file(&folder), "damaged").unwrap();
    // The second time the data folder would be taken if the first had left anything.
    for _ in 0..2 {
        let refused = Mesh::open(config.clone()).await.err();
        assert!(matches!(refused, Some(MeshError::Roster(_))), "{refused:?}");
    }
    std::fs::remove_file(roster_file(&folder)).unwrap();
    start(config, folder).await;
}
