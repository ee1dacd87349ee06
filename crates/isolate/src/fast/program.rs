//! One program on the fast tier.

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::{
    AsContextMut, Caller, Extern, Func, Global, Instance, Memory, Ref, ResourceLimiter, Store,
    Table, Val,
};

use crate::dirty::{Ground, PagedState, Region, Rounds};
use crate::fast::build::{GO_ON, Place, SPILL_START, dropped_global};
use crate::fast::engine::{FastCode, Shared, engine_error};
use crate::fast::lower::Own;
use crate::fast::plan::{FRAME_HEAD_BYTES, Reason, slot_bytes};
use crate::host::{Answer, Host, Trap};
use crate::isolate::{Outcome, RestoreError};
use crate::module::ItemKind;
use crate::state::{
    CheckedState, Frame, Limits, MemoryImage, PendingHostCall, TableImage, VmState,
};
use crate::stop::StopHandle;
use crate::value::{ValType, Value};

/// What the engine keeps for the program.
struct Inside {
    host: Box<dyn Host>,
    limits: Limits,
    code: Arc<Shared>,
    pending: Option<PendingHostCall>,
    /// Whether a module beside the main one is being made, whose table counts as none of the program.
    beside: bool,
    /// Functions of the module by where the engine keeps them.
    identities: HashMap<usize, u32>,
    /// Where calls of the host find the program, whichever module they come from; none before it was
    /// made.
    items: Option<Items>,
}

/// What a call of the host needs of its program.
#[derive(Clone, Copy)]
struct Items {
    main: Instance,
    memory: Option<Memory>,
    unwinding: Global,
}

impl ResourceLimiter for Inside {
    fn memory_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // The private memory is made before there is any limit to hold, and does not grow.
        Ok(desired as u64 <= self.limits.memory_bytes_max)
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.beside || desired as u64 <= self.limits.table_elements_max)
    }
}

/// A trap of the host on its way through the engine.
#[derive(Debug)]
struct HostTrap(Trap);

impl std::fmt::Display for HostTrap {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

impl std::error::Error for HostTrap {}

/// One program on the fast tier.
pub(crate) struct Fast {
    code: Arc<Shared>,
    store: Store<Inside>,
    main: Instance,
    /// Where the program was stopped, or the state was, if it has frames.
    frames: Vec<Frame>,
    globals: Vec<Global>,
    memories: Vec<Memory>,
    tables: Vec<Table>,
    private: PrivateItems,
    dropped: (Vec<bool>, Vec<bool>),
    stop: StopHandle,
    ground: Ground,
}

struct PrivateItems {
    memory: Memory,
    unwinding: Global,
    spill: Global,
    read: Global,
    counter: Global,
    references: Global,
    table: Option<Table>,
}

impl Drop for Fast {
    fn drop(&mut self) {
        self.stop.forget_flag();
        self.ground.set(Vec::new());
    }
}

impl Fast {
    /// A program that goes on from a state, which is one of the module of the code.
    pub(crate) fn restore(
        code: &FastCode,
        checked: &CheckedState,
        host: Box<dyn Host>,
        stop: &StopHandle,
    ) -> Result<Self, RestoreError> {
        let code = Arc::clone(&code.0);
        let state = checked.state();
        if state.nan != code.settings.nan {
            return Err(RestoreError::Unsupported("code of another NaN policy"));
        }
        if state.fuel.is_some() {
            return Err(RestoreError::Unsupported("fuel, by the fast tier"));
        }
        let inside = Inside {
            host,
            limits: state.limits,
            code: Arc::clone(&code),
            pending: state.pending.clone(),
            beside: false,
            identities: HashMap::new(),
            items: None,
        };
        let mut store = Store::new(code.compiled.engine(), inside);
        let imports = imports(&code, state, &mut store)?;
        let main = Instance::new(&mut store, &code.compiled, &imports).map_err(engine_error)?;
        store.limiter(|inside| inside);
        let mut program = Self::find_items(code, store, main, stop)?;
        program.store.data_mut().items = Some(Items {
            main,
            memory: program.memories.first().copied(),
            unwinding: program.private.unwinding,
        });
        program.place(state)?;
        let imported = 0..program.code.module.functions_imported();
        let told = |function: u32| program.code.module.signature(function).params.clone();
        if imported.flat_map(|function| told(function).to_vec()).any(ValType::is_reference) {
            // The host is told of functions by their indices.
            program.identify();
        }
        program.frames.clone_from(&state.frames);
        program.stop.flag_at(&program.store, program.private.memory);
        Ok(program)
    }

