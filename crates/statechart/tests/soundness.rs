//! Shows that the gate is right about random definitions, and that it would be seen if it were not.

#[path = "soundness/dice.rs"]
mod dice;
#[path = "soundness/edit.rs"]
mod edit;
#[path = "soundness/make.rs"]
mod make;
#[path = "soundness/mod.rs"]
mod soundness;

use whimbrel_statechart::evolution::{Rule, Verdict};

/// Seeds here, of which some give no pair because a chart runs in a circle; the night has more.
const SEEDS: u64 = 22_000;

/// Rules without which the run must find the gate to be unsound.
const NEEDED: [Rule; 14] = [
    Rule::A1,
    Rule::B1,
    Rule::B2,
    Rule::B3,
    Rule::B4,
    Rule::F2,
    Rule::F6,
    Rule::G3,
    Rule::H1,
    Rule::H2,
    Rule::H3,
    Rule::H4,
    Rule::H8,
    Rule::F8,
];

#[test]
fn what_passes_is_never_misread_and_a_gate_that_lacks_a_rule_is_found_out() {
    // Two cores do it in half the time.
    let (mut tally, rest) = std::thread::scope(|scope| {
        let first = scope.spawn(|| soundness::run(0..SEEDS / 2));
        let rest = soundness::run(SEEDS / 2..SEEDS);
        (first.join().expect("the first half runs to its end"), rest)
    });
    tally.add(rest);
    println!("{tally}");
    assert!(tally.cases >= 20_000, "{tally}");
    assert!(tally.unsound.is_empty(), "{tally}");
    for verdict in Verdict::ALL {
        let share = tally.verdicts.get(&verdict).copied().unwrap_or_default() * 100 / tally.cases;
        assert!(share >= 10, "{verdict} is too rare:\n{tally}");
    }
    let falsely = tally.refused_falsely.len() as u64 * 100;
    assert!(falsely <= 2 * tally.refusals(), "{tally}");
    for rule in NEEDED {
        assert!(tally.blind.contains_key(&rule), "a gate without {rule} would pass:\n{tally}");
    }
}
