//! What is shown as a token, and what lies in the file of an audit log.

use whimbrel_trust::chain::{self, Entry, Standing};
use whimbrel_trust::{Among, ChannelPattern, PermissionToken, Policy, Scope, Verb};
use whimbrel_wire::{Identity, NodeKey};

use crate::driver::Target;

/// Per byte of input no more than a list of it, twice: a list that grows doubles.
const GROWTH_MAX: usize = 1024;

/// A token is believed only if it is one of those that were made.
pub(super) const TOKENS: Target = Target {
    name: "tokens",
    corpus: include_str!("../../corpus/tokens.hex"),
    growth_max: Some(GROWTH_MAX),
    every: 1,
    run: |input| {
        if let Ok(text) = std::str::from_utf8(input) {
            drop(PermissionToken::from_text(text));
        }
        let Ok(token) = PermissionToken::from_bytes(input) else { return };
        let again = PermissionToken::from_bytes(&token.to_bytes());
        assert!(again.as_ref() == Ok(&token), "a token is not read as it was written");
        let policy = Policy::new(vec![root().public()], Vec::new());
        let believed = policy.believe(&token, 0).is_ok();
        assert!(!believed || made().contains(&token), "a token that nobody made");
    },
};

/// What holds of a file is what was written of it: the same lines come out again.
pub(super) const LOGS: Target = Target {
    name: "logs",
    corpus: include_str!("../../corpus/logs.hex"),
    growth_max: Some(GROWTH_MAX),
    every: 1,
    run: |input| {
        let read = chain::read(input);
        assert!(read.bytes <= input.len());
        let whole = chain::read(&input[..read.bytes]);
        assert!(whole.broken.is_none() && !whole.is_torn, "what holds does not hold by itself");
        assert_eq!((whole.standing, whole.entries), (read.standing, read.entries));
    },
};

fn root() -> NodeKey {
    NodeKey::from_seed(&[1; 32])
}

fn made() -> Vec<PermissionToken> {
    let secret = |number: u8| [number; 32].into();
    let wide = PermissionToken::mint(&root(), "ops", Scope::everything(9), &secret(2));
    let Ok(wide) = wide else { return Vec::new() };
    let narrow = Scope {
        verbs: [Verb::Deliver, Verb::Subscribe].into(),
        daemons: Among::listed([Identity::from_seed(&[3; 32]).entity_id()]),
        channels: Among::listed(ChannelPattern::new("orders/*")),
        nodes: Among::listed([root().node_id()]),
        until: 8,
    };
    let narrow = wide.attenuate("ci", narrow, &secret(4));
    let sealed = narrow.as_ref().ok().map(PermissionToken::sealed);
    [Some(wide.sealed()), Some(wide), narrow.ok(), sealed].into_iter().flatten().collect()
}

pub(super) fn tokens() -> Vec<Vec<u8>> {
    let made = made();
    let text = made.first().map(|token| token.to_text().as_bytes().to_vec());
    let bytes = made.iter().map(|token| token.to_bytes().to_vec());
    bytes.chain(text).collect()
}

pub(super) fn logs() -> Vec<Vec<u8>> {
    let (mut bytes, mut standing) = Standing::START.head();
    for number in 0..3 {
        let what = "stop".to_owned();
        let mut entry = Entry { at_us: 5, who: "ops".into(), what, of: number, ..Entry::default() };
        let (line, after) = standing.line(&mut entry);
        bytes.extend_from_slice(&line);
        standing = after;
    }
    vec![bytes]
}