    fn find_items(
        code: Arc<Shared>,
        mut store: Store<Inside>,
        main: Instance,
        stop: &StopHandle,
    ) -> Result<Self, RestoreError> {
        let missing = || RestoreError::Engine("an item is missing".to_owned());
        let names = &code.main.names;
        let indices = code.main.private;
        let global = |store: &mut Store<Inside>, index: u32| {
            main.get_global(&mut *store, &names.global(index)).ok_or_else(missing)
        };
        let mut globals = Vec::new();
        for index in 0..code.module.globals().len() as u32 {
            globals.push(global(&mut store, index)?);
        }
        let unwinding = global(&mut store, indices.unwinding)?;
        let spill = global(&mut store, indices.spill)?;
        let read = global(&mut store, indices.read)?;
        let counter = global(&mut store, indices.counter)?;
        let references = global(&mut store, indices.references)?;
        let mut memories = Vec::new();
        for index in 0..code.module.memories().len() as u32 {
            memories.push(main.get_memory(&mut store, &names.memory(index)).ok_or_else(missing)?);
        }
        let memory =
            main.get_memory(&mut store, &names.memory(indices.memory)).ok_or_else(missing)?;
        let mut tables = Vec::new();
        for index in 0..code.module.tables().len() as u32 {
            tables.push(main.get_table(&mut store, &names.table(index)).ok_or_else(missing)?);
        }
        let table = main.get_table(&mut store, &names.table(indices.table));
        let private = PrivateItems { memory, unwinding, spill, read, counter, references, table };
        let (stop, ground) = (stop.clone(), Ground::new());
        let (frames, dropped) = (Vec::new(), (Vec::new(), Vec::new()));
        Ok(Self {
            code,
            store,
            main,
            frames,
            globals,
            memories,
            tables,
            private,
            dropped,
            stop,
            ground,
        })
    }

    fn function(&mut self, index: u32) -> Option<Func> {
        let name = self.code.main.names.function(index);
        self.main.get_func(&mut self.store, &name)
    }

    /// Notes where the engine keeps each function, if that was not done yet.
    fn identify(&mut self) {
        if !self.store.data().identities.is_empty() {
            return;
        }
        let mut identities = HashMap::new();
        for index in 0..self.code.module.function_count() {
            if let Some(function) = self.function(index) {
                identities.insert(function.to_raw(&mut self.store) as usize, index);
            }
        }
        self.store.data_mut().identities = identities;
    }

    fn engine_value(&mut self, value: Value) -> Val {
        match value {
            Value::I32(bits) => Val::I32(bits as i32),
            Value::I64(bits) => Val::I64(bits as i64),
            Value::F32(bits) => Val::F32(bits),
            Value::F64(bits) => Val::F64(bits),
            Value::V128(bits) => Val::V128(bits.into()),
            Value::FuncRef(index) => Val::FuncRef(index.and_then(|index| self.function(index))),
            Value::ExternRef(_) => Val::null_extern_ref(),
        }
    }

