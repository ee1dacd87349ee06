//! Decides what small edits are made to a definition, aimed at what is alive or at random.

use whimbrel_statechart::{
    Action, Datum, Definition, Expressions, Given, Send, State, StateKind, Text, Transition, Type,
    Value,
};

use crate::dice::Dice;
use crate::make;

/// An edited definition; the checkpoint may be tampered with besides.
pub(crate) struct Edited {
    pub(crate) definition: Definition,
    pub(crate) tampered: bool,
}

/// Edits a definition. `active` are states that are active in an instance.
pub(crate) fn edit(dice: &mut Dice, definition: &Definition, active: &[String]) -> Edited {
    let mut edited = Edited { definition: definition.clone(), tampered: false };
    let new = &mut edited.definition;
    match dice.below(100) {
        0..=10 => {}
        11..=29 => harmless(dice, new),
        30..=53 => {
            for _ in 0..=dice.below(2) {
                behaviour(dice, new);
            }
        }
        54..=72 => consent(dice, new, active),
        73..=85 => homeless(dice, new, active),
        _ => edited.tampered = hopeless(dice, new),
    }
    edited
}

/// Any state, by its place in document order, of the chart or of a child.
fn any_state<'a>(dice: &mut Dice, definition: &'a mut Definition) -> &'a mut State {
    let chart = any_chart(dice, definition);
    let mut ids = Vec::new();
    chart.states.iter().for_each(|state| collect(state, &mut ids));
    let id = dice.pick(&ids).clone();
    find(&mut chart.states, &id).expect("it was just there")
}

fn any_chart<'a>(dice: &mut Dice, definition: &'a mut Definition) -> &'a mut Definition {
    if dice.percent(15) {
        let name = *dice.pick(&["left", "right"]);
        if definition.children.contains_key(name) {
            return definition.children.get_mut(name).expect("it was just there");
        }
    }
    definition
}

fn collect(state: &State, ids: &mut Vec<String>) {
    ids.push(state.id.clone());
    state.states.iter().for_each(|child| collect(child, ids));
}

fn ids_of(definition: &Definition) -> Vec<String> {
    let mut ids = Vec::new();
    definition.states.iter().for_each(|state| collect(state, &mut ids));
    ids
}

fn find<'a>(states: &'a mut [State], id: &str) -> Option<&'a mut State> {
    for state in states {
        if state.id == id {
            return Some(state);
        }
        if let Some(found) = find(&mut state.states, id) {
            return Some(found);
        }
    }
    None
}

fn live<'a>(dice: &mut Dice, new: &'a mut Definition, active: &[String]) -> Option<&'a mut State> {
    if active.is_empty() {
        return None;
    }
    let id = dice.pick(active).clone();
    find(&mut new.states, &id)
}

fn is_plain(state: &State) -> bool {
    matches!(state.kind, StateKind::State | StateKind::Parallel)
}

fn harmless(dice: &mut Dice, new: &mut Definition) {
    match dice.below(7) {
        0 => any_state(dice, new).note = Some(Value::text("noted")),
        1 => new.version = "2".to_owned(),
        2 => new.note = Some(Value::Int(1)),
        3 => {
            let state = any_state(dice, new);
            for transition in state.transitions.iter_mut().filter(|one| !one.id.is_empty()) {
                transition.note = Some(Value::text("noted"));
            }
        }
        4 => {
            // A state that nothing leads to.
            let transitions = vec![make::transition(dice, &ids_of(new))];
            let entry = vec![vec![make::action(dice)]];
            let id = "orphan".to_owned();
            new.states.push(State { id, transitions, on_entry: entry, ..State::default() });
        }
        5 => new.data[dice.below(2)].value = Some(Given::Literal(Value::Int(7))),
        _ => new.expressions = Expressions::Lenient,
    }
}

