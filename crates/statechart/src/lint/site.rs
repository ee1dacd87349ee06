//! Decides what a definition says, and where: its states, transitions, actions and expressions with
//! the pointers to them.

use std::collections::BTreeSet;

use crate::chart::{Chart, ROOT};
use crate::definition::{Action, Definition, Given, Message, Send, State, Text};
use crate::expression::{Expression, Node};

/// A `send`, and in which state it stands.
pub(super) struct Sent<'a> {
    pub(super) send: &'a Send,
    pub(super) state: u32,
    pub(super) pointer: String,
    /// Whether it is done when its state is entered.
    pub(super) on_entry: bool,
}

/// All that a chart says.
#[derive(Default)]
pub(super) struct Sites<'a> {
    /// The pointers to its states, by number.
    pub(super) states: Vec<String>,
    /// The pointers to its transitions, by number.
    pub(super) transitions: Vec<String>,
    pub(super) sends: Vec<Sent<'a>>,
    pub(super) raised: Vec<(&'a str, u32, String)>,
    pub(super) cancelled: Vec<(&'a Text, String)>,
    /// Variables with the pointers to them.
    pub(super) data: Vec<(&'a str, String)>,
    /// The variables that are read.
    pub(super) read: BTreeSet<u32>,
    /// The ids of what is invoked; one that is made can be anything.
    pub(super) invoked: Vec<Option<&'a str>>,
}

struct Walk<'a, 'c> {
    chart: &'c Chart,
    sites: Sites<'a>,
    state: u32,
    on_entry: bool,
}

pub(super) fn sites<'a>(chart: &Chart, definition: &'a Definition, root: &str) -> Sites<'a> {
    let sites = Sites::default();
    let mut walk = Walk { chart, sites, state: ROOT, on_entry: false };
    walk.sites.states.push(root.to_owned());
    walk.data(&definition.data, root);
    walk.actions(&definition.script, &format!("{root}/script"));
    walk.transitions(&definition.transitions, root);
    for (place, state) in definition.states.iter().enumerate() {
        walk.state(state, &format!("{root}/states/{place}"));
    }
    walk.sites
}

