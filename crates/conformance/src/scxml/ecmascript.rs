//! Decides what the ECMAScript of test documents means in our language.
//!
//! A translation of the grammar that such documents use: expressions, assignments, and functions
//! that are written out where they are called. It knows no test. What it does not know becomes text
//! that is no expression, and faults when it is read.
//!
//! * `a + b` with a text on one side joins texts.
//! * A function whose body assigns is written out as actions; one that returns, as an expression:
//!   its variables are replaced, `if (c) return a;` chooses.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not named is not understood, and neither is what comes later"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;

use whimbrel_statechart::scxml::Language;
use whimbrel_statechart::{Action, Given};

/// Functions within one another.
const CALLS_MAX: usize = 16;

/// Documents whose expressions are simple ECMAScript.
#[derive(Debug, Default)]
pub(super) struct EcmaScript {
    functions: RefCell<BTreeMap<String, Function>>,
}

#[derive(Clone, Debug)]
struct Function {
    parameters: Vec<String>,
    body: Vec<Statement>,
}

#[derive(Clone, Debug)]
enum Statement {
    Assign { to: String, value: Term },
    Local { name: String, value: Option<Term> },
    Call(Term),
    If { when: Term, then: Vec<Self> },
    Return(Option<Term>),
    Function { name: String, function: Function },
}

#[derive(Clone, Debug)]
enum Term {
    Text(String),
    /// A number, `true`, `null` and the like.
    Plain(String),
    Name(String),
    Member(Box<Self>, String),
    Index(Box<Self>, Box<Self>),
    Call(Box<Self>, Vec<Self>),
    Prefix(String, Box<Self>),
    Infix(String, Box<Self>, Box<Self>),
    Choice(Box<(Self, Self, Self)>),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

type Bound = BTreeMap<String, Term>;

impl Language for EcmaScript {
    fn expression(&self, text: &str) -> String {
        let term = Parser::new(text).and_then(|mut parser| {
            let term = parser.term()?;
            parser.end().map(|()| term)
        });
        let written = term.and_then(|term| self.written(&term, &Bound::new(), 0));
        written.unwrap_or_else(|| format!("no expression: {text}"))
    }

    fn script(&self, text: &str) -> Vec<Action> {
        let statements = Parser::new(text).and_then(|mut parser| {
            let statements = parser.statements()?;
            parser.end().map(|()| statements)
        });
        let Some(statements) = statements else { return vec![unknown(text)] };
        let mut actions = Vec::new();
        for statement in statements {
            match statement {
                Statement::Function { name, function } => {
                    self.functions.borrow_mut().insert(name, function);
                }
                other => self.act(&other, text, 0, &mut actions),
            }
        }
        actions
    }
}

fn unknown(text: &str) -> Action {
    Action::Fail(format!("the script is not understood: {}", text.trim()))
}

impl EcmaScript {
    fn act(&self, statement: &Statement, text: &str, level: usize, actions: &mut Vec<Action>) {
        let assign = |to: &str, value: &Term| {
            let value = self.written(value, &Bound::new(), 0)?;
            Some(Action::Assign { to: to.to_owned(), value: Given::Expression(value) })
        };
        let action = match statement {
            Statement::Assign { to, value } => assign(to, value),
            Statement::Local { name, value: Some(value) } => assign(name, value),
            Statement::Local { value: None, .. } => return,
            Statement::Call(Term::Call(callee, arguments)) if arguments.is_empty() => {
                let function = match &**callee {
                    Term::Name(name) => self.functions.borrow().get(name).cloned(),
                    _ => None,
                };
                let Some(function) = function.filter(|_| level < CALLS_MAX) else {
                    return actions.push(unknown(text));
                };
                for inner in &function.body {
                    self.act(inner, text, level + 1, actions);
                }
                return;
            }
            Statement::Call(_)
            | Statement::If { .. }
            | Statement::Return(_)
            | Statement::Function { .. } => None,
        };
        actions.push(action.unwrap_or_else(|| unknown(text)));
    }

