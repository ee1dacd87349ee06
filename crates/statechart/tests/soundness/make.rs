//! Decides what random definitions look like: small, and with everything in them that can be alive.

use whimbrel_statechart::{
    Action, Binding, Branch, Datum, Definition, Given, Invoke, Message, OnFailure, Param, Send,
    Spawn, State, StateKind, Supervise, Text, Transition, Value,
};

use crate::dice::Dice;

pub(crate) const EVENTS: [&str; 6] = ["a", "b", "c", "d", "a.x", "tick"];
const GUARDS: [&str; 8] = [
    "x < 2",
    "x >= 1",
    "y == 0",
    "x + y < 4",
    "In('s1')",
    "In('s3')",
    "false",
    "_event.name != 'b'",
];

/// A definition with two children.
pub(crate) fn definition(dice: &mut Dice) -> Definition {
    let mut maker = Maker { dice, next: 0, prefix: "s", ids: Vec::new(), invokes: true };
    let mut definition = maker.chart("root");
    for name in ["left", "right"] {
        let mut maker = Maker { dice, next: 0, prefix: "k", ids: Vec::new(), invokes: false };
        definition.children.insert(name.to_owned(), maker.chart(name));
    }
    definition
}

struct Maker<'a> {
    dice: &'a mut Dice,
    next: usize,
    prefix: &'static str,
    ids: Vec<String>,
    invokes: bool,
}

impl Maker<'_> {
    fn chart(&mut self, id: &str) -> Definition {
        let count = if self.invokes { 3 + self.dice.below(3) } else { 2 };
        let mut states: Vec<State> = (0..count).map(|_| self.state(0)).collect();
        if self.dice.percent(60) {
            let kind = StateKind::Final;
            states.push(State { id: self.id(), kind, ..State::default() });
        }
        let ids = self.ids.clone();
        states.iter_mut().for_each(|state| self.wire(state, &ids));
        let datum = |name: &str| Datum {
            id: name.to_owned(),
            value: Some(Given::Literal(Value::Int(0))),
            ..Datum::default()
        };
        let binding = if self.dice.percent(15) { Binding::Late } else { Binding::Early };
        let mut transitions = Vec::new();
        if self.dice.percent(15) {
            transitions.push(self.transition(&ids));
        }
        Definition {
            format: 1,
            id: id.to_owned(),
            version: "1".to_owned(),
            binding,
            data: vec![datum("x"), datum("y")],
            states,
            transitions,
            ..Definition::default()
        }
    }

    fn id(&mut self) -> String {
        self.next += 1;
        let id = format!("{}{}", self.prefix, self.next);
        self.ids.push(id.clone());
        id
    }

    fn state(&mut self, level: usize) -> State {
        let mut state = State { id: self.id(), ..State::default() };
        let inside = if level < 2 { self.dice.below(10) } else { 9 };
        match inside {
            0..=2 => {
                let count = 1 + self.dice.below(2);
                state.states = (0..=count).map(|_| self.state(level + 1)).collect();
                if self.dice.percent(30) {
                    let kind = StateKind::Final;
                    state.states.push(State { id: self.id(), kind, ..State::default() });
                }
                if self.dice.percent(40) {
                    let deep = self.dice.percent(50);
                    let kind = if deep { StateKind::DeepHistory } else { StateKind::History };
                    let to = vec![state.states[0].id.clone()];
                    let only = Transition { to, ..Transition::default() };
                    let transitions = vec![only];
                    state.states.push(State {
                        id: self.id(),
                        kind,
                        transitions,
                        ..State::default()
                    });
                }
            }
            3 => {
                state.kind = StateKind::Parallel;
                state.states = (0..2).map(|_| self.state(level + 1)).collect();
            }
            _ => {}
        }
        state
    }

    /// Gives a state and those in it transitions and actions.
    fn wire(&mut self, state: &mut State, ids: &[String]) {
        if state.kind.is_history() {
            return;
        }
        if self.dice.percent(40) {
            state.on_entry.push(self.actions());
        }
        if self.dice.percent(30) {
            state.on_exit.push(self.actions());
        }
        if state.kind == StateKind::Final {
            return;
        }
        if self.dice.percent(35) {
            let id = format!("{}.timer", state.id);
            state.on_entry.push(vec![self.timer(&id)]);
        }
        for _ in 0..self.dice.below(4) {
            state.transitions.push(self.transition(ids));
        }
        if self.invokes && self.dice.percent(20) {
            state.invoke.push(self.invoke(&state.id));
        }
        state.states.iter_mut().for_each(|child| self.wire(child, ids));
    }

    fn transition(&mut self, ids: &[String]) -> Transition {
        let mut transition = transition(self.dice, ids);
        self.kin(&mut transition.actions);
        transition
    }

    fn actions(&mut self) -> Vec<Action> {
        let mut actions: Vec<Action> =
            (0..=self.dice.below(2)).map(|_| action(self.dice)).collect();
        self.kin(&mut actions);
        actions
    }

    /// A parent spawns and stops now and then, and a child fails.
    fn kin(&mut self, actions: &mut Vec<Action>) {
        if self.invokes && self.dice.percent(12) {
            actions.push(kin(self.dice));
        } else if !self.invokes && self.dice.percent(6) {
            actions.push(Action::Fail("on purpose".to_owned()));
        }
    }

    fn timer(&mut self, slot: &str) -> Action {
        timer(self.dice, slot)
    }

    fn invoke(&mut self, state: &str) -> Invoke {
        invoke(self.dice, &format!("{state}.child"))
    }
}

