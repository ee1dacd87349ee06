//! Decides whether a definition is legal, and numbers what is in it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::actions::{Act, Body, Place, Sending, Source, Spawning, Word, place};
use super::{
    Chart, ChartError, Descriptor, FAMILY_MAX, Invocation, Jump, NESTING_MAX, Node, ROOT,
    STATES_MAX, Supervision, Transition,
};
use crate::definition::{
    self, Action, Definition, Expressions, FORMAT, Given, Message, State, StateKind, Supervise,
    Text,
};
use crate::engine::RESTARTS_MAX;
use crate::expression::{Expression, Names, SyntaxError};

type Result<T> = std::result::Result<T, ChartError>;

pub(super) fn build(definition: Definition, path: Vec<String>) -> Result<Chart> {
    if definition.format != FORMAT {
        return Err(ChartError::Format(definition.format));
    }
    if definition.states.is_empty() {
        return Err(ChartError::Empty(definition.id));
    }
    if path.len() > FAMILY_MAX {
        return Err(ChartError::TooLarge(definition.id));
    }
    let mut children = BTreeMap::new();
    for (name, child) in &definition.children {
        let path = path.iter().chain([name]).cloned().collect();
        children.insert(name.clone(), Arc::new(build(child.clone(), path)?));
    }
    let mut builder = Builder::new(&definition);
    builder.variables(&definition)?;
    builder.nodes.push(node(&definition.id, StateKind::State, ROOT));
    builder.number(&definition.states, ROOT, 1)?;
    builder.root(&definition)?;
    let mut at = ROOT + 1;
    for state in &definition.states {
        builder.fill(state, &mut at)?;
    }
    let script = builder.acts("script", &definition.script)?;
    for transition in &builder.transitions {
        builder.together(&transition.id, &transition.targets)?;
    }
    let Builder { nodes, transitions, places, variables, declared, invoked, .. } = builder;
    for (at, chart) in invoked.into_inner() {
        if !children.contains_key(&chart) && definition.expressions == Expressions::Strict {
            return Err(ChartError::NoChild { at, chart });
        }
    }
    let name = definition.name.as_deref().unwrap_or(&definition.id).into();
    let digest = if path.is_empty() { definition.digest_as_it_is() } else { String::new() };
    let definition = Arc::new(definition);
    let mut chart = Chart {
        digest: digest.into(),
        definition,
        name,
        path,
        nodes,
        transitions,
        places,
        variables,
        declared,
        script,
        children,
    };
    work_out(&mut chart);
    Ok(chart)
}

/// Works out once what each step would work out again.
fn work_out(chart: &mut Chart) {
    let domain = |transition: &Transition| {
        let mut targets = transition.targets.iter();
        let fixed = !targets.any(|target| chart.is_history(*target));
        fixed.then(|| crate::engine::domain(chart, transition, &transition.targets))
    };
    let domains: Vec<_> = chart.transitions.iter().map(domain).collect();
    for (transition, domain) in chart.transitions.iter_mut().zip(domains) {
        transition.domain = domain;
    }
    for state in 0..chart.nodes.len() {
        let node = &chart.nodes[state];
        let range = node.transitions.start as usize..node.transitions.end as usize;
        let own = chart.transitions[range].iter().any(|transition| transition.on.is_empty());
        let above = state > 0 && chart.node(node.parent).is_restless;
        chart.nodes[state].is_restless = own || above;
    }
}

fn node(id: &str, kind: StateKind, parent: u32) -> Node {
    Node {
        id: id.into(),
        kind,
        parent,
        end: 0,
        children: Vec::new(),
        histories: Vec::new(),
        initial: Jump::default(),
        data: Vec::new(),
        on_entry: Vec::new(),
        on_exit: Vec::new(),
        transitions: 0..0,
        is_restless: false,
        invokes: Vec::new(),
        done: None,
    }
}