    fn place(&mut self, state: &VmState) -> Result<(), RestoreError> {
        for (index, value) in state.globals.iter().enumerate() {
            let global = self.globals[index];
            if self.code.module.globals()[index].mutable {
                let value = self.engine_value(*value);
                global.set(&mut self.store, value).map_err(engine_error)?;
            }
        }
        for (memory, image) in self.memories.iter().zip(&state.memories) {
            let size = memory.size(&self.store);
            if size < image.pages {
                memory.grow(&mut self.store, image.pages - size).map_err(engine_error)?;
            }
            image.place(memory.data_mut(&mut self.store));
        }
        for (index, image) in state.tables.iter().enumerate() {
            let table = self.tables[index];
            let (size, wanted) = (table.size(&self.store), image.elements.len() as u64);
            if size < wanted {
                let null = Ref::Func(None);
                table.grow(&mut self.store, wanted - size, null).map_err(engine_error)?;
            }
            for (at, element) in image.elements.iter().enumerate() {
                if let Some(function) = element.and_then(|element| self.function(element)) {
                    let reference = Ref::Func(Some(function));
                    table.set(&mut self.store, at as u64, reference).map_err(engine_error)?;
                }
            }
        }
        self.drop_segments(state)
    }

    /// Drops the segments that were dropped. What the program never drops has no function for it.
    fn drop_segments(&mut self, state: &VmState) -> Result<(), RestoreError> {
        self.dropped = (state.dropped_elements.clone(), state.dropped_data.clone());
        for (index, own) in self.code.plan.own.iter().enumerate() {
            let dropped = match own {
                Own::DataDrop { segment } => state.dropped_data[*segment as usize],
                Own::ElementDrop { segment } => state.dropped_elements[*segment as usize],
                Own::MemoryInit { .. } | Own::TableInit { .. } | Own::Function(_) => false,
            };
            let name = self.code.main.names.own(index);
            let function = self.main.get_func(&mut self.store, &name).filter(|_| dropped);
            if let Some(function) = function {
                function.call(&mut self.store, &[], &mut []).map_err(engine_error)?;
            }
        }
        Ok(())
    }

    /// Calls a function of the module. It must wait to be called.
    pub(crate) fn call(
        &mut self,
        function: u32,
        arguments: &[Value],
        steps: Option<u64>,
    ) -> Outcome {
        if !self.frames.is_empty() {
            return Outcome::Refused("the program does not wait to be called");
        }
        let Some(ty) = self.code.module.function_type(function) else {
            return Outcome::Refused("there is no such function");
        };
        if !ty.params.iter().copied().eq(arguments.iter().map(|value| value.ty())) {
            return Outcome::Refused("the arguments are of other types");
        }
        let Some(called) = self.function(function) else {
            return Outcome::Refused("there is no such function");
        };
        let arguments: Vec<Val> = arguments.iter().map(|value| self.engine_value(*value)).collect();
        self.run(called, function, &arguments, steps)
    }

    /// Goes on with the frames where the program was stopped, or the state was.
    pub(crate) fn resume(&mut self, steps: Option<u64>) -> Outcome {
        let Some(outermost) = self.frames.first().map(|frame| frame.function) else {
            return Outcome::Refused("the program waits to be called");
        };
        match self.place_frames() {
            Ok(go_on) => {
                self.frames.clear();
                self.run(go_on, outermost, &[], steps)
            }
            Err(_) => Outcome::Refused("the frames could not be placed"),
        }
    }

