//! What a token is worth to who made it, who was given it, who narrowed it, and who tampers with it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use proptest::prelude::*;
use whimbrel_trust::limits::{BLOCKS_MAX, LISTED_MAX, TOKEN_BYTES_MAX};
use whimbrel_trust::{
    Act, Among, ChannelPattern, MintError, PermissionToken, Policy, Scope, TrustRefusal, Verb,
};
use whimbrel_wire::{ChannelName, EntityId, Identity, NodeId, NodeKey};
use zeroize::Zeroizing;

const NOW: u64 = 1_000;
const LATER: u64 = 2_000;

fn seed(number: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([number; 32])
}

fn root() -> NodeKey {
    NodeKey::from_seed(&[200; 32])
}

fn policy() -> Policy {
    Policy::new(vec![root().public()], Vec::new())
}

fn daemon(number: u8) -> EntityId {
    Identity::from_seed(&[number; 32]).entity_id()
}

fn everything() -> PermissionToken {
    PermissionToken::mint(&root(), "ops", Scope::everything(LATER), &seed(1)).unwrap()
}

fn only(verbs: &[Verb]) -> Scope {
    Scope { verbs: verbs.iter().copied().collect(), ..Scope::everything(LATER) }
}

/// Shows a token as a stranger would: as bytes.
fn shown(token: &PermissionToken, act: &Act, now: u64) -> Result<String, TrustRefusal> {
    let policy = policy();
    let token = PermissionToken::from_bytes(&token.to_bytes())?;
    policy.believe(&token, now)?;
    policy.judge(Some(&token), act, now).map(|holder| holder.name)
}

#[test]
fn a_root_allows_and_each_holder_narrows_without_asking() {
    let token = everything();
    assert_eq!(shown(&token, &Act::admin(None), NOW), Ok("ops".to_owned()));
    let narrow = Scope { daemons: Among::listed([daemon(1)]), ..only(&[Verb::Deliver]) };
    let given = token.attenuate("ci", narrow, &seed(2)).unwrap();
    assert_eq!(shown(&given, &Act::deliver(daemon(1)), NOW), Ok("ops>ci".to_owned()));
    for beyond in [Act::deliver(daemon(2)), Act::admin(None), Act::migrate(daemon(1), None)] {
        let act = beyond.to_string();
        assert_eq!(shown(&given, &beyond, NOW), Err(TrustRefusal::NotCovered { act }));
    }
    let text = given.to_text();
    assert_eq!(PermissionToken::from_text(&format!(" {}\n", &*text)).unwrap(), given);
}

#[test]
fn narrowing_is_all_that_whoever_was_given_a_token_can_do_to_it() {
    let narrow = everything().attenuate("ci", only(&[Verb::Deliver]), &seed(2)).unwrap();
    assert_eq!(
        narrow.attenuate("ci", Scope::everything(LATER), &seed(3)).unwrap_err(),
        MintError::Wider
    );
    let later = Scope { until: LATER + 1, ..only(&[Verb::Deliver]) };
    assert_eq!(narrow.attenuate("ci", later, &seed(3)).unwrap_err(), MintError::Wider);
}

/// Takes a token apart as postcard has it, so that a test can be as dishonest as it likes.
mod forger {
    use serde::{Deserialize, Serialize};
    use whimbrel_trust::Scope;
    use whimbrel_wire::{
        Digest, DigestWriter, NodeKey, PublicKey, Purpose, Signature, decode, encode,
    };

    #[derive(Clone, Serialize, Deserialize)]
    pub(super) struct Block {
        pub(super) holder: String,
        pub(super) scope: Scope,
        pub(super) next: PublicKey,
    }

    #[derive(Clone, Serialize, Deserialize)]
    pub(super) struct SignedBlock {
        pub(super) block: Block,
        pub(super) signature: Signature,
    }

    #[derive(Clone, Serialize, Deserialize)]
    pub(super) enum Proof {
        Open([u8; 32]),
        Sealed(Signature),
    }

