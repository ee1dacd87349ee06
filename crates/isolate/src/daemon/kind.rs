//! Decides what an isolate does as a body, turn by turn.

use std::sync::Arc;

use bytes::Bytes;
use whimbrel_daemon::{
    Body, Budget, Coming, Context, FrozenState, Input, Misfit, News, Objection, ProcessError,
    Requirements, RestoreError, Schedule, StateReader, Step,
};
use whimbrel_wire::{CatchUp, EntityId, StateVersion, TimerId};

use super::calls::{Supplies, missing, uses_wasi};
use super::desk::Moment;
use super::founding::Founding;
use super::image::{Image, ModulePieces, Nothing};
use super::library::Library;
use super::machine::Refusal;
use super::program::{Program, SLICE};
use super::reactor::{Reactor, What};
use super::settings::{Life, Settings};
use crate::state::VmState;
use crate::wasi::{Beginnings, Wasi};

/// The timer by which a newborn begins.
const BEGIN: TimerId = SLICE;

/// An isolate as a daemon.
pub struct Isolate {
    library: Arc<Library>,
    /// None until it is founded or restored.
    living: Option<Living>,
}

enum Living {
    Reactor(Reactor),
    Program(Program),
}

impl Living {
    fn settings(&self) -> &Settings {
        match self {
            Self::Reactor(reactor) => reactor.settings(),
            Self::Program(program) => program.settings(),
        }
    }

    /// How many looks there were since it was built, at least.
    fn looks(&self) -> u64 {
        match self {
            Self::Reactor(reactor) => reactor.looks(),
            Self::Program(program) => program.looks(),
        }
    }

    fn image(&mut self) -> Result<Arc<Image>, Refusal> {
        match self {
            Self::Reactor(reactor) => reactor.image(),
            Self::Program(program) => program.image(),
        }
    }
}

impl From<Refusal> for ProcessError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.to_string())
    }
}

impl Isolate {
    /// The name of the kind.
    pub const NAME: &str = "isolate";

    /// A fresh one, to be founded or restored, on a node with this library.
    #[must_use]
    pub const fn new(library: Arc<Library>) -> Self {
        Self { library, living: None }
    }

    /// The same, boxed for a host.
    #[must_use]
    pub fn boxed(library: &Arc<Library>) -> Box<dyn Body> {
        Box::new(Self::new(Arc::clone(library)))
    }

    fn settings(&self) -> Option<&Settings> {
        self.living.as_ref().map(Living::settings)
    }
}

impl Body for Isolate {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn catch_up(&self) -> CatchUp {
        CatchUp::Replay
    }

    fn version(&self) -> StateVersion {
        StateVersion::new(1)
    }

    fn requirements(&self) -> Requirements {
        let memory_bytes = self.settings().map_or(0, |it| it.limits.memory_bytes_max);
        Requirements { memory_bytes, ..Requirements::default() }
    }

    fn is_heavy(&self) -> bool {
        true
    }

    fn schedule(&self) -> Schedule {
        self.settings().map(|it| it.schedule.0).unwrap_or_default()
    }

    fn work(&self) -> u64 {
        self.living.as_ref().map_or(0, Living::looks)
    }

    fn particulars(&self) -> Option<String> {
        match self.living.as_ref()? {
            Living::Reactor(reactor) => Some(reactor.particulars()),
            Living::Program(program) => Some(program.particulars()),
        }
    }

    fn judge(&self, _: &Coming) -> Result<Option<Bytes>, Objection> {
        if let Some(Living::Program(program)) = &self.living {
            program.arrived();
        }
        Ok(None)
    }

