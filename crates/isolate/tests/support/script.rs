//! Runs one script of the WebAssembly testsuite by a plan, and says what came of each assertion.
//!
//! An isolate is one module with a host. What needs the items of another instance is not run, and
//! said so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use wast::{QuoteWat, WastDirective, WastExecute, WastInvoke, WastRet};
use whimbrel_isolate::fast::{FastCode, Settings};
use whimbrel_isolate::reference::ReferenceCode;
use whimbrel_isolate::{
    Answer, Code, CreateError, Environment, FuncType, Import, ItemKind, Limits, MemoryType, Module,
    ModuleError, NanPolicy, Outcome, RestoreError, Supply, TableType, Trap, ValType, Value,
    VmState,
};

use super::instance::{Answers, Instance, Plan, TierName};
use super::tally::Tally;
use super::values;

/// Why what depends on a table, memory or settable global of another instance is not run.
const SHARED: &str = "state shared between instances";

/// Why something of a script was not run, or failed.
enum Not {
    Run(String),
    Created(CreateError),
    Valid(ModuleError),
    Right(String),
}

pub struct Script<'t> {
    plan: Plan,
    tally: &'t mut Tally,
    instances: Vec<Option<Arc<Mutex<Instance>>>>,
    /// Why the instance of this number is none.
    reasons: Vec<String>,
    names: HashMap<String, usize>,
    registered: HashMap<String, usize>,
    definitions: HashMap<String, Vec<u8>>,
    current: Option<usize>,
    /// Whether the script is of an old standard, by which some modules were not valid yet.
    superseded: bool,
}

pub fn run(
    (name, text): (&str, &str),
    superseded: bool,
    plan: Plan,
    tally: &mut Tally,
) -> Result<()> {
    let mut lexer = wast::lexer::Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = wast::parser::ParseBuffer::new_with_lexer(lexer)?;
    let parsed: wast::Wast<'_> = match wast::parser::parse(&buffer) {
        Ok(parsed) => parsed,
        Err(error) => {
            tally.skip(format!("script not understood: {name}: {error}").replace('\n', " "));
            return Ok(());
        }
    };
    let mut script = Script {
        plan,
        tally,
        instances: Vec::new(),
        reasons: Vec::new(),
        names: HashMap::new(),
        registered: HashMap::new(),
        definitions: HashMap::new(),
        current: None,
        superseded,
    };
    for directive in parsed.directives {
        let line = directive.span().linecol_in(text).0 + 1;
        script.directive(directive, &format!("{name}:{line}"));
    }
    Ok(())
}

