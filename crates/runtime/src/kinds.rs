//! Decides how daemons are built: by the kind that a snapshot names, or by a factory that was given
//! for one daemon.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use whimbrel_daemon::Body;
use whimbrel_wire::{EntityId, Identity, Kind, OriginHash};

use crate::config::DaemonHostConfig;
use crate::core::lock;

/// Builds the fresh body of a daemon.
pub(crate) type Factory = Arc<dyn Fn() -> Box<dyn Body> + Send + Sync>;

/// What this node knows about building daemons.
#[derive(Default)]
pub(crate) struct Kinds {
    by_kind: Mutex<BTreeMap<Kind, Factory>>,
    by_entity: Mutex<HashMap<EntityId, (Kind, Factory)>>,
    expected: Mutex<HashMap<OriginHash, Expected>>,
}

/// A daemon that was announced.
#[derive(Clone)]
pub(crate) struct Expected {
    pub(crate) kind: Kind,
    pub(crate) config: DaemonHostConfig,
    /// Its key, when it will not travel.
    pub(crate) identity: Option<Identity>,
}

impl Kinds {
    /// False if the kind is taken.
    pub(crate) fn register(&self, kind: Kind, factory: Factory) -> bool {
        let mut kinds = lock(&self.by_kind);
        let free = !kinds.contains_key(&kind);
        if free {
            kinds.insert(kind, factory);
        }
        free
    }

    /// A factory for one daemon alone: its code may live outside this language.
    /// Gives the one that it had before.
    pub(crate) fn adopt(
        &self,
        entity: EntityId,
        adopted: (Kind, Factory),
    ) -> Option<(Kind, Factory)> {
        lock(&self.by_entity).insert(entity, adopted)
    }

    /// Takes an adoption back: the daemon has the factory again that it had before, if any.
    pub(crate) fn disown(&self, entity: EntityId, before: Option<(Kind, Factory)>) {
        match before {
            Some(before) => lock(&self.by_entity).insert(entity, before),
            None => lock(&self.by_entity).remove(&entity),
        };
    }

    pub(crate) fn expect(&self, origin: OriginHash, expected: Expected) {
        lock(&self.expected).insert(origin, expected);
    }

    pub(crate) fn expected(&self, origin: OriginHash) -> Option<Expected> {
        lock(&self.expected).get(&origin).cloned()
    }

    /// A fresh body for a daemon of `kind`.
    pub(crate) fn build(&self, entity: &EntityId, kind: &Kind) -> Option<Box<dyn Body>> {
        let own = lock(&self.by_entity).get(entity).filter(|(own, _)| own == kind).cloned();
        let factory = own.map(|(_, factory)| factory);
        let factory = factory.or_else(|| lock(&self.by_kind).get(kind).cloned())?;
        Some(factory())
    }

    pub(crate) fn has(&self, kind: &Kind) -> bool {
        lock(&self.by_kind).contains_key(kind)
    }

    /// The names of all kinds.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        lock(&self.by_kind).keys().map(|kind| kind.as_str().to_owned()).collect()
    }

    pub(crate) fn clear(&self) {
        lock(&self.by_kind).clear();
        lock(&self.by_entity).clear();
        lock(&self.expected).clear();
    }
}
