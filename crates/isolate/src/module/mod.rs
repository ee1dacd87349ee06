//! Decides which WebAssembly modules can be run, and gives the coordinates that all tiers share.
//!
//! A place in a program is a function index and a position: the number of the operator, in the body
//! as it was written, that is about to be executed. What lies on the operand stack there and which
//! locals are still needed ([`Point`]) follows from the module alone, so a state that one tier wrote
//! down means the same on another. Positions are canonical: what only opens or closes a construct is
//! skipped, so that one moment of a program has one name.
//!
//! # Limits
//!
//! * [`MODULE_BYTES_MAX`], [`FUNCTION_OPERATORS_MAX`], [`STACK_SLOTS_MAX`]: beyond them a module is
//!   refused by name.

mod body;
mod constant;
mod parse;
mod refusal;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};

pub(crate) use body::{Body, CallSite, Called, Class, ControlKind, Point, Step};
pub(crate) use constant::evaluate;
pub use refusal::{ModuleError, Refusal};

use crate::value::{FuncType, ValType};

/// The largest module, in bytes.
pub const MODULE_BYTES_MAX: usize = 256 << 20;

/// The largest function body, in operators.
pub const FUNCTION_OPERATORS_MAX: usize = 2_000_000;

/// The most locals and operands of one function together.
pub const STACK_SLOTS_MAX: usize = 60_000;

/// BLAKE3 of something, in 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl std::fmt::Debug for Digest {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().take(8).try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// What an import or export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    /// A function, by its type index.
    Function,
    /// A table.
    Table,
    /// A linear memory.
    Memory,
    /// A global.
    Global,
}

/// One import of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The name of the module that should supply it.
    pub module: String,
    /// The name of the item.
    pub name: String,
    /// What it is.
    pub kind: ItemKind,
    /// Its index among the items of its kind.
    pub index: u32,
}

/// One export of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ItemKind,
    /// Its index among the items of its kind.
    pub index: u32,
}

/// The type of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableType {
    /// What its elements are: functions or handles.
    pub element: ValType,
    /// Whether it is indexed by 64 bits.
    pub table64: bool,
    /// Its first size, in elements.
    pub initial: u64,
    /// Its largest size, in elements.
    pub maximum: Option<u64>,
}

/// The type of a linear memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryType {
    /// Whether it is addressed by 64 bits.
    pub memory64: bool,
    /// Its first size, in pages of 64 KiB.
    pub initial: u64,
    /// Its largest size, in pages of 64 KiB.
    pub maximum: Option<u64>,
}

/// The type of a global.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GlobalType {
    /// What it holds.
    pub ty: ValType,
    /// Whether it can be set.
    pub mutable: bool,
}

/// How a segment is used when a program begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Copied at the beginning into the table or memory of this index, at an offset given by the
    /// constant expression in this range of bytes.
    Active {
        into: u32,
        offset: Range<usize>,
    },
    Passive,
    Declared,
}

#[derive(Debug, Clone)]
pub(crate) enum Items {
    Functions(Box<[u32]>),
    /// Constant expressions by their ranges of bytes.
    Expressions(Box<[Range<usize>]>),
}

#[derive(Debug, Clone)]
pub(crate) struct Element {
    pub(crate) placement: Placement,
    pub(crate) ty: ValType,
    pub(crate) items: Items,
}

#[derive(Debug, Clone)]
pub(crate) struct Data {
    pub(crate) placement: Placement,
    pub(crate) bytes: Range<usize>,
}

/// A section as it was written: how many entries, and where they lie without their count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Section {
    pub(crate) count: u32,
    pub(crate) entries: Range<usize>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Sections {
    pub(crate) types: Section,
    pub(crate) imports: Section,
    pub(crate) functions: Section,
    pub(crate) tables: Section,
    pub(crate) memories: Section,
    pub(crate) globals: Section,
    pub(crate) exports: Section,
}

/// A module that is valid and can be run.
pub struct Module {
    bytes: Arc<[u8]>,
    digest: Digest,
    sections: Sections,
    types: Vec<FuncType>,
    imports: Vec<Import>,
    /// Type indices of all functions, imported ones first.
    functions: Vec<u32>,
    functions_imported: u32,
    /// Ranges of the bodies of defined functions.
    bodies: Vec<Range<usize>>,
    tables: Vec<TableType>,
    memories: Vec<MemoryType>,
    globals: Vec<GlobalType>,
    /// Initial values of defined globals, as ranges of constant expressions.
    global_inits: Vec<Range<usize>>,
    exports: Vec<Export>,
    start: Option<u32>,
    elements: Vec<Element>,
    data: Vec<Data>,
    has_vectors: bool,
    has_references: bool,
    resources: Option<wasmparser::ValidatorResources>,
    analysed: Vec<OnceLock<Body>>,
    points: Mutex<HashMap<(u32, u32), Arc<Point>>>,
}

