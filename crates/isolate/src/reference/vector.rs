//! What the vector instructions compute.
//!
//! A vector is 128 bits, its lanes little-endian. An instruction is translated to a function of this
//! file by its shape ([`Shape`]); what is arithmetic on floats says so, so that the one NaN can be put
//! in its place where the policy wants it.

use wasmparser::Operator;

use crate::reference::numeric::{Canonical, narrow, wide};

/// A function from vectors to a vector or a number.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    One(fn(u128) -> u128),
    Two(fn(u128, u128) -> u128),
    Shift(fn(u128, u32) -> u128),
    /// From a number to a vector.
    Splat(fn(u64) -> u128),
    /// From a vector to a number.
    Test(fn(u128) -> u64),
}

/// Which lanes of a result are floats from arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Floats {
    None,
    Narrow,
    Wide,
}

impl Floats {
    /// The vector with the one NaN in place of any other.
    pub(super) fn canonical(self, vector: u128) -> u128 {
        match self {
            Self::None => vector,
            Self::Narrow => each::<f32, f32>(vector, Canonical::canonical),
            Self::Wide => each::<f64, f64>(vector, Canonical::canonical),
        }
    }
}

/// A part of a vector.
pub(super) trait Lane: Copy {
    const BITS: u32;
    /// From the lowest bits.
    fn take(bits: u128) -> Self;
    /// As the lowest bits.
    fn give(self) -> u128;
}

macro_rules! lanes {
    ($($ty:ty as $through:ty),*) => { $(
        impl Lane for $ty {
            const BITS: u32 = <$ty>::BITS;
            #[inline(always)]
            fn take(bits: u128) -> Self {
                bits as Self
            }
            #[inline(always)]
            fn give(self) -> u128 {
                u128::from(self as $through)
            }
        }
    )* };
}

lanes!(u8 as u8, i8 as u8, u16 as u16, i16 as u16, u32 as u32, i32 as u32, u64 as u64, i64 as u64);

impl Lane for f32 {
    const BITS: u32 = 32;
    #[inline(always)]
    fn take(bits: u128) -> Self {
        Self::from_bits(bits as u32)
    }
    #[inline(always)]
    fn give(self) -> u128 {
        u128::from(self.to_bits())
    }
}

impl Lane for f64 {
    const BITS: u32 = 64;
    #[inline(always)]
    fn take(bits: u128) -> Self {
        Self::from_bits(bits as u64)
    }
    #[inline(always)]
    fn give(self) -> u128 {
        u128::from(self.to_bits())
    }
}

/// The lane of this number.
#[inline(always)]
pub(super) fn lane<A: Lane>(vector: u128, number: u32) -> A {
    A::take(vector >> (number * A::BITS))
}

#[inline(always)]
fn gather<R: Lane>(value: impl Fn(u32) -> R) -> u128 {
    (0..128 / R::BITS).fold(0, |all, number| all | value(number).give() << (number * R::BITS))
}

#[inline(always)]
fn each<A: Lane, R: Lane>(vector: u128, apply: impl Fn(A) -> R) -> u128 {
    gather(|number| apply(lane(vector, number)))
}

#[inline(always)]
fn both<A: Lane, R: Lane>(left: u128, right: u128, apply: impl Fn(A, A) -> R) -> u128 {
    gather(|number| apply(lane(left, number), lane(right, number)))
}

/// All ones where it holds.
#[inline(always)]
fn mask<A: Lane>(left: u128, right: u128, holds: impl Fn(A, A) -> bool) -> u128 {
    let ones = u128::MAX >> (128 - A::BITS);
    (0..128 / A::BITS).fold(0, |all, number| {
        let here = holds(lane(left, number), lane(right, number));
        all | if here { ones << (number * A::BITS) } else { 0 }
    })
}

/// Lanes of twice the width, from the low or the high half.
#[inline(always)]
fn half<A: Lane, R: Lane>(vector: u128, high: bool, apply: impl Fn(A) -> R) -> u128 {
    let first = if high { 64 / A::BITS } else { 0 };
    gather(|number| apply(lane(vector, first + number)))
}

