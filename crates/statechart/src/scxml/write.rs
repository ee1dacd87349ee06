//! Decides how a definition becomes SCXML.
//!
//! What SCXML has no word for goes into a namespace of our own ([`OURS`]), which other engines pass
//! over and [`import`](super::import) reads: ids of transitions, names of timers and children, types
//! and former names, literals where SCXML takes expressions, and whatever is noted.
//!
//! # Invariants
//!
//! * X1 (there and back): what is written is read as the definition that it was, with every id;
//!   only places in the file from which it was imported are left out.

use std::fmt::Write as _;

use serde::Serialize;
use thiserror::Error;

use super::NAMESPACE;
use crate::definition::{
    Action, Binding, Datum, Definition, Expressions, Given, Invoke, Message, Send, State,
    StateKind, Text, Transition,
};

/// The namespace of what SCXML has no word for.
pub(crate) const OURS: &str = "urn:whimbrel:statechart:1";

/// Why a definition is not written as SCXML.
///
/// Fault: the definition. Changed: nothing. Again: no.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// It holds a letter that XML has not.
    #[error("{0:?} holds a letter that XML has not")]
    Letter(String),
    /// It says something that only the JSON form can.
    #[error("{at}: {what}")]
    Unsaid {
        /// Where.
        at: String,
        /// What SCXML has no place for.
        what: &'static str,
    },
}

type Result<T> = std::result::Result<T, ExportError>;

/// A definition as an SCXML document, with every id. Its expressions stay ours.
///
/// # Errors
///
/// [`ExportError`] when SCXML cannot hold it.
pub fn export(definition: &Definition) -> Result<String> {
    let definition = definition.clone().with_ids();
    let mut writer = Writer { text: String::new(), level: 0 };
    writer.text.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    writer.chart(&definition, None)?;
    Ok(writer.text)
}

struct Writer {
    text: String,
    level: usize,
}

/// The attributes of an element.
#[derive(Default)]
struct Attributes(String);

impl Attributes {
    fn add(&mut self, name: &str, value: &str) -> Result<()> {
        let _ = write!(self.0, " {name}=\"{}\"", attribute(value)?);
        Ok(())
    }

    fn some(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        value.map_or(Ok(()), |value| self.add(name, value))
    }

    fn filled(&mut self, name: &str, value: &str) -> Result<()> {
        if value.is_empty() { Ok(()) } else { self.add(name, value) }
    }

    fn json(&mut self, name: &str, value: &impl Serialize) -> Result<()> {
        self.add(name, &json(value))
    }

