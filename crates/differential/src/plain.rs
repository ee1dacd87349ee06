//! Runs a program on the engine as it is.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "what the engine knows is more than is compared"
)]

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use wasmtime::{
    Caller, Config, Engine, Extern, ExternType, Func, Global, Instance, Memory, Ref,
    ResourceLimiter, Store, Table, Val,
};
use whimbrel_isolate::{FuncType, ItemKind, MemoryImage, Trap, ValType, Value};

use crate::ending::{Ending, Said, answer};
use crate::program::{LIMITS, Subject};

/// The engine, with one NaN only: otherwise there would be nothing to compare.
pub(crate) fn engine() -> Result<Engine> {
    let mut config = Config::new();
    config.cranelift_nan_canonicalization(true).wasm_multi_memory(true).wasm_memory64(true);
    Engine::new(&config).map_err(of_engine)
}

/// An error of the engine, which is none of the standard library's.
fn of_engine(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:?}")
}

#[derive(Default)]
struct Inside {
    said: Vec<Said>,
    /// The name of the first memory.
    memory_name: Option<String>,
    /// The first memory, as soon as the program is made: a call of the host that no program makes,
    /// because an import is exported, has nobody to ask for it.
    memory: Option<Memory>,
    identities: HashMap<usize, u32>,
}

impl ResourceLimiter for Inside {
    fn memory_growing(&mut self, _: usize, to: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(to as u64 <= LIMITS.memory_bytes_max)
    }

    fn table_growing(&mut self, _: usize, to: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(to as u64 <= LIMITS.table_elements_max)
    }
}

/// How the program comes out; an error if the engine does not run it to an end that can be compared.
pub(crate) fn run(engine: &Engine, subject: &Subject) -> Result<Ending> {
    let module = &subject.module;
    let compiled = wasmtime::Module::new(engine, &subject.bytes).map_err(of_engine)?;
    let mut store = Store::new(engine, Inside::default());
    let mut imports = Vec::new();
    for (import, wanted) in module.imports().iter().zip(compiled.imports()) {
        imports.push(supply(subject, &mut store, import.index, wanted.ty())?);
    }
    store.limiter(|inside| inside);
    let named = |kind, index| {
        let mut exports = module.exports().iter();
        exports.find(|it| it.kind == kind && it.index == index).map(|it| it.name.clone())
    };
    store.data_mut().memory_name = named(ItemKind::Memory, 0);
    let instance = Instance::new(&mut store, &compiled, &imports).map_err(of_engine)?;
    let memory = named(ItemKind::Memory, 0).and_then(|it| instance.get_memory(&mut store, &it));
    store.data_mut().memory = memory;
    for (name, index, _) in &subject.calls {
        let function = instance.get_func(&mut store, name).context("a function")?;
        let raw = function.to_raw(&mut store) as usize;
        store.data_mut().identities.insert(raw, *index);
    }
    let mut ending = Ending::default();
    for (name, index, arguments) in &subject.calls {
        let function = instance.get_func(&mut store, name).context("a function")?;
        let arguments: Vec<Val> = arguments.iter().map(|value| val(*value)).collect();
        let types = module.function_type(*index).context("its type")?.results.clone();
        let mut results = vec![Val::I32(0); types.len()];
        let called = function.call(&mut store, &arguments, &mut results);
        ending.calls.push(match called {
            Ok(()) => Ok(values(&mut store, &results, &types)?),
            Err(error) => Err(trap(&error)?),
        });
    }
    for (at, global) in module.globals().iter().enumerate() {
        // The one that counts the patience of the program is not shown.
        let Some(name) = named(ItemKind::Global, at as u32) else { continue };
        let held = instance.get_global(&mut store, &name).context("a global")?.get(&mut store);
        ending.globals.push(value(&mut store, &held, global.ty)?);
    }
    for at in 0..module.memories().len() as u32 {
        let name = named(ItemKind::Memory, at).context("a memory")?;
        let memory = instance.get_memory(&mut store, &name).context("a memory")?;
        let image = MemoryImage::of(memory.data(&store), u64::MAX);
        ending.memories.push((image.pages, image.root()));
    }
    for at in 0..module.tables().len() as u32 {
        let name = named(ItemKind::Table, at).context("a table")?;
        let table = instance.get_table(&mut store, &name).context("a table")?;
        let mut elements = Vec::new();
        for at in 0..table.size(&store) {
            let Some(Ref::Func(held)) = table.get(&mut store, at) else { bail!("a handle") };
            let held = value(&mut store, &Val::FuncRef(held), ValType::FuncRef)?;
            elements.push(if let Value::FuncRef(index) = held { index } else { None });
        }
        ending.tables.push(elements);
    }
    ending.said = std::mem::take(&mut store.data_mut().said);
    Ok(ending)
}

