//! Decides what of a definition is to be seen: boxes, arrows, and the lines of text on them.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use whimbrel_statechart::{Action, Definition, Given, Message, State, StateKind, Text, Transition};

use super::{Alive, Lives};

/// Letters in one line of text; what is longer is cut, and whole when it is pointed at.
const LINE_LETTERS: usize = 40;

/// Lines that say what is done, in one box or on one arrow.
const LINES_MAX: usize = 6;

/// What the chart itself is called among its states. No state has this id; that of the chart one may
/// have, and it would stand in itself.
const ROOT: &str = "";

/// What is special about an element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Shade {
    #[default]
    Plain,
    Active,
    Added,
    Removed,
    Changed,
}

/// A chart to draw.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) notes: Vec<String>,
    pub(super) root: Box_,
    pub(super) arrows: Vec<Arrow>,
}

/// A state.
#[derive(Debug)]
pub(super) struct Box_ {
    pub(super) id: String,
    pub(super) kind: StateKind,
    pub(super) shade: Shade,
    pub(super) lines: Vec<String>,
    /// All that it says.
    pub(super) whole: String,
    pub(super) initial: Vec<String>,
    pub(super) inner: Vec<Self>,
}

/// A transition, to one of its targets.
#[derive(Debug)]
pub(super) struct Arrow {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) shade: Shade,
    pub(super) lines: Vec<String>,
    pub(super) whole: String,
}

/// How the elements of the charts of a family are shaded: by the path to the chart, and what they
/// are.
pub(super) type Shades = BTreeMap<(Vec<String>, Element), Shade>;

/// What a difference is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Element {
    State(String),
    Transition(String),
    Datum(String),
    Chart,
}

/// A difference between two versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The names that lead to the chart.
    pub(crate) chart: Vec<String>,
    pub(crate) element: Element,
    /// `+`, `-` or `~`.
    pub(crate) sign: char,
}

/// A chart and those that it invokes.
pub(super) fn family(
    definition: &Definition,
    path: &Vec<String>,
    lives: &Lives,
    shades: &Shades,
) -> Vec<Panel> {
    let alive = lives.get(path).cloned().unwrap_or_default();
    let mut panels = vec![panel(definition, path, &alive, shades)];
    for (name, child) in &definition.children {
        let mut path = path.clone();
        path.push(name.clone());
        panels.extend(family(child, &path, lives, shades));
    }
    panels
}

fn panel(definition: &Definition, path: &[String], alive: &Alive, shades: &Shades) -> Panel {
    let mut draw = Draw { path, alive, shades, arrows: Vec::new() };
    let inner = definition.states.iter().map(|state| draw.state(state)).collect();
    let mut lines = data_lines(&definition.data);
    let stays = draw.transitions(ROOT, &definition.transitions);
    lines.extend(stays);
    let name = path
        .last()
        .map_or_else(|| definition.id.clone(), |name| format!("{name}: {}", definition.id));
    let version = match definition.version.as_str() {
        "" => String::new(),
        version => format!(", version {version}"),
    };
    let root = Box_ {
        id: ROOT.to_owned(),
        kind: StateKind::State,
        shade: Shade::Plain,
        whole: lines.join("\n"),
        lines,
        initial: definition.initial.clone(),
        inner,
    };
    Panel {
        title: format!("{name}{version}"),
        notes: alive.notes.clone(),
        root,
        arrows: draw.arrows,
    }
}

struct Draw<'a> {
    path: &'a [String],
    alive: &'a Alive,
    shades: &'a Shades,
    arrows: Vec<Arrow>,
}

