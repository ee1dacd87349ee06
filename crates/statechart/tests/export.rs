//! Shows that SCXML holds random definitions whole.

#![allow(dead_code, reason = "the maker of definitions is shared with the proof of the gate")]

#[path = "soundness/dice.rs"]
mod dice;
#[path = "soundness/make.rs"]
mod make;

use std::collections::BTreeMap;

use whimbrel_statechart::evolution::{Gate, Settings, Verdict};
use whimbrel_statechart::scxml::{Ours, Surroundings, export, import};

#[test]
fn what_goes_out_and_comes_back_is_identical_to_the_gate() {
    let library = BTreeMap::new();
    let around = Surroundings { language: &Ours, load: &|_| None, library: &library };
    for seed in 0..2_000 {
        let definition = make::definition(&mut dice::Dice::new(seed)).with_ids();
        let document = export(&definition).expect("a definition that was made");
        let again = import(&document, &around).expect("a document that was written");
        assert_eq!(again, definition, "seed {seed}");
        if seed % 20 == 0 {
            let gate = Gate::new(definition, again).expect("both are legal");
            assert_eq!(gate.judge_any(&Settings::default()).verdict, Verdict::Identical);
        }
    }
}
