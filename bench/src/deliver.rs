//! Decides what a delivery to a local daemon that keeps nothing is measured by: the whole of it as
//! a caller sees it, the host alone, and the link of the chain alone.

use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use clap::Args;
use whimbrel_daemon::{Body, Context, Host, MeshDaemon, ProcessError, RestoreError};
use whimbrel_runtime::{DaemonHostConfig, DaemonRuntime, Durability, Mesh, MeshConfig};
use whimbrel_wire::{
    CausalEvent, Digest, Epoch, Head, Identity, InputOrigin, Kind, OriginHash, Sender, Time,
};

use crate::machine;

/// Parts of a measurement; one more warms up.
const PARTS: u64 = 5;

/// Arguments of `deliver`.
#[derive(Args, Clone)]
pub(crate) struct DeliverTask {
    /// Events in each of five parts.
    #[arg(long, default_value_t = 200_000)]
    pub(crate) events: u64,
    /// Measure nothing but deliveries to a daemon that is "answering" or "silent": for a profiler.
    #[arg(long)]
    only: Option<String>,
    /// Print one line a figure, and nothing but deliveries: for programs.
    #[arg(long)]
    plain: bool,
}

impl DeliverTask {
    /// Everything, with so many events a part.
    pub(crate) const fn of(events: u64) -> Self {
        Self { events, only: None, plain: false }
    }
}

/// Counts in eight bytes.
struct Tiny {
    count: u64,
    answers: bool,
}

impl MeshDaemon for Tiny {
    fn name(&self) -> &str {
        if self.answers { "answering" } else { "silent" }
    }

    fn process(
        &mut self,
        _context: &mut Context<'_>,
        _event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError> {
        self.count += 1;
        if !self.answers {
            return Ok(Vec::new());
        }
        Ok(vec![Bytes::copy_from_slice(&self.count.to_le_bytes())])
    }

    fn snapshot(&self) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(&self.count.to_le_bytes()))
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let state = state.try_into().map_err(|_| RestoreError::declined("not eight bytes"))?;
        self.count = u64::from_le_bytes(state);
        Ok(())
    }
}

/// Nanoseconds an event, part by part, of several measurements.
pub(crate) struct Measured(pub(crate) Vec<(String, Vec<f64>)>);

impl Measured {
    fn print(&self) {
        println!("nanoseconds an event                 median       min       max");
        for (name, nanos) in &self.0 {
            let [half, least, most] = middle(nanos);
            println!("  {name:<32}{half:>9.1} {least:>9.1} {most:>9.1}");
        }
    }
}

/// Median, least, most.
pub(crate) fn middle(values: &[f64]) -> [f64; 3] {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    [at(values.len() / 2), at(0), at(values.len().saturating_sub(1))]
}

/// Runs the task.
pub(crate) fn run(task: &DeliverTask) -> Result<bool> {
    if task.plain {
        for answers in [true, false] {
            let name = if answers { "answering" } else { "silent" };
            for nanos in deliver(task.events, answers)? {
                println!("figure deliver-{name} {nanos:.1}");
            }
        }
        return Ok(true);
    }
    let folder = tempfile::tempdir()?;
    println!("== deliver: local, volatile, 8 bytes of state, {} events a part ==", task.events);
    machine::describe(folder.path(), "before")?;
    measure(task)?.print();
    machine::describe(folder.path(), "after")?;
    Ok(true)
}

/// Measures everything.
pub(crate) fn measure(task: &DeliverTask) -> Result<Measured> {
    let mut measured = Vec::new();
    for answers in [true, false] {
        let name = if answers { "answering" } else { "silent" };
        if task.only.as_deref().is_none_or(|only| only == name) {
            measured.push((format!("deliver-{name}"), deliver(task.events, answers)?));
        }
    }
    if task.only.is_some() {
        return Ok(Measured(measured));
    }
    for answers in [true, false] {
        let name = if answers { "answering" } else { "silent" };
        measured.push((format!("host-turn-{name}"), host_turns(task.events, answers)?));
    }
    measured.push(("chain-link".to_owned(), links(task.events)));
    let clock = parts(task.events, |_| {
        std::hint::black_box(Instant::now());
    });
    measured.push(("reading-the-clock".to_owned(), clock));
    Ok(Measured(measured))
}

/// Does `one` for each event of each part; gives nanoseconds an event without the first part.
fn parts(events: u64, mut one: impl FnMut(u64)) -> Vec<f64> {
    let mut nanos = Vec::new();
    for part in 0..=PARTS {
        let begun = Instant::now();
        for event in 0..events {
            one(part * events + event + 1);
        }
        nanos.push(begun.elapsed().as_nanos() as f64 / events.max(1) as f64);
    }
    nanos.split_off(1)
}

/// Deliveries from a thread that is no worker, one after the other.
fn deliver(events: u64, answers: bool) -> Result<Vec<f64>> {
    let tokio =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let runtime: DaemonRuntime = tokio.block_on(async {
        let config = MeshConfig::new(crate::node::key(7), ([127, 0, 0, 1], 0).into());
        let runtime = DaemonRuntime::new(Mesh::open(config).await?);
        runtime.register_factory("tiny", move || Box::new(Tiny { count: 0, answers }))?;
        runtime.start().await?;
        Ok::<_, anyhow::Error>(runtime)
    })?;
    let config =
        DaemonHostConfig { durability: Durability::Volatile, ..DaemonHostConfig::default() };
    let spawned = runtime.spawn("tiny", Identity::from_seed(&[8; 32]), config);
    let origin = tokio.block_on(spawned)?.origin_hash();
    let payload = Bytes::from_static(b"12345678");
    let mut failure = None;
    let nanos = parts(events, |number| {
        let event = CausalEvent::unchained(origin, number, payload.clone());
        match runtime.deliver(origin, &event) {
            Ok(outputs) => drop(std::hint::black_box(outputs)),
            Err(error) => failure = Some(error),
        }
    });
    tokio.block_on(runtime.shutdown())?;
    failure.map_or(Ok(nanos), |error| Err(error.into()))
}

/// Turns of a host that nothing surrounds.
fn host_turns(events: u64, answers: bool) -> Result<Vec<f64>> {
    let entity = Identity::from_seed(&[8; 32]).entity_id();
    let tiny: Box<dyn MeshDaemon> = Box::new(Tiny { count: 0, answers });
    let body: Box<dyn Body> = tiny.into();
    let mut host = Host::born(entity, Kind::new("tiny")?, body, [0; 32], &Digest::ZERO);
    let payload = Bytes::from_static(b"12345678");
    let mut failure = None;
    let nanos = parts(events, |number| {
        let event = CausalEvent::unchained(entity.origin_hash(), number, payload.clone());
        let origin = InputOrigin::Event { sender: Sender::Host, number: 0, answered: 0 };
        match host.turn(Epoch::FIRST, Time::from_nanos(number), &origin, &event) {
            Ok(turned) => drop(std::hint::black_box(turned)),
            Err(error) => failure = Some(error),
        }
    });
    failure.map_or(Ok(nanos), |error| Err(error.into()))
}

/// Links of a chain.
fn links(events: u64) -> Vec<f64> {
    let entity = Identity::from_seed(&[8; 32]).entity_id();
    let origin: OriginHash = entity.origin_hash();
    let mut head = Head::newborn(&entity, &Digest::ZERO);
    let payload = Bytes::from_static(b"12345678");
    parts(events, |_| {
        let (next, event) = head.put_out(origin, Epoch::FIRST, payload.clone());
        head = next;
        drop(std::hint::black_box(event));
    })
}
