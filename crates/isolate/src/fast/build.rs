//! Builds the two modules that are compiled: the main one, which is the program with looks, and small
//! ones beside it, which go on from the frames of a state.
//!
//! In both, everything of the program has the index that it has in the module as it was written; what
//! is added comes after. So operators are copied without change. The main module has neither a start
//! function nor active segments: a state says what is in tables and memories.

use std::collections::{BTreeMap, HashMap};

use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, Elements, Encode,
    EntityType, ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType,
    ImportSection, Instruction, MemorySection, MemoryType, Module as Encoded, RawSection, RefType,
    TableSection, TableType,
};

use crate::fast::emit::{Context, Emitter, FRAMES_AT, Poll, Private};
use crate::fast::lower::{Own, lower};
use crate::fast::plan::{Plan, Reason, describe};
use crate::fast::types::{Types, after_count, encoded};
use crate::module::{Items, Module, Placement, Section};
use crate::value::ValType;

/// The size of the private memory, in pages of 64 KiB; what is not used is not backed by anything.
const PRIVATE_PAGES: u64 = 1024;

/// The most references in the frames of one stop.
const PRIVATE_REFERENCES: u64 = 1 << 16;

const TABLE_SECTION: u8 = 4;

/// How what is shown to the host only is called.
#[derive(Debug, Clone)]
pub(super) struct Names(String);

impl Names {
    fn of(module: &Module) -> Self {
        let mut prefix = "whimbrel:".to_owned();
        while module.exports().iter().any(|export| export.name.starts_with(&prefix)) {
            prefix.push('_');
        }
        Self(prefix)
    }

    pub(super) fn function(&self, index: u32) -> String {
        format!("{}f{index}", self.0)
    }

    pub(super) fn table(&self, index: u32) -> String {
        format!("{}t{index}", self.0)
    }

    pub(super) fn memory(&self, index: u32) -> String {
        format!("{}m{index}", self.0)
    }

    pub(super) fn global(&self, index: u32) -> String {
        format!("{}g{index}", self.0)
    }

    pub(super) fn own(&self, index: usize) -> String {
        format!("{}o{index}", self.0)
    }
}

/// A module with looks.
#[derive(Debug)]
pub(super) struct Main {
    pub(super) bytes: Vec<u8>,
    pub(super) names: Names,
    pub(super) private: Private,
}

pub(super) fn private(module: &Module) -> Private {
    let globals = module.globals().len() as u32;
    Private {
        memory: module.memories().len() as u32,
        unwinding: globals,
        spill: globals + 1,
        read: globals + 2,
        counter: globals + 3,
        references: globals + 4,
        table: module.tables().len() as u32,
    }
}

/// How many globals are added: a few, and one for each segment that the program can drop.
fn private_globals(plan: &Plan) -> u32 {
    FIXED_GLOBALS + plan.drops().count() as u32
}

/// The added globals that every module gets.
const FIXED_GLOBALS: u32 = 5;

/// The global that says whether a segment was dropped.
pub(super) fn dropped_global(module: &Module, plan: &Plan, own: Own) -> Option<u32> {
    let rank = plan.drops().position(|drop| drop == own)? as u32;
    Some(module.globals().len() as u32 + FIXED_GLOBALS + rank)
}

struct Sections<'m> {
    module: &'m Module,
    out: Encoded,
}

impl Sections<'_> {
    /// A section as it was written, with entries behind.
    fn extended(&mut self, id: u8, section: &Section, count: u32, added: &[u8]) {
        if section.count + count == 0 {
            return;
        }
        let mut data = Vec::new();
        (section.count + count).encode(&mut data);
        data.extend_from_slice(&self.module.bytes()[section.entries.clone()]);
        data.extend_from_slice(added);
        self.out.section(&RawSection { id, data: &data });
    }
}

fn entries(section: &impl Encode) -> Vec<u8> {
    let mut encoded = Vec::new();
    section.encode(&mut encoded);
    after_count(&encoded).to_vec()
}

pub(super) fn main(module: &Module, plan: &Plan, poll: Poll) -> Main {
    let names = Names::of(module);
    let private = private(module);
    // A segment is dropped by a function that notes it.
    let own: HashMap<Own, u32> =
        own_functions(module, plan).filter(|(own, _)| own.is_drop()).collect();
    let context = Context { module, plan, poll, private, own: &own, continuations: 0 };
    let mut types = Types::of(module);
    let mut code = CodeSection::new();
    for (index, looks) in plan.looks.iter().enumerate() {
        let function = module.functions_imported() + index as u32;
        if looks.is_some() {
            let pieces = lower(module, function);
            code.function(&Emitter::new(&context, &mut types, function, &pieces).main());
        } else {
            code.raw(module.body_bytes(function));
        }
    }
    let mut functions = FunctionSection::new();
    for own in &plan.own {
        let (ty, function) = own_function(module, plan, &mut types, *own);
        functions.function(ty);
        code.function(&function);
    }
    let sections = module.sections();
    let mut build = Sections { module, out: Encoded::new() };
    build.out.section(&RawSection { id: 1, data: &types.section(module) });
    build.extended(2, &sections.imports, 0, &[]);
    build.extended(3, &sections.functions, plan.own.len() as u32, &entries(&functions));
    let mut tables = TableSection::new();
    if plan.references {
        tables.table(private_table());
    }
    build.extended(TABLE_SECTION, &sections.tables, tables.len(), &entries(&tables));
    let mut memories = MemorySection::new();
    memories.memory(private_memory());
    build.extended(5, &sections.memories, 1, &entries(&memories));
    let mut globals = GlobalSection::new();
    for _ in 0..private_globals(plan) {
        globals.global(private_global(), &ConstExpr::i32_const(0));
    }
    build.extended(6, &sections.globals, globals.len(), &entries(&globals));
    let exports = exports(module, plan, &names, private);
    build.extended(7, &sections.exports, exports.len(), &entries(&exports));
    if !module.elements().is_empty() {
        build.out.section(&elements(module));
    }
    if !module.data().is_empty() {
        build.out.section(&DataCountSection { count: module.data().len() as u32 });
    }
    build.out.section(&code);
    if !module.data().is_empty() {
        build.out.section(&data(module));
    }
    Main { bytes: build.out.finish(), names, private }
}

