//! Compiled code, made once for a module and shared by all its programs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use wasmtime::{Config, Engine};

use crate::fast::build::{Beside, Main, Place, beside, main};
use crate::fast::emit::Poll;
use crate::fast::plan::Plan;
use crate::isolate::RestoreError;
use crate::module::Module;
use crate::state::NanPolicy;
use crate::value::ValType;

/// How a module is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// What becomes of the bits of a NaN; must be that of the states.
    pub nan: NanPolicy,
    /// Whether polls are counted instead of looking at a flag: slower, and a program stops after the
    /// same number of polls on every run.
    pub counted: bool,
    /// Whether every function polls at its entry, not only those that may come back to themselves.
    pub every_entry: bool,
}

impl Settings {
    /// Looks at a flag; NaN as it comes.
    pub const FAST: Self = Self { nan: NanPolicy::Open, counted: false, every_entry: false };

    /// Counts polls, also at every entry: what runs stops at the same place on every run, and soon.
    pub const COUNTED: Self = Self { nan: NanPolicy::Open, counted: true, every_entry: true };
}

/// What the code is compiled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// The machine code of this processor.
    Native,
    /// The engine's own bytecode, which is the same on all processors. It has no atomic load, so its
    /// polls are counted: it stops after a number of them, and not on request.
    Bytecode,
}

/// The most modules of continuations that are kept for one program's code.
const KEPT_MAX: usize = 256;

/// Compiled continuations, and the number of each place.
pub(super) struct Kept {
    pub(super) compiled: wasmtime::Module,
    pub(super) numbers: std::collections::BTreeMap<Place, u32>,
}

type KeptByPlaces = HashMap<(Vec<Place>, Place), Arc<Kept>>;

/// The compiled code of a module; made once, shared by all its programs.
#[derive(Clone)]
pub struct FastCode(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) module: Arc<Module>,
    pub(super) settings: Settings,
    pub(super) plan: Plan,
    pub(super) main: Main,
    pub(super) compiled: wasmtime::Module,
    kept: Mutex<KeptByPlaces>,
}

impl std::fmt::Debug for FastCode {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "FastCode({:?})", self.0.module)
    }
}

impl FastCode {
    /// Rewrites and compiles a module.
    pub fn new(module: &Arc<Module>, settings: Settings) -> Result<Self, RestoreError> {
        Self::compiled_to(Target::Native, module, settings)
    }

    /// Rewrites a module and compiles it to this.
    pub fn compiled_to(
        target: Target,
        module: &Arc<Module>,
        settings: Settings,
    ) -> Result<Self, RestoreError> {
        if target == Target::Bytecode && !settings.counted {
            return Err(RestoreError::Unsupported("bytecode that does not count its polls"));
        }
        if uses_handles(module) {
            return Err(RestoreError::Unsupported("externref, by the fast tier"));
        }
        let plan = Plan::of(module, settings.every_entry);
        let main = main(module, &plan, poll(settings));
        let engine = engine(target, settings.nan)?;
        let compiled = wasmtime::Module::new(&engine, &main.bytes).map_err(engine_error)?;
        Ok(Self(Arc::new(Shared {
            module: Arc::clone(module),
            settings,
            plan,
            main,
            compiled,
            kept: Mutex::new(HashMap::new()),
        })))
    }

    /// The module.
    #[must_use]
    pub fn module(&self) -> &Arc<Module> {
        &self.0.module
    }

    /// The module as it is compiled, in the binary format.
    #[must_use]
    pub fn rewritten(&self) -> &[u8] {
        &self.0.main.bytes
    }
}

impl Shared {
    /// The continuations of these places, compiled now or before.
    pub(super) fn continuations(
        &self,
        mut places: Vec<Place>,
        outermost: Place,
    ) -> Result<Arc<Kept>, RestoreError> {
        places.sort_unstable();
        places.dedup();
        let key = (places, outermost);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept.get(&key) {
            return Ok(Arc::clone(found));
        }
        let poll = poll(self.settings);
        let Beside { bytes, numbers } =
            beside(&self.module, &self.plan, poll, &key.0, outermost)
                .ok_or(RestoreError::Unsupported("a frame at a place that is none"))?;
        let compiled =
            wasmtime::Module::new(self.compiled.engine(), &bytes).map_err(engine_error)?;
        let made = Arc::new(Kept { compiled, numbers });
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(key, Arc::clone(&made));
        Ok(made)
    }
}

fn poll(settings: Settings) -> Poll {
    if settings.counted { Poll::Count } else { Poll::Flag }
}

pub(super) fn engine_error(error: impl std::fmt::Debug) -> RestoreError {
    RestoreError::Engine(format!("{error:?}"))
}

/// Whether the module knows handles of the host, for which the engine would need its collector.
fn uses_handles(module: &Module) -> bool {
    let handle = |ty: &ValType| *ty == ValType::ExternRef;
    let in_types = module.types().iter().any(|ty| ty.params.iter().chain(&*ty.results).any(handle));
    let in_globals = module.globals().iter().any(|global| handle(&global.ty));
    let in_tables = module.tables().iter().any(|table| handle(&table.element));
    let in_elements = module.elements().iter().any(|element| handle(&element.ty));
    let bodies = module.functions_imported()..module.function_count();
    let in_locals = || bodies.clone().any(|body| module.body(body).locals.iter().any(handle));
    in_types || in_globals || in_tables || in_elements || in_locals()
}

/// The engine of a target and a policy; one for all modules.
fn engine(target: Target, nan: NanPolicy) -> Result<Engine, RestoreError> {
    static ENGINES: [OnceLock<Engine>; 4] = [const { OnceLock::new() }; 4];
    let kept = match (target, nan) {
        (Target::Native, NanPolicy::Open) => &ENGINES[0],
        (Target::Native, NanPolicy::Canonical) => &ENGINES[1],
        (Target::Bytecode, NanPolicy::Open) => &ENGINES[2],
        (Target::Bytecode, NanPolicy::Canonical) => &ENGINES[3],
    };
    if let Some(engine) = kept.get() {
        return Ok(engine.clone());
    }
    let mut config = Config::new();
    config
        .cranelift_nan_canonicalization(nan == NanPolicy::Canonical)
        .wasm_multi_memory(true)
        .wasm_memory64(true)
        .wasm_extended_const(true)
        .wasm_tail_call(true)
        // Memories stay where they are while a program runs, so that others can read them there.
        .memory_may_move(false)
        // Only for the load by which code looks whether it should stop.
        .wasm_threads(target == Target::Native);
    if target == Target::Bytecode {
        config.target("pulley64").map_err(engine_error)?;
    }
    let engine = Engine::new(&config).map_err(engine_error)?;
    Ok(kept.get_or_init(|| engine).clone())
}
