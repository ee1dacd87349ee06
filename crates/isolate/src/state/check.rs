//! Holds a state against its module: after this a tier may trust every index and type in it.

use std::sync::Arc;

use thiserror::Error;

use crate::module::{Called, Class, ItemKind, Module, Placement, evaluate};
use crate::state::{Frame, PAGE_BYTES, VmState};
use crate::value::{ValType, Value};

/// Why a state is none of this module.
///
/// Fault: whoever sent or kept it. Changed: nothing. Again: no, not with this state.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CheckError {
    /// It names another module.
    #[error("the state is one of another module")]
    OtherModule,
    /// There are not as many as the module has.
    #[error("the state has {found} {what}, the module {wanted}")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many the state has.
        found: usize,
        /// How many there must be.
        wanted: usize,
    },
    /// A frame cannot be where it says, or holds what cannot be there.
    #[error("frame {frame}: {reason}")]
    Frame {
        /// Its number, the outermost being 0.
        frame: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// Something else cannot be so.
    #[error("{what} {index}: {reason}")]
    Item {
        /// What kind of thing.
        what: &'static str,
        /// Its index.
        index: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// There are more frames than the limits in the state allow.
    #[error("the state has more frames than its limits allow")]
    TooDeep,
    /// A host call is pending and the program is at no call of that function.
    #[error("the pending host call is none")]
    NoHostCall,
}

/// A state that was held against its module.
#[derive(Debug, Clone)]
pub struct CheckedState {
    module: Arc<Module>,
    state: VmState,
}

impl CheckedState {
    /// The module.
    #[must_use]
    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &VmState {
        &self.state
    }
}

impl VmState {
    /// Holds the state against a module.
    pub fn check(self, module: &Arc<Module>) -> Result<CheckedState, CheckError> {
        if self.module != module.digest() {
            return Err(CheckError::OtherModule);
        }
        if self.frames.len() > self.limits.frames_max as usize {
            return Err(CheckError::TooDeep);
        }
        self.check_frames(module)?;
        self.check_globals(module)?;
        self.check_memories(module)?;
        self.check_tables(module)?;
        self.check_pending(module)?;
        self.check_segments(module)?;
        Ok(CheckedState { module: Arc::clone(module), state: self })
    }

    fn check_frames(&self, module: &Module) -> Result<(), CheckError> {
        for (number, frame) in self.frames.iter().enumerate() {
            let inner = self.frames.get(number + 1);
            check_frame(module, frame, inner)
                .map_err(|reason| CheckError::Frame { frame: number, reason })?;
        }
        Ok(())
    }

    fn check_pending(&self, module: &Module) -> Result<(), CheckError> {
        let Some(pending) = &self.pending else { return Ok(()) };
        let called = self.frames.last().and_then(|frame| self.called(module, frame));
        if called == Some(pending.function) && pending.function < module.functions_imported() {
            Ok(())
        } else {
            Err(CheckError::NoHostCall)
        }
    }

    /// The function that a frame is about to call.
    fn called(&self, module: &Module, frame: &Frame) -> Option<u32> {
        match module.called_at(frame.function, frame.position)? {
            Called::Function(function) => Some(function),
            Called::Table(table) => {
                let index = match frame.operands.last()? {
                    Value::I32(index) => u64::from(*index),
                    Value::I64(index) => *index,
                    Value::F32(_)
                    | Value::F64(_)
                    | Value::V128(_)
                    | Value::FuncRef(_)
                    | Value::ExternRef(_) => return None,
                };
                let elements = &self.tables.get(table as usize)?.elements;
                *elements.get(usize::try_from(index).ok()?)?
            }
        }
    }

    fn check_globals(&self, module: &Module) -> Result<(), CheckError> {
        count("globals", self.globals.len(), module.globals().len())?;
        for (index, (held, global)) in self.globals.iter().zip(module.globals()).enumerate() {
            let error = |reason| CheckError::Item { what: "global", index, reason };
            check_value(module, *held, global.ty).map_err(error)?;
            let defined = index.checked_sub(module.globals_imported() as usize);
            if let Some(defined) = defined.filter(|_| !global.mutable) {
                let initial = evaluate(module, &module.global_inits()[defined], &self.globals);
                if initial != Ok(*held) {
                    return Err(error("it cannot be set, and has another value"));
                }
            }
        }
        Ok(())
    }

    fn check_memories(&self, module: &Module) -> Result<(), CheckError> {
        count("memories", self.memories.len(), module.memories().len())?;
        let imported = module.imported(ItemKind::Memory);
        for (index, (image, memory)) in self.memories.iter().zip(module.memories()).enumerate() {
            let error = |reason| CheckError::Item { what: "memory", index, reason };
            let most = (self.limits.memory_bytes_max / PAGE_BYTES).max(memory.initial);
            if image.pages < memory.initial {
                return Err(error("it is smaller than it began"));
            }
            let declared = memory.maximum.unwrap_or(u64::MAX);
            if index >= imported && image.pages_max != declared {
                return Err(error("it has another largest size"));
            }
            if image.pages_max > declared || image.pages > image.pages_max.min(most) {
                return Err(error("it is larger than it may be"));
            }
        }
        Ok(())
    }

    fn check_tables(&self, module: &Module) -> Result<(), CheckError> {
        count("tables", self.tables.len(), module.tables().len())?;
        let imported = module.imported(ItemKind::Table);
        for (index, (image, table)) in self.tables.iter().zip(module.tables()).enumerate() {
            let error = |reason| CheckError::Item { what: "table", index, reason };
            let size = image.elements.len() as u64;
            let most = self.limits.table_elements_max.max(table.initial);
            if image.element != table.element {
                return Err(error("its elements are of another type"));
            }
            let declared = table.maximum.unwrap_or(u64::MAX);
            if index >= imported && image.elements_max != declared {
                return Err(error("it has another largest size"));
            }
            let allowed = image.elements_max <= declared && size <= image.elements_max.min(most);
            if size < table.initial || !allowed {
                return Err(error("it is smaller or larger than it may be"));
            }
            let functions = module.function_count();
            let known = |element: &Option<u32>| element.is_none_or(|index| index < functions);
            if table.element == ValType::FuncRef && !image.elements.iter().all(known) {
                return Err(error("it holds a function that does not exist"));
            }
        }
        Ok(())
    }

    fn check_segments(&self, module: &Module) -> Result<(), CheckError> {
        count("element segments", self.dropped_elements.len(), module.elements().len())?;
        count("data segments", self.dropped_data.len(), module.data().len())?;
        let elements = module.elements().iter().map(|element| &element.placement);
        let data = module.data().iter().map(|data| &data.placement);
        let dropped = self.dropped_elements.iter().zip(elements);
        for (dropped, placement) in dropped.chain(self.dropped_data.iter().zip(data)) {
            if *placement != Placement::Passive && !dropped {
                let reason = "it is used at the beginning, and not dropped";
                return Err(CheckError::Item { what: "segment", index: 0, reason });
            }
        }
        Ok(())
    }
}

fn count(what: &'static str, found: usize, wanted: usize) -> Result<(), CheckError> {
    if found == wanted { Ok(()) } else { Err(CheckError::Count { what, found, wanted }) }
}

fn check_value(module: &Module, held: Value, ty: ValType) -> Result<(), &'static str> {
    if held.ty() != ty {
        return Err("a value is of another type");
    }
    if let Value::FuncRef(Some(index)) = held
        && index >= module.function_count()
    {
        return Err("a function does not exist");
    }
    Ok(())
}

