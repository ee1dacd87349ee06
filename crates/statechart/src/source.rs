//! Decides where in a file the parts of a definition stand: line and column, for people.
//!
//! A part is named by its pointer into the JSON form (RFC 6901): `/states/0/transitions/1/when`.
//! Where a file is SCXML, its elements stand for the parts that the importer makes of them.

use std::collections::BTreeMap;
use std::fmt;

use roxmltree::{Document, Node};
use serde_json::value::RawValue;

use crate::chart::ChartError;

/// How deep a file may nest for its parts to be found: as deep as a definition may.
const NESTING_MAX: usize = 256;

/// A place in a file, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Where the parts of a definition stand in the file it was read from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    text: String,
    /// Where parts begin, in bytes.
    parts: BTreeMap<String, usize>,
    /// Texts with the part they are in: ids, targets, expressions. In the order of the file.
    texts: Vec<(String, String, usize)>,
}

impl Source {
    /// The parts of a definition in the JSON form; none of a text that is not JSON.
    #[must_use]
    pub fn of_json(text: &str) -> Self {
        let mut source = Self { text: text.to_owned(), ..Self::default() };
        if let Ok(raw) = serde_json::from_str::<&RawValue>(text) {
            source.json(text, raw, String::new(), 0);
        }
        source
    }

    /// The parts of a definition in SCXML; none of a text that is not XML.
    #[must_use]
    pub fn of_scxml(text: &str) -> Self {
        let mut source = Self { text: text.to_owned(), ..Self::default() };
        if let Ok(document) = Document::parse(text) {
            source.element(document.root_element(), String::new(), 0);
        }
        source
    }