fn behaviour(dice: &mut Dice, new: &mut Definition) {
    if dice.percent(15) {
        let chart = any_chart(dice, new);
        let kind = Type::Optional(Box::new(Type::Int));
        chart.data.push(Datum { id: "z".to_owned(), kind, ..Datum::default() });
        return;
    }
    if dice.percent(10) {
        let mut open: Vec<&mut State> = new.states.iter_mut().collect();
        while let Some(state) = open.pop() {
            if state.kind == StateKind::Parallel {
                state.states.reverse();
            }
            open.extend(&mut state.states);
        }
        return;
    }
    if dice.percent(8) {
        let ids = ids_of(new);
        let id = dice.pick(&ids).clone();
        if let Some(state) = find(&mut new.states, &id).filter(|state| is_plain(state)) {
            state.on_entry.push(vec![make::kin(dice)]);
        }
        return;
    }
    if dice.percent(5) {
        let chart = any_chart(dice, new);
        chart.states.reverse();
        let first = chart.states.last().map(|state| state.id.clone());
        chart.initial = first.into_iter().collect();
        return;
    }
    let ids = {
        let chart = ids_of(new);
        if dice.percent(85) { chart } else { vec!["s1".to_owned()] }
    };
    let kind = dice.below(14);
    let state = any_state(dice, new);
    let child = state.id.starts_with('k');
    let ids = if child { vec!["k1".to_owned(), "k2".to_owned()] } else { ids };
    if state.kind.is_history() {
        if kind < 4 {
            state.kind = other_depth(state.kind);
        }
        return;
    }
    behaviour_of(dice, state, kind, &ids);
}

fn behaviour_of(dice: &mut Dice, state: &mut State, kind: usize, ids: &[String]) {
    let plain = is_plain(state);
    match kind {
        0 => state.on_entry.push(vec![make::action(dice)]),
        1 => state.on_exit.push(vec![make::action(dice)]),
        2 | 3 if plain => {
            let mut transition = make::transition(dice, ids);
            transition.id = format!("new.{}", state.id);
            let place = dice.below(state.transitions.len() + 1);
            state.transitions.insert(place, transition);
        }
        4 if plain && !state.transitions.is_empty() => {
            let place = dice.below(state.transitions.len());
            state.transitions.remove(place);
        }
        5 if plain => state.transitions.reverse(),
        6 => change(dice, state, |dice, transition| {
            transition.to = vec![dice.pick(ids).clone()];
        }),
        7 | 13 => change(dice, state, |dice, transition| {
            if !transition.on.is_empty() {
                transition.on = vec![(*dice.pick(&make::EVENTS)).to_owned()];
            }
        }),
        8 => change(dice, state, |dice, transition| {
            transition.when = Some((*dice.pick(&["x < 1", "false", "x < 9"])).to_owned());
        }),
        9 => change(dice, state, |dice, transition| transition.actions.push(make::action(dice))),
        10 => change(dice, state, |_, transition| transition.internal ^= true),
        11 => {
            if let Some(invoke) = state.invoke.first_mut() {
                invoke.data.params.clear();
            }
        }
        _ => {
            if let Some(last) = state.states.iter().rposition(is_plain) {
                state.initial = vec![state.states[last].id.clone()];
            }
        }
    }
}

fn other_depth(kind: StateKind) -> StateKind {
    if kind == StateKind::History { StateKind::DeepHistory } else { StateKind::History }
}

fn change(dice: &mut Dice, state: &mut State, how: impl FnOnce(&mut Dice, &mut Transition)) {
    if is_plain(state) && !state.transitions.is_empty() {
        let place = dice.below(state.transitions.len());
        how(dice, &mut state.transitions[place]);
    }
}

fn consent(dice: &mut Dice, new: &mut Definition, active: &[String]) {
    match dice.below(8) {
        0..=3 => {
            if let Some(state) = live(dice, new, active) {
                let slot = format!("{}.more", state.id);
                state.on_entry.push(vec![make::timer(dice, &slot)]);
            }
        }
        4 => delays(new),
        5 => {
            // Data goes away, with all that speaks of it or not.
            new.data.retain(|datum| datum.id != "y");
            new.expressions = Expressions::Lenient;
        }
        6 => {
            if let Some(state) = live(dice, new, active)
                && state.states.is_empty()
                && state.invoke.is_empty()
            {
                state.kind = StateKind::Final;
                state.transitions.clear();
            }
        }
        _ => {
            // Nothing leads on.
            new.transitions.clear();
            let ids: Vec<String> = active.to_vec();
            for id in ids {
                if let Some(state) = find(&mut new.states, &id).filter(|state| is_plain(state)) {
                    state.transitions.clear();
                }
            }
        }
    }
}