    pub(super) type Parts = (Vec<SignedBlock>, Proof);

    pub(super) fn apart(bytes: &[u8]) -> Parts {
        decode(&bytes[1..]).unwrap()
    }

    pub(super) fn together(parts: &Parts) -> Vec<u8> {
        [vec![1], encode(parts)].concat()
    }

    pub(super) fn digest(before: &Digest, block: &Block) -> Digest {
        let mut writer = DigestWriter::new(Purpose::Token);
        writer.write(b"block").write(before.as_bytes()).write(&encode(block));
        writer.finish()
    }

    /// A block after the last one, whatever it allows.
    pub(super) fn append(parts: &mut Parts, signer: &NodeKey, scope: Scope, seed: [u8; 32]) {
        let mut before = Digest::ZERO;
        for it in &parts.0 {
            before = digest(&before, &it.block);
        }
        let next = NodeKey::from_seed(&seed).public();
        let block = Block { holder: "forger".to_owned(), scope, next };
        let signature = signer.sign(digest(&before, &block).as_bytes());
        parts.0.push(SignedBlock { block, signature });
        parts.1 = Proof::Open(seed);
    }
}

fn read(parts: &forger::Parts) -> Result<(), TrustRefusal> {
    let token = PermissionToken::from_bytes(&forger::together(parts))?;
    policy().believe(&token, NOW).map(drop)
}

#[test]
fn a_block_that_allows_more_than_the_one_before_it_is_refused_though_it_is_signed() {
    let narrow = everything().attenuate("ci", only(&[Verb::Deliver]), &seed(2)).unwrap();
    let mut parts = forger::apart(&narrow.to_bytes());
    forger::append(&mut parts, &NodeKey::from_seed(&[2; 32]), Scope::everything(LATER), [3; 32]);
    assert_eq!(read(&parts), Err(TrustRefusal::Widened { block: 2 }));
}

#[test]
fn blocks_that_are_taken_off_swapped_or_signed_by_others_are_refused() {
    let once = everything().attenuate("a", only(&[Verb::Deliver, Verb::Admin]), &seed(2)).unwrap();
    let twice = once.attenuate("b", only(&[Verb::Deliver]), &seed(3)).unwrap();
    let whole = forger::apart(&twice.to_bytes());
    assert_eq!(read(&whole), Ok(()));

    let mut shorter = whole.clone();
    shorter.0.pop();
    assert_eq!(read(&shorter), Err(TrustRefusal::NotWhole));

    let mut swapped = whole.clone();
    swapped.0.swap(1, 2);
    assert_eq!(read(&swapped), Err(TrustRefusal::Forged { block: 1 }));

    let mut left_out = whole.clone();
    left_out.0.remove(1);
    assert_eq!(read(&left_out), Err(TrustRefusal::Forged { block: 1 }));

    let mut changed = whole.clone();
    changed.0[0].block.scope.until += 1;
    assert_eq!(read(&changed), Err(TrustRefusal::UnknownRoot));

    let mut own_root = (Vec::new(), forger::Proof::Open([9; 32]));
    let liar = NodeKey::from_seed(&[66; 32]);
    forger::append(&mut own_root, &liar, Scope::everything(LATER), [9; 32]);
    assert_eq!(read(&own_root), Err(TrustRefusal::UnknownRoot));

    let mut grafted = whole;
    forger::append(&mut grafted, &liar, only(&[Verb::Deliver]), [9; 32]);
    assert_eq!(read(&grafted), Err(TrustRefusal::Forged { block: 3 }));
}

#[test]
fn a_sealed_token_is_as_good_and_cannot_be_narrowed_or_opened() {
    let token = everything();
    let sealed = token.sealed();
    assert_eq!(shown(&sealed, &Act::admin(None), NOW), Ok("ops".to_owned()));
    assert!(sealed.is_sealed() && sealed.sealed() == sealed);
    let narrowed = sealed.attenuate("ci", only(&[Verb::Deliver]), &seed(2));
    assert_eq!(narrowed.unwrap_err(), MintError::Sealed);
    // The seal of one token on the blocks of another.
    let other = PermissionToken::mint(&root(), "x", Scope::everything(LATER), &seed(7)).unwrap();
    let mut parts = forger::apart(&other.to_bytes());
    parts.1 = forger::apart(&sealed.to_bytes()).1;
    assert_eq!(read(&parts), Err(TrustRefusal::NotWhole));
}