#[inline(always)]
fn half_both<A: Lane, R: Lane>(
    (left, right): (u128, u128),
    high: bool,
    apply: impl Fn(A, A) -> R,
) -> u128 {
    let first = if high { 64 / A::BITS } else { 0 };
    gather(|number| apply(lane(left, first + number), lane(right, first + number)))
}

/// Lanes of half the width, the left vector's first.
#[inline(always)]
fn halve<A: Lane, R: Lane>(left: u128, right: u128, apply: impl Fn(A) -> R) -> u128 {
    let count = 128 / A::BITS;
    gather(|number| {
        let from = if number < count { left } else { right };
        apply(lane(from, number % count))
    })
}

/// Lanes of twice the width, each from two neighbours.
#[inline(always)]
fn neighbours<A: Lane, R: Lane>(vector: u128, apply: impl Fn(A, A) -> R) -> u128 {
    gather(|number| apply(lane(vector, 2 * number), lane(vector, 2 * number + 1)))
}

#[inline(always)]
fn all_true<A: Lane>(vector: u128) -> u64 {
    u64::from((0..128 / A::BITS).all(|number| lane::<A>(vector, number).give() != 0))
}

/// The highest bit of each lane.
#[inline(always)]
fn bitmask<A: Lane>(vector: u128) -> u64 {
    (0..128 / A::BITS).fold(0, |all, number| {
        let top = lane::<A>(vector, number).give() >> (A::BITS - 1);
        all | (top as u64) << number
    })
}

/// The bytes of two vectors, chosen by number.
pub(super) fn shuffle(left: u128, right: u128, chosen: [u8; 16]) -> u128 {
    let (left, right) = (left.to_le_bytes(), right.to_le_bytes());
    u128::from_le_bytes(chosen.map(|number| match number {
        0..16 => left[number as usize],
        _ => right[(number as usize - 16) & 15],
    }))
}

fn swizzle(vector: u128, chosen: u128) -> u128 {
    let bytes = vector.to_le_bytes();
    each::<u8, u8>(chosen, |number| bytes.get(number as usize).copied().unwrap_or(0))
}

macro_rules! one {
    ($a:ty => $r:ty, |$x:ident| $value:expr) => {
        Shape::One(|vector| each::<$a, $r>(vector, |$x| $value))
    };
}

macro_rules! two {
    ($a:ty, |$x:ident, $y:ident| $value:expr) => {
        Shape::Two(|left, right| both::<$a, $a>(left, right, |$x, $y| $value))
    };
}

macro_rules! compare {
    ($a:ty, $by:tt) => {
        Shape::Two(|left, right| mask::<$a>(left, right, |x, y| x $by y))
    };
}

macro_rules! shift {
    ($a:ty, $by:ident) => {
        Shape::Shift(|vector, count| each::<$a, $a>(vector, |x| x.$by(count)))
    };
}

macro_rules! extend {
    ($a:ty => $r:ty, $high:expr) => {
        Shape::One(|vector| half::<$a, $r>(vector, $high, <$r>::from))
    };
}

macro_rules! multiply {
    ($a:ty => $r:ty, $high:expr) => {
        Shape::Two(|left, right| {
            half_both::<$a, $r>((left, right), $high, |x, y| {
                <$r>::from(x).wrapping_mul(<$r>::from(y))
            })
        })
    };
}

macro_rules! saturate {
    ($a:ty => $r:ty) => {
        Shape::Two(|left, right| {
            halve::<$a, $r>(left, right, |x| {
                x.clamp(<$a>::from(<$r>::MIN), <$a>::from(<$r>::MAX)) as $r
            })
        })
    };
}

macro_rules! add_neighbours {
    ($a:ty => $r:ty) => {
        Shape::One(|vector| {
            neighbours::<$a, $r>(vector, |x, y| <$r>::from(x).wrapping_add(<$r>::from(y)))
        })
    };
}

/// What a vector instruction without an immediate computes, and which floats it makes.
pub(super) fn shape(operator: &Operator<'_>) -> Option<(Shape, Floats)> {
    let exact = bits(operator)
        .or_else(|| comparison(operator))
        .or_else(|| integer(operator))
        .or_else(|| widening(operator))
        .or_else(|| conversion(operator));
    exact.map(|shape| (shape, Floats::None)).or_else(|| float(operator))
}

