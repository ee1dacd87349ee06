//! Decides whether something may be done at this node, now.
//!
//! # Invariants
//!
//! * P1 (closed): on a mesh that names roots, nothing is allowed but by a token that is whole, signed by
//!   one of them, not expired, not revoked, and covers the act. Without roots everything is allowed.
//!
//! # Limits
//!
//! * [`REVOKED_MAX`]: further revocations are refused; rotate the root key then.

use std::collections::BTreeSet;

use whimbrel_wire::limits::PERMIT_NAMES_MAX;
use whimbrel_wire::{ChannelName, ChannelPattern, Permit, PublicKey};

use crate::act::{Act, Verb};
use crate::limits::REVOKED_MAX;
use crate::refusal::TrustRefusal;
use crate::token::{BlockId, PermissionToken};

/// Whom a node trusts, and what it does not believe any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    roots: Vec<PublicKey>,
    open_channels: Vec<ChannelPattern>,
    revoked: BTreeSet<BlockId>,
}

/// Who may do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// For whom the token was made; empty where none was needed.
    pub name: String,
    /// Which token: the id of its last block.
    pub token: Option<BlockId>,
}

impl Policy {
    /// A policy that believes `roots`. Channels that `open_channels` mean need no token.
    #[must_use]
    pub const fn new(roots: Vec<PublicKey>, open_channels: Vec<ChannelPattern>) -> Self {
        Self { roots, open_channels, revoked: BTreeSet::new() }
    }

    /// Whether tokens are demanded at all.
    #[must_use]
    pub const fn demands_tokens(&self) -> bool {
        !self.roots.is_empty()
    }

    /// Whether a token is needed to publish on this channel and to listen to it.
    #[must_use]
    pub fn is_gated(&self, channel: &ChannelName) -> bool {
        self.demands_tokens() && !self.open_channels.iter().any(|open| open.covers(channel))
    }

    /// Believes no token any more that has this block. False if there is no room for it.
    #[must_use = "what was not revoked is still believed"]
    pub fn revoke(&mut self, id: BlockId) -> bool {
        if self.revoked.contains(&id) {
            return true;
        }
        self.revoked.len() < REVOKED_MAX && self.revoked.insert(id)
    }

    /// What was revoked.
    pub fn revoked(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.revoked.iter().copied()
    }

    /// Whether a token is one that may allow something at `now`, seconds since the Unix epoch.
    ///
    /// # Errors
    ///
    /// All of [`TrustRefusal`] but [`TrustRefusal::NoToken`] and [`TrustRefusal::NotCovered`].
    pub fn believe(&self, token: &PermissionToken, now: u64) -> Result<Holder, TrustRefusal> {
        token.verify(&self.roots)?;
        self.still_believe(token, now)
    }

    /// As [`believe`](Self::believe), for a token that was verified before: what can have changed
    /// since is looked at.
    ///
    /// # Errors
    ///
    /// [`TrustRefusal::Expired`], [`TrustRefusal::Revoked`].
    pub fn still_believe(&self, token: &PermissionToken, now: u64) -> Result<Holder, TrustRefusal> {
        let ids = token.ids();
        if let Some(block) = ids.iter().position(|id| self.revoked.contains(id)) {
            return Err(TrustRefusal::Revoked { block });
        }
        let until = token.scope().until;
        if now > until {
            return Err(TrustRefusal::Expired { until });
        }
        Ok(Holder { name: token.holder(), token: ids.last().copied() })
    }

    /// Whether `act` may be done at `now` by who shows `token`, which was [believed](Self::believe)
    /// before.
    ///
    /// # Errors
    ///
    /// [`TrustRefusal`].
    pub fn judge(
        &self,
        token: Option<&PermissionToken>,
        act: &Act,
        now: u64,
    ) -> Result<Holder, TrustRefusal> {
        let nobody = Holder { name: String::new(), token: None };
        if !self.demands_tokens() || self.is_open(act) {
            return Ok(nobody);
        }
        let token = token.ok_or(TrustRefusal::NoToken)?;
        let holder = self.still_believe(token, now)?;
        if !token.scope().covers(act) {
            return Err(TrustRefusal::NotCovered { act: act.to_string() });
        }
        Ok(holder)
    }

    /// What a daemon that holds `tokens` may listen to by itself, at `now`; none where nothing is gated. A token
    /// that is not believed gives nothing.
    pub fn permits<'t>(
        &self,
        tokens: impl IntoIterator<Item = &'t PermissionToken>,
        now: u64,
    ) -> Option<Vec<Permit>> {
        if !self.demands_tokens() {
            return None;
        }
        let open = Permit {
            publishers: Vec::new(),
            channels: self.open_channels.iter().take(PERMIT_NAMES_MAX).cloned().collect(),
            until: u64::MAX,
        };
        let open = Some(open).filter(|permit| !permit.channels.is_empty());
        let held = tokens.into_iter().filter(|token| self.believe(token, now).is_ok());
        Some(open.into_iter().chain(held.filter_map(|token| token.scope().permit())).collect())
    }

    fn is_open(&self, act: &Act) -> bool {
        match act.verb {
            Verb::Publish | Verb::Subscribe => {
                act.channel.as_ref().is_some_and(|channel| !self.is_gated(channel))
            }
            Verb::Observe | Verb::Deliver | Verb::Migrate | Verb::Admin => false,
        }
    }
}