#[test]
fn time_ends_a_token_and_so_does_revoking_any_of_its_blocks() {
    let token = everything();
    let given = token.attenuate("ci", only(&[Verb::Deliver]), &seed(2)).unwrap();
    let act = Act::deliver(daemon(1));
    assert!(shown(&given, &act, LATER).is_ok());
    assert_eq!(shown(&given, &act, LATER + 1), Err(TrustRefusal::Expired { until: LATER }));
    let (ids, mut policy) = (given.ids(), policy());
    assert_eq!(ids[0], token.ids()[0]);
    assert!(policy.revoke(ids[1]));
    assert_eq!(policy.judge(Some(&given), &act, NOW), Err(TrustRefusal::Revoked { block: 1 }));
    assert!(policy.judge(Some(&token), &act, NOW).is_ok(), "what it was made from is good");
    assert!(policy.revoke(ids[0]));
    assert_eq!(policy.judge(Some(&token), &act, NOW), Err(TrustRefusal::Revoked { block: 0 }));
    assert_eq!(policy.believe(&given, NOW), Err(TrustRefusal::Revoked { block: 0 }));
}

#[test]
fn closed_is_the_default_once_there_is_a_root() {
    let open = Policy::default();
    let closed = Policy::new(vec![root().public()], vec![ChannelPattern::new("public/*").unwrap()]);
    let channel = |name: &str| ChannelName::new(name).unwrap();
    let acts = [
        Act::observe(None),
        Act::deliver(daemon(1)),
        Act::publish(daemon(1), channel("orders")),
        Act::subscribe(daemon(1), channel("orders")),
        Act::migrate(daemon(1), Some(NodeId::new(7))),
        Act::admin(None),
    ];
    for act in acts {
        assert!(open.judge(None, &act, NOW).is_ok(), "{act}");
        assert_eq!(closed.judge(None, &act, NOW), Err(TrustRefusal::NoToken), "{act}");
    }
    for act in [
        Act::publish(daemon(1), channel("public/news")),
        Act::subscribe(daemon(1), channel("public/news")),
    ] {
        assert!(closed.judge(None, &act, NOW).is_ok(), "{act}");
    }
}

#[test]
fn what_is_not_named_is_not_covered() {
    let channel = |name: &str| ChannelName::new(name).unwrap();
    let scope = Scope {
        daemons: Among::listed([daemon(1)]),
        channels: Among::listed([ChannelPattern::new("orders/*").unwrap()]),
        nodes: Among::listed([NodeId::new(7)]),
        ..Scope::everything(LATER)
    };
    assert!(scope.covers(&Act::publish(daemon(1), channel("orders/eu"))));
    assert!(!scope.covers(&Act::publish(daemon(1), channel("order"))));
    assert!(scope.covers(&Act::migrate(daemon(1), Some(NodeId::new(7)))));
    assert!(!scope.covers(&Act::migrate(daemon(1), Some(NodeId::new(8)))));
    assert!(!scope.covers(&Act::admin(None)), "what concerns all daemons");
    assert!(!scope.covers(&Act::observe(None)));
    for bad in ["", "*a", "a*b*", "a\n"] {
        assert_eq!(ChannelPattern::new(bad), None, "{bad:?}");
    }
}

