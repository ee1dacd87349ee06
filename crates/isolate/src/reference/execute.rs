//! Executes the code of the interpreter.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::host::{Answer, Host, Trap};
use crate::module::Module;
use crate::reference::code::{Branch, Code, Op, VectorOp};
use crate::reference::machine::{
    Activation, Machine, Memory, Program, Table, copy_between, copy_within, slice_mut,
};
use crate::reference::numeric::{
    Canonical, Slot, divide, i32_of_f32, i32_of_f64, i64_of_f32, i64_of_f64, narrow, numeric_ops,
    remain, u32_of_f32, u32_of_f64, u64_of_f32, u64_of_f64, wide,
};
use crate::reference::vector::{Access, AccessKind, Floats, replace, shuffle};
use crate::state::PAGE_BYTES;
use crate::value::Value;

/// Why the interpreter came back.
#[derive(Debug)]
pub(super) enum Halt {
    /// The outermost frame returned; its results lie in the first slots.
    Done,
    /// It was asked to stop, or the count is used up.
    Stopped,
    /// A host call was suspended with this note.
    Suspended(Vec<u8>),
    Trapped(Trap),
}

/// What stops the program beside itself.
pub(super) struct Until<'a> {
    /// Looked at before jumps back and at calls.
    pub(super) asked: &'a AtomicBool,
    /// How many instructions may be executed; counted only if `COUNTED`.
    pub(super) count: u64,
}

macro_rules! cold {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(trap) => return Halt::Trapped(trap),
        }
    };
}

