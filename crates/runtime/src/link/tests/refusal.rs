//! Who is not a member gets nowhere.

use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::rustls::client::ResolvesClientCert;
use quinn::rustls::sign::CertifiedKey;
use quinn::rustls::{ClientConfig, SignatureScheme};
use whimbrel_wire::NodeId;

use crate::link::tests::stage::{
    ANY_PORT, Node, RawCaller, Seen, caller, key, member, pair, until, within,
};
use crate::link::tls::Credentials;
use crate::link::{CallError, Lane, LinkLimits, SendError, call_host};

/// Both sides have tried and failed, and neither has seen anything of the other.
async fn they_do_not_meet(dialler: &mut Node, wanted: NodeId, listener: &mut Node) {
    until("two failed dials", || {
        dialler.links.statistics(wanted).is_some_and(|link| link.dials_failed >= 2)
    })
    .await;
    until("the listener's refusal", || listener.links.handshakes().failed >= 1).await;
    assert_eq!(listener.links.handshakes().accepted, 0);
    assert!(dialler.saw_nothing());
    assert!(listener.saw_nothing());
}

#[tokio::test]
async fn a_stranger_gets_no_further_than_the_handshake() {
    let (mut stranger, mut node) = (Node::new(1), Node::new(2));
    stranger.knows(member(2, node.links.local_address()));
    stranger.send(node.id(), Lane::Control, b"let me in").unwrap();
    let wanted = node.id();
    they_do_not_meet(&mut stranger, wanted, &mut node).await;
    assert_eq!(node.links.statistics(stranger.id()), None);
}

#[tokio::test]
async fn a_guest_is_refused_where_the_door_is_closed() {
    let mut node = Node::new(1);
    let (host, address) = (key(1).public(), node.links.local_address());
    let told = within("the answer", call_host(&key(2), host, &[address], b"let me in")).await;
    assert!(matches!(told, Err(CallError::Failed(_))), "{told:?}");
    let told = call_host(&key(2), host, &[], b"let me in").await;
    assert!(matches!(told, Err(CallError::NoAddress)), "{told:?}");
    assert_eq!(node.links.handshakes().accepted, 0);
    assert!(node.saw_nothing());
}

#[tokio::test]
async fn a_stranger_at_a_members_address_is_told_nothing() {
    let (mut node, mut stranger) = (Node::new(1), Node::new(9));
    node.knows(member(2, stranger.links.local_address()));
    stranger.knows(caller(1));
    node.send(key(2).node_id(), Lane::Control, b"secret").unwrap();
    they_do_not_meet(&mut node, key(2).node_id(), &mut stranger).await;
}

#[tokio::test]
async fn a_member_at_another_members_address_is_told_nothing() {
    let (mut node, mut other) = (Node::new(1), Node::new(3));
    node.knows(caller(3));
    node.knows(member(2, other.links.local_address()));
    other.knows(caller(1));
    node.send(key(2).node_id(), Lane::Control, b"for the second").unwrap();
    they_do_not_meet(&mut node, key(2).node_id(), &mut other).await;
}

#[tokio::test]
async fn a_caller_with_the_nodes_own_key_is_refused() {
    let node = Node::new(1);
    node.knows(caller(1));
    let call = RawCaller::call(1, &node, 1).await;
    within("the refusal", call.connection.closed()).await;
    until("the refusal", || node.links.handshakes().failed == 1).await;
    assert_eq!(node.send(node.id(), Lane::Control, b"me"), Err(SendError::UnknownPeer));
}

/// Has nothing to prove itself with.
#[derive(Debug)]
struct NoKey;

impl ResolvesClientCert for NoKey {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        false
    }
}

fn callers_settings() -> ClientConfig {
    Credentials::new(&key(3)).caller(key(1).public()).unwrap()
}

#[tokio::test]
async fn both_known_means_that_a_caller_without_a_key_is_refused() {
    let mut node = Node::new(1);
    node.knows(caller(3));
    let mut settings = callers_settings();
    settings.client_auth_cert_resolver = Arc::new(NoKey);
    let tls = QuicClientConfig::try_from(settings).unwrap();
    let call = RawCaller::call_with(tls, &node).await;
    within("the refusal", call.connection.closed()).await;
    until("the refusal", || node.links.handshakes().failed == 1).await;
    assert!(node.saw_nothing());
}

#[tokio::test]
async fn a_caller_with_another_protocol_is_refused() {
    let node = Node::new(1);
    node.knows(caller(3));
    let mut settings = callers_settings();
    settings.alpn_protocols = vec![b"whimbrel/0".to_vec()];
    let endpoint = quinn::Endpoint::client(ANY_PORT).unwrap();
    let tls = Arc::new(QuicClientConfig::try_from(settings).unwrap());
    let call = endpoint
        .connect_with(quinn::ClientConfig::new(tls), node.links.local_address(), "whimbrel")
        .unwrap();
    assert!(within("the refusal", call).await.is_err());
    until("the refusal", || node.links.handshakes().failed == 1).await;
}

#[tokio::test]
async fn members_only_are_served_and_a_removed_one_is_cut_off() {
    let (mut node, mut other) = pair();
    other.send(node.id(), Lane::Control, b"while a member").unwrap();
    node.send(other.id(), Lane::Bulk, b"bulk").unwrap();
    node.next_frame().await;
    other.next_frame().await;
    assert!(node.members.remove(other.id()));
    other.sees(Seen::Down(node.id())).await;
    assert_eq!(node.send(other.id(), Lane::Control, b"frame"), Err(SendError::UnknownPeer));
    other.send(node.id(), Lane::Control, b"after").unwrap();
    until("the refusal", || node.links.handshakes().failed >= 1).await;
    while let Ok(seen) = node.seen.try_recv() {
        assert!(!matches!(seen, Seen::Frame(..)), "{seen:?}");
    }
    node.knows(member(2, other.links.local_address()));
    assert_eq!(node.next_frame().await.2, "after");
}

#[tokio::test]
async fn an_unknown_peer_and_an_overlong_frame_and_closed_links_are_told_apart() {
    let (node, other) = pair();
    let longest = LinkLimits::default().control.frame_bytes_max;
    let too_long = vec![0; longest as usize + 1];
    assert_eq!(
        node.send(other.id(), Lane::Control, &too_long),
        Err(SendError::TooLong { bytes: too_long.len(), allowed: longest })
    );
    assert_eq!(node.send(key(7).node_id(), Lane::Control, b""), Err(SendError::UnknownPeer));
    node.links.close().await;
    assert_eq!(node.send(other.id(), Lane::Control, b""), Err(SendError::Closed));
}
