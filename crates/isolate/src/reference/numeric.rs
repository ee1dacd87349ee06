//! What the numeric instructions compute, one line each.
//!
//! [`numeric_ops`] hands the lines to a macro, so that the instruction set, its translation and its
//! execution are made from the same list. Names are those of the parser's operators.

use crate::host::Trap;

/// A value as it lies in a slot of 64 bits.
pub(super) trait Slot {
    fn from_slot(slot: u64) -> Self;
    fn to_slot(self) -> u64;
}

macro_rules! integer_slots {
    ($($ty:ty as $through:ty),*) => { $(
        impl Slot for $ty {
            #[inline(always)]
            fn from_slot(slot: u64) -> Self {
                slot as Self
            }
            #[inline(always)]
            fn to_slot(self) -> u64 {
                u64::from(self as $through)
            }
        }
    )* };
}

integer_slots!(u32 as u32, i32 as u32, u64 as u64, i64 as u64);

impl Slot for bool {
    #[inline(always)]
    fn from_slot(slot: u64) -> Self {
        slot != 0
    }
    #[inline(always)]
    fn to_slot(self) -> u64 {
        u64::from(self)
    }
}

impl Slot for f32 {
    #[inline(always)]
    fn from_slot(slot: u64) -> Self {
        Self::from_bits(slot as u32)
    }
    #[inline(always)]
    fn to_slot(self) -> u64 {
        u64::from(self.to_bits())
    }
}

impl Slot for f64 {
    #[inline(always)]
    fn from_slot(slot: u64) -> Self {
        Self::from_bits(slot)
    }
    #[inline(always)]
    fn to_slot(self) -> u64 {
        self.to_bits()
    }
}

/// A float whose NaN can be made the one that is the same everywhere.
pub(super) trait Canonical {
    fn canonical(self) -> Self;
}

impl Canonical for f32 {
    #[inline(always)]
    fn canonical(self) -> Self {
        if self.is_nan() { Self::from_bits(0x7fc0_0000) } else { self }
    }
}

impl Canonical for f64 {
    #[inline(always)]
    fn canonical(self) -> Self {
        if self.is_nan() { Self::from_bits(0x7ff8_0000_0000_0000) } else { self }
    }
}

macro_rules! float_helpers {
    ($module:ident, $float:ty) => {
        pub(super) mod $module {
            /// A NaN if either is one, and the smaller one otherwise; -0 is smaller than 0.
            pub(in crate::reference) fn min(left: $float, right: $float) -> $float {
                if left.is_nan() || right.is_nan() {
                    left + right
                } else if left == right {
                    <$float>::from_bits(left.to_bits() | right.to_bits())
                } else if left < right {
                    left
                } else {
                    right
                }
            }

            /// A NaN if either is one, and the larger one otherwise; 0 is larger than -0.
            pub(in crate::reference) fn max(left: $float, right: $float) -> $float {
                if left.is_nan() || right.is_nan() {
                    left + right
                } else if left == right {
                    <$float>::from_bits(left.to_bits() & right.to_bits())
                } else if left > right {
                    left
                } else {
                    right
                }
            }

            /// Rounded by this, a NaN made quiet.
            #[inline(always)]
            pub(in crate::reference) fn round(
                value: $float,
                by: impl Fn($float) -> $float,
            ) -> $float {
                if value.is_nan() { value + value } else { by(value) }
            }
        }
    };
}

float_helpers!(narrow, f32);
float_helpers!(wide, f64);

macro_rules! truncations {
    ($($name:ident: $float:ty => $int:ty, above $low:expr, below $high:expr;)*) => { $(
        pub(super) fn $name(value: $float) -> Result<$int, Trap> {
            if value.is_nan() {
                Err(Trap::BadConversion)
            } else if value > $low && value < $high {
                Ok(value as $int)
            } else {
                Err(Trap::IntegerOverflow)
            }
        }
    )* };
}

// The bounds are the floats next to the range of the integers, so that comparing is exact.
truncations! {
    i32_of_f32: f32 => i32, above -2_147_483_904.0, below 2_147_483_648.0;
    u32_of_f32: f32 => u32, above -1.0, below 4_294_967_296.0;
    i32_of_f64: f64 => i32, above -2_147_483_649.0, below 2_147_483_648.0;
    u32_of_f64: f64 => u32, above -1.0, below 4_294_967_296.0;
    i64_of_f32: f32 => i64, above -9_223_373_136_366_403_584.0, below 9_223_372_036_854_775_808.0;
    u64_of_f32: f32 => u64, above -1.0, below 18_446_744_073_709_551_616.0;
    i64_of_f64: f64 => i64, above -9_223_372_036_854_777_856.0, below 9_223_372_036_854_775_808.0;
    u64_of_f64: f64 => u64, above -1.0, below 18_446_744_073_709_551_616.0;
}

/// Left divided by right, which may be zero or not fit.
macro_rules! divide {
    ($left:expr, $right:expr) => {
        if $right == 0 {
            Err(Trap::DivisionByZero)
        } else {
            $left.checked_div($right).ok_or(Trap::IntegerOverflow)
        }
    };
}