/// Goes on with the innermost frame. `COUNTED`: every instruction is counted. `CANONICAL`: arithmetic
/// gives one NaN only.
/// `VECTORS`: slots have high halves.
pub(super) fn execute<const COUNTED: bool, const CANONICAL: bool, const VECTORS: bool>(
    module: &Module,
    program: &Program,
    machine: &mut Machine,
    host: &mut dyn Host,
    note: &mut Option<Vec<u8>>,
    until: &mut Until<'_>,
) -> Halt {
    let Some(&Activation { function, at, mut base }) = machine.frames.last() else {
        return Halt::Done;
    };
    let mut code: &Code = program.code(function);
    let mut at = at as usize;
    // The slots of the frame, by one look at their bounds.
    let mut slots: &mut [u64];
    let mut highs: &mut [u64];
    macro_rules! open_window {
        () => {
            slots = &mut machine.slots[base..base + code.slots as usize];
            highs =
                if VECTORS { &mut machine.high[base..base + code.slots as usize] } else { &mut [] };
        };
    }
    open_window!();
    macro_rules! get {
        ($slot:expr) => {
            slots[$slot as usize]
        };
    }
    macro_rules! keep_place {
        () => {
            if let Some(frame) = machine.frames.last_mut() {
                frame.at = at as u32;
            }
        };
    }
    macro_rules! stop_if_asked {
        ($at:expr) => {
            if until.asked.load(Ordering::Relaxed) {
                at = $at as usize;
                keep_place!();
                return Halt::Stopped;
            }
        };
    }
    macro_rules! jump {
        ($to:expr) => {{
            let to = $to as usize;
            if to <= at {
                stop_if_asked!(to);
            }
            at = to;
        }};
    }
    macro_rules! copy_slots {
        ($from:expr, $count:expr, $into:expr) => {
            copy::<VECTORS>((&mut *slots, &mut *highs), $from, $count, $into)
        };
    }
    macro_rules! branch {
        ($number:expr) => {{
            let Branch { to, from, into, count } = code.branches[$number as usize];
            copy_slots!(from, count, into);
            jump!(to);
        }};
    }
    macro_rules! load_frame {
        () => {
            match machine.frames.last() {
                None => return Halt::Done,
                Some(frame) => {
                    code = program.code(frame.function);
                    at = frame.at as usize;
                    base = frame.base;
                    open_window!();
                }
            }
        };
    }
    // A call that leaves a frame: the caller stays at its call until it returns.
    macro_rules! call {
        ($callee:expr, $a:expr) => {{
            let callee = $callee;
            at -= 1;
            keep_place!();
            let target = program.code(callee);
            let callee_base = base + $a as usize;
            cold!(machine.enter(target, callee, callee_base));
            code = target;
            at = 0;
            base = callee_base;
            open_window!();
            stop_if_asked!(0);
        }};
    }
    macro_rules! call_host {
        ($callee:expr, $a:expr, $leave:expr) => {{
            at -= 1;
            keep_place!();
            let from = base + $a as usize;
            match host_call(module, machine, host, note, $callee, from) {
                Ok(None) => {}
                Ok(Some(noted)) => return Halt::Suspended(noted),
                Err(trap) => return Halt::Trapped(trap),
            }
            open_window!();
            at += 1;
            if $leave {
                copy_slots!($a, code.results, 0_u16);
                machine.frames.pop();
                return_to_caller!();
            } else if until.asked.load(Ordering::Relaxed) {
                keep_place!();
                return Halt::Stopped;
            }
        }};
    }
    macro_rules! return_to_caller {
        () => {{
            load_frame!();
            at += 1;
            keep_place!();
        }};
    }
    macro_rules! tail_call {
        ($callee:expr, $a:expr) => {{
            let callee = $callee;
            if module.is_defined(callee) {
                let target = program.code(callee);
                copy_slots!($a, target.params, 0_u16);
                machine.reserve(target, base);
                if let Some(frame) = machine.frames.last_mut() {
                    frame.function = callee;
                }
                code = target;
                at = 0;
                open_window!();
                stop_if_asked!(0);
            } else {
                call_host!(callee, $a, true);
            }
        }};
    }
    macro_rules! indirect {
        ($i:expr, $table:expr, $ty:expr) => {
            cold!(find_callee(module, &machine.tables, get!($i), $table, $ty))
        };
    }
    loop {
        if COUNTED {
            if until.count == 0 {
                keep_place!();
                return Halt::Stopped;
            }
            until.count -= 1;
        }
        let op = code.ops[at];
        at += 1;
        macro_rules! dispatch {
            (
                binary { $($b:ident($bi:ty, |$b1:ident, $b2:ident| $be:expr))* }
                float_binary { $($fb:ident($fbi:ty, |$fb1:ident, $fb2:ident| $fbe:expr))* }
                try_binary { $($tb:ident($tbi:ty, |$tb1:ident, $tb2:ident| $tbe:expr))* }
                unary { $($u:ident($ui:ty, |$u1:ident| $ue:expr))* }
                float_unary { $($fu:ident($fui:ty, |$fu1:ident| $fue:expr))* }
                try_unary { $($tu:ident($tui:ty, $tue:expr))* }
                load { $($l:ident($ln:expr, |$l1:ident| $le:expr))* }
                store { $($s:ident($sn:expr, |$s1:ident| $se:expr))* }
            ) => {
                match op {
                    $(Op::$b { d, a, b } => {
                        let ($b1, $b2) = (<$bi>::from_slot(get!(a)), <$bi>::from_slot(get!(b)));
                        get!(d) = Slot::to_slot($be);
                    })*
                    $(Op::$fb { d, a, b } => {
                        let ($fb1, $fb2) = (<$fbi>::from_slot(get!(a)), <$fbi>::from_slot(get!(b)));
                        let result = $fbe;
                        get!(d) = if CANONICAL { result.canonical() } else { result }.to_slot();
                    })*
                    $(Op::$tb { d, a, b } => {
                        let ($tb1, $tb2) = (<$tbi>::from_slot(get!(a)), <$tbi>::from_slot(get!(b)));
                        get!(d) = Slot::to_slot(cold!($tbe));
                    })*
                    $(Op::$u { d, a } => {
                        let $u1 = <$ui>::from_slot(get!(a));
                        get!(d) = Slot::to_slot($ue);
                    })*
                    $(Op::$fu { d, a } => {
                        let $fu1 = <$fui>::from_slot(get!(a));
                        let result = $fue;
                        get!(d) = if CANONICAL { result.canonical() } else { result }.to_slot();
                    })*
                    $(Op::$tu { d, a } => {
                        get!(d) = Slot::to_slot(cold!($tue(<$tui>::from_slot(get!(a)))));
                    })*
                    $(Op::$l { d, a, memory, offset } => {
                        let bytes = &machine.memories[memory as usize].bytes;
                        let Some($l1) = read::<$ln>(bytes, get!(a), offset) else {
                            return Halt::Trapped(Trap::MemoryOutOfBounds);
                        };
                        get!(d) = Slot::to_slot($le);
                    })*
                    $(Op::$s { a, b, memory, offset } => {
                        let bytes = &mut machine.memories[memory as usize].bytes;
                        let $s1 = get!(b);
                        if write::<$sn>(bytes, get!(a), offset, $se).is_none() {
                            return Halt::Trapped(Trap::MemoryOutOfBounds);
                        }
                    })*
                    Op::Const { d, value } => get!(d) = value,
                    Op::Copy { d, a } => copy_slots!(a, 1_u16, d),
                    Op::Drop => {}
                    Op::Select { d, a, b, c } => {
                        let from = if get!(c) as u32 != 0 { a } else { b };
                        copy_slots!(from, 1_u16, d);
                    }
                    Op::GlobalGet { d, global } => {
                        let from = (&*machine.globals, &*machine.globals_high, global as usize);
                        carry::<VECTORS>(from, (&mut *slots, &mut *highs, d as usize));
                    }
                    Op::GlobalSet { a, global } => {
                        let (low, high) = (&mut *machine.globals, &mut *machine.globals_high);
                        let from = (&*slots, &*highs, a as usize);
                        carry::<VECTORS>(from, (low, high, global as usize));
                    }
                    Op::Jump { to } => jump!(to),
                    Op::JumpIf { a, to } => {
                        if get!(a) as u32 != 0 {
                            jump!(to);
                        }
                    }
                    Op::JumpUnless { a, to } => {
                        if get!(a) as u32 == 0 {
                            jump!(to);
                        }
                    }
                    Op::Branch { branch } => branch!(branch),
                    Op::BranchIf { a, branch } => {
                        if get!(a) as u32 != 0 {
                            branch!(branch);
                        }
                    }
                    Op::Table { a, first, count } => {
                        branch!(first + (get!(a) as u32).min(count - 1));
                    }
                    Op::Return { a } => {
                        copy_slots!(a, code.results, 0_u16);
                        machine.frames.pop();
                        return_to_caller!();
                    }
                    Op::Unreachable => return Halt::Trapped(Trap::Unreachable),
                    Op::Call { a, function } => call!(function, a),
                    Op::CallHost { a, function } => call_host!(function, a, false),
                    Op::CallIndirect { a, i, table, ty } => {
                        let callee = indirect!(i, table, ty);
                        if module.is_defined(callee) {
                            call!(callee, a);
                        } else {
                            call_host!(callee, a, false);
                        }
                    }
                    Op::ReturnCall { a, function } => tail_call!(function, a),
                    Op::ReturnCallIndirect { a, i, table, ty } => {
                        let callee = indirect!(i, table, ty);
                        tail_call!(callee, a);
                    }
                    Op::RefIsNull { d, a } => get!(d) = u64::from(get!(a) == 0),
                    Op::MemorySize { d, memory } => {
                        get!(d) = machine.memories[memory as usize].bytes.len() as u64 / PAGE_BYTES;
                    }
                    Op::MemoryGrow { d, a, memory } => {
                        get!(d) = grow_memory(&mut machine.memories[memory as usize], get!(a));
                    }
                    Op::TableGet { d, a, table } => {
                        let table = &mut machine.tables[table as usize];
                        get!(d) = *cold!(element(table, get!(a)));
                    }
                    Op::TableSet { a, b, table } => {
                        *cold!(element(&mut machine.tables[table as usize], get!(a))) = get!(b);
                    }
                    Op::TableSize { d, table } => {
                        get!(d) = machine.tables[table as usize].elements.len() as u64;
                    }
                    Op::TableGrow { d, a, b, table } => {
                        get!(d) = grow_table(&mut machine.tables[table as usize], get!(b), get!(a));
                    }
                    Op::DataDrop { segment } => machine.data[segment as usize].dropped = true,
                    Op::ElemDrop { segment } => machine.elements[segment as usize].dropped = true,
                    Op::MemoryCopy { a, .. }
                    | Op::MemoryFill { a, .. }
                    | Op::MemoryInit { a, .. }
                    | Op::TableFill { a, .. }
                    | Op::TableCopy { a, .. }
                    | Op::TableInit { a, .. } => {
                        let operands = [get!(a), get!(a + 1), get!(a + 2)];
                        cold!(bulk(machine, op, operands));
                        open_window!();
                    }
                    Op::Vector { number } => {
                        let halves = (&mut *slots, &mut *highs);
                        cold!(vector::<CANONICAL>(code, &mut machine.memories, halves, number));
                    }
                }
            };
        }
        numeric_ops!(dispatch);
    }
}

