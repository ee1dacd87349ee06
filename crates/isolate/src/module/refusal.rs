//! Decides what is not run, and says its name and the reason.

use thiserror::Error;
use wasmparser::WasmFeatures;

/// A part of WebAssembly that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Shared memories and atomic instructions.
    Threads,
    /// Structures, arrays and their references.
    GarbageCollection,
    /// Typed references to functions.
    FunctionReferences,
    /// Continuations as values.
    StackSwitching,
    /// Throwing and catching.
    Exceptions,
    /// Vector instructions whose results differ between processors.
    RelaxedSimd,
    /// Pages of other sizes than 64 KiB.
    CustomPageSizes,
    /// 128-bit arithmetic.
    WideArithmetic,
    /// Descriptors of structures.
    CustomDescriptors,
    /// Components instead of core modules.
    Components,
}

impl Refusal {
    /// Why it is refused.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Threads => "a stop would have to halt all threads at once",
            Self::GarbageCollection => "objects of the collector cannot be written down",
            Self::FunctionReferences => "locals without a value cannot be written down",
            Self::StackSwitching => "suspended stacks are values that cannot be written down",
            Self::Exceptions => "a frame inside a handler cannot be opened again yet",
            Self::RelaxedSimd => "results may differ after a move to another processor",
            Self::CustomPageSizes => "memories are kept in pages of 64 KiB",
            Self::WideArithmetic => "not built yet",
            Self::CustomDescriptors => "they belong to the collector",
            Self::Components => "only core modules are run",
        }
    }

    /// Its name, as people know it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Threads => "threads",
            Self::GarbageCollection => "garbage collection",
            Self::FunctionReferences => "function references",
            Self::StackSwitching => "stack switching",
            Self::Exceptions => "exceptions",
            Self::RelaxedSimd => "relaxed SIMD",
            Self::CustomPageSizes => "custom page sizes",
            Self::WideArithmetic => "wide arithmetic",
            Self::CustomDescriptors => "custom descriptors",
            Self::Components => "components",
        }
    }
}

/// Why a module was not taken.
///
/// Fault: whoever gave the module. Changed: nothing. Again: no.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// It is not WebAssembly, or not valid.
    #[error("not a valid module: {reason} (at byte {offset})")]
    Invalid {
        /// What the validator said.
        reason: String,
        /// Where.
        offset: usize,
    },
    /// It is valid and needs what is refused.
    #[error("{} is not supported: {}", .0.name(), .0.reason())]
    Refused(Refusal),
    /// It is larger than a limit.
    #[error("{what}: {size} is more than {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        size: u64,
        /// How large it may be.
        limit: u64,
    },
}

impl From<wasmparser::BinaryReaderError> for ModuleError {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Invalid { reason: error.message().to_owned(), offset: error.offset() }
    }
}

/// What is run.
pub(crate) const SUPPORTED: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::MEMORY64)
    .union(WasmFeatures::EXTENDED_CONST)
    // Only the parser's switch that lets `externref` exist at all.
    .union(WasmFeatures::GC_TYPES);

/// What is refused, from the narrow to the wide: a module is refused for the first of these that
/// makes it valid.
const REFUSED: [(Refusal, WasmFeatures); 9] = [
    (Refusal::Threads, WasmFeatures::THREADS),
    (Refusal::RelaxedSimd, WasmFeatures::RELAXED_SIMD),
    (Refusal::WideArithmetic, WasmFeatures::WIDE_ARITHMETIC),
    (Refusal::CustomPageSizes, WasmFeatures::CUSTOM_PAGE_SIZES),
    (Refusal::Exceptions, WasmFeatures::EXCEPTIONS.union(WasmFeatures::LEGACY_EXCEPTIONS)),
    (Refusal::FunctionReferences, WasmFeatures::FUNCTION_REFERENCES),
    (Refusal::GarbageCollection, WasmFeatures::GC.union(WasmFeatures::FUNCTION_REFERENCES)),
    (
        Refusal::CustomDescriptors,
        WasmFeatures::GC
            .union(WasmFeatures::FUNCTION_REFERENCES)
            .union(WasmFeatures::CUSTOM_DESCRIPTORS),
    ),
    (
        Refusal::StackSwitching,
        WasmFeatures::STACK_SWITCHING
            .union(WasmFeatures::FUNCTION_REFERENCES)
            .union(WasmFeatures::EXCEPTIONS),
    ),
];

/// Why a module that is not valid by what is run is not taken: for what is refused, or as invalid.
pub(crate) fn explain(bytes: &[u8], error: wasmparser::BinaryReaderError) -> ModuleError {
    for (refusal, features) in REFUSED {
        if valid(bytes, SUPPORTED.union(features)) {
            return ModuleError::Refused(refusal);
        }
    }
    if valid(bytes, WasmFeatures::all()) {
        return ModuleError::Refused(Refusal::GarbageCollection);
    }
    error.into()
}

fn valid(bytes: &[u8], features: WasmFeatures) -> bool {
    wasmparser::Validator::new_with_features(features).validate_all(bytes).is_ok()
}
