//! Decides how a reactor takes its turns: completely, or not at all.
//!
//! What a guest changed cannot be taken back, so a turn that fails is undone by going back to an
//! earlier image and making the turns since again; they come out as before.
//!
//! # Invariants
//!
//! * R1 (whole turns): after a turn that was declined the guest is as it was before it.
//!
//! # Limits
//!
//! * [`REDONE_MAX`] turns or [`REDONE_BYTES_MAX`] of events since the image: then a new one is taken.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use whimbrel_wire::{ChannelName, decode, encode};

use super::desk::{Moment, SharedDesk, Wishes};
use super::image::{Image, ModulePieces, Parts};
use super::machine::{
    INITIALIZE, Machine, ON_BIRTH, ON_EVENT, ON_MESSAGE, ON_TIMER, Refusal, check_reactor,
};
use super::settings::Settings;
use crate::isolate::{Code, RestoreError};
use crate::state::VmState;
use crate::value::Value;
use crate::wasi::Wasi;

/// Turns that are made again at most to undo one.
const REDONE_MAX: usize = 128;

/// Bytes of events of these turns.
const REDONE_BYTES_MAX: usize = 1 << 20;

/// What a turn is about.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// Nothing but its beginning.
    Begin,
    Event(Bytes),
    Message(Bytes),
    Timer(u64),
}

impl What {
    fn bytes(&self) -> usize {
        match self {
            Self::Begin | Self::Timer(_) => 0,
            Self::Event(bytes) | Self::Message(bytes) => bytes.len(),
        }
    }
}

/// What a reactor keeps beside the state of its program.
#[derive(Serialize, Deserialize)]
struct Kept {
    begun: bool,
    channels: Vec<ChannelName>,
    wasi: Option<Wasi>,
}

/// A guest that is called for each event.
pub(super) struct Reactor {
    code: Code,
    /// Where turns are made again from, and which.
    base: Arc<Image>,
    redone: Vec<(Moment, What)>,
    redone_bytes: usize,
    /// None once a turn failed, until the next.
    standing: Option<Standing>,
    /// The image of the present, if it was taken.
    present: Option<Arc<Image>>,
}

struct Standing {
    machine: Machine,
    begun: bool,
}

impl Reactor {
    /// One that begins.
    pub(super) fn born(
        code: Code,
        settings: Settings,
        module: ModulePieces,
        vm: VmState,
        wasi: Option<Wasi>,
    ) -> Result<Self, String> {
        let life = encode(&Kept { begun: false, channels: Vec::new(), wasi });
        let image = Image::of(Parts { settings, module, vm, life }, None);
        Self::of(code, image)
    }

    /// One that goes on from an image.
    pub(super) fn of(code: Code, image: Image) -> Result<Self, String> {
        check_reactor(code.module())?;
        let kept: Kept = decode(image.life()).map_err(|_| "what the reactor keeps is broken")?;
        let files_bytes_max = image.settings().files_bytes_max;
        if kept.wasi.is_some_and(|wasi| !wasi.is_sound(files_bytes_max)) {
            return Err("what the reactor knows of files is broken".to_owned());
        }
        if !image.vm().frames.is_empty() || image.vm().pending.is_some() {
            return Err("a reactor between two events has no frames".to_owned());
        }
        let base = Arc::new(image);
        let mut reactor = Self {
            code,
            present: Some(Arc::clone(&base)),
            base,
            redone: Vec::new(),
            redone_bytes: 0,
            standing: None,
        };
        reactor.standing = Some(reactor.rebuild().map_err(|refusal| refusal.to_string())?);
        Ok(reactor)
    }

    pub(super) fn settings(&self) -> &Settings {
        self.base.settings()
    }

    /// Looks of the machine that stands, which is another one after a turn that failed.
    pub(super) fn looks(&self) -> u64 {
        self.standing.as_ref().map_or(0, |standing| standing.machine.looks())
    }

    /// How it is, for people.
    pub(super) fn particulars(&self) -> String {
        format!("reactor, {}", self.base.size())
    }

