//! Decides where the code of a module looks whether it should stop, and which functions may unwind.
//!
//! A loop looks at its header, a function that may come back to itself at its entry: so there is no
//! way to run for long without looking. After a call that may unwind it is looked whether it did.
//! Functions that can do neither are left as they are, to the byte.

use std::collections::{BTreeMap, BTreeSet};

use crate::fast::lower::{Own, Piece, What, lower};
use crate::module::{Items, Module};
use crate::value::ValType;

/// Why the code may leave a frame behind at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// It looks whether it should stop.
    Poll,
    /// What it called may unwind.
    Call,
    /// The host may suspend the call, which is then made again.
    Host,
}

/// A place at which a frame can be left behind.
#[derive(Debug, Clone)]
pub(super) struct Safepoint {
    pub(super) function: u32,
    /// The position as a state names it.
    pub(super) position: u32,
    pub(super) reason: Reason,
    pub(super) locals: Vec<(u32, ValType)>,
    pub(super) operands: Vec<ValType>,
}

/// The bytes of a slot in a frame that was left behind.
pub(super) fn slot_bytes(ty: ValType) -> u32 {
    if ty == ValType::V128 { 16 } else { 8 }
}

/// The bytes of a frame's head: what it is.
pub(super) const FRAME_HEAD_BYTES: u32 = 8;

impl Safepoint {
    pub(super) fn slots(&self) -> impl Iterator<Item = ValType> + '_ {
        self.locals.iter().map(|(_, ty)| *ty).chain(self.operands.iter().copied())
    }
}

/// Where one function looks.
#[derive(Debug, Default)]
pub(super) struct Looks {
    pub(super) at_entry: Option<usize>,
    /// Safepoints of loop headers and calls, by the position of the operator.
    pub(super) at: BTreeMap<u32, usize>,
}

#[derive(Debug)]
pub(super) struct Plan {
    /// Of each defined function that may unwind.
    pub(super) looks: Vec<Option<Looks>>,
    pub(super) safepoints: Vec<Safepoint>,
    /// What modules beside it have to ask the main module for.
    pub(super) own: Vec<Own>,
    /// Whether any frame holds a reference.
    pub(super) references: bool,
}

/// What matters of a function for the plan.
#[derive(Default)]
struct Summary {
    loops: bool,
    calls: BTreeSet<u32>,
    indirect: bool,
    host: bool,
}

impl Plan {
    pub(super) fn of(module: &Module, poll_every_entry: bool) -> Self {
        let mut own = BTreeSet::new();
        let mut summaries = Vec::new();
        let imported = module.functions_imported();
        for function in imported..module.function_count() {
            let pieces = lower(module, function);
            summaries.push(summarise(module, &pieces, &mut own));
        }
        let addressed = addressed(module, &own);
        let entries = recursive(&summaries, imported, &addressed);
        let polls_entry = |index: usize| poll_every_entry || entries.contains(&index);
        let mut may: Vec<bool> = summaries
            .iter()
            .enumerate()
            .map(|(index, it)| it.loops || it.indirect || it.host || polls_entry(index))
            .collect();
        close(&summaries, imported, &mut may);
        let mut plan = Self {
            looks: Vec::new(),
            safepoints: Vec::new(),
            own: own.into_iter().collect(),
            references: false,
        };
        for (index, may_unwind) in may.iter().enumerate() {
            let looks = may_unwind
                .then(|| plan.looks_of(module, imported + index as u32, polls_entry(index), &may));
            plan.looks.push(looks);
        }
        // The interpreter leaves frames behind where this code leaves none.
        plan.references = module.has_references();
        plan
    }

    /// The segments that the program can drop.
    pub(super) fn drops(&self) -> impl Iterator<Item = Own> + '_ {
        self.own.iter().copied().filter(|own| own.is_drop())
    }

    fn looks_of(&mut self, module: &Module, function: u32, entry: bool, may: &[bool]) -> Looks {
        let mut looks = Looks::default();
        let imported = module.functions_imported();
        let body = module.body(function);
        if entry {
            let position = body.canonical(0);
            looks.at_entry = self.add(module, function, position, Reason::Poll);
        }
        for (at, piece) in lower(module, function).iter().enumerate() {
            if !piece.reachable {
                continue;
            }
            let at = at as u32;
            let call = |callee: Option<u32>| match callee {
                None => Some(Reason::Call),
                Some(callee) if callee < imported => Some(Reason::Host),
                Some(callee) => may[(callee - imported) as usize].then_some(Reason::Call),
            };
            let safepoint = if let What::Open { is_loop: true, .. } = &piece.what {
                self.add(module, function, body.canonical(at + 1), Reason::Poll)
            } else if let What::Call(site) = &piece.what {
                call(site.callee).and_then(|reason| self.add(module, function, at, reason))
            } else if let What::TailCall(Some(callee)) = piece.what {
                // The host may suspend it, and then the frame has to be there still.
                (callee < imported).then(|| self.add(module, function, at, Reason::Host)).flatten()
            } else {
                None
            };
            looks.at.extend(safepoint.map(|safepoint| (at, safepoint)));
        }
        looks
    }

    /// A safepoint, unless nothing can get there.
    fn add(
        &mut self,
        module: &Module,
        function: u32,
        position: u32,
        reason: Reason,
    ) -> Option<usize> {
        let safepoint = describe(module, function, position, reason)?;
        self.safepoints.push(safepoint);
        Some(self.safepoints.len() - 1)
    }
}

