//! Decides how a statechart is written down: the JSON form.
//!
//! Every state, transition, `send` and invocation can carry an id, and what is left out is made by
//! [`Definition::with_ids`] from where it stands and what it does, once; from then on it is written
//! down. A place in a list is never a name: an instance that is alive must find its timers and
//! children again after somebody inserted a transition.
//!
//! Expressions are text in the language of [`expression`](crate::expression). What the form means is
//! decided by [`Chart`](crate::Chart).
//!
//! ```json
//! { "id": "door", "version": "1", "initial": ["shut"],
//!   "states": [
//!     { "id": "shut", "transitions": [{ "id": "opens", "on": ["open"], "to": ["open"] }] },
//!     { "id": "open",
//!       "on_entry": [[{ "send": { "id": "slam", "event": "shut", "delay": "30s" } }]],
//!       "on_exit": [[{ "cancel": { "id": "slam" } }]],
//!       "transitions": [{ "id": "shuts", "on": ["shut"], "to": ["shut"] }] } ] }
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::schema::Type;
use crate::value::Value;

/// The format of this form; another major is not read.
pub const FORMAT: u32 = 1;

/// A statechart with the charts that it invokes by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The format: [`FORMAT`].
    #[serde(default = "format")]
    pub format: u32,
    /// What it is, in all versions.
    pub id: String,
    /// Which version of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Its name, as `_name` says it. Left out: the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What becomes of text that is no expression.
    #[serde(default, skip_serializing_if = "is_default")]
    pub expressions: Expressions,
    /// When data gets its first value.
    #[serde(default, skip_serializing_if = "is_default")]
    pub binding: Binding,
    /// Its data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<Datum>,
    /// What is done before the first state is entered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub script: Vec<Action>,
    /// Where it begins. Left out: its first state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub initial: Vec<String>,
    /// What it does wherever it is, unless a state knows better.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transitions: Vec<Transition>,
    /// Its states.
    pub states: Vec<State>,
    /// The charts that it invokes, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub children: BTreeMap<String, Self>,
    /// Names of data that there was once, with their types: they may not come back as another type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub retired: BTreeMap<String, Type>,
    /// Whatever else there is to say; it changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Value>,
}

const fn format() -> u32 {
    FORMAT
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// What becomes of text that is no expression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expressions {
    /// The chart is refused.
    #[default]
    Strict,
    /// It faults when it is read, as SCXML asks for.
    Lenient,
}

/// When data gets its first value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binding {
    /// All of it at the beginning.
    #[default]
    Early,
    /// That of a state when the state is entered for the first time.
    Late,
}

/// A variable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Datum {
    /// Its name.
    pub id: String,
    /// Its first value. Left out: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Given>,
    /// What its values are. It is looked at when an instance goes on under another definition.
    #[serde(default, rename = "type", skip_serializing_if = "is_default")]
    pub kind: Type,
    /// What it was called in earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub was: Vec<String>,
}

/// A value that is written down or reckoned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Given {
    /// As it stands here.
    Literal(Value),
    /// The value of an expression.
    Expression(String),
}

/// A state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Its name, unique in the chart.
    pub id: String,
    /// What kind of state it is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kind: StateKind,
    /// What it was called in earlier versions; for those who propose a plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub was: Vec<String>,
    /// Its data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<Datum>,
    /// Where it begins, if it has states. Left out: at its first one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub initial: Vec<String>,
    /// What is done on the way there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub initial_actions: Vec<Action>,
    /// What is done on entry, block by block: an error ends a block and no other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_entry: Vec<Vec<Action>>,
    /// What is done on exit, block by block.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_exit: Vec<Vec<Action>>,
    /// Where it can go; the first that fits is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transitions: Vec<Transition>,
    /// What runs beside it as long as it is active.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invoke: Vec<Invoke>,
    /// What a final state says when it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<Message>,
    /// Its states.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<Self>,
    /// Whatever else there is to say; it changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Value>,
}

/// What kind of state it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateKind {
    /// One of its states is active, if it has any.
    #[default]
    State,
    /// All of its states are active.
    Parallel,
    /// The end.
    Final,
    /// Stands for the child that was active last; its one transition says what to do at first.
    History,
    /// The same, all the way down.
    DeepHistory,
}