impl Draw<'_> {
    fn shade(&self, element: Element) -> Shade {
        let known = self.shades.get(&(self.path.to_vec(), element));
        known.copied().unwrap_or_default()
    }

    fn state(&mut self, state: &State) -> Box_ {
        let mut said = data_lines(&state.data);
        let entry =
            state.on_entry.iter().flatten().map(|action| format!("entry / {}", told(action)));
        let exit = state.on_exit.iter().flatten().map(|action| format!("exit / {}", told(action)));
        said.extend(entry.chain(exit));
        said.extend(state.invoke.iter().map(|invoke| {
            let chart = invoke.chart.as_ref().map(written).unwrap_or_default();
            let id = invoke.id.clone().unwrap_or_default();
            format!("runs {id}: {chart}")
        }));
        if let Some(done) = &state.done {
            said.push(format!("says {}", brings(done)));
        }
        let stays = self.transitions(&state.id, &state.transitions);
        if !state.kind.is_history() {
            said.extend(stays);
        }
        let shade = self.shade(Element::State(state.id.clone()));
        let lives = shade == Shade::Plain && self.alive.states.contains(&state.id);
        let shade = if lives { Shade::Active } else { shade };
        let initial =
            if state.kind == StateKind::State { state.initial.clone() } else { Vec::new() };
        Box_ {
            id: state.id.clone(),
            kind: state.kind,
            shade,
            whole: said.join("\n"),
            lines: cut(said),
            initial,
            inner: state.states.iter().map(|inner| self.state(inner)).collect(),
        }
    }

    /// Draws transitions that lead somewhere; says what those do that stay.
    fn transitions(&mut self, from: &str, transitions: &[Transition]) -> Vec<String> {
        let mut stays = Vec::new();
        for transition in transitions {
            let on =
                if transition.on.is_empty() { Vec::new() } else { vec![transition.on.join(" ")] };
            let when = transition.when.iter().map(|when| format!("[{when}]"));
            let does = transition.actions.iter().map(|action| format!("/ {}", told(action)));
            let said: Vec<String> = on.into_iter().chain(when).chain(does).collect();
            let whole = said.join("\n");
            if transition.to.is_empty() {
                stays.push(said.join(" "));
                continue;
            }
            let shade = self.shade(Element::Transition(transition.id.clone()));
            for to in &transition.to {
                let (from, to, whole) = (from.to_owned(), to.clone(), whole.clone());
                self.arrows.push(Arrow { from, to, shade, lines: cut(said.clone()), whole });
            }
        }
        stays
    }
}

fn data_lines(data: &[whimbrel_statechart::Datum]) -> Vec<String> {
    let one = |datum: &whimbrel_statechart::Datum| {
        let value = datum.value.as_ref().map(|value| format!(" = {}", given(value)));
        format!("{}{}", datum.id, value.unwrap_or_default())
    };
    cut(data.iter().map(one).collect())
}

fn cut(lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(LINES_MAX);
    let mut cut: Vec<String> = lines.into_iter().take(LINES_MAX).map(|line| short(&line)).collect();
    if more > 0 {
        cut.push(format!("… {more} more"));
    }
    cut
}

fn short(line: &str) -> String {
    if line.chars().count() <= LINE_LETTERS {
        return line.to_owned();
    }
    let kept: String = line.chars().take(LINE_LETTERS - 1).collect();
    format!("{kept}…")
}

fn told(action: &Action) -> String {
    match action {
        Action::Raise(event) => format!("raise {event}"),
        Action::Assign { to, value } => format!("{to} := {}", given(value)),
        Action::If(branches) => {
            let one = |branch: &whimbrel_statechart::Branch| {
                let does: Vec<String> = branch.actions.iter().map(told).collect();
                let when = branch.when.as_deref().unwrap_or("else");
                format!("{when}: {}", does.join(", "))
            };
            format!("if {}", branches.iter().map(one).collect::<Vec<_>>().join("; "))
        }
        Action::ForEach { list, item, actions, .. } => {
            let does: Vec<String> = actions.iter().map(told).collect();
            format!("for {item} in {list}: {}", does.join(", "))
        }
        Action::Log { label, value } => {
            format!("log {} {}", label.as_deref().unwrap_or(""), value.as_deref().unwrap_or(""))
        }
        Action::Send(send) => {
            let event = send.event.as_ref().map(written).unwrap_or_default();
            let to = send.to.as_ref().map(|to| format!(" to {}", written(to))).unwrap_or_default();
            let after = send.delay.as_ref().map(|delay| format!(" in {}", written(delay)));
            format!("send {event}{to}{}", after.unwrap_or_default())
        }
        Action::Cancel { id } => format!("cancel {}", written(id)),
        Action::Spawn(spawn) => {
            let id = spawn.id.as_ref().map(|id| format!(" as {}", written(id)));
            let on = spawn.on.as_ref().map(|on| format!(" on {}", written(on)));
            let (id, on) = (id.unwrap_or_default(), on.unwrap_or_default());
            format!("spawn {}{id}{on}", written(&spawn.chart))
        }
        Action::Stop { id } => format!("stop {}", written(id)),
        Action::Fail(why) => format!("fail: {why}"),
        Action::At(placed) => told(&placed.action),
    }
}

