//! Decides what the parts of a definition say, apart from their names: which texts and places stand
//! in them, and what they are without slots and notes.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::definition::{Action, Datum, Given, Invoke, Message, Send, State, Text, Transition};
use crate::expression::{Expression, Names, Node};

/// A part of a definition that can be gone through.
pub(super) trait Part {
    /// Tells `each` every expression and every name of a variable in it.
    fn texts(&self, each: &mut dyn FnMut(&str));
}

impl<P: Part> Part for [P] {
    fn texts(&self, each: &mut dyn FnMut(&str)) {
        self.iter().for_each(|part| part.texts(each));
    }
}

impl<P: Part> Part for Vec<P> {
    fn texts(&self, each: &mut dyn FnMut(&str)) {
        self.as_slice().texts(each);
    }
}

impl<P: Part> Part for Option<P> {
    fn texts(&self, each: &mut dyn FnMut(&str)) {
        self.iter().for_each(|part| part.texts(each));
    }
}

impl Part for Given {
    fn texts(&self, each: &mut dyn FnMut(&str)) {
        match self {
            Self::Literal(_) => {}
            Self::Expression(text) => each(text),
        }
    }
}

impl Part for Text {
    fn texts(&self, each: &mut dyn FnMut(&str)) {
        match self {
            Self::Fixed(_) => {}
            Self::Expression { expression } => each(expression),
        }
    }
}

impl Part for Message {
    fn texts(&self, each: &mut dyn FnMut(&str)) {
        self.names.iter().for_each(|name| each(name));
        self.params.iter().for_each(|param| param.value.texts(each));
        self.content.texts(each);
    }
}

impl Part for Action {
    fn texts(&self, each: &mut dyn FnMut(&str)) {
        match self {
            Self::Raise(_) | Self::Fail(_) => {}
            Self::At(placed) => placed.action.texts(each),
            Self::Assign { to, value } => {
                each(to);
                value.texts(each);
            }
            Self::If(branches) => {
                for branch in branches {
                    branch.when.iter().for_each(|when| each(when));
                    branch.actions.texts(each);
                }
            }
            Self::ForEach { list, item, index, actions } => {
                each(list);
                each(item);
                index.iter().for_each(|index| each(index));
                actions.texts(each);
            }
            Self::Log { value, .. } => value.iter().for_each(|value| each(value)),
            Self::Send(send) => {
                send.id_into.iter().for_each(|place| each(place));
                send.event.texts(each);
                send.to.texts(each);
                send.by.texts(each);
                send.delay.texts(each);
                send.data.texts(each);
            }
            Self::Spawn(spawn) => {
                spawn.id.texts(each);
                spawn.id_into.iter().for_each(|place| each(place));
                spawn.chart.texts(each);
                spawn.data.texts(each);
                spawn.on.texts(each);
            }
            Self::Cancel { id } | Self::Stop { id } => id.texts(each),
        }
    }
}

impl Part for Transition {
    fn texts(&self, each: &mut dyn FnMut(&str)) {
        self.when.iter().for_each(|when| each(when));
        self.actions.texts(each);
    }
}

impl Part for Invoke {
    fn texts(&self, each: &mut dyn FnMut(&str)) {
        self.id_into.iter().for_each(|place| each(place));
        self.by.texts(each);
        self.chart.texts(each);
        self.data.texts(each);
        self.finalize.texts(each);
    }
}

impl Part for Datum {
    fn texts(&self, each: &mut dyn FnMut(&str)) {
        self.value.texts(each);
    }
}

/// The variables, functions of the host and names of the engine that a part reads or writes.
pub(super) fn names(part: &(impl Part + ?Sized)) -> BTreeSet<String> {
    let known = Collector(RefCell::new(BTreeSet::new()));
    part.texts(&mut |text| {
        if let Ok(expression) = Expression::parse(text, &known) {
            extras(expression.root(), &known);
        }
    });
    known.0.into_inner()
}

struct Collector(RefCell<BTreeSet<String>>);

impl Names for Collector {
    fn variable(&self, name: &str) -> Option<u32> {
        self.0.borrow_mut().insert(name.to_owned());
        None
    }
}

/// The mark before the name of a function of the host.
pub(super) const HOST: &str = "()";

