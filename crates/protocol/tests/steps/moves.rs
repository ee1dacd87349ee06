//! One move from end to end.

use whimbrel_protocol::{MoveOptions, Standing};

use crate::stage::{A, B, C, Stage};

#[test]
fn a_daemon_moves_with_all_it_has_taken() {
    let mut stage = Stage::born(3);
    let first = stage.deliver(A, "a");
    assert_eq!(stage.delivered(first), [Ok("97".to_owned())]);
    stage.start_move(C, B, MoveOptions::default());
    assert_eq!(stage.ends(C), [Ok(stage.id(B))]);
    assert_eq!(stage.standing(A), Standing::Stranger);
    assert_eq!(stage.standing(B), Standing::Live);
    let second = stage.deliver(B, "b");
    assert_eq!(stage.delivered(second), [Ok("195".to_owned())]);
}