    fn written(&self, term: &Term, bound: &Bound, level: usize) -> Option<String> {
        let write = |term: &Term| self.written(term, bound, level);
        Some(match term {
            Term::Text(text) => quoted(text),
            Term::Plain(text) => text.clone(),
            Term::Name(name) => match bound.get(name) {
                // What is bound was written in its own surroundings.
                Some(term) => self.written(term, &Bound::new(), level)?,
                None => name.clone(),
            },
            Term::Member(of, name) => format!("{}.{name}", write(of)?),
            Term::Index(of, index) => format!("{}[{}]", write(of)?, write(index)?),
            Term::Prefix(sign, of) if sign == "typeof" => kind_of(&write(of)?),
            Term::Prefix(sign, of) if sign == "!" && is_length(of) => {
                format!("({} == 0)", write(of)?)
            }
            Term::Prefix(sign, of) => format!("{sign}({})", write(of)?),
            Term::Infix(sign, left, right) if sign == "+" && (is_text(left) || is_text(right)) => {
                format!("(text({}) + text({}))", write(left)?, write(right)?)
            }
            Term::Infix(sign, left, right) => {
                let sign = match sign.as_str() {
                    "===" => "==",
                    "!==" => "!=",
                    other => other,
                };
                format!("({} {sign} {})", write(left)?, write(right)?)
            }
            Term::Choice(parts) => {
                format!("({} ? {} : {})", write(&parts.0)?, write(&parts.1)?, write(&parts.2)?)
            }
            Term::List(items) => {
                let items: Option<Vec<_>> = items.iter().map(write).collect();
                format!("[{}]", items?.join(", "))
            }
            Term::Map(entries) => {
                let entry = |(name, value): &(String, Term)| {
                    Some(format!("{}: {}", quoted(name), write(value)?))
                };
                let entries: Option<Vec<_>> = entries.iter().map(entry).collect();
                format!("{{{}}}", entries?.join(", "))
            }
            Term::Call(callee, arguments) => self.called(callee, arguments, bound, level)?,
        })
    }

    fn called(
        &self,
        callee: &Term,
        arguments: &[Term],
        bound: &Bound,
        level: usize,
    ) -> Option<String> {
        let written: Option<Vec<String>> =
            arguments.iter().map(|argument| self.written(argument, bound, level)).collect();
        let written = written?;
        let member = match callee {
            Term::Member(of, name) => match &**of {
                Term::Name(of) => format!("{of}.{name}"),
                _ => return None,
            },
            Term::Name(name) => name.clone(),
            _ => return None,
        };
        match (member.as_str(), written.as_slice()) {
            ("JSON.stringify", [value]) => Some(format!("text({value})")),
            ("isNaN", [value]) => Some(format!("!defined({value} + 0)")),
            ("In", [state]) => Some(format!("In({state})")),
            ("Math.pow", [base, power]) => {
                let power: usize = power.parse().ok().filter(|power| (1..=16).contains(power))?;
                let factors = vec![format!("({base})"); power];
                Some(format!("({})", factors.join(" * ")))
            }
            (name, _) => {
                let function = self.functions.borrow().get(name).cloned();
                let function = function.filter(|_| level < CALLS_MAX)?;
                let inner = function.parameters.iter().cloned();
                let mut bound: Bound = inner.zip(arguments.iter().cloned()).collect();
                self.returned(&function.body, &mut bound, level + 1)
            }
        }
    }

