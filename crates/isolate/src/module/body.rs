//! What follows from one function body: its constructs, which locals are still needed at each
//! position, and what is on the operand stack there.

use std::ops::Range;

use wasmparser::{
    BinaryReader, BlockType, FuncValidator, FunctionBody, Operator, ValidatorResources,
};

use crate::module::refusal::SUPPORTED;
use crate::module::{FUNCTION_OPERATORS_MAX, Module, ModuleError, STACK_SLOTS_MAX};
use crate::value::ValType;

/// Of functions with at most this many operators, what is on the stack is kept for all positions.
pub(super) const POINTS_KEPT_MAX: usize = 4_096;

/// Above this many words of 64 bits, all locals of a function count as needed everywhere. Part of
/// the format of a state: the same rule on every node.
const LIVENESS_WORDS_MAX: usize = 1 << 22;

/// What kind of operator stands at a position, as far as moves are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Only opens a construct, or does nothing.
    Opens,
    /// The end of a construct, by the construct.
    Closes,
    /// The end of the first arm of an `if`.
    Else,
    /// A call that leaves a frame behind.
    Call,
    /// Anything else.
    Plain,
}

/// What a construct is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ControlKind {
    Function,
    Block,
    Loop,
    If,
}

/// A construct of a body. The body itself is number 0.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    pub(crate) kind: ControlKind,
    pub(crate) parent: usize,
    /// Position of the operator that opens it.
    pub(crate) start: u32,
    pub(crate) otherwise: Option<u32>,
    /// Position of its `end`.
    pub(crate) end: u32,
    /// How many operands lie below it, its parameters not counted.
    pub(crate) height: usize,
    pub(crate) block: Option<BlockType>,
}

/// What is on the operand stack at a position.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub(crate) reachable: bool,
    pub(crate) operands: Box<[ValType]>,
    /// The call that stands there, if it is one that leaves a frame behind.
    pub(crate) call: Option<CallSite>,
}

/// A call as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallSite {
    pub(crate) type_index: u32,
    /// The function, unless it is found in a table.
    pub(crate) callee: Option<u32>,
}

impl CallSite {
    /// How many operands the call takes.
    pub(crate) fn taken(self, module: &Module) -> usize {
        let params = module.types()[self.type_index as usize].params.len();
        params + usize::from(self.callee.is_none())
    }
}

/// One operator of a walk, before it is executed.
pub(crate) struct Step<'s, 'm> {
    pub(crate) position: u32,
    pub(crate) operator: &'s Operator<'m>,
    /// Where it is written.
    pub(crate) range: Range<usize>,
    pub(crate) reachable: bool,
    validator: &'s FuncValidator<ValidatorResources>,
}

impl Step<'_, '_> {
    pub(crate) fn height(&self) -> usize {
        self.validator.operand_stack_height() as usize
    }

    /// The height below which the innermost construct may not reach.
    pub(crate) fn floor(&self) -> usize {
        self.validator.get_control_frame(0).map_or(0, |frame| frame.height)
    }

    /// The type of the operand `depth` below the top.
    pub(crate) fn operand(&self, depth: usize) -> Option<ValType> {
        self.validator.get_operand_type(depth).flatten().and_then(ValType::from_operand)
    }

    pub(crate) fn operands(&self) -> Box<[ValType]> {
        let height = self.height();
        let unknown = ValType::I32;
        (0..height).rev().map(|depth| self.operand(depth).unwrap_or(unknown)).collect()
    }

    pub(super) fn point(&self) -> Point {
        let operands = if self.reachable { self.operands() } else { Box::default() };
        Point { reachable: self.reachable, operands, call: self.call() }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "all others are no calls")]
    pub(crate) fn call(&self) -> Option<CallSite> {
        use wasmparser::WasmModuleResources as _;
        match self.operator {
            Operator::Call { function_index } => {
                let resources = self.validator.resources();
                let type_index = resources.type_index_of_function(*function_index)?;
                Some(CallSite { type_index, callee: Some(*function_index) })
            }
            Operator::CallIndirect { type_index, .. } => {
                Some(CallSite { type_index: *type_index, callee: None })
            }
            _ => None,
        }
    }
}