    fn run(
        &mut self,
        called: Func,
        function: u32,
        arguments: &[Val],
        steps: Option<u64>,
    ) -> Outcome {
        if steps.is_some() && !self.code.settings.counted {
            return Outcome::Refused("the code does not count its polls");
        }
        let steps = steps.map_or(i32::MAX, |steps| i32::try_from(steps).unwrap_or(i32::MAX));
        let set = [
            (self.private.counter, steps),
            (self.private.unwinding, 0),
            (self.private.spill, SPILL_START),
            (self.private.references, 0),
        ];
        for (global, value) in set {
            if global.set(&mut self.store, Val::I32(value)).is_err() {
                return Outcome::Refused("the engine refused a global");
            }
        }
        let types = self.code.module.signature(function).results.clone();
        let mut results: Vec<Val> = types.iter().map(|ty| zero(*ty)).collect();
        let called = called.call(&mut self.store, arguments, &mut results);
        if called.is_err() || self.number(self.private.unwinding) == 0 {
            // What was not called again by the end will not be.
            self.store.data_mut().pending = None;
        }
        match called {
            Err(error) => Outcome::Trapped(trap(&error)),
            Ok(()) if self.number(self.private.unwinding) != 0 => match self.take_frames() {
                Ok(frames) if frames.len() > self.store.data().limits.frames_max as usize => {
                    self.trapped(Trap::StackOverflow)
                }
                Ok(frames) if frames.is_empty() => {
                    self.trapped(Trap::Host("a suspended call without a frame".to_owned()))
                }
                Ok(frames) => {
                    self.frames = frames;
                    Outcome::Stopped
                }
                Err(error) => self.trapped(Trap::Host(error.to_string())),
            },
            Ok(()) => {
                self.identify_if_needed(&types);
                Outcome::Returned(
                    types
                        .iter()
                        .zip(&results)
                        .map(|(ty, value)| self.known_value(*ty, value))
                        .collect(),
                )
            }
        }
    }

    /// A trap after the code stopped: what was to be called again will not be.
    fn trapped(&mut self, trap: Trap) -> Outcome {
        self.store.data_mut().pending = None;
        Outcome::Trapped(trap)
    }

    fn identify_if_needed(&mut self, types: &[ValType]) {
        if types.iter().any(|ty| ty.is_reference()) {
            self.identify();
        }
    }

    fn known_value(&mut self, ty: ValType, value: &Val) -> Value {
        from_engine(&mut self.store, ty, value)
    }

    fn number(&mut self, global: Global) -> i32 {
        global.get(&mut self.store).i32().unwrap_or(0)
    }

    /// The frames that were left behind, the outermost first.
    fn take_frames(&mut self) -> Result<Vec<Frame>, RestoreError> {
        if self.code.plan.references {
            self.identify();
        }
        let end = self.number(self.private.spill) as usize;
        let code = Arc::clone(&self.code);
        let broken = || RestoreError::Engine("a frame was left behind broken".to_owned());
        let mut frames = Vec::new();
        let mut at = SPILL_START as usize;
        while at < end {
            let number = self.private_word(at).ok_or_else(broken)?;
            let safepoint = code.plan.safepoints.get(number as usize).ok_or_else(broken)?;
            if frames.is_empty() && safepoint.reason == Reason::Call {
                return Err(RestoreError::Unsupported(
                    "a host call through a table that was suspended",
                ));
            }
            at += FRAME_HEAD_BYTES as usize;
            let mut locals = Vec::with_capacity(safepoint.locals.len());
            for (local, ty) in &safepoint.locals {
                locals.push((*local, self.slot(at, *ty).ok_or_else(broken)?));
                at += slot_bytes(*ty) as usize;
            }
            let mut operands = Vec::with_capacity(safepoint.operands.len());
            for ty in &safepoint.operands {
                operands.push(self.slot(at, *ty).ok_or_else(broken)?);
                at += slot_bytes(*ty) as usize;
            }
            let (function, position) = (safepoint.function, safepoint.position);
            frames.push(Frame { function, position, locals, operands });
        }
        frames.reverse();
        Ok(frames)
    }

    fn private_word(&self, at: usize) -> Option<u32> {
        let bytes = self.private.memory.data(&self.store);
        Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
    }

    fn slot(&mut self, at: usize, ty: ValType) -> Option<Value> {
        let bytes = self.private.memory.data(&self.store).get(at..)?;
        let word = u64::from_le_bytes(*bytes.first_chunk()?);
        if ty == ValType::V128 {
            return Some(Value::V128(u128::from_le_bytes(*bytes.first_chunk()?)));
        }
        if ty.is_reference() {
            let table = self.private.table?;
            let held = table.get(&mut self.store, u64::from(word as u32))?;
            let Ref::Func(function) = held else { return None };
            return Some(self.known_value(ty, &Val::FuncRef(function)));
        }
        Some(Value::from_slot(ty, word))
    }

