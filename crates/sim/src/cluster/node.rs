//! Decides what one simulated node is: seats, hosts, a disk, keys, and a clock of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use whimbrel_protocol::{SaveTicket, Seat, Settings, Station, Ticket};
use whimbrel_statechart::daemon::Palette;
use whimbrel_store::Hold;
use whimbrel_wire::{AttemptId, EntityId, Epoch, NodeId, NodeKey, StoreId, Time};

use crate::chart::Version;
use crate::dice::Dice;
use crate::disk::Disk;
use crate::entities::Entities;
use crate::hosts::Hosts;
use crate::medium::Medium;
use crate::scribe::Style;

/// How far apart the clocks of two nodes are at most, in nanoseconds.
pub(crate) const OFFSET_MAX: u64 = 3_600_000_000_000;

/// One node.
pub(crate) struct Node {
    pub(crate) station: Arc<Station>,
    pub(crate) key: NodeKey,
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) seats: Entities<Berth>,
    pub(crate) hosts: Hosts,
    /// How often a copy was dropped: a restore that began before does not bring it back.
    pub(crate) drops: BTreeMap<(EntityId, AttemptId), u64>,
    pub(crate) disk: Disk,
    /// The keys of daemons, with the copy that brought each. They survive a crash.
    pub(crate) keys: BTreeMap<EntityId, AttemptId>,
    /// Whether its folder was put back, with the keys that it had.
    pub(crate) has_old_keys: bool,
    /// The newest epoch that the disk knows.
    pub(crate) on_disk: Entities<Epoch>,
    pub(crate) up: bool,
    /// Which of its lives this is: reports to an earlier one are lost.
    pub(crate) life: u64,
    pub(crate) started: u64,
    pub(crate) offset: u64,
    pub(crate) drift_ppm: i64,
    pub(crate) paused_until: u64,
    /// Until when it takes no daemons, because it is starting.
    pub(crate) ready_at: u64,
    /// The kind for which it has no factory.
    pub(crate) lacks: Option<Style>,
    /// The statecharts that it was given, and which version of ours that is.
    pub(crate) charts: Arc<Palette>,
    pub(crate) chart: Option<Version>,
    /// How many times as long as others it takes for everything.
    pub(crate) slow: u64,
    /// What must end before it can close; none unless it is shutting down.
    pub(crate) stopping: Option<Stopping>,
    /// Chunks that are in use without a manifest on record.
    pub(crate) holds: BTreeMap<Use, Hold>,
}

/// A seat, and what the simulation remembers of it.
pub(crate) struct Berth {
    seat: Seat,
    /// When it is to be woken, by the time of the simulation.
    pub(crate) wake: Option<u64>,
    /// What the checkers were last shown of whether the daemon runs here.
    pub(crate) shown_live: Option<(AttemptId, Epoch)>,
}

impl Berth {
    pub(crate) const fn new(seat: Seat) -> Self {
        Self { seat, wake: None, shown_live: None }
    }
}

impl Deref for Berth {
    type Target = Seat;

    fn deref(&self) -> &Seat {
        &self.seat
    }
}

impl DerefMut for Berth {
    fn deref_mut(&mut self) -> &mut Seat {
        &mut self.seat
    }
}

/// A node that is shutting down.
#[derive(Clone, Debug)]
pub(crate) struct Stopping {
    pub(crate) tickets: BTreeSet<Ticket>,
    /// How long it stays away.
    pub(crate) rest: u64,
}

/// For what chunks are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Use {
    /// A snapshot that is being fetched.
    Fetched(EntityId, AttemptId),
    /// A snapshot that was taken.
    Captured(EntityId),
    /// A manifest that is being saved.
    Saved(EntityId, SaveTicket),
}

impl Node {
    pub(crate) fn new(index: usize, dice: &mut Dice, settings: Settings, medium: Medium) -> Self {
        let key = NodeKey::from_seed(&dice.seed());
        let store = StoreId::new(dice.wide());
        let station = Arc::new(Station::new(key.clone(), store, settings));
        let id = station.node();
        let letter = char::from(b'A' + u8::try_from(index % 26).unwrap_or(0));
        Self {
            station,
            key,
            id,
            name: letter.to_string(),
            seats: Entities::default(),
            hosts: Hosts::default(),
            drops: BTreeMap::new(),
            disk: Disk::new(store, medium),
            keys: BTreeMap::new(),
            charts: Arc::default(),
            chart: None,
            has_old_keys: false,
            on_disk: Entities::default(),
            up: true,
            life: 0,
            started: 0,
            offset: dice.below(OFFSET_MAX),
            drift_ppm: i64::try_from(dice.below(400)).unwrap_or(0) - 200,
            paused_until: 0,
            ready_at: 0,
            lacks: None,
            slow: 1,
            stopping: None,
            holds: BTreeMap::new(),
        }
    }

    /// Its own time.
    pub(crate) fn local(&self, now: u64) -> Time {
        let elapsed = now.saturating_sub(self.started);
        let ahead = match i64::try_from(elapsed).ok().and_then(|e| e.checked_mul(self.drift_ppm)) {
            Some(parts) => i128::from(parts / 1_000_000),
            None => i128::from(elapsed) * i128::from(self.drift_ppm) / 1_000_000,
        };
        let own = i128::from(elapsed) + ahead;
        Time::from_nanos(self.offset + u64::try_from(own).unwrap_or(0))
    }

    /// When its own time will be `at`.
    pub(crate) fn global(&self, at: Time) -> u64 {
        let own = at.as_nanos().saturating_sub(self.offset);
        let rate = 1_000_000_u64.saturating_add_signed(self.drift_ppm);
        let elapsed = match own.checked_mul(1_000_000) {
            Some(parts) => parts / rate + 2,
            None => {
                let elapsed = u128::from(own) * 1_000_000 / u128::from(rate) + 2;
                u64::try_from(elapsed).unwrap_or(u64::MAX / 4)
            }
        };
        self.started + elapsed
    }

    /// Loses its memory.
    pub(crate) fn forget(&mut self) {
        self.up = false;
        self.life += 1;
        self.seats.clear();
        self.hosts.clear();
        self.drops.clear();
        self.stopping = None;
        self.holds.clear();
    }

    /// Comes back with an empty disk and the same key.
    pub(crate) fn wipe(&mut self, store: StoreId) {
        let settings = self.station.settings.clone();
        self.station = Arc::new(Station::new(self.key.clone(), store, settings));
        let (faults, medium) = (self.disk.faults, self.disk.files.medium());
        self.disk = Disk::new(store, medium);
        self.disk.faults = faults;
        self.keys.clear();
        self.on_disk.clear();
    }
}