fn private_memory() -> MemoryType {
    MemoryType {
        minimum: PRIVATE_PAGES,
        maximum: Some(PRIVATE_PAGES),
        memory64: false,
        shared: false,
        page_size_log2: None,
    }
}

fn private_global() -> GlobalType {
    GlobalType { val_type: wasm_encoder::ValType::I32, mutable: true, shared: false }
}

fn private_table() -> TableType {
    TableType {
        element_type: RefType::FUNCREF,
        table64: false,
        minimum: PRIVATE_REFERENCES,
        maximum: Some(PRIVATE_REFERENCES),
        shared: false,
    }
}

fn exports(module: &Module, plan: &Plan, names: &Names, private: Private) -> ExportSection {
    let mut exports = ExportSection::new();
    for index in 0..module.function_count() {
        exports.export(&names.function(index), ExportKind::Func, index);
    }
    for index in 0..plan.own.len() {
        let function = module.function_count() + index as u32;
        exports.export(&names.own(index), ExportKind::Func, function);
    }
    for index in 0..module.tables().len() as u32 + u32::from(plan.references) {
        exports.export(&names.table(index), ExportKind::Table, index);
    }
    for index in 0..=private.memory {
        exports.export(&names.memory(index), ExportKind::Memory, index);
    }
    for index in 0..module.globals().len() as u32 + private_globals(plan) {
        exports.export(&names.global(index), ExportKind::Global, index);
    }
    exports
}

/// Element segments without those that are placed at the beginning.
fn elements(module: &Module) -> ElementSection {
    let mut section = ElementSection::new();
    for element in module.elements() {
        let reference =
            if element.ty == ValType::FuncRef { RefType::FUNCREF } else { RefType::EXTERNREF };
        let nothing = || Elements::Expressions(reference, Vec::new().into());
        if element.placement != Placement::Passive {
            section.passive(nothing());
            continue;
        }
        match &element.items {
            Items::Functions(functions) => {
                section.passive(Elements::Functions(functions.to_vec().into()));
            }
            Items::Expressions(ranges) => {
                let expressions: Vec<ConstExpr> = ranges
                    .iter()
                    .map(|range| {
                        // Without its `end`, which the encoder writes itself.
                        let end = range.end - 1;
                        ConstExpr::raw(module.bytes()[range.start..end].iter().copied())
                    })
                    .collect();
                section.passive(Elements::Expressions(reference, expressions.into()));
            }
        }
    }
    section
}

fn data(module: &Module) -> DataSection {
    let mut section = DataSection::new();
    for data in module.data() {
        let bytes: &[u8] = match data.placement {
            Placement::Passive => &module.bytes()[data.bytes.clone()],
            Placement::Active { .. } | Placement::Declared => &[],
        };
        section.passive(bytes.iter().copied());
    }
    section
}

/// A function of the main module that does what a module beside it may not.
fn own_function(module: &Module, plan: &Plan, types: &mut Types, own: Own) -> (u32, Function) {
    let three = |wide: bool| {
        let to = if wide { ValType::I64 } else { ValType::I32 };
        [to, ValType::I32, ValType::I32]
    };
    let (params, results, instruction): (Vec<ValType>, Vec<ValType>, _) = match own {
        Own::MemoryInit { segment, memory } => (
            three(module.memories()[memory as usize].memory64).to_vec(),
            Vec::new(),
            Instruction::MemoryInit { mem: memory, data_index: segment },
        ),
        Own::DataDrop { segment } => (Vec::new(), Vec::new(), Instruction::DataDrop(segment)),
        Own::TableInit { segment, table } => (
            three(module.tables()[table as usize].table64).to_vec(),
            Vec::new(),
            Instruction::TableInit { elem_index: segment, table },
        ),
        Own::ElementDrop { segment } => (Vec::new(), Vec::new(), Instruction::ElemDrop(segment)),
        Own::Function(index) => (Vec::new(), vec![ValType::FuncRef], Instruction::RefFunc(index)),
    };
    let mut function = Function::new([]);
    for local in 0..params.len() as u32 {
        function.instruction(&Instruction::LocalGet(local));
    }
    function.instruction(&instruction);
    if let Some(global) = dropped_global(module, plan, own) {
        function.instruction(&Instruction::I32Const(1));
        function.instruction(&Instruction::GlobalSet(global));
    }
    function.instruction(&Instruction::End);
    (types.function(&params, &results), function)
}