impl StateKind {
    /// Whether it stands for what was active, and is never active itself.
    #[must_use]
    pub const fn is_history(self) -> bool {
        matches!(self, Self::History | Self::DeepHistory)
    }
}

/// Where a state can go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transition {
    /// Its name, unique in the chart.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// On which events, by their names' beginnings; `*` is any. None: by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
    /// Only if this holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Where to. None: it stays and only acts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// Whether it stays inside its state if it can.
    #[serde(default, skip_serializing_if = "is_false")]
    pub internal: bool,
    /// What is done on the way.
    #[serde(default, rename = "do", skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
    /// Whatever else there is to say; it changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Value>,
    /// Where it stood in the file from which it was imported: an error in its condition says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Puts an event into the internal queue.
    Raise(String),
    /// Gives a variable, or a part of it, a value.
    Assign {
        /// Which: `a`, `a.b`, `a[0]`.
        to: String,
        /// What.
        value: Given,
    },
    /// Does the first branch whose condition holds.
    If(Vec<Branch>),
    /// Does something for each item of a list.
    ForEach {
        /// The list, as it is at the beginning.
        list: String,
        /// The variable of the item.
        item: String,
        /// The variable of its place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        index: Option<String>,
        /// What is done.
        #[serde(rename = "do")]
        actions: Vec<Self>,
    },
    /// Says something for people.
    Log {
        /// What it is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        /// What.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
    },
    /// Sends an event, perhaps later.
    Send(Box<Send>),
    /// Takes a delayed event back.
    Cancel {
        /// Its id.
        id: Text,
    },
    /// Begins a child that lives until it ends, is stopped, or the chart that began it ends.
    Spawn(Box<Spawn>),
    /// Ends a child that was spawned.
    Stop {
        /// Its id.
        id: Text,
    },
    /// Cannot be done: an error when it is reached. Imports use it for what has no meaning here.
    Fail(String),
    /// Something to do that says where it stood in the file from which it was imported: an error in it
    /// brings that along.
    At(Box<Placed>),
}

/// An action with its place in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placed {
    /// Where it stood.
    pub origin: Origin,
    /// What is done.
    #[serde(rename = "do")]
    pub action: Action,
}

/// A place in a file, counted from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
    /// The word that stood there.
    pub tag: String,
}

/// A branch of [`Action::If`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Branch {
    /// Only if this holds. Left out: otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What is done.
    #[serde(rename = "do")]
    pub actions: Vec<Action>,
}

/// Text that is written down or reckoned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// As it stands here.
    Fixed(String),
    /// The value of an expression.
    Expression {
        /// Which.
        expression: String,
    },
}

/// An event to send.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// Where in the chart this `send` stands: the name of its timer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub slot: String,
    /// The id by which it is cancelled and errors name it. Left out: one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The variable that is told the id that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_into: Option<String>,
    /// The event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Text>,
    /// To whom: `#_internal`, `#_parent`, `#_CHILD`, `#_scxml_SESSION`, or what the host knows. Left
    /// out: to itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Text>,
    /// By which processor. Left out: that of statecharts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Text>,
    /// When: `500ms`, `30s`, `5m`. Left out: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Text>,
    /// What the event brings.
    #[serde(default, skip_serializing_if = "Message::is_empty")]
    pub data: Message,
}

/// What an event brings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Variables, under their own names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Values under names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Param>,
    /// One value instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Given>,
}

impl Message {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.params.is_empty() && self.content.is_none()
    }
}

/// A value under a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// The name.
    pub name: String,
    /// The value.
    pub value: Given,
}

/// What runs beside a state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invoke {
    /// Where in the chart it stands: the name of its child.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub slot: String,
    /// The id by which it is addressed. Left out: one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The variable that is told the id that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_into: Option<String>,
    /// What kind of thing is invoked. Left out: a statechart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Text>,
    /// Which: the name of one of the chart's children.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chart: Option<Text>,
    /// What the child is given: values for data of these names.
    #[serde(default, skip_serializing_if = "Message::is_empty")]
    pub data: Message,
    /// Whether it hears every event that the parent hears from outside.
    #[serde(default, skip_serializing_if = "is_false")]
    pub forward: bool,
    /// What is done with each of its events before it is processed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finalize: Vec<Action>,
    /// What is done when it fails: when it hears an error and waits for none. Left out: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervise: Option<Supervise>,
    /// How many events may wait for it. Beyond it the sender gets `error.communication`. Left out: as
    /// many as for the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox: Option<u32>,
}

