//! Stories are explored to their ends, the same each time, and an end that is not reached is said.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

use whimbrel_model::{Plan, explore, stories, story};

const PLAN: Plan = Plan { states_max: u64::MAX, rest_every: 1, seed: 1 };

#[test]
fn a_move_keeps_every_promise_in_every_state() {
    let survey = explore(story("slip").unwrap(), PLAN);
    assert_eq!(survey.broken, None);
    assert!(survey.complete);
    assert!(survey.states > 1_000, "{survey:?}");
    assert_eq!(survey.rested, 2 * survey.states, "from each state, with and without its messages");
    let again = explore(story("slip").unwrap(), Plan { seed: 2, ..PLAN });
    assert_eq!(
        (survey.states, survey.steps, survey.depth),
        (again.states, again.steps, again.depth)
    );
}

#[test]
fn a_search_that_is_cut_off_does_not_say_that_it_saw_all() {
    let survey = explore(story("one-move").unwrap(), Plan { states_max: 500, ..PLAN });
    assert!(!survey.complete);
    assert!(survey.states < 1_000);
}

#[test]
fn no_two_stories_share_a_name() {
    let mut names: Vec<&str> = stories().iter().map(|story| story.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