impl<'a> Walk<'a, '_> {
    fn state(&mut self, state: &'a State, pointer: &str) {
        let number = self.sites.states.len();
        self.state = u32::try_from(number).unwrap_or(u32::MAX);
        let own = self.state;
        self.sites.states.push(pointer.to_owned());
        self.data(&state.data, pointer);
        self.on_entry = true;
        self.blocks(&state.on_entry, &format!("{pointer}/on_entry"));
        self.on_entry = false;
        self.blocks(&state.on_exit, &format!("{pointer}/on_exit"));
        self.actions(&state.initial_actions, &format!("{pointer}/initial_actions"));
        for (place, invoke) in state.invoke.iter().enumerate() {
            let pointer = format!("{pointer}/invoke/{place}");
            self.sites.invoked.push(invoke.id.as_deref());
            for text in [&invoke.by, &invoke.chart].into_iter().flatten() {
                self.text(text);
            }
            self.message(&invoke.data);
            self.actions(&invoke.finalize, &format!("{pointer}/finalize"));
        }
        if let Some(done) = &state.done {
            self.message(done);
        }
        if state.kind.is_history() {
            // Its one transition is no transition of the chart.
            for transition in &state.transitions {
                self.actions(&transition.actions, &format!("{pointer}/transitions/0/do"));
            }
        } else {
            self.transitions(&state.transitions, pointer);
        }
        for (place, child) in state.states.iter().enumerate() {
            self.state(child, &format!("{pointer}/states/{place}"));
        }
        self.state = own;
    }

    fn transitions(&mut self, transitions: &'a [crate::definition::Transition], pointer: &str) {
        for (place, transition) in transitions.iter().enumerate() {
            let pointer = format!("{pointer}/transitions/{place}");
            self.sites.transitions.push(pointer.clone());
            transition.when.iter().for_each(|when| self.reads(when));
            self.actions(&transition.actions, &format!("{pointer}/do"));
        }
    }

    fn data(&mut self, data: &'a [crate::definition::Datum], pointer: &str) {
        for (place, datum) in data.iter().enumerate() {
            self.sites.data.push((&datum.id, format!("{pointer}/data/{place}")));
            datum.value.iter().for_each(|given| self.given(given));
        }
    }

    fn blocks(&mut self, blocks: &'a [Vec<Action>], pointer: &str) {
        for (place, block) in blocks.iter().enumerate() {
            self.actions(block, &format!("{pointer}/{place}"));
        }
    }

    fn actions(&mut self, actions: &'a [Action], pointer: &str) {
        for (place, action) in actions.iter().enumerate() {
            self.action(action, &format!("{pointer}/{place}"));
        }
    }

    fn action(&mut self, action: &'a Action, pointer: &str) {
        match action {
            Action::Raise(event) => {
                self.sites.raised.push((event, self.state, pointer.to_owned()));
            }
            Action::Assign { to, value } => {
                self.place(to);
                self.given(value);
            }
            Action::If(branches) => {
                for (place, branch) in branches.iter().enumerate() {
                    branch.when.iter().for_each(|when| self.reads(when));
                    self.actions(&branch.actions, &format!("{pointer}/if/{place}/do"));
                }
            }
            Action::ForEach { list, actions, .. } => {
                self.reads(list);
                self.actions(actions, &format!("{pointer}/for-each/do"));
            }
            Action::Log { value, .. } => value.iter().for_each(|value| self.reads(value)),
            Action::Send(send) => {
                for text in [&send.event, &send.to, &send.by, &send.delay].into_iter().flatten() {
                    self.text(text);
                }
                self.message(&send.data);
                let (state, pointer, on_entry) = (self.state, pointer.to_owned(), self.on_entry);
                self.sites.sends.push(Sent { send, state, pointer, on_entry });
            }
            Action::Cancel { id } => {
                self.text(id);
                self.sites.cancelled.push((id, pointer.to_owned()));
            }
            Action::Spawn(spawn) => {
                self.sites.invoked.push(match &spawn.id {
                    Some(Text::Fixed(id)) => Some(id),
                    Some(Text::Expression { .. }) | None => None,
                });
                let texts = [spawn.id.as_ref(), Some(&spawn.chart), spawn.on.as_ref()];
                texts.into_iter().flatten().for_each(|text| self.text(text));
                self.message(&spawn.data);
            }
            Action::Stop { id } => self.text(id),
            Action::At(placed) => self.action(&placed.action, &format!("{pointer}/at/do")),
            Action::Fail(_) => {}
        }
    }

    fn message(&mut self, message: &'a Message) {
        message.names.iter().for_each(|name| self.reads(name));
        message.params.iter().for_each(|param| self.given(&param.value));
        message.content.iter().for_each(|content| self.given(content));
    }

    fn given(&mut self, given: &Given) {
        if let Given::Expression(text) = given {
            self.reads(text);
        }
    }

    fn text(&mut self, text: &Text) {
        if let Text::Expression { expression } = text {
            self.reads(expression);
        }
    }

    fn reads(&mut self, text: &str) {
        if let Ok(expression) = Expression::parse(text, self.chart) {
            variables(expression.root(), &mut self.sites.read);
        }
    }

    /// A place that is given a value is not read; what says which part of it is.
    fn place(&mut self, text: &str) {
        let Ok(expression) = Expression::parse(text, self.chart) else { return };
        let mut node = expression.root();
        loop {
            if let Node::Field(of, _) = node {
                node = of;
            } else if let Node::Index(of, index) = node {
                variables(index, &mut self.sites.read);
                node = of;
            } else {
                return;
            }
        }
    }
}

/// The variables that an expression reads.
fn variables(node: &Node, read: &mut BTreeSet<u32>) {
    match node {
        Node::Variable(variable) => {
            read.insert(*variable);
        }
        Node::Literal(_)
        | Node::Unknown(_)
        | Node::System(_)
        | Node::Event(_)
        | Node::Broken(_) => {}
        Node::Field(inner, _)
        | Node::Not(inner)
        | Node::Negative(inner)
        | Node::In(inner)
        | Node::Defined(inner) => variables(inner, read),
        Node::Index(left, right)
        | Node::Both(left, right)
        | Node::Either(left, right)
        | Node::Binary(_, left, right) => {
            variables(left, read);
            variables(right, read);
        }
        Node::List(items) | Node::Call(_, items) | Node::Host(_, items) => {
            items.iter().for_each(|item| variables(item, read));
        }
        Node::Map(entries) => entries.iter().for_each(|(_, value)| variables(value, read)),
        Node::Choice(parts) => {
            let (condition, yes, no) = &**parts;
            [condition, yes, no].into_iter().for_each(|part| variables(part, read));
        }
    }
}
