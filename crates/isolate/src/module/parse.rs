//! Reads a module: validates it, and notes what the tiers need to know of its sections.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, OnceLock};

use wasmparser::{
    BinaryReader, ConstExpr, ElementItems, ElementKind, Encoding, ExternalKind, Parser, Payload,
    SectionLimited, TypeRef, ValidPayload, Validator,
};

use crate::module::refusal::{SUPPORTED, explain};
use crate::module::{
    Data, Digest, Element, Export, GlobalType, Import, ItemKind, Items, MODULE_BYTES_MAX,
    MemoryType, Module, ModuleError, Placement, Refusal, Section, Sections, TableType,
};
use crate::value::{FuncType, ValType};

pub(super) fn parse(bytes: &[u8]) -> Result<Module, ModuleError> {
    if bytes.len() > MODULE_BYTES_MAX {
        return Err(ModuleError::TooLarge {
            what: "bytes of the module",
            size: bytes.len() as u64,
            limit: MODULE_BYTES_MAX as u64,
        });
    }
    let mut module = Module {
        bytes: bytes.into(),
        digest: Digest(*blake3::hash(bytes).as_bytes()),
        sections: Sections::default(),
        types: Vec::new(),
        imports: Vec::new(),
        functions: Vec::new(),
        functions_imported: 0,
        bodies: Vec::new(),
        tables: Vec::new(),
        memories: Vec::new(),
        globals: Vec::new(),
        global_inits: Vec::new(),
        exports: Vec::new(),
        start: None,
        elements: Vec::new(),
        data: Vec::new(),
        has_vectors: false,
        has_references: false,
        resources: None,
        analysed: Vec::new(),
        points: Mutex::new(HashMap::new()),
    };
    let mut validator = Validator::new_with_features(SUPPORTED);
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| explain(bytes, error))?;
        if let Payload::Version { encoding: Encoding::Component, .. } = payload {
            return Err(ModuleError::Refused(Refusal::Components));
        }
        let valid = validator.payload(&payload).map_err(|error| explain(bytes, error))?;
        if let ValidPayload::Func(function, body) = valid {
            bodies.push((function, body));
        }
        module.take(payload)?;
    }
    for (function, body) in bodies {
        module.resources.get_or_insert_with(|| function.resources.clone());
        let mut validator = function.into_validator(Default::default());
        validator.validate(&body).map_err(|error| explain(bytes, error))?;
        module.bodies.push(body.range());
        module.analysed.push(OnceLock::new());
    }
    module.check_bodies()?;
    Ok(module)
}

fn section<T>(bytes: &[u8], read: &SectionLimited<'_, T>) -> Section {
    let range = read.range();
    // The count is the first number of a section; it was read before, so it can be read again.
    let mut reader = BinaryReader::new(&bytes[range.clone()], range.start);
    let after = reader.read_var_u32().map_or(range.start, |_| reader.original_position());
    Section { count: read.count(), entries: after..range.end }
}

fn val_type(parsed: wasmparser::ValType) -> Result<ValType, ModuleError> {
    ValType::from_parser(parsed).ok_or(ModuleError::Refused(Refusal::FunctionReferences))
}

fn reference(parsed: wasmparser::RefType) -> Result<ValType, ModuleError> {
    ValType::from_reference(parsed).ok_or(ModuleError::Refused(Refusal::FunctionReferences))
}

fn range(expression: &ConstExpr<'_>) -> Range<usize> {
    expression.get_binary_reader().range()
}

