//! Makes a program from random numbers, with the arguments that it is called with.

use std::sync::Arc;

use arbitrary::Unstructured;
use wasm_encoder::reencode::Reencode;
use whimbrel_isolate::fast::{FastCode, Settings};
use whimbrel_isolate::reference::ReferenceCode;
use whimbrel_isolate::{
    Code, Environment, Import, ItemKind, Limits, Module, NanPolicy, PAGE_BYTES, Supply, ValType,
    Value,
};

use crate::random::Random;

/// What all programs may use, on both sides.
pub(crate) const LIMITS: Limits =
    Limits { memory_bytes_max: 64 * PAGE_BYTES, table_elements_max: 10_000, frames_max: 200 };

/// How all programs are compiled: with one NaN only, or there would be nothing to compare.
pub(crate) const SETTINGS: Settings = Settings { nan: NanPolicy::Canonical, ..Settings::COUNTED };

/// How many branches and calls a program may take before it traps.
const PATIENCE: u32 = 1_000;

/// A program to be run on both sides.
pub(crate) struct Subject {
    pub(crate) bytes: Vec<u8>,
    pub(crate) module: Arc<Module>,
    /// What is called, in order: name, index, arguments.
    pub(crate) calls: Vec<(String, u32, Vec<Value>)>,
}

impl Subject {
    /// A program, or why there is none.
    pub(crate) fn make(random: &mut Random) -> Result<Self, String> {
        let bytes = program(random).ok_or("the generator has nothing")?;
        let module = Arc::new(Module::parse(&bytes).map_err(|error| error.to_string())?);
        let mut calls = Vec::new();
        for export in module.exports().iter().filter(|it| it.kind == ItemKind::Function) {
            let ty = module.function_type(export.index).ok_or("a function without a type")?;
            let arguments = ty.params.iter().map(|ty| value(*ty, random.next())).collect();
            calls.push((export.name.clone(), export.index, arguments));
        }
        Ok(Self { bytes, module, calls })
    }
}

/// The code of a module, compiled and for the interpreter, as far as they run it.
pub(crate) fn codes(module: &Arc<Module>, settings: Settings) -> Vec<Code> {
    let fast = FastCode::new(module, settings).map(Code::Fast);
    let reference = ReferenceCode::new(module).map(Code::Reference);
    [fast, reference].into_iter().flatten().collect()
}

fn program(random: &mut Random) -> Option<Vec<u8>> {
    let length = 200 + random.below(3_000) as usize;
    let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
    let pages = 16 * PAGE_BYTES;
    let config = wasm_smith::Config {
        bulk_memory_enabled: true,
        reference_types_enabled: true,
        multi_value_enabled: true,
        saturating_float_to_int_enabled: true,
        sign_extension_ops_enabled: true,
        tail_call_enabled: true,
        extended_const_enabled: true,
        memory64_enabled: true,
        simd_enabled: random.below(2) == 0,
        max_memories: 2,
        max_tables: 2,
        relaxed_simd_enabled: false,
        gc_enabled: false,
        exceptions_enabled: false,
        threads_enabled: false,
        custom_page_sizes_enabled: false,
        wide_arithmetic_enabled: false,
        shared_everything_threads_enabled: false,
        allow_start_export: false,
        max_imports: random.below(6) as usize,
        min_funcs: 1,
        max_memory32_bytes: pages,
        max_memory64_bytes: u128::from(pages),
        max_table_elements: 1_000,
        export_everything: true,
        ..wasm_smith::Config::default()
    };
    let mut bytes = Unstructured::new(&bytes);
    let mut module = wasm_smith::Module::new(config, &mut bytes).ok()?;
    // So that every program ends: what is out of patience traps as unreachable.
    module.ensure_termination(PATIENCE).ok()?;
    let mut without = wasm_encoder::Module::new();
    let parser = wasmparser::Parser::new(0);
    OnlyFunctions.parse_core_module(&mut without, parser, &module.to_bytes()).ok()?;
    Some(without.finish())
}

/// Puts references to functions in place of handles of the host, which the engine would need its
/// collector for. What is valid stays so: whatever is done with one can be done with the other.
struct OnlyFunctions;

impl Reencode for OnlyFunctions {
    type Error = std::convert::Infallible;

    fn heap_type(
        &mut self,
        ty: wasmparser::HeapType,
    ) -> Result<wasm_encoder::HeapType, wasm_encoder::reencode::Error<Self::Error>> {
        if ty == wasmparser::HeapType::EXTERN {
            return Ok(wasm_encoder::HeapType::FUNC);
        }
        wasm_encoder::reencode::utils::heap_type(self, ty)
    }
}

/// A value of a type: often one at which something happens.
pub(crate) fn value(ty: ValType, from: u64) -> Value {
    let number = match from % 8 {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => from >> 56,
        4 => 1 << 63 | 1 << 31,
        _ => from >> 3,
    };
    match ty {
        ValType::I32 => Value::I32(number as u32),
        ValType::I64 => Value::I64(number),
        ValType::F32 => Value::F32((number as i32 as f32).to_bits()),
        ValType::F64 => Value::F64((number as i64 as f64).to_bits()),
        ValType::V128 => Value::V128(u128::from(number) << 64 | u128::from(from)),
        ValType::FuncRef => Value::FuncRef(None),
        ValType::ExternRef => Value::ExternRef(None),
    }
}

impl Environment for Subject {
    fn supply(&self, import: &Import) -> Option<Supply> {
        let index = import.index;
        let at = index as usize;
        Some(match import.kind {
            ItemKind::Function => Supply::Function(self.module.function_type(index)?.clone()),
            ItemKind::Global => Supply::Global(Value::zero(self.module.globals()[at].ty)),
            ItemKind::Memory => Supply::Memory(self.module.memories()[at]),
            ItemKind::Table => Supply::Table(self.module.tables()[at]),
        })
    }
}
