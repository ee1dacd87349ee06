//! Decides how a node answers what its statecharts want of it: children that are daemons of their own, and
//! to live elsewhere.
//!
//! A child is born where its parent lives and then moved to where it is to live, by a move like any other; it
//! serves meanwhile. Which newborn is the child its parent decides, so a node that dies may bear one twice:
//! the one that is heard of later ends by itself. What could not be done is tried again, by whichever
//! node the daemon lives on then.
//!
//! # Limits
//!
//! * [`REST`] between two looks at what is wanted; [`PAUSE_MAX`], the longest wait after something that
//!   could not be done.
//! * [`REMEMBERED_MAX`] births are remembered; beyond, all are forgotten, and a child that its parent has
//!   not heard of by then is born twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinHandle;
use whimbrel_protocol::Standing;
use whimbrel_runtime::{DaemonError, DaemonHostConfig, DaemonRuntime, MigrationOpts};
use whimbrel_statechart::Unborn;
use whimbrel_statechart::daemon::{Calls, PLACED, Palette, Statechart};
use whimbrel_wire::{EntityId, Identity, NodeId};

/// The time between two looks.
const REST: Duration = Duration::from_millis(50);

/// The longest wait after something that could not be done.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The first wait; it is doubled each time.
const PAUSE: Duration = Duration::from_millis(250);

/// How many births are remembered.
const REMEMBERED_MAX: usize = 65_536;

/// Any node, whichever suits best.
const ANYWHERE: &str = "*";

/// Answers what statecharts want of a node.
pub struct Nursery {
    runtime: DaemonRuntime,
    palette: Arc<Palette>,
    nodes: BTreeMap<String, NodeId>,
    /// Births that were done here, by parent and token.
    born: BTreeSet<(EntityId, Arc<str>)>,
    moving: BTreeMap<EntityId, JoinHandle<Result<(), String>>>,
    pauses: BTreeMap<EntityId, Pause>,
}

/// When something is tried again.
struct Pause {
    until: Instant,
    next: Duration,
}

impl Nursery {
    /// For the statecharts that `runtime` builds with `palette`, on nodes of these names.
    #[must_use]
    pub fn new(
        runtime: DaemonRuntime,
        palette: Arc<Palette>,
        nodes: BTreeMap<String, NodeId>,
    ) -> Self {
        let (born, moving, pauses) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        Self { runtime, palette, nodes, born, moving, pauses }
    }

    /// Answers until the runtime, which was started, shuts down.
    pub async fn run(mut self) {
        while self.runtime.is_ready() {
            self.round().await;
            tokio::time::sleep(REST).await;
        }
    }

    /// Looks once at what is wanted, and does what can be done.
    pub async fn round(&mut self) {
        self.arrived().await;
        for (entity, calls) in self.palette.calls() {
            if self.is_paused(&entity) || self.moving.contains_key(&entity) {
                continue;
            }
            let standing = self.runtime.status(entity).map(|status| status.standing);
            match standing {
                Some(Standing::Live) => {
                    if let Err(why) = self.answer(entity, &calls).await {
                        self.pause(entity, &why);
                    }
                }
                // It lives elsewhere and calls there.
                None | Some(Standing::Stranger | Standing::Departed | Standing::Deleted) => {
                    self.palette.forget_calls(&entity);
                    self.pauses.remove(&entity);
                }
                // A copy that waits, or a daemon that is about to live.
                Some(_) => {}
            }
        }
    }

    async fn answer(&mut self, entity: EntityId, calls: &Calls) -> Result<(), String> {
        for unborn in &calls.unborn {
            let key = (entity, Arc::clone(&unborn.above.token));
            if !self.born.contains(&key) {
                self.bear(unborn).await?;
                if self.born.len() >= REMEMBERED_MAX {
                    self.born.clear();
                }
                self.born.insert(key);
            }
        }
        match &calls.on {
            None => Ok(()),
            Some(on) => self.place(entity, on),
        }
    }

    async fn bear(&self, unborn: &Unborn) -> Result<(), String> {
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(|error| error.to_string())?;
        let given = unborn.given()?;
        let config = DaemonHostConfig::default();
        let identity = Identity::from_seed(&seed);
        let born = self.runtime.spawn_given(Statechart::NAME, identity, config, Some(given)).await;
        let child = born.map_err(|error| error.to_string())?;
        tracing::info!(parent = %unborn.above.parent, child = %child.entity_id(), "a child is born");
        Ok(())
    }

    /// Begins to bring a daemon to where it is to live.
    fn place(&mut self, entity: EntityId, on: &str) -> Result<(), String> {
        let target = match on {
            ANYWHERE => None,
            name => Some(*self.nodes.get(name).ok_or_else(|| format!("no node is {name}"))?),
        };
        let runtime = self.runtime.clone();
        let moving = tokio::spawn(async move {
            let here = runtime.mesh().node_id();
            let told = |error: DaemonError| error.to_string();
            let options = MigrationOpts::default();
            let moving = match target {
                Some(target) if target == here => None,
                Some(target) => Some(runtime.migrate(entity, target, options).await.map_err(told)?),
                None => match runtime.migrate_to_best(entity, options).await {
                    Ok(moving) => Some(moving),
                    // There is no better place than this one.
                    Err(DaemonError::NoPlace(_)) => None,
                    Err(error) => return Err(error.to_string()),
                },
            };
            if let Some(moving) = moving {
                moving.wait().await.map_err(|error| error.to_string())?;
            }
            let placed = runtime.send(entity, Bytes::from_static(PLACED.as_bytes())).await;
            placed.map(drop).map_err(told)
        });
        self.moving.insert(entity, moving);
        Ok(())
    }

    /// Takes note of moves that have ended.
    async fn arrived(&mut self) {
        let over = self.moving.iter().filter(|(_, moving)| moving.is_finished());
        for entity in over.map(|(entity, _)| *entity).collect::<Vec<_>>() {
            let Some(moving) = self.moving.remove(&entity) else { continue };
            match moving.await {
                Ok(Ok(())) => drop(self.pauses.remove(&entity)),
                Ok(Err(why)) => self.pause(entity, &why),
                Err(error) => self.pause(entity, &error.to_string()),
            }
        }
    }

    fn is_paused(&self, entity: &EntityId) -> bool {
        self.pauses.get(entity).is_some_and(|pause| Instant::now() < pause.until)
    }

    fn pause(&mut self, entity: EntityId, why: &str) {
        let wait = self.pauses.get(&entity).map_or(PAUSE, |pause| pause.next);
        tracing::warn!(daemon = %entity, why, "what a statechart wants of this node waits");
        let next = (wait * 2).min(PAUSE_MAX);
        self.pauses.insert(entity, Pause { until: Instant::now() + wait, next });
    }
}