#[test]
fn tokens_have_bounds() {
    let mut token = everything();
    for number in 1..BLOCKS_MAX {
        token = token.attenuate("x", Scope::everything(LATER), &seed(number as u8)).unwrap();
    }
    let more = token.attenuate("x", Scope::everything(LATER), &seed(99));
    assert_eq!(more.unwrap_err(), MintError::TooManyBlocks);
    assert!(token.to_bytes().len() < TOKEN_BYTES_MAX);
    let many = (0..=LISTED_MAX as u8).map(daemon);
    let scope = Scope { daemons: Among::listed(many), ..Scope::everything(LATER) };
    let minted = PermissionToken::mint(&root(), "x", scope, &seed(1));
    assert_eq!(minted.unwrap_err(), MintError::Unbounded);
    for holder in ["", "a>b", "a\n", &"x".repeat(65)] {
        let minted = PermissionToken::mint(&root(), holder, Scope::everything(LATER), &seed(1));
        assert_eq!(minted.unwrap_err(), MintError::Unbounded, "{holder:?}");
    }
    let long = vec![1; TOKEN_BYTES_MAX + 1];
    assert_eq!(PermissionToken::from_bytes(&long).unwrap_err(), TrustRefusal::TooLong);
    let text = format!("whimbrel-token:{}", "0".repeat(2 * TOKEN_BYTES_MAX + 2));
    assert_eq!(PermissionToken::from_text(&text).unwrap_err(), TrustRefusal::TooLong);
}

#[test]
fn no_truncation_and_no_flipped_bit_of_a_token_is_believed() {
    let token = everything().attenuate("ci", only(&[Verb::Deliver]), &seed(2)).unwrap();
    let bytes = token.to_bytes();
    let believed = |bytes: &[u8]| {
        PermissionToken::from_bytes(bytes).is_ok_and(|it| policy().believe(&it, NOW).is_ok())
    };
    assert!(believed(&bytes));
    for length in 0..bytes.len() {
        assert!(!believed(&bytes[..length]), "the first {length} bytes");
    }
    for bit in 0..bytes.len() * 8 {
        let mut other = bytes.to_vec();
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(!believed(&other), "bit {bit}");
    }
    assert!(!believed(&[&bytes[..], &[0]].concat()));
}

#[test]
fn a_token_is_not_printed() {
    let token = everything();
    assert_eq!(format!("{token:?}"), "PermissionToken(ops, 1 blocks)");
}

fn scopes() -> impl Strategy<Value = Scope> {
    let verbs = proptest::collection::btree_set(proptest::sample::select(&Verb::ALL[..]), 0..6);
    let daemons = proptest::collection::vec(0_u8..4, 0..3);
    let channels = proptest::collection::vec("[ab]{1,2}\\*?", 0..3);
    let nodes = proptest::collection::vec(0_u64..4, 0..3);
    (verbs, daemons, channels, nodes, 0_u64..3).prop_map(
        |(verbs, daemons, channels, nodes, until)| Scope {
            verbs,
            daemons: Among::listed(daemons.into_iter().map(daemon)),
            channels: Among::listed(channels.into_iter().filter_map(ChannelPattern::new)),
            nodes: Among::listed(nodes.into_iter().map(NodeId::new)),
            until,
        },
    )
}

fn acts() -> impl Strategy<Value = Act> {
    let verb = proptest::sample::select(&Verb::ALL[..]);
    let channel = proptest::option::of("[ab]{1,3}");
    let (daemon_of, node) = (proptest::option::of(0_u8..4), proptest::option::of(0_u64..4));
    (verb, daemon_of, channel, node).prop_map(|(verb, number, channel, node)| Act {
        verb,
        daemon: number.map(daemon),
        channel: channel.map(|name| ChannelName::new(name).unwrap()),
        node: node.map(NodeId::new),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// S1 (narrower).
    #[test]
    fn narrower_scopes_cover_less(one in scopes(), other in scopes(), act in acts()) {
        if one.is_within(&other) && one.covers(&act) {
            prop_assert!(other.covers(&act));
        }
        prop_assert!(one.is_within(&one));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let framed = [&[1], &bytes[..]].concat();
        for bytes in [&bytes, &framed] {
            if let Ok(token) = PermissionToken::from_bytes(bytes) {
                prop_assert!(policy().believe(&token, NOW).is_err());
            }
        }
    }
}
