//! Decides what the trace of a node's seats is, and whether one follows from the machines.
//!
//! A trace has a [`TraceHeader`] and then records, in the order in which the steps of each seat
//! were taken. It holds all that a seat was told, so that the same machines, told the same, must say
//! the same. The node's secret key is not in it: a [`Witness`] signs only what was seen signed.
//! Which file it is in, and how a file ends, is left to the driver.
//!
//! # Invariants
//!
//! * T1 (first difference): a step whose outputs are not those of the machines is named, and nothing
//!   after it is judged.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use whimbrel_wire::{EntityId, PublicKey, SignedDeed, StoreId, Time, Write, decode, encode};

use crate::port::{Input, Output};
use crate::seat::{Seat, Station};
use crate::settings::Settings;

/// The version of headers and records.
pub const TRACE_VERSION: u32 = 1;

/// What is true of all seats of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceHeader {
    /// [`TRACE_VERSION`].
    pub version: u32,
    /// The version of the program that wrote it, for people.
    pub program: String,
    /// Whose.
    pub node: PublicKey,
    /// Its data folder.
    pub store: StoreId,
    /// Its waits and bounds.
    pub settings: Settings,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TraceRecord {
    /// A seat that knows nothing yet; an earlier one of the daemon is forgotten.
    Seat {
        /// Of which daemon.
        entity: EntityId,
        /// Its [`Settings::snapshot_every`], which a daemon can have of its own.
        snapshot_every: u64,
    },
    /// [`Seat::open`].
    Opened {
        /// Of which daemon.
        entity: EntityId,
        /// When, by the clock of the node.
        now: Time,
        /// The bytes of the outputs.
        outputs: Bytes,
    },
    /// [`Seat::handle`].
    Step {
        /// Of which daemon.
        entity: EntityId,
        /// When, by the clock of the node.
        now: Time,
        /// The bytes of the input.
        input: Bytes,
        /// The bytes of the outputs.
        outputs: Bytes,
    },
    /// The trace has reached its bound; the node went on without it.
    Full,
}

/// Why a trace does not follow from the machines.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Difference {
    /// It is of another version. Fault: caller. Again: with the program that wrote it.
    #[error("the trace has version {version}, this program knows {TRACE_VERSION}")]
    Version {
        /// Which.
        version: u32,
    },
    /// A step cannot be read. Fault: the disk, or whoever changed it.
    #[error("step {step} of {entity} cannot be read")]
    Unreadable {
        /// Which, counted from 1.
        step: u64,
        /// Of which daemon.
        entity: EntityId,
    },
    /// A seat takes a step that was never set up. Fault: whoever changed it.
    #[error("step {step} is of {entity}, whose seat the trace does not begin")]
    NoSeat {
        /// Which, counted from 1.
        step: u64,
        /// Of which daemon.
        entity: EntityId,
    },
    /// The machines say something else. Fault: the node, or whoever changed the trace.
    #[error(
        "step {step} of {entity} differs:\n  told     {input}\n  trace    {trace}\n  machines {machines}"
    )]
    Outputs {
        /// Which, counted from 1.
        step: u64,
        /// Of which daemon.
        entity: EntityId,
        /// What the seat was told.
        input: String,
        /// The first output that differs, as the trace has it.
        trace: String,
        /// And as the machines say it.
        machines: String,
    },
}

/// The deeds that were signed at this node, as its outputs show them.
#[must_use]
pub fn signed_in(record: &TraceRecord) -> Vec<SignedDeed> {
    let (TraceRecord::Opened { outputs, .. } | TraceRecord::Step { outputs, .. }) = record else {
        return Vec::new();
    };
    let outputs: Vec<Output> = decode(outputs).unwrap_or_default();
    let mut signed = Vec::new();
    for output in outputs {
        if let Output::Save { write: Write::HandOver { deed } | Write::Reclaim { deed }, .. } =
            output
        {
            signed.push(deed);
        }
    }
    signed
}

/// The machines once more, told what a trace says.
pub struct Witness {
    station: Station,
    seats: BTreeMap<EntityId, Seat>,
    steps: u64,
}

impl Witness {
    /// A witness of a node with these deeds.
    ///
    /// # Errors
    ///
    /// [`Difference::Version`].
    pub fn new(
        header: TraceHeader,
        signed: impl IntoIterator<Item = SignedDeed>,
    ) -> Result<Self, Difference> {
        let TraceHeader { version, node, store, settings, .. } = header;
        if version != TRACE_VERSION {
            return Err(Difference::Version { version });
        }
        let own = signed.into_iter().filter(|signed| signed.deed.from == node);
        let station = Station::witness(node, store, settings, own);
        Ok(Self { station, seats: BTreeMap::new(), steps: 0 })
    }

    /// Steps that were compared.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// Seats that were set up and stand.
    #[must_use]
    pub fn seats(&self) -> usize {
        self.seats.len()
    }

    /// Tells the machines what the record says, and compares.
    ///
    /// # Errors
    ///
    /// [`Difference`]: the trace ends here.
    pub fn see(&mut self, record: TraceRecord) -> Result<(), Difference> {
        match record {
            TraceRecord::Seat { entity, snapshot_every } => {
                let mut station = self.station.clone();
                station.settings.snapshot_every = snapshot_every;
                self.seats.insert(entity, Seat::new(Arc::new(station), entity));
                Ok(())
            }
            TraceRecord::Opened { entity, now, outputs } => {
                self.step(entity, "Open", &outputs, |seat, out| seat.open(now, out))
            }
            TraceRecord::Step { entity, now, input, outputs } => {
                let step = self.steps + 1;
                let input: Input =
                    decode(&input).map_err(|_| Difference::Unreadable { step, entity })?;
                let told = short(&input);
                self.step(entity, &told, &outputs, |seat, out| seat.handle(now, input, out))
            }
            TraceRecord::Full => Ok(()),
        }
    }

    fn step(
        &mut self,
        entity: EntityId,
        input: &str,
        trace: &[u8],
        take: impl FnOnce(&mut Seat, &mut Vec<Output>),
    ) -> Result<(), Difference> {
        self.steps += 1;
        let step = self.steps;
        let seat = self.seats.get_mut(&entity).ok_or(Difference::NoSeat { step, entity })?;
        let mut out = Vec::new();
        take(seat, &mut out);
        if encode(&out) == trace {
            return Ok(());
        }
        let trace: Vec<Output> =
            decode(trace).map_err(|_| Difference::Unreadable { step, entity })?;
        let same = trace.iter().zip(&out).take_while(|(one, other)| encode(one) == encode(other));
        let at = same.count();
        let word =
            |outputs: &[Output]| outputs.get(at).map_or_else(|| "nothing more".into(), short);
        let (input, trace, machines) = (input.to_owned(), word(&trace), word(&out));
        Err(Difference::Outputs { step, entity, input, trace, machines })
    }
}

/// How much of a word is shown.
const SHOWN_CHARS_MAX: usize = 400;

fn short(word: &impl std::fmt::Debug) -> String {
    format!("{word:?}").chars().take(SHOWN_CHARS_MAX).collect()
}