#[allow(clippy::wildcard_enum_match_arm, reason = "all others are of other kinds")]
fn bits(operator: &Operator<'_>) -> Option<Shape> {
    Some(match operator {
        Operator::V128Not => Shape::One(|vector| !vector),
        Operator::V128And => Shape::Two(|left, right| left & right),
        Operator::V128AndNot => Shape::Two(|left, right| left & !right),
        Operator::V128Or => Shape::Two(|left, right| left | right),
        Operator::V128Xor => Shape::Two(|left, right| left ^ right),
        Operator::V128AnyTrue => Shape::Test(|vector| u64::from(vector != 0)),
        Operator::I8x16Swizzle => Shape::Two(swizzle),
        Operator::I8x16Splat => Shape::Splat(|number| gather(|_| number as u8)),
        Operator::I16x8Splat => Shape::Splat(|number| gather(|_| number as u16)),
        Operator::I32x4Splat | Operator::F32x4Splat => {
            Shape::Splat(|number| gather(|_| number as u32))
        }
        Operator::I64x2Splat | Operator::F64x2Splat => Shape::Splat(|number| gather(|_| number)),
        Operator::I8x16AllTrue => Shape::Test(all_true::<u8>),
        Operator::I16x8AllTrue => Shape::Test(all_true::<u16>),
        Operator::I32x4AllTrue => Shape::Test(all_true::<u32>),
        Operator::I64x2AllTrue => Shape::Test(all_true::<u64>),
        Operator::I8x16Bitmask => Shape::Test(bitmask::<u8>),
        Operator::I16x8Bitmask => Shape::Test(bitmask::<u16>),
        Operator::I32x4Bitmask => Shape::Test(bitmask::<u32>),
        Operator::I64x2Bitmask => Shape::Test(bitmask::<u64>),
        Operator::I8x16Shl => shift!(u8, wrapping_shl),
        Operator::I8x16ShrS => shift!(i8, wrapping_shr),
        Operator::I8x16ShrU => shift!(u8, wrapping_shr),
        Operator::I16x8Shl => shift!(u16, wrapping_shl),
        Operator::I16x8ShrS => shift!(i16, wrapping_shr),
        Operator::I16x8ShrU => shift!(u16, wrapping_shr),
        Operator::I32x4Shl => shift!(u32, wrapping_shl),
        Operator::I32x4ShrS => shift!(i32, wrapping_shr),
        Operator::I32x4ShrU => shift!(u32, wrapping_shr),
        Operator::I64x2Shl => shift!(u64, wrapping_shl),
        Operator::I64x2ShrS => shift!(i64, wrapping_shr),
        Operator::I64x2ShrU => shift!(u64, wrapping_shr),
        _ => return None,
    })
}

