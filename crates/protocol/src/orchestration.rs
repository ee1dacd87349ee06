//! Decides how whoever asked for a move follows it to its end.
//!
//! An orchestrator asks, listens, and asks for the cut-over. It holds no part of the truth: if it
//! dies for good, the source ends or finishes the move by itself and nobody is told.
//!
//! # States
//!
//! ```text
//! Searching ─owner known─▶ Asking ─source answers─▶ Watching ─copy built─▶ CuttingOver
//!     ▲                        │ not ready                                     │ deed
//!     │                        ▼                                               ▼
//!     └──────────────────── Resting                                        Finishing ─ack─▶ ended
//! ```
//!
//! Any state → ended when the source says that the attempt failed. A target that does not replay
//! is asked again under the derived attempt, by freeze-and-copy.
//!
//! # Invariants
//!
//! * M1 (phases in order): phases are entered one by one, each once in an attempt.
//!
//! # Limits
//!
//! * [`SEARCHES_MAX`]: how often it looks for the owner again after the one it knew refused.
//! * `MoveOptions::retry_not_ready`: how long a target that is still starting is asked again.
//! * `silence_max`: how long a source may be silent before the cut-over was asked for.

use std::time::Duration;

use whimbrel_wire::{
    AttemptId, CatchUp, Digest, Epoch, MigrationFailureReason, MigrationMessage, MigrationPhase,
    NodeId, Progress, Role, SignedDeed, Time,
};

use crate::desk::Desk;
use crate::port::{Event, Moment, MoveError, MoveOptions, Output};
use crate::rarely::Spot;

/// How often a node that knew an old owner looks for the present one.
const SEARCHES_MAX: u8 = 8;

/// One move that this node asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Orchestration {
    /// The attempt under which the caller knows it.
    pub(crate) asked: AttemptId,
    /// The attempt that is under way.
    pub(crate) attempt: AttemptId,
    target: NodeId,
    wanted_source: Option<NodeId>,
    source: NodeId,
    epoch: Epoch,
    options: MoveOptions,
    catch_up: CatchUp,
    stage: Stage,
    pub(crate) phase: Option<MigrationPhase>,
    pub(crate) progress: Option<Progress>,
    heard: Time,
    resend_at: Time,
    not_ready_since: Option<Time>,
    rest: Duration,
    tries: u8,
    searches: u8,
    /// The deed that the target says it obeys.
    acknowledged: Option<Digest>,
    cancelled: bool,
    /// Whether the caller was told that it is too late for that.
    refused: bool,
    /// What the source said ended the attempt, until it has confirmed that.
    failure: Option<MigrationFailureReason>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Searching,
    Asking,
    Watching,
    CuttingOver,
    Finishing(Box<SignedDeed>),
    Resting(Time),
}

/// What an orchestration asks of its seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Stay,
    Ended,
}

impl Orchestration {
    pub(crate) fn new(
        attempt: AttemptId,
        source: Option<NodeId>,
        target: NodeId,
        options: MoveOptions,
        now: Time,
    ) -> Self {
        let catch_up =
            if options.freeze_and_copy { CatchUp::FreezeAndCopy } else { CatchUp::Replay };
        Self {
            asked: attempt,
            attempt,
            target,
            wanted_source: source,
            source: target,
            epoch: Epoch::FIRST,
            options,
            catch_up,
            stage: Stage::Searching,
            phase: None,
            progress: None,
            heard: now,
            resend_at: now,
            not_ready_since: None,
            rest: Duration::ZERO,
            tries: 0,
            searches: 0,
            acknowledged: None,
            cancelled: false,
            refused: false,
            failure: None,
        }
    }