impl Script<'_> {
    fn directive(&mut self, directive: WastDirective<'_>, place: &str) {
        match directive {
            WastDirective::Module(mut module) => {
                let id = module.name().map(|id| id.name().to_owned());
                match module.encode() {
                    Ok(bytes) => self.define(&bytes, id, place),
                    Err(error) => self.tally.fail(format!("{place}: {error}")),
                }
            }
            WastDirective::ModuleDefinition(mut module) => {
                let id = module.name().map(|id| id.name().to_owned()).unwrap_or_default();
                if let Ok(bytes) = module.encode() {
                    self.definitions.insert(id, bytes);
                }
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let id = module.map(|id| id.name().to_owned()).unwrap_or_default();
                let bytes = self.definitions.get(&id).cloned().unwrap_or_default();
                self.define(&bytes, instance.map(|id| id.name().to_owned()), place);
            }
            WastDirective::Register { name, module, .. } => {
                let index = match module {
                    Some(id) => self.names.get(id.name()).copied(),
                    None => self.current,
                };
                if let Some(index) = index {
                    self.registered.insert(name.to_owned(), index);
                }
            }
            WastDirective::AssertMalformed { mut module, .. } => {
                // The parser of the text format is not ours: only binary modules are our concern.
                match module.to_test() {
                    Ok(wast::QuoteWatTest::Text(_)) => {
                        self.tally.skip("text format, which is the test tool's own parser");
                    }
                    _ => self.assert_refused(module, place, true),
                }
            }
            WastDirective::AssertInvalid { module, .. } => {
                self.assert_refused(module, place, false);
            }
            WastDirective::Invoke(invoke) => {
                let outcome = self.invoke(&invoke);
                self.judge(outcome, place, |outcome| matches!(outcome, Outcome::Returned(_)));
            }
            WastDirective::AssertReturn { exec, results, .. } => {
                self.assert_return(exec, &results, place);
            }
            WastDirective::AssertTrap { exec, message, .. } => {
                let outcome = self.execute(exec);
                self.judge(outcome, place, |outcome| match outcome {
                    Outcome::Trapped(trap) => values::is_trap(trap, message),
                    _ => false,
                });
            }
            WastDirective::AssertExhaustion { call, message, .. } => {
                let outcome = self.invoke(&call);
                self.judge(outcome, place, |outcome| match outcome {
                    Outcome::Trapped(trap) => values::is_trap(trap, message),
                    _ => false,
                });
            }
            WastDirective::AssertUnlinkable { mut module, .. } => match module.encode() {
                Err(error) => self.tally.fail(format!("{place}: {error}")),
                Ok(bytes) => match self.create(&bytes) {
                    Err(Not::Created(CreateError::Import { .. })) => self.tally.pass(),
                    Err(not) => self.not(not, place),
                    Ok(_) => self.tally.fail(format!("{place}: it was linked")),
                },
            },
            WastDirective::AssertException { .. } => self.tally.skip("exceptions"),
            _ => self.tally.skip("a directive of threads, stacks or custom sections"),
        }
    }

    fn not(&mut self, not: Not, place: &str) {
        match not {
            Not::Run(reason) => self.tally.skip(reason),
            Not::Valid(ModuleError::Refused(refusal)) => {
                self.tally.skip(format!("{} refused", refusal.name()));
            }
            Not::Valid(error) => self.tally.fail(format!("{place}: {error}")),
            Not::Created(error) => self.tally.fail(format!("{place}: {error}")),
            Not::Right(what) => self.tally.fail(format!("{place}: {what}")),
        }
    }

    fn define(&mut self, bytes: &[u8], id: Option<String>, place: &str) {
        let made = self.create(bytes);
        let index = self.instances.len();
        let (instance, reason) = match made {
            Ok(instance) => (Some(Arc::new(Mutex::new(instance))), String::new()),
            Err(Not::Run(reason)) => (None, reason),
            Err(Not::Valid(ModuleError::Refused(refusal))) => {
                (None, format!("{} refused", refusal.name()))
            }
            Err(not) => {
                self.not(not, place);
                (None, "its module failed, counted as a failure".to_owned())
            }
        };
        self.instances.push(instance);
        self.reasons.push(reason);
        if let Some(id) = id {
            self.names.insert(id, index);
        }
        self.current = Some(index);
    }

    fn assert_refused(&mut self, mut module: QuoteWat<'_>, place: &str, malformed: bool) {
        let Ok(bytes) = module.encode() else {
            // It could not even be written in binary.
            self.tally.skip("text format, which is the test tool's own parser");
            return;
        };
        match Module::parse(&bytes) {
            Err(ModuleError::Invalid { .. } | ModuleError::TooLarge { .. }) => self.tally.pass(),
            Err(ModuleError::Refused(refusal)) => {
                self.tally.skip(format!("{} refused", refusal.name()));
            }
            Ok(_) if self.superseded => {
                self.tally.skip("valid since a later standard, strict in the row of 3.0");
            }
            Ok(_) => {
                let what = if malformed { "malformed" } else { "invalid" };
                self.tally.fail(format!("{place}: an {what} module was taken"));
            }
            Err(error) => self.tally.fail(format!("{place}: {error}")),
        }
    }

    /// Makes an instance, and runs its start function.
    fn create(&mut self, bytes: &[u8]) -> Result<Instance, Not> {
        let module = Arc::new(Module::parse(bytes).map_err(Not::Valid)?);
        let (linked, answers) = self.link(&module)?;
        let limits = Limits { memory_bytes_max: 4 << 30, ..Limits::SMALL };
        let state = VmState::initial(&module, &linked, NanPolicy::Open, limits).map_err(
            |error| match error {
                CreateError::AboveLimit { .. } => Not::Run("above our limits".to_owned()),
                CreateError::Trapped(trap) => Not::Created(CreateError::Trapped(trap)),
                error => Not::Created(error),
            },
        )?;
        let mut codes = Vec::new();
        for tier in self.plan.tiers {
            codes.push(code(*tier, &module).map_err(|error| match error {
                RestoreError::Unsupported(what) => Not::Run(what.to_owned()),
                error => Not::Right(error.to_string()),
            })?);
        }
        let start = module.start();
        let mut instance = Instance::new(codes, self.plan, state, answers);
        if let Some(start) = start {
            match call(&mut instance, start, &[], self.tally)? {
                Outcome::Returned(_) => {}
                Outcome::Trapped(trap) => return Err(Not::Created(CreateError::Trapped(trap))),
                outcome => return Err(Not::Right(format!("{outcome:?}"))),
            }
        }
        Ok(instance)
    }

    /// What is supplied for each import, and who answers. A function of another instance is called
    /// there, and the value of a global that cannot be set is copied; anything else would share state
    /// between instances, and taints both.
    fn link(&mut self, module: &Module) -> Result<(Linked, Answers), Not> {
        let mut supplies = HashMap::new();
        let mut functions: HashMap<u32, (Arc<Mutex<Instance>>, u32)> = HashMap::new();
        for import in module.imports() {
            let key = (import.module.clone(), import.name.clone(), import.index);
            if import.module == "spectest" {
                if let Some(supply) = spectest_item(&import.name) {
                    supplies.insert(key, supply);
                }
                continue;
            }
            let Some(&index) = self.registered.get(&import.module) else { continue };
            let reason = self.reasons[index].clone();
            let Some(instance) = &self.instances[index] else { return Err(Not::Run(reason)) };
            let mut exporter = lock(instance)?;
            let exports = Arc::clone(exporter.codes[0].module());
            let export = exports.exports().iter().find(|export| export.name == import.name);
            let Some(export) = export.filter(|export| export.kind == import.kind) else { continue };
            let set = exports.globals().get(export.index as usize);
            let copied = set.is_some_and(|global| !global.mutable && !global.ty.is_reference());
            if export.kind == ItemKind::Function {
                let ty = exports.function_type(export.index).cloned();
                supplies.extend(ty.map(|ty| (key, Supply::Function(ty))));
                drop(exporter);
                functions.insert(import.index, (Arc::clone(instance), export.index));
            } else if export.kind == ItemKind::Global && copied {
                let state = exporter.at_rest().map_err(|error| Not::Right(error.to_string()))?;
                supplies.insert(key, Supply::Global(state.globals[export.index as usize]));
            } else {
                exporter.tainted = true;
                return Err(Not::Run(SHARED.to_owned()));
            }
        }
        let answer = move |function: u32, arguments: &[Value]| {
            let Some((instance, index)) = functions.get(&function) else {
                return Answer::Return(Vec::new());
            };
            let failed = |what: &str| Answer::Trap(Trap::Host(what.to_owned()));
            if instance.try_lock().is_ok_and(|instance| instance.tainted) {
                return failed(SHARED);
            }
            match instance.try_lock().map(|mut instance| instance.call(*index, arguments)) {
                Ok(Ok(Outcome::Returned(results))) => Answer::Return(results),
                Ok(Ok(Outcome::Trapped(trap))) => Answer::Trap(trap),
                _ => failed("the other instance"),
            }
        };
        Ok((Linked(supplies), Arc::new(Mutex::new(answer))))
    }

    fn find(
        &self,
        id: Option<wast::token::Id<'_>>,
    ) -> Result<std::sync::MutexGuard<'_, Instance>, Not> {
        let index = match id {
            Some(id) => self.names.get(id.name()).copied(),
            None => self.current,
        };
        let index = index.ok_or_else(|| Not::Right("no such module".to_owned()))?;
        let reason = &self.reasons[index];
        let instance = self.instances[index].as_ref().ok_or_else(|| Not::Run(reason.clone()))?;
        let instance = lock(instance)?;
        if instance.tainted { Err(Not::Run(SHARED.to_owned())) } else { Ok(instance) }
    }

    fn invoke(&mut self, invoke: &WastInvoke<'_>) -> Result<Outcome, Not> {
        let arguments: Option<Vec<Value>> = invoke.args.iter().map(values::argument).collect();
        let mut tally = std::mem::take(self.tally);
        let outcome = self.find(invoke.module).and_then(|mut instance| {
            let arguments =
                arguments.ok_or_else(|| Not::Run("arguments of a refused type".to_owned()))?;
            let function = instance.codes[0].module().exported_function(invoke.name);
            let function = function.ok_or_else(|| Not::Right("no such function".to_owned()))?;
            call(&mut instance, function, &arguments, &mut tally)
        });
        *self.tally = tally;
        outcome
    }

    fn execute(&mut self, execute: WastExecute<'_>) -> Result<Outcome, Not> {
        match execute {
            WastExecute::Invoke(invoke) => self.invoke(&invoke),
            WastExecute::Wat(mut module) => {
                let bytes = module.encode().map_err(|error| Not::Right(error.to_string()))?;
                match self.create(&bytes) {
                    Ok(_) => Ok(Outcome::Returned(Vec::new())),
                    Err(Not::Created(CreateError::Trapped(trap))) => Ok(Outcome::Trapped(trap)),
                    Err(not) => Err(not),
                }
            }
            WastExecute::Get { module, global, .. } => {
                let mut instance = self.find(module)?;
                let module = Arc::clone(instance.codes[0].module());
                let export = module.exports().iter().find(|export| export.name == global);
                let index = export.ok_or_else(|| Not::Right("no such global".to_owned()))?.index;
                let state = instance.at_rest().map_err(|error| Not::Right(error.to_string()))?;
                Ok(Outcome::Returned(vec![state.globals[index as usize]]))
            }
        }
    }

    fn assert_return(&mut self, execute: WastExecute<'_>, wanted: &[WastRet<'_>], place: &str) {
        let outcome = self.execute(execute);
        self.judge(outcome, place, |outcome| match outcome {
            Outcome::Returned(found) => {
                found.len() == wanted.len()
                    && found.iter().zip(wanted).all(|(found, wanted)| values::equal(found, wanted))
            }
            _ => false,
        });
    }

    fn judge(
        &mut self,
        outcome: Result<Outcome, Not>,
        place: &str,
        right: impl Fn(&Outcome) -> bool,
    ) {
        match outcome {
            Ok(outcome) if right(&outcome) => self.tally.pass(),
            Ok(Outcome::Trapped(Trap::Host(reason))) if reason == SHARED => {
                self.tally.skip(SHARED);
            }
            Ok(outcome) => self.tally.fail(format!("{place}: {outcome:?}")),
            Err(not) => self.not(not, place),
        }
    }
}