/// Copies so many slots to where they may overlap.
#[inline(always)]
fn copy<const VECTORS: bool>(
    (slots, highs): (&mut [u64], &mut [u64]),
    from: impl Into<usize>,
    count: impl TryInto<usize>,
    into: impl Into<usize>,
) {
    let (from, into) = (from.into(), into.into());
    // How many results or parameters there are fits: a module is not so large.
    let count = count.try_into().unwrap_or(0);
    if count == 1 {
        slots[into] = slots[from];
        if VECTORS {
            highs[into] = highs[from];
        }
    } else if count != 0 {
        slots.copy_within(from..from + count, into);
        if VECTORS {
            highs.copy_within(from..from + count, into);
        }
    }
}

/// Copies a slot of one place to a slot of another.
#[inline(always)]
fn carry<const VECTORS: bool>(
    from: (&[u64], &[u64], usize),
    into: (&mut [u64], &mut [u64], usize),
) {
    into.0[into.2] = from.0[from.2];
    if VECTORS {
        into.1[into.2] = from.1[from.2];
    }
}

fn grow_memory(memory: &mut Memory, pages: u64) -> u64 {
    memory.grow(pages).unwrap_or_else(|| failed(memory.memory64))
}

fn grow_table(table: &mut Table, by: u64, with: u64) -> u64 {
    table.grow(by, with).unwrap_or_else(|| failed(table.table64))
}

