//! Decides what people can ask about the channels of the daemons that live here.
//!
//! What a subscription is and who hears what is decided by the daemon's host, in turns of its journal
//! (`whimbrel_daemon`, `channels`). Here such turns are asked for, and their outcome is waited for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use whimbrel_daemon::{Host, Publication};
use whimbrel_protocol::Input;
use whimbrel_wire::{
    CausalEvent, ChannelName, ChannelWord, EntityId, Hearing, OriginHash, Start,
    SubscriptionBinding, SubscriptionState, decode,
};

use crate::cell::{Cell, Inner, Work};
use crate::error::DaemonError;
use crate::runtime::DaemonRuntime;

/// How often what is owed to a subscriber that is dismissed is struck, until it is off the roster.
const STRIKE_EVERY: Duration = Duration::from_millis(20);

/// How a daemon listens to a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// What it wants when it is slower than the publisher. Default: every message, and the publisher
    /// waits.
    pub hearing: Hearing,
    /// With which message it begins. Default: the next.
    pub start: Start,
}

impl DaemonRuntime {
    /// Lets a daemon that lives here listen to a channel of another one, anywhere in the mesh. The
    /// publisher is asked first, and the daemon's ledger holds the subscription only once it agreed;
    /// then this returns. From then on the subscription belongs to the daemon and goes where it goes.
    ///
    /// A future that is dropped does not take the question back:
    /// [`unsubscribe_channel`](Self::unsubscribe_channel) does. A subscription that stands stays as
    /// it is.
    ///
    /// # Errors
    ///
    /// [`DaemonError::Subscribe`] when the publisher refuses: the ledger is as before.
    /// [`DaemonError::Deliver`] when the daemon left meanwhile: the question goes on without the
    /// caller. [`DaemonError::Declined`], [`DaemonError::NotFound`].
    pub async fn subscribe_channel(
        &self,
        origin_hash: impl Into<OriginHash>,
        publisher: EntityId,
        channel: ChannelName,
        options: SubscribeOptions,
    ) -> Result<(), DaemonError> {
        let cell = self.local(origin_hash.into())?;
        let binding = SubscriptionBinding { publisher, channel: channel.clone() };
        let SubscribeOptions { hearing, start } = options;
        let join = ChannelWord::Join { publisher, channel, hearing, start };
        let wait = |state| state == SubscriptionState::Asked;
        match self.outcome(&cell, &binding, join, wait).await? {
            SubscriptionState::Live { .. } => Ok(()),
            SubscriptionState::Refused(refusal) => Err(DaemonError::Subscribe(refusal)),
            SubscriptionState::Asked
            | SubscriptionState::Leaving { .. }
            | SubscriptionState::Nothing => Err(DaemonError::Unsubscribed),
        }
    }

    /// Lets a daemon that lives here listen no more. The publisher is told first, and the ledger
    /// forgets the subscription once it agreed; messages come until then. Without a subscription
    /// there is nothing to do.
    ///
    /// # Errors
    ///
    /// As [`subscribe_channel`](Self::subscribe_channel), without a refusal.
    pub async fn unsubscribe_channel(
        &self,
        origin_hash: impl Into<OriginHash>,
        publisher: EntityId,
        channel: ChannelName,
    ) -> Result<(), DaemonError> {
        let cell = self.local(origin_hash.into())?;
        let binding = SubscriptionBinding { publisher, channel: channel.clone() };
        let leave = ChannelWord::Leave { publisher, channel };
        let wait = |state| matches!(state, SubscriptionState::Leaving { .. });
        self.outcome(&cell, &binding, leave, wait).await.map(drop)
    }

    /// Opens a channel on which a daemon that lives here publishes, or changes how many of the last
    /// messages it retains for those who come late.
    ///
    /// # Errors
    ///
    /// [`DaemonError::Declined`], [`DaemonError::Deliver`], [`DaemonError::NotFound`].
    pub async fn open_channel(
        &self,
        origin_hash: impl Into<OriginHash>,
        channel: ChannelName,
        retained: u32,
    ) -> Result<(), DaemonError> {
        let word = ChannelWord::Open { channel, retained };
        self.say(origin_hash.into(), &word).await.map(drop)
    }

    /// Publishes in the name of a daemon that lives here; durable on return. What a daemon publishes
    /// itself it does by [`Context::publish`](whimbrel_daemon::Context::publish).
    ///
    /// # Errors
    ///
    /// [`DaemonError::Declined`], [`DaemonError::Deliver`], [`DaemonError::NotFound`].
    pub async fn publish(
        &self,
        origin_hash: impl Into<OriginHash>,
        channel: ChannelName,
        payload: Bytes,
    ) -> Result<(), DaemonError> {
        let word = ChannelWord::Publish { channel, payload };
        self.say(origin_hash.into(), &word).await.map(drop)
    }

