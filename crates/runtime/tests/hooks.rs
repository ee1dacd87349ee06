//! Where others can take part in a move: the handler and its hooks.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod stage;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use stage::{Node, identity, quick_nodes, text, until};
use whimbrel_protocol::Standing;
use whimbrel_runtime::{
    DaemonHostConfig, MigrationError, MigrationHandlerHooks, MigrationIdentityContext,
    MigrationOpts, MigrationSubprotocolHandler, unsealer,
};
use whimbrel_wire::{EntityId, Identity, MigrationFailureReason, MigrationMessage, NodeId};

/// What the hooks of a node were told, in order.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn add(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

async fn kv(node: &Node) -> EntityId {
    let daemon = node.runtime.spawn("kv", identity(1), DaemonHostConfig::default()).await.unwrap();
    node.runtime.send(daemon.entity_id(), text("put a 1")).await.unwrap();
    daemon.entity_id()
}

fn impatient() -> MigrationOpts {
    MigrationOpts { retry_not_ready: None, ..MigrationOpts::default() }
}

/// Why a move failed.
fn why_not(ended: Result<(), MigrationError>) -> MigrationFailureReason {
    match ended {
        Err(MigrationError::Failed(reason)) => reason,
        Err(error) => panic!("{error}"),
        Ok(()) => panic!("the move should have failed"),
    }
}

fn install(node: &Node, hooks: MigrationHandlerHooks) {
    node.runtime.install_migration_handler(MigrationSubprotocolHandler::with_hooks(hooks));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_hook_is_told_what_it_is_about() {
    let nodes = quick_nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let entity = kv(a).await;
    let (source, target) = (Told::default(), Told::default());
    let told = source.clone();
    let outbound = source.clone();
    install(
        a,
        MigrationHandlerHooks {
            pre_cleanup: Some(Arc::new(move |entity, listened| {
                told.add(format!("cleanup {entity} {}", listened.len()));
            })),
            outbound: Some(Arc::new(move |message| {
                if let MigrationMessage::ActivateTarget { .. } = message.envelope.message {
                    outbound.add(format!("activate at {}", message.to));
                }
            })),
            ..MigrationHandlerHooks::default()
        },
    );
    let (restored, opened) = (target.clone(), target.clone());
    let open = unsealer(b.key.clone());
    install(
        b,
        MigrationHandlerHooks {
            identity: Some(MigrationIdentityContext::new(Arc::new(
                move |envelope, bound, from| {
                    opened.add(format!("opened {}", bound.entity));
                    open(envelope, bound, from)
                },
            ))),
            post_restore: Some(Arc::new(move |entity| restored.add(format!("restored {entity}")))),
            ..MigrationHandlerHooks::default()
        },
    );
    a.migrate(entity, b, MigrationOpts::default()).await.unwrap();
    b.runs(entity).await;
    let cleanup = format!("cleanup {entity} 0");
    until("the source is told", || source.all().contains(&cleanup)).await;
    let said = source.all();
    assert_eq!(said.first(), Some(&format!("activate at {}", b.id())));
    assert_eq!(said.last(), Some(&cleanup));
    assert_eq!(target.all(), [format!("opened {entity}"), format!("restored {entity}")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_says_it_is_not_ready_takes_nothing_and_the_source_is_told() {
    let nodes = quick_nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let entity = kv(a).await;
    let ready = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&ready);
    let readiness: whimbrel_runtime::ReadinessCallback =
        Arc::new(move || asked.load(Ordering::Acquire));
    install(b, MigrationHandlerHooks { readiness: Some(readiness), ..Default::default() });
    let failures: Arc<Mutex<Vec<(EntityId, NodeId, MigrationFailureReason)>>> = Arc::default();
    let kept = Arc::clone(&failures);
    let failure: whimbrel_runtime::FailureCallback = Arc::new(move |entity, from, reason| {
        kept.lock().unwrap().push((entity, from, reason.clone()));
    });
    install(a, MigrationHandlerHooks { failure: Some(failure), ..Default::default() });
    let failed = a.migrate(entity, b, impatient()).await;
    assert_eq!(why_not(failed), MigrationFailureReason::NotReady);
    let told = (entity, b.id(), MigrationFailureReason::NotReady);
    assert!(failures.lock().unwrap().contains(&told));
    assert_eq!(a.standing(entity), Some(Standing::Live));
    ready.store(true, Ordering::Release);
    a.migrate(entity, b, impatient()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_breaks_or_lies_keeps_the_daemon_where_it_is() {
    let nodes = quick_nodes(2, true).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let entity = kv(a).await;
    let lying =
        MigrationIdentityContext::new(Arc::new(|_, _, _| Ok(Identity::from_seed(&[9; 32]).into())));
    let breaking = MigrationIdentityContext::new(Arc::new(|_, _, _| panic!("as asked")));
    for identity in [lying, breaking] {
        install(b, MigrationHandlerHooks { identity: Some(identity), ..Default::default() });
        let failed = a.migrate(entity, b, impatient()).await;
        let reason = why_not(failed);
        let told = matches!(reason, MigrationFailureReason::IdentityTransportFailed(_));
        assert!(told, "{reason}");
        assert_eq!(a.standing(entity), Some(Standing::Live));
    }
    let readiness: whimbrel_runtime::ReadinessCallback = Arc::new(|| panic!("as asked"));
    install(b, MigrationHandlerHooks { readiness: Some(readiness), ..Default::default() });
    assert_eq!(why_not(a.migrate(entity, b, impatient()).await), MigrationFailureReason::NotReady);
    // Those that are only told may break as they like.
    let hooks = || MigrationHandlerHooks {
        post_restore: Some(Arc::new(|_| panic!("as asked"))),
        pre_cleanup: Some(Arc::new(|_, _| panic!("as asked"))),
        failure: Some(Arc::new(|_, _, _| panic!("as asked"))),
        outbound: Some(Arc::new(|_| panic!("as asked"))),
        ..MigrationHandlerHooks::default()
    };
    install(a, hooks());
    install(b, hooks());
    a.migrate(entity, b, impatient()).await.unwrap();
    b.runs(entity).await;
}
