//! Who may do what on a mesh that names root keys, and what the audit log says of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test picks out what it is about")]

mod stage;

use std::path::Path;
use std::time::SystemTime;

use stage::{Node, PATIENCE, config, identity, local, open_as, quick, said, text};
use tempfile::TempDir;
use whimbrel_runtime::{
    Caller, DaemonError, DaemonHostConfig, MigrationOpts, SubscribeOptions, TrustConfig,
    TrustError, audit_files,
};
use whimbrel_trust::chain::{Entry, Outcome};
use whimbrel_trust::{Act, Among, ChannelPattern, PermissionToken, Scope, TrustRefusal, Verb};
use whimbrel_wire::{ChannelName, EntityId, NodeKey};
use zeroize::Zeroizing;

fn root() -> NodeKey {
    NodeKey::from_seed(&[200; 32])
}

fn soon() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 3_600
}

fn token(scope: Scope) -> PermissionToken {
    PermissionToken::mint(&root(), "ops", scope, &Zeroizing::new([1; 32])).unwrap()
}

fn only(verbs: &[Verb]) -> Scope {
    Scope { verbs: verbs.iter().copied().collect(), ..Scope::everything(soon()) }
}

/// A node that believes the root, and the folder of its audit log.
async fn closed_node(seed: u8) -> (Node, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let key = NodeKey::from_seed(&[seed; 32]);
    let node = open_as(key.clone(), closed_config(key, folder.path())).await;
    node.runtime.start().await.unwrap();
    (node, folder)
}

fn closed_config(key: NodeKey, folder: &Path) -> whimbrel_runtime::MeshConfig {
    let mut config = config(key, None, &[], local(), quick());
    config.trust = TrustConfig {
        roots: vec![root().public()],
        open_channels: vec![ChannelPattern::new("public/*").unwrap()],
        folder: Some(folder.to_owned()),
    };
    config
}

fn log(folder: &TempDir) -> Vec<Entry> {
    let files = audit_files(folder.path()).unwrap();
    assert!(files.iter().all(|file| file.follows && file.read.broken.is_none()), "{files:?}");
    files.into_iter().flat_map(|file| file.read.entries).collect()
}

/// Refusals are written down a moment later.
async fn refused(folder: &TempDir, what: &str) -> Entry {
    let find = || {
        let entries = log(folder).into_iter();
        entries.rev().find(|it| it.result == Outcome::Refused && it.what == what)
    };
    stage::until(what, || find().is_some()).await;
    find().unwrap()
}

fn refusal<T: std::fmt::Debug>(result: Result<T, DaemonError>) -> TrustRefusal {
    match result {
        Err(DaemonError::Trust(TrustError::Refused(refusal))) => refusal,
        other => panic!("it should have been refused: {other:?}"),
    }
}

fn not_covered(result: Result<impl std::fmt::Debug, DaemonError>) -> bool {
    matches!(refusal(result), TrustRefusal::NotCovered { .. })
}

async fn send(caller: &Caller, entity: EntityId, words: &str) -> Result<String, DaemonError> {
    let answer = caller.send(entity, text(words))?.await?;
    Ok(said(&answer))
}