#[allow(clippy::wildcard_enum_match_arm, reason = "all others are of other kinds")]
fn comparison(operator: &Operator<'_>) -> Option<Shape> {
    Some(match operator {
        Operator::I8x16Eq => compare!(u8, ==),
        Operator::I8x16Ne => compare!(u8, !=),
        Operator::I8x16LtS => compare!(i8, <),
        Operator::I8x16LtU => compare!(u8, <),
        Operator::I8x16GtS => compare!(i8, >),
        Operator::I8x16GtU => compare!(u8, >),
        Operator::I8x16LeS => compare!(i8, <=),
        Operator::I8x16LeU => compare!(u8, <=),
        Operator::I8x16GeS => compare!(i8, >=),
        Operator::I8x16GeU => compare!(u8, >=),
        Operator::I16x8Eq => compare!(u16, ==),
        Operator::I16x8Ne => compare!(u16, !=),
        Operator::I16x8LtS => compare!(i16, <),
        Operator::I16x8LtU => compare!(u16, <),
        Operator::I16x8GtS => compare!(i16, >),
        Operator::I16x8GtU => compare!(u16, >),
        Operator::I16x8LeS => compare!(i16, <=),
        Operator::I16x8LeU => compare!(u16, <=),
        Operator::I16x8GeS => compare!(i16, >=),
        Operator::I16x8GeU => compare!(u16, >=),
        Operator::I32x4Eq => compare!(u32, ==),
        Operator::I32x4Ne => compare!(u32, !=),
        Operator::I32x4LtS => compare!(i32, <),
        Operator::I32x4LtU => compare!(u32, <),
        Operator::I32x4GtS => compare!(i32, >),
        Operator::I32x4GtU => compare!(u32, >),
        Operator::I32x4LeS => compare!(i32, <=),
        Operator::I32x4LeU => compare!(u32, <=),
        Operator::I32x4GeS => compare!(i32, >=),
        Operator::I32x4GeU => compare!(u32, >=),
        Operator::I64x2Eq => compare!(u64, ==),
        Operator::I64x2Ne => compare!(u64, !=),
        Operator::I64x2LtS => compare!(i64, <),
        Operator::I64x2GtS => compare!(i64, >),
        Operator::I64x2LeS => compare!(i64, <=),
        Operator::I64x2GeS => compare!(i64, >=),
        Operator::F32x4Eq => compare!(f32, ==),
        Operator::F32x4Ne => compare!(f32, !=),
        Operator::F32x4Lt => compare!(f32, <),
        Operator::F32x4Gt => compare!(f32, >),
        Operator::F32x4Le => compare!(f32, <=),
        Operator::F32x4Ge => compare!(f32, >=),
        Operator::F64x2Eq => compare!(f64, ==),
        Operator::F64x2Ne => compare!(f64, !=),
        Operator::F64x2Lt => compare!(f64, <),
        Operator::F64x2Gt => compare!(f64, >),
        Operator::F64x2Le => compare!(f64, <=),
        Operator::F64x2Ge => compare!(f64, >=),
        _ => return None,
    })
}

