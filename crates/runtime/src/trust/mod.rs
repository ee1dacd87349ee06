//! Decides who may do what at this node, and writes down what was asked for and what came of it.
//!
//! What a token is and what it covers is decided in `whimbrel_trust`; here are the clock, the files and the
//! threads. People call through a [`Caller`]; what peers do that they may not is seen by `Core` and written
//! down as well.
//!
//! * [`Caller`]: somebody with or without a token; each of its acts is judged, administrative ones are written
//!   down before and after;
//! * `misdeeds`: what peers do that they may not; `log`: the audit log on disk; `sightings`: how often the same misdeed of the same peer is written down;
//! * `revoked`: what was revoked, on disk; `spread`: how members come to know of it.
//!
//! # Invariants
//!
//! * T1 (recorded): no administrative act is begun before the disk holds that it is, and none is said to be
//!   done before the disk holds how it ended.
//! * T2 (closed): whatever cannot be read, judged or written down is refused.

mod caller;
mod log;
mod misdeeds;
mod revoked;
mod sightings;
pub(crate) mod spread;

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

use thiserror::Error;
use whimbrel_trust::chain::{Entry, Outcome};
use whimbrel_trust::{Act, BlockId, ChannelPattern, Holder, PermissionToken, Policy, TrustRefusal};
use whimbrel_wire::{EntityId, Permit, PublicKey};

pub use caller::Caller;
pub use log::{AUDIT_FILE, AuditFile, SIGHTINGS_FILE, audit_files};

use crate::clock::Clock;
use log::Log;
pub(crate) use misdeeds::Said;
use revoked::Revoked;

/// Whom a node trusts, and where it writes that down.
#[derive(Clone, Debug, Default)]
pub struct TrustConfig {
    /// The keys that sign tokens. Without one no token is demanded.
    pub roots: Vec<PublicKey>,
    /// Channels for which no token is demanded. Others are gated once there are roots.
    pub open_channels: Vec<ChannelPattern>,
    /// The folder of the audit log and of what was revoked. Without one both are in memory, and the
    /// log is bounded to its last entries.
    pub folder: Option<PathBuf>,
}

/// Why something was not done, or not said to be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TrustError {
    /// It may not be done. Fault: caller. Changed: nothing. Again: see the cause.
    #[error(transparent)]
    Refused(#[from] TrustRefusal),
    /// What is asked for could not be written down, so it was not done. Fault: surroundings (a full disk).
    /// Changed: nothing. Again: when there is room.
    #[error("could not write the audit log, so nothing was done: {0}")]
    NotRecorded(String),
    /// It was done, and how it ended could not be written down. Fault: surroundings. Changed: what was asked
    /// for. Again: no.
    #[error("it was done, and could not be written down in the audit log: {0}")]
    EndNotRecorded(String),
    /// What was revoked could not be written down. It is refused from here on until the node ends. Fault:
    /// surroundings. Changed: until the next start. Again: when there is room.
    #[error("could not write down what was revoked: {0}")]
    NotRevoked(String),
}

/// What a node knows of trust.
pub(crate) struct Trust {
    policy: RwLock<Policy>,
    revoked: Revoked,
    pub(crate) spread: spread::Spread,
    log: Log,
}

impl Trust {
    /// Opens log and revocations.
    pub(crate) fn open(config: &TrustConfig) -> std::io::Result<Self> {
        let mut policy = Policy::new(config.roots.clone(), config.open_channels.clone());
        let revoked = Revoked::open(config.folder.as_deref(), &mut policy)?;
        let log = Log::open(config.folder.as_deref())?;
        let spread = spread::Spread::default();
        Ok(Self { policy: RwLock::new(policy), revoked, spread, log })
    }

    /// Whether `act` may be done with a token that was believed when it was shown.
    fn judge(&self, token: Option<&PermissionToken>, act: &Act) -> Result<Holder, TrustRefusal> {
        self.policy().judge(token, act, now())
    }

    fn believe(&self, token: &PermissionToken) -> Result<Holder, TrustRefusal> {
        self.policy().believe(token, now())
    }

    /// What a daemon that holds `tokens` may listen to by itself.
    pub(crate) fn permits(&self, tokens: &[PermissionToken]) -> Option<Vec<Permit>> {
        self.policy().permits(tokens, now())
    }

    pub(crate) fn demands_tokens(&self) -> bool {
        self.policy().demands_tokens()
    }

    fn policy(&self) -> std::sync::RwLockReadGuard<'_, Policy> {
        self.policy.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Believes no token with one of these blocks any more, on disk before this returns.
    fn revoke_all(&self, ids: &[BlockId]) -> Result<(), TrustError> {
        let mut policy = self.policy.write().unwrap_or_else(PoisonError::into_inner);
        let revoked = ids.iter().all(|id| policy.revoke(*id));
        drop(policy);
        self.revoked.changed();
        if !revoked {
            return Err(TrustError::NotRevoked("too many are revoked already".to_owned()));
        }
        // It may be believed no more and yet not be on disk: the disk was full, or somebody else is at it.
        self.revoked.add(ids).map_err(|error| TrustError::NotRevoked(error.to_string()))
    }

    /// Something happened that is to be known, and that nobody waits for.
    pub(crate) fn note(&self, who: String, what: &str, result: Outcome, detail: String) {
        let what = what.to_owned();
        let at_us = Clock::wall_micros();
        self.log.note(Entry { at_us, who, what, result, detail, ..Entry::default() });
    }

    /// A peer or a stranger did what it may not.
    pub(crate) fn saw(
        &self,
        who: String,
        what: &'static str,
        daemon: Option<EntityId>,
        detail: String,
    ) {
        self.log.saw(Entry {
            at_us: Clock::wall_micros(),
            who,
            what: what.to_owned(),
            daemon: daemon.map(|it| text(&it)).unwrap_or_default(),
            result: Outcome::Refused,
            detail,
            ..Entry::default()
        });
    }

    /// The log is complete on disk.
    pub(crate) fn close(&self) {
        self.log.close();
    }
}

/// Seconds since the Unix epoch. A clock that stands before it makes every token expire.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(u64::MAX, |since| since.as_secs())
}

fn text(entity: &EntityId) -> String {
    crate::admin::words::daemon_text(entity)
}