    /// Takes a subscriber that is gone for good off all channels of a daemon that lives here, and forgets all
    /// that the daemon owes it, so that nobody waits for it any more. Durable on return. One that does not
    /// listen is owed nothing afterwards either.
    ///
    /// **What was owed is lost**, and if it is not gone after all, nothing that this daemon puts out reaches it
    /// any more: its numbers do not follow.
    ///
    /// # Errors
    ///
    /// [`DaemonError::Deliver`], [`DaemonError::NotFound`], [`DaemonError::Snapshot`].
    pub async fn dismiss_subscriber(
        &self,
        origin_hash: impl Into<OriginHash>,
        subscriber: EntityId,
    ) -> Result<(), DaemonError> {
        let cell = self.local(origin_hash.into())?;
        let core = self.core();
        let strike = || {
            let struck = Input::Posted { to: subscriber, number: u64::MAX };
            core.post(&cell, Work::Input(struck));
        };
        let word = ChannelWord::Dismiss { subscriber };
        let mut saying = std::pin::pin!(self.say(cell.origin(), &word));
        let mut again = tokio::time::interval(STRIKE_EVERY);
        loop {
            tokio::select! {
                said = &mut saying => break said.map(drop)?,
                // The word waits behind others, and these for room in the outbox.
                _ = again.tick() => strike(),
            }
        }
        strike();
        let recall = Input::Recall { from: cell.entity() };
        core.post(&core.cell(subscriber), Work::Input(recall));
        // A start takes the debts from the last snapshot and the turns after it: one without them.
        self.snapshot(cell.origin()).await.map(drop)
    }

    /// The ledger of a daemon that lives here: the channels that it listens to.
    ///
    /// # Errors
    ///
    /// [`DaemonError::NotFound`].
    pub fn subscriptions(
        &self,
        origin_hash: impl Into<OriginHash>,
    ) -> Result<Vec<SubscriptionBinding>, DaemonError> {
        let cell = self.local(origin_hash.into())?;
        Ok(look(&cell, Host::subscriptions).unwrap_or_default())
    }

    /// The channels on which a daemon that lives here publishes, with their rosters.
    ///
    /// # Errors
    ///
    /// [`DaemonError::NotFound`].
    pub fn publications(
        &self,
        origin_hash: impl Into<OriginHash>,
    ) -> Result<Vec<Publication>, DaemonError> {
        let cell = self.local(origin_hash.into())?;
        Ok(look(&cell, Host::publications).unwrap_or_default())
    }

    /// Says a word to a daemon as its host; gives its answers.
    async fn say(
        &self,
        origin: OriginHash,
        word: &ChannelWord,
    ) -> Result<Vec<CausalEvent>, DaemonError> {
        let event = CausalEvent::unchained(origin, 0, word.to_payload());
        self.deliver_marked(origin, &event).await
    }

    /// Says `word` and waits as long as the state of the subscription is one to `wait` in.
    async fn outcome(
        &self,
        cell: &Arc<Cell>,
        binding: &SubscriptionBinding,
        word: ChannelWord,
        wait: impl Fn(SubscriptionState) -> bool,
    ) -> Result<SubscriptionState, DaemonError> {
        let SubscriptionBinding { publisher, channel } = binding.clone();
        let ask = ChannelWord::Ask { publisher, channel };
        let changed =
            cell.adjust(|inner| Arc::clone(inner.channels_changed.get_or_insert_default()));
        let mut said = word;
        loop {
            let change = changed.notified();
            tokio::pin!(change);
            change.as_mut().enable();
            // The answer is a turn: it is as durable as what it tells.
            let state = state(&self.say(cell.origin(), &said).await?)?;
            if !wait(state) {
                return Ok(state);
            }
            said.clone_from(&ask);
            change.await;
            loop {
                let further = changed.notified();
                tokio::pin!(further);
                further.as_mut().enable();
                if !look(cell, |host| host.subscription(binding)).is_some_and(&wait) {
                    break;
                }
                further.await;
            }
        }
    }
}

fn state(answers: &[CausalEvent]) -> Result<SubscriptionState, DaemonError> {
    let payload = answers.first().map(|answer| &answer.payload[..]).unwrap_or_default();
    decode(payload).map_err(|_| DaemonError::Unsubscribed)
}

/// Looks at the live host.
fn look<T>(cell: &Cell, look: impl FnOnce(&Host) -> T) -> Option<T> {
    cell.look(|inner| {
        let (copy, _) = inner.seat.live_copy()?;
        inner.hosts.get(&copy).map(look)
    })
}

impl Inner {
    /// A word about a channel was taken, or the daemon is gone: whoever waits looks again.
    pub(crate) fn wake_listeners(&self) {
        if let Some(changed) = &self.channels_changed {
            Notify::notify_waiters(changed);
        }
    }
}