fn element(table: &mut Table, at: u64) -> Result<&mut u64, Trap> {
    let element = usize::try_from(at).ok().and_then(|at| table.elements.get_mut(at));
    element.ok_or(Trap::TableOutOfBounds)
}

/// What growing gives when it fails.
fn failed(wide: bool) -> u64 {
    if wide { u64::MAX } else { u64::from(u32::MAX) }
}

#[inline(always)]
fn read<const N: usize>(bytes: &[u8], address: u64, offset: u64) -> Option<[u8; N]> {
    let start = usize::try_from(address.checked_add(offset)?).ok()?;
    bytes.get(start..)?.first_chunk::<N>().copied()
}

#[inline(always)]
fn write<const N: usize>(
    bytes: &mut [u8],
    address: u64,
    offset: u64,
    value: [u8; N],
) -> Option<()> {
    let start = usize::try_from(address.checked_add(offset)?).ok()?;
    *bytes.get_mut(start..)?.first_chunk_mut::<N>()? = value;
    Some(())
}

fn find_callee(
    module: &Module,
    tables: &[Table],
    index: u64,
    table: u32,
    ty: u32,
) -> Result<u32, Trap> {
    let elements = &tables[table as usize].elements;
    let index = usize::try_from(index).map_err(|_| Trap::TableOutOfBounds)?;
    let element = *elements.get(index).ok_or(Trap::TableOutOfBounds)?;
    let callee = element.checked_sub(1).ok_or(Trap::IndirectCallToNull)? as u32;
    if *module.signature(callee) == module.types()[ty as usize] {
        Ok(callee)
    } else {
        Err(Trap::BadSignature)
    }
}

