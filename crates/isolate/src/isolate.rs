//! One running program, on whichever tier.

use std::sync::Arc;

use thiserror::Error;

use crate::dirty::{PagedState, Rounds};
use crate::fast::{Fast, FastCode};
use crate::host::{Host, Trap};
use crate::module::Module;
use crate::reference::{Reference, ReferenceCode};
use crate::state::{CheckError, CheckedState, VmState};
use crate::stop::StopHandle;
use crate::value::Value;

/// How a run of a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the program may have stopped and want to be gone on with"]
pub enum Outcome {
    /// The function that was called returned this.
    Returned(Vec<Value>),
    /// The program trapped; of what it changed nothing is taken back.
    Trapped(Trap),
    /// The program was stopped, or a host call suspended it. It can be captured or gone on with.
    Stopped,
    /// It was not run at all. Fault: the caller. Changed: nothing.
    Refused(&'static str),
}

/// Why a program could not go on from a state.
///
/// Changed: nothing. Again: on another tier, or with another state.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The tier does not run this. Fault: the caller.
    #[error("not supported: {0}")]
    Unsupported(&'static str),
    /// The state is none of this module. Fault: whoever gave it.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The engine refused. Fault: ours, or a lack of memory.
    #[error("the engine: {0}")]
    Engine(String),
}

/// The code of a module for one tier; made once, shared by all programs that run it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Code {
    /// For the interpreter.
    Reference(ReferenceCode),
    /// Compiled.
    Fast(FastCode),
}

impl Code {
    /// The module.
    #[must_use]
    pub fn module(&self) -> &Arc<Module> {
        match self {
            Self::Reference(code) => code.module(),
            Self::Fast(code) => code.module(),
        }
    }
}

enum Running {
    Reference(Box<Reference>, Box<dyn Host>),
    Fast(Box<Fast>),
}

/// One running program.
///
/// It begins with a state, which is fresh ([`VmState::initial`]) or was written down elsewhere, and is
/// its `migration_state`: with frames in it, [`Self::resume`] goes on right where it was.
pub struct VmIsolate {
    running: Running,
    stop: StopHandle,
}

impl std::fmt::Debug for VmIsolate {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self.running {
            Running::Reference(..) => "VmIsolate(reference)",
            Running::Fast(_) => "VmIsolate(fast)",
        })
    }
}

impl VmIsolate {
    /// A program that goes on from a state. Its imported functions are answered by `host`.
    pub fn spawn(
        code: &Code,
        migration_state: VmState,
        host: Box<dyn Host>,
    ) -> Result<Self, RestoreError> {
        let checked: CheckedState = migration_state.check(code.module())?;
        let stop = StopHandle::new();
        let running = match code {
            Code::Reference(code) => {
                Running::Reference(Box::new(Reference::restore(code, &checked)), host)
            }
            Code::Fast(code) => {
                Running::Fast(Box::new(Fast::restore(code, &checked, host, &stop)?))
            }
        };
        Ok(Self { running, stop })
    }

    /// Asks the program to stop, from any thread.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Calls a function of a program that waits to be called. `steps` bounds how far it runs: in
    /// instructions on the reference tier, in polls on the fast tier if its code counts them.
    pub fn call(&mut self, function: u32, arguments: &[Value], steps: Option<u64>) -> Outcome {
        match &mut self.running {
            Running::Reference(program, host) => {
                program.call(function, arguments, &mut **host, self.stop.asked(), steps)
            }
            Running::Fast(program) => program.call(function, arguments, steps),
        }
    }

    /// Goes on with a program that was stopped, here or elsewhere.
    pub fn resume(&mut self, steps: Option<u64>) -> Outcome {
        match &mut self.running {
            Running::Reference(program, host) => {
                program.resume(&mut **host, self.stop.asked(), steps)
            }
            Running::Fast(program) => program.resume(steps),
        }
    }

    /// The first memory of a program that does not run.
    pub fn memory(&mut self) -> Option<&mut [u8]> {
        match &mut self.running {
            Running::Reference(program, _) => program.memory(),
            Running::Fast(program) => program.memory(),
        }
    }

    /// How many of the steps of the last run were left; `None` if they were not counted.
    pub fn steps_left(&mut self) -> Option<u64> {
        match &mut self.running {
            Running::Reference(..) => None,
            Running::Fast(program) => program.steps_left(),
        }
    }

    /// Everything that the program knows. It can be gone on with here or elsewhere, not both.
    pub fn capture(&mut self) -> Result<VmState, RestoreError> {
        match &mut self.running {
            Running::Reference(program, _) => Ok(program.capture()),
            Running::Fast(program) => program.capture(),
        }
    }

    /// Begins to copy the memories in rounds, so that a later stop is short. Nothing is copied yet.
    #[must_use]
    pub fn begin_rounds(&mut self) -> Rounds {
        match &mut self.running {
            Running::Reference(program, _) => Rounds::new(None, &program.memory_maxima()),
            Running::Fast(program) => program.begin_rounds(),
        }
    }

    /// Everything that the program knows, which is stopped: copies what is left, in a last round.
    pub fn capture_rounds(&mut self, rounds: &mut Rounds) -> Result<PagedState, RestoreError> {
        match &mut self.running {
            Running::Reference(program, _) => Ok(program.capture_rounds(rounds)),
            Running::Fast(program) => program.capture_rounds(rounds),
        }
    }

    /// Gives back who answered its calls.
    #[must_use]
    pub fn into_host(self) -> Box<dyn Host> {
        match self.running {
            Running::Reference(_, host) => host,
            Running::Fast(program) => program.into_host(),
        }
    }
}
