//! The values of scripts, and what counts as equal to them.

use wast::core::{AbstractHeapType, HeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::{WastArg, WastRet};
use whimbrel_isolate::{Trap, Value};

pub fn argument(argument: &WastArg<'_>) -> Option<Value> {
    let WastArg::Core(argument) = argument else { return None };
    Some(match argument {
        WastArgCore::I32(value) => Value::I32(*value as u32),
        WastArgCore::I64(value) => Value::I64(*value as u64),
        WastArgCore::F32(value) => Value::F32(value.bits),
        WastArgCore::F64(value) => Value::F64(value.bits),
        WastArgCore::V128(value) => Value::V128(u128::from_le_bytes(value.to_le_bytes())),
        WastArgCore::RefNull(heap) => match heap {
            HeapType::Abstract { ty: AbstractHeapType::Extern, .. } => Value::ExternRef(None),
            _ => Value::FuncRef(None),
        },
        WastArgCore::RefExtern(number) => Value::ExternRef(Some(*number)),
        _ => return None,
    })
}

pub fn equal(found: &Value, wanted: &WastRet<'_>) -> bool {
    match wanted {
        WastRet::Core(wanted) => equal_core(found, wanted),
        _ => false,
    }
}

fn equal_core(found: &Value, wanted: &WastRetCore<'_>) -> bool {
    match (found, wanted) {
        (Value::I32(found), WastRetCore::I32(wanted)) => *found == *wanted as u32,
        (Value::I64(found), WastRetCore::I64(wanted)) => *found == *wanted as u64,
        (Value::F32(found), WastRetCore::F32(wanted)) => match wanted {
            NanPattern::CanonicalNan => found & 0x7fff_ffff == 0x7fc0_0000,
            NanPattern::ArithmeticNan => found & 0x7fc0_0000 == 0x7fc0_0000,
            NanPattern::Value(wanted) => *found == wanted.bits,
        },
        (Value::F64(found), WastRetCore::F64(wanted)) => match wanted {
            NanPattern::CanonicalNan => found & (u64::MAX >> 1) == 0x7ff8_0000_0000_0000,
            NanPattern::ArithmeticNan => found & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000,
            NanPattern::Value(wanted) => *found == wanted.bits,
        },
        (Value::V128(found), WastRetCore::V128(wanted)) => equal_vector(*found, wanted),
        (Value::FuncRef(found), WastRetCore::RefFunc(_)) => found.is_some(),
        (Value::FuncRef(found), WastRetCore::RefNull(heap)) => {
            let external =
                matches!(heap, Some(HeapType::Abstract { ty: AbstractHeapType::Extern, .. }));
            found.is_none() && !external
        }
        (Value::ExternRef(found), WastRetCore::RefNull(_)) => found.is_none(),
        (Value::ExternRef(found), WastRetCore::RefExtern(wanted)) => {
            wanted.is_none_or(|wanted| *found == Some(wanted)) && found.is_some()
        }
        (_, WastRetCore::Either(options)) => options.iter().any(|wanted| equal_core(found, wanted)),
        _ => false,
    }
}

fn equal_vector(found: u128, wanted: &V128Pattern) -> bool {
    let bytes = found.to_le_bytes();
    let whole = |wanted: Vec<u8>| wanted == bytes;
    match wanted {
        V128Pattern::I8x16(lanes) => whole(lanes.iter().map(|lane| *lane as u8).collect()),
        V128Pattern::I16x8(lanes) => whole(lanes.iter().flat_map(|it| it.to_le_bytes()).collect()),
        V128Pattern::I32x4(lanes) => whole(lanes.iter().flat_map(|it| it.to_le_bytes()).collect()),
        V128Pattern::I64x2(lanes) => whole(lanes.iter().flat_map(|it| it.to_le_bytes()).collect()),
        V128Pattern::F32x4(lanes) => lanes.iter().enumerate().all(|(lane, wanted)| {
            let found = (found >> (32 * lane)) as u32;
            match wanted {
                NanPattern::CanonicalNan => found & 0x7fff_ffff == 0x7fc0_0000,
                NanPattern::ArithmeticNan => found & 0x7fc0_0000 == 0x7fc0_0000,
                NanPattern::Value(wanted) => found == wanted.bits,
            }
        }),
        V128Pattern::F64x2(lanes) => lanes.iter().enumerate().all(|(lane, wanted)| {
            let found = (found >> (64 * lane)) as u64;
            match wanted {
                NanPattern::CanonicalNan => found & (u64::MAX >> 1) == 0x7ff8_0000_0000_0000,
                NanPattern::ArithmeticNan => found & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000,
                NanPattern::Value(wanted) => found == wanted.bits,
            }
        }),
    }
}

/// Whether a trap is the one that a script names.
pub fn is_trap(found: &Trap, wanted: &str) -> bool {
    let names: &[&str] = match found {
        Trap::Unreachable => &["unreachable"],
        Trap::MemoryOutOfBounds => &["out of bounds memory access"],
        Trap::TableOutOfBounds => &["out of bounds table access", "undefined element"],
        Trap::IndirectCallToNull => &["uninitialized element"],
        Trap::BadSignature => &["indirect call type mismatch"],
        Trap::IntegerOverflow => &["integer overflow"],
        Trap::DivisionByZero => &["integer divide by zero"],
        Trap::BadConversion => &["invalid conversion to integer"],
        Trap::StackOverflow => &["call stack exhausted"],
        _ => &[],
    };
    names.iter().any(|name| wanted.starts_with(name) || name.starts_with(wanted))
}