/// Executes an instruction on vectors.
fn vector<const CANONICAL: bool>(
    code: &Code,
    memories: &mut [Memory],
    (slots, highs): (&mut [u64], &mut [u64]),
    number: u32,
) -> Result<(), Trap> {
    if highs.is_empty() {
        // No vectors were found in the module, and so there can be none here.
        return Err(Trap::Unreachable);
    }
    let get = |at: u16| u128::from(highs[at as usize]) << 64 | u128::from(slots[at as usize]);
    let scalar = |at: u16| slots[at as usize];
    let checked = |floats: Floats, vector| {
        if CANONICAL { floats.canonical(vector) } else { vector }
    };
    let (d, result) = match code.vectors[number as usize] {
        VectorOp::Const { d, constant } => (d, code.constants[constant as usize]),
        VectorOp::One { d, a, floats, of } => (d, checked(floats, of(get(a)))),
        VectorOp::Two { d, a, b, floats, of } => (d, checked(floats, of(get(a), get(b)))),
        VectorOp::Shift { d, a, b, of } => (d, of(get(a), scalar(b) as u32)),
        VectorOp::Splat { d, a, of } => (d, of(scalar(a))),
        VectorOp::Test { d, a, of } => (d, u128::from(of(get(a)))),
        VectorOp::Select { d, a, b, c } => (d, get(a) & get(c) | get(b) & !get(c)),
        VectorOp::Shuffle { d, a, b, constant } => {
            (d, shuffle(get(a), get(b), code.constants[constant as usize].to_le_bytes()))
        }
        VectorOp::ExtractLane { d, a, lane, of } => (d, u128::from(of(get(a), u32::from(lane)))),
        VectorOp::ReplaceLane { d, a, b, lane, bits } => (d, replace(get(a), get(b), bits, lane)),
        VectorOp::Access { d, a, b, access } => {
            let Access { memory, offset, kind } = code.accesses[access as usize];
            let bytes = &mut memories[memory as usize].bytes;
            match reach(bytes, scalar(a), offset, kind, get(b)).ok_or(Trap::MemoryOutOfBounds)? {
                Some(loaded) => (d, loaded),
                None => return Ok(()),
            }
        }
    };
    slots[d as usize] = result as u64;
    highs[d as usize] = (result >> 64) as u64;
    Ok(())
}

/// Loads or stores a vector or a lane; what was loaded. `None` if the address is beyond the memory.
fn reach(
    bytes: &mut [u8],
    address: u64,
    offset: u64,
    kind: AccessKind,
    vector: u128,
) -> Option<Option<u128>> {
    let count = match kind {
        AccessKind::Store => 16,
        AccessKind::Load { bytes, .. }
        | AccessKind::LoadLane { bytes, .. }
        | AccessKind::StoreLane { bytes, .. } => u64::from(bytes),
    };
    let place = slice_mut(bytes, address.checked_add(offset)?, count)?;
    let mut wide = [0; 16];
    Some(match kind {
        AccessKind::Load { make, .. } => {
            wide[..place.len()].copy_from_slice(place);
            Some(make(u128::from_le_bytes(wide)))
        }
        AccessKind::LoadLane { bytes, lane } => {
            wide[..place.len()].copy_from_slice(place);
            Some(replace(vector, u128::from_le_bytes(wide), bytes * 8, lane))
        }
        AccessKind::Store => {
            place.copy_from_slice(&vector.to_le_bytes());
            None
        }
        AccessKind::StoreLane { bytes, lane } => {
            let from = bytes as usize * lane as usize;
            place.copy_from_slice(&vector.to_le_bytes()[from..from + place.len()]);
            None
        }
    })
}

