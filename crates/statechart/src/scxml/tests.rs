//! Shows that documents run, and which are refused.

use std::sync::Arc;

use whimbrel_wire::Time;

use super::*;
use crate::{Chart, Event, Instance, Limits, Value};

fn read(text: &str) -> Result<crate::Definition, ImportError> {
    let around = Surroundings { language: &Ours, load: &|_| None, library: &BTreeMap::new() };
    import(text, &around)
}

const DOOR: &str = r#"<scxml xmlns="http://www.w3.org/2005/07/scxml" name="door" initial="shut">
  <datamodel><data id="count" expr="0"/></datamodel>
  <state id="shut">
    <transition event="open" target="open">
      <assign location="count" expr="count + 1"/>
    </transition>
  </state>
  <state id="open">
    <onentry><send id="slam" event="shut" delay="30s"/></onentry>
    <onexit><cancel sendid="slam"/></onexit>
    <transition event="shut" target="shut"/>
  </state>
</scxml>"#;

#[test]
fn a_document_runs_by_no_clock_but_the_callers() {
    let chart = Arc::new(Chart::new(read(DOOR).unwrap()).unwrap());
    let mut door = Instance::new(chart, "door", Limits::default());
    let at = |seconds: u64| Time::from_nanos(seconds * 1_000_000_000);
    door.settle(at(1)).unwrap();
    assert_eq!(door.leaves().collect::<Vec<_>>(), ["shut"]);
    door.step(Event::new("open", Value::Null), at(2)).unwrap();
    assert_eq!(door.leaves().collect::<Vec<_>>(), ["open"]);
    assert_eq!(door.datum("count"), Some(&Value::Int(1)));
    assert_eq!(door.next_due(), Some(at(32)));
    door.settle(at(31)).unwrap();
    assert!(door.is_in("open"));
    door.settle(at(32)).unwrap();
    assert!(door.is_in("shut"));
    assert_eq!(door.next_due(), None);
}

#[test]
fn a_document_that_is_none_is_refused_with_the_line() {
    assert!(matches!(read("<scxml"), Err(ImportError::Xml(_))));
    assert!(matches!(read("<html/>"), Err(ImportError::Document { line: 1, .. })));
    let odd = DOOR.replace("<onexit>", "<onfire/><onexit>");
    assert_eq!(
        read(&odd),
        Err(ImportError::Document { line: 10, what: "onfire is no state".to_owned() })
    );
    let deep = format!("{}{}", "<state>".repeat(200), "</state>".repeat(200));
    assert_eq!(read(&format!("<scxml>{deep}</scxml>")), Err(ImportError::TooDeep));
}

#[test]
fn a_script_is_assignments() {
    let actions = Ours.script("x = 1; y += 2\n// nothing\nvar z = x");
    let text = serde_json::to_string(&actions).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"[{"assign":{"to":"x","value":{"expression":"1"}}},"#,
            r#"{"assign":{"to":"y","value":{"expression":"y + (2)"}}},"#,
            r#"{"assign":{"to":"z","value":{"expression":"x"}}}]"#
        )
    );
    assert!(matches!(&Ours.script("call()")[..], [Action::Fail(_)]));
}