fn written(text: &Text) -> String {
    match text {
        Text::Fixed(text) => text.clone(),
        Text::Expression { expression } => format!("({expression})"),
    }
}

fn given(given: &Given) -> String {
    match given {
        Given::Literal(value) => serde_json::to_string(value).unwrap_or_default(),
        Given::Expression(text) => text.clone(),
    }
}

fn brings(message: &Message) -> String {
    let params =
        message.params.iter().map(|param| format!("{}: {}", param.name, given(&param.value)));
    let mut all: Vec<String> = message.names.iter().cloned().chain(params).collect();
    all.extend(message.content.iter().map(given));
    all.join(", ")
}

/// How the elements of two versions are shaded.
pub(super) fn shades(old: &Definition, new: &Definition) -> (Shades, Shades) {
    let (mut gone, mut come) = (Shades::new(), Shades::new());
    for difference in differences(old, new) {
        let key = (difference.chart, difference.element);
        match difference.sign {
            '+' => drop(come.insert(key, Shade::Added)),
            '-' => drop(gone.insert(key, Shade::Removed)),
            _ => {
                gone.insert(key.clone(), Shade::Changed);
                come.insert(key, Shade::Changed);
            }
        }
    }
    (gone, come)
}

/// What differs between two versions, both with every id, in order.
pub(crate) fn differences(old: &Definition, new: &Definition) -> Vec<Difference> {
    let mut all = Vec::new();
    charts(Some(old), Some(new), &[], &mut all);
    all
}

fn charts(
    old: Option<&Definition>,
    new: Option<&Definition>,
    path: &[String],
    all: &mut Vec<Difference>,
) {
    let (before, after) = (parts(old), parts(new));
    let mut keys: Vec<&Element> = before.keys().chain(after.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for element in keys {
        let sign = match (before.get(element), after.get(element)) {
            (None, Some(_)) => '+',
            (Some(_), None) => '-',
            (Some(one), Some(two)) if one != two => '~',
            _ => continue,
        };
        all.push(Difference { chart: path.to_vec(), element: element.clone(), sign });
    }
    let children = |definition: Option<&Definition>| {
        definition.map(|definition| definition.children.clone()).unwrap_or_default()
    };
    let (before, after) = (children(old), children(new));
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let mut path = path.to_vec();
        path.push(name.clone());
        charts(before.get(name), after.get(name), &path, all);
    }
}

/// Each element with what it says, without what it holds.
fn parts(definition: Option<&Definition>) -> BTreeMap<Element, Json> {
    let mut parts = BTreeMap::new();
    let Some(definition) = definition else { return parts };
    let mut alone = definition.clone();
    alone.states.clear();
    alone.children.clear();
    alone.transitions.clear();
    alone.data.clear();
    alone.version.clear();
    parts.insert(Element::Chart, json(&alone));
    let mut open: Vec<(&State, &str)> = definition.states.iter().map(|state| (state, "")).collect();
    let mut transitions: Vec<(&str, &Transition)> =
        definition.transitions.iter().map(|transition| ("", transition)).collect();
    let mut data: Vec<&whimbrel_statechart::Datum> = definition.data.iter().collect();
    while let Some((state, parent)) = open.pop() {
        let mut alone = state.clone();
        alone.states.clear();
        alone.transitions.clear();
        alone.data.clear();
        alone.was.clear();
        let said = Json::Array(vec![json(&parent), json(&alone)]);
        parts.insert(Element::State(state.id.clone()), said);
        transitions.extend(state.transitions.iter().map(|transition| (&*state.id, transition)));
        data.extend(&state.data);
        open.extend(state.states.iter().map(|inner| (inner, &*state.id)));
    }
    for (from, transition) in transitions {
        let said = Json::Array(vec![json(&from), json(transition)]);
        parts.insert(Element::Transition(transition.id.clone()), said);
    }
    for datum in data {
        parts.insert(Element::Datum(datum.id.clone()), json(datum));
    }
    parts
}

fn json(what: &impl serde::Serialize) -> Json {
    serde_json::to_value(what).unwrap_or_default()
}
