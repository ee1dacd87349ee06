//! The state with which a program begins: its globals, tables and memories as the module says.
//!
//! Nothing is executed here; a start function is the first thing that is called.

use thiserror::Error;

use crate::host::{Environment, Supply, Trap};
use crate::module::{Import, ItemKind, Items, MemoryType, Module, Placement, TableType, evaluate};
use crate::state::{Limits, MemoryImage, NanPolicy, PAGE_BYTES, TableImage, VmState};
use crate::value::{FuncType, Value};

/// Why a program could not begin.
///
/// Changed: nothing, except by `Trapped` nothing that anybody sees. Again: with other supplies or
/// limits.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CreateError {
    /// An import is not supplied, or not as it is wanted. Fault: the environment.
    #[error("import {module}.{name}: {reason}")]
    Import {
        /// The name of the module.
        module: String,
        /// The name of the item.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The first size of a memory or table is above the limit. Fault: the module, or whoever set it.
    #[error("{what} of {size} would be above the limit of {limit}")]
    AboveLimit {
        /// A memory (in bytes) or a table (in elements).
        what: &'static str,
        /// The size that it would have.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A segment does not fit where it belongs. Fault: the module.
    #[error("while the segments were placed: {0}")]
    Trapped(Trap),
    /// A constant expression is not known here. Fault: ours.
    #[error("a constant expression could not be evaluated")]
    Constant,
}

impl VmState {
    /// The state of a program before anything of it was executed.
    pub fn initial(
        module: &Module,
        environment: &dyn Environment,
        nan: NanPolicy,
        limits: Limits,
    ) -> Result<Self, CreateError> {
        let Imported { mut globals, tables: mut table_types, memories: mut memory_types } =
            check_imports(module, environment)?;
        table_types.extend(module.tables().iter().skip(table_types.len()));
        memory_types.extend(module.memories().iter().skip(memory_types.len()));
        for range in module.global_inits() {
            let value = evaluate(module, range, &globals).map_err(|_| CreateError::Constant)?;
            globals.push(value);
        }
        let tables = tables(module, &table_types, &globals, &limits)?;
        let memories = memories(module, &memory_types, &globals, &limits)?;
        let placed = |placement: &Placement| *placement != Placement::Passive;
        Ok(Self {
            module: module.digest(),
            nan,
            limits,
            fuel: None,
            frames: Vec::new(),
            pending: None,
            tables,
            memories,
            dropped_elements: module.elements().iter().map(|it| placed(&it.placement)).collect(),
            dropped_data: module.data().iter().map(|it| placed(&it.placement)).collect(),
            globals,
        })
    }
}

/// The items of an element segment.
pub(crate) fn items(
    module: &Module,
    items: &Items,
    globals: &[Value],
) -> Result<Vec<Option<u32>>, CreateError> {
    match items {
        Items::Functions(functions) => Ok(functions.iter().copied().map(Some).collect()),
        Items::Expressions(ranges) => ranges
            .iter()
            .map(|range| match evaluate(module, range, globals) {
                Ok(Value::FuncRef(index) | Value::ExternRef(index)) => Ok(index),
                _ => Err(CreateError::Constant),
            })
            .collect(),
    }
}

/// What the supplies are, beside functions.
#[derive(Default)]
struct Imported {
    globals: Vec<Value>,
    tables: Vec<TableType>,
    memories: Vec<MemoryType>,
}

/// Holds what is supplied against what is wanted.
fn check_imports(module: &Module, environment: &dyn Environment) -> Result<Imported, CreateError> {
    let mut imported = Imported::default();
    for import in module.imports() {
        let error = |reason| CreateError::Import {
            module: import.module.clone(),
            name: import.name.clone(),
            reason,
        };
        let supply = environment.supply(import).ok_or_else(|| error("it is not supplied"))?;
        check_import(module, import, &supply, &mut imported).map_err(error)?;
    }
    Ok(imported)
}

fn check_import(
    module: &Module,
    import: &Import,
    supply: &Supply,
    imported: &mut Imported,
) -> Result<(), &'static str> {
    let index = import.index as usize;
    match (import.kind, supply) {
        (ItemKind::Function, Supply::Function(ty)) => {
            let wanted: Option<&FuncType> = module.function_type(import.index);
            if wanted == Some(ty) { Ok(()) } else { Err("the function has another type") }
        }
        (ItemKind::Global, Supply::Global(value)) => {
            imported.globals.push(*value);
            let wanted = module.globals()[index];
            let fits = wanted.ty == value.ty() && !wanted.mutable;
            if fits { Ok(()) } else { Err("the global has another type") }
        }
        (ItemKind::Memory, Supply::Memory(ty)) => {
            let wanted = module.memories()[index];
            imported.memories.push(*ty);
            let fits = wanted.memory64 == ty.memory64
                && fits((ty.initial, ty.maximum), (wanted.initial, wanted.maximum));
            if fits { Ok(()) } else { Err("the memory has another type") }
        }
        (ItemKind::Table, Supply::Table(ty)) => {
            let wanted = module.tables()[index];
            imported.tables.push(*ty);
            let fits = wanted.element == ty.element
                && wanted.table64 == ty.table64
                && fits((ty.initial, ty.maximum), (wanted.initial, wanted.maximum));
            if fits { Ok(()) } else { Err("the table has another type") }
        }
        _ => Err("it is another kind of thing"),
    }
}

