//! Detectors on a simulated network: seeds decide what is lost, late, cut, crashed and struck off.

mod network;

use std::collections::BTreeSet;
use std::time::Duration;

use whimbrel_members::Seems;

use crate::network::{Network, SECOND};

/// Time in which everybody must have noticed whatever happened: a round of probes of all the others (one a second,
/// each twice as long under loss), the time of a suspect, news, and what it takes to find back.
const SETTLED: Duration = Duration::from_secs(60);

#[test]
fn all_find_each_other_and_hear_what_each_says_of_itself() {
    for seed in 0..8 {
        let mut network = Network::new(seed, 6);
        network.run_for(10 * SECOND);
        network.expect_truth("after the start");
        for node in 0..6 {
            for other in (0..6).filter(|&other| other != node) {
                let view = network.view(node, other).unwrap();
                let daemons = view.report.map(|report| report.load.daemons);
                assert_eq!(daemons, Some(other as u64), "seed {seed}: {node} of {other}");
            }
        }
    }
}

#[test]
fn who_crashes_seems_down_to_all_and_alive_again_after_the_next_start() {
    for seed in 0..8 {
        let mut network = Network::new(seed, 5);
        network.run_for(10 * SECOND);
        network.crash(2);
        network.run_for(SETTLED);
        network.expect_truth("after a crash");
        network.start(2);
        network.run_for(SETTLED);
        network.expect_truth("after a start");
    }
}

#[test]
fn who_stops_says_so() {
    let mut network = Network::new(1, 5);
    network.run_for(10 * SECOND);
    network.stop(4);
    // Far less than a probe and a suspicion would take.
    network.run_for(3 * SECOND);
    network.expect_truth("after a stop");
}

#[test]
fn a_partition_looks_down_from_either_side_and_heals() {
    for seed in 0..8 {
        let mut network = Network::new(seed, 6);
        network.run_for(10 * SECOND);
        network.cut(&[0, 1]);
        network.run_for(SETTLED);
        for node in 0..6 {
            for other in (0..6).filter(|&other| other != node) {
                let same_side = (node < 2) == (other < 2);
                let expected = if same_side { Seems::Alive } else { Seems::Down };
                let seems = network.view(node, other).unwrap().seems;
                assert_eq!(seems, expected, "seed {seed}: {node} of {other}");
            }
        }
        network.heal();
        network.run_for(SETTLED);
        network.expect_truth("after the partition");
    }
}

#[test]
fn one_broken_path_is_bridged_by_the_others() {
    for seed in 0..8 {
        let mut network = Network::new(seed, 4);
        network.run_for(10 * SECOND);
        network.break_path(0, 1);
        network.run_for(SETTLED);
        network.expect_truth("with one path broken");
    }
}

#[test]
fn losses_make_nobody_seem_down() {
    for seed in 0..8 {
        let mut network = Network::new(seed, 6);
        network.loss_percent = 5;
        network.run_for(60 * SECOND);
        assert_eq!(network.downs, 0, "seed {seed}");
        network.loss_percent = 0;
        network.run_for(SETTLED);
        network.expect_truth("after losses");
    }
}

#[test]
fn members_only() {
    for seed in 0..8 {
        let mut network = Network::new(seed, 5);
        network.run_for(10 * SECOND);
        // Node 4 is struck off by 0 alone: 0 neither hears of it nor talks to it, whatever the others tell.
        network.strike_off(0, 4);
        let packets = network.packets(0, 4);
        network.run_for(SETTLED);
        assert_eq!(network.packets(0, 4), packets, "seed {seed}");
        assert!(network.view(0, 4).is_none());
        network.strike_off_everywhere(4);
        network.run_for(SETTLED);
        let rest: BTreeSet<usize> = (0..4).collect();
        network.expect_truth_among(&rest, "after one was struck off");
    }
}

#[test]
fn own_news() {
    let mut network = Network::new(3, 3);
    network.run_for(10 * SECOND);
    network.crash(2);
    // Node 1 sends on what node 2 said, again and again, as if it were node 2.
    network.impersonate(1, 2);
    network.run_for(SETTLED);
    network.expect_truth("under a false name");
}

/// A network to which happened what the seed chose, and to which nothing happens any more.
fn shaken(seed: u64, count: usize) -> Network {
    let mut network = Network::new(seed, count);
    network.loss_percent = network.dice(20);
    for _ in 0..network.dice(12) {
        network.happening();
        let pause = network.dice(20_000);
        network.run_for(Duration::from_millis(pause));
    }
    network.loss_percent = 0;
    network.heal();
    network
}

/// A run that all took for down begins anew, and meanwhile all others go: it finds out by itself.
#[test]
fn who_began_anew_notices_that_nobody_is_left() {
    let mut network = shaken(55, 3);
    network.run_for(SETTLED);
    network.expect_truth("at the end");
}

#[test]
fn whatever_happens_all_agree_on_the_truth_afterwards() {
    for seed in 0..60 {
        let mut network = shaken(seed, 3 + (seed % 5) as usize);
        network.run_for(SETTLED + SETTLED);
        network.expect_truth("at the end");
    }
}

#[test]
fn hostile_bytes_are_no_news() {
    let mut network = Network::new(5, 3);
    network.run_for(10 * SECOND);
    network.scramble = true;
    network.run_for(120 * SECOND);
    network.scramble = false;
    network.run_for(SETTLED + SETTLED);
    network.expect_truth("after scrambled packets");
}
