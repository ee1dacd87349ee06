//! The promises under stories, scenarios and a few seeds. `cargo xtask sim` has more.

use std::path::Path;

use whimbrel_sim::{directed, run_seed, scenario};

#[test]
fn every_story_keeps_the_promises() {
    for (name, tell) in directed::STORIES {
        let told = tell();
        assert!(told.is_ok(), "{name}: {}", told.unwrap_err());
        assert!(told.unwrap() > 0, "{name} was never told");
    }
}

#[test]
fn every_scenario_goes_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let report = scenario::run_all(&folder, false).unwrap();
    assert!(report.lines().count() >= 7, "{report}");
}

#[test]
fn seeds_keep_the_promises() {
    for seed in 0..60 {
        let ran = run_seed(seed, false);
        assert_eq!(ran.violation, None, "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in [3, 26, 439, 1398] {
        let (one, other) = (run_seed(seed, true), run_seed(seed, true));
        assert!(!one.trace.is_empty());
        assert_eq!(one.trace, other.trace, "seed {seed}");
        assert_eq!(one.digest, other.digest, "seed {seed}");
    }
    assert_ne!(run_seed(1, false).digest, run_seed(2, false).digest);
}

#[test]
fn deliveries_go_the_short_way_too() {
    let at_once: u64 = (0..40).map(|seed| run_seed(seed, false).tally.at_once).sum();
    assert!(at_once > 20, "{at_once} of 40 seeds");
}

#[test]
fn the_seeds_of_a_night_do_something() {
    let tally = run_seed(14, false).tally;
    assert!(tally.events > 0 && tally.acknowledged > 0 && tally.steps > 0, "{tally:?}");
}
