//! Decides where others can take part in the messages of moves: how envelopes are opened, whether this node
//! takes daemons at present, and who is told of what.
//!
//! Which of orchestrator, source and target a message is for, and whether it acts, the seat of the daemon
//! decides; every message of a move goes through here to it, and every one to another node through here from
//! it. A hook can keep a daemon out; it cannot let one in, make a message act, or change one.
//!
//! # Limits
//!
//! * A hook runs on a thread of the node, some under the lock of the daemon: it must return soon, and must not
//!   wait for this runtime. One that panics counts as a refusal where it decides, and is passed over where
//!   it is told.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use whimbrel_wire::{
    EntityId, Message, MigrationEnvelope, MigrationFailureReason, MigrationMessage, NodeId,
    PublicKey, Role, SubscriptionBinding,
};

use crate::core::Core;
use crate::identity::{Binding, EnvelopeUnsealFn, Secrets};
use crate::runtime::DaemonRuntime;

/// Told on the target of a copy that was restored and does not live yet.
pub type PostRestoreCallback = Arc<dyn Fn(EntityId) + Send + Sync>;

/// Told on the source before the state of a daemon that has left is dropped, with the channels that it listens
/// to, which it took along. Told again if the first attempt to drop it failed.
pub type PreCleanupCallback = Arc<dyn Fn(EntityId, &[SubscriptionBinding]) + Send + Sync>;

/// Asked on the target whether this node takes daemons at present. *No* is answered as
/// [`NotReady`](MigrationFailureReason::NotReady), so the orchestrator asks again later.
pub type ReadinessCallback = Arc<dyn Fn() -> bool + Send + Sync>;

/// Told of each [`MigrationFailed`](MigrationMessage::MigrationFailed) that came from a target, whether it acts or
/// not.
pub type FailureCallback = Arc<dyn Fn(EntityId, NodeId, &MigrationFailureReason) + Send + Sync>;

/// Told of each message of a move that leaves this node, before it leaves.
pub type OutboundCallback = Arc<dyn Fn(&OutboundMigrationMessage<'_>) + Send + Sync>;

/// How the keys of daemons that come here are opened. Whoever holds this holds no key: that is inside the
/// closure.
#[derive(Clone)]
pub struct MigrationIdentityContext {
    unseal: EnvelopeUnsealFn,
}

/// Where others can take part. Each is there or not by itself; by default none is.
#[derive(Clone, Default)]
pub struct MigrationHandlerHooks {
    /// Opens envelopes. Without it the node's own key does ([`unsealer`](crate::unsealer)).
    pub identity: Option<MigrationIdentityContext>,
    /// See [`PostRestoreCallback`].
    pub post_restore: Option<PostRestoreCallback>,
    /// See [`PreCleanupCallback`].
    pub pre_cleanup: Option<PreCleanupCallback>,
    /// See [`ReadinessCallback`]. Asked besides whether the runtime was started.
    pub readiness: Option<ReadinessCallback>,
    /// See [`FailureCallback`].
    pub failure: Option<FailureCallback>,
    /// See [`OutboundCallback`].
    pub outbound: Option<OutboundCallback>,
}

/// A message of a move, and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboundMigrationMessage<'a> {
    /// To which node.
    pub to: NodeId,
    /// What.
    pub envelope: &'a MigrationEnvelope,
}

/// What every message of a move goes through.
#[derive(Clone, Default)]
pub struct MigrationSubprotocolHandler {
    hooks: Arc<MigrationHandlerHooks>,
}

impl MigrationIdentityContext {
    /// Envelopes are opened by `unseal`. What it gives is vetted: the key of another daemon is refused.
    #[must_use]
    pub fn new(unseal: EnvelopeUnsealFn) -> Self {
        Self { unseal }
    }
}

impl MigrationSubprotocolHandler {
    /// A handler with these hooks.
    #[must_use]
    pub fn with_hooks(hooks: MigrationHandlerHooks) -> Self {
        Self { hooks: Arc::new(hooks) }
    }

    /// A message of a move has come.
    pub(crate) fn inbound(&self, from: NodeId, envelope: &MigrationEnvelope) {
        if let Some(failure) = &self.hooks.failure
            && let MigrationMessage::MigrationFailed { reason, .. } = &envelope.message
            && envelope.role == Role::Target
        {
            guarded("failure", || failure(envelope.entity, from, reason));
        }
    }

    /// A message is about to leave.
    pub(crate) fn outbound(&self, to: NodeId, message: &Message) {
        if let Some(outbound) = &self.hooks.outbound
            && let Message::Migration(envelope) = message
        {
            guarded("outbound", || outbound(&OutboundMigrationMessage { to, envelope }));
        }
    }

    /// Whether a daemon may come.
    pub(crate) fn is_ready(&self) -> bool {
        let asked = self.hooks.readiness.as_ref();
        asked.is_none_or(|readiness| guarded("readiness", || readiness()).unwrap_or(false))
    }

    /// Opens an envelope that came from `source`.
    pub(crate) fn open(
        &self,
        core: &Core,
        envelope: &[u8],
        bound: &Binding,
        source: &PublicKey,
    ) -> Result<Secrets, String> {
        let unseal = match &self.hooks.identity {
            Some(context) => &context.unseal,
            None => &core.unseal,
        };
        let opened = guarded("identity", || unseal(envelope, bound, source));
        let secrets = opened.ok_or("what opens envelopes here broke")?;
        let secrets = secrets.map_err(|error| error.to_string())?;
        if secrets.entity_id() != bound.entity {
            return Err("what opened the envelope gave the key of another daemon".to_owned());
        }
        Ok(secrets)
    }

    /// A copy was restored.
    pub(crate) fn restored(&self, entity: EntityId) {
        if let Some(post_restore) = &self.hooks.post_restore {
            guarded("post-restore", || post_restore(entity));
        }
    }

    /// Whether somebody wants to be told before a state is dropped.
    pub(crate) fn minds_cleanup(&self) -> bool {
        self.hooks.pre_cleanup.is_some()
    }

    /// The state of a daemon that has left is about to be dropped.
    pub(crate) fn cleaning(&self, entity: EntityId, listened: &[SubscriptionBinding]) {
        if let Some(pre_cleanup) = &self.hooks.pre_cleanup {
            guarded("pre-cleanup", || pre_cleanup(entity, listened));
        }
    }
}

impl DaemonRuntime {
    /// From here on the messages of moves go through `handler`. The one before is forgotten; by default there
    /// is one without hooks.
    pub fn install_migration_handler(&self, handler: MigrationSubprotocolHandler) {
        self.core().set_handler(handler);
    }
}

/// Calls a hook; none if it panics.
fn guarded<T>(hook: &'static str, call: impl FnOnce() -> T) -> Option<T> {
    let called = catch_unwind(AssertUnwindSafe(call));
    if called.is_err() {
        tracing::error!(hook, "a hook of moves panicked");
    }
    called.ok()
}

impl fmt::Debug for MigrationIdentityContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MigrationIdentityContext")
    }
}

impl fmt::Debug for MigrationSubprotocolHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MigrationSubprotocolHandler")
    }
}
