//! Decides which functions a guest may import, and who does them: those of `whimbrel` are here, those
//! of WASI in [`wasi`](crate::wasi).
//!
//! Pointers and lengths are i32 and mean bytes of the guest's first memory. What points outside of it
//! traps. All functions of `whimbrel` are over at once: none waits.

use whimbrel_wire::EntityId;

use super::desk::{Denied, Desk, SharedDesk};
use crate::host::{Answer, Environment, Host, Supply, Trap};
use crate::module::{Import, ItemKind, Module};
use crate::value::{FuncType, ValType, Value};
use crate::wasi::{self, Known, Served};

/// The name of the module that they are imported from.
pub const IMPORT_MODULE: &str = "whimbrel";

const I32: ValType = ValType::I32;
const I64: ValType = ValType::I64;

/// A function that a guest can import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Answer,
    Send,
    Publish,
    SetTimer,
    CancelTimer,
    Now,
    Random,
    Entity,
    Decline,
}

/// All of them: name, parameters, results.
const CALLS: [(Call, &str, &[ValType], &[ValType]); 9] = [
    (Call::Answer, "answer", &[I32, I32], &[]),
    (Call::Send, "send", &[I32, I32, I32], &[]),
    (Call::Publish, "publish", &[I32, I32, I32, I32], &[]),
    (Call::SetTimer, "set_timer", &[I64, I64], &[]),
    (Call::CancelTimer, "cancel_timer", &[I64], &[]),
    (Call::Now, "now", &[], &[I64]),
    (Call::Random, "random", &[I32, I32], &[]),
    (Call::Entity, "entity", &[I32], &[]),
    (Call::Decline, "decline", &[I32, I32], &[]),
];

/// A function that is supplied.
#[derive(Clone, Copy)]
enum Supplied {
    Own(Call),
    Wasi(Known),
}

fn find(import: &Import) -> Option<(Supplied, FuncType)> {
    if import.kind != ItemKind::Function {
        return None;
    }
    if import.module == wasi::IMPORT_MODULE {
        let known = wasi::find(&import.name)?;
        return Some((Supplied::Wasi(known), known.ty()));
    }
    if import.module != IMPORT_MODULE {
        return None;
    }
    let (call, _, params, results) = CALLS.iter().find(|(_, name, ..)| *name == import.name)?;
    Some((Supplied::Own(*call), FuncType { params: (*params).into(), results: (*results).into() }))
}

/// What every isolate is supplied with.
pub(super) struct Supplies;

impl Environment for Supplies {
    fn supply(&self, import: &Import) -> Option<Supply> {
        find(import).map(|(_, ty)| Supply::Function(ty))
    }
}

/// Whether a module knows anything through WASI.
pub(super) fn uses_wasi(module: &Module) -> bool {
    module.imports().iter().any(|import| import.module == wasi::IMPORT_MODULE)
}

/// The imports of a module that nobody supplies, for people.
pub(super) fn missing(module: &Module) -> Option<String> {
    let lacks = module.imports().iter().filter(|import| Supplies.supply(import).is_none());
    let names: Vec<String> =
        lacks.map(|import| format!("{}.{}", import.module, import.name)).take(8).collect();
    (!names.is_empty())
        .then(|| format!("the module imports what is not supplied: {}", names.join(", ")))
}

/// Answers the calls of one program, at a desk.
pub(super) struct Attendant {
    desk: SharedDesk,
    /// By the index of the imported function.
    calls: Vec<Option<Supplied>>,
}

impl Attendant {
    pub(super) fn new(module: &Module, desk: SharedDesk) -> Self {
        let functions = module.imports().iter().filter(|it| it.kind == ItemKind::Function);
        Self { desk, calls: functions.map(|import| find(import).map(|(call, _)| call)).collect() }
    }
}

impl Host for Attendant {
    fn call(
        &mut self,
        function: u32,
        arguments: &[Value],
        memory: Option<&mut [u8]>,
        note: Option<&[u8]>,
    ) -> Answer {
        let call = self.calls.get(function as usize).copied().flatten();
        let call = match call {
            Some(Supplied::Own(call)) => call,
            Some(Supplied::Wasi(known)) => {
                return serve_wasi(known, arguments, memory, note, &mut self.desk.lock());
            }
            None => return trap("there is no such function"),
        };
        let mut said = Said { arguments, memory: memory.unwrap_or_default() };
        match serve(call, &mut said, &mut self.desk.lock()) {
            Ok(results) => Answer::Return(results),
            Err(Denied(why)) => trap(why),
        }
    }
}

fn serve_wasi(
    known: Known,
    arguments: &[Value],
    memory: Option<&mut [u8]>,
    note: Option<&[u8]>,
    desk: &mut Desk,
) -> Answer {
    let now = desk.moment.now.as_nanos();
    let Some(wasi) = &mut desk.wasi else { return trap("there is no WASI") };
    match known.serve(wasi, arguments, memory.unwrap_or_default(), now, note) {
        Served::Done(results) => Answer::Return(results),
        Served::Refused(why) => trap(why),
        Served::Exit(code) => {
            desk.exit = Some(code);
            trap("the guest ended itself")
        }
        Served::Wait(..) if !desk.is_program() => trap("a reactor cannot wait within a turn"),
        Served::Wait(wait, note) => {
            desk.wait = Some(wait);
            Answer::Suspend(note)
        }
    }
}

fn trap(why: &str) -> Answer {
    Answer::Trap(Trap::Host(why.to_owned()))
}

/// The arguments of a call and the memory that they point into.
struct Said<'a> {
    arguments: &'a [Value],
    memory: &'a mut [u8],
}

impl Said<'_> {
    /// The number of an argument, whatever its width.
    fn number(&self, at: usize) -> u64 {
        match self.arguments.get(at) {
            Some(Value::I32(number)) => u64::from(*number),
            Some(Value::I64(number)) => *number,
            _ => 0,
        }
    }

    fn bytes(&mut self, at: usize, length: u64) -> Result<&mut [u8], Denied> {
        let start = self.number(at) as usize;
        let end = start.checked_add(length as usize);
        let range = end.and_then(|end| self.memory.get_mut(start..end));
        range.ok_or(Denied("a pointer leads out of the memory"))
    }

    /// What the pointer of this argument and the length in the next one mean.
    fn slice(&mut self, at: usize) -> Result<&mut [u8], Denied> {
        let length = self.number(at + 1);
        self.bytes(at, length)
    }
}

fn serve(call: Call, said: &mut Said<'_>, desk: &mut Desk) -> Result<Vec<Value>, Denied> {
    match call {
        Call::Answer => desk.answer(said.slice(0)?)?,
        Call::Send => {
            let to: [u8; 32] = said.bytes(0, 32)?.try_into().unwrap_or_default();
            desk.send(&to, said.slice(1)?)?;
        }
        Call::Publish => {
            let channel = said.slice(0)?.to_vec();
            desk.publish(&channel, said.slice(2)?)?;
        }
        Call::SetTimer => desk.timer(said.number(0), Some(said.number(1)))?,
        Call::CancelTimer => desk.timer(said.number(0), None)?,
        Call::Now => return Ok(vec![Value::I64(desk.moment.now.as_nanos())]),
        Call::Random => desk.fill_random(said.slice(0)?),
        Call::Entity => {
            let entity: EntityId = desk.moment.entity;
            said.bytes(0, 32)?.copy_from_slice(entity.as_bytes());
        }
        Call::Decline => {
            let reason = said.slice(0)?.to_vec();
            return Err(desk.decline(&reason));
        }
    }
    Ok(Vec::new())
}
