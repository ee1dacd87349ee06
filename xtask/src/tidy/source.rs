//! Decides what in a Rust file is code, what is comment and what is text in quotes.
//!
//! Not a parser: it knows quotes, comments, brackets and a few keywords, which is all that the
//! rules need, and it cannot fail. What it gets wrong (code inside macros with odd brackets) makes
//! a rule too quiet or too loud, never a build wrong.

/// One line of one comment, without its marker.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Comment {
    pub(super) line: usize,
    pub(super) text: String,
    pub(super) kind: CommentKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommentKind {
    /// `//!`: about the module it stands in.
    Module,
    /// `///`: about what follows.
    Item,
    /// `//`: for the reader of the code.
    Plain,
}

/// A word or one other character of the code.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) line: usize,
    pub(super) text: String,
    /// Inside a module called `tests`.
    pub(super) in_tests: bool,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// With the type or module around it: `Mover::handle`.
    pub(super) name: String,
    pub(super) line: usize,
    /// From `fn` to the closing brace, without blank lines and comments.
    pub(super) code_lines: usize,
}

/// A Rust file, taken apart.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: String,
    pub(super) comments: Vec<Comment>,
    pub(super) tokens: Vec<Token>,
    pub(super) functions: Vec<Function>,
    /// For each line whether it holds code.
    code: Vec<bool>,
    opening: Option<String>,
}

impl Source {
    /// Takes a file apart.
    pub(super) fn read(path: &str, text: &str) -> Self {
        let mut splitter = Splitter::new(text);
        splitter.split();
        let Splitter { masked, comments, .. } = splitter;
        let code: Vec<bool> = masked.split('\n').map(|line| !line.trim().is_empty()).collect();
        let mut tokens = tokens(&masked);
        let functions = functions(&mut tokens, &code);
        let opening = text.lines().map(str::trim).find(|line| !line.is_empty());
        let opening = opening.map(str::to_owned);
        Self { path: path.to_owned(), comments, tokens, functions, code, opening }
    }

    /// Lines that are neither blank nor only comment.
    pub(super) fn code_lines(&self) -> usize {
        self.code.iter().filter(|is_code| **is_code).count()
    }

    /// The first line that is not blank.
    pub(super) fn opening(&self) -> Option<&str> {
        self.opening.as_deref()
    }

    /// A file that holds nothing but tests.
    pub(super) fn is_test_file(&self) -> bool {
        let mut names = self.path.rsplit('/');
        let file = names.next().unwrap_or_default();
        file == "tests.rs"
            || file.ends_with("_test.rs")
            || file.ends_with("_tests.rs")
            || names.any(|folder| folder == "tests")
    }
}

/// Separates comments from code, one character at a time.
struct Splitter {
    characters: Vec<char>,
    at: usize,
    line: usize,
    /// The code, with blanks for comments and `_` for what is in quotes.
    masked: String,
    comments: Vec<Comment>,
}

impl Splitter {
    fn new(text: &str) -> Self {
        let characters = text.chars().collect();
        Self { characters, at: 0, line: 1, masked: String::new(), comments: Vec::new() }
    }

