//! A function body cut into pieces: what is copied as it is, and what has to be known of the rest.

use std::ops::Range;

use wasmparser::Operator;

use crate::module::{CallSite, Module, Step};
use crate::value::ValType;

/// One operator.
#[derive(Debug)]
pub(super) struct Piece {
    /// Where it is written in the module.
    pub(super) range: Range<usize>,
    pub(super) reachable: bool,
    pub(super) what: What,
    /// The operands that it can reach, with their heights: only before what opens or calls.
    pub(super) within_reach: Vec<(usize, ValType)>,
}

/// What an operator is, as far as it is rewritten.
#[derive(Debug)]
pub(super) enum What {
    Plain,
    /// Opens the construct of this number; whether it takes a condition.
    Open {
        control: usize,
        is_loop: bool,
        condition: bool,
    },
    Else,
    End,
    Branch(u32),
    BranchIf(u32),
    Table(Vec<u32>, u32),
    /// A call that leaves a frame.
    Call(CallSite),
    /// A call that takes the place of its frame; the function, unless it is found in a table.
    TailCall(Option<u32>),
    /// Something that only the module itself can do, not one beside it.
    Own(Own),
}

/// What has to be done by the main module, because it is about its segments or functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Own {
    MemoryInit { segment: u32, memory: u32 },
    DataDrop { segment: u32 },
    TableInit { segment: u32, table: u32 },
    ElementDrop { segment: u32 },
    Function(u32),
}

impl Own {
    pub(super) fn is_drop(self) -> bool {
        matches!(self, Self::DataDrop { .. } | Self::ElementDrop { .. })
    }
}

pub(super) fn lower(module: &Module, function: u32) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(module.body(function).len());
    let mut opened = 0;
    module.walk(function, |step| {
        let what = what(step, &mut opened);
        let wanted = step.reachable
            && matches!(what, What::Open { .. } | What::Call(_) | What::TailCall(Some(_)));
        let within_reach = if wanted { within_reach(step) } else { Vec::new() };
        let (range, reachable) = (step.range.clone(), step.reachable);
        pieces.push(Piece { range, reachable, what, within_reach });
    });
    pieces
}

fn within_reach(step: &Step<'_, '_>) -> Vec<(usize, ValType)> {
    let height = step.height();
    (step.floor()..height)
        .map(|at| (at, step.operand(height - 1 - at).unwrap_or(ValType::I32)))
        .collect()
}

#[allow(clippy::wildcard_enum_match_arm, reason = "all others are copied as they are")]
fn what(step: &Step<'_, '_>, opened: &mut usize) -> What {
    let mut open = |is_loop, condition| {
        *opened += 1;
        What::Open { control: *opened, is_loop, condition }
    };
    match step.operator {
        Operator::Block { .. } => open(false, false),
        Operator::Loop { .. } => open(true, false),
        Operator::If { .. } => open(false, true),
        Operator::Else => What::Else,
        Operator::End => What::End,
        Operator::Br { relative_depth } => What::Branch(*relative_depth),
        Operator::BrIf { relative_depth } => What::BranchIf(*relative_depth),
        Operator::BrTable { targets } => {
            What::Table(targets.targets().flatten().collect(), targets.default())
        }
        Operator::ReturnCall { function_index } => What::TailCall(Some(*function_index)),
        Operator::ReturnCallIndirect { .. } => What::TailCall(None),
        Operator::MemoryInit { data_index, mem } => {
            What::Own(Own::MemoryInit { segment: *data_index, memory: *mem })
        }
        Operator::DataDrop { data_index } => What::Own(Own::DataDrop { segment: *data_index }),
        Operator::TableInit { elem_index, table } => {
            What::Own(Own::TableInit { segment: *elem_index, table: *table })
        }
        Operator::ElemDrop { elem_index } => What::Own(Own::ElementDrop { segment: *elem_index }),
        Operator::RefFunc { function_index } => What::Own(Own::Function(*function_index)),
        _ => step.call().map_or(What::Plain, What::Call),
    }
}