    /// Writes the frames where their continuations read them, and gives the one of the outermost.
    fn place_frames(&mut self) -> Result<Func, RestoreError> {
        let last = self.frames.len() - 1;
        let places: Vec<Place> = self
            .frames
            .iter()
            .enumerate()
            .map(|(number, frame)| (frame.function, frame.position, number < last))
            .collect();
        let code = Arc::clone(&self.code);
        let kept = code.continuations(places.clone(), places[0])?;
        let imports = self.beside_imports(&kept.compiled)?;
        self.store.data_mut().beside = true;
        let beside = Instance::new(&mut self.store, &kept.compiled, &imports);
        self.store.data_mut().beside = false;
        let beside = beside.map_err(engine_error)?;
        let frames = std::mem::take(&mut self.frames);
        let mut bytes = Vec::new();
        let mut references = 0;
        for (frame, place) in frames.iter().zip(&places) {
            bytes.extend_from_slice(&u64::from(kept.numbers[place]).to_le_bytes());
            let values = frame.locals.iter().map(|(_, value)| value).chain(&frame.operands);
            for value in values {
                self.write_slot(&mut bytes, *value, &mut references)?;
            }
        }
        self.frames = frames;
        let room = self.private.memory.data_mut(&mut self.store);
        let start = SPILL_START as usize;
        let room = room
            .get_mut(start..start + bytes.len())
            .ok_or(RestoreError::Unsupported("frames of more than 64 MiB"))?;
        room.copy_from_slice(&bytes);
        self.private.read.set(&mut self.store, Val::I32(SPILL_START)).map_err(engine_error)?;
        beside
            .get_func(&mut self.store, GO_ON)
            .ok_or_else(|| RestoreError::Engine("nothing goes on".to_owned()))
    }

    fn write_slot(
        &mut self,
        bytes: &mut Vec<u8>,
        value: Value,
        references: &mut u64,
    ) -> Result<(), RestoreError> {
        match value {
            Value::V128(bits) => bytes.extend_from_slice(&bits.to_le_bytes()),
            Value::FuncRef(index) => {
                let function = index.and_then(|index| self.function(index));
                let table = self
                    .private
                    .table
                    .ok_or(RestoreError::Unsupported("a reference in a frame, by this code"))?;
                table
                    .set(&mut self.store, *references, Ref::Func(function))
                    .map_err(engine_error)?;
                bytes.extend_from_slice(&references.to_le_bytes());
                *references += 1;
            }
            Value::I32(_) | Value::I64(_) | Value::F32(_) | Value::F64(_) | Value::ExternRef(_) => {
                bytes.extend_from_slice(&value.to_slot().unwrap_or(0).to_le_bytes());
            }
        }
        Ok(())
    }

    fn beside_imports(&mut self, compiled: &wasmtime::Module) -> Result<Vec<Extern>, RestoreError> {
        let main = self.main;
        compiled
            .imports()
            .map(|import| {
                main.get_export(&mut self.store, import.name())
                    .ok_or_else(|| RestoreError::Engine("an item is missing".to_owned()))
            })
            .collect()
    }

    /// Says where the memories lie, for rounds.
    fn stand(&self) {
        let regions = self
            .memories
            .iter()
            .map(|memory| Region::new(memory.data_ptr(&self.store), memory.data_size(&self.store)));
        self.ground.set(regions.collect());
    }

    /// Begins to copy the memories in rounds.
    pub(crate) fn begin_rounds(&mut self) -> Rounds {
        self.stand();
        let types = self.memories.iter().map(|memory| memory.ty(&self.store));
        let maxima: Vec<u64> = types.map(|ty| ty.maximum().unwrap_or(u64::MAX)).collect();
        Rounds::new(Some(self.ground.clone()), &maxima)
    }