struct Builder {
    chart: String,
    strict: bool,
    nodes: Vec<Node>,
    transitions: Vec<Transition>,
    places: BTreeMap<Arc<str>, u32>,
    variables: Vec<Arc<str>>,
    declared: Vec<bool>,
    slots: BTreeSet<String>,
    /// The names of timers: a checkpoint finds its `send` by them.
    timers: RefCell<BTreeSet<String>>,
    invoked: RefCell<Vec<(String, String)>>,
}

impl Names for Builder {
    fn variable(&self, name: &str) -> Option<u32> {
        let place = self.variables.iter().position(|known| **known == *name)?;
        u32::try_from(place).ok()
    }
}

impl Builder {
    fn new(definition: &Definition) -> Self {
        Self {
            chart: definition.id.clone(),
            strict: definition.expressions == Expressions::Strict,
            nodes: Vec::new(),
            transitions: Vec::new(),
            places: BTreeMap::new(),
            variables: Vec::new(),
            declared: Vec::new(),
            slots: BTreeSet::new(),
            timers: RefCell::new(BTreeSet::new()),
            invoked: RefCell::new(Vec::new()),
        }
    }

    /// Learns every variable there can ever be: data, and what loops count with.
    fn variables(&mut self, definition: &Definition) -> Result<()> {
        let mut data = Vec::new();
        let mut loops = BTreeSet::new();
        data.extend(definition.data.iter().map(|datum| datum.id.clone()));
        loop_variables(&definition.script, &mut loops);
        let own = definition.transitions.iter();
        own.for_each(|transition| loop_variables(&transition.actions, &mut loops));
        for state in &definition.states {
            state_variables(state, &mut data, &mut loops, 0)
                .ok_or_else(|| ChartError::TooLarge(self.chart.clone()))?;
        }
        let mut known = BTreeSet::new();
        for name in data {
            if !known.insert(name.clone()) {
                return Err(ChartError::Twice(name));
            }
            self.variables.push(name.into());
            self.declared.push(true);
        }
        for name in loops.difference(&known) {
            self.variables.push(name.as_str().into());
            self.declared.push(false);
        }
        Ok(())
    }

    /// Numbers states in document order.
    fn number(&mut self, states: &[State], parent: u32, level: usize) -> Result<()> {
        if level > NESTING_MAX {
            return Err(ChartError::TooLarge(self.chart.clone()));
        }
        for state in states {
            let index = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
            if self.nodes.len() >= STATES_MAX {
                return Err(ChartError::TooLarge(self.chart.clone()));
            }
            self.nodes.push(node(&state.id, state.kind, parent));
            if state.id.is_empty() || self.places.insert(state.id.as_str().into(), index).is_some()
            {
                return Err(ChartError::Twice(state.id.clone()));
            }
            let above = &mut self.nodes[parent as usize];
            match state.kind {
                StateKind::History | StateKind::DeepHistory => above.histories.push(index),
                StateKind::State | StateKind::Parallel | StateKind::Final => {
                    above.children.push(index);
                }
            }
            self.number(&state.states, index, level + 1)?;
            shape(state)?;
        }
        let end = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.nodes[parent as usize].end = end;
        Ok(())
    }

    fn root(&mut self, definition: &Definition) -> Result<()> {
        let initial = self.targets(&definition.id, &definition.initial)?;
        self.together(&definition.id, &initial)?;
        let root = &mut self.nodes[ROOT as usize];
        let Some(first) = root.children.first().copied() else {
            return Err(ChartError::Empty(self.chart.clone()));
        };
        root.initial.targets = if initial.is_empty() { vec![first] } else { initial };
        let data = self.data(&definition.id, &definition.data)?;
        self.nodes[ROOT as usize].data = data;
        self.nodes[ROOT as usize].transitions = self.transitions(&definition.transitions, ROOT)?;
        Ok(())
    }

