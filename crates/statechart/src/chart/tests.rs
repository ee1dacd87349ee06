//! Shows what is no legal chart, and what a descriptor fits.

use super::*;

fn refusal(text: &str) -> String {
    Chart::new(serde_json::from_str(text).unwrap()).unwrap_err().to_string()
}

#[test]
fn what_is_not_legal_is_refused() {
    for (text, expected) in [
        (r#"{"id":"c","states":[]}"#, "the chart c has no state"),
        (r#"{"id":"c","format":9,"states":[{"id":"a"}]}"#, "the format 9 is not read here"),
        (r#"{"id":"c","states":[{"id":"a"},{"id":"a"}]}"#, "the id a stands there twice"),
        (
            r#"{"id":"c","states":[{"id":"a","transitions":[{"id":"t","to":["b"]}]}]}"#,
            "t leads to b, which does not exist",
        ),
        (
            r#"{"id":"c","states":[{"id":"a","initial":["b"],"states":[{"id":"x"}]},{"id":"b"}]}"#,
            "a begins at b, which is not in it",
        ),
        (
            r#"{"id":"c","initial":["a","b"],"states":[{"id":"a"},{"id":"b"}]}"#,
            "a and b, where c leads, cannot be active together",
        ),
        (
            r#"{"id":"c","states":[{"id":"a","kind":"final","states":[{"id":"b"}]}]}"#,
            "a: a final state has no states, transitions or invocations",
        ),
        (
            r#"{"id":"c","states":[{"id":"a","transitions":[{"id":"t","when":"1 +"}]}]}"#,
            "t: something is missing at byte 3 of `1 +`",
        ),
        (
            r#"{"id":"c","states":[{"id":"a","on_entry":[[{"assign":{"to":"x","value":{"literal":1}}}]]}]}"#,
            "a: there is no variable x at byte 0 of `x`",
        ),
    ] {
        assert_eq!(refusal(text), expected, "{text}");
    }
}

#[test]
fn a_descriptor_fits_whole_words() {
    for (descriptor, name, expected) in [
        ("a", "a", true),
        ("a", "a.b", true),
        ("a.*", "a.b", true),
        ("a.", "a", true),
        ("a", "ab", false),
        ("a.b", "a", false),
        ("*", "whatever", true),
    ] {
        assert_eq!(Descriptor::of(descriptor).fits(name), expected, "{descriptor} {name}");
    }
}
