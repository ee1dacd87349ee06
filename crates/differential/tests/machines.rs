//! States of compiled code, gone on from on every tier of this machine. On another processor:
//! `whimbrel-differential write`, and `go-on` there.

use whimbrel_differential::machines::{go_on, write};

#[test]
fn a_state_of_compiled_code_comes_to_the_same_end_on_every_tier() {
    let folder = std::env::temp_dir().join(format!("whimbrel-states-{}", std::process::id()));
    let written = write(&folder, 0..80).expect("states are written");
    let gone = go_on(&folder).expect("states are gone on from");
    std::fs::remove_dir_all(&folder).expect("the folder was made");
    assert!(written > 5, "{written}");
    assert_eq!(gone.tiers.len(), 3, "{gone:?}");
    assert_eq!(gone.differences, Vec::<String>::new());
}
