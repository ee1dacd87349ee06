//! Decides which stories about single moves are told, each with one disturbance at every place
//! where it can be.

mod again;
mod channels;
mod chores;
mod clean;
mod crashes;
mod disks;
mod folders;
mod kinds;
mod letters;
mod liars;
mod rivals;

use crate::checkers::{Seconds, Violation};
use crate::cluster::{Cluster, MILLI, SECOND};
use crate::medium::Medium;
use crate::run::quiet;
use crate::scribe::Style;

use whimbrel_protocol::Settings;

/// A story: how often it was told, or how it went wrong.
pub type Story = fn() -> Result<u64, Failure>;

/// How a story went wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{case}: {violation}")]
pub struct Failure {
    /// Which telling.
    pub case: String,
    /// What was broken.
    pub violation: Violation,
}

/// All stories by name.
pub const STORIES: &[(&str, Story)] = &[
    ("clean-moves", clean::moves),
    ("served-while-it-travels", clean::served),
    ("clocks-apart", clean::clocks),
    ("a-timer-due-in-the-freeze", clean::timer_in_freeze),
    ("a-timer-goes-on", clean::timer_goes_on),
    ("it-drifts-and-is-copied", clean::drifting),
    ("it-minds-being-moved", clean::choosy),
    ("keys-given-beforehand", clean::provisioned),
    ("one-letter-lost", letters::lost),
    ("one-letter-twice", letters::doubled),
    ("two-letters-swapped", letters::swapped),
    ("every-two-letters-exchanged", letters::exchanged),
    ("letters-of-the-first-move-again", again::replayed),
    ("a-retry-after-a-cut", again::retry),
    ("pieces-of-a-cut-transfer-in-the-next", again::stale_pieces),
    ("a-crash-at-every-output", crashes::everywhere),
    ("the-orchestrator-dies", crashes::orchestrator),
    ("every-save-fails-once", disks::fates),
    ("every-snapshot-fails-once", disks::captures),
    ("the-copy-is-gone-after-the-vote", disks::copy_gone),
    ("the-target-has-a-new-disk", disks::wiped),
    ("an-old-folder-is-put-back", folders::old),
    ("a-snapshot-becomes-another-daemon", folders::exported),
    ("every-kind-in-many-chunks", kinds::moves),
    ("it-panics-while-answers-are-owed", clean::panicking),
    ("a-shutdown-at-every-moment", chores::shutdowns),
    ("a-full-disk-at-every-moment", chores::full),
    ("taken-back-from-a-lost-disk", disks::taken_back),
    ("taken-back-too-early", disks::taken_back_too_early),
    ("not-taken-back", disks::not_taken_back),
    ("channels-while-all-move", channels::moves),
    ("channels-and-a-crash-at-every-output", channels::crashes),
    ("channels-of-the-fickle", channels::fickle),
    ("two-orchestrators-two-targets", rivals::two),
    ("cancelled-at-every-moment", rivals::cancelled),
    ("a-third-node-speaks-for-the-target", liars::vote),
    ("a-third-node-asks-for-the-cut-over", liars::cut_over),
    ("a-third-node-ends-the-move", liars::end),
    ("an-acknowledgement-of-another-deed", liars::acknowledgement),
    ("a-third-node-forges-a-deed", liars::forged_deed),
];

/// Three nodes, one daemon on A, clients on B and C that have begun to send.
fn stage(seed: u64, style: Style, events: u64) -> Cluster {
    stage_with(&settings(), seed, style, events)
}

/// The bounds of the seats of most stories.
fn settings() -> Settings {
    Settings {
        snapshot_every: 20,
        silence_max: std::time::Duration::from_secs(3),
        ..Settings::default()
    }
}

fn stage_with(settings: &Settings, seed: u64, style: Style, events: u64) -> Cluster {
    let mut cluster = Cluster::new(seed, 3, settings, Medium::Memory, false);
    cluster.panics = false;
    let daemon = cluster.spawn(0, style);
    cluster.add_client(1, daemon, events, 4, 4 * MILLI);
    cluster.add_client(2, daemon, events, 4, 5 * MILLI);
    cluster.run_until(cluster.now + 60 * MILLI);
    cluster
}

/// Lets the story end and says how it went.
fn finish(cluster: &mut Cluster, case: &str) -> Result<(), Failure> {
    quiet(cluster);
    cluster.settle(60 * SECOND);
    let failure = |violation| Failure { case: case.to_owned(), violation };
    cluster.violation.take().map_or(Ok(()), |violation| Err(failure(violation)))
}

/// Fails a story with words of its own.
fn expect(
    cluster: &Cluster,
    case: &str,
    promise: &'static str,
    good: bool,
    what: &str,
) -> Result<(), Failure> {
    if good {
        return Ok(());
    }
    let seconds = Seconds(cluster.now);
    let violation = Violation { promise, what: what.to_owned(), seconds };
    Err(Failure { case: case.to_owned(), violation })
}