impl Module {
    #[allow(clippy::wildcard_enum_match_arm, reason = "all other sections mean nothing here")]
    fn take(&mut self, payload: Payload<'_>) -> Result<(), ModuleError> {
        match payload {
            Payload::TypeSection(types) => {
                self.sections.types = section(&self.bytes, &types);
                for ty in types.into_iter_err_on_gc_types() {
                    let ty = ty.map_err(|_| ModuleError::Refused(Refusal::GarbageCollection))?;
                    self.types.push(func_type(&ty)?);
                }
            }
            Payload::ImportSection(imports) => {
                self.sections.imports = section(&self.bytes, &imports);
                for import in imports.into_imports() {
                    self.import(import?)?;
                }
            }
            Payload::FunctionSection(functions) => {
                self.sections.functions = section(&self.bytes, &functions);
                for ty in functions {
                    self.functions.push(ty?);
                }
            }
            Payload::TableSection(tables) => {
                self.sections.tables = section(&self.bytes, &tables);
                for table in tables {
                    let table = table?;
                    if let wasmparser::TableInit::Expr(_) = table.init {
                        return Err(ModuleError::Refused(Refusal::FunctionReferences));
                    }
                    self.tables.push(table_type(&table.ty)?);
                }
            }
            Payload::MemorySection(memories) => {
                self.sections.memories = section(&self.bytes, &memories);
                for memory in memories {
                    self.memories.push(memory_type(&memory?));
                }
            }
            Payload::GlobalSection(globals) => {
                self.sections.globals = section(&self.bytes, &globals);
                for global in globals {
                    let global = global?;
                    let ty = val_type(global.ty.content_type)?;
                    self.globals.push(GlobalType { ty, mutable: global.ty.mutable });
                    self.global_inits.push(range(&global.init_expr));
                }
            }
            Payload::ExportSection(exports) => {
                self.sections.exports = section(&self.bytes, &exports);
                for export in exports {
                    let export = export?;
                    let kind = match export.kind {
                        ExternalKind::Func | ExternalKind::FuncExact => ItemKind::Function,
                        ExternalKind::Table => ItemKind::Table,
                        ExternalKind::Memory => ItemKind::Memory,
                        ExternalKind::Global => ItemKind::Global,
                        ExternalKind::Tag => return Err(ModuleError::Refused(Refusal::Exceptions)),
                    };
                    let name = export.name.to_owned();
                    self.exports.push(Export { name, kind, index: export.index });
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(elements) => {
                for element in elements {
                    let element = self.element(&element?)?;
                    self.elements.push(element);
                }
            }
            Payload::DataSection(data) => {
                for segment in data {
                    let segment = segment?;
                    let placement = match &segment.kind {
                        wasmparser::DataKind::Passive => Placement::Passive,
                        wasmparser::DataKind::Active { memory_index, offset_expr } => {
                            Placement::Active { into: *memory_index, offset: range(offset_expr) }
                        }
                    };
                    let end = segment.range.end;
                    let bytes = end - segment.data.len()..end;
                    self.data.push(Data { placement, bytes });
                }
            }
            // Everything else either carries nothing that is run or was refused by the validator.
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, import: wasmparser::Import<'_>) -> Result<(), ModuleError> {
        let (kind, index) = match import.ty {
            TypeRef::Func(ty) => {
                self.functions.push(ty);
                self.functions_imported += 1;
                (ItemKind::Function, self.functions.len())
            }
            TypeRef::Table(ty) => {
                self.tables.push(table_type(&ty)?);
                (ItemKind::Table, self.tables.len())
            }
            TypeRef::Memory(ty) => {
                self.memories.push(memory_type(&ty));
                (ItemKind::Memory, self.memories.len())
            }
            TypeRef::Global(ty) => {
                let held = val_type(ty.content_type)?;
                self.globals.push(GlobalType { ty: held, mutable: ty.mutable });
                (ItemKind::Global, self.globals.len())
            }
            TypeRef::Tag(_) => return Err(ModuleError::Refused(Refusal::Exceptions)),
            TypeRef::FuncExact(_) => {
                return Err(ModuleError::Refused(Refusal::CustomDescriptors));
            }
        };
        self.imports.push(Import {
            module: import.module.to_owned(),
            name: import.name.to_owned(),
            kind,
            index: index as u32 - 1,
        });
        Ok(())
    }

    fn element(&self, element: &wasmparser::Element<'_>) -> Result<Element, ModuleError> {
        let placement = match &element.kind {
            ElementKind::Passive => Placement::Passive,
            ElementKind::Declared => Placement::Declared,
            ElementKind::Active { table_index, offset_expr } => {
                Placement::Active { into: table_index.unwrap_or(0), offset: range(offset_expr) }
            }
        };
        let (ty, items) = match &element.items {
            ElementItems::Functions(functions) => {
                let functions: Result<Box<[u32]>, _> = functions.clone().into_iter().collect();
                (ValType::FuncRef, Items::Functions(functions?))
            }
            ElementItems::Expressions(ty, expressions) => {
                let mut ranges = Vec::new();
                for expression in expressions.clone() {
                    ranges.push(range(&expression?));
                }
                (reference(*ty)?, Items::Expressions(ranges.into()))
            }
        };
        Ok(Element { placement, ty, items })
    }
}

fn func_type(ty: &wasmparser::FuncType) -> Result<FuncType, ModuleError> {
    let types = |list: &[wasmparser::ValType]| -> Result<Box<[ValType]>, ModuleError> {
        list.iter().map(|ty| val_type(*ty)).collect()
    };
    Ok(FuncType { params: types(ty.params())?, results: types(ty.results())? })
}

fn table_type(ty: &wasmparser::TableType) -> Result<TableType, ModuleError> {
    Ok(TableType {
        element: reference(ty.element_type)?,
        table64: ty.table64,
        initial: ty.initial,
        maximum: ty.maximum,
    })
}

fn memory_type(ty: &wasmparser::MemoryType) -> MemoryType {
    MemoryType { memory64: ty.memory64, initial: ty.initial, maximum: ty.maximum }
}
