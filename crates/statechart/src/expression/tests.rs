//! Shows what expressions are worth, and that nothing makes them panic.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

struct Plain(BTreeMap<&'static str, Value>);

impl Names for Plain {
    fn variable(&self, name: &str) -> Option<u32> {
        self.0.keys().position(|known| *known == name).map(|place| place as u32)
    }
}

impl Scope for Plain {
    fn variable(&self, place: u32) -> Option<&Value> {
        self.0.values().nth(place as usize)
    }

    fn system(&self, which: System) -> Value {
        Value::text(format!("{which:?}"))
    }

    fn event(&self, field: EventField) -> Value {
        if field == EventField::Data { Value::Int(9) } else { Value::Null }
    }

    fn is_in(&self, state: &str) -> bool {
        state == "here"
    }

    fn host(&self, name: &str, _arguments: &[Value]) -> Result<Value, Fault> {
        Err(Fault::new(format!("no host function {name}")))
    }
}

fn scope() -> Plain {
    Plain(BTreeMap::from([("x", Value::Int(3)), ("name", Value::text("Ada"))]))
}

fn worth(source: &str) -> String {
    let scope = scope();
    match Expression::parse(source, &scope) {
        Err(error) => format!("syntax: {}", error.what),
        Ok(expression) => match expression.evaluate(&scope) {
            Ok(value) => serde_json::to_string(&value).unwrap(),
            Err(fault) => format!("fault: {fault}"),
        },
    }
}

#[test]
fn an_expression_is_worth_what_a_reader_expects() {
    for (source, expected) in [
        ("1 + 2 * 3 - 4", "3"),
        ("(1 + 2) * 3", "9"),
        ("-x + 10 % 4", "-1"),
        ("7 / 2", "3.5"),
        ("8 / 2", "4"),
        ("1.5e1", "15.0"),
        ("x == 3 && name != 'Bob'", "true"),
        ("x > 3 || x >= 3", "true"),
        ("x < 2 ? 'few' : 'many'", "\"many\""),
        ("'a' + \"b\\n\"", "\"ab\\n\""),
        ("[1, 2] + [x]", "[1,2,3]"),
        ("{b: 1, 'a b': [x]}['a b'][0]", "3"),
        ("{b: {c: 4}}.b.c", "4"),
        ("2 in [1, 2.0]", "true"),
        ("'b' in {b: 1}", "true"),
        ("In('here') && !In('there')", "true"),
        ("defined(x) && !defined(y) && !defined(null) && !defined(1 / 0)", "true"),
        ("_event.data + 1", "10"),
        ("len(name) + len([1]) + len({})", "4"),
        ("text(x) + number('4')", "fault: text and an int cannot be reckoned with"),
        ("max(1, x, 2.5) - min(4, x)", "0"),
        ("floor(2.7) + abs(-2)", "4"),
        ("keys(merge({a: 1}, {b: 2}))", "[\"a\",\"b\"]"),
        ("slice(name, 1, 9) + slice('abc', -1, 1)", "\"daa\""),
        ("starts(name, 'A') && has({a: 1}, 'a') && contains(name, 'd')", "true"),
    ] {
        assert_eq!(worth(source), expected, "{source}");
    }
}

#[test]
fn what_has_no_value_is_a_fault_and_no_panic() {
    for source in [
        "9223372036854775807 + 1",
        "-9223372036854775807 - 2",
        "(-9223372036854775807 - 1) / -1",
        "1 % 0",
        "1 / 0",
        "1e308 * 10",
        "x.y",
        "[1][1]",
        "[1][-1]",
        "!x",
        "x && true",
        "y",
        "'a' < 1",
        "host(1)",
        "-name",
    ] {
        assert!(worth(source).starts_with("fault: "), "{source}: {}", worth(source));
    }
}

#[test]
fn what_is_no_expression_says_where() {
    for source in ["", "1 +", "return 1", "a b", "'open", "1 === 1", "{a: 1, a: 2}", "len()", "x;"]
    {
        assert!(worth(source).starts_with("syntax: "), "{source}: {}", worth(source));
    }
    let deep = format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(worth(&deep).starts_with("syntax: "));
    let long = "1 + ".repeat(10_000) + "1";
    assert!(worth(&long).starts_with("syntax: "));
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(source in "[-+*/%!=<>&|?:()\\[\\]{},.'\"0-9a-z_ In]{0,60}") {
        let _ = worth(&source);
    }

    #[test]
    fn any_unicode_is_read_without_a_panic(source in "\\PC{0,40}") {
        let _ = worth(&source);
    }
}
