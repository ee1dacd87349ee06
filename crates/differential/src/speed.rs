//! How fast programs run on each tier, against the engine as it is, in one run.
//!
//! Times are of the thread's processor, the least of many short runs that take turns. So what else the
//! machine does is left out, and what the code itself costs is left.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cpu_time::ThreadTime;
use wasmtime::{Caller, Config, Engine, Extern, ExternType, Func, Instance, Store, Val};
use whimbrel_isolate::fast::{FastCode, Settings};
use whimbrel_isolate::reference::ReferenceCode;
use whimbrel_isolate::{
    Answer, Code, Environment, Host, Import, Limits, Module, NanPolicy, Outcome, Supply, Value,
    VmIsolate, VmState,
};

use crate::guests::{Guest, build};

/// What was measured of one program. Each is a ratio to the engine as it is.
struct Figures {
    plain: Duration,
    fast: f64,
    moved: Option<f64>,
    reference: f64,
    bytes: f64,
    compile: f64,
}

/// Prints the table for the programs whose name contains this.
pub(crate) fn run(folder: &Path, only: Option<&str>, rounds: u32) -> Result<()> {
    let (guests, missing) = build(folder)?;
    println!(
        "{:<12} {:>10} {:>7} {:>7} {:>10} {:>7} {:>8}",
        "program", "plain ms", "fast", "moved", "reference", "bytes", "compile"
    );
    let mut all = Vec::new();
    for guest in guests.iter().filter(|it| only.is_none_or(|only| it.name.contains(only))) {
        let figures = measure(guest, rounds)?;
        let moved = figures.moved.map_or_else(|| "-".to_owned(), |moved| format!("{moved:.3}"));
        println!(
            "{:<12} {:>10.3} {:>7.3} {:>7} {:>10.1} {:>7.2} {:>8.2}",
            guest.name,
            figures.plain.as_secs_f64() * 1e3,
            figures.fast,
            moved,
            figures.reference,
            figures.bytes,
            figures.compile,
        );
        all.push(figures);
    }
    let mean = |of: &dyn Fn(&Figures) -> Option<f64>| {
        let values: Vec<f64> = all.iter().filter_map(of).map(f64::ln).collect();
        (values.iter().sum::<f64>() / values.len() as f64).exp()
    };
    println!(
        "{:<12} {:>10} {:>7.3} {:>7.3} {:>10.1} {:>7.2} {:>8.2}   geometric mean of {}",
        "all",
        "",
        mean(&|it| Some(it.fast)),
        mean(&|it| it.moved),
        mean(&|it| Some(it.reference)),
        mean(&|it| Some(it.bytes)),
        mean(&|it| Some(it.compile)),
        all.len()
    );
    for missing in missing {
        println!("NOT MEASURED: {missing}");
    }
    Ok(())
}

/// An error of the engine, which is none of the standard library's.
fn of_engine(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:?}")
}

fn time<T>(run: impl FnOnce() -> Result<T>) -> Result<(Duration, T)> {
    let started = ThreadTime::try_now()?;
    let done = run()?;
    Ok((started.try_elapsed()?, done))
}

/// What a program is told that wants something of the system: that it is not there.
const NOTHING: u32 = 8;

/// Supplies functions that say that nothing is there.
struct Bare(Arc<Module>);

impl Environment for Bare {
    fn supply(&self, import: &Import) -> Option<Supply> {
        Some(Supply::Function(self.0.function_type(import.index)?.clone()))
    }
}

impl Host for Bare {
    fn call(
        &mut self,
        function: u32,
        _: &[Value],
        _: Option<&mut [u8]>,
        _: Option<&[u8]>,
    ) -> Answer {
        let results = self.0.function_type(function).map_or(0, |ty| ty.results.len());
        Answer::Return(vec![Value::I32(NOTHING); results])
    }
}

fn host(code: &Code) -> Box<Bare> {
    Box::new(Bare(Arc::clone(code.module())))
}

fn spawn(code: &Code) -> Result<VmIsolate> {
    let state = VmState::initial(code.module(), &*host(code), NanPolicy::Open, Limits::SMALL)?;
    Ok(VmIsolate::spawn(code, state, host(code))?)
}