#[allow(clippy::wildcard_enum_match_arm, reason = "all others are of other kinds")]
fn integer(operator: &Operator<'_>) -> Option<Shape> {
    Some(match operator {
        Operator::I8x16Abs => one!(i8 => i8, |x| x.wrapping_abs()),
        Operator::I8x16Neg => one!(i8 => i8, |x| x.wrapping_neg()),
        Operator::I8x16Popcnt => one!(u8 => u8, |x| x.count_ones() as u8),
        Operator::I8x16Add => two!(u8, |x, y| x.wrapping_add(y)),
        Operator::I8x16AddSatS => two!(i8, |x, y| x.saturating_add(y)),
        Operator::I8x16AddSatU => two!(u8, |x, y| x.saturating_add(y)),
        Operator::I8x16Sub => two!(u8, |x, y| x.wrapping_sub(y)),
        Operator::I8x16SubSatS => two!(i8, |x, y| x.saturating_sub(y)),
        Operator::I8x16SubSatU => two!(u8, |x, y| x.saturating_sub(y)),
        Operator::I8x16MinS => two!(i8, |x, y| x.min(y)),
        Operator::I8x16MinU => two!(u8, |x, y| x.min(y)),
        Operator::I8x16MaxS => two!(i8, |x, y| x.max(y)),
        Operator::I8x16MaxU => two!(u8, |x, y| x.max(y)),
        Operator::I8x16AvgrU => {
            two!(u8, |x, y| ((u16::from(x) + u16::from(y)).div_ceil(2)) as u8)
        }
        Operator::I16x8Abs => one!(i16 => i16, |x| x.wrapping_abs()),
        Operator::I16x8Neg => one!(i16 => i16, |x| x.wrapping_neg()),
        Operator::I16x8Q15MulrSatS => two!(i16, |x, y| {
            let product = (i32::from(x) * i32::from(y) + 0x4000) >> 15;
            product.min(i32::from(i16::MAX)) as i16
        }),
        Operator::I16x8Add => two!(u16, |x, y| x.wrapping_add(y)),
        Operator::I16x8AddSatS => two!(i16, |x, y| x.saturating_add(y)),
        Operator::I16x8AddSatU => two!(u16, |x, y| x.saturating_add(y)),
        Operator::I16x8Sub => two!(u16, |x, y| x.wrapping_sub(y)),
        Operator::I16x8SubSatS => two!(i16, |x, y| x.saturating_sub(y)),
        Operator::I16x8SubSatU => two!(u16, |x, y| x.saturating_sub(y)),
        Operator::I16x8Mul => two!(u16, |x, y| x.wrapping_mul(y)),
        Operator::I16x8MinS => two!(i16, |x, y| x.min(y)),
        Operator::I16x8MinU => two!(u16, |x, y| x.min(y)),
        Operator::I16x8MaxS => two!(i16, |x, y| x.max(y)),
        Operator::I16x8MaxU => two!(u16, |x, y| x.max(y)),
        Operator::I16x8AvgrU => {
            two!(u16, |x, y| ((u32::from(x) + u32::from(y)).div_ceil(2)) as u16)
        }
        Operator::I32x4Abs => one!(i32 => i32, |x| x.wrapping_abs()),
        Operator::I32x4Neg => one!(i32 => i32, |x| x.wrapping_neg()),
        Operator::I32x4Add => two!(u32, |x, y| x.wrapping_add(y)),
        Operator::I32x4Sub => two!(u32, |x, y| x.wrapping_sub(y)),
        Operator::I32x4Mul => two!(u32, |x, y| x.wrapping_mul(y)),
        Operator::I32x4MinS => two!(i32, |x, y| x.min(y)),
        Operator::I32x4MinU => two!(u32, |x, y| x.min(y)),
        Operator::I32x4MaxS => two!(i32, |x, y| x.max(y)),
        Operator::I32x4MaxU => two!(u32, |x, y| x.max(y)),
        Operator::I32x4DotI16x8S => Shape::Two(|left, right| {
            gather(|number| {
                let product = |at: u32| {
                    i32::from(lane::<i16>(left, at)).wrapping_mul(i32::from(lane::<i16>(right, at)))
                };
                product(2 * number).wrapping_add(product(2 * number + 1))
            })
        }),
        Operator::I64x2Abs => one!(i64 => i64, |x| x.wrapping_abs()),
        Operator::I64x2Neg => one!(i64 => i64, |x| x.wrapping_neg()),
        Operator::I64x2Add => two!(u64, |x, y| x.wrapping_add(y)),
        Operator::I64x2Sub => two!(u64, |x, y| x.wrapping_sub(y)),
        Operator::I64x2Mul => two!(u64, |x, y| x.wrapping_mul(y)),
        _ => return None,
    })
}

/// Lanes of twice the width from two vectors, or from neighbours.
#[allow(clippy::wildcard_enum_match_arm, reason = "all others are of other kinds")]
fn widening(operator: &Operator<'_>) -> Option<Shape> {
    Some(match operator {
        Operator::I16x8ExtMulLowI8x16S => multiply!(i8 => i16, false),
        Operator::I16x8ExtMulHighI8x16S => multiply!(i8 => i16, true),
        Operator::I16x8ExtMulLowI8x16U => multiply!(u8 => u16, false),
        Operator::I16x8ExtMulHighI8x16U => multiply!(u8 => u16, true),
        Operator::I32x4ExtMulLowI16x8S => multiply!(i16 => i32, false),
        Operator::I32x4ExtMulHighI16x8S => multiply!(i16 => i32, true),
        Operator::I32x4ExtMulLowI16x8U => multiply!(u16 => u32, false),
        Operator::I32x4ExtMulHighI16x8U => multiply!(u16 => u32, true),
        Operator::I64x2ExtMulLowI32x4S => multiply!(i32 => i64, false),
        Operator::I64x2ExtMulHighI32x4S => multiply!(i32 => i64, true),
        Operator::I64x2ExtMulLowI32x4U => multiply!(u32 => u64, false),
        Operator::I64x2ExtMulHighI32x4U => multiply!(u32 => u64, true),
        Operator::I16x8ExtAddPairwiseI8x16S => add_neighbours!(i8 => i16),
        Operator::I16x8ExtAddPairwiseI8x16U => add_neighbours!(u8 => u16),
        Operator::I32x4ExtAddPairwiseI16x8S => add_neighbours!(i16 => i32),
        Operator::I32x4ExtAddPairwiseI16x8U => add_neighbours!(u16 => u32),
        _ => return None,
    })
}