    /// Everything that the program knows, with a last round.
    pub(crate) fn capture_rounds(
        &mut self,
        rounds: &mut Rounds,
    ) -> Result<PagedState, RestoreError> {
        self.stand();
        let memories = self.memories.iter().map(|memory| memory.data(&self.store));
        let sizes = rounds.last(memories);
        let rest = self.capture_with(sizes);
        Ok(rounds.state(rest))
    }

    pub(crate) fn memory(&mut self) -> Option<&mut [u8]> {
        Some(self.memories.first()?.data_mut(&mut self.store))
    }

    /// How many looks were left when the last run ended.
    pub(crate) fn steps_left(&mut self) -> Option<u64> {
        let counted = self.code.settings.counted;
        counted.then(|| u64::try_from(self.number(self.private.counter)).unwrap_or(0))
    }

    /// Everything that the program knows.
    pub(crate) fn capture(&mut self) -> Result<VmState, RestoreError> {
        let mut memories = Vec::new();
        for memory in &self.memories {
            let pages_max = memory.ty(&self.store).maximum().unwrap_or(u64::MAX);
            memories.push(MemoryImage::of(memory.data(&self.store), pages_max));
        }
        Ok(self.capture_with(memories))
    }

    fn capture_with(&mut self, memories: Vec<MemoryImage>) -> VmState {
        let module = Arc::clone(&self.code.module);
        self.learn_drops();
        let types: Vec<ValType> = module.globals().iter().map(|global| global.ty).collect();
        if !self.tables.is_empty() {
            self.identify();
        }
        self.identify_if_needed(&types);
        let mut globals = Vec::new();
        for (global, ty) in self.globals.clone().into_iter().zip(types) {
            let value = global.get(&mut self.store);
            globals.push(self.known_value(ty, &value));
        }
        let mut tables = Vec::new();
        for table in self.tables.clone() {
            tables.push(self.table_image(table));
        }
        VmState {
            module: module.digest(),
            nan: self.code.settings.nan,
            limits: self.store.data().limits,
            fuel: None,
            frames: self.frames.clone(),
            pending: self.store.data().pending.clone(),
            globals,
            memories,
            tables,
            dropped_elements: self.dropped.0.clone(),
            dropped_data: self.dropped.1.clone(),
        }
    }

    /// Notes which segments the program dropped.
    fn learn_drops(&mut self) {
        let code = Arc::clone(&self.code);
        for own in code.plan.drops() {
            let global = dropped_global(&code.module, &code.plan, own);
            let name = global.map(|global| code.main.names.global(global));
            let global = name.and_then(|name| self.main.get_global(&mut self.store, &name));
            if global.is_none_or(|global| self.number(global) == 0) {
                continue;
            }
            match own {
                Own::DataDrop { segment } => self.dropped.1[segment as usize] = true,
                Own::ElementDrop { segment } => self.dropped.0[segment as usize] = true,
                Own::MemoryInit { .. } | Own::TableInit { .. } | Own::Function(_) => {}
            }
        }
    }

    fn table_image(&mut self, table: Table) -> TableImage {
        let elements_max = table.ty(&self.store).maximum().unwrap_or(u64::MAX);
        let mut elements = Vec::new();
        for at in 0..table.size(&self.store) {
            let element = match table.get(&mut self.store, at) {
                Some(Ref::Func(Some(function))) => {
                    let raw = function.to_raw(&mut self.store) as usize;
                    self.store.data().identities.get(&raw).copied()
                }
                _ => None,
            };
            elements.push(element);
        }
        TableImage { element: ValType::FuncRef, elements_max, elements }
    }

