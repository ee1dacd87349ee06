//! Decides how states, transitions, data and invocations are read.

use std::collections::{BTreeMap, BTreeSet};

use roxmltree::{Document, Node, ParsingOptions};

use super::write::OURS;
use super::{ImportError, NAMESPACE, NESTING_MAX, Surroundings};
use crate::definition::{
    Binding, Datum, Definition, Expressions, FORMAT, Invoke, Origin, State, StateKind, Text,
    Transition,
};

pub(super) type Result<T> = std::result::Result<T, ImportError>;

/// Reads a document.
///
/// # Errors
///
/// [`ImportError`] when it is no SCXML.
pub fn import(text: &str, around: &Surroundings<'_>) -> Result<Definition> {
    import_at(text, around, 0, false)
}

/// Reads a document; what can fail says where in it it stood, and errors bring that along.
///
/// # Errors
///
/// [`ImportError`] when it is no SCXML.
pub fn import_with_places(text: &str, around: &Surroundings<'_>) -> Result<Definition> {
    import_at(text, around, 0, true)
}

fn import_at(
    text: &str,
    around: &Surroundings<'_>,
    level: usize,
    places: bool,
) -> Result<Definition> {
    if level > crate::chart::FAMILY_MAX {
        return Err(ImportError::TooDeep);
    }
    let options = ParsingOptions { nodes_limit: 1_000_000, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options)
        .map_err(|error| ImportError::Xml(error.to_string()))?;
    chart(document.root_element(), around, level, places)
}

fn chart(
    root: Node<'_, '_>,
    around: &Surroundings<'_>,
    level: usize,
    places: bool,
) -> Result<Definition> {
    if depth(root) > NESTING_MAX || level > crate::chart::FAMILY_MAX {
        return Err(ImportError::TooDeep);
    }
    let mut reader = Reader {
        around,
        level,
        places,
        children: BTreeMap::new(),
        inline: 0,
        reckons: false,
        scripted: BTreeSet::new(),
    };
    if root.tag_name().name() != "scxml" {
        return Err(reader.wrong(root, "the document is no scxml"));
    }
    let name = root.attribute("name").map(str::to_owned);
    let own = root.attribute((OURS, "id")).or_else(|| root.attribute("id"));
    let id = own.map(str::to_owned).or_else(|| name.clone());
    let strict = root.attribute((OURS, "expressions")) == Some("strict");
    let mut definition = Definition {
        format: FORMAT,
        id: id.unwrap_or_else(|| "scxml".to_owned()),
        name,
        version: root.attribute((OURS, "version")).unwrap_or_default().to_owned(),
        expressions: if strict { Expressions::Strict } else { Expressions::Lenient },
        retired: reader.said(root, "retired")?.unwrap_or_default(),
        note: reader.said(root, "note")?,
        initial: words(root, "initial"),
        ..Definition::default()
    };
    if root.attribute("binding") == Some("late") {
        definition.binding = Binding::Late;
    }
    reader.known(root)?;
    for element in root.children().filter(|inner| inner.has_tag_name((OURS, "script"))) {
        definition.script.extend(reader.actions(element)?);
    }
    for element in elements(root) {
        match element.tag_name().name() {
            "scxml" => {}
            "datamodel" => definition.data.extend(reader.data(element)?),
            "script" => definition.script.extend(reader.script(element)?),
            "initial" => definition.initial = reader.initial(element)?.to,
            // The schema has none here; some engines take them, and so does this one.
            "transition" => definition.transitions.push(reader.transition(element)?),
            _ => {
                let place = format!("{}", definition.states.len() + 1);
                definition.states.extend(reader.state(element, "", &place)?);
            }
        }
    }
    if reader.reckons {
        for (name, text) in around.library {
            let child = import_at(text, around, level + 1, places)?;
            reader.children.insert(name.clone(), child);
        }
    }
    definition.children = reader.children;
    let known: BTreeSet<String> = data_of(&definition).collect();
    let scripted = reader.scripted.into_iter().filter(|name| !known.contains(name));
    definition.data.extend(scripted.map(|id| Datum { id, ..Datum::default() }));
    Ok(definition)
}