#[allow(clippy::wildcard_enum_match_arm, reason = "all others are of other kinds")]
fn conversion(operator: &Operator<'_>) -> Option<Shape> {
    Some(match operator {
        Operator::I8x16NarrowI16x8S => saturate!(i16 => i8),
        Operator::I8x16NarrowI16x8U => saturate!(i16 => u8),
        Operator::I16x8NarrowI32x4S => saturate!(i32 => i16),
        Operator::I16x8NarrowI32x4U => saturate!(i32 => u16),
        Operator::I16x8ExtendLowI8x16S => extend!(i8 => i16, false),
        Operator::I16x8ExtendHighI8x16S => extend!(i8 => i16, true),
        Operator::I16x8ExtendLowI8x16U => extend!(u8 => u16, false),
        Operator::I16x8ExtendHighI8x16U => extend!(u8 => u16, true),
        Operator::I32x4ExtendLowI16x8S => extend!(i16 => i32, false),
        Operator::I32x4ExtendHighI16x8S => extend!(i16 => i32, true),
        Operator::I32x4ExtendLowI16x8U => extend!(u16 => u32, false),
        Operator::I32x4ExtendHighI16x8U => extend!(u16 => u32, true),
        Operator::I64x2ExtendLowI32x4S => extend!(i32 => i64, false),
        Operator::I64x2ExtendHighI32x4S => extend!(i32 => i64, true),
        Operator::I64x2ExtendLowI32x4U => extend!(u32 => u64, false),
        Operator::I64x2ExtendHighI32x4U => extend!(u32 => u64, true),
        Operator::I32x4TruncSatF32x4S => one!(f32 => i32, |x| x as i32),
        Operator::I32x4TruncSatF32x4U => one!(f32 => u32, |x| x as u32),
        Operator::F32x4ConvertI32x4S => one!(i32 => f32, |x| x as f32),
        Operator::F32x4ConvertI32x4U => one!(u32 => f32, |x| x as f32),
        Operator::F64x2ConvertLowI32x4S => extend!(i32 => f64, false),
        Operator::F64x2ConvertLowI32x4U => extend!(u32 => f64, false),
        Operator::I32x4TruncSatF64x2SZero => {
            Shape::One(|vector| halve::<f64, i32>(vector, 0, |x| x as i32))
        }
        Operator::I32x4TruncSatF64x2UZero => {
            Shape::One(|vector| halve::<f64, u32>(vector, 0, |x| x as u32))
        }
        Operator::F32x4Abs => one!(f32 => f32, |x| x.abs()),
        Operator::F32x4Neg => one!(f32 => f32, |x| -x),
        Operator::F64x2Abs => one!(f64 => f64, |x| x.abs()),
        Operator::F64x2Neg => one!(f64 => f64, |x| -x),
        Operator::F32x4PMin => two!(f32, |x, y| if y < x { y } else { x }),
        Operator::F32x4PMax => two!(f32, |x, y| if x < y { y } else { x }),
        Operator::F64x2PMin => two!(f64, |x, y| if y < x { y } else { x }),
        Operator::F64x2PMax => two!(f64, |x, y| if x < y { y } else { x }),
        _ => return None,
    })
}

