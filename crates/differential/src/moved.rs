//! Runs a program as an isolate that is stopped and moved.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use whimbrel_isolate::fast::{FastCode, Settings, Target};
use whimbrel_isolate::{
    Answer, Code, DecodeLimits, FuncType, Host, Module, NanPolicy, Outcome, Trap, Value, VmIsolate,
    VmState,
};

use crate::ending::{Ending, Said, answer};
use crate::program::{LIMITS, SETTINGS, Subject, codes};
use crate::random::Random;

/// After so many stops a call runs to its end.
const STOPS_MAX: u64 = 12;

/// The same, of a program that is stopped wherever it can be.
const STOPS_EVERYWHERE_MAX: u64 = 300;

/// Of so many programs one is stopped wherever it can be.
const EVERYWHERE_ONE_IN: u64 = 20;

/// Of so many programs one also moves to the engine's bytecode.
const BYTECODE_ONE_IN: u64 = 5;

/// How a state is damaged on its way, to see whether it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The first local that is needed by the innermost frame is lost.
    LostLocal,
    /// The topmost operand of the outermost frame is lost.
    LostOperand,
    /// The last global but one is lost; the last is the patience of the program.
    LostGlobal,
}

impl Fault {
    fn damage(self, state: &mut VmState) {
        let lose = |value: &mut Value| *value = Value::zero(value.ty());
        match self {
            Self::LostLocal => {
                let frame = state.frames.last_mut();
                if let Some((_, value)) = frame.and_then(|frame| frame.locals.first_mut()) {
                    lose(value);
                }
            }
            Self::LostOperand => {
                let frame = state.frames.first_mut();
                frame.and_then(|frame| frame.operands.last_mut()).into_iter().for_each(lose);
            }
            Self::LostGlobal => state.globals.iter_mut().rev().skip(1).take(1).for_each(lose),
        }
    }
}

/// How it went.
pub(crate) enum Carried {
    /// It ended.
    Ended {
        /// With this.
        ending: Ending,
        /// After so many moves.
        moves: u64,
        /// And so many calls of the host that were made again.
        suspended: u64,
    },
    /// No tier runs it, or it ended by a limit that the other side does not have.
    NotComparable(&'static str),
    /// It could not be carried.
    Broken(String),
}

/// What the host keeps while the program moves.
pub(crate) struct Told {
    pub(crate) module: Arc<Module>,
    pub(crate) said: Vec<Said>,
    /// How much was said before the program came here.
    pub(crate) before: usize,
    /// Whether some calls are suspended at first.
    pub(crate) suspends: bool,
    pub(crate) random: Random,
    pub(crate) suspended: u64,
}

#[derive(Clone)]
pub(crate) struct Listener(pub(crate) Arc<Mutex<Told>>);

impl Listener {
    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host for Listener {
    fn call(
        &mut self,
        function: u32,
        arguments: &[Value],
        memory: Option<&mut [u8]>,
        note: Option<&[u8]>,
    ) -> Answer {
        let mut told = self.told();
        if told.suspends && note.is_none() && told.random.below(4) == 0 {
            told.suspended += 1;
            return Answer::Suspend(vec![1, 2, 3]);
        }
        let nothing = FuncType { params: Box::default(), results: Box::default() };
        let ty = told.module.function_type(function).unwrap_or(&nothing).clone();
        let number = told.before + told.said.len();
        told.said.push((function, arguments.to_vec()));
        Answer::Return(answer(&ty, function, number, memory))
    }
}

/// How far a program runs until it is stopped again.
#[derive(Clone, Copy)]
enum Pace {
    Random,
    Everywhere,
}

struct Run<'a> {
    codes: Vec<Code>,
    random: &'a mut Random,
    listener: Listener,
    pace: Pace,
    moves: u64,
    fault: Option<Fault>,
}

impl Run<'_> {
    fn steps(&mut self, stops: u64) -> Option<u64> {
        match self.pace {
            Pace::Everywhere => (stops < STOPS_EVERYWHERE_MAX).then_some(1),
            Pace::Random if stops >= STOPS_MAX => None,
            // Soon, because many calls are short.
            Pace::Random if stops == 0 => Some(1 + self.random.below(6)),
            Pace::Random => {
                let bound = 1 + self.random.below(40);
                Some(1 + self.random.below(bound))
            }
        }
    }

