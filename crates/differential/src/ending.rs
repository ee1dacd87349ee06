//! What is compared: how calls ended, what is left, and what the host was told.

use whimbrel_isolate::{Digest, FuncType, ItemKind, Module, Value, VmState};

use crate::random::mix;

/// A call of the host: the function and its arguments.
pub(crate) type Said = (u32, Vec<Value>);

/// How one program came out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) calls: Vec<Result<Vec<Value>, String>>,
    pub(crate) globals: Vec<Value>,
    pub(crate) memories: Vec<(u64, Digest)>,
    pub(crate) tables: Vec<Vec<Option<u32>>>,
    pub(crate) said: Vec<Said>,
}

impl Ending {
    /// Takes what is left from a state.
    pub(crate) fn take(&mut self, state: VmState, module: &Module) {
        let shown = |index: &usize| {
            let mut exports = module.exports().iter();
            exports.any(|it| it.kind == ItemKind::Global && it.index as usize == *index)
        };
        let globals = state.globals.iter().copied().enumerate();
        self.globals = globals.filter(|(at, _)| shown(at)).map(|(_, value)| value).collect();
        self.memories = state.memories.iter().map(|image| (image.pages, image.root())).collect();
        self.tables = state.tables.into_iter().map(|table| table.elements).collect();
    }

    /// How another one differs, in words.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let parts = [
            ("calls", self.calls != other.calls),
            ("globals", self.globals != other.globals),
            ("memories", self.memories != other.memories),
            ("tables", self.tables != other.tables),
            ("what was said to the host", self.said != other.said),
        ];
        let (part, _) = parts.into_iter().find(|(_, differs)| *differs)?;
        let at = self.calls.iter().zip(&other.calls).position(|(one, two)| one != two);
        if let Some(at) = at {
            let (one, two) = (&self.calls[at], &other.calls[at]);
            return Some(format!("{part}: call {at}: {one:?} on the engine, {two:?} moved"));
        }
        let pages = |it: &Self| it.memories.iter().map(|(pages, _)| *pages).collect::<Vec<_>>();
        let said = (self.said.len(), other.said.len());
        Some(format!("{part}: pages {:?} and {:?}, said {said:?}", pages(self), pages(other)))
    }
}

/// What the host answers: the same on both sides. It also changes a byte of the memory.
pub(crate) fn answer(
    ty: &FuncType,
    function: u32,
    number: usize,
    memory: Option<&mut [u8]>,
) -> Vec<Value> {
    let seed = mix(u64::from(function) << 32 | number as u64);
    if let Some(bytes) = memory.filter(|bytes| !bytes.is_empty()) {
        let at = (seed % bytes.len() as u64) as usize;
        bytes[at] = bytes[at].wrapping_add(1);
    }
    let values = ty.results.iter().enumerate();
    values.map(|(at, ty)| crate::program::value(*ty, mix(seed + at as u64))).collect()
}