fn delays(new: &mut Definition) {
    let mut open: Vec<&mut State> = new.states.iter_mut().collect();
    while let Some(state) = open.pop() {
        for action in state.on_entry.iter_mut().flatten() {
            if let Action::Send(send) = action
                && send.delay.is_some()
            {
                send.delay = Some(Text::Fixed("4s".to_owned()));
            }
        }
        open.extend(&mut state.states);
    }
}

fn homeless(dice: &mut Dice, new: &mut Definition, active: &[String]) {
    match dice.below(7) {
        0 | 1 => {
            if let Some(id) = active.last() {
                rename(new, id);
            }
        }
        2 => {
            if let Some(id) = active.first() {
                wrap(&mut new.states, id);
            }
        }
        3 => {
            if let Some(state) = live(dice, new, active)
                && state.kind == StateKind::State
            {
                state.states.push(State { id: "inner".to_owned(), ..State::default() });
            }
        }
        4 => {
            let mut ids: Vec<&String> = active.iter().collect();
            ids.retain(|id| {
                find(&mut new.states, id).is_some_and(|state| state.kind == StateKind::Parallel)
            });
            if let Some(id) = ids.first()
                && let Some(state) = find(&mut new.states, id)
            {
                state.states.push(State { id: "region".to_owned(), ..State::default() });
            } else {
                new.data[0].kind = Type::Text;
            }
        }
        5 => {
            for id in active {
                if let Some(state) = find(&mut new.states, id) {
                    if dice.percent(50) && is_plain(state) {
                        let slot = format!("{id}.second");
                        state.invoke.push(make::invoke(dice, &slot));
                    } else {
                        state.invoke.clear();
                    }
                }
            }
        }
        _ => new.id = "other".to_owned(),
    }
}

fn rename(new: &mut Definition, id: &str) {
    let other = format!("{id}.new");
    let fix = |to: &mut Vec<String>| {
        to.iter_mut().filter(|to| *to == id).for_each(|to| other.clone_into(to));
    };
    fix(&mut new.initial);
    new.transitions.iter_mut().for_each(|one| fix(&mut one.to));
    let mut open: Vec<&mut State> = new.states.iter_mut().collect();
    while let Some(state) = open.pop() {
        fix(&mut state.initial);
        state.transitions.iter_mut().for_each(|one| fix(&mut one.to));
        if state.id == id {
            other.clone_into(&mut state.id);
        }
        open.extend(&mut state.states);
    }
}

fn wrap(states: &mut [State], id: &str) {
    for state in states {
        if state.id == id {
            let inner = std::mem::take(state);
            *state = State { id: "wrapper".to_owned(), states: vec![inner], ..State::default() };
            return;
        }
        wrap(&mut state.states, id);
    }
}

fn hopeless(dice: &mut Dice, new: &mut Definition) -> bool {
    match dice.below(4) {
        0 => {
            new.states[0].transitions.push(Transition {
                on: vec!["a".to_owned()],
                to: vec!["nowhere".to_owned()],
                ..Transition::default()
            });
            false
        }
        1 => {
            new.retired.insert("x".to_owned(), Type::Text);
            false
        }
        2 => {
            new.version = "2".to_owned();
            true
        }
        _ => {
            new.expressions = Expressions::Lenient;
            new.children.clear();
            // Where no child runs that is no refusal but a difference.
            let send = Send {
                event: Some(Text::Fixed("gone".to_owned())),
                to: Some(Text::Fixed("daemon:log".to_owned())),
                ..Send::default()
            };
            new.states[0].on_exit.push(vec![Action::Send(Box::new(send))]);
            false
        }
    }
}