impl std::fmt::Debug for Module {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Module({:?})", self.digest)
    }
}

impl Module {
    /// Parses and validates a module in the binary format.
    pub fn parse(bytes: &[u8]) -> Result<Self, ModuleError> {
        parse::parse(bytes)
    }

    /// The module as it was given.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// BLAKE3 of [`Self::bytes`]; the name of the module in a state.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What the module wants from outside, in order.
    #[must_use]
    pub fn imports(&self) -> &[Import] {
        &self.imports
    }

    /// What the module shows, in order.
    #[must_use]
    pub fn exports(&self) -> &[Export] {
        &self.exports
    }

    /// How many items of a kind are imported; they come before those that are defined.
    pub(crate) fn imported(&self, kind: ItemKind) -> usize {
        self.imports.iter().filter(|import| import.kind == kind).count()
    }

    /// The index of the exported function of this name.
    #[must_use]
    pub fn exported_function(&self, name: &str) -> Option<u32> {
        let export = self.exports.iter().find(|export| export.name == name)?;
        (export.kind == ItemKind::Function).then_some(export.index)
    }

    /// The function that runs before any other.
    #[must_use]
    pub fn start(&self) -> Option<u32> {
        self.start
    }

    /// The type of a function by its index.
    #[must_use]
    pub fn function_type(&self, function: u32) -> Option<&FuncType> {
        self.types.get(*self.functions.get(function as usize)? as usize)
    }

    /// The globals, imported ones first.
    #[must_use]
    pub fn globals(&self) -> &[GlobalType] {
        &self.globals
    }

    /// The memories, imported ones first.
    #[must_use]
    pub fn memories(&self) -> &[MemoryType] {
        &self.memories
    }

    /// The tables, imported ones first.
    #[must_use]
    pub fn tables(&self) -> &[TableType] {
        &self.tables
    }

    pub(crate) fn types(&self) -> &[FuncType] {
        &self.types
    }

    pub(crate) fn sections(&self) -> &Sections {
        &self.sections
    }

    pub(crate) fn function_count(&self) -> u32 {
        self.functions.len() as u32
    }

    pub(crate) fn functions_imported(&self) -> u32 {
        self.functions_imported
    }

    pub(crate) fn globals_imported(&self) -> u32 {
        (self.globals.len() - self.global_inits.len()) as u32
    }

    pub(crate) fn global_inits(&self) -> &[Range<usize>] {
        &self.global_inits
    }

    pub(crate) fn elements(&self) -> &[Element] {
        &self.elements
    }

    pub(crate) fn data(&self) -> &[Data] {
        &self.data
    }

    pub(crate) fn has_vectors(&self) -> bool {
        self.has_vectors
    }

    /// Whether a frame of any function can hold a reference.
    pub(crate) fn has_references(&self) -> bool {
        self.has_references
    }

    /// The body of a defined function as it is written.
    pub(crate) fn body_bytes(&self, function: u32) -> &[u8] {
        &self.bytes[self.bodies[(function - self.functions_imported) as usize].clone()]
    }

    /// The type of a function that is known to exist: validation saw the index.
    pub(crate) fn signature(&self, function: u32) -> &FuncType {
        &self.types[self.functions[function as usize] as usize]
    }

    pub(crate) fn type_index(&self, function: u32) -> u32 {
        self.functions[function as usize]
    }

    pub(crate) fn is_defined(&self, function: u32) -> bool {
        function >= self.functions_imported && function < self.function_count()
    }

    /// The body of a defined function with what was found out about it.
    pub(crate) fn body(&self, function: u32) -> &Body {
        let index = (function - self.functions_imported) as usize;
        self.analysed[index].get_or_init(|| Body::analyse(self, function))
    }

    /// What is on the operand stack at a position of a defined function.
    ///
    /// `None` if there is no such position or it cannot be reached.
    pub(crate) fn point(&self, function: u32, position: u32) -> Option<Arc<Point>> {
        let body = self.body(function);
        if position as usize >= body.len() {
            return None;
        }
        if position as usize == body.len() - 1 {
            // Also a branch out of the body leads to its last `end`, whatever was written before it.
            let operands = self.signature(function).results.clone();
            return Some(Arc::new(Point { reachable: true, operands, call: None }));
        }
        let mut points = self.points.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(point) = points.get(&(function, position)) {
            return point.reachable.then(|| Arc::clone(point));
        }
        // A small function is filled in whole; of a large one only what is asked for is kept.
        let whole = body.len() <= body::POINTS_KEPT_MAX;
        self.walk(function, |step| {
            if whole || step.position == position {
                points.insert((function, step.position), Arc::new(step.point()));
            }
        });
        let point = points.get(&(function, position))?;
        point.reachable.then(|| Arc::clone(point))
    }
}