/// What a frame holds at a place.
pub(super) fn describe(
    module: &Module,
    function: u32,
    position: u32,
    reason: Reason,
) -> Option<Safepoint> {
    let body = module.body(function);
    let point = module.point(function, position)?;
    let (live_at, taken) = match reason {
        Reason::Poll | Reason::Host => (position, 0),
        Reason::Call => (position + 1, point.call?.taken(module)),
    };
    let locals = body.live(live_at).map(|local| (local, body.locals[local as usize])).collect();
    let operands = point.operands[..point.operands.len() - taken].to_vec();
    Some(Safepoint { function, position, reason, locals, operands })
}

fn summarise(module: &Module, pieces: &[Piece], own: &mut BTreeSet<Own>) -> Summary {
    let mut summary = Summary::default();
    let call = |callee: Option<u32>, summary: &mut Summary| match callee {
        None => summary.indirect = true,
        Some(callee) if module.is_defined(callee) => drop(summary.calls.insert(callee)),
        Some(_) => summary.host = true,
    };
    for piece in pieces {
        match &piece.what {
            What::Own(needed) => drop(own.insert(*needed)),
            What::Open { is_loop, .. } => summary.loops |= is_loop,
            What::Call(site) => call(site.callee, &mut summary),
            What::TailCall(callee) => call(*callee, &mut summary),
            What::Plain
            | What::Else
            | What::End
            | What::Branch(_)
            | What::BranchIf(_)
            | What::Table(..) => {}
        }
    }
    summary
}

/// Functions that the program can find in a table.
fn addressed(module: &Module, own: &BTreeSet<Own>) -> BTreeSet<u32> {
    let mut addressed: BTreeSet<u32> = own
        .iter()
        .filter_map(|own| if let Own::Function(function) = own { Some(*function) } else { None })
        .collect();
    for element in module.elements() {
        match &element.items {
            Items::Functions(functions) => addressed.extend(functions.iter()),
            // Written as expressions: rare enough to take any function for one of them.
            Items::Expressions(_) => addressed.extend(0..module.function_count()),
        }
    }
    if module.globals().iter().any(|global| global.ty == ValType::FuncRef) {
        addressed.extend(0..module.function_count());
    }
    addressed
}

/// Whoever calls a function that may unwind may unwind.
fn close(summaries: &[Summary], imported: u32, may: &mut [bool]) {
    let mut callers: Vec<Vec<usize>> = vec![Vec::new(); summaries.len()];
    for (caller, summary) in summaries.iter().enumerate() {
        for callee in &summary.calls {
            callers[(callee - imported) as usize].push(caller);
        }
    }
    let mut open: Vec<usize> = (0..may.len()).filter(|index| may[*index]).collect();
    while let Some(callee) = open.pop() {
        for caller in &callers[callee] {
            if !may[*caller] {
                may[*caller] = true;
                open.push(*caller);
            }
        }
    }
}

/// The defined functions that may come back to themselves: those in a cycle of calls. All indirect
/// calls together count as one function that calls everything whose address can be had.
fn recursive(summaries: &[Summary], imported: u32, addressed: &BTreeSet<u32>) -> BTreeSet<usize> {
    let anything = summaries.len();
    let mut next: Vec<Vec<usize>> = summaries
        .iter()
        .map(|summary| {
            let direct = summary.calls.iter().map(|callee| (callee - imported) as usize);
            direct.chain(summary.indirect.then_some(anything)).collect()
        })
        .collect();
    let defined = addressed.iter().filter(|function| **function >= imported);
    next.push(defined.map(|function| (function - imported) as usize).collect());
    let mut found = Cycles::new(next.len());
    for node in 0..next.len() {
        found.visit(node, &next);
    }
    found.in_cycle.remove(&anything);
    found.in_cycle
}

/// Tarjan's search for strongly connected components, without recursion.
struct Cycles {
    numbers: Vec<Option<usize>>,
    low: Vec<usize>,
    on_stack: Vec<bool>,
    stack: Vec<usize>,
    count: usize,
    in_cycle: BTreeSet<usize>,
}

impl Cycles {
    fn new(nodes: usize) -> Self {
        Self {
            numbers: vec![None; nodes],
            low: vec![0; nodes],
            on_stack: vec![false; nodes],
            stack: Vec::new(),
            count: 0,
            in_cycle: BTreeSet::new(),
        }
    }

    fn enter(&mut self, node: usize) {
        self.numbers[node] = Some(self.count);
        self.low[node] = self.count;
        self.count += 1;
        self.stack.push(node);
        self.on_stack[node] = true;
    }

    fn visit(&mut self, root: usize, next: &[Vec<usize>]) {
        if self.numbers[root].is_some() {
            return;
        }
        self.enter(root);
        let mut path = vec![(root, 0)];
        while let Some((node, edge)) = path.last_mut() {
            let node = *node;
            if let Some(&to) = next[node].get(*edge) {
                *edge += 1;
                match self.numbers[to] {
                    None => {
                        self.enter(to);
                        path.push((to, 0));
                    }
                    Some(number) if self.on_stack[to] => {
                        self.low[node] = self.low[node].min(number);
                    }
                    Some(_) => {}
                }
                continue;
            }
            path.pop();
            if let Some((parent, _)) = path.last() {
                self.low[*parent] = self.low[*parent].min(self.low[node]);
            }
            if Some(self.low[node]) == self.numbers[node] {
                self.close_component(node, next);
            }
        }
    }

    fn close_component(&mut self, node: usize, next: &[Vec<usize>]) {
        let mut members = Vec::new();
        while let Some(member) = self.stack.pop() {
            self.on_stack[member] = false;
            members.push(member);
            if member == node {
                break;
            }
        }
        if members.len() > 1 || next[node].contains(&node) {
            self.in_cycle.extend(members);
        }
    }
}
