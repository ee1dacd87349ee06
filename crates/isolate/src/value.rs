//! The values that a program computes with, and their types.
//!
//! Floats are kept as bits: what a NaN carries is part of a state.

use std::fmt;

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ValType {
    /// 32-bit integer.
    I32 = 1,
    /// 64-bit integer.
    I64 = 2,
    /// 32-bit float.
    F32 = 3,
    /// 64-bit float.
    F64 = 4,
    /// 128-bit vector.
    V128 = 5,
    /// A function of the module, or null.
    FuncRef = 6,
    /// A handle that the host numbered, or null.
    ExternRef = 7,
}

impl ValType {
    /// The type of this byte in an encoded state.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::I32,
            2 => Self::I64,
            3 => Self::F32,
            4 => Self::F64,
            5 => Self::V128,
            6 => Self::FuncRef,
            7 => Self::ExternRef,
            _ => return None,
        })
    }

    /// Whether values of this type are references.
    #[must_use]
    pub fn is_reference(self) -> bool {
        matches!(self, Self::FuncRef | Self::ExternRef)
    }

    pub(crate) fn from_parser(parsed: wasmparser::ValType) -> Option<Self> {
        Some(match parsed {
            wasmparser::ValType::I32 => Self::I32,
            wasmparser::ValType::I64 => Self::I64,
            wasmparser::ValType::F32 => Self::F32,
            wasmparser::ValType::F64 => Self::F64,
            wasmparser::ValType::V128 => Self::V128,
            wasmparser::ValType::Ref(reference) => Self::from_reference(reference)?,
        })
    }

    pub(crate) fn from_reference(parsed: wasmparser::RefType) -> Option<Self> {
        if parsed == wasmparser::RefType::FUNCREF {
            Some(Self::FuncRef)
        } else if parsed == wasmparser::RefType::EXTERNREF {
            Some(Self::ExternRef)
        } else {
            None
        }
    }

    /// The type of what stands on the operand stack: `ref.func` leaves a reference to a function
    /// of a certain type there, which is never null. A module can declare only the wide types.
    pub(crate) fn from_operand(parsed: wasmparser::ValType) -> Option<Self> {
        use wasmparser::{AbstractHeapType, HeapType, ValType};
        let ValType::Ref(reference) = parsed else { return Self::from_parser(parsed) };
        match reference.heap_type() {
            HeapType::Abstract {
                ty: AbstractHeapType::Extern | AbstractHeapType::NoExtern,
                ..
            } => Some(Self::ExternRef),
            HeapType::Abstract {
                ty: AbstractHeapType::Func | AbstractHeapType::NoFunc, ..
            }
            | HeapType::Concrete(_)
            | HeapType::Exact(_) => Some(Self::FuncRef),
            HeapType::Abstract { .. } => None,
        }
    }
}

impl fmt::Display for ValType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::V128 => "v128",
            Self::FuncRef => "funcref",
            Self::ExternRef => "externref",
        })
    }
}

/// A value with its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Value {
    /// 32-bit integer.
    I32(u32),
    /// 64-bit integer.
    I64(u64),
    /// The bits of a 32-bit float.
    F32(u32),
    /// The bits of a 64-bit float.
    F64(u64),
    /// The bits of a vector, little-endian.
    V128(u128),
    /// A function of the module by its index, or null.
    FuncRef(Option<u32>),
    /// A handle of the host by its number, or null.
    ExternRef(Option<u32>),
}

impl Value {
    /// The type of this value.
    #[must_use]
    pub fn ty(self) -> ValType {
        match self {
            Self::I32(_) => ValType::I32,
            Self::I64(_) => ValType::I64,
            Self::F32(_) => ValType::F32,
            Self::F64(_) => ValType::F64,
            Self::V128(_) => ValType::V128,
            Self::FuncRef(_) => ValType::FuncRef,
            Self::ExternRef(_) => ValType::ExternRef,
        }
    }

    /// What a fresh local of this type holds.
    #[must_use]
    pub fn zero(ty: ValType) -> Self {
        match ty {
            ValType::I32 => Self::I32(0),
            ValType::I64 => Self::I64(0),
            ValType::F32 => Self::F32(0),
            ValType::F64 => Self::F64(0),
            ValType::V128 => Self::V128(0),
            ValType::FuncRef => Self::FuncRef(None),
            ValType::ExternRef => Self::ExternRef(None),
        }
    }

    /// The value as two slots of 64 bits; the second is zero unless it is a vector.
    pub(crate) fn to_slots(self) -> (u64, u64) {
        match self {
            Self::V128(bits) => (bits as u64, (bits >> 64) as u64),
            Self::I32(_)
            | Self::I64(_)
            | Self::F32(_)
            | Self::F64(_)
            | Self::FuncRef(_)
            | Self::ExternRef(_) => (self.to_slot().unwrap_or(0), 0),
        }
    }

    /// The value of this type in two slots.
    pub(crate) fn from_slots(ty: ValType, low: u64, high: u64) -> Self {
        if ty == ValType::V128 {
            Self::V128(u128::from(high) << 64 | u128::from(low))
        } else {
            Self::from_slot(ty, low)
        }
    }

    /// The value as one 64-bit slot: references as number plus one, null as zero. A vector does not
    /// fit and gives `None`.
    pub(crate) fn to_slot(self) -> Option<u64> {
        Some(match self {
            Self::I32(bits) | Self::F32(bits) => u64::from(bits),
            Self::I64(bits) | Self::F64(bits) => bits,
            Self::V128(_) => return None,
            Self::FuncRef(number) | Self::ExternRef(number) => {
                number.map_or(0, |number| u64::from(number) + 1)
            }
        })
    }

    /// The value of this type in one slot; of a vector, its low half.
    pub(crate) fn from_slot(ty: ValType, slot: u64) -> Self {
        let number = slot.checked_sub(1).map(|number| number as u32);
        match ty {
            ValType::I32 => Self::I32(slot as u32),
            ValType::I64 => Self::I64(slot),
            ValType::F32 => Self::F32(slot as u32),
            ValType::F64 => Self::F64(slot),
            ValType::V128 => Self::V128(u128::from(slot)),
            ValType::FuncRef => Self::FuncRef(number),
            ValType::ExternRef => Self::ExternRef(number),
        }
    }
}

/// What a function takes and gives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FuncType {
    /// The types of the parameters.
    pub params: Box<[ValType]>,
    /// The types of the results.
    pub results: Box<[ValType]>,
}
