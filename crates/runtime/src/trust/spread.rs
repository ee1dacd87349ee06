//! Decides how members come to know what was revoked at one of them.
//!
//! A revocation is told to all at once, and what may have been missed is found by comparing: two members tell each
//! other the digest of all that is revoked there, when their link comes up and every two seconds while they are
//! known to differ, and each sends what it has, a part at a time. A member is believed because it is one, as it is
//! believed to have judged a token; what it says can only take rights away.
//!
//! ```text
//!   revoke here ── Revoked ──▶ all members, each of which tells it on
//!   link up     ── Asked(own digest) ──▶ other
//!               ◀── Revoked… if it differs, then Answered(its digest)
//!               ── Revoked… if it differs ──▶
//! ```
//!
//! # Limits
//!
//! * [`FROM_OTHERS_MAX`] blocks at most are believed to be revoked because members say so: the rest of
//!   [`REVOKED_MAX`] is for what is revoked here.
//! * [`WORDS_AT_ONCE`] words for one question; the next question is answered with the next part.
//! * [`ASKED_FIRST_MAX`]: so long a node that starts waits for the answer of a member, before it judges by what it
//!   knew when it ended. If nobody answers it judges by that until a link comes up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use whimbrel_members::{REVOKED_TOLD_MAX, Word};
use whimbrel_trust::BlockId;
use whimbrel_trust::chain::Outcome;
use whimbrel_trust::limits::REVOKED_MAX;
use whimbrel_wire::{Digest, NodeId};

use crate::core::{Core, lock};
use crate::link::Lane;
use crate::neighbours::say;
use crate::permits;

/// Blocks that members may say are revoked.
const FROM_OTHERS_MAX: usize = REVOKED_MAX / 4 * 3;

/// Words of [`REVOKED_TOLD_MAX`] blocks for one question.
const WORDS_AT_ONCE: usize = 8;

/// Frames that may wait for a member before it is told nothing more of what is revoked.
const WAITING_MAX: usize = 16;

/// How long a node that starts waits for the answer of a member.
const ASKED_FIRST_MAX: Duration = Duration::from_secs(3);

/// What is known of what others know.
#[derive(Default)]
pub(crate) struct Spread {
    /// What the members last said that they hold.
    said: Mutex<BTreeMap<NodeId, Digest>>,
    /// Which part is sent next.
    part: AtomicUsize,
    /// Words that came and are not saved yet.
    saving: AtomicUsize,
    /// Told when a member has answered, or what it told was saved.
    heard: Notify,
}

impl Spread {
    fn has_answer(&self) -> bool {
        !lock(&self.said).is_empty() && self.saving.load(Ordering::Acquire) == 0
    }
}

/// Asks the members for what they hold as revoked, and waits for one of them. Where no token is demanded nobody is
/// asked.
pub(crate) async fn ask_first(core: &Core) {
    let others = core.members.nodes().into_iter().any(|node| node != core.node());
    if !core.trust.demands_tokens() || !others {
        return;
    }
    let spread = &core.trust.spread;
    let answered = async {
        loop {
            let heard = spread.heard.notified();
            if spread.has_answer() {
                return;
            }
            heard.await;
        }
    };
    ask_all(core, |_| true);
    if timeout(ASKED_FIRST_MAX, answered).await.is_err() {
        tracing::warn!("no member says what is revoked; tokens are judged by what was known");
    }
}

/// The link to a member has come up.
pub(crate) fn link_up(core: &Core, node: NodeId) {
    ask_all(core, |other| other == node);
}

/// Asks again whoever is known to hold something else, or has not said.
pub(crate) fn ask_again(core: &Core) {
    let own = core.trust.revoked_digest();
    let said = lock(&core.trust.spread.said).clone();
    let Some(links) = core.links() else { return };
    ask_all(core, |node| {
        said.get(&node).is_some_and(|said| *said != own)
            && links.waiting(node, Lane::Control) < WAITING_MAX
    });
}