    fn fill(&mut self, state: &State, at: &mut u32) -> Result<()> {
        let index = *at;
        *at += 1;
        let on_entry = self.blocks(&state.id, &state.on_entry)?;
        let on_exit = self.blocks(&state.id, &state.on_exit)?;
        let data = self.data(&state.id, &state.data)?;
        let invokes =
            state.invoke.iter().map(|invoke| self.invoke(invoke)).collect::<Result<Vec<_>>>()?;
        let done = state.done.as_ref().map(|done| self.body(&state.id, done)).transpose()?;
        let initial = self.initial(state, index)?;
        let transitions = match state.kind {
            StateKind::History | StateKind::DeepHistory => 0..0,
            StateKind::State | StateKind::Parallel | StateKind::Final => {
                self.transitions(&state.transitions, index)?
            }
        };
        let node = &mut self.nodes[index as usize];
        node.on_entry = on_entry;
        node.on_exit = on_exit;
        node.data = data;
        node.invokes = invokes;
        node.done = done;
        node.initial = initial;
        node.transitions = transitions;
        state.states.iter().try_for_each(|child| self.fill(child, at))
    }

    fn transitions(
        &mut self,
        transitions: &[definition::Transition],
        source: u32,
    ) -> Result<std::ops::Range<u32>> {
        let first = u32::try_from(self.transitions.len()).unwrap_or(u32::MAX);
        for transition in transitions {
            let transition = self.transition(transition, source)?;
            self.transitions.push(transition);
        }
        Ok(first..u32::try_from(self.transitions.len()).unwrap_or(u32::MAX))
    }

    /// Where a compound state begins, or where a history leads that remembers nothing.
    fn initial(&self, state: &State, index: u32) -> Result<Jump> {
        let node = &self.nodes[index as usize];
        let (targets, actions, within) = match state.kind {
            StateKind::History | StateKind::DeepHistory => {
                let only = state.transitions.first();
                let to = only.map(|only| self.targets(&state.id, &only.to)).transpose()?;
                let actions = only.map_or(&[][..], |only| &only.actions);
                (to.unwrap_or_default(), actions, node.parent)
            }
            StateKind::State => {
                let mut targets = self.targets(&state.id, &state.initial)?;
                if targets.is_empty() {
                    targets.extend(node.children.first());
                }
                (targets, &state.initial_actions[..], index)
            }
            StateKind::Parallel | StateKind::Final => (Vec::new(), &[][..], index),
        };
        let end = self.nodes[within as usize].end;
        if let Some(outside) = targets.iter().find(|target| **target <= within || **target >= end) {
            let at = self.nodes[*outside as usize].id.to_string();
            return Err(ChartError::BeginsOutside { state: state.id.clone(), at });
        }
        self.together(&state.id, &targets)?;
        Ok(Jump { targets, actions: self.acts(&state.id, actions)? })
    }

    fn transition(
        &mut self,
        transition: &definition::Transition,
        source: u32,
    ) -> Result<Transition> {
        let at = &transition.id;
        if !self.slots.insert(at.clone()) {
            return Err(ChartError::Twice(at.clone()));
        }
        let on = transition.on.iter().flat_map(|on| on.split_whitespace()).map(Descriptor::of);
        let when = transition.when.as_ref().map(|when| self.expression(at, when)).transpose()?;
        Ok(Transition {
            id: at.as_str().into(),
            source,
            on: on.collect(),
            when,
            targets: self.targets(at, &transition.to)?,
            internal: transition.internal,
            actions: self.acts(at, &transition.actions)?,
            origin: transition.origin.clone().map(Arc::new),
            domain: None,
        })
    }

    fn targets(&self, from: &str, to: &[String]) -> Result<Vec<u32>> {
        let find = |name: &String| {
            self.places
                .get(name.as_str())
                .copied()
                .ok_or_else(|| ChartError::Nowhere { from: from.to_owned(), to: name.clone() })
        };
        to.iter().map(find).collect()
    }

