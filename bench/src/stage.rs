//! Decides which processes take part in a run of moves and how they know each other: two nodes
//! between which the daemon moves, a client that sends events, and this process, which orchestrates.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use anyhow::{Context, Result};
use whimbrel_protocol::Event;
use whimbrel_runtime::link::Member;
use whimbrel_runtime::{Client, DaemonHostConfig, DaemonRuntime};
use whimbrel_trial::relay::{Relay, Tally, Way, Weather};
use whimbrel_wire::EntityId;

use crate::client;
use crate::hops::{self, Note};
use crate::ledger::Ledger;
use crate::load::Ack;
use crate::moves::MovesTask;
use crate::parties::{Figures, Party, SharedStory, Told};
use crate::{machine, node};

/// Seeds of the two nodes between which the daemon moves.
pub(crate) const NODES: [u8; 2] = [1, 2];

/// Seed of this process as a node.
const OWN: u8 = 3;

/// Seed of the client process.
const CLIENT: u8 = 4;

/// Seed of the daemon.
const DAEMON: u8 = 9;

/// What a party of the story is called.
pub(crate) fn name(party: usize) -> String {
    NODES.get(party).map_or_else(|| "us".to_owned(), |seed| format!("n{seed}"))
}

/// Where the process of `seed` writes the moments of moves.
fn hops_file(folder: &Path, seed: u8) -> PathBuf {
    folder.join(format!("hops-{seed}"))
}

/// All processes of a run.
pub(crate) struct Stage {
    pub(crate) runtime: DaemonRuntime,
    pub(crate) nodes: Vec<Party>,
    client: Party,
    pub(crate) relays: Vec<Relay>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) story: SharedStory,
    pub(crate) entity: EntityId,
    folder: PathBuf,
}

impl Stage {
    /// Starts everything; the daemon lives on the first node.
    pub(crate) async fn set(task: &MovesTask, folder: &Path) -> Result<Self> {
        let story = SharedStory::default();
        let mut nodes = Vec::new();
        for (index, seed) in NODES.into_iter().enumerate() {
            let data = folder.join(format!("node-{seed}"));
            let hops = task.hops.then(|| hops_file(folder, seed));
            nodes.push(Party::node(index, seed, &data, hops.as_deref(), &story)?);
        }
        let hops = task.hops.then(|| hops_file(folder, CLIENT));
        let client = Party::client(NODES.len() + 1, CLIENT, hops.as_deref(), &story)?;
        let runtime = node::open(OWN, None, None).await?;
        follow(&runtime, &story);
        let mut stage = Self {
            runtime,
            nodes,
            client,
            relays: Vec::new(),
            tally: Arc::default(),
            story,
            entity: node::identity(DAEMON).entity_id(),
            folder: folder.to_owned(),
        };
        stage.introduce(task)?;
        stage.runtime.start().await?;
        let default = DaemonHostConfig::default().auto_snapshot_interval;
        let turns = task.snapshot_every.unwrap_or(default);
        let hosted = format!("{} {turns}", if task.volatile { "volatile" } else { "durable" });
        for node in &mut stage.nodes {
            node.tell("start")?;
            // A node that was told nothing hosts what comes with default settings.
            if task.volatile || task.snapshot_every.is_some() {
                node.tell(&format!("expect {DAEMON} {hosted}"))?;
            }
        }
        stage.client.tell("start")?;
        stage.nodes[0].tell(&format!("spawn {DAEMON} {hosted}"))?;
        Ok(stage)
    }

