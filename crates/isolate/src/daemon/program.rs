//! Decides how a program runs: in slices, each a turn of its journal.
//!
//! A slice ends after a number of looks that is part of the state, so a replay stops where the first
//! run did. How long a slice is follows from the times of the turns, which are journaled as well.
//!
//! # States
//!
//! ```text
//! ready ──▶ running ⇄ waiting (for time, input, room)
//!              │         │
//!              ╰─▶ over ◀╯  exited, or trapped
//! ```
//!
//! A pause lies beside them: no slice is taken until it ends.
//!
//! # Invariants
//!
//! * P1 (same slices): a program that is replayed, or goes on elsewhere, stops where it did before.
//!
//! # Limits
//!
//! * [`SLICE_MIN`] looks and what the policy allows: no slice is shorter or longer.
//! * [`SLICES_PER_STORE`]: then the machine is made anew, because an engine keeps each continuation
//!   until its store goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use whimbrel_daemon::{Context, ProcessError};
use whimbrel_wire::{ChannelName, Time, TimerId, decode, encode};

use super::desk::{Moment, SharedDesk, TIMER_ID_MAX};
use super::image::{Image, ModulePieces, Parts};
use super::machine::{Machine, Refusal};
use super::said::{Said, Standing};
use super::settings::Settings;
use crate::isolate::{Code, Outcome};
use crate::module::Module;
use crate::state::VmState;
use crate::value::FuncType;
use crate::wasi::{NUMBER_MAX, Wait, Wasi};

/// The timer by which slices come.
pub(super) const SLICE: TimerId = TimerId::new(TIMER_ID_MAX + 1);

/// How long a slice is meant to take, in nanoseconds.
const SLICE_NANOS: u64 = 50_000_000;

/// The fewest looks of a slice.
const SLICE_MIN: u64 = 1_000_000;

/// Slices that are made in one store.
const SLICES_PER_STORE: u32 = 512;

/// The most bytes of one output in one answer.
const TAKEN_BYTES_MAX: usize = 192 << 10;

/// Where a program is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// The start function or `_start` is called next.
    Ready {
        started: bool,
    },
    Running {
        started: bool,
    },
    Waiting {
        started: bool,
        wait: Wait,
    },
    Exited(u32),
    Trapped(String),
}

/// What a program keeps beside the state of its guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    phase: Phase,
    paused: bool,
    /// Looks so far.
    looks: u64,
    slices: u64,
    /// Looks of the next slice.
    slice: u64,
    /// When the last slice began, if the next one follows at once.
    mark: Option<u64>,
    channels: Vec<ChannelName>,
}

/// A guest that runs until it ends.
pub(super) struct Program {
    code: Code,
    kept: Kept,
    desk: SharedDesk,
    /// None once it is over.
    machine: Option<Machine>,
    slices_in_store: u32,
    /// The last image; what it shares with the next need not be named again.
    last: Arc<Image>,
    /// Whether that is the present.
    is_present: bool,
    anew: Anew,
}

/// A deliberate mistake, for those who check that it would be found: a program that came from elsewhere
/// begins anew.
#[derive(Default)]
struct Anew {
    asked: bool,
    arrived: AtomicBool,
}

/// What a program must export.
pub(super) fn check_program(module: &Module) -> Result<(), String> {
    let start = module.exported_function("_start").and_then(|it| module.function_type(it));
    let wanted = FuncType { params: [].into(), results: [].into() };
    match start {
        None => return Err("the module does not export _start".to_owned()),
        Some(ty) if *ty != wanted => return Err("_start takes or gives something".to_owned()),
        Some(_) => {}
    }
    match module.memories().first() {
        Some(memory) if memory.memory64 => Err("the memory is addressed by 64 bits".to_owned()),
        _ => Ok(()),
    }
}

impl Program {
    /// One that begins.
    pub(super) fn born(
        code: Code,
        settings: Settings,
        module: ModulePieces,
        vm: VmState,
        wasi: Wasi,
    ) -> Result<Self, String> {
        let phase = Phase::Ready { started: code.module().start().is_none() };
        let slice = SLICE_MIN.min(settings.polls_max);
        let kept = Kept {
            phase,
            paused: false,
            looks: 0,
            slices: 0,
            slice,
            mark: None,
            channels: Vec::new(),
        };
        let life = encode(&(&kept, Some(&wasi)));
        Self::of(code, Image::of(Parts { settings, module, vm, life }, None))
    }