fn ask_all(core: &Core, whom: impl Fn(NodeId) -> bool) {
    if core.trust.knows_nothing() {
        return;
    }
    let word = Word::RevokedAsked(core.trust.revoked_digest());
    for node in core.members.nodes().into_iter().filter(|&node| node != core.node() && whom(node)) {
        say(core, node, &word);
    }
}

/// A member says what it holds.
pub(crate) fn compare(core: &Core, from: NodeId, theirs: Digest, asks: bool) {
    let spread = &core.trust.spread;
    let own = core.trust.revoked_digest();
    if theirs != own {
        send_part(core, from);
    }
    if asks {
        say(core, from, &Word::RevokedAnswered(own));
    }
    lock(&spread.said).insert(from, theirs);
    spread.heard.notify_waiters();
}

fn send_part(core: &Core, to: NodeId) {
    let all = core.trust.revoked();
    let words: Vec<&[Digest]> = all.chunks(REVOKED_TOLD_MAX).collect();
    let first = core.trust.spread.part.fetch_add(WORDS_AT_ONCE, Ordering::Relaxed);
    for index in 0..words.len().min(WORDS_AT_ONCE) {
        let part = words[(first + index) % words.len()];
        say(core, to, &Word::Revoked(part.to_vec()));
    }
}

/// A member says that these are revoked.
pub(crate) fn told(core: &Arc<Core>, from: NodeId, blocks: Vec<Digest>) {
    if blocks.len() > REVOKED_TOLD_MAX
        || core.trust.spread.saving.load(Ordering::Acquire) > WAITING_MAX
    {
        // They are told again: this node still holds something else.
        return;
    }
    core.trust.spread.saving.fetch_add(1, Ordering::AcqRel);
    let core = Arc::clone(core);
    tokio::task::spawn_blocking(move || {
        let news = core.trust.believe_revoked(from, &blocks, FROM_OTHERS_MAX);
        core.trust.spread.saving.fetch_sub(1, Ordering::AcqRel);
        core.trust.spread.heard.notify_waiters();
        if !news.is_empty() {
            tell(&core, &news, Some(from));
            permits::look_at_all(&core);
        }
    });
}

/// Tells all other members.
pub(crate) fn tell(core: &Core, blocks: &[Digest], but: Option<NodeId>) {
    let word = Word::Revoked(blocks.to_vec());
    let own = core.node();
    for node in core.members.nodes().into_iter().filter(|&node| node != own && Some(node) != but) {
        say(core, node, &word);
    }
    // Whoever missed it is found by asking.
    ask_all(core, |_| true);
}

impl super::Trust {
    /// All that is revoked, in order.
    fn revoked(&self) -> Vec<Digest> {
        self.policy().revoked().map(|id| id.digest()).collect()
    }

    /// The digest of all that is revoked.
    fn revoked_digest(&self) -> Digest {
        self.revoked.digest(|| self.revoked())
    }

    /// Whether there is nothing to compare: no token is demanded here, and none was revoked.
    fn knows_nothing(&self) -> bool {
        let policy = self.policy();
        !policy.demands_tokens() && policy.revoked().next().is_none()
    }

    /// Believes what a member says, on disk before this returns. What was news.
    fn believe_revoked(&self, from: NodeId, blocks: &[Digest], most: usize) -> Vec<Digest> {
        let held: std::collections::BTreeSet<BlockId> = self.policy().revoked().collect();
        let room = most.saturating_sub(held.len());
        let fresh = blocks.iter().map(|digest| BlockId::new(*digest));
        let fresh: Vec<BlockId> = fresh.filter(|id| !held.contains(id)).take(room).collect();
        if fresh.is_empty() {
            return Vec::new();
        }
        let (result, why) = match self.revoke_all(&fresh) {
            Ok(()) => (Outcome::Done, String::new()),
            Err(error) => (Outcome::Failed, format!(": {error}")),
        };
        let detail = format!("{} blocks, the first {}{why}", fresh.len(), fresh[0]);
        self.note(from.to_string(), "told revoked", result, detail);
        fresh.iter().map(|id| id.digest()).collect()
    }
}
