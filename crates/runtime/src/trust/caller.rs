//! Decides what somebody who asks a node may do, with the token that was shown.
//!
//! A program that holds a [`DaemonRuntime`] is the operator of its node, and its calls are not judged. What it
//! does for others it does as a [`Caller`]: the admin socket does so for everybody who asks.
//!
//! | call | what is judged | written down |
//! |---|---|---|
//! | [`send`](Caller::send) | deliver to this daemon | if refused |
//! | [`publish`](Caller::publish) | publish by this daemon on this channel | if refused |
//! | [`migrate`](Caller::migrate) | migrate this daemon to this node | before and after |
//! | [`subscribe_channel`](Caller::subscribe_channel) | subscribe to this channel of this publisher | before and after |
//! | anything else, by [`administer`](Caller::administer) | the act that is named | before and after |

use std::future::Future;

use bytes::Bytes;
use whimbrel_trust::chain::{Entry, Outcome};
use whimbrel_trust::{Act, BlockId, Holder, PermissionToken, TrustRefusal};
use whimbrel_wire::{Answer, ChannelName, EntityId, NodeId};

use super::{Trust, TrustError, spread, text};
use crate::channels::SubscribeOptions;
use crate::client::Client;
use crate::clock::Clock;
use crate::config::MigrationOpts;
use crate::error::DaemonError;
use crate::migration::MigrationHandle;
use crate::permits;
use crate::runtime::DaemonRuntime;

/// How somebody without a token is called where none is demanded.
const LOCAL: &str = "local";

/// How somebody without a token is called where one is demanded.
const NOBODY: &str = "nobody";

/// Somebody who asks, with or without a token. Cheap to clone.
#[derive(Clone)]
pub struct Caller {
    runtime: DaemonRuntime,
    /// From where it asks, for the log.
    from: String,
    token: Option<PermissionToken>,
    client: Client,
}

impl DaemonRuntime {
    /// Somebody who shows no token and asks from `from`, a few words for the audit log. On a mesh without
    /// roots such a one may do everything.
    #[must_use]
    pub fn caller(&self, from: &str) -> Caller {
        Caller { runtime: self.clone(), from: from.to_owned(), token: None, client: self.client() }
    }

    /// Whether this node demands tokens: it was given root keys.
    #[must_use]
    pub fn demands_tokens(&self) -> bool {
        self.core().trust.demands_tokens()
    }
}

impl Caller {
    /// The same one with a token, which is verified here. Where no token is demanded it is not looked at.
    ///
    /// # Errors
    ///
    /// [`TrustError::Refused`]; that is written down.
    pub fn with_token(&self, token: PermissionToken) -> Result<Self, TrustError> {
        if self.trust().demands_tokens()
            && let Err(refusal) = self.trust().believe(&token)
        {
            let who = format!("{} (not believed)", token.holder());
            self.trust().saw(self.named(&who), "show a token", None, refusal.to_string());
            return Err(refusal.into());
        }
        Ok(Self { token: Some(token), ..self.clone() })
    }

    /// Whether it may do this now. A refusal is written down.
    ///
    /// # Errors
    ///
    /// [`TrustError::Refused`].
    pub fn may(&self, act: &Act) -> Result<(), TrustError> {
        self.judged(act).map(drop)
    }

    /// Whether it may do one of these.
    ///
    /// # Errors
    ///
    /// [`TrustError::Refused`], of the last.
    pub fn may_any(&self, acts: &[Act]) -> Result<(), TrustError> {
        let Some((last, others)) = acts.split_last() else {
            return Err(TrustRefusal::NoToken.into());
        };
        let silently = |act| self.trust().judge(self.token.as_ref(), act).is_ok();
        if others.iter().any(silently) { Ok(()) } else { self.may(last) }
    }

    fn judged(&self, act: &Act) -> Result<Holder, TrustError> {
        self.trust().judge(self.token.as_ref(), act).map_err(|refusal| {
            self.trust().saw(self.who(), act.verb.as_str(), act.daemon, refusal.to_string());
            refusal.into()
        })
    }