    /// One that goes on from an image.
    pub(super) fn of(code: Code, image: Image) -> Result<Self, String> {
        check_program(code.module())?;
        let Parts { settings, vm, life, .. } = image.parts();
        let broken = || "what the program keeps is broken".to_owned();
        let (kept, wasi): (Kept, Option<Wasi>) = decode(&life).map_err(|_| broken())?;
        let wasi = wasi.ok_or_else(broken)?;
        let counted = kept.looks.max(kept.slices).max(kept.mark.unwrap_or(0)) <= NUMBER_MAX;
        let is_sound = wasi.is_sound(settings.files_bytes_max) && counted;
        let stands = match &kept.phase {
            Phase::Ready { .. } | Phase::Exited(_) | Phase::Trapped(_) => vm.frames.is_empty(),
            Phase::Running { .. } => !vm.frames.is_empty() && vm.pending.is_none(),
            Phase::Waiting { .. } => !vm.frames.is_empty() && vm.pending.is_some(),
        };
        let slices = SLICE_MIN.min(settings.polls_max)..=settings.polls_max;
        if !stands || !is_sound || !slices.contains(&kept.slice) {
            return Err(broken());
        }
        let channels = kept.channels.iter().cloned().collect();
        let desk = SharedDesk::of_program(channels, wasi);
        let mut program = Self {
            code,
            kept,
            desk,
            machine: None,
            slices_in_store: 0,
            last: Arc::new(image),
            is_present: true,
            anew: Anew::default(),
        };
        if program.is_over() {
            let checked = vm.check(program.code.module());
            drop(checked.map_err(|error| error.to_string())?);
        } else {
            let machine = program.machine(vm).map_err(|refusal| refusal.to_string())?;
            program.machine = Some(machine);
        }
        Ok(program)
    }

    /// As it comes from elsewhere.
    pub(super) fn arriving(mut self, begins_anew: bool) -> Self {
        self.anew.asked = begins_anew;
        self
    }

    /// It is judged here, and about to live here.
    pub(super) fn arrived(&self) {
        self.anew.arrived.store(self.anew.asked, Ordering::Release);
    }

    /// How it is, for people.
    pub(super) fn particulars(&self) -> String {
        let Standing { state, looks, .. } = self.standing();
        format!("{state}, {looks} looks, {}", self.last.size())
    }

    pub(super) fn settings(&self) -> &Settings {
        self.last.settings()
    }

    /// Looks so far.
    pub(super) const fn looks(&self) -> u64 {
        self.kept.looks
    }

    fn machine(&self, vm: VmState) -> Result<Machine, Refusal> {
        Machine::new(&self.code, vm, self.desk.clone())
    }

    fn is_over(&self) -> bool {
        matches!(self.kept.phase, Phase::Exited(_) | Phase::Trapped(_))
    }

    /// The timer of slices came due.
    pub(super) fn run(&mut self, context: &mut Context<'_>) -> Result<Vec<Bytes>, ProcessError> {
        if self.kept.paused || self.is_over() {
            return Ok(Vec::new());
        }
        self.is_present = false;
        if self.anew.arrived.swap(false, Ordering::AcqRel) {
            self.begin_anew();
        }
        let moment = Moment::of(context);
        let now = moment.now.as_nanos();
        self.pace(now);
        self.desk.lock().begin(&moment);
        let outcome = self.step();
        let wishes = std::mem::take(&mut self.desk.lock().wishes);
        self.settle(outcome);
        self.arm(context);
        Ok(wishes.ask(context))
    }

    /// Decides how long the slice is, by how long the last one took.
    fn pace(&mut self, now: u64) {
        let most = self.settings().polls_max;
        let kept = &mut self.kept;
        if let Some(took) = kept.mark.map(|mark| now.saturating_sub(mark)).filter(|it| *it > 0) {
            let ideal = u128::from(kept.slice) * u128::from(SLICE_NANOS) / u128::from(took);
            let ideal = u64::try_from(ideal).unwrap_or(most);
            let near = ideal.clamp(kept.slice / 2, kept.slice.saturating_mul(2));
            kept.slice = near.clamp(SLICE_MIN.min(most), most);
        }
        kept.mark = Some(now);
        kept.slices += 1;
    }

