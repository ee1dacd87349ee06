//! Decides what belongs to what: words of an expression become a tree.

use std::sync::Arc;

use super::token::{Token, tokens, wrong};
use super::{
    Binary, EventField, Function, NESTING_MAX, Names, Node, SOURCE_BYTES_MAX, SyntaxError, System,
};
use crate::value::{Float, Value};

/// How strongly a sign binds; more binds first.
const fn binding(sign: &str) -> Option<(u8, Option<Binary>)> {
    Some(match sign.as_bytes() {
        b"||" => (1, None),
        b"&&" => (2, None),
        b"==" => (3, Some(Binary::Equal)),
        b"!=" => (3, Some(Binary::Unequal)),
        b"<" => (4, Some(Binary::Less)),
        b"<=" => (4, Some(Binary::LessOrEqual)),
        b">" => (4, Some(Binary::Greater)),
        b">=" => (4, Some(Binary::GreaterOrEqual)),
        b"in" => (4, Some(Binary::Within)),
        b"+" => (5, Some(Binary::Add)),
        b"-" => (5, Some(Binary::Subtract)),
        b"*" => (6, Some(Binary::Multiply)),
        b"/" => (6, Some(Binary::Divide)),
        b"%" => (6, Some(Binary::Remainder)),
        _ => return None,
    })
}