fn call(
    instance: &mut Instance,
    function: u32,
    arguments: &[Value],
    tally: &mut Tally,
) -> Result<Outcome, Not> {
    let outcome = instance.call(function, arguments);
    tally.invocations += 1;
    tally.moves += instance.moves;
    tally.moved += u64::from(instance.moves > 0);
    outcome.map_err(|error| Not::Right(format!("{error:#}")))
}

pub fn code(tier: TierName, module: &Arc<Module>) -> Result<Code, RestoreError> {
    Ok(match tier {
        TierName::Reference => Code::Reference(ReferenceCode::new(module)?),
        TierName::Fast => Code::Fast(FastCode::new(module, Settings::FAST)?),
        TierName::Counted => Code::Fast(FastCode::new(module, Settings::COUNTED)?),
    })
}

struct Linked(HashMap<(String, String, u32), Supply>);

impl Environment for Linked {
    fn supply(&self, import: &Import) -> Option<Supply> {
        self.0.get(&(import.module.clone(), import.name.clone(), import.index)).cloned()
    }
}

fn lock(instance: &Arc<Mutex<Instance>>) -> Result<std::sync::MutexGuard<'_, Instance>, Not> {
    instance.try_lock().map_err(|_| Not::Right("the instance is being called".to_owned()))
}