    /// Tells all of each other, through relays where datagrams are to be lost.
    fn introduce(&mut self, task: &MovesTask) -> Result<()> {
        let own = (OWN, self.runtime.mesh().local_address());
        let parties = self.nodes.iter().chain([&self.client]);
        let all: Vec<(u8, SocketAddr)> =
            parties.map(|party| (party.seed, party.address)).chain([own]).collect();
        let loss = task.loss / 100.0;
        for &(here, _) in &all {
            for (index, &(there, address)) in all.iter().enumerate() {
                if here == there {
                    continue;
                }
                let nodes = NODES.contains(&here) && NODES.contains(&there);
                let lossy = loss > 0.0 && (nodes || task.loss_everywhere);
                let address = if lossy {
                    let seed = task.seed + u64::from(here) * all.len() as u64 + index as u64;
                    let relay = Relay::start(Way::local(address, seed), &self.tally)?;
                    let weather = Weather { loss, ..Weather::default() };
                    relay.set(weather, weather);
                    self.relays.push(relay);
                    self.relays.last().context("no relay")?.address()
                } else {
                    address
                };
                self.tell_member(here, there, address)?;
            }
        }
        Ok(())
    }

    fn tell_member(&mut self, here: u8, there: u8, address: SocketAddr) -> Result<()> {
        let mut parties = self.nodes.iter_mut().chain([&mut self.client]);
        match parties.find(|party| party.seed == here) {
            Some(party) => party.tell(&format!("member {there} {address}")),
            None => {
                let key = node::key(there).public();
                self.runtime.mesh().members().insert(Member { key, addresses: vec![address] });
                Ok(())
            }
        }
    }

    /// A sender in this process: fills the state and is not measured.
    pub(crate) fn filler(&self) -> Client {
        self.runtime.client()
    }

    /// Lets the client send.
    pub(crate) fn send(&mut self, rate: u64) -> Result<()> {
        self.client.tell(&format!("send {DAEMON} {rate}"))
    }

    /// Lets the client end, with its account and its acknowledgements.
    pub(crate) fn account(&mut self) -> Result<(Ledger, Vec<Ack>)> {
        let file = self.folder.join("acknowledgements");
        let said = self.client.ask(&format!("account {}", file.display()))?;
        Ok((serde_json::from_str(&said)?, client::read(&file)?))
    }

    /// Stops everything in order.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        self.client.stop()?;
        for node in &mut self.nodes {
            node.stop()?;
        }
        Ok(self.runtime.shutdown().await?)
    }

    /// What the nodes and the client noted, once they are stopped.
    pub(crate) fn hops(&self) -> Result<[Vec<Note>; 3]> {
        let read = |seed| hops::read(&hops_file(&self.folder, seed));
        Ok([read(NODES[0])?, read(NODES[1])?, read(CLIENT)?])
    }

    /// Of both nodes: memory, and what was sent to the other one.
    pub(crate) fn figures(&mut self) -> Result<[Figures; 2]> {
        Ok([self.nodes[0].figures(NODES[1])?, self.nodes[1].figures(NODES[0])?])
    }

    /// Lets the peaks of memory begin anew.
    pub(crate) fn reset_peaks(&mut self) -> Result<()> {
        self.nodes.iter_mut().try_for_each(|node| node.tell("reset"))
    }

    /// Prints what the nodes told from `from` to `to`.
    pub(crate) fn dump(&self, from: u64, to: u64, most: usize) {
        let story = self.story.lock().unwrap_or_else(PoisonError::into_inner);
        let within = |at| (from..=to).contains(&at);
        let mut told: Vec<_> = story.told.iter().filter(|told| within(told.at)).collect();
        told.sort_by_key(|told| told.at);
        for told in &told[told.len().saturating_sub(most)..] {
            println!("    {} {}: {}", told.at, name(told.party), told.words);
        }
    }
}

/// Takes down the phases that this process tells of as the orchestrator.
fn follow(runtime: &DaemonRuntime, story: &SharedStory) {
    let (mut events, story) = (runtime.events(), Arc::clone(story));
    tokio::spawn(async move {
        while let Ok(told) = events.recv().await {
            if let Event::Phase { phase, .. } = told.event {
                let words = format!("phase {phase:?}");
                let told = Told { at: machine::wall_of(told.at), party: NODES.len(), words };
                story.lock().unwrap_or_else(PoisonError::into_inner).told.push(told);
            }
        }
    });
}
