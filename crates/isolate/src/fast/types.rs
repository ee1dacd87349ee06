//! The function types that are added to those of a module.

use wasm_encoder::{BlockType, Encode};

use crate::module::Module;
use crate::value::{FuncType, ValType};

/// The types of a module and what was added to them.
pub(super) struct Types {
    before: u32,
    added: Vec<FuncType>,
}

impl Types {
    pub(super) fn of(module: &Module) -> Self {
        Self { before: module.types().len() as u32, added: Vec::new() }
    }

    /// The index of a function type, which is added if need be.
    pub(super) fn function(&mut self, params: &[ValType], results: &[ValType]) -> u32 {
        let wanted = FuncType { params: params.into(), results: results.into() };
        let found = self.added.iter().position(|ty| *ty == wanted);
        let index = found.unwrap_or_else(|| {
            self.added.push(wanted);
            self.added.len() - 1
        });
        self.before + index as u32
    }

    pub(super) fn block(&mut self, params: &[ValType], results: &[ValType]) -> BlockType {
        match (params, results) {
            ([], []) => BlockType::Empty,
            ([], [result]) => BlockType::Result(encoded(*result)),
            _ => BlockType::FunctionType(self.function(params, results)),
        }
    }

    /// The section: the module's types as they were written, and the added ones.
    pub(super) fn section(&self, module: &Module) -> Vec<u8> {
        let section = &module.sections().types;
        let mut data = Vec::new();
        (section.count + self.added.len() as u32).encode(&mut data);
        data.extend_from_slice(&module.bytes()[section.entries.clone()]);
        let mut added = wasm_encoder::TypeSection::new();
        for ty in &self.added {
            let types = |list: &[ValType]| list.iter().map(|ty| encoded(*ty)).collect::<Vec<_>>();
            added.ty().function(types(&ty.params), types(&ty.results));
        }
        let mut encoded = Vec::new();
        added.encode(&mut encoded);
        data.extend_from_slice(after_count(&encoded));
        data
    }
}

/// The entries of an encoded section, without its length and count.
pub(super) fn after_count(section: &[u8]) -> &[u8] {
    let mut at = 0;
    for _ in 0..2 {
        while section.get(at).is_some_and(|byte| byte & 0x80 != 0) {
            at += 1;
        }
        at += 1;
    }
    section.get(at..).unwrap_or(&[])
}

pub(super) fn encoded(ty: ValType) -> wasm_encoder::ValType {
    match ty {
        ValType::I32 => wasm_encoder::ValType::I32,
        ValType::I64 => wasm_encoder::ValType::I64,
        ValType::F32 => wasm_encoder::ValType::F32,
        ValType::F64 => wasm_encoder::ValType::F64,
        ValType::V128 => wasm_encoder::ValType::V128,
        ValType::FuncRef => wasm_encoder::ValType::FUNCREF,
        ValType::ExternRef => wasm_encoder::ValType::EXTERNREF,
    }
}