/// What is done with a child that an action begins.
pub(crate) fn kin(dice: &mut Dice) -> Action {
    if dice.percent(20) {
        return Action::Stop { id: Text::Fixed("kid".to_owned()) };
    }
    let value = Given::Expression("x".to_owned());
    Action::Spawn(Box::new(Spawn {
        id: dice.percent(60).then(|| Text::Fixed("kid".to_owned())),
        chart: Text::Fixed((*dice.pick(&["left", "right"])).to_owned()),
        data: Message { params: vec![Param { name: "x".into(), value }], ..Message::default() },
        supervise: supervise(dice, 60),
        ..Spawn::default()
    }))
}

fn supervise(dice: &mut Dice, percent: usize) -> Option<Supervise> {
    let on_failure = *dice.pick(&[OnFailure::Restart, OnFailure::Stop, OnFailure::Escalate]);
    let times = Some(2);
    dice.percent(percent).then(|| Supervise { on_failure, times, ..Supervise::default() })
}

pub(crate) fn invoke(dice: &mut Dice, slot: &str) -> Invoke {
    let chart = if dice.percent(10) {
        Text::Expression { expression: "x < 1 ? 'left' : 'right'".to_owned() }
    } else {
        Text::Fixed((*dice.pick(&["left", "right"])).to_owned())
    };
    let value = Given::Expression("x".to_owned());
    Invoke {
        slot: slot.to_owned(),
        id: Some(slot.to_owned()),
        chart: Some(chart),
        forward: dice.percent(50),
        supervise: supervise(dice, 30),
        data: Message { params: vec![Param { name: "x".into(), value }], ..Message::default() },
        ..Invoke::default()
    }
}

pub(crate) fn timer(dice: &mut Dice, slot: &str) -> Action {
    let delay = (*dice.pick(&["1s", "2s", "3s", "5s"])).to_owned();
    Action::Send(Box::new(Send {
        slot: slot.to_owned(),
        event: Some(Text::Fixed((*dice.pick(&["tick", "c"])).to_owned())),
        delay: Some(Text::Fixed(delay)),
        ..Send::default()
    }))
}

pub(crate) fn transition(dice: &mut Dice, ids: &[String]) -> Transition {
    let on = if dice.percent(12) {
        Vec::new()
    } else if dice.percent(5) {
        vec!["*".to_owned()]
    } else {
        vec![(*dice.pick(&EVENTS)).to_owned()]
    };
    // One without event and condition would run in a circle too often.
    let guarded = on.is_empty() || dice.percent(35);
    let to = if dice.percent(85) { vec![dice.pick(ids).clone()] } else { Vec::new() };
    let mut actions: Vec<Action> = (0..dice.below(3)).map(|_| action(dice)).collect();
    if on.is_empty() {
        // It ends after a while.
        actions.push(add("x"));
    }
    Transition {
        on: on.clone(),
        when: guarded.then(|| {
            let guard = if on.is_empty() { "x < 2" } else { *dice.pick(&GUARDS) };
            guard.to_owned()
        }),
        to,
        internal: dice.percent(20),
        actions,
        ..Transition::default()
    }
}

fn add(name: &str) -> Action {
    let value = Given::Expression(format!("{name} + 1"));
    Action::Assign { to: name.to_owned(), value }
}

pub(crate) fn action(dice: &mut Dice) -> Action {
    match dice.below(7) {
        0 | 1 => {
            let value = (*dice.pick(&["x", "y", "x + y", "'text'", "_name"])).to_owned();
            Action::Log { label: None, value: Some(value) }
        }
        2 => add(dice.pick::<&str>(&["x", "y"])),
        3 => Action::Raise((*dice.pick(&["c", "d"])).to_owned()),
        4 => Action::If(vec![Branch {
            when: Some((*dice.pick(&GUARDS)).to_owned()),
            actions: vec![Action::Log { label: Some("branch".to_owned()), value: None }],
        }]),
        5 => Action::Assign { to: "y".to_owned(), value: Given::Literal(Value::Int(0)) },
        _ => Action::Send(Box::new(Send {
            event: Some(Text::Fixed("note".to_owned())),
            to: Some(Text::Fixed("daemon:log".to_owned())),
            ..Send::default()
        })),
    }
}
