//! States that somebody changed on purpose, and modules with bytes changed.
//!
//! A changed state is written with the right hashes, so that nothing but its meaning can give it away.
//! It is refused, or it is some state of the module: then both tiers go on from it and have to come to
//! the same end. Nothing may panic, and no tier may be misled.

use std::ops::Range;
use std::sync::Arc;

use whimbrel_isolate::{
    Answer, Code, DecodeLimits, Frame, Host, Module, NanPolicy, Outcome, Trap, ValType, Value,
    VmIsolate, VmState,
};

use crate::program::{LIMITS, SETTINGS, Subject, codes, value};
use crate::random::Random;

/// How far a changed program is followed: in instructions by the interpreter, in looks by compiled
/// code.
const STEPS: u64 = 20_000;

/// How often the state of one program is changed.
const CHANGES: u32 = 12;

/// What came of many changed states and modules.
#[derive(Debug, Default)]
pub struct Attacks {
    /// States that were changed.
    pub states: u64,
    /// Of those, how many could still be read.
    pub read: u64,
    /// Of those, how many were taken as states of their module, and run.
    pub taken: u64,
    /// Of those, how many came to an end on both tiers.
    pub compared: u64,
    /// Modules that were changed.
    pub modules: u64,
    /// Of those, how many were taken.
    pub modules_taken: u64,
    /// Where the tiers came to different ends: the seed, and how.
    pub differences: Vec<(u64, String)>,
}

impl Attacks {
    /// Takes over what came of others.
    pub fn add(&mut self, other: Self) {
        self.states += other.states;
        self.read += other.read;
        self.taken += other.taken;
        self.compared += other.compared;
        self.modules += other.modules;
        self.modules_taken += other.modules_taken;
        self.differences.extend(other.differences);
    }
}

/// Answers every call by what its type wants.
struct Quiet(Arc<Module>);

impl Host for Quiet {
    fn call(
        &mut self,
        function: u32,
        _: &[Value],
        _: Option<&mut [u8]>,
        _: Option<&[u8]>,
    ) -> Answer {
        let ty = self.0.function_type(function);
        let results = ty.map(|ty| ty.results.iter().map(|ty| value(*ty, 5)).collect());
        Answer::Return(results.unwrap_or_default())
    }
}

/// Attacks with the programs of these seeds.
#[must_use]
pub fn attack(seeds: Range<u64>) -> Attacks {
    let mut attacks = Attacks::default();
    for seed in seeds {
        let mut random = Random::new(seed);
        if let Ok(subject) = Subject::make(&mut random) {
            change_module(&subject, &mut random, &mut attacks);
            change_states(&subject, seed, &mut random, &mut attacks);
        }
    }
    attacks
}

fn spawn(code: &Code, state: VmState) -> Option<VmIsolate> {
    let host = Box::new(Quiet(Arc::clone(code.module())));
    VmIsolate::spawn(code, state, host).ok()
}

fn change_module(subject: &Subject, random: &mut Random, attacks: &mut Attacks) {
    let mut bytes = subject.bytes.clone();
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len() as u64) as usize;
        match random.below(3) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            _ => drop(bytes.remove(at)),
        }
    }
    attacks.modules += 1;
    let Ok(module) = Module::parse(&bytes) else { return };
    attacks.modules_taken += 1;
    let module = Arc::new(module);
    let changed = Subject { bytes, module: Arc::clone(&module), calls: Vec::new() };
    let Ok(state) = VmState::initial(&module, &changed, NanPolicy::Canonical, LIMITS) else {
        return;
    };
    for code in codes(&module, SETTINGS) {
        let function = module.exports().first().map_or(0, |export| export.index);
        let Some(ty) = module.function_type(function) else { continue };
        let arguments: Vec<Value> = ty.params.iter().map(|ty| value(*ty, 9)).collect();
        if let Some(mut isolate) = spawn(&code, state.clone()) {
            let _ = isolate.call(function, &arguments, Some(STEPS));
        }
    }
}

fn change_states(subject: &Subject, seed: u64, random: &mut Random, attacks: &mut Attacks) {
    let module = &subject.module;
    let codes = codes(module, SETTINGS);
    let [fast, reference] = codes.as_slice() else { return };
    let Ok(initial) = VmState::initial(module, subject, NanPolicy::Canonical, LIMITS) else {
        return;
    };
    let Some((_, function, arguments)) = subject.calls.get(random.below(4) as usize) else {
        return;
    };
    let Some(mut isolate) = spawn(reference, initial) else { return };
    if isolate.call(*function, arguments, Some(1 + random.below(200))) != Outcome::Stopped {
        return;
    }
    let Ok(state) = isolate.capture() else { return };
    for _ in 0..CHANGES {
        attacks.states += 1;
        let Some(changed) = changed(&state, module, random) else { continue };
        attacks.read += 1;
        if changed.clone().check(module).is_err() {
            continue;
        }
        attacks.taken += 1;
        let ends: Vec<Option<(Outcome, VmState)>> =
            [fast, reference].into_iter().map(|code| end(code, changed.clone())).collect();
        let [Some(one), Some(other)] = ends.as_slice() else { continue };
        attacks.compared += 1;
        if one != other {
            let how = how(one, other);
            attacks.differences.push((seed, how));
        }
    }
}