/// What an operator calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Called {
    Function(u32),
    /// What it finds in this table, by its topmost operand.
    Table(u32),
}

/// What is known about a function body.
#[derive(Debug)]
pub(crate) struct Body {
    /// Parameters, then declared locals.
    pub(crate) locals: Box<[ValType]>,
    pub(crate) controls: Vec<Control>,
    /// The innermost construct around each operator; of one that opens, the one outside.
    pub(crate) control_at: Vec<u32>,
    classes: Vec<Class>,
    /// Bits of needed locals before each operator, by words; empty if all count as needed.
    live: Vec<u64>,
    words: usize,
}

impl Body {
    /// How many operators there are; positions are below this.
    pub(crate) fn len(&self) -> usize {
        self.classes.len()
    }

    pub(crate) fn class(&self, position: u32) -> Class {
        self.classes[position as usize]
    }

    /// The one name of the moment before this position.
    pub(crate) fn canonical(&self, mut position: u32) -> u32 {
        let last = self.len() as u32 - 1;
        while position < last {
            position = match self.classes[position as usize] {
                Class::Opens | Class::Closes => position + 1,
                Class::Else => self.controls[self.control_at[position as usize] as usize].end,
                Class::Call | Class::Plain => return position,
            };
        }
        position
    }

    /// The locals whose value is still needed before this position, in ascending order.
    pub(crate) fn live(&self, position: u32) -> impl Iterator<Item = u32> + '_ {
        (0..self.locals.len() as u32).filter(move |local| self.is_live(position, *local))
    }

    fn is_live(&self, position: u32, local: u32) -> bool {
        if self.live.is_empty() {
            return true;
        }
        let word = position as usize * self.words + local as usize / 64;
        self.live.get(word).is_some_and(|bits| bits >> (local % 64) & 1 == 1)
    }

    pub(super) fn analyse(module: &Module, function: u32) -> Self {
        let mut body = Self {
            locals: module.locals(function),
            controls: vec![Control {
                kind: ControlKind::Function,
                parent: 0,
                start: 0,
                otherwise: None,
                end: 0,
                height: 0,
                block: None,
            }],
            control_at: Vec::new(),
            classes: Vec::new(),
            live: Vec::new(),
            words: 0,
        };
        let mut flows = Vec::new();
        let mut open = vec![0_u32];
        module.walk(function, |step| body.note(step, &mut open, &mut flows));
        body.find_live(&flows);
        body
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the operators that matter to the flow are named, all others go on to the next"
    )]
    fn note(&mut self, step: &Step<'_, '_>, open: &mut Vec<u32>, flows: &mut Vec<Flow>) {
        let current = open.last().copied().unwrap_or(0);
        self.control_at.push(current);
        let to = |depth: u32| open[open.len() - 1 - depth as usize];
        let (class, flow) = match step.operator {
            Operator::Block { blockty } => self.open(step, ControlKind::Block, *blockty, open),
            Operator::Loop { blockty } => self.open(step, ControlKind::Loop, *blockty, open),
            Operator::If { blockty } => self.open(step, ControlKind::If, *blockty, open),
            Operator::Else => {
                self.controls[current as usize].otherwise = Some(step.position);
                (Class::Else, Flow::Else(current))
            }
            Operator::End => {
                self.controls[current as usize].end = step.position;
                open.pop();
                (Class::Closes, Flow::Next)
            }
            Operator::Nop => (Class::Opens, Flow::Next),
            Operator::Br { relative_depth } => (Class::Plain, Flow::Branch(to(*relative_depth))),
            Operator::BrIf { relative_depth } => {
                (Class::Plain, Flow::BranchIf(to(*relative_depth)))
            }
            Operator::BrTable { targets } => {
                let mut list: Vec<u32> = targets.targets().filter_map(Result::ok).map(to).collect();
                list.push(to(targets.default()));
                list.sort_unstable();
                list.dedup();
                (Class::Plain, Flow::Table(list.into()))
            }
            Operator::Return
            | Operator::Unreachable
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. } => (Class::Plain, Flow::Leave),
            Operator::Call { .. } | Operator::CallIndirect { .. } => (Class::Call, Flow::Next),
            Operator::LocalGet { local_index } => (Class::Plain, Flow::Get(*local_index)),
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                (Class::Plain, Flow::Set(*local_index))
            }
            _ => (Class::Plain, Flow::Next),
        };
        self.classes.push(class);
        flows.push(flow);
    }

    fn open(
        &mut self,
        step: &Step<'_, '_>,
        kind: ControlKind,
        block: BlockType,
        open: &mut Vec<u32>,
    ) -> (Class, Flow) {
        let number = self.controls.len() as u32;
        let parent = open.last().copied().unwrap_or(0) as usize;
        let params = step.params_of(block);
        let popped = params + usize::from(kind == ControlKind::If);
        self.controls.push(Control {
            kind,
            parent,
            start: step.position,
            otherwise: None,
            end: 0,
            height: step.height().saturating_sub(popped),
            block: Some(block),
        });
        open.push(number);
        if kind == ControlKind::If {
            (Class::Plain, Flow::If(number))
        } else {
            (Class::Opens, Flow::Next)
        }
    }

    /// Backward over the body until nothing changes: needed is what is read before it is set.
    fn find_live(&mut self, flows: &[Flow]) {
        let words = self.locals.len().div_ceil(64);
        let count = flows.len();
        if words == 0 || count.saturating_mul(words) > LIVENESS_WORDS_MAX {
            return;
        }
        let mut live = vec![0_u64; (count + 1) * words];
        let mut next = vec![0_u64; words];
        let mut changed = true;
        while changed {
            changed = false;
            for at in (0..count).rev() {
                next.fill(0);
                self.successors(&flows[at], at, |to| {
                    let row = &live[to.min(count) * words..][..words];
                    next.iter_mut().zip(row).for_each(|(sum, bits)| *sum |= bits);
                });
                if let Flow::Get(local) = &flows[at] {
                    next[*local as usize / 64] |= 1 << (local % 64);
                } else if let Flow::Set(local) = &flows[at] {
                    next[*local as usize / 64] &= !(1 << (local % 64));
                }
                let row = &mut live[at * words..][..words];
                if row != next {
                    row.copy_from_slice(&next);
                    changed = true;
                }
            }
        }
        self.live = live;
        self.words = words;
    }

    fn successors(&self, flow: &Flow, at: usize, mut to: impl FnMut(usize)) {
        let target = |control: u32| {
            let control = &self.controls[control as usize];
            match control.kind {
                ControlKind::Function => usize::MAX,
                ControlKind::Loop => control.start as usize + 1,
                ControlKind::Block | ControlKind::If => control.end as usize,
            }
        };
        match flow {
            Flow::Next | Flow::Get(_) | Flow::Set(_) => to(at + 1),
            Flow::Leave => {}
            Flow::Branch(control) => to(target(*control)),
            Flow::BranchIf(control) => {
                to(at + 1);
                to(target(*control));
            }
            Flow::Table(controls) => controls.iter().for_each(|control| to(target(*control))),
            Flow::If(control) => {
                let control = &self.controls[*control as usize];
                to(at + 1);
                to(control.otherwise.map_or(control.end, |otherwise| otherwise + 1) as usize);
            }
            Flow::Else(control) => to(self.controls[*control as usize].end as usize),
        }
    }
}