fn spectest_item(name: &str) -> Option<Supply> {
    use ValType::{F32, F64, I32, I64};
    let function = |params: &[ValType]| {
        Some(Supply::Function(FuncType { params: params.into(), results: Box::default() }))
    };
    let table = |table64| {
        let element = ValType::FuncRef;
        Some(Supply::Table(TableType { element, table64, initial: 10, maximum: Some(20) }))
    };
    match name {
        "print" => function(&[]),
        "print_i32" => function(&[I32]),
        "print_i64" => function(&[I64]),
        "print_f32" => function(&[F32]),
        "print_f64" => function(&[F64]),
        "print_i32_f32" => function(&[I32, F32]),
        "print_f64_f64" => function(&[F64, F64]),
        "global_i32" => Some(Supply::Global(Value::I32(666))),
        "global_i64" => Some(Supply::Global(Value::I64(666))),
        "global_f32" => Some(Supply::Global(Value::F32(666.6_f32.to_bits()))),
        "global_f64" => Some(Supply::Global(Value::F64(666.6_f64.to_bits()))),
        "table" => table(false),
        "table64" => table(true),
        "memory" => {
            Some(Supply::Memory(MemoryType { memory64: false, initial: 1, maximum: Some(2) }))
        }
        _ => None,
    }
}