fn supply(
    subject: &Subject,
    store: &mut Store<Inside>,
    index: u32,
    wanted: ExternType,
) -> Result<Extern> {
    Ok(match wanted {
        ExternType::Func(ty) => {
            let ours = subject.module.function_type(index).context("a type")?.clone();
            let call = move |caller: Caller<'_, Inside>, arguments: &[Val], out: &mut [Val]| {
                host(caller, index, &ours, (arguments, out))
            };
            Func::new(&mut *store, ty, call).into()
        }
        ExternType::Global(ty) => {
            let zero = val(Value::zero(subject.module.globals()[index as usize].ty));
            Global::new(&mut *store, ty, zero).map_err(of_engine)?.into()
        }
        ExternType::Memory(ty) => Memory::new(&mut *store, ty).map_err(of_engine)?.into(),
        ExternType::Table(ty) => {
            Table::new(&mut *store, ty, Ref::Func(None)).map_err(of_engine)?.into()
        }
        _ => bail!("an import of another kind"),
    })
}

fn host(
    mut caller: Caller<'_, Inside>,
    index: u32,
    ty: &FuncType,
    (arguments, results): (&[Val], &mut [Val]),
) -> wasmtime::Result<()> {
    let arguments = values(&mut caller, arguments, &ty.params)
        .map_err(|error| wasmtime::Error::msg(error.to_string()))?;
    let number = caller.data().said.len();
    caller.data_mut().said.push((index, arguments));
    let known = caller.data().memory;
    let name = caller.data().memory_name.clone();
    let named = |caller: &mut Caller<'_, Inside>| caller.get_export(&name?)?.into_memory();
    let memory = known.or_else(|| named(&mut caller));
    let answers = match memory {
        Some(memory) => answer(ty, index, number, Some(memory.data_mut(&mut caller))),
        None => answer(ty, index, number, None),
    };
    for (result, value) in results.iter_mut().zip(answers) {
        *result = val(value);
    }
    Ok(())
}

fn val(value: Value) -> Val {
    match value {
        Value::I32(bits) => Val::I32(bits as i32),
        Value::I64(bits) => Val::I64(bits as i64),
        Value::F32(bits) => Val::F32(bits),
        Value::F64(bits) => Val::F64(bits),
        Value::V128(bits) => Val::V128(bits.into()),
        Value::FuncRef(_) => Val::FuncRef(None),
        Value::ExternRef(_) => Val::null_extern_ref(),
    }
}

fn values(
    mut store: impl wasmtime::AsContextMut<Data = Inside>,
    found: &[Val],
    types: &[ValType],
) -> Result<Vec<Value>> {
    found.iter().zip(types).map(|(found, ty)| value(&mut store, found, *ty)).collect()
}

fn value(
    mut store: impl wasmtime::AsContextMut<Data = Inside>,
    found: &Val,
    ty: ValType,
) -> Result<Value> {
    Ok(match (ty, found) {
        (ValType::I32, Val::I32(bits)) => Value::I32(*bits as u32),
        (ValType::I64, Val::I64(bits)) => Value::I64(*bits as u64),
        (ValType::F32, Val::F32(bits)) => Value::F32(*bits),
        (ValType::F64, Val::F64(bits)) => Value::F64(*bits),
        (ValType::V128, Val::V128(bits)) => Value::V128(bits.as_u128()),
        (ValType::FuncRef, Val::FuncRef(None)) => Value::FuncRef(None),
        (ValType::FuncRef, Val::FuncRef(Some(function))) => {
            let raw = function.to_raw(&mut store) as usize;
            let known = store.as_context().data().identities.get(&raw).copied();
            Value::FuncRef(Some(known.context("a function of another module")?))
        }
        (ValType::ExternRef, Val::ExternRef(None)) => Value::ExternRef(None),
        _ => bail!("a value of another type"),
    })
}

/// The name of a trap; an error if it is one that depends on how much stack there is.
fn trap(error: &wasmtime::Error) -> Result<String> {
    let known = error.downcast_ref::<wasmtime::Trap>().context("no trap")?;
    Ok(match known {
        wasmtime::Trap::MemoryOutOfBounds => Trap::MemoryOutOfBounds,
        wasmtime::Trap::TableOutOfBounds => Trap::TableOutOfBounds,
        wasmtime::Trap::IndirectCallToNull => Trap::IndirectCallToNull,
        wasmtime::Trap::BadSignature => Trap::BadSignature,
        wasmtime::Trap::IntegerOverflow => Trap::IntegerOverflow,
        wasmtime::Trap::IntegerDivisionByZero => Trap::DivisionByZero,
        wasmtime::Trap::BadConversionToInteger => Trap::BadConversion,
        wasmtime::Trap::UnreachableCodeReached => Trap::Unreachable,
        other => bail!("{other}"),
    }
    .to_string())
}