pub(super) fn parse(source: &str, names: &dyn Names) -> Result<Node, SyntaxError> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(wrong("", 0, "the expression is too long"));
    }
    let tokens = tokens(source)?;
    let mut parser = Parser { source, tokens, next: 0, depth: 0, names };
    let root = parser.choice()?;
    match parser.tokens.get(parser.next) {
        None => Ok(root),
        Some((at, _)) => Err(wrong(source, *at, "unexpected word")),
    }
}

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<(usize, Token)>,
    next: usize,
    depth: usize,
    names: &'a dyn Names,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.source.len(), |(at, _)| *at)
    }

    fn fail<T>(&self, what: impl Into<String>) -> Result<T, SyntaxError> {
        Err(wrong(self.source, self.at(), what))
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(found)) if *found == sign)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), SyntaxError> {
        if self.take(sign) { Ok(()) } else { self.fail(format!("expected '{sign}'")) }
    }

    fn deeper<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, SyntaxError>,
    ) -> Result<T, SyntaxError> {
        if self.depth >= NESTING_MAX {
            return self.fail("the expression nests too deep");
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn choice(&mut self) -> Result<Node, SyntaxError> {
        self.deeper(|parser| {
            let condition = parser.binary(1)?;
            if !parser.take("?") {
                return Ok(condition);
            }
            let yes = parser.choice()?;
            parser.expect(":")?;
            let no = parser.choice()?;
            Ok(Node::Choice(Box::new((condition, yes, no))))
        })
    }

    fn binary(&mut self, weakest: u8) -> Result<Node, SyntaxError> {
        let mut left = self.unary()?;
        let mut length = 0;
        while let Some((strength, operator)) = self.operator()
            && strength >= weakest
        {
            // A long chain of operators is as deep a tree as nested brackets.
            length += 1;
            if length > NESTING_MAX {
                return self.fail("the expression nests too deep");
            }
            self.next += 1;
            let right = self.deeper(|parser| parser.binary(strength + 1))?;
            let (left_side, right) = (Box::new(left), Box::new(right));
            left = match operator {
                Some(operator) => Node::Binary(operator, left_side, right),
                None if strength == 1 => Node::Either(left_side, right),
                None => Node::Both(left_side, right),
            };
        }
        Ok(left)
    }

    fn operator(&self) -> Option<(u8, Option<Binary>)> {
        match self.peek()? {
            Token::Sign(sign) => binding(sign),
            Token::Name(name) if name == "in" => binding("in"),
            Token::Int(_) | Token::Float(_) | Token::Text(_) | Token::Name(_) => None,
        }
    }

    fn unary(&mut self) -> Result<Node, SyntaxError> {
        if self.take("!") {
            let inner = self.deeper(Self::unary)?;
            return Ok(Node::Not(Box::new(inner)));
        }
        if self.take("-") {
            let inner = self.deeper(Self::unary)?;
            if let Node::Literal(Value::Int(int)) = inner {
                return Ok(Node::Literal(Value::Int(-int)));
            }
            return Ok(Node::Negative(Box::new(inner)));
        }
        self.postfix()
    }

    fn postfix(&mut self) -> Result<Node, SyntaxError> {
        let mut node = self.primary()?;
        let mut length = 0;
        while self.is(".") || self.is("[") {
            length += 1;
            if length > NESTING_MAX {
                return self.fail("the expression nests too deep");
            }
            if self.take(".") {
                node = field(node, &self.name()?);
            } else {
                self.next += 1;
                let index = self.choice()?;
                self.expect("]")?;
                node = Node::Index(Box::new(node), Box::new(index));
            }
        }
        Ok(node)
    }

    fn name(&mut self) -> Result<String, SyntaxError> {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = name.clone();
                self.next += 1;
                Ok(name)
            }
            Some(Token::Int(_) | Token::Float(_) | Token::Text(_) | Token::Sign(_)) | None => {
                self.fail("expected a name")
            }
        }
    }

    fn primary(&mut self) -> Result<Node, SyntaxError> {
        let Some(token) = self.peek().cloned() else { return self.fail("something is missing") };
        let node = match token {
            Token::Int(int) => Node::Literal(Value::Int(int)),
            Token::Float(number) => match Float::new(number) {
                Some(float) => Node::Literal(Value::Float(float)),
                None => return self.fail("the number is not finite"),
            },
            Token::Text(text) => Node::Literal(Value::text(text)),
            Token::Name(name) => {
                self.next += 1;
                return self.named(&name);
            }
            Token::Sign("(") => {
                self.next += 1;
                let inner = self.choice()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Token::Sign("[") => {
                self.next += 1;
                return Ok(Node::List(self.row("]")?));
            }
            Token::Sign("{") => {
                self.next += 1;
                return self.map();
            }
            Token::Sign(sign) => return self.fail(format!("unexpected '{sign}'")),
        };
        self.next += 1;
        Ok(node)
    }

    fn row(&mut self, end: &str) -> Result<Vec<Node>, SyntaxError> {
        let mut row = Vec::new();
        while !self.take(end) {
            if !row.is_empty() {
                self.expect(",")?;
            }
            row.push(self.choice()?);
        }
        Ok(row)
    }

    fn map(&mut self) -> Result<Node, SyntaxError> {
        let mut entries: Vec<(Arc<str>, Node)> = Vec::new();
        while !self.take("}") {
            if !entries.is_empty() {
                self.expect(",")?;
            }
            let name = match self.peek().cloned() {
                Some(Token::Text(text)) => {
                    self.next += 1;
                    text
                }
                Some(Token::Int(_) | Token::Float(_) | Token::Name(_) | Token::Sign(_)) | None => {
                    self.name()?
                }
            };
            if entries.iter().any(|(known, _)| **known == *name) {
                return self.fail(format!("{name} stands there twice"));
            }
            self.expect(":")?;
            entries.push((name.into(), self.choice()?));
        }
        Ok(Node::Map(entries))
    }

    fn named(&mut self, name: &str) -> Result<Node, SyntaxError> {
        let known = match name {
            "true" => Some(Node::Literal(Value::Bool(true))),
            "false" => Some(Node::Literal(Value::Bool(false))),
            "null" => Some(Node::Literal(Value::Null)),
            "_event" => Some(Node::System(System::Event)),
            "_sessionid" => Some(Node::System(System::SessionId)),
            "_name" => Some(Node::System(System::Name)),
            "_ioprocessors" => Some(Node::System(System::IoProcessors)),
            _ => None,
        };
        if let Some(known) = known {
            return Ok(known);
        }
        if self.take("(") {
            let arguments = self.row(")")?;
            return self.call(name, arguments);
        }
        Ok(match self.names.variable(name) {
            Some(place) => Node::Variable(place),
            None => Node::Unknown(name.into()),
        })
    }

    fn call(&self, name: &str, mut arguments: Vec<Node>) -> Result<Node, SyntaxError> {
        if name == "In" || name == "defined" {
            let Some(only) = arguments.pop().filter(|_| arguments.is_empty()) else {
                return self.fail(format!("{name} takes one argument"));
            };
            let only = Box::new(only);
            return Ok(if name == "In" { Node::In(only) } else { Node::Defined(only) });
        }
        let Some(function) = Function::named(name) else {
            return Ok(Node::Host(name.into(), arguments));
        };
        if !function.takes(arguments.len()) {
            return self.fail(format!("{name} does not take {} arguments", arguments.len()));
        }
        Ok(Node::Call(function, arguments))
    }
}

/// A field; those of the event need no map to be made first.
fn field(of: Node, name: &str) -> Node {
    if of == Node::System(System::Event) {
        let field = match name {
            "name" => Some(EventField::Name),
            "type" => Some(EventField::Type),
            "sendid" => Some(EventField::SendId),
            "origin" => Some(EventField::Origin),
            "origintype" => Some(EventField::OriginType),
            "invokeid" => Some(EventField::InvokeId),
            "data" => Some(EventField::Data),
            _ => None,
        };
        if let Some(field) = field {
            return Node::Event(field);
        }
    }
    Node::Field(Box::new(of), name.into())
}