    /// What its state is called.
    pub(crate) const fn stage_name(&self) -> &'static str {
        match self.stage {
            Stage::Searching => "Searching",
            Stage::Asking => "Asking",
            Stage::Watching => "Watching",
            Stage::CuttingOver => "CuttingOver",
            Stage::Finishing(_) => "Finishing",
            Stage::Resting(_) => "Resting",
        }
    }

    /// When it wants to be woken.
    pub(crate) const fn wake_at(&self) -> Time {
        match self.stage {
            Stage::Resting(until) => until,
            Stage::Searching
            | Stage::Asking
            | Stage::Watching
            | Stage::CuttingOver
            | Stage::Finishing(_) => self.resend_at,
        }
    }

    /// Shows every moment that it remembers.
    pub(crate) fn moments(&mut self, see: &mut dyn FnMut(Moment<'_>)) {
        see(Moment::Since(&mut self.heard));
        see(Moment::Due(&mut self.resend_at));
        if let Some(since) = &mut self.not_ready_since {
            see(Moment::Since(since));
        }
        if let Stage::Resting(until) = &mut self.stage {
            see(Moment::Due(until));
        }
    }

    /// Looks for the owner and asks it.
    pub(crate) fn start(&mut self, desk: &mut Desk<'_>) -> Next {
        if self.searches == 0 && desk.rarely(Spot::OwnerUnknown) {
            return self.search(desk);
        }
        let Some((owner, epoch)) = desk.title.owner().zip(desk.title.epoch()) else {
            return self.search(desk);
        };
        if owner == self.target {
            // It may have moved on from there since: whoever says otherwise is asked first.
            if self.searches == 0 && self.wanted_source.is_none() {
                self.source = owner;
                return self.look_again(desk);
            }
            return self.end(desk, MigrationFailureReason::SameNode);
        }
        if self.wanted_source.is_some_and(|wanted| wanted != owner) {
            return self.search(desk);
        }
        (self.source, self.epoch) = (owner, epoch);
        self.stage = Stage::Asking;
        self.heard = desk.now;
        self.enter(desk, MigrationPhase::Snapshot);
        self.ask(desk);
        Next::Stay
    }

    /// The title does not show the owner that was named, or none: it is asked for.
    fn search(&mut self, desk: &mut Desk<'_>) -> Next {
        if desk.now.since(self.heard) >= desk.settings().search_max {
            return self.end(desk, MigrationFailureReason::NotOwner);
        }
        self.stage = Stage::Searching;
        match self.wanted_source {
            Some(source) if source != desk.station.node() => desk.ask(source, None),
            Some(_) | None => desk.ask_all(None),
        }
        self.resend_at = desk.now + desk.settings().resend_after;
        Next::Stay
    }

    /// The title has grown.
    pub(crate) fn title_grew(&mut self, desk: &mut Desk<'_>) -> Next {
        match &self.stage {
            Stage::Searching => self.start(desk),
            // The hand-over is known before anybody told: the rest of the way is clear.
            Stage::Asking | Stage::Watching | Stage::CuttingOver => {
                let deed = desk.title.deed(self.epoch.next()).cloned();
                match deed {
                    Some(deed) if deed.deed.attempt == self.attempt => self.committed(desk, deed),
                    Some(_) => self.failed(desk, MigrationFailureReason::StaleAttempt),
                    None => Next::Stay,
                }
            }
            // The heir lost its disk, and an operator took the daemon back.
            Stage::Finishing(given) => {
                let next = desk.title.deed(given.deed.epoch.next());
                if next.is_some_and(|next| next.deed.forks_from(&given.deed)) {
                    return self.end(desk, MigrationFailureReason::Cancelled);
                }
                Next::Stay
            }
            Stage::Resting(_) => Next::Stay,
        }
    }

    fn send(&self, desk: &mut Desk<'_>, to: NodeId, message: MigrationMessage) {
        let message = desk.envelope(self.attempt, self.epoch, Role::Orchestrator, message);
        desk.push(Output::Send { to, message });
    }

    fn ask(&mut self, desk: &mut Desk<'_>) {
        let (daemon_origin, target_node) = (desk.origin, self.target);
        let (transport_identity, catch_up) = (self.options.transport_identity, self.catch_up);
        let message = match self.options.terms.clone() {
            None => MigrationMessage::TakeSnapshot {
                daemon_origin,
                target_node,
                transport_identity,
                catch_up,
            },
            Some(terms) => MigrationMessage::TakeSnapshotOnTerms {
                daemon_origin,
                target_node,
                transport_identity,
                catch_up,
                terms,
            },
        };
        self.send(desk, self.source, message);
        self.resend_at = desk.now + desk.settings().resend_after;
    }

    fn enter(&mut self, desk: &mut Desk<'_>, phase: MigrationPhase) {
        const ALL: [MigrationPhase; 6] = [
            MigrationPhase::Snapshot,
            MigrationPhase::Transfer,
            MigrationPhase::Restore,
            MigrationPhase::Replay,
            MigrationPhase::Cutover,
            MigrationPhase::Complete,
        ];
        for next in ALL {
            if self.phase < Some(next) && next <= phase {
                self.phase = Some(next);
                desk.event(Event::Phase { attempt: self.asked, phase: next });
            }
        }
    }

    /// Whether `from` may speak as `role` in this move.
    pub(crate) fn plays_role(&self, from: NodeId, role: Role) -> bool {
        match role {
            Role::Source => from == self.source,
            Role::Target => from == self.target,
            Role::Orchestrator => false,
        }
    }

    /// A party of the move says something.
    pub(crate) fn hear(
        &mut self,
        desk: &mut Desk<'_>,
        role: Role,
        message: &MigrationMessage,
    ) -> Next {
        self.heard = desk.now;
        match message {
            MigrationMessage::Progressed { progress, .. } => {
                self.progressed(desk, *progress);
                Next::Stay
            }
            MigrationMessage::RestoreComplete { .. } | MigrationMessage::ReplayComplete { .. } => {
                self.built(desk);
                Next::Stay
            }
            MigrationMessage::CleanupComplete { deed, .. } => self.heard_deed(desk, deed),
            MigrationMessage::ActivateAck { deed, .. } => {
                // It may overtake the deed, which comes from the source.
                self.acknowledged = Some(*deed);
                self.finish(desk)
            }
            MigrationMessage::MigrationFailed {
                reason: MigrationFailureReason::TooLate, ..
            } => {
                self.too_late(desk);
                Next::Stay
            }
            MigrationMessage::MigrationFailed { reason, .. } if role == Role::Source => {
                self.said_failed(desk, reason.clone())
            }
            // The target's word reaches the source too; only the source ends an attempt.
            MigrationMessage::MigrationFailed { .. }
            | MigrationMessage::TakeSnapshot { .. }
            | MigrationMessage::TakeSnapshotOnTerms { .. }
            | MigrationMessage::SnapshotReady { .. }
            | MigrationMessage::CutoverNotify { .. }
            | MigrationMessage::BufferedEvents { .. }
            | MigrationMessage::ActivateTarget { .. }
            | MigrationMessage::ChunksWanted { .. }
            | MigrationMessage::Cancel { .. } => Next::Stay,
        }
    }

    fn progressed(&mut self, desk: &mut Desk<'_>, progress: Progress) {
        if matches!(self.stage, Stage::Asking) {
            self.stage = Stage::Watching;
        }
        self.progress = Some(progress);
        // What follows the transfer is entered on the word of the party that does it.
        self.enter(desk, progress.phase.min(MigrationPhase::Cutover));
        desk.event(Event::Progressed { attempt: self.asked, progress });
    }

    /// The target has a copy: time to ask for the cut-over.
    fn built(&mut self, desk: &mut Desk<'_>) {
        if !matches!(self.stage, Stage::Asking | Stage::Watching) {
            return;
        }
        self.enter(desk, MigrationPhase::Replay);
        self.stage = Stage::CuttingOver;
        self.cut_over(desk);
    }

    fn cut_over(&mut self, desk: &mut Desk<'_>) {
        let (daemon_origin, target_node) = (desk.origin, self.target);
        self.send(
            desk,
            self.source,
            MigrationMessage::CutoverNotify { daemon_origin, target_node },
        );
        self.resend_at = desk.now + desk.settings().resend_after;
    }

    fn heard_deed(&mut self, desk: &mut Desk<'_>, deed: &SignedDeed) -> Next {
        if deed.deed.attempt != self.attempt {
            return Next::Stay;
        }
        self.committed(desk, deed.clone())
    }

    fn committed(&mut self, desk: &mut Desk<'_>, deed: SignedDeed) -> Next {
        if !matches!(self.stage, Stage::Finishing(_)) {
            self.enter(desk, MigrationPhase::Complete);
            self.stage = Stage::Finishing(Box::new(deed));
            self.resend_at = desk.now + desk.settings().resend_after;
        }
        self.too_late(desk);
        self.finish(desk)
    }

    /// The move is past its commit point: a caller who wanted to give it up is told, once.
    fn too_late(&mut self, desk: &mut Desk<'_>) {
        if self.cancelled && !std::mem::replace(&mut self.refused, true) {
            let reason = MigrationFailureReason::TooLate;
            desk.event(Event::CancelRefused { attempt: self.asked, reason });
        }
    }

    /// The move has ended once the deed is known and the target has acknowledged that very deed.
    fn finish(&self, desk: &mut Desk<'_>) -> Next {
        match &self.stage {
            Stage::Finishing(signed) if self.acknowledged == Some(signed.digest()) => {
                let result = Ok(signed.clone());
                desk.event(Event::MoveEnded { attempt: self.asked, result });
                Next::Ended
            }
            Stage::Finishing(_)
            | Stage::Searching
            | Stage::Asking
            | Stage::Watching
            | Stage::CuttingOver
            | Stage::Resting(_) => Next::Stay,
        }
    }

    /// The source says that the attempt is over. That may be an old refusal of an attempt which it
    /// took up when it was asked again; once it was asked for the cut-over it has to confirm.
    fn said_failed(&mut self, desk: &mut Desk<'_>, reason: MigrationFailureReason) -> Next {
        if matches!(self.stage, Stage::CuttingOver) {
            self.failure = Some(reason);
            desk.ask(self.source, Some(self.attempt));
            return Next::Stay;
        }
        self.failed(desk, reason)
    }

    /// The source ended the attempt.
    fn failed(&mut self, desk: &mut Desk<'_>, reason: MigrationFailureReason) -> Next {
        if matches!(self.stage, Stage::Finishing(_) | Stage::Resting(_)) {
            return Next::Stay;
        }
        let willing = !self.cancelled;
        let reason = if self.cancelled { MigrationFailureReason::Cancelled } else { reason };
        let booting = reason == MigrationFailureReason::NotReady;
        let diverged = reason == MigrationFailureReason::Diverged;
        if let Some(budget) = self.options.retry_not_ready.filter(|_| booting && willing) {
            return self.rest(desk, budget);
        }
        if diverged && willing && self.catch_up == CatchUp::Replay {
            self.catch_up = CatchUp::FreezeAndCopy;
            return self.again(desk);
        }
        let misled = matches!(
            reason,
            MigrationFailureReason::NotOwner | MigrationFailureReason::StaleAttempt
        );
        if misled && willing && self.wanted_source.is_none() && self.searches < SEARCHES_MAX {
            return self.look_again(desk);
        }
        self.end(desk, reason)
    }

    /// The title was behind: the daemon moved since. The node that refused knows more.
    fn look_again(&mut self, desk: &mut Desk<'_>) -> Next {
        self.searches += 1;
        self.attempt = self.attempt.derived();
        self.phase = self.phase.filter(|phase| *phase == MigrationPhase::Snapshot);
        self.progress = None;
        self.stage = Stage::Searching;
        desk.ask(self.source, None);
        desk.ask_all(None);
        self.resend_at = desk.now + desk.settings().resend_after;
        Next::Stay
    }

    /// The target is still starting: asks again later, under a new attempt.
    fn rest(&mut self, desk: &mut Desk<'_>, budget: Duration) -> Next {
        let since = *self.not_ready_since.get_or_insert(desk.now);
        self.tries = self.tries.saturating_add(1);
        if desk.now.since(since) >= budget {
            let attempts = self.tries;
            return self.end(desk, MigrationFailureReason::NotReadyTimeout { attempts });
        }
        let first = desk.settings().not_ready_after;
        self.rest = (self.rest * 2).clamp(first, first * 16);
        self.stage = Stage::Resting(desk.now + self.rest);
        Next::Stay
    }

    fn again(&mut self, desk: &mut Desk<'_>) -> Next {
        self.attempt = self.attempt.derived();
        self.phase = None;
        self.progress = None;
        self.start(desk)
    }

    fn end(&self, desk: &mut Desk<'_>, reason: MigrationFailureReason) -> Next {
        desk.event(Event::MoveEnded { attempt: self.asked, result: Err(MoveError { reason }) });
        Next::Ended
    }

    /// The caller wants it to end.
    pub(crate) fn cancel(&mut self, desk: &mut Desk<'_>) -> Next {
        self.cancelled = true;
        match self.stage {
            Stage::Searching | Stage::Resting(_) => {
                self.end(desk, MigrationFailureReason::Cancelled)
            }
            Stage::Asking | Stage::Watching | Stage::CuttingOver => {
                self.say_cancel(desk);
                Next::Stay
            }
            Stage::Finishing(_) => {
                self.too_late(desk);
                Next::Stay
            }
        }
    }

    fn say_cancel(&mut self, desk: &mut Desk<'_>) {
        let daemon_origin = desk.origin;
        self.send(desk, self.source, MigrationMessage::Cancel { daemon_origin });
        self.resend_at = desk.now + desk.settings().resend_after;
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, desk: &mut Desk<'_>) -> Next {
        if self.wake_at() > desk.now {
            return Next::Stay;
        }
        let silent = desk.now.since(self.heard) >= desk.settings().silence_max;
        match &self.stage {
            Stage::Searching => self.start(desk),
            Stage::Resting(_) => self.again(desk),
            // The source cuts over only when asked: before that, silence may end it.
            Stage::Asking | Stage::Watching if silent => {
                self.say_cancel(desk);
                self.end(desk, MigrationFailureReason::TimedOut)
            }
            Stage::Asking | Stage::Watching | Stage::CuttingOver if self.cancelled => {
                self.say_cancel(desk);
                Next::Stay
            }
            // Saying it again while it goes on tells the source that it is still wanted.
            Stage::Asking | Stage::Watching => {
                self.ask(desk);
                Next::Stay
            }
            Stage::CuttingOver => {
                self.cut_over(desk);
                desk.ask(self.source, Some(self.attempt));
                Next::Stay
            }
            Stage::Finishing(deed) => {
                let (daemon_origin, deed) = (desk.origin, (**deed).clone());
                let message = MigrationMessage::ActivateTarget { daemon_origin, deed };
                self.send(desk, self.target, message);
                self.resend_at = desk.now + desk.settings().resend_max;
                Next::Stay
            }
        }
    }

    /// A question about the attempt was answered: the source does not know it, and no deed came.
    pub(crate) fn unknown_at_source(&mut self, desk: &mut Desk<'_>, from: NodeId) -> Next {
        if from != self.source || !matches!(self.stage, Stage::CuttingOver) {
            return Next::Stay;
        }
        let reason = self.failure.take().unwrap_or(MigrationFailureReason::StaleAttempt);
        self.failed(desk, reason)
    }
}