/// A child that is begun by an action and is tied to no state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spawn {
    /// The id by which it is addressed; no other child that lives has it. Left out: one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Text>,
    /// The variable that is told its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_into: Option<String>,
    /// The name of one of the chart's children.
    pub chart: Text,
    /// What the child is given: values for data of these names.
    #[serde(default, skip_serializing_if = "Message::is_empty")]
    pub data: Message,
    /// What is done when it fails: when it hears an error and waits for none. Left out: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervise: Option<Supervise>,
    /// How many events may wait for it. Beyond it the sender gets `error.communication`. Left out: as
    /// many as for the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox: Option<u32>,
    /// The node on which it lives, as a daemon of its own: a name that the host knows, or `*` for the
    /// node that suits it best. Left out: it is a part of this instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Text>,
}

impl Default for Text {
    fn default() -> Self {
        Self::Fixed(String::new())
    }
}

/// What is done when a child fails.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supervise {
    /// What.
    pub on_failure: OnFailure,
    /// How often it begins again within the window; once more, and it is `escalate`. Left out: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// The window. Left out: `1m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
    /// How long it waits before it begins again; twice as long each time more. Left out: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_off: Option<String>,
    /// The longest wait. Left out: the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_off_max: Option<String>,
    /// The ids of children of the same chart to which the same is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<String>,
}

/// What is done with a child that fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// It ends, and its parent gets `error.child.ID`.
    #[default]
    Escalate,
    /// It ends, and its parent gets `stopped.invoke.ID`.
    Stop,
    /// It begins again, with what it was given at first.
    Restart,
}

impl Definition {
    /// The same with an id for everything that has none.
    ///
    /// An id that is made says where the thing stands and what it does (`shut/open`), and counts
    /// only among things that are alike.
    #[must_use]
    pub fn with_ids(mut self) -> Self {
        let mut ids = Ids::default();
        let own = self.transitions.iter().map(|transition| &transition.id);
        ids.0.extend(own.filter(|id| !id.is_empty()).cloned());
        let own = self.transitions.iter().flat_map(|transition| &transition.actions);
        ids.slots(self.script.iter().chain(own));
        for state in &self.states {
            ids.learn(state);
        }
        for action in &mut self.script {
            ids.action("script", action);
        }
        let chart = self.id.clone();
        for transition in &mut self.transitions {
            ids.transition(&chart, transition);
        }
        for state in &mut self.states {
            ids.state(state);
        }
        let children = std::mem::take(&mut self.children);
        self.children =
            children.into_iter().map(|(name, child)| (name, child.with_ids())).collect();
        self
    }
}

/// The ids that are taken.
#[derive(Default)]
struct Ids(BTreeSet<String>);

impl Ids {
    fn learn(&mut self, state: &State) {
        let transitions = state.transitions.iter().map(|transition| &transition.id);
        let invokes = state.invoke.iter().map(|invoke| &invoke.slot);
        self.0.extend(transitions.chain(invokes).filter(|id| !id.is_empty()).cloned());
        let blocks = state.on_entry.iter().chain(&state.on_exit).flatten();
        let moves = state.transitions.iter().flat_map(|transition| &transition.actions);
        let rest = state.invoke.iter().flat_map(|invoke| &invoke.finalize);
        self.slots(blocks.chain(moves).chain(rest).chain(&state.initial_actions));
        state.states.iter().for_each(|child| self.learn(child));
    }