/// Where an operator leads; constructs by their number.
enum Flow {
    Next,
    Get(u32),
    Set(u32),
    Branch(u32),
    BranchIf(u32),
    Table(Box<[u32]>),
    If(u32),
    Else(u32),
    Leave,
}

impl Step<'_, '_> {
    fn params_of(&self, block: BlockType) -> usize {
        use wasmparser::WasmModuleResources as _;
        match block {
            BlockType::Empty | BlockType::Type(_) => 0,
            BlockType::FuncType(index) => {
                let ty = self.validator.resources().sub_type_at(index);
                ty.map_or(0, |ty| ty.unwrap_func().params().len())
            }
        }
    }
}

impl Module {
    /// The types of the parameters and declared locals of a defined function.
    fn locals(&self, function: u32) -> Box<[ValType]> {
        let mut locals = self.signature(function).params.to_vec();
        let reader = self.body_of(function).get_locals_reader();
        for declared in reader.into_iter().flatten().flatten() {
            let ty = ValType::from_parser(declared.1).unwrap_or(ValType::I32);
            locals.extend(std::iter::repeat_n(ty, declared.0 as usize));
        }
        locals.into()
    }

    fn body_of(&self, function: u32) -> FunctionBody<'_> {
        let range = &self.bodies[(function - self.functions_imported) as usize];
        FunctionBody::new(BinaryReader::new(&self.bytes[range.clone()], range.start))
    }

    /// Goes through the operators of a defined function in the order in which they are written.
    pub(crate) fn walk(&self, function: u32, mut visit: impl FnMut(&Step<'_, '_>)) {
        let walked = self.try_walk(function, |step| {
            visit(step);
            Ok(())
        });
        debug_assert!(walked.is_ok(), "the body was validated when the module was parsed");
    }

    fn try_walk(
        &self,
        function: u32,
        mut visit: impl FnMut(&Step<'_, '_>) -> Result<(), ModuleError>,
    ) -> Result<(), ModuleError> {
        let Some(resources) = &self.resources else { return Ok(()) };
        let described = wasmparser::FuncToValidate {
            resources: resources.clone(),
            index: function,
            ty: self.type_index(function),
            features: SUPPORTED,
        };
        let mut validator = described.into_validator(Default::default());
        let body = self.body_of(function);
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        let mut operators = body.get_operators_reader()?;
        let mut position = 0;
        // The depth of constructs at which code that cannot be reached began.
        let mut dead: Option<u32> = None;
        while !operators.eof() {
            let start = operators.original_position();
            let operator = operators.read()?;
            let range = start..operators.original_position();
            visit(&Step {
                position,
                operator: &operator,
                range,
                reachable: dead.is_none(),
                validator: &validator,
            })?;
            validator.op(start, &operator)?;
            let depth = validator.control_stack_height();
            let unreachable = validator.get_control_frame(0).is_some_and(|top| top.unreachable);
            dead = match dead {
                None => unreachable.then_some(depth),
                Some(since) if depth < since || (depth == since && !unreachable) => {
                    unreachable.then_some(depth)
                }
                since => since,
            };
            position += 1;
        }
        Ok(())
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "all others are no calls")]
    /// What the operator at a position calls, in place of its frame or not.
    pub(crate) fn called_at(&self, function: u32, position: u32) -> Option<Called> {
        let mut called = None;
        self.walk(function, |step| {
            if step.position == position {
                called = match *step.operator {
                    Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                        Some(Called::Function(function_index))
                    }
                    Operator::CallIndirect { table_index, .. }
                    | Operator::ReturnCallIndirect { table_index, .. } => {
                        Some(Called::Table(table_index))
                    }
                    _ => None,
                };
            }
        });
        called
    }

    /// Looks at every body once for the limits, and for vectors.
    pub(super) fn check_bodies(&mut self) -> Result<(), ModuleError> {
        let in_types = |wanted: fn(ValType) -> bool| {
            let mut held = self.types.iter().flat_map(|ty| ty.params.iter().chain(&*ty.results));
            held.any(|ty| wanted(*ty))
        };
        let is_vector = |ty: ValType| ty == ValType::V128;
        let mut has_vectors =
            in_types(is_vector) || self.globals.iter().any(|global| is_vector(global.ty));
        // Of several results one can lie below the top from when it comes to when it is taken.
        let mut has_references = in_types(ValType::is_reference);
        for function in self.functions_imported..self.function_count() {
            let held = self.locals(function);
            has_references |= held.iter().any(|ty| ty.is_reference());
            let locals = held.len();
            self.try_walk(function, |step| {
                within("operators of a function", step.position as usize, FUNCTION_OPERATORS_MAX)?;
                within("locals and operands", locals + step.height(), STACK_SLOTS_MAX)?;
                let top = if step.height() > 0 { step.operand(0) } else { None };
                has_vectors |= top == Some(ValType::V128);
                has_references |= top.is_some_and(ValType::is_reference);
                Ok(())
            })?;
        }
        self.has_vectors = has_vectors;
        self.has_references = has_references;
        Ok(())
    }
}

fn within(what: &'static str, size: usize, limit: usize) -> Result<(), ModuleError> {
    if size <= limit {
        return Ok(());
    }
    Err(ModuleError::TooLarge { what, size: size as u64, limit: limit as u64 })
}
