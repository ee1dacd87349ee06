//! The values of constant expressions: where segments go and what globals begin with.

use std::ops::Range;

use wasmparser::{BinaryReader, ConstExpr, Operator};

use crate::module::Module;
use crate::value::{ValType, Value};

/// A constant expression that validation let through and that is not known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConstantError;

/// The value of the constant expression in this range of the module.
pub(crate) fn evaluate(
    module: &Module,
    range: &Range<usize>,
    globals: &[Value],
) -> Result<Value, ConstantError> {
    let bytes = &module.bytes()[range.clone()];
    let expression = ConstExpr::new(BinaryReader::new(bytes, range.start));
    let mut stack: Vec<Value> = Vec::new();
    for operator in expression.get_operators_reader() {
        step(&operator.map_err(|_| ConstantError)?, globals, &mut stack)?;
    }
    stack.pop().ok_or(ConstantError)
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "constant expressions are a handful of all operators"
)]
fn step(
    operator: &Operator<'_>,
    globals: &[Value],
    stack: &mut Vec<Value>,
) -> Result<(), ConstantError> {
    let value = match operator {
        Operator::I32Const { value } => Value::I32(*value as u32),
        Operator::I64Const { value } => Value::I64(*value as u64),
        Operator::F32Const { value } => Value::F32(value.bits()),
        Operator::F64Const { value } => Value::F64(value.bits()),
        Operator::V128Const { value } => Value::V128(u128::from_le_bytes(*value.bytes())),
        Operator::RefNull { hty } => match *hty {
            wasmparser::HeapType::EXTERN => Value::zero(ValType::ExternRef),
            _ => Value::zero(ValType::FuncRef),
        },
        Operator::RefFunc { function_index } => Value::FuncRef(Some(*function_index)),
        Operator::GlobalGet { global_index } => {
            *globals.get(*global_index as usize).ok_or(ConstantError)?
        }
        Operator::I32Add => narrow(stack, u32::wrapping_add)?,
        Operator::I32Sub => narrow(stack, u32::wrapping_sub)?,
        Operator::I32Mul => narrow(stack, u32::wrapping_mul)?,
        Operator::I64Add => wide(stack, u64::wrapping_add)?,
        Operator::I64Sub => wide(stack, u64::wrapping_sub)?,
        Operator::I64Mul => wide(stack, u64::wrapping_mul)?,
        Operator::End => return Ok(()),
        _ => return Err(ConstantError),
    };
    stack.push(value);
    Ok(())
}

fn narrow(stack: &mut Vec<Value>, apply: fn(u32, u32) -> u32) -> Result<Value, ConstantError> {
    match (stack.pop(), stack.pop()) {
        (Some(Value::I32(right)), Some(Value::I32(left))) => Ok(Value::I32(apply(left, right))),
        _ => Err(ConstantError),
    }
}

fn wide(stack: &mut Vec<Value>, apply: fn(u64, u64) -> u64) -> Result<Value, ConstantError> {
    match (stack.pop(), stack.pop()) {
        (Some(Value::I64(right)), Some(Value::I64(left))) => Ok(Value::I64(apply(left, right))),
        _ => Err(ConstantError),
    }
}
