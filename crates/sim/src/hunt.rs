//! Decides how a deliberate bug is looked for: directed stories first, then seeds, until a checker
//! objects.
//!
//! What is found counts only if the same story or seed breaks nothing without the bug. A panic is no
//! finding: the search goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};

use whimbrel_mutants::{Mutant, Part, choose};
use whimbrel_sim::{directed, run_seed};

/// What a run that panicked says was broken.
const PANIC: &str = "no-panic";

/// Lists the bugs: name, part, rule and what goes wrong, with tabs between.
pub(crate) fn list() {
    for mutant in Mutant::ALL {
        let part = match mutant.part() {
            Part::Protocol => "protocol",
            Part::Disk => "disk",
        };
        println!("{}\t{part}\t{}\t{}", mutant.name(), mutant.rule(), mutant.about());
    }
}

/// Looks for the bug of this name. True if it was found; the last line says by what.
pub(crate) fn hunt(name: &str, seeds: u64) -> bool {
    let Some(mutant) = Mutant::named(name) else {
        println!("there is no bug {name}; --mutants lists them");
        return false;
    };
    if !choose(Some(mutant)) {
        println!("this build has no bugs; build it with the feature mutants");
        return false;
    }
    let mut panics = 0;
    for (story, tell) in directed::STORIES {
        let _ = choose(Some(mutant));
        let Ok(told) = catch_unwind(AssertUnwindSafe(tell)) else {
            panics += 1;
            continue;
        };
        if let Err(failure) = told {
            if failure.violation.promise == PANIC {
                panics += 1;
                continue;
            }
            let clean = without(|| tell().is_ok());
            println!("found by story {story}: {failure}");
            return clean;
        }
    }
    for seed in 0..seeds {
        let _ = choose(Some(mutant));
        let ran = run_seed(seed, false);
        if let Some(violation) = ran.violation {
            if violation.promise == PANIC {
                panics += 1;
                continue;
            }
            let clean = without(|| run_seed(seed, false).violation.is_none());
            println!("found by seed {seed} after {} steps: {violation}", ran.tally.steps);
            return clean;
        }
    }
    println!("not found by the directed stories and {seeds} seeds, {panics} of which panicked");
    false
}

/// Whether the same is clean when no bug is on.
fn without(is_clean: impl FnOnce() -> bool) -> bool {
    let clean = choose(None) && is_clean();
    if !clean {
        println!("the same fails without the bug");
    }
    clean
}