    fn spawn(&mut self, state: VmState) -> Result<VmIsolate, String> {
        let code = &self.codes[self.random.below(self.codes.len() as u64) as usize];
        let host = Box::new(self.listener.clone());
        VmIsolate::spawn(code, state, host).map_err(|error| format!("spawning: {error}"))
    }

    /// Takes what an isolate knows through its bytes.
    fn carry(&mut self, isolate: &mut VmIsolate) -> Result<VmIsolate, String> {
        let mut captured = isolate.capture().map_err(|error| format!("capturing: {error}"))?;
        if let Some(fault) = self.fault {
            fault.damage(&mut captured);
        }
        let bytes = captured.encode();
        let carried = VmState::decode(&bytes, &DecodeLimits::WIDE)
            .map_err(|error| format!("decoding: {error}"))?;
        if carried != captured || carried.encode() != bytes {
            return Err("another state after decoding".to_owned());
        }
        self.spawn(carried)
    }

    fn call(
        &mut self,
        isolate: &mut VmIsolate,
        function: u32,
        arguments: &[Value],
    ) -> Result<Outcome, String> {
        let mut stops = 0;
        let steps = self.steps(stops);
        let mut outcome = isolate.call(function, arguments, steps);
        while outcome == Outcome::Stopped {
            stops += 1;
            self.moves += 1;
            *isolate = self.carry(isolate)?;
            let steps = self.steps(stops);
            outcome = isolate.resume(steps);
        }
        Ok(outcome)
    }
}

/// How the program comes out when it is moved.
pub(crate) fn run(
    subject: &Subject,
    seed: u64,
    random: &mut Random,
    fault: Option<Fault>,
) -> Carried {
    let module = &subject.module;
    let settings = Settings { every_entry: seed.is_multiple_of(2), ..SETTINGS };
    let mut codes = codes(module, settings);
    if seed.is_multiple_of(BYTECODE_ONE_IN) {
        let bytecode = FastCode::compiled_to(Target::Bytecode, module, settings).map(Code::Fast);
        codes.extend(bytecode);
    }
    if codes.is_empty() {
        return Carried::NotComparable("no tier runs it");
    }
    let everywhere = random.below(EVERYWHERE_ONE_IN) == 0;
    let told = Told {
        module: Arc::clone(module),
        said: Vec::new(),
        before: 0,
        suspends: true,
        random: Random::new(random.next()),
        suspended: 0,
    };
    let run = Run {
        codes,
        random,
        listener: Listener(Arc::new(Mutex::new(told))),
        pace: if everywhere { Pace::Everywhere } else { Pace::Random },
        moves: 0,
        fault,
    };
    match ended(subject, run) {
        Ok(carried) => carried,
        Err(what) => Carried::Broken(what),
    }
}

fn ended(subject: &Subject, mut run: Run<'_>) -> Result<Carried, String> {
    let module = &subject.module;
    let Ok(state) = VmState::initial(module, subject, NanPolicy::Canonical, LIMITS) else {
        return Ok(Carried::NotComparable("it does not begin"));
    };
    let mut isolate = run.spawn(state)?;
    if let Some(start) = module.start()
        && !matches!(run.call(&mut isolate, start, &[])?, Outcome::Returned(_))
    {
        return Ok(Carried::NotComparable("its start function does not return"));
    }
    let mut ending = Ending::default();
    for (_, index, arguments) in &subject.calls {
        ending.calls.push(match run.call(&mut isolate, *index, arguments)? {
            Outcome::Returned(values) => Ok(values),
            // How deep calls may nest differs between the sides, and is no difference.
            Outcome::Trapped(Trap::StackOverflow) => {
                return Ok(Carried::NotComparable("it nests too deep"));
            }
            // So is that compiled code cannot suspend a call of the host through a table.
            Outcome::Trapped(Trap::Host(_)) => {
                return Ok(Carried::NotComparable("a call through a table that is suspended"));
            }
            Outcome::Trapped(trap) => Err(trap.to_string()),
            Outcome::Stopped => return Err("it did not go on".to_owned()),
            Outcome::Refused(why) => return Err(why.to_owned()),
        });
    }
    let state = isolate.capture().map_err(|error| format!("capturing at the end: {error}"))?;
    ending.take(state, module);
    let mut told = run.listener.told();
    ending.said = std::mem::take(&mut told.said);
    Ok(Carried::Ended { ending, moves: run.moves, suspended: told.suspended })
}