    fn text(&mut self, name: &str, reckoned: &str, text: Option<&Text>) -> Result<()> {
        match text {
            None => Ok(()),
            Some(Text::Fixed(text)) => self.add(name, text),
            Some(Text::Expression { expression }) => self.add(reckoned, expression),
        }
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Names in a row; a name with a space in it would come back as two.
fn row(at: &str, names: &[String]) -> Result<String> {
    let odd = |name: &String| name.is_empty() || name.contains(char::is_whitespace);
    if names.iter().any(odd) {
        let what = "a name in a row has a space in it, or nothing";
        return Err(ExportError::Unsaid { at: at.to_owned(), what });
    }
    Ok(names.join(" "))
}

impl Writer {
    fn open(&mut self, name: &str, attributes: &Attributes) {
        self.line(&format!("<{name}{}>", attributes.0));
        self.level += 1;
    }

    fn close(&mut self, name: &str) {
        self.level -= 1;
        self.line(&format!("</{name}>"));
    }

    fn empty(&mut self, name: &str, attributes: &Attributes) {
        self.line(&format!("<{name}{}/>", attributes.0));
    }

    /// An element with nothing but text in it.
    fn holding(&mut self, name: &str, attributes: &Attributes, text: &str) -> Result<()> {
        self.line(&format!("<{name}{}>{}</{name}>", attributes.0, content(text)?));
        Ok(())
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(&"  ".repeat(self.level));
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn chart(&mut self, chart: &Definition, child: Option<&str>) -> Result<()> {
        let mut attributes = Attributes::default();
        attributes.add("xmlns", NAMESPACE)?;
        attributes.add("xmlns:w", OURS)?;
        attributes.add("version", "1.0")?;
        attributes.some("name", chart.name.as_deref())?;
        attributes.some("w:child", child)?;
        attributes.add("w:id", &chart.id)?;
        attributes.filled("w:version", &chart.version)?;
        if chart.expressions == Expressions::Strict {
            attributes.add("w:expressions", "strict")?;
        }
        if chart.binding == Binding::Late {
            attributes.add("binding", "late")?;
        }
        attributes.filled("initial", &row(&chart.id, &chart.initial)?)?;
        if !chart.retired.is_empty() {
            attributes.json("w:retired", &chart.retired)?;
        }
        if let Some(note) = &chart.note {
            attributes.json("w:note", note)?;
        }
        self.open("scxml", &attributes);
        self.data(&chart.data)?;
        if !chart.script.is_empty() {
            self.block("w:script", &chart.script)?;
        }
        for transition in &chart.transitions {
            self.transition(transition)?;
        }
        for state in &chart.states {
            self.state(state)?;
        }
        for (name, child) in &chart.children {
            self.chart(child, Some(name))?;
        }
        self.close("scxml");
        Ok(())
    }

    fn data(&mut self, data: &[Datum]) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        self.open("datamodel", &Attributes::default());
        for datum in data {
            let mut attributes = Attributes::default();
            attributes.add("id", &datum.id)?;
            if datum.kind != crate::schema::Type::default() {
                attributes.json("w:type", &datum.kind)?;
            }
            if !datum.was.is_empty() {
                attributes.json("w:was", &datum.was)?;
            }
            self.given("data", attributes, datum.value.as_ref())?;
        }
        self.close("datamodel");
        Ok(())
    }

    /// An element that holds a value: an expression in `expr`, a literal as JSON.
    fn given(&mut self, name: &str, mut of: Attributes, given: Option<&Given>) -> Result<()> {
        match given {
            None => self.empty(name, &of),
            Some(Given::Expression(expression)) => {
                of.add("expr", expression)?;
                self.empty(name, &of);
            }
            Some(Given::Literal(value)) => self.holding(name, &of, &json(value))?,
        }
        Ok(())
    }

    fn state(&mut self, state: &State) -> Result<()> {
        let name = match state.kind {
            StateKind::State => "state",
            StateKind::Parallel => "parallel",
            StateKind::Final => "final",
            StateKind::History | StateKind::DeepHistory => "history",
        };
        let mut attributes = Attributes::default();
        attributes.add("id", &state.id)?;
        if state.kind == StateKind::DeepHistory {
            attributes.add("type", "deep")?;
        }
        if state.initial_actions.is_empty() {
            attributes.filled("initial", &row(&state.id, &state.initial)?)?;
        }
        if !state.was.is_empty() {
            attributes.json("w:was", &state.was)?;
        }
        if let Some(note) = &state.note {
            attributes.json("w:note", note)?;
        }
        self.open(name, &attributes);
        self.data(&state.data)?;
        if !state.initial_actions.is_empty() {
            self.open("initial", &Attributes::default());
            let (to, actions) = (state.initial.clone(), state.initial_actions.clone());
            self.transition(&Transition { to, actions, ..Transition::default() })?;
            self.close("initial");
        }
        state.on_entry.iter().try_for_each(|block| self.block("onentry", block))?;
        state.on_exit.iter().try_for_each(|block| self.block("onexit", block))?;
        state.transitions.iter().try_for_each(|transition| self.transition(transition))?;
        state.invoke.iter().try_for_each(|invoke| self.invoke(invoke))?;
        if let Some(done) = &state.done {
            let mut attributes = Attributes::default();
            attributes.filled("namelist", &row(&state.id, &done.names)?)?;
            self.open("donedata", &attributes);
            self.message(done)?;
            self.close("donedata");
        }
        state.states.iter().try_for_each(|inner| self.state(inner))?;
        self.close(name);
        Ok(())
    }

    fn transition(&mut self, transition: &Transition) -> Result<()> {
        let mut attributes = Attributes::default();
        attributes.filled("w:id", &transition.id)?;
        attributes.filled("event", &row(&transition.id, &transition.on)?)?;
        attributes.some("cond", transition.when.as_deref())?;
        attributes.filled("target", &row(&transition.id, &transition.to)?)?;
        if transition.internal {
            attributes.add("type", "internal")?;
        }
        if let Some(note) = &transition.note {
            attributes.json("w:note", note)?;
        }
        if transition.actions.is_empty() {
            self.empty("transition", &attributes);
            return Ok(());
        }
        self.open("transition", &attributes);
        self.actions(&transition.actions)?;
        self.close("transition");
        Ok(())
    }

    fn invoke(&mut self, invoke: &Invoke) -> Result<()> {
        let mut attributes = Attributes::default();
        attributes.add("w:slot", &invoke.slot)?;
        attributes.some("id", invoke.id.as_deref())?;
        attributes.some("idlocation", invoke.id_into.as_deref())?;
        attributes.text("type", "typeexpr", invoke.by.as_ref())?;
        attributes.text("src", "srcexpr", invoke.chart.as_ref())?;
        if let Some(supervise) = &invoke.supervise {
            attributes.json("w:supervise", supervise)?;
        }
        if let Some(mailbox) = &invoke.mailbox {
            attributes.json("w:mailbox", mailbox)?;
        }
        if invoke.forward {
            attributes.add("autoforward", "true")?;
        }
        attributes.filled("namelist", &row(&invoke.slot, &invoke.data.names)?)?;
        if invoke.data.content.is_some() {
            let what = "a child is given values by name";
            return Err(ExportError::Unsaid { at: invoke.slot.clone(), what });
        }
        self.open("invoke", &attributes);
        self.message(&invoke.data)?;
        if !invoke.finalize.is_empty() {
            self.block("finalize", &invoke.finalize)?;
        }
        self.close("invoke");
        Ok(())
    }

    /// Parameters and content; names are an attribute of what is around them.
    fn message(&mut self, message: &Message) -> Result<()> {
        for param in &message.params {
            let mut attributes = Attributes::default();
            attributes.add("name", &param.name)?;
            match &param.value {
                Given::Expression(expression) => attributes.add("expr", expression)?,
                Given::Literal(value) => {
                    // Other engines read JSON as an expression; this one reads what follows.
                    attributes.add("expr", &json(value))?;
                    attributes.json("w:literal", value)?;
                }
            }
            self.empty("param", &attributes);
        }
        match &message.content {
            Some(content) => self.given("content", Attributes::default(), Some(content)),
            None => Ok(()),
        }
    }

    fn block(&mut self, name: &str, actions: &[Action]) -> Result<()> {
        self.open(name, &Attributes::default());
        self.actions(actions)?;
        self.close(name);
        Ok(())
    }

    fn actions(&mut self, actions: &[Action]) -> Result<()> {
        actions.iter().try_for_each(|action| self.action(action))
    }

    fn action(&mut self, action: &Action) -> Result<()> {
        let mut attributes = Attributes::default();
        match action {
            Action::Raise(event) => {
                attributes.add("event", event)?;
                self.empty("raise", &attributes);
            }
            Action::Assign { to, value } => {
                attributes.add("location", to)?;
                self.given("assign", attributes, Some(value))?;
            }
            Action::If(branches) => self.branches(branches)?,
            Action::ForEach { list, item, index, actions } => {
                attributes.add("array", list)?;
                attributes.add("item", item)?;
                attributes.some("index", index.as_deref())?;
                self.open("foreach", &attributes);
                self.actions(actions)?;
                self.close("foreach");
            }
            Action::Log { label, value } => {
                attributes.some("label", label.as_deref())?;
                attributes.some("expr", value.as_deref())?;
                self.empty("log", &attributes);
            }
            Action::Send(send) => self.send(send)?,
            Action::Cancel { id } => {
                attributes.text("sendid", "sendidexpr", Some(id))?;
                self.empty("cancel", &attributes);
            }
            Action::Spawn(spawn) => {
                attributes.json("w:child", spawn)?;
                self.empty("w:spawn", &attributes);
            }
            Action::Stop { id } => {
                attributes.json("w:child", id)?;
                self.empty("w:stop", &attributes);
            }
            Action::Fail(why) => self.holding("w:fail", &attributes, why)?,
            // The place is that of another file.
            Action::At(placed) => self.action(&placed.action)?,
        }
        Ok(())
    }

    fn branches(&mut self, branches: &[crate::definition::Branch]) -> Result<()> {
        let mut first = Attributes::default();
        match branches.first() {
            None => {
                let what = "a choice has no branch";
                return Err(ExportError::Unsaid { at: "if".to_owned(), what });
            }
            Some(branch) => match &branch.when {
                Some(when) => first.add("cond", when)?,
                None => {
                    first.add("cond", "true")?;
                    first.add("w:always", "true")?;
                }
            },
        }
        self.open("if", &first);
        for (place, branch) in branches.iter().enumerate() {
            if place > 0 {
                let mut attributes = Attributes::default();
                let name = if branch.when.is_some() { "elseif" } else { "else" };
                attributes.some("cond", branch.when.as_deref())?;
                self.level -= 1;
                self.empty(name, &attributes);
                self.level += 1;
            }
            self.actions(&branch.actions)?;
        }
        self.close("if");
        Ok(())
    }

    fn send(&mut self, send: &Send) -> Result<()> {
        let mut attributes = Attributes::default();
        attributes.add("w:slot", &send.slot)?;
        attributes.some("id", send.id.as_deref())?;
        attributes.some("idlocation", send.id_into.as_deref())?;
        attributes.text("event", "eventexpr", send.event.as_ref())?;
        attributes.text("target", "targetexpr", send.to.as_ref())?;
        attributes.text("type", "typeexpr", send.by.as_ref())?;
        attributes.text("delay", "delayexpr", send.delay.as_ref())?;
        attributes.filled("namelist", &row(&send.slot, &send.data.names)?)?;
        if send.data.params.is_empty() && send.data.content.is_none() {
            self.empty("send", &attributes);
            return Ok(());
        }
        self.open("send", &attributes);
        self.message(&send.data)?;
        self.close("send");
        Ok(())
    }
}

/// Whether XML 1.0 has the letter.
const fn is_of_xml(letter: char) -> bool {
    matches!(letter, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn checked(text: &str) -> Result<()> {
    if text.chars().all(is_of_xml) { Ok(()) } else { Err(ExportError::Letter(text.to_owned())) }
}

fn attribute(text: &str) -> Result<String> {
    escaped(text, true)
}

fn content(text: &str) -> Result<String> {
    escaped(text, false)
}

/// A reader makes spaces of line ends in attributes, so they are written as references.
fn escaped(text: &str, attribute: bool) -> Result<String> {
    checked(text)?;
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' if attribute => escaped.push_str("&quot;"),
            '\r' => escaped.push_str("&#13;"),
            '\n' if attribute => escaped.push_str("&#10;"),
            '\t' if attribute => escaped.push_str("&#9;"),
            other => escaped.push(other),
        }
    }
    Ok(escaped)
}