    /// Gives back who answered the calls of the program.
    pub(crate) fn into_host(mut self) -> Box<dyn Host> {
        std::mem::replace(&mut self.store.data_mut().host, Box::new(crate::host::NoHost))
    }
}

fn zero(ty: ValType) -> Val {
    match ty {
        ValType::I32 => Val::I32(0),
        ValType::I64 => Val::I64(0),
        ValType::F32 => Val::F32(0),
        ValType::F64 => Val::F64(0),
        ValType::V128 => Val::V128(0_u128.into()),
        ValType::FuncRef => Val::FuncRef(None),
        ValType::ExternRef => Val::null_extern_ref(),
    }
}

fn from_engine(mut store: impl AsContextMut<Data = Inside>, ty: ValType, value: &Val) -> Value {
    match (ty, value) {
        (ValType::I32, Val::I32(bits)) => Value::I32(*bits as u32),
        (ValType::I64, Val::I64(bits)) => Value::I64(*bits as u64),
        (ValType::F32, Val::F32(bits)) => Value::F32(*bits),
        (ValType::F64, Val::F64(bits)) => Value::F64(*bits),
        (ValType::V128, Val::V128(bits)) => Value::V128(bits.as_u128()),
        (ValType::FuncRef, Val::FuncRef(Some(function))) => {
            let raw = function.to_raw(&mut store) as usize;
            Value::FuncRef(store.as_context().data().identities.get(&raw).copied())
        }
        _ => Value::zero(ty),
    }
}

/// What the program trapped for.
fn trap(error: &wasmtime::Error) -> Trap {
    if let Some(HostTrap(trap)) = error.downcast_ref::<HostTrap>() {
        return trap.clone();
    }
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::StackOverflow) => Trap::StackOverflow,
        Some(wasmtime::Trap::MemoryOutOfBounds) => Trap::MemoryOutOfBounds,
        Some(wasmtime::Trap::TableOutOfBounds) => Trap::TableOutOfBounds,
        Some(wasmtime::Trap::IndirectCallToNull) => Trap::IndirectCallToNull,
        Some(wasmtime::Trap::BadSignature) => Trap::BadSignature,
        Some(wasmtime::Trap::IntegerOverflow) => Trap::IntegerOverflow,
        Some(wasmtime::Trap::IntegerDivisionByZero) => Trap::DivisionByZero,
        Some(wasmtime::Trap::BadConversionToInteger) => Trap::BadConversion,
        Some(wasmtime::Trap::UnreachableCodeReached) => Trap::Unreachable,
        _ => Trap::Host(format!("the engine: {error:?}")),
    }
}