    /// Whether states can be active at one time: what holds both must be parallel, or one of them.
    fn together(&self, from: &str, targets: &[u32]) -> Result<()> {
        for (place, one) in targets.iter().enumerate() {
            for other in &targets[place + 1..] {
                if !self.are_together(*one, *other) {
                    let id = |state: u32| self.nodes[state as usize].id.to_string();
                    let (one, other) = (id(*one), id(*other));
                    return Err(ChartError::Apart { from: from.to_owned(), one, other });
                }
            }
        }
        Ok(())
    }

    fn are_together(&self, one: u32, other: u32) -> bool {
        let (first, second) = (one.min(other), one.max(other));
        let mut around = first;
        while self.nodes[around as usize].end <= second {
            around = self.nodes[around as usize].parent;
        }
        around == first || self.nodes[around as usize].kind == StateKind::Parallel
    }

    fn data(&self, at: &str, data: &[definition::Datum]) -> Result<Vec<(u32, Option<Source>)>> {
        let one = |datum: &definition::Datum| {
            let value = datum.value.as_ref().map(|value| self.source(at, value)).transpose()?;
            Ok(self.variable(&datum.id).map(|variable| (variable, value)))
        };
        data.iter().filter_map(|datum| one(datum).transpose()).collect()
    }

    fn expression(&self, at: &str, text: &str) -> Result<Expression> {
        if !self.strict {
            return Ok(Expression::lenient(text, self));
        }
        let wrong = |error| ChartError::Expression { at: at.to_owned(), error };
        let expression = Expression::parse(text, self).map_err(wrong)?;
        match expression.unknown() {
            None => Ok(expression),
            Some(name) => {
                let what = format!("there is no variable {name}");
                let start = text.find(name).unwrap_or_default();
                Err(wrong(SyntaxError { what, at: start, source_text: text.to_owned() }))
            }
        }
    }

    fn source(&self, at: &str, given: &Given) -> Result<Source> {
        Ok(match given {
            Given::Literal(value) => Source::Literal(value.clone()),
            Given::Expression(text) => Source::Expression(self.expression(at, text)?),
        })
    }

    fn word(&self, at: &str, text: &Text) -> Result<Word> {
        Ok(match text {
            Text::Fixed(text) => Word::Fixed(text.as_str().into()),
            Text::Expression { expression } => Word::Expression(self.expression(at, expression)?),
        })
    }

    fn optional_word(&self, at: &str, text: Option<&Text>) -> Result<Option<Word>> {
        text.map(|text| self.word(at, text)).transpose()
    }

    fn place(&self, at: &str, text: &str) -> Result<Place> {
        let parsed = self.expression(at, text)?;
        match place(text, parsed.root()) {
            Some(place) if place.variable.is_some() || !self.strict => Ok(place),
            None if !self.strict => {
                Ok(Place { variable: None, steps: Vec::new(), text: text.into() })
            }
            Some(_) | None => Err(ChartError::Place { at: at.to_owned(), text: text.to_owned() }),
        }
    }

    fn optional_place(&self, at: &str, text: Option<&str>) -> Result<Option<Place>> {
        text.map(|text| self.place(at, text)).transpose()
    }

    fn body(&self, at: &str, message: &Message) -> Result<Body> {
        let mut params = Vec::new();
        for name in &message.names {
            params.push((name.as_str().into(), Source::Expression(self.expression(at, name)?)));
        }
        for param in &message.params {
            params.push((param.name.as_str().into(), self.source(at, &param.value)?));
        }
        let content =
            message.content.as_ref().map(|content| self.source(at, content)).transpose()?;
        Ok(Body { params, content })
    }

    fn blocks(&self, at: &str, blocks: &[Vec<Action>]) -> Result<Vec<Vec<Act>>> {
        blocks.iter().map(|block| self.acts(at, block)).collect()
    }

    fn acts(&self, at: &str, actions: &[Action]) -> Result<Vec<Act>> {
        actions.iter().map(|action| self.act(at, action)).collect()
    }

