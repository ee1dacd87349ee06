//! How many bytes a token has, and how long it takes to read and judge one.
//!
//! `cargo run --release -p whimbrel-trust --example size`
#![allow(clippy::print_stdout, reason = "a measurement is for reading")]

use std::time::Instant;

use whimbrel_trust::{Act, Among, PermissionToken, Policy, Scope, TrustRefusal, Verb};
use whimbrel_wire::{Identity, NodeKey};
use zeroize::Zeroizing;

const ROUNDS: u32 = 2_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = NodeKey::from_seed(&[1; 32]);
    let daemon = Identity::from_seed(&[2; 32]).entity_id();
    let mut scope = Scope::everything(2_000_000_000);
    scope.verbs = [Verb::Migrate].into();
    scope.daemons = Among::listed([daemon]);
    let token = PermissionToken::mint(&root, "ops", scope.clone(), &Zeroizing::new([3; 32]))?;
    let narrowed = token.attenuate("ci", scope, &Zeroizing::new([4; 32]))?;
    let (once, twice) = (token.to_bytes(), narrowed.to_bytes());
    println!("minted for one daemon {} bytes, narrowed once {} bytes", once.len(), twice.len());
    let policy = Policy::new(vec![root.public()], Vec::new());
    let (act, begun) = (Act::migrate(daemon, None), Instant::now());
    for _ in 0..ROUNDS {
        let token = PermissionToken::from_bytes(&twice)?;
        policy.believe(&token, 0)?;
        policy.judge(Some(&token), &act, 0)?;
    }
    println!("read, verified and judged in {:?}", begun.elapsed() / ROUNDS);
    let shown = PermissionToken::from_bytes(&twice)?;
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        policy.judge(Some(&shown), &act, 0)?;
    }
    println!("judged, once it was shown, in {:?}", begun.elapsed() / ROUNDS);
    let other = policy.judge(Some(&shown), &Act::admin(None), 0);
    assert!(matches!(other, Err(TrustRefusal::NotCovered { .. })));
    Ok(())
}