    fn found(&mut self, _: &EntityId, given: Option<&[u8]>) -> Result<Option<TimerId>, Misfit> {
        let misfit = |why: &dyn std::fmt::Display| Misfit(why.to_string());
        let given = given.ok_or_else(|| Misfit("an isolate is given a module".to_owned()))?;
        let (founding, bytes) = Founding::read(given).map_err(|why| misfit(&why))?;
        let code = self.library.code(bytes, founding.nan()).map_err(Misfit)?;
        let settings =
            founding.settle(code.module(), self.library.policy()).map_err(|why| misfit(&why))?;
        self.library.policy().allows(&settings).map_err(|why| misfit(&why))?;
        if let Some(missing) = missing(code.module()) {
            return Err(Misfit(missing));
        }
        let vm = VmState::initial(code.module(), &Supplies, settings.nan, settings.limits)
            .map_err(|why| misfit(&why))?;
        let module = ModulePieces::of(bytes);
        let is_program = settings.life == Life::Program;
        let files_bytes_max = settings.files_bytes_max;
        let beginnings = Beginnings { files_bytes_max, ..founding.beginnings };
        let wasi = if is_program || uses_wasi(code.module()) {
            Some(Wasi::new(&beginnings).map_err(|why| misfit(&why))?)
        } else {
            None
        };
        let living = match wasi {
            Some(wasi) if is_program => {
                Program::born(code, settings, module, vm, wasi).map(Living::Program)
            }
            wasi => Reactor::born(code, settings, module, vm, wasi).map(Living::Reactor),
        };
        self.living = Some(living.map_err(Misfit)?);
        Ok(Some(BEGIN))
    }

    fn turn(
        &mut self,
        context: &mut Context<'_>,
        input: Input<'_>,
        _budget: Budget,
    ) -> Result<Step, ProcessError> {
        let living = self.living.as_mut();
        let living = living.ok_or_else(|| ProcessError::new("the isolate has no module"))?;
        let living = match living {
            Living::Reactor(reactor) => reactor,
            Living::Program(program) => {
                return match input {
                    Input::Event(event) => program.hear(context, &event.payload),
                    Input::Timer(SLICE) => program.run(context),
                    Input::News(_) | Input::Timer(_) | Input::Evolution(_) | Input::More => {
                        Ok(Vec::new())
                    }
                }
                .map(Step::Done);
            }
        };
        let what = match input {
            Input::Event(event) => What::Event(event.payload.clone()),
            Input::News(News::Message { event, .. }) => What::Message(event.payload.clone()),
            Input::Timer(BEGIN) => What::Begin,
            Input::Timer(timer) => What::Timer(timer.get()),
            Input::News(_) | Input::Evolution(_) | Input::More => {
                return Ok(Step::Done(Vec::new()));
            }
        };
        let wishes = living.turn(Moment::of(context), what)?;
        Ok(Step::Done(wishes.ask(context)))
    }

    fn capture(&mut self) -> Arc<dyn FrozenState> {
        let Some(living) = &mut self.living else { return Arc::new(Nothing) };
        match living.image() {
            Ok(image) => image,
            // The host takes this for a broken daemon and has it built anew from the disk.
            Err(refusal) => panic!("an isolate could not be written down: {refusal}"),
        }
    }

    fn restore(
        &mut self,
        version: StateVersion,
        state: &mut StateReader<'_>,
    ) -> Result<(), RestoreError> {
        if version != self.version() {
            return Err(RestoreError::Version { found: version });
        }
        if state.next_list()?.is_none() {
            self.living = None;
            return Ok(());
        }
        let (image, bytes) = Image::read(state, self.library.policy())?;
        let nan = image.settings().nan;
        let code = self.library.code(&bytes, nan).map_err(RestoreError::declined)?;
        if let Some(missing) = missing(code.module()) {
            return Err(RestoreError::declined(missing));
        }
        let living = match image.settings().life {
            Life::Reactor => Reactor::of(code, image).map(Living::Reactor),
            Life::Program => {
                let begins_anew = self.library.lets_arrivals_begin_anew();
                Program::of(code, image)
                    .map(|program| program.arriving(begins_anew))
                    .map(Living::Program)
            }
        };
        self.living = Some(living.map_err(RestoreError::declined)?);
        Ok(())
    }
}