/// Arithmetic whose result may be a NaN of any bits.
#[allow(clippy::wildcard_enum_match_arm, reason = "all others are of other kinds")]
fn float(operator: &Operator<'_>) -> Option<(Shape, Floats)> {
    let small = match operator {
        Operator::F32x4Ceil => one!(f32 => f32, |x| narrow::round(x, f32::ceil)),
        Operator::F32x4Floor => one!(f32 => f32, |x| narrow::round(x, f32::floor)),
        Operator::F32x4Trunc => one!(f32 => f32, |x| narrow::round(x, f32::trunc)),
        Operator::F32x4Nearest => one!(f32 => f32, |x| narrow::round(x, f32::round_ties_even)),
        Operator::F32x4Sqrt => one!(f32 => f32, |x| narrow::round(x, f32::sqrt)),
        Operator::F32x4Add => two!(f32, |x, y| x + y),
        Operator::F32x4Sub => two!(f32, |x, y| x - y),
        Operator::F32x4Mul => two!(f32, |x, y| x * y),
        Operator::F32x4Div => two!(f32, |x, y| x / y),
        Operator::F32x4Min => two!(f32, |x, y| narrow::min(x, y)),
        Operator::F32x4Max => two!(f32, |x, y| narrow::max(x, y)),
        Operator::F32x4DemoteF64x2Zero => {
            Shape::One(|vector| halve::<f64, f32>(vector, 0, |x| x as f32))
        }
        _ => {
            let large = match operator {
                Operator::F64x2Ceil => one!(f64 => f64, |x| wide::round(x, f64::ceil)),
                Operator::F64x2Floor => one!(f64 => f64, |x| wide::round(x, f64::floor)),
                Operator::F64x2Trunc => one!(f64 => f64, |x| wide::round(x, f64::trunc)),
                Operator::F64x2Nearest => {
                    one!(f64 => f64, |x| wide::round(x, f64::round_ties_even))
                }
                Operator::F64x2Sqrt => one!(f64 => f64, |x| wide::round(x, f64::sqrt)),
                Operator::F64x2Add => two!(f64, |x, y| x + y),
                Operator::F64x2Sub => two!(f64, |x, y| x - y),
                Operator::F64x2Mul => two!(f64, |x, y| x * y),
                Operator::F64x2Div => two!(f64, |x, y| x / y),
                Operator::F64x2Min => two!(f64, |x, y| wide::min(x, y)),
                Operator::F64x2Max => two!(f64, |x, y| wide::max(x, y)),
                Operator::F64x2PromoteLowF32x4 => extend!(f32 => f64, false),
                _ => return None,
            };
            return Some((large, Floats::Wide));
        }
    };
    Some((small, Floats::Narrow))
}

/// How a vector is loaded from memory or stored there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access {
    pub(super) memory: u32,
    pub(super) offset: u64,
    pub(super) kind: AccessKind,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum AccessKind {
    /// So many bytes, of which a vector is made.
    Load {
        bytes: u8,
        make: fn(u128) -> u128,
    },
    Store,
    /// So many bytes, which are one lane.
    LoadLane {
        bytes: u8,
        lane: u8,
    },
    StoreLane {
        bytes: u8,
        lane: u8,
    },
}

/// How a vector instruction reaches the memory, if it does.
#[allow(clippy::wildcard_enum_match_arm, reason = "all others do not")]
pub(super) fn access(operator: &Operator<'_>) -> Option<Access> {
    let load = |bytes: u8, make: fn(u128) -> u128| AccessKind::Load { bytes, make };
    let (memarg, kind) = match operator {
        Operator::V128Load { memarg } => (memarg, load(16, |bits| bits)),
        Operator::V128Load8x8S { memarg } => {
            (memarg, load(8, |bits| half::<i8, i16>(bits, false, i16::from)))
        }
        Operator::V128Load8x8U { memarg } => {
            (memarg, load(8, |bits| half::<u8, u16>(bits, false, u16::from)))
        }
        Operator::V128Load16x4S { memarg } => {
            (memarg, load(8, |bits| half::<i16, i32>(bits, false, i32::from)))
        }
        Operator::V128Load16x4U { memarg } => {
            (memarg, load(8, |bits| half::<u16, u32>(bits, false, u32::from)))
        }
        Operator::V128Load32x2S { memarg } => {
            (memarg, load(8, |bits| half::<i32, i64>(bits, false, i64::from)))
        }
        Operator::V128Load32x2U { memarg } => {
            (memarg, load(8, |bits| half::<u32, u64>(bits, false, u64::from)))
        }
        Operator::V128Load8Splat { memarg } => (memarg, load(1, |bits| gather(|_| bits as u8))),
        Operator::V128Load16Splat { memarg } => (memarg, load(2, |bits| gather(|_| bits as u16))),
        Operator::V128Load32Splat { memarg } => (memarg, load(4, |bits| gather(|_| bits as u32))),
        Operator::V128Load64Splat { memarg } => (memarg, load(8, |bits| gather(|_| bits as u64))),
        Operator::V128Load32Zero { memarg } => (memarg, load(4, |bits| bits)),
        Operator::V128Load64Zero { memarg } => (memarg, load(8, |bits| bits)),
        Operator::V128Store { memarg } => (memarg, AccessKind::Store),
        Operator::V128Load8Lane { memarg, lane } => {
            (memarg, AccessKind::LoadLane { bytes: 1, lane: *lane })
        }
        Operator::V128Load16Lane { memarg, lane } => {
            (memarg, AccessKind::LoadLane { bytes: 2, lane: *lane })
        }
        Operator::V128Load32Lane { memarg, lane } => {
            (memarg, AccessKind::LoadLane { bytes: 4, lane: *lane })
        }
        Operator::V128Load64Lane { memarg, lane } => {
            (memarg, AccessKind::LoadLane { bytes: 8, lane: *lane })
        }
        Operator::V128Store8Lane { memarg, lane } => {
            (memarg, AccessKind::StoreLane { bytes: 1, lane: *lane })
        }
        Operator::V128Store16Lane { memarg, lane } => {
            (memarg, AccessKind::StoreLane { bytes: 2, lane: *lane })
        }
        Operator::V128Store32Lane { memarg, lane } => {
            (memarg, AccessKind::StoreLane { bytes: 4, lane: *lane })
        }
        Operator::V128Store64Lane { memarg, lane } => {
            (memarg, AccessKind::StoreLane { bytes: 8, lane: *lane })
        }
        _ => return None,
    };
    Some(Access { memory: memarg.memory, offset: memarg.offset, kind })
}