    fn split(&mut self) {
        while let Some(character) = self.peek(0) {
            match (character, self.peek(1)) {
                ('/', Some('/')) => self.line_comment(),
                ('/', Some('*')) => self.block_comment(),
                ('"', _) => self.quoted('"'),
                ('\'', Some('\\')) => self.quoted('\''),
                ('\'', Some(_)) if self.peek(2) == Some('\'') => self.quoted('\''),
                ('r', Some('"' | '#')) if self.starts_word() => self.raw(),
                _ => self.keep(),
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.at + ahead).copied()
    }

    /// Whether a word starts here; the `b` or `c` of a byte or C string may stand before it.
    fn starts_word(&self) -> bool {
        let before =
            |back: usize| self.at.checked_sub(back).and_then(|at| self.characters.get(at)).copied();
        match before(1) {
            Some('b' | 'c') => !before(2).is_some_and(is_word),
            Some(other) => !is_word(other),
            None => true,
        }
    }

    /// Moves on, leaving `shown` in the code; line breaks stay.
    fn pass(&mut self, shown: Option<char>) {
        let Some(character) = self.peek(0) else { return };
        self.at += 1;
        if character == '\n' {
            self.line += 1;
            self.masked.push('\n');
        } else if character.is_whitespace() {
            self.masked.push(' ');
        } else {
            self.masked.push(shown.unwrap_or(character));
        }
    }

    fn keep(&mut self) {
        self.pass(None);
    }

    fn line_comment(&mut self) {
        let mut text = String::new();
        let line = self.line;
        while let Some(character) = self.peek(0).filter(|character| *character != '\n') {
            text.push(character);
            self.pass(Some(' '));
        }
        self.push_comment(line, &text);
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        let (mut line, mut text) = (self.line, String::new());
        while let Some(character) = self.peek(0) {
            match (character, self.peek(1)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                ('\n', _) => {
                    self.push_comment(line, &text);
                    (line, text) = (self.line + 1, String::new());
                }
                _ => {}
            }
            let bracket = matches!((character, self.peek(1)), ('/', Some('*')) | ('*', Some('/')));
            for _ in 0..if bracket { 2 } else { 1 } {
                text.extend(self.peek(0).filter(|character| *character != '\n'));
                self.pass(Some(' '));
            }
            if depth == 0 {
                break;
            }
        }
        self.push_comment(line, &text);
    }

    fn push_comment(&mut self, line: usize, text: &str) {
        let text = text.trim();
        let marks = [
            ("//!", CommentKind::Module),
            ("/*!", CommentKind::Module),
            ("///", CommentKind::Item),
            ("/**", CommentKind::Item),
            ("//", CommentKind::Plain),
            ("/*", CommentKind::Plain),
            ("*", CommentKind::Plain),
        ];
        let marked =
            marks.iter().find_map(|(mark, kind)| text.strip_prefix(mark).map(|rest| (rest, *kind)));
        let (text, kind) = marked.unwrap_or((text, CommentKind::Plain));
        let text = text.strip_suffix("*/").unwrap_or(text).trim_end().to_owned();
        self.comments.push(Comment { line, text, kind });
    }

    fn quoted(&mut self, quote: char) {
        self.keep();
        while let Some(character) = self.peek(0) {
            if character == quote {
                self.keep();
                break;
            }
            if character == '\\' {
                self.pass(Some('_'));
            }
            self.pass(Some('_'));
        }
    }

    fn raw(&mut self) {
        let hashes = self.characters[self.at + 1..]
            .iter()
            .take_while(|character| **character == '#')
            .count();
        if self.peek(1 + hashes) != Some('"') {
            // A raw word such as `r#type`.
            self.keep();
            return;
        }
        for _ in 0..hashes + 2 {
            self.pass(Some('_'));
        }
        while let Some(character) = self.peek(0) {
            let closes =
                character == '"' && (1..=hashes).all(|ahead| self.peek(ahead) == Some('#'));
            self.pass(Some('_'));
            if closes {
                (0..hashes).for_each(|_| self.pass(Some('_')));
                break;
            }
        }
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn tokens(masked: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (number, line) in masked.split('\n').enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let end = match is_word(first) {
                true => rest.find(|character| !is_word(character)).unwrap_or(rest.len()),
                false => first.len_utf8(),
            };
            let (text, after) = rest.split_at(end);
            tokens.push(Token { line: number + 1, text: text.to_owned(), in_tests: false });
            rest = after.trim_start();
        }
    }
    tokens
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ScopeKind {
    Function,
    Module,
    /// `impl` or `trait`.
    Type,
    Block,
}

/// What stands between braces.
struct Scope {
    kind: ScopeKind,
    name: String,
    line: usize,
    /// How many round and square brackets are open around it.
    brackets: usize,
}

/// Finds the functions, and marks what is inside a module called `tests`.
fn functions(tokens: &mut [Token], code: &[bool]) -> Vec<Function> {
    let mut functions = Vec::new();
    let mut scopes: Vec<Scope> = Vec::new();
    let mut announced: Option<(Scope, usize)> = None;
    let mut brackets = 0_usize;
    for at in 0..tokens.len() {
        tokens[at].in_tests =
            scopes.iter().any(|scope| scope.kind == ScopeKind::Module && scope.name == "tests");
        let line = tokens[at].line;
        match tokens[at].text.as_str() {
            "(" | "[" => brackets += 1,
            ")" | "]" => brackets = brackets.saturating_sub(1),
            ";" if announced.as_ref().is_some_and(|(scope, _)| scope.brackets == brackets) => {
                announced = None;
            }
            "{" => {
                let ready = announced.take_if(|(scope, _)| scope.brackets == brackets);
                scopes.push(match ready {
                    Some((mut scope, start)) => {
                        if scope.kind == ScopeKind::Type {
                            scope.name = subject(&tokens[start + 1..at]);
                        }
                        scope
                    }
                    None => Scope { kind: ScopeKind::Block, name: String::new(), line, brackets },
                });
                brackets = 0;
            }
            "}" => {
                let Some(scope) = scopes.pop() else { continue };
                brackets = scope.brackets;
                if scope.kind == ScopeKind::Function {
                    functions.push(Function {
                        name: qualified(&scopes, &scope.name),
                        line: scope.line,
                        code_lines: code[scope.line - 1..line].iter().filter(|code| **code).count(),
                    });
                }
            }
            word => {
                let next = tokens.get(at + 1).map_or("", |token| token.text.as_str());
                if let Some(kind) = announcement(word, next, announced.is_some()) {
                    announced = Some((Scope { kind, name: next.to_owned(), line, brackets }, at));
                }
            }
        }
    }
    functions.sort_by_key(|function| function.line);
    functions
}

/// What kind of scope this word starts, if it starts one.
fn announcement(word: &str, next: &str, already: bool) -> Option<ScopeKind> {
    let named = next.starts_with(|first: char| first.is_alphabetic() || first == '_');
    match word {
        "fn" if named => Some(ScopeKind::Function),
        "mod" if named && !already => Some(ScopeKind::Module),
        "trait" if named && !already => Some(ScopeKind::Type),
        // With something announced, it is the `impl` of an argument.
        "impl" if !already => Some(ScopeKind::Type),
        _ => None,
    }
}

fn qualified(scopes: &[Scope], name: &str) -> String {
    let around = scopes.iter().map(|scope| scope.name.as_str()).filter(|name| !name.is_empty());
    around.chain([name]).collect::<Vec<_>>().join("::")
}

/// The type that an `impl` or `trait` header is about: the last plain word before `where`, `:`
/// or the body.
fn subject(header: &[Token]) -> String {
    let (mut name, mut angles) = (String::new(), 0_usize);
    for (at, token) in header.iter().enumerate() {
        let path = at > 0 && header[at - 1].text == ":";
        match token.text.as_str() {
            "<" => angles += 1,
            // The `>` of an arrow closes nothing.
            ">" if at > 0 && header[at - 1].text == "-" => {}
            ">" => angles = angles.saturating_sub(1),
            "where" if angles == 0 => break,
            ":" if angles == 0
                && !path
                && header.get(at + 1).is_none_or(|next| next.text != ":") =>
            {
                break;
            }
            word if angles == 0 && word.starts_with(is_word) => word.clone_into(&mut name),
            _ => {}
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(String, usize)> {
        let source = Source::read("x.rs", text);
        source.functions.into_iter().map(|function| (function.name, function.code_lines)).collect()
    }

    fn comments(text: &str) -> Vec<(usize, String, CommentKind)> {
        let source = Source::read("x.rs", text);
        source
            .comments
            .into_iter()
            .map(|comment| (comment.line, comment.text, comment.kind))
            .collect()
    }

    #[test]
    fn comments_are_told_from_text_in_quotes() {
        let text = "let a = \"// not\"; // yes\nlet b = r#\"/* \"not\" */\"#; /* also\nyes */ let c = '\"'; // end";
        let plain = CommentKind::Plain;
        assert_eq!(
            comments(text),
            vec![
                (1, " yes".to_owned(), plain),
                (2, " also".to_owned(), plain),
                (3, "yes ".trim_end().to_owned(), plain),
                (3, " end".to_owned(), plain),
            ]
        );
    }

    #[test]
    fn the_three_kinds_of_comment_are_told_apart() {
        assert_eq!(
            comments("//! a\n/// b\n// c"),
            vec![
                (1, " a".to_owned(), CommentKind::Module),
                (2, " b".to_owned(), CommentKind::Item),
                (3, " c".to_owned(), CommentKind::Plain),
            ]
        );
    }

    #[test]
    fn a_lifetime_is_not_an_open_quote() {
        assert_eq!(names("fn a<'a>(x: &'a str) -> char { '{' }\nfn b() { b'\\''; }").len(), 2);
    }

    #[test]
    fn code_lines_leave_out_blanks_and_comments_but_not_text() {
        let text = "fn a() {\n\n    // why\n    let x = \"one\n    two\";\n    /* a\n    b */\n}\n";
        assert_eq!(Source::read("x.rs", text).code_lines(), 4);
        assert_eq!(names(text), vec![("a".to_owned(), 4)]);
    }

    #[test]
    fn functions_are_named_after_what_is_around_them() {
        let text = "
            mod inner {
                impl<T: Into<u8>> fmt::Display for other::Mover<T> where T: Copy {
                    fn fmt(&self, f: impl Fn(u8) -> u8) -> [u8; 2] { if x { y } }
                }
                trait Disk: Send { fn sync(&self); fn name(&self) -> u8 { 1 } }
            }
            fn outer(x: fn(u8) -> u8) { fn nested() {} }
        ";
        let found: Vec<String> = names(text).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            found,
            vec!["inner::Mover::fmt", "inner::Disk::name", "outer::nested", "outer"]
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn what_is_in_a_tests_module_is_known() {
        let source = Source::read("x.rs", "fn a() {}\nmod tests { fn b() {} }\nfn c() {}");
        let inside: Vec<&str> = source
            .tokens
            .iter()
            .filter(|token| {
                token.in_tests
                    && token.text.len() == 1
                    && is_word(token.text.chars().next().unwrap())
            })
            .map(|token| token.text.as_str())
            .collect();
        assert_eq!(inside, vec!["b"]);
    }

    #[test]
    fn test_files_are_known_by_their_place() {
        for path in ["crates/wire/tests/bytes.rs", "crates/wire/src/tests.rs", "a/b_test.rs"] {
            assert!(Source::read(path, "").is_test_file(), "{path}");
        }
        assert!(!Source::read("crates/wire/src/latest.rs", "").is_test_file());
    }
}