    /// The value that a body returns, as an expression.
    fn returned(&self, body: &[Statement], bound: &mut Bound, level: usize) -> Option<String> {
        let (first, rest) = body.split_first()?;
        match first {
            Statement::Local { name, value } => {
                let value = value.clone().unwrap_or_else(|| Term::Plain("null".to_owned()));
                bound.insert(name.clone(), value);
                self.returned(rest, bound, level)
            }
            Statement::If { when, then } => {
                let when = self.written(when, bound, level)?;
                let then = self.returned(then, &mut bound.clone(), level)?;
                Some(format!("({when} ? {then} : {})", self.returned(rest, bound, level)?))
            }
            Statement::Return(Some(value)) => self.written(value, bound, level),
            Statement::Assign { .. }
            | Statement::Call(_)
            | Statement::Return(None)
            | Statement::Function { .. } => None,
        }
    }
}

fn is_text(term: &Term) -> bool {
    match term {
        Term::Text(_) => true,
        Term::Infix(sign, left, right) => sign == "+" && (is_text(left) || is_text(right)),
        _ => false,
    }
}

/// What `typeof` says, by what can be done with a value: only a text starts with a text, only from a
/// number something is subtracted, only a truth value is a condition.
fn kind_of(of: &str) -> String {
    format!(
        "(!defined({of}) ? 'undefined' : defined(starts({of}, '')) ? 'string' : \
         defined({of} - 0) ? 'number' : defined({of} || true) ? 'boolean' : 'object')"
    )
}

/// Whether it is how long something is: a number, which counts as false if it is 0.
fn is_length(term: &Term) -> bool {
    matches!(term, Term::Member(_, name) if name == "length")
}

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n");
    format!("'{text}'")
}

struct Parser {
    words: Vec<Word>,
    next: usize,
    depth: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Word {
    Name(String),
    Number(String),
    Text(String),
    Sign(String),
}

const SIGNS: [&str; 34] = [
    "===", "!==", "+=", "-=", "*=", "/=", "%=", "++", "--", "==", "!=", "<=", ">=", "&&", "||",
    "=", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", "(", ")", "[", "]", "{", "}", ",", ".",
];

const INFIX: [&[&str]; 6] = [
    &["||"],
    &["&&"],
    &["===", "!==", "==", "!="],
    &["<", "<=", ">", ">="],
    &["+", "-"],
    &["*", "/", "%"],
];

impl Parser {
    fn new(text: &str) -> Option<Self> {
        Some(Self { words: words(text)?, next: 0, depth: 0 })
    }

    fn end(&self) -> Option<()> {
        (self.next == self.words.len()).then_some(())
    }

    fn peek(&self) -> Option<&Word> {
        self.words.get(self.next)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.peek() == Some(&Word::Sign(sign.to_owned()));
        self.next += usize::from(found);
        found
    }