    /// Does something administrative: `act` is judged, `what` is written down before `call` is begun, and what
    /// came of it before this returns.
    ///
    /// # Errors
    ///
    /// [`TrustError`] as `E` when it was not begun, or when it was done and that could not be written down;
    /// then those of the call.
    pub async fn administer<T, E>(
        &self,
        act: Act,
        what: &str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E>
    where
        E: From<TrustError> + std::fmt::Display,
    {
        let holder = self.judged(&act)?;
        let entry = Entry {
            at_us: Clock::wall_micros(),
            who: self.named(if holder.token.is_some() { &holder.name } else { LOCAL }),
            token: holder.token.map(|id| id.to_string()).unwrap_or_default(),
            what: what.to_owned(),
            daemon: act.daemon.as_ref().map(text).unwrap_or_default(),
            detail: act.to_string(),
            ..Entry::default()
        };
        let log = &self.trust().log;
        let number = log.enter(entry.clone()).await.map_err(TrustError::NotRecorded)?;
        let result = call.await;
        let (outcome, detail) = match &result {
            Ok(_) => (Outcome::Done, String::new()),
            Err(error) => (Outcome::Failed, error.to_string()),
        };
        let end =
            Entry { at_us: Clock::wall_micros(), of: number, result: outcome, detail, ..entry };
        match (log.enter(end).await, result) {
            (Ok(_), result) => result,
            // What went wrong matters more to the caller than that it is not in the log.
            (Err(_), Err(error)) => Err(error),
            (Err(error), Ok(_)) => Err(TrustError::EndNotRecorded(error).into()),
        }
    }

    /// Sends an event, as [`Client::send`]. It takes its place in the order at once.
    ///
    /// # Errors
    ///
    /// [`DaemonError::Trust`] at once; then those of the future.
    pub fn send(
        &self,
        entity: EntityId,
        payload: Bytes,
    ) -> Result<impl Future<Output = Result<Answer, DaemonError>> + Send + use<>, DaemonError> {
        self.may(&Act::deliver(entity))?;
        Ok(self.client.send(entity, payload))
    }

    /// Starts to move a daemon, as [`DaemonRuntime::migrate`].
    ///
    /// # Errors
    ///
    /// [`DaemonError::Trust`]; then as there.
    pub async fn migrate(
        &self,
        entity: EntityId,
        target: NodeId,
        options: MigrationOpts,
    ) -> Result<MigrationHandle, DaemonError> {
        let call = self.runtime.migrate(entity, target, options);
        self.administer(Act::migrate(entity, Some(target)), "migrate", call).await
    }

    /// Publishes in the name of a daemon that lives here, as [`DaemonRuntime::publish`].
    ///
    /// # Errors
    ///
    /// [`DaemonError::Trust`]; then as there.
    pub async fn publish(
        &self,
        entity: EntityId,
        channel: ChannelName,
        payload: Bytes,
    ) -> Result<(), DaemonError> {
        self.may(&Act::publish(entity, channel.clone()))?;
        self.runtime.publish(entity.origin_hash(), channel, payload).await
    }

    /// Opens a channel, as [`DaemonRuntime::open_channel`].
    ///
    /// # Errors
    ///
    /// [`DaemonError::Trust`]; then as there.
    pub async fn open_channel(
        &self,
        entity: EntityId,
        channel: ChannelName,
        retained: u32,
    ) -> Result<(), DaemonError> {
        let act = Act::publish(entity, channel.clone());
        let call = self.runtime.open_channel(entity.origin_hash(), channel, retained);
        self.administer(act, "open channel", call).await
    }

    /// Lets a daemon that lives here listen, as [`DaemonRuntime::subscribe_channel`].
    ///
    /// # Errors
    ///
    /// [`DaemonError::Trust`]; then as there.
    pub async fn subscribe_channel(
        &self,
        entity: EntityId,
        publisher: EntityId,
        channel: ChannelName,
        options: SubscribeOptions,
    ) -> Result<(), DaemonError> {
        let act = Act::subscribe(publisher, channel.clone());
        let what = format!("subscribe {entity}");
        let call =
            self.runtime.subscribe_channel(entity.origin_hash(), publisher, channel, options);
        self.administer(act, &what, call).await
    }

    /// Lets a daemon that lives here listen no more, as [`DaemonRuntime::unsubscribe_channel`].
    ///
    /// # Errors
    ///
    /// [`DaemonError::Trust`]; then as there.
    pub async fn unsubscribe_channel(
        &self,
        entity: EntityId,
        publisher: EntityId,
        channel: ChannelName,
    ) -> Result<(), DaemonError> {
        let act = Act::subscribe(publisher, channel.clone());
        let what = format!("unsubscribe {entity}");
        let call = self.runtime.unsubscribe_channel(entity.origin_hash(), publisher, channel);
        self.administer(act, &what, call).await
    }

    /// Takes a subscriber that is gone for good off the channels of a daemon that lives here, as
    /// [`DaemonRuntime::dismiss_subscriber`].
    ///
    /// # Errors
    ///
    /// [`DaemonError::Trust`]; then as there.
    pub async fn dismiss_subscriber(
        &self,
        entity: EntityId,
        subscriber: EntityId,
    ) -> Result<(), DaemonError> {
        let what = format!("dismiss {subscriber}");
        let call = self.runtime.dismiss_subscriber(entity.origin_hash(), subscriber);
        self.administer(Act::admin(Some(entity)), &what, call).await
    }

    /// Gives a token to a daemon that runs here, as [`DaemonRuntime::give_token`].
    ///
    /// # Errors
    ///
    /// [`DaemonError::Trust`]; then as there.
    pub async fn give_token(
        &self,
        entity: EntityId,
        token: PermissionToken,
    ) -> Result<(), DaemonError> {
        let id = token.ids().last().map(ToString::to_string).unwrap_or_default();
        let what = format!("give token {id}");
        let call = self.runtime.give_token(entity.origin_hash(), token);
        self.administer(Act::admin(Some(entity)), &what, call).await
    }

    /// Takes tokens from a daemon that runs here, as [`DaemonRuntime::take_token`].
    ///
    /// # Errors
    ///
    /// [`DaemonError::Trust`]; then as there.
    pub async fn take_token(&self, entity: EntityId, block: BlockId) -> Result<(), DaemonError> {
        let what = format!("take token {block}");
        let call = self.runtime.take_token(entity.origin_hash(), block);
        self.administer(Act::admin(Some(entity)), &what, call).await
    }

    /// Has this node believe no token any more that has the block `id`. The other members are told: those that are
    /// up at once, others when they are up again.
    ///
    /// # Errors
    ///
    /// [`DaemonError::Trust`].
    pub async fn revoke(&self, id: BlockId) -> Result<(), DaemonError> {
        let call = async {
            let core = self.runtime.core().clone();
            let revoking = tokio::task::spawn_blocking(move || {
                core.trust.revoke_all(&[id])?;
                spread::tell(&core, &[id.digest()], None);
                permits::look_at_all(&core);
                Ok(())
            });
            revoking.await.map_err(|_| DaemonError::ShuttingDown)?.map_err(DaemonError::Trust)
        };
        self.administer(Act::admin(None), &format!("revoke {id}"), call).await
    }

    fn trust(&self) -> &Trust {
        &self.runtime.core().trust
    }

    fn who(&self) -> String {
        match &self.token {
            Some(token) => self.named(&token.holder()),
            None if self.trust().demands_tokens() => self.named(NOBODY),
            None => self.named(LOCAL),
        }
    }

    fn named(&self, who: &str) -> String {
        if self.from.is_empty() { who.to_owned() } else { format!("{who} at {}", self.from) }
    }
}