fn extras(node: &Node, known: &Collector) {
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        match node {
            Node::System(crate::expression::System::Name) => {
                known.0.borrow_mut().insert("_name".to_owned());
            }
            Node::Host(name, arguments) => {
                known.0.borrow_mut().insert(format!("{HOST}{name}"));
                open.extend(arguments);
            }
            Node::Field(of, _) | Node::Not(of) | Node::Negative(of) => open.push(of),
            Node::In(of) | Node::Defined(of) => open.push(of),
            Node::Index(left, right)
            | Node::Both(left, right)
            | Node::Either(left, right)
            | Node::Binary(_, left, right) => open.extend([&**left, &**right]),
            Node::List(items) | Node::Call(_, items) => open.extend(items),
            Node::Map(entries) => open.extend(entries.iter().map(|(_, value)| value)),
            Node::Choice(parts) => open.extend([&parts.0, &parts.1, &parts.2]),
            Node::Literal(_)
            | Node::Variable(_)
            | Node::Unknown(_)
            | Node::System(_)
            | Node::Event(_)
            | Node::Broken(_) => {}
        }
    }
}

/// Every `send` in a list of actions.
pub(super) fn sends(actions: &[Action]) -> Vec<&Send> {
    let mut open: Vec<&Action> = actions.iter().rev().collect();
    let mut found = Vec::new();
    while let Some(action) = open.pop() {
        match action {
            Action::Send(send) => found.push(&**send),
            Action::If(branches) => {
                open.extend(branches.iter().rev().flat_map(|branch| branch.actions.iter().rev()));
            }
            Action::ForEach { actions, .. } => open.extend(actions.iter().rev()),
            Action::At(placed) => open.push(&placed.action),
            Action::Raise(_)
            | Action::Assign { .. }
            | Action::Log { .. }
            | Action::Cancel { .. }
            | Action::Spawn(_)
            | Action::Stop { .. }
            | Action::Fail(_) => {}
        }
    }
    found
}

/// The charts that a list of actions may spawn; none: any.
pub(super) fn spawned(actions: &[Action]) -> Vec<Option<String>> {
    let mut open: Vec<&Action> = actions.iter().collect();
    let mut found = Vec::new();
    while let Some(action) = open.pop() {
        match action {
            Action::Spawn(spawn) => found.push(match &spawn.chart {
                Text::Fixed(chart) => Some(chart.clone()),
                Text::Expression { .. } => None,
            }),
            Action::If(branches) => {
                open.extend(branches.iter().flat_map(|branch| &branch.actions));
            }
            Action::ForEach { actions, .. } => open.extend(actions),
            Action::At(placed) => open.push(&placed.action),
            Action::Send(_)
            | Action::Raise(_)
            | Action::Assign { .. }
            | Action::Log { .. }
            | Action::Cancel { .. }
            | Action::Stop { .. }
            | Action::Fail(_) => {}
        }
    }
    found
}

/// The same without the names of its timers and the places of a file.
pub(super) fn bare_actions(actions: &[Action]) -> Vec<Action> {
    let mut actions = actions.to_vec();
    actions.iter_mut().for_each(strip);
    actions
}

fn strip(action: &mut Action) {
    match action {
        Action::Send(send) => send.slot.clear(),
        Action::If(branches) => {
            branches.iter_mut().flat_map(|branch| &mut branch.actions).for_each(strip);
        }
        Action::ForEach { actions, .. } => actions.iter_mut().for_each(strip),
        Action::At(placed) => {
            let mut inner = placed.action.clone();
            strip(&mut inner);
            *action = inner;
        }
        Action::Raise(_)
        | Action::Assign { .. }
        | Action::Log { .. }
        | Action::Cancel { .. }
        | Action::Spawn(_)
        | Action::Stop { .. }
        | Action::Fail(_) => {}
    }
}

/// The same without its name and those of its timers.
pub(super) fn bare_transition(transition: &Transition) -> Transition {
    Transition {
        id: String::new(),
        note: None,
        origin: None,
        actions: bare_actions(&transition.actions),
        // Only the words count, not how they are parted.
        on: transition.on.iter().flat_map(|on| on.split_whitespace()).map(plain).collect(),
        ..transition.clone()
    }
}

/// A descriptor in its shortest form.
fn plain(on: &str) -> String {
    on.strip_suffix(".*").or_else(|| on.strip_suffix('.')).unwrap_or(on).to_owned()
}

/// The same without its slot and those of its timers.
pub(super) fn bare_invoke(invoke: &Invoke) -> Invoke {
    let finalize = bare_actions(&invoke.finalize);
    Invoke { slot: String::new(), finalize, ..invoke.clone() }
}

/// All states in document order.
pub(super) fn states(roots: &[State]) -> Vec<&State> {
    let mut found = Vec::new();
    let mut open: Vec<&State> = roots.iter().rev().collect();
    while let Some(state) = open.pop() {
        found.push(state);
        open.extend(state.states.iter().rev());
    }
    found
}