    fn slots<'a>(&mut self, actions: impl Iterator<Item = &'a Action>) {
        let mut open: Vec<&Action> = actions.collect();
        while let Some(action) = open.pop() {
            match action {
                Action::Send(send) if !send.slot.is_empty() => {
                    self.0.insert(send.slot.clone());
                }
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
                | Action::Spawn(_)
                | Action::Stop { .. }
                | Action::Fail(_) => {}
            }
        }
    }

    fn fill(&mut self, id: &mut String, wish: &str) {
        if !id.is_empty() {
            return;
        }
        let mut made = wish.to_owned();
        let mut count = 1;
        while !self.0.insert(made.clone()) {
            count += 1;
            made = format!("{wish}~{count}");
        }
        *id = made;
    }

    fn state(&mut self, state: &mut State) {
        let place = state.id.clone();
        for transition in &mut state.transitions {
            self.transition(&place, transition);
        }
        for invoke in &mut state.invoke {
            let wish = invoke.id.clone().unwrap_or_else(|| "invoke".to_owned());
            self.fill(&mut invoke.slot, &format!("{place}/{wish}"));
            let place = invoke.slot.clone();
            invoke.finalize.iter_mut().for_each(|action| self.action(&place, action));
        }
        let entry = state.on_entry.iter_mut().flatten();
        entry.for_each(|action| self.action(&format!("{place}/entry"), action));
        let exit = state.on_exit.iter_mut().flatten();
        exit.for_each(|action| self.action(&format!("{place}/exit"), action));
        let initial = state.initial_actions.iter_mut();
        initial.for_each(|action| self.action(&format!("{place}/initial"), action));
        state.states.iter_mut().for_each(|child| self.state(child));
    }

    fn transition(&mut self, place: &str, transition: &mut Transition) {
        let always = || "always".to_owned();
        let on = if transition.on.is_empty() { always() } else { transition.on.join("+") };
        self.fill(&mut transition.id, &format!("{place}/{on}"));
        let place = transition.id.clone();
        transition.actions.iter_mut().for_each(|action| self.action(&place, action));
    }

    fn action(&mut self, place: &str, action: &mut Action) {
        match action {
            Action::Send(send) => {
                let event = match &send.event {
                    Some(Text::Fixed(event)) => event.clone(),
                    Some(Text::Expression { .. }) | None => "send".to_owned(),
                };
                let wish = send.id.clone().unwrap_or(event);
                self.fill(&mut send.slot, &format!("{place}/{wish}"));
            }
            Action::If(branches) => {
                let actions = branches.iter_mut().flat_map(|branch| &mut branch.actions);
                actions.for_each(|action| self.action(place, action));
            }
            Action::ForEach { actions, .. } => {
                actions.iter_mut().for_each(|action| self.action(place, action));
            }
            Action::At(placed) => self.action(place, &mut placed.action),
            Action::Raise(_)
            | Action::Assign { .. }
            | Action::Log { .. }
            | Action::Cancel { .. }
            | Action::Spawn(_)
            | Action::Stop { .. }
            | Action::Fail(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOOR: &str = r#"{
        "id": "door", "version": "1",
        "states": [
            { "id": "shut", "transitions": [{ "on": ["open"], "to": ["open"] }] },
            { "id": "open",
              "on_entry": [[{ "send": { "event": "shut", "delay": "30s" } }]],
              "transitions": [{ "id": "shuts", "on": ["shut"], "to": ["shut"] },
                              { "on": ["shut"], "to": ["shut"] }] } ] }"#;

    #[test]
    fn what_has_no_id_gets_one_that_an_insertion_does_not_change() {
        let door: Definition = serde_json::from_str(DOOR).unwrap();
        let before = door.clone().with_ids();
        assert_eq!(before.states[0].transitions[0].id, "shut/open");
        assert_eq!(before.states[1].transitions[1].id, "open/shut");
        let mut changed = door;
        let first = Transition { on: vec!["kick".into()], ..Transition::default() };
        changed.states[1].transitions.insert(0, first);
        let after = changed.with_ids();
        assert_eq!(before.states[1].transitions[..], after.states[1].transitions[1..]);
        assert_eq!(before.states[1].on_entry, after.states[1].on_entry);
        assert_eq!(after.clone().with_ids(), after);
    }

    #[test]
    fn the_form_is_written_as_it_is_read_and_knows_no_other_words() {
        let door: Definition = serde_json::from_str(DOOR).unwrap();
        let written = serde_json::to_string(&door).unwrap();
        assert_eq!(serde_json::from_str::<Definition>(&written).unwrap(), door);
        let odd = DOOR.replace("\"to\"", "\"goto\"");
        assert!(serde_json::from_str::<Definition>(&odd).is_err());
    }
}