macro_rules! remain {
    ($left:expr, $right:expr) => {
        if $right == 0 { Err(Trap::DivisionByZero) } else { Ok($left.wrapping_rem($right)) }
    };
}

pub(super) use {divide, remain};

/// Hands all numeric instructions to a macro.
macro_rules! numeric_ops {
    ($then:ident) => {
        $then! {
            binary {
                I32Eq(u32, |a, b| a == b) I32Ne(u32, |a, b| a != b)
                I32LtS(i32, |a, b| a < b) I32LtU(u32, |a, b| a < b)
                I32GtS(i32, |a, b| a > b) I32GtU(u32, |a, b| a > b)
                I32LeS(i32, |a, b| a <= b) I32LeU(u32, |a, b| a <= b)
                I32GeS(i32, |a, b| a >= b) I32GeU(u32, |a, b| a >= b)
                I64Eq(u64, |a, b| a == b) I64Ne(u64, |a, b| a != b)
                I64LtS(i64, |a, b| a < b) I64LtU(u64, |a, b| a < b)
                I64GtS(i64, |a, b| a > b) I64GtU(u64, |a, b| a > b)
                I64LeS(i64, |a, b| a <= b) I64LeU(u64, |a, b| a <= b)
                I64GeS(i64, |a, b| a >= b) I64GeU(u64, |a, b| a >= b)
                F32Eq(f32, |a, b| a == b) F32Ne(f32, |a, b| a != b)
                F32Lt(f32, |a, b| a < b) F32Gt(f32, |a, b| a > b)
                F32Le(f32, |a, b| a <= b) F32Ge(f32, |a, b| a >= b)
                F64Eq(f64, |a, b| a == b) F64Ne(f64, |a, b| a != b)
                F64Lt(f64, |a, b| a < b) F64Gt(f64, |a, b| a > b)
                F64Le(f64, |a, b| a <= b) F64Ge(f64, |a, b| a >= b)
                I32Add(u32, |a, b| a.wrapping_add(b)) I32Sub(u32, |a, b| a.wrapping_sub(b))
                I32Mul(u32, |a, b| a.wrapping_mul(b))
                I32And(u32, |a, b| a & b) I32Or(u32, |a, b| a | b) I32Xor(u32, |a, b| a ^ b)
                I32Shl(u32, |a, b| a.wrapping_shl(b)) I32ShrU(u32, |a, b| a.wrapping_shr(b))
                I32ShrS(i32, |a, b| a.wrapping_shr(b as u32))
                I32Rotl(u32, |a, b| a.rotate_left(b & 31))
                I32Rotr(u32, |a, b| a.rotate_right(b & 31))
                I64Add(u64, |a, b| a.wrapping_add(b)) I64Sub(u64, |a, b| a.wrapping_sub(b))
                I64Mul(u64, |a, b| a.wrapping_mul(b))
                I64And(u64, |a, b| a & b) I64Or(u64, |a, b| a | b) I64Xor(u64, |a, b| a ^ b)
                I64Shl(u64, |a, b| a.wrapping_shl(b as u32))
                I64ShrU(u64, |a, b| a.wrapping_shr(b as u32))
                I64ShrS(i64, |a, b| a.wrapping_shr(b as u32))
                I64Rotl(u64, |a, b| a.rotate_left((b & 63) as u32))
                I64Rotr(u64, |a, b| a.rotate_right((b & 63) as u32))
                F32Copysign(f32, |a, b| a.copysign(b)) F64Copysign(f64, |a, b| a.copysign(b))
            }
            float_binary {
                F32Add(f32, |a, b| a + b) F32Sub(f32, |a, b| a - b)
                F32Mul(f32, |a, b| a * b) F32Div(f32, |a, b| a / b)
                F32Min(f32, |a, b| narrow::min(a, b)) F32Max(f32, |a, b| narrow::max(a, b))
                F64Add(f64, |a, b| a + b) F64Sub(f64, |a, b| a - b)
                F64Mul(f64, |a, b| a * b) F64Div(f64, |a, b| a / b)
                F64Min(f64, |a, b| wide::min(a, b)) F64Max(f64, |a, b| wide::max(a, b))
            }
            try_binary {
                I32DivS(i32, |a, b| divide!(a, b)) I32DivU(u32, |a, b| divide!(a, b))
                I32RemS(i32, |a, b| remain!(a, b)) I32RemU(u32, |a, b| remain!(a, b))
                I64DivS(i64, |a, b| divide!(a, b)) I64DivU(u64, |a, b| divide!(a, b))
                I64RemS(i64, |a, b| remain!(a, b)) I64RemU(u64, |a, b| remain!(a, b))
            }
            unary {
                I32Eqz(u32, |a| a == 0) I64Eqz(u64, |a| a == 0)
                I32Clz(u32, |a| a.leading_zeros()) I32Ctz(u32, |a| a.trailing_zeros())
                I32Popcnt(u32, |a| a.count_ones())
                I64Clz(u64, |a| u64::from(a.leading_zeros()))
                I64Ctz(u64, |a| u64::from(a.trailing_zeros()))
                I64Popcnt(u64, |a| u64::from(a.count_ones()))
                F32Abs(f32, |a| a.abs()) F32Neg(f32, |a| -a)
                F64Abs(f64, |a| a.abs()) F64Neg(f64, |a| -a)
                I32WrapI64(u64, |a| a as u32)
                I64ExtendI32S(i32, |a| i64::from(a)) I64ExtendI32U(u32, |a| u64::from(a))
                F32ConvertI32S(i32, |a| a as f32) F32ConvertI32U(u32, |a| a as f32)
                F32ConvertI64S(i64, |a| a as f32) F32ConvertI64U(u64, |a| a as f32)
                F64ConvertI32S(i32, |a| f64::from(a)) F64ConvertI32U(u32, |a| f64::from(a))
                F64ConvertI64S(i64, |a| a as f64) F64ConvertI64U(u64, |a| a as f64)
                I32ReinterpretF32(u32, |a| a) I64ReinterpretF64(u64, |a| a)
                F32ReinterpretI32(u32, |a| a) F64ReinterpretI64(u64, |a| a)
                I32Extend8S(u32, |a| i32::from(a as i8)) I32Extend16S(u32, |a| i32::from(a as i16))
                I64Extend8S(u64, |a| i64::from(a as i8)) I64Extend16S(u64, |a| i64::from(a as i16))
                I64Extend32S(u64, |a| i64::from(a as i32))
                I32TruncSatF32S(f32, |a| a as i32) I32TruncSatF32U(f32, |a| a as u32)
                I32TruncSatF64S(f64, |a| a as i32) I32TruncSatF64U(f64, |a| a as u32)
                I64TruncSatF32S(f32, |a| a as i64) I64TruncSatF32U(f32, |a| a as u64)
                I64TruncSatF64S(f64, |a| a as i64) I64TruncSatF64U(f64, |a| a as u64)
            }
            float_unary {
                F32Ceil(f32, |a| narrow::round(a, f32::ceil))
                F32Floor(f32, |a| narrow::round(a, f32::floor))
                F32Trunc(f32, |a| narrow::round(a, f32::trunc))
                F32Nearest(f32, |a| narrow::round(a, f32::round_ties_even))
                F32Sqrt(f32, |a| narrow::round(a, f32::sqrt))
                F64Ceil(f64, |a| wide::round(a, f64::ceil))
                F64Floor(f64, |a| wide::round(a, f64::floor))
                F64Trunc(f64, |a| wide::round(a, f64::trunc))
                F64Nearest(f64, |a| wide::round(a, f64::round_ties_even))
                F64Sqrt(f64, |a| wide::round(a, f64::sqrt))
                F32DemoteF64(f64, |a| a as f32)
                F64PromoteF32(f32, |a| f64::from(a))
            }
            try_unary {
                I32TruncF32S(f32, i32_of_f32) I32TruncF32U(f32, u32_of_f32)
                I32TruncF64S(f64, i32_of_f64) I32TruncF64U(f64, u32_of_f64)
                I64TruncF32S(f32, i64_of_f32) I64TruncF32U(f32, u64_of_f32)
                I64TruncF64S(f64, i64_of_f64) I64TruncF64U(f64, u64_of_f64)
            }
            load {
                I32Load(4, |b| u32::from_le_bytes(b)) I64Load(8, |b| u64::from_le_bytes(b))
                F32Load(4, |b| u32::from_le_bytes(b)) F64Load(8, |b| u64::from_le_bytes(b))
                I32Load8S(1, |b| i32::from(i8::from_le_bytes(b)))
                I32Load8U(1, |b| u32::from(u8::from_le_bytes(b)))
                I32Load16S(2, |b| i32::from(i16::from_le_bytes(b)))
                I32Load16U(2, |b| u32::from(u16::from_le_bytes(b)))
                I64Load8S(1, |b| i64::from(i8::from_le_bytes(b)))
                I64Load8U(1, |b| u64::from(u8::from_le_bytes(b)))
                I64Load16S(2, |b| i64::from(i16::from_le_bytes(b)))
                I64Load16U(2, |b| u64::from(u16::from_le_bytes(b)))
                I64Load32S(4, |b| i64::from(i32::from_le_bytes(b)))
                I64Load32U(4, |b| u64::from(u32::from_le_bytes(b)))
            }
            store {
                I32Store(4, |v| (v as u32).to_le_bytes()) I64Store(8, |v| v.to_le_bytes())
                F32Store(4, |v| (v as u32).to_le_bytes()) F64Store(8, |v| v.to_le_bytes())
                I32Store8(1, |v| (v as u8).to_le_bytes())
                I32Store16(2, |v| (v as u16).to_le_bytes())
                I64Store8(1, |v| (v as u8).to_le_bytes())
                I64Store16(2, |v| (v as u16).to_le_bytes())
                I64Store32(4, |v| (v as u32).to_le_bytes())
            }
        }
    };
}

pub(super) use numeric_ops;