/// How two ends differ.
fn how(one: &(Outcome, VmState), other: &(Outcome, VmState)) -> String {
    let (left, right) = (&one.1, &other.1);
    let parts = [
        ("pending", left.pending != right.pending),
        ("limits", left.limits != right.limits),
        ("frames", left.frames != right.frames),
        ("globals", left.globals != right.globals),
        ("memories", left.memories != right.memories),
        ("tables", left.tables != right.tables),
        ("element segments", left.dropped_elements != right.dropped_elements),
        ("data segments", left.dropped_data != right.dropped_data),
    ];
    let parts: Vec<&str> = parts.iter().filter(|it| it.1).map(|it| it.0).collect();
    format!("{:?} on compiled code, {:?} on the interpreter; left: {parts:?}", one.0, other.0)
}

/// How a state ends on a tier, and what is left; `None` if by a limit in which the tiers differ.
fn end(code: &Code, state: VmState) -> Option<(Outcome, VmState)> {
    let mut isolate = spawn(code, state)?;
    match isolate.resume(Some(STEPS)) {
        Outcome::Stopped
        | Outcome::Refused(_)
        | Outcome::Trapped(Trap::StackOverflow | Trap::Host(_) | Trap::OutOfFuel) => None,
        outcome @ (Outcome::Returned(_) | Outcome::Trapped(_)) => {
            Some((outcome, isolate.capture().ok()?))
        }
    }
}

/// Another state by a few changes, through bytes whose hashes are right. `None` if it cannot be read.
fn changed(state: &VmState, module: &Module, random: &mut Random) -> Option<VmState> {
    let mut state = state.clone();
    for _ in 0..1 + random.below(3) {
        change(&mut state, module, random);
    }
    let mut bytes = state.encode();
    if random.below(3) == 0 {
        // Some bytes of the head as well, with the digest made right again.
        let blocks: usize = state.memories.iter().map(|memory| memory.numbers().len()).sum();
        let head = bytes.len() - blocks * whimbrel_isolate::BLOCK_BYTES - 32;
        for _ in 0..1 + random.below(3) {
            let at = 18 + random.below(head as u64 - 18) as usize;
            bytes[at] = if random.below(2) == 0 { random.next() as u8 } else { bytes[at] ^ 1 };
        }
        let digest = *blake3::hash(&bytes[..head]).as_bytes();
        bytes[head..head + 32].copy_from_slice(&digest);
    }
    let read = VmState::decode(&bytes, &DecodeLimits::WIDE).ok()?;
    assert_eq!(read.encode(), bytes, "a state was read that is written in another way");
    Some(read)
}

const TYPES: [ValType; 7] = [
    ValType::I32,
    ValType::I64,
    ValType::F32,
    ValType::F64,
    ValType::V128,
    ValType::FuncRef,
    ValType::ExternRef,
];

fn any(random: &mut Random) -> Value {
    let ty = TYPES[random.below(7) as usize];
    if ty == ValType::FuncRef {
        Value::FuncRef(Some(random.below(12) as u32))
    } else {
        value(ty, random.next())
    }
}

fn change(state: &mut VmState, module: &Module, random: &mut Random) {
    let held = any(random);
    let number = random.next();
    let functions = module.exports().len() as u64 + 4;
    if random.below(2) == 0 {
        change_frames(&mut state.frames, (number, functions), held);
    } else {
        change_rest(state, number, held);
    }
}

/// Another value: of any type, or of the same.
fn replaced(before: Value, held: Value, number: u64) -> Value {
    if number & 1 << 40 == 0 { held } else { value(before.ty(), number) }
}

fn change_frames(frames: &mut Vec<Frame>, (number, functions): (u64, u64), held: Value) {
    let at = number as usize / 16 % frames.len().max(1);
    let Some(frame) = frames.get_mut(at) else { return };
    match number % 8 {
        0 => frame.function = (number / 64 % functions) as u32,
        1 => frame.position = (number / 64 % 300) as u32,
        2 => drop(frame.locals.pop()),
        3 => {
            let at = number as usize / 64 % frame.locals.len().max(1);
            let local = frame.locals.get_mut(at);
            local.into_iter().for_each(|local| local.1 = replaced(local.1, held, number));
        }
        4 => frame.operands.push(held),
        5 => drop(frame.operands.pop()),
        6 => {
            let copy = frame.clone();
            frames.push(copy);
        }
        _ => drop(frames.pop()),
    }
}

fn change_rest(state: &mut VmState, number: u64, held: Value) {
    let pick = |length: usize| number as usize / 16 % length.max(1);
    match number % 9 {
        0 => {
            let at = pick(state.globals.len());
            let global = state.globals.get_mut(at);
            global.into_iter().for_each(|global| *global = replaced(*global, held, number));
        }
        1 => {
            let at = pick(state.tables.len());
            state.tables.iter_mut().skip(at).take(1).for_each(|table| match number >> 30 & 3 {
                0 => table.elements.push(Some(1)),
                1 => drop(table.elements.pop()),
                2 => table.elements_max = number / 128 % 5_000,
                _ => table.elements.iter_mut().for_each(|it| *it = Some((number / 256 % 9) as u32)),
            });
        }
        2 => {
            let at = pick(state.memories.len());
            state.memories.iter_mut().skip(at).take(1).for_each(|memory| match number >> 30 & 3 {
                0 => memory.pages = number / 128 % 70,
                1 => memory.pages_max = number / 128 % 70,
                _ => memory.pages = number,
            });
        }
        3 => state.memories.reverse(),
        4 => state.dropped_data.iter_mut().for_each(|dropped| *dropped = !*dropped),
        5 => state.dropped_elements.iter_mut().for_each(|dropped| *dropped = !*dropped),
        6 => state.limits.frames_max = (number / 64 % 300) as u32,
        7 => state.limits.memory_bytes_max = number / 64 % (1 << 23),
        _ => state.frames.reverse(),
    }
}