fn fits(given: (u64, Option<u64>), wanted: (u64, Option<u64>)) -> bool {
    let below = |wanted: u64| given.1.is_some_and(|given| given <= wanted);
    given.0 >= wanted.0 && wanted.1.is_none_or(below)
}

fn offset(module: &Module, placement: &Placement, globals: &[Value]) -> Option<(usize, u64)> {
    let Placement::Active { into, offset } = placement else { return None };
    let offset = match evaluate(module, offset, globals) {
        Ok(Value::I32(offset)) => u64::from(offset),
        Ok(Value::I64(offset)) => offset,
        _ => return None,
    };
    Some((*into as usize, offset))
}

fn tables(
    module: &Module,
    types: &[TableType],
    globals: &[Value],
    limits: &Limits,
) -> Result<Vec<TableImage>, CreateError> {
    let mut tables = Vec::new();
    for TableType { element, initial, maximum, .. } in types {
        within("a table", *initial, limits.table_elements_max)?;
        let elements = vec![None; *initial as usize];
        let elements_max = maximum.unwrap_or(u64::MAX);
        tables.push(TableImage { element: *element, elements_max, elements });
    }
    for segment in module.elements() {
        let Some((into, at)) = offset(module, &segment.placement, globals) else { continue };
        let items = items(module, &segment.items, globals)?;
        let elements = &mut tables[into].elements;
        let room = usize::try_from(at)
            .ok()
            .and_then(|at| elements.get_mut(at..at.checked_add(items.len())?));
        room.ok_or(CreateError::Trapped(Trap::TableOutOfBounds))?.copy_from_slice(&items);
    }
    Ok(tables)
}

fn memories(
    module: &Module,
    types: &[MemoryType],
    globals: &[Value],
    limits: &Limits,
) -> Result<Vec<MemoryImage>, CreateError> {
    let mut memories = Vec::new();
    for MemoryType { initial, .. } in types {
        let size = initial.saturating_mul(PAGE_BYTES);
        within("a memory", size, limits.memory_bytes_max)?;
        memories.push(vec![0_u8; size as usize]);
    }
    for segment in module.data() {
        let Some((into, at)) = offset(module, &segment.placement, globals) else { continue };
        let data = &module.bytes()[segment.bytes.clone()];
        let room = usize::try_from(at)
            .ok()
            .and_then(|at| memories[into].get_mut(at..at.checked_add(data.len())?));
        room.ok_or(CreateError::Trapped(Trap::MemoryOutOfBounds))?.copy_from_slice(data);
    }
    let images = memories.iter().zip(types);
    Ok(images.map(|(bytes, ty)| MemoryImage::of(bytes, ty.maximum.unwrap_or(u64::MAX))).collect())
}

fn within(what: &'static str, size: u64, limit: u64) -> Result<(), CreateError> {
    if size <= limit { Ok(()) } else { Err(CreateError::AboveLimit { what, size, limit }) }
}