    /// Where a part stands, or what it is in.
    #[must_use]
    pub fn position(&self, pointer: &str) -> Option<Position> {
        let mut pointer = pointer;
        loop {
            if let Some(at) = self.parts.get(pointer) {
                return Some(self.at(*at));
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }

    /// Where what is wrong with a definition stands.
    #[must_use]
    pub fn position_of(&self, error: &ChartError) -> Option<Position> {
        let (part, text, offset) = match error {
            ChartError::Format(_) => return self.position("/format"),
            ChartError::Empty(_) | ChartError::TooLarge(_) => return self.position(""),
            ChartError::Twice(id) => {
                let mut all = self.texts.iter().filter(|(_, text, _)| text == id);
                let at = all.nth(1).or_else(|| self.texts.iter().find(|(_, text, _)| text == id));
                return at.map(|(_, _, at)| self.at(*at));
            }
            ChartError::Nowhere { from, to } => (from, to, 0),
            ChartError::BeginsOutside { state, at } => (state, at, 0),
            ChartError::Apart { from, other, .. } => (from, other, 0),
            ChartError::Shape { state, .. } => (state, state, 0),
            ChartError::Expression { at, error } => (at, &error.source_text, error.at),
            ChartError::Place { at, text } => (at, text, 0),
            ChartError::NoChild { at, chart } => (at, chart, 0),
        };
        let within = self.within(part);
        let found = |inside: bool| {
            self.texts.iter().find(|(pointer, known, _)| {
                known == text && (!inside || pointer.starts_with(within.unwrap_or_default()))
            })
        };
        let (_, _, at) = found(true).or_else(|| found(false))?;
        Some(self.at(at + offset))
    }

    /// The part that has this id, or whose id was made of where it stands: `STATE/…`.
    fn within(&self, id: &str) -> Option<&str> {
        let of = |id: &str| {
            let found = self.texts.iter().find(|(pointer, text, _)| {
                text == id && (pointer.ends_with("/id") || pointer.ends_with("/slot"))
            });
            found.map(|(pointer, _, _)| &pointer[..pointer.rfind('/').unwrap_or_default()])
        };
        of(id).or_else(|| of(id.split('/').next().unwrap_or_default()))
    }

    fn at(&self, byte: usize) -> Position {
        let mut end = byte.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.text[..end];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let number = |count: usize| u32::try_from(count + 1).unwrap_or(u32::MAX);
        Position {
            line: number(before.bytes().filter(|byte| *byte == b'\n').count()),
            column: number(before[line_start..].chars().count()),
        }
    }

    fn json(&mut self, text: &str, raw: &RawValue, pointer: String, level: usize) {
        if level > NESTING_MAX {
            return;
        }
        // What was read borrows from the text, so its address says where it stands.
        let written = raw.get();
        let at = (written.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        if let Ok(map) = serde_json::from_str::<BTreeMap<String, &RawValue>>(written) {
            for (name, value) in map {
                let name = name.replace('~', "~0").replace('/', "~1");
                self.json(text, value, format!("{pointer}/{name}"), level + 1);
            }
        } else if let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(written) {
            for (place, value) in list.into_iter().enumerate() {
                self.json(text, value, format!("{pointer}/{place}"), level + 1);
            }
        } else if let Ok(found) = serde_json::from_str::<String>(written) {
            self.texts.push((pointer.clone(), found, at + 1));
        }
        self.parts.insert(pointer, at);
    }

    fn element(&mut self, node: Node<'_, '_>, pointer: String, level: usize) {
        if level > NESTING_MAX {
            return;
        }
        for attribute in node.attributes() {
            let name = match attribute.name() {
                "cond" => "when",
                "target" if node.tag_name().name() == "transition" => "to",
                name => name,
            };
            let at = attribute.range_value().start;
            let pointer = format!("{pointer}/{name}");
            for word in attribute.value().split_whitespace().filter(|_| name == "to") {
                self.texts.push((pointer.clone(), word.to_owned(), at));
            }
            self.texts.push((pointer.clone(), attribute.value().to_owned(), at));
            self.parts.insert(pointer, at);
        }
        self.parts.insert(pointer.clone(), node.range().start);
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut children: Vec<Node<'_, '_>> = node.children().filter(Node::is_element).collect();
        // Several data models are one.
        children = children
            .into_iter()
            .flat_map(|child| match child.tag_name().name() {
                "datamodel" => child.children().filter(Node::is_element).collect(),
                _ => vec![child],
            })
            .collect();
        let mut branch = 0;
        for child in children {
            let tag = child.tag_name().name();
            let list = match tag {
                "state" | "parallel" | "final" | "history" => "states",
                "transition" => "transitions",
                "onentry" => "on_entry",
                "onexit" => "on_exit",
                "invoke" => "invoke",
                "data" => "data",
                "param" => "data/params",
                "content" | "donedata" | "finalize" | "initial" => tag,
                "else" | "elseif" => {
                    branch += 1;
                    counts.remove("");
                    self.element(child, format!("{pointer}/if/{branch}"), level + 1);
                    continue;
                }
                // Executable content.
                _ => "",
            };
            let place = counts.entry(list).or_default();
            let inner = match (list, node.tag_name().name()) {
                ("finalize" | "content" | "donedata" | "initial", _) => format!("{pointer}/{list}"),
                ("", "onentry" | "onexit" | "finalize" | "scxml") => format!("{pointer}/{place}"),
                ("", "if") => format!("{pointer}/if/{branch}/do/{place}"),
                ("", "foreach") => format!("{pointer}/for-each/do/{place}"),
                ("", _) => format!("{pointer}/do/{place}"),
                (list, _) => format!("{pointer}/{list}/{place}"),
            };
            *place += 1;
            self.element(child, inner, level + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Chart, Definition};

    const DOOR: &str = r#"{ "id": "door",
  "states": [
    { "id": "shut",
      "transitions": [
        { "on": ["open"], "to": ["open"],
          "when": "1 + " } ] },
    { "id": "open" } ] }"#;

    fn wrong(text: &str) -> Option<Position> {
        let definition: Definition = serde_json::from_str(text).unwrap();
        let error = Chart::new(definition).unwrap_err();
        Source::of_json(text).position_of(&error)
    }

    #[test]
    fn what_is_wrong_is_found_in_its_line_and_column() {
        // The expression begins in column 20 and ends after 4 letters.
        assert_eq!(wrong(DOOR), Some(Position { line: 6, column: 24 }));
        let nowhere =
            DOOR.replace("1 + ", "true").replace(r#""to": ["open"]"#, r#""to": ["gone"]"#);
        assert_eq!(wrong(&nowhere), Some(Position { line: 5, column: 35 }));
        let twice = DOOR.replace("1 + ", "true").replace(r#""id": "open""#, r#""id": "shut""#);
        assert_eq!(wrong(&twice), Some(Position { line: 7, column: 14 }));
    }

    #[test]
    fn a_part_of_a_document_is_found_by_what_it_becomes() {
        let text = "<scxml>\n <datamodel><data id='n'/></datamodel>\n <state id='a'>\n  <onentry><log/>\n   <if cond='n'><raise event='x'/><else/>\n    <log/></if></onentry>\n  <transition cond='n'/></state></scxml>";
        let source = Source::of_scxml(text);
        let line = |pointer: &str| source.position(pointer).unwrap().line;
        assert_eq!(line("/data/0"), 2);
        assert_eq!(line("/states/0/on_entry/0/0"), 4);
        assert_eq!(line("/states/0/on_entry/0/1/if/1/do/0"), 6);
        assert_eq!(line("/states/0/transitions/0/when"), 7);
        // What is not there stands in what is around it.
        assert_eq!(line("/states/0/transitions/0/do/5"), 7);
    }
}
