//! Decides how one turn calls into a guest, and what its end means.

use std::sync::Arc;

use thiserror::Error;

use super::calls::Attendant;
use super::desk::SharedDesk;
use crate::host::Trap;
use crate::isolate::{Code, Outcome, VmIsolate};
use crate::module::Module;
use crate::state::VmState;
use crate::value::{FuncType, ValType, Value};

/// Why an event is declined. Nothing of it has happened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The guest says so. Fault: sender. Again: not with the same event.
    #[error("{0}")]
    Declined(String),
    /// The guest trapped, or asked for what it may not have. Fault: the guest. Again: no.
    #[error("the guest trapped: {0}")]
    Trapped(Trap),
    /// The guest did not come to an end within what it may. Fault: the guest. Again: no.
    #[error("the turn does not end: more than {0} looks")]
    TooLong(u64),
    /// The guest gave no room for the event. Fault: the guest. Again: no.
    #[error("the guest gave no room of {0} bytes within its memory")]
    NoRoom(usize),
    /// The guest can not be brought back to where it was. Fault: ours, or a lack of memory. Again:
    /// later, perhaps.
    #[error("the guest could not be built: {0}")]
    Unbuilt(String),
    /// The engine refused the call. Fault: ours.
    #[error("the guest could not be called: {0}")]
    Uncalled(&'static str),
}

/// A guest that is ready to be called.
pub(super) struct Machine {
    pub(super) vm: VmIsolate,
    pub(super) desk: SharedDesk,
    module: Arc<Module>,
    /// Looks of all calls.
    looks: u64,
}

impl Machine {
    pub(super) fn new(code: &Code, state: VmState, desk: SharedDesk) -> Result<Self, Refusal> {
        let module = Arc::clone(code.module());
        let attendant = Box::new(Attendant::new(&module, desk.clone()));
        let vm = VmIsolate::spawn(code, state, attendant)
            .map_err(|error| Refusal::Unbuilt(error.to_string()))?;
        Ok(Self { vm, desk, module, looks: 0 })
    }

    pub(super) fn exports(&self, name: &str) -> bool {
        self.module.exported_function(name).is_some()
    }

    /// Looks of all calls so far.
    pub(super) const fn looks(&self) -> u64 {
        self.looks
    }

    pub(super) fn start(&self) -> Option<u32> {
        self.module.start()
    }

    /// Calls an exported function, if there is one, and waits for its end.
    pub(super) fn call_exported(
        &mut self,
        name: &str,
        arguments: &[Value],
        polls_max: u64,
    ) -> Result<Option<Vec<Value>>, Refusal> {
        match self.module.exported_function(name) {
            Some(function) => self.call(function, arguments, polls_max).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn call(
        &mut self,
        function: u32,
        arguments: &[Value],
        polls_max: u64,
    ) -> Result<Vec<Value>, Refusal> {
        let outcome = self.vm.call(function, arguments, Some(polls_max));
        let left = self.vm.steps_left().unwrap_or(0).min(polls_max);
        self.looks = self.looks.saturating_add(polls_max - left);
        match outcome {
            Outcome::Returned(values) => Ok(values),
            Outcome::Stopped => Err(Refusal::TooLong(polls_max)),
            Outcome::Refused(why) => Err(Refusal::Uncalled(why)),
            Outcome::Trapped(trap) => Err(match self.desk.lock().declined.take() {
                Some(reason) => Refusal::Declined(reason),
                None => Refusal::Trapped(trap),
            }),
        }
    }

    /// Puts bytes where the guest gives room for them.
    pub(super) fn put(&mut self, bytes: &[u8], polls_max: u64) -> Result<[Value; 2], Refusal> {
        let no_room = Refusal::NoRoom(bytes.len());
        let length = Value::I32(u32::try_from(bytes.len()).map_err(|_| no_room.clone())?);
        let given = self.call_exported(ALLOCATE, &[length], polls_max)?;
        let Some(&[Value::I32(at)]) = given.as_deref() else { return Err(no_room) };
        let room = self.vm.memory().and_then(|memory| {
            memory.get_mut(at as usize..(at as usize).checked_add(bytes.len())?)
        });
        room.ok_or(no_room)?.copy_from_slice(bytes);
        Ok([Value::I32(at), length])
    }
}

/// Gives room for an event: length → pointer.
pub(super) const ALLOCATE: &str = "whimbrel_alloc";
/// Takes an event: pointer, length.
pub(super) const ON_EVENT: &str = "on_event";
/// Takes a message of a channel: pointer, length; without it, [`ON_EVENT`] does.
pub(super) const ON_MESSAGE: &str = "on_message";
/// A timer is due: its number.
pub(super) const ON_TIMER: &str = "on_timer";
/// Called once, before anything else, as WASI has it for reactors.
pub(super) const INITIALIZE: &str = "_initialize";
/// Called once after that.
pub(super) const ON_BIRTH: &str = "on_birth";

/// What a reactor may and must export, and of which type.
pub(super) fn check_reactor(module: &Module) -> Result<(), String> {
    const I32: ValType = ValType::I32;
    let shapes: [(&str, bool, &[ValType], &[ValType]); 6] = [
        (ALLOCATE, true, &[I32], &[I32]),
        (ON_EVENT, true, &[I32, I32], &[]),
        (ON_MESSAGE, false, &[I32, I32], &[]),
        (ON_TIMER, false, &[ValType::I64], &[]),
        (INITIALIZE, false, &[], &[]),
        (ON_BIRTH, false, &[], &[]),
    ];
    for (name, must, params, results) in shapes {
        let found = module.exported_function(name).and_then(|it| module.function_type(it));
        let wanted = FuncType { params: params.into(), results: results.into() };
        match found {
            None if must => return Err(format!("the module does not export {name}")),
            Some(ty) if *ty != wanted => {
                return Err(format!("the export {name} is of another type than it must be"));
            }
            Some(_) | None => {}
        }
    }
    let memory = module.memories().first();
    if memory.is_none_or(|memory| memory.memory64) {
        return Err("the module has no memory that is addressed by 32 bits".to_owned());
    }
    Ok(())
}