    /// Takes a turn, completely or not at all.
    pub(super) fn turn(&mut self, moment: Moment, what: What) -> Result<Wishes, Refusal> {
        let mut standing = match self.standing.take() {
            Some(standing) => standing,
            None => self.rebuild()?,
        };
        // Without a machine from here on, unless it comes to its end.
        let wishes = standing.turn(&moment, &what, self.settings().polls_max)?;
        self.present = None;
        self.redone_bytes += what.bytes();
        self.redone.push((moment, what));
        self.standing = Some(standing);
        if self.redone.len() >= REDONE_MAX || self.redone_bytes >= REDONE_BYTES_MAX {
            // If it cannot be written down, the turns since the old one are still known.
            drop(self.image());
        }
        Ok(wishes)
    }

    /// What is written down; turns are made again from here.
    pub(super) fn image(&mut self) -> Result<Arc<Image>, Refusal> {
        if let Some(present) = &self.present {
            return Ok(Arc::clone(present));
        }
        let mut standing = match self.standing.take() {
            Some(standing) => standing,
            None => self.rebuild()?,
        };
        let captured = standing.machine.vm.capture();
        let vm = captured.map_err(|error: RestoreError| Refusal::Unbuilt(error.to_string()))?;
        let (settings, module) = (*self.settings(), self.base.module().clone());
        let parts = Parts { settings, module, vm, life: standing.life() };
        let image = Arc::new(Image::of(parts, Some(&self.base)));
        self.standing = Some(standing);
        self.base = Arc::clone(&image);
        self.present = Some(Arc::clone(&image));
        self.redone.clear();
        self.redone_bytes = 0;
        Ok(image)
    }

    /// The guest as it is after the last turn that happened.
    fn rebuild(&self) -> Result<Standing, Refusal> {
        let Parts { vm, life, .. } = self.base.parts();
        let broken = || Refusal::Unbuilt("what it keeps is broken".to_owned());
        let Kept { begun, channels, wasi } = decode(&life).map_err(|_| broken())?;
        let desk = SharedDesk::new(channels.into_iter().collect(), wasi);
        let mut standing = Standing { machine: Machine::new(&self.code, vm, desk)?, begun };
        for (moment, what) in &self.redone {
            drop(standing.turn(moment, what, self.settings().polls_max)?);
        }
        Ok(standing)
    }
}

impl Standing {
    fn turn(&mut self, moment: &Moment, what: &What, polls: u64) -> Result<Wishes, Refusal> {
        self.machine.desk.lock().begin(moment);
        if !self.begun {
            self.begin(polls)?;
        }
        match what {
            What::Begin => {}
            What::Event(bytes) => self.deliver(ON_EVENT, bytes, polls)?,
            What::Message(bytes) => {
                let name = if self.machine.exports(ON_MESSAGE) { ON_MESSAGE } else { ON_EVENT };
                self.deliver(name, bytes, polls)?;
            }
            What::Timer(number) => {
                drop(self.machine.call_exported(ON_TIMER, &[Value::I64(*number)], polls)?);
            }
        }
        Ok(std::mem::take(&mut self.machine.desk.lock().wishes))
    }

    fn begin(&mut self, polls: u64) -> Result<(), Refusal> {
        if let Some(start) = self.machine.start() {
            self.machine.call(start, &[], polls)?;
        }
        for name in [INITIALIZE, ON_BIRTH] {
            drop(self.machine.call_exported(name, &[], polls)?);
        }
        self.begun = true;
        Ok(())
    }

    fn deliver(&mut self, to: &str, bytes: &[u8], polls: u64) -> Result<(), Refusal> {
        let arguments = self.machine.put(bytes, polls)?;
        self.machine.call_exported(to, &arguments, polls).map(drop)
    }

    fn life(&self) -> Vec<u8> {
        let desk = self.machine.desk.lock();
        let channels = desk.channels.iter().cloned().collect();
        encode(&Kept { begun: self.begun, channels, wasi: desk.wasi.clone() })
    }
}
