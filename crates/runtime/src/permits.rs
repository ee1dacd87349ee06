//! Decides how a daemon comes to hold a token, and how it is told what it may listen to by the tokens that it holds.
//!
//! Tokens lie beside the daemon's key and go where it goes (`identity`). What they allow is judged by the node on
//! which the daemon lives, with its own roots and its own list of what was revoked, and told to the daemon by a turn:
//! so the daemon's code is held to it in every replay. The daemon is told when it goes live and when something
//! changes; it is not told what it was told before, and never where nothing is gated.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use whimbrel_daemon::Host;
use whimbrel_protocol::{DeliverError, Input};
use whimbrel_store::Vault;
use whimbrel_trust::{BlockId, PermissionToken};
use whimbrel_wire::{Answer, CausalEvent, ChannelWord, EntityId, OriginHash, Permit};

use crate::cell::{Cell, Inner, Reply, Work};
use crate::core::{Core, lock};
use crate::error::DaemonError;
use crate::identity::{self, Secrets, TooManyTokens};
use crate::runtime::DaemonRuntime;
use crate::stores::Writer;

/// How long it is waited until a daemon that takes no word now is told again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Why a daemon was not given a token, or none was taken from it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It does not live here, or does not run. Fault: caller. Changed: nothing. Again: at the node on which it runs.
    #[error("the daemon does not run here")]
    NotHere,
    /// It is about to leave, and its secrets may be on their way. Fault: nobody. Changed: nothing. Again: when the
    /// move has ended, where the daemon is then.
    #[error("the daemon is moving")]
    Moving,
    /// Fault: caller. Changed: nothing. Again: after one was taken away.
    #[error(transparent)]
    TooMany(#[from] TooManyTokens),
    /// It holds no token with that block. Fault: caller. Changed: nothing. Again: no.
    #[error("the daemon holds no such token")]
    NoSuch,
    /// The secrets could not be read or written. Fault: surroundings. Changed: nothing, or it is done: look.
    /// Again: when the cause is gone.
    #[error("the secrets of the daemon could not be changed: {0}")]
    Store(String),
}

/// What is told to daemons, one after the other: an older word must not come after a newer one.
#[derive(Default)]
pub(crate) struct Telling(Mutex<()>);

impl DaemonRuntime {
    /// Gives a token to a daemon that runs here. It is the daemon's from here on, lies beside its key, and moves
    /// with it. Durable on return. What the token is worth each node judges for itself; one that is not believed
    /// here and now is kept all the same.
    ///
    /// # Errors
    ///
    /// [`DaemonError::Token`], [`DaemonError::NotFound`].
    pub async fn give_token(
        &self,
        origin_hash: impl Into<OriginHash>,
        token: PermissionToken,
    ) -> Result<(), DaemonError> {
        self.change_secrets(origin_hash.into(), move |secrets| Ok(secrets.give(token)?)).await
    }

    /// Takes from a daemon that runs here all tokens that have this block.
    ///
    /// # Errors
    ///
    /// As [`give_token`](Self::give_token).
    pub async fn take_token(
        &self,
        origin_hash: impl Into<OriginHash>,
        block: BlockId,
    ) -> Result<(), DaemonError> {
        let take = move |secrets: &mut Secrets| match secrets.take(&block) {
            0 => Err(TokenError::NoSuch),
            _ => Ok(()),
        };
        self.change_secrets(origin_hash.into(), take).await
    }

    /// For whom the tokens were made that a daemon holds here, and the id of the last block of each. A node on
    /// which it does not live holds none.
    ///
    /// # Errors
    ///
    /// [`DaemonError::NotFound`].
    pub async fn tokens_of(
        &self,
        origin_hash: impl Into<OriginHash>,
    ) -> Result<Vec<(String, BlockId)>, DaemonError> {
        let cell = self.local(origin_hash.into())?;
        let core = Arc::clone(self.core());
        let held = tokio::task::spawn_blocking(move || held(&core, &cell)).await;
        let held = held.map_err(|_| DaemonError::ShuttingDown)?;
        let named = |token: &PermissionToken| Some((token.holder(), *token.ids().last()?));
        Ok(held.iter().filter_map(named).collect())
    }

    /// What a daemon that runs here may listen to by itself; none where that is everything.
    ///
    /// # Errors
    ///
    /// [`DaemonError::NotFound`].
    pub fn permits_of(
        &self,
        origin_hash: impl Into<OriginHash>,
    ) -> Result<Option<Vec<Permit>>, DaemonError> {
        let cell = self.local(origin_hash.into())?;
        Ok(cell.look(told).flatten())
    }

