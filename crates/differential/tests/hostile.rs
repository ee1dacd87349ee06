//! Changed states and modules: refused, or run to the same end by both tiers.

use whimbrel_differential::attack;

#[test]
fn a_state_that_somebody_changed_is_refused_or_means_the_same_to_both_tiers() {
    let other = std::thread::spawn(|| attack(0..60));
    let mut attacks = attack(60..120);
    attacks.add(other.join().expect("the other half is attacked"));
    assert_eq!(attacks.differences, Vec::new());
    assert!(attacks.states > 50 && attacks.taken > 3, "{attacks:?}");
    assert!(attacks.compared > 0 && attacks.modules_taken > 0, "{attacks:?}");
}