/// A program on the engine as it is, with the same functions.
fn instance(store: &mut Store<()>, compiled: &wasmtime::Module) -> Result<Instance> {
    let mut imports = Vec::new();
    for import in compiled.imports() {
        let ExternType::Func(ty) = import.ty() else { bail!("an import that is no function") };
        let nothing = |_: Caller<'_, ()>, _: &[Val], results: &mut [Val]| {
            results.fill(Val::I32(NOTHING as i32));
            Ok(())
        };
        imports.push(Extern::from(Func::new(&mut *store, ty, nothing)));
    }
    Instance::new(store, compiled, &imports).map_err(of_engine)
}

fn least<T>(count: u32, mut run: impl FnMut() -> Result<T>) -> Result<f64> {
    let mut least = Duration::MAX;
    for _ in 0..count {
        least = least.min(time(&mut run)?.0);
    }
    Ok(least.as_secs_f64())
}

fn measure(guest: &Guest, rounds: u32) -> Result<Figures> {
    let module = Arc::new(Module::parse(&guest.bytes)?);
    let function = module.exported_function("run").context("run is not exported")?;
    let arguments = [Value::I32(guest.argument as u32)];
    let mut config = Config::new();
    config.wasm_multi_memory(true).wasm_memory64(true).wasm_threads(true);
    let engine = Engine::new(&config).map_err(of_engine)?;
    let plain_compile =
        least(3, || wasmtime::Module::new(&engine, &guest.bytes).map_err(of_engine))?;
    let fast_compile = least(3, || Ok(FastCode::new(&module, Settings::FAST)?))?;
    let compiled = wasmtime::Module::new(&engine, &guest.bytes).map_err(of_engine)?;
    let fast_code = FastCode::new(&module, Settings::FAST)?;
    let bytes = fast_code.rewritten().len() as f64 / guest.bytes.len() as f64;
    let fast_code = Code::Fast(fast_code);
    let reference_code = Code::Reference(ReferenceCode::new(&module)?);
    let (mut plain, mut fast, mut reference) = (Duration::MAX, Duration::MAX, Duration::MAX);
    let mut moved = None;
    let mut state = None;
    for round in 0..rounds {
        let mut store = Store::new(&engine, ());
        let instance = instance(&mut store, &compiled)?;
        let run = instance.get_typed_func::<i32, i64>(&mut store, "run").map_err(of_engine)?;
        let (taken, result) = time(|| run.call(&mut store, guest.argument).map_err(of_engine))?;
        plain = plain.min(taken);
        let wanted = Outcome::Returned(vec![Value::I64(result as u64)]);
        let call = |code: &Code| {
            let mut isolate = spawn(code)?;
            let (taken, outcome) = time(|| Ok(isolate.call(function, &arguments, None)))?;
            ensure!(outcome == wanted, "{}: {outcome:?}", guest.name);
            Ok(taken)
        };
        fast = fast.min(call(&fast_code)?);
        if round % 10 == 0 {
            reference = reference.min(call(&reference_code)?);
        }
        if state.is_none() {
            state = stop_early(&fast_code, function, &arguments)?;
        }
        if let Some((before, stopped)) = &state {
            let mut isolate =
                VmIsolate::spawn(&fast_code, VmState::clone(stopped), host(&fast_code))?;
            let (after, outcome) = time(|| Ok(isolate.resume(None)))?;
            ensure!(outcome == wanted, "{} moved: {outcome:?}", guest.name);
            let whole = *before + after;
            moved = Some(moved.map_or(whole, |least: Duration| least.min(whole)));
        }
    }
    let ratio = |taken: Duration| taken.as_secs_f64() / plain.as_secs_f64();
    Ok(Figures {
        plain,
        fast: ratio(fast),
        moved: moved.map(ratio),
        reference: ratio(reference),
        bytes,
        compile: fast_compile / plain_compile,
    })
}

/// A program that was stopped soon after it began, and how long it ran until then. What goes on from
/// it runs as what was moved does, nearly to the whole length of the program.
fn stop_early(
    code: &Code,
    function: u32,
    arguments: &[Value],
) -> Result<Option<(Duration, VmState)>> {
    let mut isolate = spawn(code)?;
    let handle = isolate.stop_handle();
    let asking = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_micros(300));
        handle.ask();
    });
    let (taken, outcome) = time(|| Ok(isolate.call(function, arguments, None)))?;
    let asked = asking.join();
    if outcome != Outcome::Stopped || asked.is_err() {
        return Ok(None);
    }
    Ok(Some((taken, isolate.capture()?)))
}
