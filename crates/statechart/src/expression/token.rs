//! Decides where a word of an expression ends.

use super::SyntaxError;

/// A word of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Int(i64),
    Float(f64),
    Text(String),
    Name(String),
    /// An operator or a bracket.
    Sign(&'static str),
}

/// The longest first: `<=` is not `<`.
const SIGNS: [&str; 27] = [
    "===", "!==", "==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "+", "-", "*", "/", "%", "?",
    ":", "(", ")", "[", "]", "{", "}", ",", ".", ";",
];

/// Takes `source` apart. Each word comes with where it begins.
pub(super) fn tokens(source: &str) -> Result<Vec<(usize, Token)>, SyntaxError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = source[at..].chars().next() {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (token, length) = one(source, at, first)?;
        tokens.push((at, token));
        at += length;
    }
    Ok(tokens)
}

fn one(source: &str, at: usize, first: char) -> Result<(Token, usize), SyntaxError> {
    let rest = &source[at..];
    if first.is_ascii_digit() {
        return number(source, at);
    }
    if first == '\'' || first == '"' {
        return text(source, at, first);
    }
    if first.is_alphabetic() || first == '_' || first == '$' {
        let more = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$';
        let length = rest.find(|letter: char| !more(letter)).unwrap_or(rest.len());
        return Ok((Token::Name(rest[..length].to_owned()), length));
    }
    match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        Some(sign) if *sign != ";" && sign.len() < 3 => Ok((Token::Sign(sign), sign.len())),
        Some(_) | None => Err(wrong(source, at, format!("unexpected {first:?}"))),
    }
}

fn number(source: &str, at: usize) -> Result<(Token, usize), SyntaxError> {
    let rest = &source.as_bytes()[at..];
    let digits = |from: usize| rest[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut length = digits(0);
    let mut float = false;
    if rest.get(length) == Some(&b'.') && digits(length + 1) > 0 {
        float = true;
        length += 1 + digits(length + 1);
    }
    if matches!(rest.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(rest.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits((length + 1 + sign).min(rest.len()));
        if exponent > 0 {
            float = true;
            length += 1 + sign + exponent;
        }
    }
    let written = &source[at..at + length];
    let out_of_range = || wrong(source, at, format!("{written} is out of range"));
    if !float {
        return written.parse().map(|int| (Token::Int(int), length)).map_err(|_| out_of_range());
    }
    match written.parse::<f64>() {
        Ok(float) if float.is_finite() => Ok((Token::Float(float), length)),
        Ok(_) | Err(_) => Err(out_of_range()),
    }
}

fn text(source: &str, at: usize, quote: char) -> Result<(Token, usize), SyntaxError> {
    let mut text = String::new();
    let mut letters = source[at + 1..].char_indices();
    while let Some((place, letter)) = letters.next() {
        if letter == quote {
            return Ok((Token::Text(text), place + 2));
        }
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            Some((_, 'n')) => text.push('\n'),
            Some((_, 't')) => text.push('\t'),
            Some((_, 'r')) => text.push('\r'),
            Some((_, escaped @ ('\\' | '\'' | '"'))) => text.push(escaped),
            Some((place, other)) => {
                return Err(wrong(source, at + 1 + place, format!("unknown escape {other:?}")));
            }
            None => break,
        }
    }
    Err(wrong(source, at, "the text does not end"))
}

pub(super) fn wrong(source: &str, at: usize, what: impl Into<String>) -> SyntaxError {
    SyntaxError { what: what.into(), at, source_text: source.chars().take(200).collect() }
}