    fn step(&mut self) -> Outcome {
        if self.slices_in_store >= SLICES_PER_STORE {
            self.renew();
        }
        self.slices_in_store += 1;
        let slice = self.kept.slice;
        let module = Arc::clone(self.code.module());
        let Some(machine) = &mut self.machine else { return Outcome::Refused("it is over") };
        let outcome = match &self.kept.phase {
            Phase::Ready { started } => {
                let main = module.exported_function("_start");
                let first = if *started { main } else { module.start() };
                match first {
                    Some(first) => machine.vm.call(first, &[], Some(slice)),
                    None => Outcome::Refused("there is nothing to call"),
                }
            }
            Phase::Running { .. } | Phase::Waiting { .. } => machine.vm.resume(Some(slice)),
            Phase::Exited(_) | Phase::Trapped(_) => Outcome::Refused("it is over"),
        };
        let used = slice - machine.vm.steps_left().unwrap_or(0).min(slice);
        self.kept.looks += used;
        outcome
    }

    /// See [`Anew`].
    fn begin_anew(&mut self) {
        let Some(machine) = &mut self.machine else { return };
        let Ok(mut vm) = machine.vm.capture() else { return };
        vm.frames.clear();
        vm.pending = None;
        if let Ok(machine) = self.machine(vm) {
            self.machine = Some(machine);
            self.kept.phase = Phase::Ready { started: true };
        }
    }

    /// A store of its own for what comes next.
    fn renew(&mut self) {
        let Some(machine) = &mut self.machine else { return };
        // If it cannot be, it goes on in the old one.
        if let Ok(vm) = machine.vm.capture()
            && let Ok(machine) = self.machine(vm)
        {
            self.machine = Some(machine);
            self.slices_in_store = 0;
        }
    }

    /// Where the program is after a slice.
    fn settle(&mut self, outcome: Outcome) {
        let started = match &self.kept.phase {
            Phase::Ready { started }
            | Phase::Running { started }
            | Phase::Waiting { started, .. } => *started,
            Phase::Exited(_) | Phase::Trapped(_) => return,
        };
        let (wait, exit) = {
            let mut desk = self.desk.lock();
            (desk.wait.take(), desk.exit.take())
        };
        self.kept.phase = match (outcome, exit, wait) {
            (_, Some(code), _) => Phase::Exited(code),
            (Outcome::Stopped, None, Some(wait)) => {
                self.kept.mark = None;
                Phase::Waiting { started, wait }
            }
            (Outcome::Stopped, None, None) => Phase::Running { started },
            (Outcome::Returned(_), None, _) if started => Phase::Exited(0),
            (Outcome::Returned(_), None, _) => Phase::Ready { started: true },
            (Outcome::Trapped(trap), None, _) => Phase::Trapped(trap.to_string()),
            (Outcome::Refused(why), None, _) => Phase::Trapped(why.to_owned()),
        };
    }

    /// Sets the timer of the next slice.
    fn arm(&self, context: &mut Context<'_>) {
        let at = match &self.kept.phase {
            _ if self.kept.paused => None,
            Phase::Ready { .. } | Phase::Running { .. } => Some(context.now()),
            Phase::Waiting { wait, .. } => wait.until.map(Time::from_nanos),
            Phase::Exited(_) | Phase::Trapped(_) => None,
        };
        match at {
            Some(at) => context.set_timer(SLICE, at),
            None => context.cancel_timer(SLICE),
        }
    }

    /// Takes an event.
    pub(super) fn hear(
        &mut self,
        context: &mut Context<'_>,
        payload: &[u8],
    ) -> Result<Vec<Bytes>, ProcessError> {
        match Said::read(payload).map_err(ProcessError::new)? {
            Said::Status => Ok(vec![self.standing().to_json().into()]),
            Said::Hashes => {
                let image = self.image().map_err(|why| ProcessError::new(why.to_string()))?;
                Ok(vec![super::said::hashes(&image.parts().vm).into()])
            }
            Said::Take { out, err } => Ok(self.take(context, out, err)),
            Said::Fed => Ok(vec![self.wasi(|wasi| wasi.fed()).to_string().into()]),
            Said::Feed { at, bytes } => {
                let fed = self.wasi(|wasi| wasi.fed());
                let end = at.saturating_add(bytes.len() as u64);
                if end <= fed {
                    return Ok(Vec::new());
                }
                if at != fed {
                    return Err(ProcessError::new(format!("the next byte of input is {fed}")));
                }
                self.feed(context, bytes)
            }
            Said::Input(bytes) => self.feed(context, bytes),
            Said::End => {
                self.wasi(Wasi::end_input);
                self.changed();
                self.wake(context, |wait| wait.input);
                Ok(Vec::new())
            }
            Said::Pause => {
                self.kept.paused = true;
                self.kept.mark = None;
                self.changed();
                context.cancel_timer(SLICE);
                Ok(vec![self.standing().to_json().into()])
            }
            Said::Resume => {
                self.kept.paused = false;
                self.changed();
                if !self.is_over() {
                    context.set_timer(SLICE, context.now());
                }
                Ok(vec![self.standing().to_json().into()])
            }
        }
    }

