//! Decides how SCXML becomes a definition.
//!
//! Read is what the W3C Recommendation of 1 September 2015 calls core, executable content, data and
//! communication. The language of expressions is a matter of the data model: a [`Language`] turns
//! them into ours. Inline charts become children under names that say where they stand.
//!
//! # Limits
//!
//! * [`NESTING_MAX`] elements within one another; a larger document is refused.

mod content;
mod document;
mod write;

use std::collections::BTreeMap;

use thiserror::Error;

pub use document::{import, import_with_places};
pub use write::{ExportError, export};

use crate::definition::Action;

/// Elements within one another.
pub const NESTING_MAX: usize = 96;

/// The namespace of SCXML.
pub(crate) const NAMESPACE: &str = "http://www.w3.org/2005/07/scxml";

/// How the expressions of a document are read.
pub trait Language {
    /// An expression in our language. What cannot be said becomes text that is no expression: it
    /// faults when it is read, as SCXML asks for.
    fn expression(&self, text: &str) -> String;

    /// A script as actions.
    fn script(&self, text: &str) -> Vec<Action>;
}

/// Documents whose expressions are ours already.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ours;

impl Language for Ours {
    fn expression(&self, text: &str) -> String {
        text.to_owned()
    }

    fn script(&self, text: &str) -> Vec<Action> {
        statements(self, text)
    }
}

/// A script that is nothing but assignments, one a statement.
pub fn statements(language: &dyn Language, text: &str) -> Vec<Action> {
    let mut actions = Vec::new();
    for statement in text.split([';', '\n']) {
        let statement = statement.trim();
        let statement = statement.strip_prefix("var ").unwrap_or(statement).trim();
        if statement.is_empty() || statement.starts_with("//") {
            continue;
        }
        actions.push(assignment(language, statement));
    }
    actions
}

fn assignment(language: &dyn Language, statement: &str) -> Action {
    let unknown = || Action::Fail(format!("the statement is no assignment: {statement}"));
    let Some(at) = statement.find('=') else { return unknown() };
    let (left, right) = (&statement[..at], &statement[at + 1..]);
    if right.starts_with('=') || left.ends_with(['!', '<', '>']) {
        return unknown();
    }
    let (to, operator) = match left.trim_end().char_indices().next_back() {
        Some((at, sign @ ('+' | '-' | '*' | '/' | '%'))) => (&left[..at], Some(sign)),
        Some(_) | None => (left, None),
    };
    let (to, right) = (to.trim(), language.expression(right.trim()));
    let value = operator.map_or_else(|| right.clone(), |sign| format!("{to} {sign} ({right})"));
    Action::Assign { to: to.to_owned(), value: crate::definition::Given::Expression(value) }
}

/// What a document needs beside itself.
pub struct Surroundings<'a> {
    /// How expressions are read.
    pub language: &'a dyn Language,
    /// The text of a file that the document names.
    pub load: &'a dyn Fn(&str) -> Option<String>,
    /// Charts that the document may invoke by a name that it reckons.
    pub library: &'a BTreeMap<String, String>,
}

/// Why a document was not read.
///
/// Fault: whoever wrote it. Changed: nothing. Again: no.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ImportError {
    /// It is no XML.
    #[error("the document is no XML: {0}")]
    Xml(String),
    /// It is no SCXML.
    #[error("line {line}: {what}")]
    Document {
        /// Where.
        line: u32,
        /// What is wrong.
        what: String,
    },
    /// It names a file that is not there.
    #[error("the file {0} is not there")]
    Missing(String),
    /// It nests too deep.
    #[error("the document nests too deep")]
    TooDeep,
}

#[cfg(test)]
mod tests;