/// The items that stand for the imports of a program.
fn imports(
    code: &Arc<Shared>,
    state: &VmState,
    store: &mut Store<Inside>,
) -> Result<Vec<Extern>, RestoreError> {
    let module = &code.module;
    let limit = |most: u64| (most != u64::MAX).then_some(most);
    let mut items = Vec::new();
    for (import, wanted) in module.imports().iter().zip(code.compiled.imports()) {
        let index = import.index as usize;
        let item: Extern = match (import.kind, wanted.ty()) {
            (ItemKind::Function, wasmtime::ExternType::Func(ty)) => {
                let function = import.index;
                let call =
                    move |caller: Caller<'_, Inside>, arguments: &[Val], results: &mut [Val]| {
                        host_call(caller, function, arguments, results)
                    };
                Func::new(&mut *store, ty, call).into()
            }
            (ItemKind::Global, wasmtime::ExternType::Global(ty)) => {
                let value = match state.globals[index] {
                    Value::I32(bits) => Val::I32(bits as i32),
                    Value::I64(bits) => Val::I64(bits as i64),
                    Value::F32(bits) => Val::F32(bits),
                    Value::F64(bits) => Val::F64(bits),
                    Value::V128(bits) => Val::V128(bits.into()),
                    Value::FuncRef(None) => Val::FuncRef(None),
                    Value::FuncRef(Some(_)) | Value::ExternRef(_) => {
                        return Err(RestoreError::Unsupported("an imported reference"));
                    }
                };
                Global::new(&mut *store, ty, value).map_err(engine_error)?.into()
            }
            (ItemKind::Memory, wasmtime::ExternType::Memory(_)) => {
                let image = &state.memories[index];
                let wide = module.memories()[index].memory64;
                let ty = if wide {
                    wasmtime::MemoryType::new64(image.pages, limit(image.pages_max))
                } else {
                    let most = limit(image.pages_max).map(|most| most as u32);
                    wasmtime::MemoryType::new(image.pages as u32, most)
                };
                Memory::new(&mut *store, ty).map_err(engine_error)?.into()
            }
            (ItemKind::Table, wasmtime::ExternType::Table(_)) => {
                let image = &state.tables[index];
                let most = limit(image.elements_max);
                let size = image.elements.len();
                let ty = if module.tables()[index].table64 {
                    wasmtime::TableType::new64(wasmtime::RefType::FUNCREF, size as u64, most)
                } else {
                    let most = most.map(|most| most as u32);
                    wasmtime::TableType::new(wasmtime::RefType::FUNCREF, size as u32, most)
                };
                Table::new(&mut *store, ty, Ref::Func(None)).map_err(engine_error)?.into()
            }
            _ => return Err(RestoreError::Engine("an import of another kind".to_owned())),
        };
        items.push(item);
    }
    Ok(items)
}

/// Answers a call of the program.
fn host_call(
    mut caller: Caller<'_, Inside>,
    function: u32,
    arguments: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    let code = Arc::clone(&caller.data().code);
    let ty = code.module.signature(function);
    let arguments: Vec<Value> = ty
        .params
        .iter()
        .zip(arguments)
        .map(|(ty, value)| from_engine(&mut caller, *ty, value))
        .collect();
    let names = &code.main.names;
    // A continuation calls from a module beside the main one, which exports nothing of the program.
    let Some(items) = caller.data().items else {
        let trap = Trap::Host("a call before the program was made".to_owned());
        return Err(wasmtime::Error::new(HostTrap(trap)));
    };
    let (bytes, inside) = match items.memory {
        Some(memory) => {
            let (bytes, inside) = memory.data_and_store_mut(&mut caller);
            (Some(bytes), inside)
        }
        None => (None, caller.data_mut()),
    };
    let note = inside.pending.take().map(|pending| pending.note);
    match inside.host.call(function, &arguments, bytes, note.as_deref()) {
        Answer::Trap(trap) => Err(wasmtime::Error::new(HostTrap(trap))),
        Answer::Suspend(note) => {
            inside.pending = Some(PendingHostCall { function, note });
            // The engine wants results of the right types, which nobody looks at.
            for (result, ty) in results.iter_mut().zip(&ty.results) {
                *result = zero(*ty);
            }
            items.unwinding.set(&mut caller, Val::I32(1))?;
            Ok(())
        }
        Answer::Return(values) => {
            let types = values.iter().map(|value| value.ty());
            if !types.eq(ty.results.iter().copied()) {
                let trap = Trap::Host("results of other types".to_owned());
                return Err(wasmtime::Error::new(HostTrap(trap)));
            }
            for (result, value) in results.iter_mut().zip(values) {
                *result = match value {
                    Value::I32(bits) => Val::I32(bits as i32),
                    Value::I64(bits) => Val::I64(bits as i64),
                    Value::F32(bits) => Val::F32(bits),
                    Value::F64(bits) => Val::F64(bits),
                    Value::V128(bits) => Val::V128(bits.into()),
                    Value::FuncRef(Some(index)) => {
                        let name = names.function(index);
                        Val::FuncRef(items.main.get_func(&mut caller, &name))
                    }
                    Value::FuncRef(None) | Value::ExternRef(_) => Val::FuncRef(None),
                };
            }
            Ok(())
        }
    }
}
