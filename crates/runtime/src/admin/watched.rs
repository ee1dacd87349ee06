//! Decides what is known of a move that somebody asked for, and when whoever watches is told.

use std::time::{Duration, SystemTime};

use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, MissedTickBehavior, interval};
use whimbrel_protocol::Event;
use whimbrel_wire::{EntityId, MigrationPhase, Progress};

use super::fault::AdminFault;
use super::server::Replies;
use super::tell::phase_word;
use super::words::{MoveProgress, Part};
use crate::core::RuntimeEvent;
use crate::migration::MigrationHandle;
use crate::superposition::SuperpositionPhase;

/// How often a watcher sees how a move goes.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// What was seen of one move.
pub(super) struct Watched {
    entity: EntityId,
    begun: Instant,
    pub(super) round_trip: Duration,
    phase: Option<MigrationPhase>,
    superposition: &'static str,
    pub(super) progress: Option<Progress>,
    replay_begun: Option<Instant>,
    /// The last expectation before the last step.
    pub(super) expected: Option<Duration>,
    cutover_at: Option<SystemTime>,
    live_at: Option<SystemTime>,
}

impl Watched {
    pub(super) fn new(entity: EntityId, begun: Instant) -> Self {
        Self {
            entity,
            begun,
            round_trip: Duration::ZERO,
            phase: None,
            superposition: SuperpositionPhase::Localized.word(),
            progress: None,
            replay_begun: None,
            expected: None,
            cutover_at: None,
            live_at: None,
        }
    }

    pub(super) async fn follow(
        &mut self,
        handle: &MigrationHandle,
        mut events: Receiver<RuntimeEvent>,
        watch: Option<&Replies>,
    ) -> Result<(), AdminFault> {
        let ended = handle.wait();
        tokio::pin!(ended);
        let mut ticks = interval(WATCH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                event = events.recv() => {
                    if let Ok(event) = event
                        && self.see(&event)
                        && let Some(replies) = watch
                    {
                        self.look(handle);
                        replies.part(Part::Progress(self.telling())).await;
                    }
                }
                result = &mut ended => {
                    while let Ok(event) = events.try_recv() {
                        self.see(&event);
                    }
                    self.look(handle);
                    if let Some(replies) = watch {
                        replies.part(Part::Progress(self.telling())).await;
                    }
                    return Ok(result?);
                }
                _ = ticks.tick() => {
                    self.look(handle);
                    if let Some(replies) = watch {
                        replies.part(Part::Progress(self.telling())).await;
                    }
                }
            }
        }
    }

    fn look(&mut self, handle: &MigrationHandle) {
        self.superposition = handle.superposition().phase.word();
        if let Some(phase) = handle.phase() {
            self.enter(phase);
        }
        self.progress = handle.progress().or(self.progress);
        self.expect();
    }

    fn expect(&mut self) {
        if self.cutover_at.is_none() {
            self.expected = self.pause_expected().or(self.expected);
        }
    }

    /// True if a phase began.
    fn see(&mut self, event: &RuntimeEvent) -> bool {
        if event.entity != self.entity {
            return false;
        }
        let before = self.phase;
        match &event.event {
            Event::Phase { phase, .. } => {
                self.enter(*phase);
                if *phase == MigrationPhase::Cutover {
                    self.cutover_at = Some(event.at);
                }
            }
            Event::Progressed { progress, .. } => {
                self.progress = Some(*progress);
                self.expect();
            }
            Event::MoveEnded { .. } => self.live_at = Some(event.at),
            Event::Frozen { .. }
            | Event::Thawed { .. }
            | Event::HandedOver { .. }
            | Event::Live { .. }
            | Event::Dropped { .. }
            | Event::Warning(_) => {}
            Event::CancelRefused { .. } | _ => {}
        }
        before != self.phase
    }

    fn enter(&mut self, phase: MigrationPhase) {
        self.phase = Some(phase);
        if phase == MigrationPhase::Replay && self.replay_begun.is_none() {
            self.replay_begun = Some(Instant::now());
        }
    }

    pub(super) fn cutover(&self) -> Option<Duration> {
        self.live_at?.duration_since(self.cutover_at?).ok()
    }

    fn telling(&self) -> MoveProgress {
        let progress = self.progress;
        let number = |of: fn(&Progress) -> u64| progress.as_ref().map_or(0, of);
        MoveProgress {
            phase: self.phase.map(|phase| phase_word(phase).to_owned()),
            bytes_sent: number(|progress| progress.bytes_sent),
            bytes_total: number(|progress| progress.bytes_total),
            events_replayed: number(|progress| progress.events_replayed),
            lag: number(|progress| progress.lag),
            superposition: self.superposition.to_owned(),
            elapsed_us: micros(self.begun.elapsed()),
            pause_expected_us: self.expected.map(micros),
        }
    }

    /// A round trip, and the replay of the lag at the speed seen so far. None before there is any.
    fn pause_expected(&self) -> Option<Duration> {
        let progress = self.progress?;
        let replaying = self.replay_begun?.elapsed();
        if progress.lag == 0 {
            return Some(self.round_trip);
        }
        let replayed = u32::try_from(progress.events_replayed).ok().filter(|&count| count > 0)?;
        let lag = u32::try_from(progress.lag).unwrap_or(u32::MAX);
        Some(self.round_trip + (replaying / replayed).saturating_mul(lag))
    }
}

/// Microseconds.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