/// Copies, fills and initialises; the operands are destination, source or value, and length.
#[allow(clippy::wildcard_enum_match_arm, reason = "only bulk instructions come here")]
fn bulk(machine: &mut Machine, op: Op, [to, from, count]: [u64; 3]) -> Result<(), Trap> {
    let memory_error = Trap::MemoryOutOfBounds;
    let table_error = Trap::TableOutOfBounds;
    match op {
        Op::MemoryFill { memory, .. } => {
            let bytes = &mut machine.memories[memory as usize].bytes;
            slice_mut(bytes, to, count).ok_or(memory_error)?.fill(from as u8);
        }
        Op::MemoryInit { memory, segment, .. } => {
            let into = &mut machine.memories[memory as usize].bytes;
            let data = machine.data[segment as usize].entries();
            copy_between((into, to), (data, from), count).ok_or(memory_error)?;
        }
        Op::MemoryCopy { to: into, from: source, .. } if into == source => {
            let bytes = &mut machine.memories[into as usize].bytes;
            copy_within(bytes, to, from, count).ok_or(memory_error)?;
        }
        Op::MemoryCopy { to: into, from: source, .. } => {
            let list = &mut machine.memories;
            let [into, source] = list
                .get_disjoint_mut([into as usize, source as usize])
                .map_err(|_| memory_error.clone())?;
            copy_between((&mut into.bytes, to), (&source.bytes, from), count)
                .ok_or(memory_error)?;
        }
        Op::TableFill { table, .. } => {
            let elements = &mut machine.tables[table as usize].elements;
            slice_mut(elements, to, count).ok_or(table_error)?.fill(from);
        }
        Op::TableInit { table, segment, .. } => {
            let into = &mut machine.tables[table as usize].elements;
            let elements = machine.elements[segment as usize].entries();
            copy_between((into, to), (elements, from), count).ok_or(table_error)?;
        }
        Op::TableCopy { to: into, from: source, .. } if into == source => {
            let elements = &mut machine.tables[into as usize].elements;
            copy_within(elements, to, from, count).ok_or(table_error)?;
        }
        Op::TableCopy { to: into, from: source, .. } => {
            let list = &mut machine.tables;
            let [into, source] = list
                .get_disjoint_mut([into as usize, source as usize])
                .map_err(|_| table_error.clone())?;
            copy_between((&mut into.elements, to), (&source.elements, from), count)
                .ok_or(table_error)?;
        }
        _ => return Err(Trap::Unreachable),
    }
    Ok(())
}

/// Calls the host with the arguments from this slot on, and puts the results there. Gives the note of
/// a call that was suspended.
fn host_call(
    module: &Module,
    machine: &mut Machine,
    host: &mut dyn Host,
    note: &mut Option<Vec<u8>>,
    function: u32,
    from: usize,
) -> Result<Option<Vec<u8>>, Trap> {
    let ty = module.signature(function);
    let halves = (from..).map(|at| machine.halves(at));
    let arguments: Vec<Value> = ty
        .params
        .iter()
        .zip(halves)
        .map(|(ty, (low, high))| Value::from_slots(*ty, low, high))
        .collect();
    let memory = machine.memories.first_mut().map(|memory| &mut *memory.bytes);
    match host.call(function, &arguments, memory, note.take().as_deref()) {
        Answer::Suspend(noted) => Ok(Some(noted)),
        Answer::Trap(trap) => Err(trap),
        Answer::Return(results) => {
            let types = results.iter().map(|result| result.ty());
            if !types.eq(ty.results.iter().copied()) {
                return Err(Trap::Host("results of other types".to_owned()));
            }
            machine.have_slots(from + results.len());
            for (at, result) in results.into_iter().enumerate() {
                machine.put(from + at, result);
            }
            Ok(None)
        }
    }
}