    fn take_name(&mut self, name: &str) -> bool {
        let found = self.peek() == Some(&Word::Name(name.to_owned()));
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Option<()> {
        self.take(sign).then_some(())
    }

    fn name(&mut self) -> Option<String> {
        match self.peek()?.clone() {
            Word::Name(name) => {
                self.next += 1;
                Some(name)
            }
            Word::Number(_) | Word::Text(_) | Word::Sign(_) => None,
        }
    }

    fn statements(&mut self) -> Option<Vec<Statement>> {
        let mut statements = Vec::new();
        while self.peek().is_some_and(|word| *word != Word::Sign("}".to_owned())) {
            if !self.take(";") {
                statements.push(self.statement()?);
            }
        }
        Some(statements)
    }

    fn block(&mut self) -> Option<Vec<Statement>> {
        if !self.take("{") {
            return Some(vec![self.statement()?]);
        }
        let statements = self.statements()?;
        self.expect("}").map(|()| statements)
    }

    fn statement(&mut self) -> Option<Statement> {
        if self.take_name("function") {
            let name = self.name()?;
            self.expect("(")?;
            let mut parameters = Vec::new();
            while !self.take(")") {
                parameters.push(self.name()?);
                self.take(",");
            }
            let function = Function { parameters, body: self.block()? };
            return Some(Statement::Function { name, function });
        }
        if self.take_name("if") {
            self.expect("(")?;
            let when = self.term()?;
            self.expect(")")?;
            return Some(Statement::If { when, then: self.block()? });
        }
        if self.take_name("return") {
            let ends = matches!(self.peek(), None | Some(Word::Sign(_)))
                && (self.take(";") || self.peek() == Some(&Word::Sign("}".to_owned())));
            return if ends {
                Some(Statement::Return(None))
            } else {
                self.term().map(|term| Statement::Return(Some(term)))
            };
        }
        if self.take_name("var") {
            let name = self.name()?;
            let value = if self.take("=") { Some(self.term()?) } else { None };
            return Some(Statement::Local { name, value });
        }
        self.assignment()
    }

    fn assignment(&mut self) -> Option<Statement> {
        let left = self.term()?;
        let Some(to) = path(&left) else { return Some(Statement::Call(left)) };
        if self.take("=") {
            return Some(Statement::Assign { to, value: self.term()? });
        }
        for (sign, operator) in [("+=", "+"), ("-=", "-"), ("*=", "*"), ("/=", "/"), ("%=", "%")] {
            if self.take(sign) {
                let right = Box::new(self.term()?);
                let value = Term::Infix(operator.to_owned(), Box::new(left), right);
                return Some(Statement::Assign { to, value });
            }
        }
        for (sign, operator) in [("++", "+"), ("--", "-")] {
            if self.take(sign) {
                let one = Box::new(Term::Plain("1".to_owned()));
                let value = Term::Infix(operator.to_owned(), Box::new(left), one);
                return Some(Statement::Assign { to, value });
            }
        }
        None
    }

    fn term(&mut self) -> Option<Term> {
        if self.depth >= 32 {
            return None;
        }
        self.depth += 1;
        let condition = self.infix(0);
        let term = condition.and_then(|condition| {
            if !self.take("?") {
                return Some(condition);
            }
            let yes = self.term()?;
            self.expect(":")?;
            Some(Term::Choice(Box::new((condition, yes, self.term()?))))
        });
        self.depth -= 1;
        term
    }

    fn infix(&mut self, level: usize) -> Option<Term> {
        let Some(signs) = INFIX.get(level) else { return self.prefix() };
        let mut left = self.infix(level + 1)?;
        while let Some(sign) = signs.iter().find(|sign| self.take(sign)) {
            let right = self.infix(level + 1)?;
            left = Term::Infix((*sign).to_owned(), Box::new(left), Box::new(right));
        }
        Some(left)
    }

    fn prefix(&mut self) -> Option<Term> {
        for sign in ["!", "-"] {
            if self.take(sign) {
                return Some(Term::Prefix(sign.to_owned(), Box::new(self.prefix()?)));
            }
        }
        if self.take_name("typeof") {
            return Some(Term::Prefix("typeof".to_owned(), Box::new(self.prefix()?)));
        }
        let mut term = self.primary()?;
        loop {
            if self.take(".") {
                term = Term::Member(Box::new(term), self.name()?);
            } else if self.take("[") {
                let index = self.term()?;
                self.expect("]")?;
                term = Term::Index(Box::new(term), Box::new(index));
            } else if self.take("(") {
                let arguments = self.row(")")?;
                term = Term::Call(Box::new(term), arguments);
            } else {
                return Some(term);
            }
        }
    }

    fn row(&mut self, end: &str) -> Option<Vec<Term>> {
        let mut row = Vec::new();
        while !self.take(end) {
            row.push(self.term()?);
            if !self.take(",") {
                self.expect(end)?;
                break;
            }
        }
        Some(row)
    }

    fn primary(&mut self) -> Option<Term> {
        let word = self.peek()?.clone();
        self.next += 1;
        match word {
            Word::Number(number) => Some(Term::Plain(number)),
            Word::Text(text) => Some(Term::Text(text)),
            Word::Name(name) if ["true", "false", "null"].contains(&name.as_str()) => {
                Some(Term::Plain(name))
            }
            Word::Name(name) if name == "undefined" => Some(Term::Plain("null".to_owned())),
            Word::Name(name) => Some(Term::Name(name)),
            Word::Sign(sign) => match sign.as_str() {
                "(" => {
                    let term = self.term()?;
                    self.expect(")").map(|()| term)
                }
                "[" => self.row("]").map(Term::List),
                "{" => self.map(),
                _ => None,
            },
        }
    }

    fn map(&mut self) -> Option<Term> {
        let mut entries = Vec::new();
        while !self.take("}") {
            let name = match self.peek()?.clone() {
                Word::Name(name) | Word::Text(name) => name,
                Word::Number(_) | Word::Sign(_) => return None,
            };
            self.next += 1;
            self.expect(":")?;
            entries.push((name, self.term()?));
            self.take(",");
        }
        Some(Term::Map(entries))
    }
}

/// A term that can be given a value.
fn path(term: &Term) -> Option<String> {
    match term {
        Term::Name(name) => Some(name.clone()),
        Term::Member(of, name) => Some(format!("{}.{name}", path(of)?)),
        _ => None,
    }
}

fn words(text: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/")? + 2
        } else if first == '\'' || first == '"' {
            let length = rest[1..].find(first)?;
            words.push(Word::Text(rest[1..=length].to_owned()));
            length + 2
        } else if first.is_ascii_digit() {
            let more = |letter: char| letter.is_ascii_digit() || letter == '.';
            let length = rest.find(|letter| !more(letter)).unwrap_or(rest.len());
            words.push(Word::Number(rest[..length].to_owned()));
            length
        } else if first.is_alphabetic() || first == '_' || first == '$' {
            let more = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$';
            let length = rest.find(|letter| !more(letter)).unwrap_or(rest.len());
            words.push(Word::Name(rest[..length].to_owned()));
            length
        } else {
            let sign = SIGNS.iter().chain(&[";"]).find(|sign| rest.starts_with(**sign))?;
            words.push(Word::Sign((*sign).to_owned()));
            sign.len()
        };
        rest = rest[length..].trim_start();
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use whimbrel_statechart::{Chart, Definition, Instance, Limits};
    use whimbrel_wire::Time;