    fn feed(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Result<Vec<Bytes>, ProcessError> {
        if self.is_over() {
            return Err(ProcessError::new("the program is over"));
        }
        if !self.wasi(|wasi| wasi.feed(bytes)) {
            return Err(ProcessError::new("there is no room for more input: again later"));
        }
        self.changed();
        self.wake(context, |wait| wait.input);
        Ok(Vec::new())
    }

    /// What the program knows through WASI: a program always has that.
    fn wasi<T: Default>(&self, look: impl FnOnce(&mut Wasi) -> T) -> T {
        self.desk.lock().wasi.as_mut().map(look).unwrap_or_default()
    }

    fn life(&self) -> Vec<u8> {
        let desk = self.desk.lock();
        let channels = desk.channels.iter().cloned().collect();
        let kept = Kept { channels, ..self.kept.clone() };
        encode(&(kept, &desk.wasi))
    }

    fn changed(&mut self) {
        self.is_present = false;
    }

    /// Lets the program look again whether what it waits for is there.
    fn wake(&self, context: &mut Context<'_>, ends: impl Fn(&Wait) -> bool) {
        if let Phase::Waiting { wait, .. } = &self.kept.phase
            && ends(wait)
            && !self.kept.paused
        {
            context.set_timer(SLICE, context.now());
        }
    }

    fn take(&mut self, context: &mut Context<'_>, out: u64, err: u64) -> Vec<Bytes> {
        let (freed, taken) = self.wasi(|wasi| {
            let before = wasi.kept_output();
            let taken = wasi.take(out, err).map(|(first, bytes)| {
                let count = bytes.len().min(TAKEN_BYTES_MAX);
                (first, Bytes::copy_from_slice(&bytes[..count]))
            });
            (wasi.kept_output() != before, taken)
        });
        if freed {
            self.changed();
            self.wake(context, |wait| wait.room);
        }
        let mut standing = self.standing();
        standing.out = [taken[0].0, taken[0].1.len() as u64];
        standing.err = [taken[1].0, taken[1].1.len() as u64];
        let mut answers = vec![Bytes::from(standing.to_json())];
        answers.extend(taken.into_iter().map(|(_, bytes)| bytes).filter(|bytes| !bytes.is_empty()));
        answers
    }

    /// Where it is, for people.
    pub(super) fn standing(&self) -> Standing {
        let kept = &self.kept;
        let (state, code, why) = match &kept.phase {
            Phase::Exited(code) => ("exited", Some(*code), None),
            Phase::Trapped(why) => ("trapped", None, Some(why.clone())),
            _ if kept.paused => ("paused", None, None),
            Phase::Ready { .. } => ("ready", None, None),
            Phase::Running { .. } => ("running", None, None),
            Phase::Waiting { .. } => ("waiting", None, None),
        };
        let [(out, out_end), (err, err_end)] = self.wasi(|wasi| wasi.kept_output());
        Standing {
            state,
            code,
            why,
            looks: kept.looks,
            slices: kept.slices,
            out: [out, out_end - out],
            err: [err, err_end - err],
        }
    }

    /// What is written down.
    pub(super) fn image(&mut self) -> Result<Arc<Image>, Refusal> {
        if self.is_present {
            return Ok(Arc::clone(&self.last));
        }
        let vm = match &mut self.machine {
            Some(machine) => {
                machine.vm.capture().map_err(|error| Refusal::Unbuilt(error.to_string()))?
            }
            None => self.last.parts().vm,
        };
        let (settings, module) = (*self.settings(), self.last.module().clone());
        let life = self.life();
        let parts = Parts { settings, module, vm, life };
        self.last = Arc::new(Image::of(parts, Some(&self.last)));
        self.is_present = true;
        if self.is_over() {
            self.machine = None;
        }
        Ok(Arc::clone(&self.last))
    }
}