/// The functions that were added for this, by their indices.
fn own_functions(module: &Module, plan: &Plan) -> impl Iterator<Item = (Own, u32)> {
    plan.own.iter().copied().zip(module.function_count()..)
}

/// A place at which a frame stands: function, position, and whether a call is under way there.
pub(super) type Place = (u32, u32, bool);

/// A module beside the main one.
pub(super) struct Beside {
    pub(super) bytes: Vec<u8>,
    /// The number of the continuation of each place.
    pub(super) numbers: BTreeMap<Place, u32>,
}

/// The export that goes on with the outermost frame.
pub(super) const GO_ON: &str = "go-on";

/// The continuations of these places; `outermost` is exported. `None` if a place is none.
pub(super) fn beside(
    module: &Module,
    plan: &Plan,
    poll: Poll,
    places: &[Place],
    outermost: Place,
) -> Option<Beside> {
    let names = Names::of(module);
    let functions_before = module.function_count();
    let own: HashMap<Own, u32> = own_functions(module, plan).collect();
    let tables_before = module.tables().len() as u32 + u32::from(plan.references);
    let context = Context {
        module,
        plan,
        poll,
        private: private(module),
        own: &own,
        continuations: tables_before,
    };
    let mut types = Types::of(module);
    let mut imports = ImportSection::new();
    import_all(module, plan, &names, &mut types, &mut imports);
    let first = functions_before + plan.own.len() as u32;
    let mut numbers = BTreeMap::new();
    let mut functions = FunctionSection::new();
    let mut code = CodeSection::new();
    for place in places {
        let (function, position, calling) = *place;
        let reason = if calling { Reason::Call } else { Reason::Poll };
        let described = describe(module, function, position, reason)?;
        numbers.insert(*place, functions.len());
        let results = &module.signature(function).results;
        functions.function(types.function(&[], results));
        let pieces = lower(module, function);
        let emitter = Emitter::new(&context, &mut types, function, &pieces);
        code.function(&emitter.continuation(&described));
    }
    let count = functions.len();
    let mut out = Encoded::new();
    out.section(&RawSection { id: 1, data: &types.section(module) });
    out.section(&imports).section(&functions);
    let mut tables = TableSection::new();
    tables.table(TableType {
        element_type: RefType::FUNCREF,
        table64: false,
        minimum: u64::from(count),
        maximum: Some(u64::from(count)),
        shared: false,
    });
    out.section(&tables);
    let mut exports = ExportSection::new();
    exports.export(GO_ON, ExportKind::Func, first + numbers.get(&outermost)?);
    out.section(&exports);
    let mut elements = ElementSection::new();
    let all: Vec<u32> = (first..first + count).collect();
    let zero = ConstExpr::i32_const(0);
    elements.active(Some(tables_before), &zero, Elements::Functions(all.into()));
    out.section(&elements).section(&code);
    Some(Beside { bytes: out.finish(), numbers })
}

fn import_all(
    module: &Module,
    plan: &Plan,
    names: &Names,
    types: &mut Types,
    imports: &mut ImportSection,
) {
    for index in 0..module.function_count() {
        let ty = EntityType::Function(module.type_index(index));
        imports.import("", &names.function(index), ty);
    }
    for (index, own) in plan.own.iter().enumerate() {
        let ty = EntityType::Function(own_function(module, plan, types, *own).0);
        imports.import("", &names.own(index), ty);
    }
    for (index, table) in module.tables().iter().enumerate() {
        let element_type =
            if table.element == ValType::FuncRef { RefType::FUNCREF } else { RefType::EXTERNREF };
        let table64 = table.table64;
        let ty = TableType { element_type, table64, minimum: 0, maximum: None, shared: false };
        imports.import("", &names.table(index as u32), ty);
    }
    if plan.references {
        imports.import("", &names.table(module.tables().len() as u32), private_table());
    }
    for (index, memory) in module.memories().iter().enumerate() {
        let ty = MemoryType {
            minimum: 0,
            maximum: None,
            memory64: memory.memory64,
            shared: false,
            page_size_log2: None,
        };
        imports.import("", &names.memory(index as u32), ty);
    }
    imports.import("", &names.memory(module.memories().len() as u32), private_memory());
    for (index, global) in module.globals().iter().enumerate() {
        let (val_type, mutable) = (encoded(global.ty), global.mutable);
        let ty = GlobalType { val_type, mutable, shared: false };
        imports.import("", &names.global(index as u32), ty);
    }
    for index in 0..private_globals(plan) {
        let index = module.globals().len() as u32 + index;
        imports.import("", &names.global(index), private_global());
    }
}

/// Where the first frame of a stop lies.
pub(super) const SPILL_START: i32 = FRAMES_AT as i32;