    async fn change_secrets(
        &self,
        origin: OriginHash,
        change: impl FnOnce(&mut Secrets) -> Result<(), TokenError> + Send + 'static,
    ) -> Result<(), DaemonError> {
        let cell = self.local(origin)?;
        let told = begin_change(self.core(), &cell, change)?;
        told.await.map_err(|_| DaemonError::ShuttingDown)??;
        cell.adjust(|inner| look(self.core(), &cell, inner));
        Ok(())
    }
}

type Changed = Result<(), TokenError>;

/// Has the secrets changed before anything that the seat asks for later: while the cell is looked at, no move can
/// begin, and what it would seal is read after this was written.
fn begin_change(
    core: &Core,
    cell: &Cell,
    change: impl FnOnce(&mut Secrets) -> Changed + Send + 'static,
) -> Result<oneshot::Receiver<Changed>, TokenError> {
    let (tell, told) = oneshot::channel();
    let (key, entity) = (core.key.clone(), cell.entity());
    let make = move |vault: &mut dyn Vault| {
        let broken = |error: &dyn std::fmt::Display| TokenError::Store(error.to_string());
        let locked = vault.key(&entity).map_err(|error| broken(&error))?;
        let locked = locked.ok_or(TokenError::NotHere)?;
        let unlocked = identity::unlock(&key, &entity, &locked);
        let mut secrets = unlocked.map_err(|error| broken(&error))?;
        change(&mut secrets)?;
        let locked = identity::lock(&key, &secrets).map_err(|error| broken(&error))?;
        vault.put_key(&entity, &locked).map_err(|error| broken(&error))
    };
    cell.look(|inner| {
        if inner.seat.live_copy().is_none() {
            return Err(TokenError::NotHere);
        }
        if inner.seat.is_leaving() {
            return Err(TokenError::Moving);
        }
        match &cell.store.writer {
            Writer::Direct(memory) => drop(tell.send(make(&mut *lock(memory)))),
            Writer::Queued(saver) => {
                saver.ask(Box::new(move |engine| drop(tell.send(make(engine)))));
            }
        }
        Ok(told)
    })
}

/// The tokens that a daemon holds here. Waits for the disk.
fn held(core: &Core, cell: &Cell) -> Vec<PermissionToken> {
    crate::perform::kept_secrets(core, cell).map_or_else(Vec::new, |it| it.tokens().to_vec())
}

/// What the live host was told; nothing if it is not at hand.
fn told(inner: &Inner) -> Option<Option<Vec<Permit>>> {
    let (copy, _) = inner.seat.live_copy()?;
    Some(inner.hosts.get(&copy)?.permits().map(<[Permit]>::to_vec))
}

/// Has a daemon that is live told what it may listen to, if that may have changed.
pub(crate) fn look(core: &Arc<Core>, cell: &Arc<Cell>, inner: &Inner) {
    let is_open = !core.trust.demands_tokens();
    if is_open && inner.hosts.values().all(|host| Host::permits(host).is_none()) {
        return;
    }
    if let Some(tokio) = core.tokio.get() {
        tokio.spawn(tell(Arc::downgrade(core), cell.entity()));
    }
}

/// As [`look`], of every daemon here.
pub(crate) fn look_at_all(core: &Arc<Core>) {
    for cell in core.cells() {
        cell.look(|inner| {
            if inner.seat.live_copy().is_some() {
                look(core, &cell, inner);
            }
        });
    }
}

async fn tell(core: Weak<Core>, entity: EntityId) {
    loop {
        let Some(here) = core.upgrade() else { return };
        let said = tokio::task::spawn_blocking(move || say(&here, entity)).await;
        let Ok(Some(said)) = said else { return };
        match said.await {
            Ok(Ok(Answer { failure: None, .. })) => return,
            Ok(Ok(Answer { failure: Some(reason), .. })) => {
                tracing::error!(%entity, reason, "a daemon did not take what it may listen to");
                return;
            }
            // It leaves, or takes nothing now. If it does not come to live elsewhere it is told again.
            Ok(Err(DeliverError::Busy | DeliverError::Migrating)) => {}
            Ok(Err(_)) | Err(_) => return,
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

type Said = oneshot::Receiver<Result<Answer, DeliverError>>;

/// Says it, if it was not said before.
fn say(core: &Arc<Core>, entity: EntityId) -> Option<Said> {
    let cell = core.known_cell(&entity)?;
    let _order = lock(&core.telling.0);
    let permits = core.trust.permits(&held(core, &cell));
    let before = cell.look(|inner| {
        inner.seat.live_copy()?;
        Some(told(inner))
    })?;
    if before.as_ref() == Some(&permits) {
        return None;
    }
    let word = ChannelWord::Permit { permits };
    let event = CausalEvent::unchained(cell.origin(), 0, word.to_payload());
    let (tell, told) = oneshot::channel();
    let ask = Box::new(move |ticket| Input::Deliver { ticket, event });
    core.post(&cell, Work::Ask { ask, reply: Reply::Delivered(tell) });
    Some(told)
}
