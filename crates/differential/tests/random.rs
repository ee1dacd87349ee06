//! A part of what `cargo xtask check` and `cargo xtask soak` do: random programs, moved at random.

use whimbrel_differential::{Fault, compare};

/// How many seeds are tried.
const SEEDS: u64 = 300;

/// Seeds whose programs once came out differently, and why.
const FOUND: [(u64, &str); 8] = [
    (10, "an exported import was suspended, with no frame to go on with"),
    (18, "the same"),
    (20, "the interpreter left a reference in a frame where compiled code leaves none"),
    (27, "the engine as it is had no memory for a host that no program called"),
    (140, "the same"),
    (192, "the same"),
    (1571, "a reference lay below another result of a call, and compiled code had no room for it"),
    (7053, "what ref.func leaves on the stack was taken for a number where compiled code goes on"),
];

#[test]
fn random_programs_come_out_as_on_the_engine_as_it_is() {
    let half = SEEDS / 2;
    let other = std::thread::spawn(move || compare(0..half, None));
    let mut sum = compare(half..SEEDS, None);
    sum.add(other.join().expect("the other half is compared"));
    assert_eq!(sum.differences, Vec::new());
    assert!(sum.compared >= 200, "{sum:?}");
    assert!(sum.moved * 4 > sum.compared, "{sum:?}");
}

#[test]
fn what_once_came_out_differently_comes_out_the_same() {
    for (seed, why) in FOUND {
        assert_eq!(compare(seed..seed + 1, None).differences, Vec::new(), "{why}");
    }
}

#[test]
fn what_is_lost_of_a_state_is_found() {
    for fault in [Fault::LostLocal, Fault::LostOperand, Fault::LostGlobal] {
        let mut pieces = (0..20).map(|piece| compare(piece * 20..piece * 20 + 20, Some(fault)));
        assert!(pieces.any(|sum| !sum.differences.is_empty()), "{fault:?}");
    }
}