fn check_frame(module: &Module, frame: &Frame, inner: Option<&Frame>) -> Result<(), &'static str> {
    if !module.is_defined(frame.function) {
        return Err("there is no such function");
    }
    let body = module.body(frame.function);
    let point = module.point(frame.function, frame.position).ok_or("it is where nothing can be")?;
    let (operands, live_at) = match inner {
        None => {
            if body.canonical(frame.position) != frame.position {
                return Err("its position has another name");
            }
            (&*point.operands, frame.position)
        }
        Some(inner) => {
            let call = point.call.filter(|_| body.class(frame.position) == Class::Call);
            let call = call.ok_or("it is at no call")?;
            if !module.is_defined(inner.function) {
                return Err("what it called does not exist");
            }
            let results = &module.types()[call.type_index as usize].results;
            if module.signature(inner.function).results != *results {
                return Err("what it called gives other results");
            }
            let below = point.operands.len().saturating_sub(call.taken(module));
            (&point.operands[..below], frame.position + 1)
        }
    };
    if frame.operands.len() != operands.len() {
        return Err("it has more or fewer operands");
    }
    for (held, ty) in frame.operands.iter().zip(operands) {
        check_value(module, *held, *ty)?;
    }
    let live = body.live(live_at);
    if !live.eq(frame.locals.iter().map(|(local, _)| *local)) {
        return Err("it has other locals than are needed");
    }
    for (local, held) in &frame.locals {
        check_value(module, *held, body.locals[*local as usize])?;
    }
    Ok(())
}