fn news() -> ChannelName {
    ChannelName::new("news").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_nothing_is_done_on_a_mesh_with_roots_and_that_is_written_down() {
    let (node, folder) = closed_node(1).await;
    let daemon = node.runtime.spawn("kv", identity(1), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    let before = node.runtime.status(entity).unwrap().head;
    let nobody = node.runtime.caller("a test");
    assert_eq!(refusal(send(&nobody, entity, "put a 1").await), TrustRefusal::NoToken);
    let moving = nobody.migrate(entity, node.id(), MigrationOpts::default()).await.map(drop);
    assert_eq!(refusal(moving), TrustRefusal::NoToken);
    let publishing = nobody.publish(entity, news(), text("hi")).await;
    assert_eq!(refusal(publishing), TrustRefusal::NoToken);
    let options = SubscribeOptions::default();
    let listening = nobody.subscribe_channel(entity, entity, news(), options).await;
    assert_eq!(refusal(listening), TrustRefusal::NoToken);
    for what in ["deliver", "migrate", "publish", "subscribe"] {
        let entry = refused(&folder, what).await;
        assert_eq!(entry.who, "nobody at a test");
        assert!(entry.detail.contains("demands a token"), "{entry:?}");
    }
    assert_eq!(node.runtime.status(entity).unwrap().head, before);
    // A channel that is open to all needs none.
    let public = ChannelName::new("public/news").unwrap();
    nobody.publish(entity, public, text("hi")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_does_what_it_says_and_nothing_beside() {
    let (node, folder) = closed_node(1).await;
    let one = node.runtime.spawn("kv", identity(1), DaemonHostConfig::default()).await.unwrap();
    let two = node.runtime.spawn("kv", identity(2), DaemonHostConfig::default()).await.unwrap();
    let (one, two) = (one.entity_id(), two.entity_id());
    let scope = Scope {
        daemons: Among::listed([one]),
        channels: Among::listed([ChannelPattern::new("news").unwrap()]),
        ..only(&[Verb::Deliver, Verb::Publish])
    };
    let caller = node.runtime.caller("a test").with_token(token(scope)).unwrap();
    assert_eq!(send(&caller, one, "put a 1").await.unwrap(), "ok");
    assert!(not_covered(send(&caller, two, "put a 1").await));
    caller.open_channel(one, news(), 4).await.unwrap();
    caller.publish(one, news(), text("hi")).await.unwrap();
    let other = ChannelName::new("other").unwrap();
    assert!(not_covered(caller.publish(one, other, text("hi")).await));
    let target = NodeKey::from_seed(&[9; 32]).node_id();
    let moving = caller.migrate(one, target, MigrationOpts::default()).await.map(drop);
    assert!(not_covered(moving));
    let entry = refused(&folder, "migrate").await;
    assert_eq!((entry.who.as_str(), entry.daemon.len()), ("ops at a test", 64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_revoked_forged_and_wrongly_narrowed_tokens_are_refused_and_written_down() {
    let (node, folder) = closed_node(1).await;
    let daemon = node.runtime.spawn("kv", identity(1), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    let stranger = node.runtime.caller("a test");
    let show = |token: PermissionToken| match stranger.with_token(token) {
        Err(TrustError::Refused(refusal)) => refusal,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was believed"),
    };

    let expired = token(Scope { until: 7, ..Scope::everything(soon()) });
    assert_eq!(show(expired), TrustRefusal::Expired { until: 7 });

    let liar = NodeKey::from_seed(&[66; 32]);
    let seed = Zeroizing::new([2; 32]);
    let own = PermissionToken::mint(&liar, "ops", Scope::everything(soon()), &seed).unwrap();
    assert_eq!(show(own), TrustRefusal::UnknownRoot);

    // The wrong way round: a wide block on a narrow token, each properly signed.
    let narrow = token(only(&[Verb::Observe]));
    let wide = token(Scope::everything(soon())).attenuate("x", Scope::everything(soon()), &seed);
    let (narrow, wide) = (narrow.to_bytes(), wide.unwrap().to_bytes());
    let grafted = graft(&narrow, &wide);
    let refusal_of_graft = show(grafted);
    let refused_for = matches!(
        refusal_of_graft,
        TrustRefusal::Forged { block: 1 } | TrustRefusal::Widened { block: 1 }
    );
    assert!(refused_for, "{refusal_of_graft:?}");

    // Revoked while it is in use: what was shown before counts no more either.
    let admin = token(Scope::everything(soon()));
    let ci = admin.attenuate("ci", only(&[Verb::Deliver]), &Zeroizing::new([3; 32])).unwrap();
    let (admin, user) =
        (stranger.with_token(admin).unwrap(), stranger.with_token(ci.clone()).unwrap());
    assert_eq!(send(&user, entity, "put a 1").await.unwrap(), "ok");
    admin.revoke(ci.ids()[1]).await.unwrap();
    let revoked = TrustRefusal::Revoked { block: 1 };
    assert_eq!(refusal(send(&user, entity, "put a 2").await), revoked);
    assert_eq!(show(ci.clone()), revoked);
    assert_eq!(send(&admin, entity, "get a").await.unwrap(), "1");

    refused(&folder, "show a token").await;
    let entry = refused(&folder, "deliver").await;
    assert!(entry.detail.contains("revoked"), "{entry:?}");
    // It is revoked after a start as well.
    node.runtime.shutdown().await.unwrap();
    let key = NodeKey::from_seed(&[1; 32]);
    let again = open_as(key.clone(), closed_config(key, folder.path())).await;
    let shown = again.runtime.caller("").with_token(ci);
    assert!(matches!(shown, Err(TrustError::Refused(ref refusal)) if *refusal == revoked));
}

/// The first block of one token with the second of another.
fn graft(first: &[u8], second: &[u8]) -> PermissionToken {
    // One block each: version, count 1, the block, the proof of 33 bytes at the end.
    let one = first.len() - 33;
    let only_first_of_second = token(Scope::everything(soon())).to_bytes().len() - 33;
    let block = &second[only_first_of_second..];
    let bytes = [&[1, 2], &first[2..one], block].concat();
    PermissionToken::from_bytes(&bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrative_call_is_recorded_before_it_is_begun_and_before_it_is_answered() {
    let (node, folder) = closed_node(1).await;
    let caller = node.runtime.caller("a test").with_token(token(only(&[Verb::Admin]))).unwrap();
    let seen = async {
        let begun = log(&folder);
        assert_eq!(begun.last().map(|it| it.result), Some(Outcome::Begun));
        Ok::<_, DaemonError>(7)
    };
    let done = caller.administer(Act::admin(None), "look", seen).await.unwrap();
    assert_eq!(done, 7);
    let failing = async { Err::<(), _>(DaemonError::Unknown) };
    caller.administer(Act::admin(None), "fail", failing).await.unwrap_err();
    let kept: Vec<(String, Outcome, u64)> =
        log(&folder).into_iter().map(|it| (it.what, it.result, it.of)).collect();
    let entry = |what: &str, result, of| (what.to_owned(), result, of);
    assert_eq!(
        kept,
        [
            entry("look", Outcome::Begun, 0),
            entry("look", Outcome::Done, 1),
            entry("fail", Outcome::Begun, 0),
            entry("fail", Outcome::Failed, 3),
        ]
    );
    let first = log(&folder).remove(0);
    assert_eq!((first.who.as_str(), first.token.len()), ("ops at a test", 64));
    let never = async { panic!("it was begun") };
    let deliverer = node.runtime.caller("").with_token(token(only(&[Verb::Deliver]))).unwrap();
    let call = deliverer.administer::<(), DaemonError>(Act::admin(None), "no", never);
    assert!(not_covered(tokio::time::timeout(PATIENCE, call).await.unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mesh_without_roots_demands_nothing_and_writes_down_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let key = NodeKey::from_seed(&[1; 32]);
    let mut config = config(key.clone(), None, &[], local(), quick());
    config.trust.folder = Some(folder.path().to_owned());
    let node = open_as(key, config).await;
    node.runtime.start().await.unwrap();
    let daemon = node.runtime.spawn("kv", identity(1), DaemonHostConfig::default()).await.unwrap();
    let entity = daemon.entity_id();
    let anybody = node.runtime.caller("a test");
    assert_eq!(send(&anybody, entity, "put a 1").await.unwrap(), "ok");
    anybody.open_channel(entity, news(), 0).await.unwrap();
    let kept = log(&folder);
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|it| it.who == "local at a test" && it.what == "open channel"));
}