    fn act(&self, at: &str, action: &Action) -> Result<Act> {
        Ok(match action {
            Action::Raise(event) => Act::Raise(event.as_str().into()),
            Action::Assign { to, value } => {
                Act::Assign { to: self.place(at, to)?, value: self.source(at, value)? }
            }
            Action::If(branches) => {
                let branch = |branch: &definition::Branch| {
                    let when =
                        branch.when.as_ref().map(|when| self.expression(at, when)).transpose()?;
                    Ok((when, self.acts(at, &branch.actions)?))
                };
                Act::If(branches.iter().map(branch).collect::<Result<_>>()?)
            }
            Action::ForEach { list, item, index, actions } => Act::ForEach {
                list: self.expression(at, list)?,
                item: self.variable(item),
                index: index.as_ref().map(|index| self.variable(index)),
                acts: self.acts(at, actions)?,
            },
            Action::Log { label, value } => Act::Log {
                label: label.as_deref().map(Into::into),
                value: value.as_ref().map(|value| self.expression(at, value)).transpose()?,
            },
            Action::Send(send) => Act::Send(Box::new(self.send(at, send)?)),
            Action::Cancel { id } => Act::Cancel(self.word(at, id)?),
            Action::Spawn(spawn) => Act::Spawn(Box::new(self.spawn(at, spawn)?)),
            Action::Stop { id } => Act::Stop(self.word(at, id)?),
            Action::Fail(why) => Act::Fail(why.as_str().into()),
            Action::At(placed) => {
                Act::At(Arc::new(placed.origin.clone()), Box::new(self.act(at, &placed.action)?))
            }
        })
    }

    fn send(&self, at: &str, send: &definition::Send) -> Result<Sending> {
        if !self.timers.borrow_mut().insert(send.slot.clone()) {
            return Err(ChartError::Twice(send.slot.clone()));
        }
        Ok(Sending {
            slot: send.slot.as_str().into(),
            id: send.id.as_deref().map(Into::into),
            id_into: self.optional_place(at, send.id_into.as_deref())?,
            event: self.optional_word(at, send.event.as_ref())?,
            to: self.optional_word(at, send.to.as_ref())?,
            by: self.optional_word(at, send.by.as_ref())?,
            delay: self.optional_word(at, send.delay.as_ref())?,
            data: self.body(at, &send.data)?,
        })
    }

    fn spawn(&self, at: &str, spawn: &definition::Spawn) -> Result<Spawning> {
        if let Text::Fixed(chart) = &spawn.chart {
            self.invoked.borrow_mut().push((at.to_owned(), chart.clone()));
        }
        spawn.supervise.as_ref().map(|said| supervision(at, said)).transpose()?;
        Ok(Spawning {
            id: self.optional_word(at, spawn.id.as_ref())?,
            id_into: self.optional_place(at, spawn.id_into.as_deref())?,
            chart: self.word(at, &spawn.chart)?,
            data: self.body(at, &spawn.data)?,
            supervise: spawn.supervise.clone(),
            mailbox: spawn.mailbox,
            on: self.optional_word(at, spawn.on.as_ref())?,
        })
    }

    fn invoke(&mut self, invoke: &definition::Invoke) -> Result<Invocation> {
        let at = &invoke.slot;
        if !self.slots.insert(at.clone()) {
            return Err(ChartError::Twice(at.clone()));
        }
        if let Some(Text::Fixed(chart)) = &invoke.chart
            && invoke.by.is_none()
        {
            self.invoked.borrow_mut().push((at.clone(), chart.clone()));
        }
        Ok(Invocation {
            slot: at.as_str().into(),
            id: invoke.id.as_deref().map(Into::into),
            id_into: self.optional_place(at, invoke.id_into.as_deref())?,
            by: self.optional_word(at, invoke.by.as_ref())?,
            chart: self.optional_word(at, invoke.chart.as_ref())?,
            data: self.body(at, &invoke.data)?,
            forward: invoke.forward,
            finalize: self.acts(at, &invoke.finalize)?,
            supervision: invoke.supervise.as_ref().map(|said| supervision(at, said)).transpose()?,
            mailbox: invoke.mailbox.map(|mailbox| mailbox as usize),
        })
    }
}