/// A lane as a number, or a vector with another one in it.
#[derive(Debug, Clone, Copy)]
pub(super) enum LaneOf {
    Extract(fn(u128, u32) -> u64),
    /// So many bits are replaced.
    Replace(u8),
}

/// Which lane an instruction reads or replaces, if it does.
#[allow(clippy::wildcard_enum_match_arm, reason = "all others do not")]
pub(super) fn lane_of(operator: &Operator<'_>) -> Option<(LaneOf, u8)> {
    use LaneOf::{Extract, Replace};
    Some(match operator {
        Operator::I8x16ExtractLaneS { lane: at } => {
            (Extract(|vector, at| u64::from(i32::from(lane::<i8>(vector, at)) as u32)), *at)
        }
        Operator::I8x16ExtractLaneU { lane: at } => {
            (Extract(|vector, at| u64::from(lane::<u8>(vector, at))), *at)
        }
        Operator::I16x8ExtractLaneS { lane: at } => {
            (Extract(|vector, at| u64::from(i32::from(lane::<i16>(vector, at)) as u32)), *at)
        }
        Operator::I16x8ExtractLaneU { lane: at } => {
            (Extract(|vector, at| u64::from(lane::<u16>(vector, at))), *at)
        }
        Operator::I32x4ExtractLane { lane: at } | Operator::F32x4ExtractLane { lane: at } => {
            (Extract(|vector, at| u64::from(lane::<u32>(vector, at))), *at)
        }
        Operator::I64x2ExtractLane { lane: at } | Operator::F64x2ExtractLane { lane: at } => {
            (Extract(lane::<u64>), *at)
        }
        Operator::I8x16ReplaceLane { lane } => (Replace(8), *lane),
        Operator::I16x8ReplaceLane { lane } => (Replace(16), *lane),
        Operator::I32x4ReplaceLane { lane } | Operator::F32x4ReplaceLane { lane } => {
            (Replace(32), *lane)
        }
        Operator::I64x2ReplaceLane { lane } | Operator::F64x2ReplaceLane { lane } => {
            (Replace(64), *lane)
        }
        _ => return None,
    })
}

/// A vector with so many bits of a number in a lane.
pub(super) fn replace(vector: u128, number: u128, bits: u8, lane: u8) -> u128 {
    let ones = u128::MAX >> (128 - u32::from(bits));
    let at = u32::from(bits) * u32::from(lane);
    vector & !(ones << at) | (number & ones) << at
}