/// The names of all data.
fn data_of(definition: &Definition) -> impl Iterator<Item = String> {
    let mut names: Vec<String> = definition.data.iter().map(|datum| datum.id.clone()).collect();
    let mut open: Vec<&State> = definition.states.iter().collect();
    while let Some(state) = open.pop() {
        names.extend(state.data.iter().map(|datum| datum.id.clone()));
        open.extend(&state.states);
    }
    names.into_iter()
}

/// How deep elements nest; counted without recursion.
fn depth(root: Node<'_, '_>) -> usize {
    let outside = root.ancestors().count();
    let inside = root.descendants().map(|node| node.ancestors().count());
    inside.max().unwrap_or(outside) - outside
}

/// The elements of SCXML in `node`.
pub(super) fn elements<'a, 'i>(node: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(|child| {
        let namespace = child.tag_name().namespace();
        child.is_element() && (namespace.is_none() || namespace == Some(NAMESPACE))
    })
}

pub(super) fn words(node: Node<'_, '_>, attribute: &str) -> Vec<String> {
    let text = node.attribute(attribute).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Reads one document.
pub(super) struct Reader<'s, 'a> {
    pub(super) around: &'s Surroundings<'a>,
    level: usize,
    /// Whether actions and transitions say where they stand.
    places: bool,
    pub(super) children: BTreeMap<String, Definition>,
    inline: usize,
    /// Whether the name of a chart is reckoned.
    reckons: bool,
    /// Variables to which scripts give values: a script needs no declaration.
    pub(super) scripted: BTreeSet<String>,
}

impl Reader<'_, '_> {
    pub(super) fn wrong(&self, node: Node<'_, '_>, what: &str) -> ImportError {
        let line = node.document().text_pos_at(node.range().start).row;
        ImportError::Document { line, what: what.to_owned() }
    }

    pub(super) fn origin(&self, node: Node<'_, '_>) -> Option<Origin> {
        let at = node.document().text_pos_at(node.range().start);
        let tag = node.tag_name().name().to_owned();
        self.places.then_some(Origin { line: at.row, column: at.col, tag })
    }

    pub(super) fn expression(&self, text: &str) -> String {
        self.around.language.expression(text)
    }

    pub(super) fn load(&self, name: &str) -> Result<String> {
        (self.around.load)(name).ok_or_else(|| ImportError::Missing(name.to_owned()))
    }

    /// An inline chart becomes a child; its name stands for it.
    pub(super) fn adopt(&mut self, node: Node<'_, '_>) -> Result<String> {
        self.inline += 1;
        let name = format!("inline.{}", self.inline);
        let child = chart(node, self.around, self.level + 1, self.places)?;
        self.children.insert(name.clone(), child);
        Ok(name)
    }

    fn state(&mut self, node: Node<'_, '_>, parent: &str, place: &str) -> Result<Option<State>> {
        let kind = match node.tag_name().name() {
            "state" => StateKind::State,
            "parallel" => StateKind::Parallel,
            "final" => StateKind::Final,
            "history" if node.attribute("type") == Some("deep") => StateKind::DeepHistory,
            "history" => StateKind::History,
            other => return Err(self.wrong(node, &format!("{other} is no state"))),
        };
        let id = node.attribute("id").map(str::to_owned);
        let id = id.unwrap_or_else(|| format!("{parent}:{place}"));
        let initial = words(node, "initial");
        let was = self.said(node, "was")?.unwrap_or_default();
        let note = self.said(node, "note")?;
        let mut state = State { id, kind, was, initial, note, ..State::default() };
        for element in elements(node) {
            self.part(&mut state, element)?;
        }
        Ok(Some(state))
    }

    fn part(&mut self, state: &mut State, element: Node<'_, '_>) -> Result<()> {
        match element.tag_name().name() {
            "onentry" => state.on_entry.push(self.actions(element)?),
            "onexit" => state.on_exit.push(self.actions(element)?),
            "transition" => state.transitions.push(self.transition(element)?),
            "datamodel" => state.data.extend(self.data(element)?),
            "invoke" => state.invoke.push(self.invoke(element)?),
            "donedata" => state.done = Some(self.message(element)?),
            "initial" => {
                let initial = self.initial(element)?;
                state.initial = initial.to;
                state.initial_actions = initial.actions;
            }
            _ => {
                let place = format!("{}", state.states.len() + 1);
                let child = self.state(element, &state.id, &place)?;
                state.states.extend(child);
            }
        }
        Ok(())
    }

    /// Learns the charts that stand in the document, by the names by which it invokes them.
    fn known(&mut self, root: Node<'_, '_>) -> Result<()> {
        for inner in elements(root).filter(|inner| inner.tag_name().name() == "scxml") {
            let Some(name) = inner.attribute((OURS, "child")) else {
                return Err(self.wrong(inner, "a chart in a chart has no name"));
            };
            let child = chart(inner, self.around, self.level + 1, self.places)?;
            self.children.insert(name.to_owned(), child);
        }
        Ok(())
    }

    /// What an attribute of ours says, in JSON.
    pub(super) fn said<T: serde::de::DeserializeOwned>(
        &self,
        node: Node<'_, '_>,
        attribute: &str,
    ) -> Result<Option<T>> {
        let Some(text) = node.attribute((OURS, attribute)) else { return Ok(None) };
        let read = serde_json::from_str(text);
        read.map(Some).map_err(|error| self.wrong(node, &format!("{attribute}: {error}")))
    }

    fn initial(&mut self, node: Node<'_, '_>) -> Result<Transition> {
        let transition = elements(node).find(|inner| inner.tag_name().name() == "transition");
        let Some(transition) = transition else {
            return Err(self.wrong(node, "initial has no transition"));
        };
        self.transition(transition)
    }

    fn transition(&mut self, node: Node<'_, '_>) -> Result<Transition> {
        Ok(Transition {
            id: node.attribute((OURS, "id")).unwrap_or_default().to_owned(),
            on: words(node, "event"),
            when: node.attribute("cond").map(|when| self.expression(when)),
            to: words(node, "target"),
            internal: node.attribute("type") == Some("internal"),
            actions: self.actions(node)?,
            note: self.said(node, "note")?,
            origin: self.origin(node),
        })
    }

    fn data(&mut self, node: Node<'_, '_>) -> Result<Vec<Datum>> {
        let mut data = Vec::new();
        for element in elements(node) {
            let Some(id) = element.attribute("id") else {
                return Err(self.wrong(element, "data has no id"));
            };
            let value = match element.attribute("src") {
                Some(source) => Some(super::content::read(&self.load(source)?)),
                None => self.given(element)?,
            };
            let kind = self.said(element, "type")?.unwrap_or_default();
            let was = self.said(element, "was")?.unwrap_or_default();
            data.push(Datum { id: id.to_owned(), value, kind, was });
        }
        Ok(data)
    }

    fn invoke(&mut self, node: Node<'_, '_>) -> Result<Invoke> {
        let mut invoke = Invoke {
            slot: node.attribute((OURS, "slot")).unwrap_or_default().to_owned(),
            id: node.attribute("id").map(str::to_owned),
            id_into: node.attribute("idlocation").map(str::to_owned),
            by: self.text(node, "type", "typeexpr"),
            chart: self.text(node, "src", "srcexpr"),
            forward: node.attribute("autoforward") == Some("true"),
            supervise: self.said(node, "supervise")?,
            mailbox: self.said(node, "mailbox")?,
            ..Invoke::default()
        };
        if let Some(Text::Fixed(name)) = &invoke.chart
            && !self.children.contains_key(name)
        {
            let text = self.load(name)?;
            let child = import_at(&text, self.around, self.level + 1, self.places)?;
            self.children.insert(name.clone(), child);
        }
        self.reckons |= matches!(invoke.chart, Some(Text::Expression { .. }));
        let content = elements(node).find(|inner| inner.tag_name().name() == "content");
        if let Some(content) = content {
            invoke.chart = Some(self.invoked(content)?);
        }
        invoke.data = self.message(node)?;
        invoke.data.content = None;
        if let Some(finalize) = elements(node).find(|inner| inner.tag_name().name() == "finalize") {
            invoke.finalize = self.actions(finalize)?;
            if invoke.finalize.is_empty() {
                invoke.finalize = self.returned(node);
            }
        }
        Ok(invoke)
    }

    fn invoked(&mut self, content: Node<'_, '_>) -> Result<Text> {
        if let Some(expression) = content.attribute("expr") {
            self.reckons = true;
            return Ok(Text::Expression { expression: self.expression(expression) });
        }
        match elements(content).find(|inner| inner.tag_name().name() == "scxml") {
            Some(inner) => self.adopt(inner).map(Text::Fixed),
            None => Err(self.wrong(content, "what is invoked is no scxml")),
        }
    }
}