    use super::*;

    #[test]
    fn expressions_are_said_in_our_words() {
        let language = EcmaScript::default();
        for (theirs, ours) in [
            ("x === 3 && !In('a')", "((x == 3) && !(In('a')))"),
            ("'x: ' + x + 1", "(text((text('x: ') + text(x))) + text(1))"),
            ("Math.pow(i, 3)", "((i) * (i) * (i))"),
            ("{p1: 'v1', p2: [1]}", "{'p1': 'v1', 'p2': [1]}"),
            ("!x.length", "(x.length == 0)"),
            ("x = 1", "no expression: x = 1"),
        ] {
            assert_eq!(language.expression(theirs), ours);
        }
    }

    #[test]
    fn what_typeof_says_is_found_out_by_what_can_be_done_with_a_value() {
        let language = EcmaScript::default();
        for (value, kind) in [
            ("'text'", "string"),
            ("''", "string"),
            ("2", "number"),
            ("2.5", "number"),
            ("true", "boolean"),
            ("false", "boolean"),
            ("[1]", "object"),
            ("{a: 1}", "object"),
            ("undefined", "undefined"),
            ("nowhere", "undefined"),
        ] {
            let text = language.expression(&format!("typeof {value} === '{kind}'"));
            let chart = format!(
                r#"{{"id": "kind", "expressions": "lenient", "states": [
                    {{ "id": "asks", "transitions": [{{ "when": {text:?}, "to": ["right"] }}] }},
                    {{ "id": "right" }}] }}"#
            );
            let definition: Definition = serde_json::from_str(&chart).unwrap();
            let chart = Arc::new(Chart::new(definition).unwrap());
            let mut instance = Instance::new(chart, "kind", Limits::default());
            instance.settle(Time::ZERO).unwrap();
            assert!(instance.is_in("right"), "{value} is no {kind}: {text}");
        }
    }

    #[test]
    fn functions_are_written_out_where_they_are_called() {
        let language = EcmaScript::default();
        let declared = "function set() { x = 100; } // a note\n\
                        function pick(a) { var b = a.n; if (b > 1) { return 'many'; } return 'one'; }";
        assert!(language.script(declared).is_empty());
        let set = language.script("set();");
        assert!(matches!(&set[..], [Action::Assign { to, .. }] if to == "x"), "{set:?}");
        assert_eq!(language.expression("pick(y)"), "((a.n > 1) ? 'many' : 'one')");
        assert!(matches!(&language.script("nobody();")[..], [Action::Fail(_)]));
    }
}