pub(super) fn supervision(at: &str, said: &Supervise) -> Result<Supervision> {
    let wrong = |what| ChartError::Shape { state: at.to_owned(), what };
    let span = |text: &Option<String>, otherwise| match text {
        Some(text) => crate::engine::duration(text)
            .map_err(|_| wrong("what its supervision names is no span of time")),
        None => Ok(otherwise),
    };
    let times = said.times.unwrap_or(3);
    if times > RESTARTS_MAX {
        return Err(wrong("it may not begin again more than 1,000 times in its window"));
    }
    let within = span(&said.within, Duration::from_secs(60))?;
    Ok(Supervision {
        on_failure: said.on_failure,
        times,
        within,
        back_off: span(&said.back_off, Duration::ZERO)?,
        back_off_max: span(&said.back_off_max, within)?,
        with: said.with.iter().map(|id| id.as_str().into()).collect(),
    })
}

/// Whether a state has only what its kind can have.
fn shape(state: &State) -> Result<()> {
    let wrong = |what| Err(ChartError::Shape { state: state.id.clone(), what });
    let leaf = state.states.is_empty() && state.invoke.is_empty();
    match state.kind {
        StateKind::Final if !leaf || !state.transitions.is_empty() => {
            wrong("a final state has no states, transitions or invocations")
        }
        StateKind::History | StateKind::DeepHistory
            if !leaf || !state.on_entry.is_empty() || !state.on_exit.is_empty() =>
        {
            wrong("a history has nothing but one transition")
        }
        StateKind::History | StateKind::DeepHistory => match state.transitions.as_slice() {
            [only] if only.on.is_empty() && only.when.is_none() && !only.to.is_empty() => Ok(()),
            _ => wrong("a history has one transition, without event and condition"),
        },
        StateKind::State | StateKind::Parallel | StateKind::Final => Ok(()),
    }
}

fn state_variables(
    state: &State,
    data: &mut Vec<String>,
    loops: &mut BTreeSet<String>,
    level: usize,
) -> Option<()> {
    if level > NESTING_MAX {
        return None;
    }
    data.extend(state.data.iter().map(|datum| datum.id.clone()));
    let blocks = state.on_entry.iter().chain(&state.on_exit);
    blocks.for_each(|block| loop_variables(block, loops));
    loop_variables(&state.initial_actions, loops);
    state.transitions.iter().for_each(|transition| loop_variables(&transition.actions, loops));
    state.invoke.iter().for_each(|invoke| loop_variables(&invoke.finalize, loops));
    state.states.iter().try_for_each(|child| state_variables(child, data, loops, level + 1))
}

fn loop_variables(actions: &[Action], loops: &mut BTreeSet<String>) {
    for action in actions {
        match action {
            Action::ForEach { item, index, actions, .. } => {
                let names = [Some(item), index.as_ref()].into_iter().flatten();
                loops.extend(names.filter(|name| is_name(name)).cloned());
                loop_variables(actions, loops);
            }
            Action::If(branches) => {
                branches.iter().for_each(|branch| loop_variables(&branch.actions, loops));
            }
            Action::At(placed) => loop_variables(std::slice::from_ref(&placed.action), loops),
            Action::Raise(_)
            | Action::Assign { .. }
            | Action::Log { .. }
            | Action::Send(_)
            | Action::Cancel { .. }
            | Action::Spawn(_)
            | Action::Stop { .. }
            | Action::Fail(_) => {}
        }
    }
}

/// Whether a text can be the name of a variable.
fn is_name(text: &str) -> bool {
    let first = text.chars().next().is_some_and(|first| first.is_alphabetic() || first == '$');
    first && text.chars().all(|letter| letter.is_alphanumeric() || letter == '_' || letter == '$')
}
