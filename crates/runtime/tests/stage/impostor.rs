//! A node without a runtime: it says what the test puts into its mouth, and keeps what it hears.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;
use whimbrel_runtime::link::{Inbound, Lane, LinkFault, LinkLimits, Links, Member, Members};
use whimbrel_wire::{
    AttemptId, EntityId, Epoch, Message, MigrationEnvelope, MigrationMessage, NodeId, NodeKey,
    Role, SignedDeed, TitleMessage, decode_frame, encode_frame,
};

use super::{Node, PATIENCE, local, member};

/// A node that follows no rules but those of the link.
pub(crate) struct Impostor {
    pub(crate) key: NodeKey,
    links: Links,
    heard: mpsc::UnboundedReceiver<(NodeId, Message)>,
    questions: AtomicU64,
}

struct Ear(mpsc::UnboundedSender<(NodeId, Message)>);

impl Inbound for Ear {
    fn frame(
        &self,
        from: NodeId,
        _lane: Lane,
        frame: Bytes,
    ) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        // Gossip about members begins with a mark of its own.
        if frame.first() != Some(&b'M') {
            drop(self.0.send((from, decode_frame(&frame).unwrap())));
        }
        None
    }

    fn link_up(&self, _peer: NodeId) {}

    fn link_down(&self, _peer: NodeId) {}

    fn link_fault(&self, _peer: NodeId, _fault: LinkFault) {}
}

impl Impostor {
    /// One that all of `nodes` take for a member.
    pub(crate) fn admitted(seed: u8, nodes: &[&Node]) -> Self {
        let key = NodeKey::from_seed(&[seed; 32]);
        let members: Members = nodes.iter().map(|node| member(node)).collect();
        let (tell, heard) = mpsc::unbounded_channel();
        let limits = LinkLimits::default();
        let links = Links::bind(&key, local(), members, limits, Arc::new(Ear(tell))).unwrap();
        for node in nodes {
            let itself = Member { key: key.public(), addresses: vec![links.local_address()] };
            node.runtime.mesh().members().insert(itself);
        }
        Self { key, links, heard, questions: AtomicU64::new(1_000_000) }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.key.node_id()
    }

    /// Sends bytes that may be anything.
    pub(crate) fn babble(&self, to: &Node, bytes: impl Into<Bytes>) {
        self.links.send(to.id(), Lane::Control, bytes.into()).unwrap();
    }

    pub(crate) fn say(&self, to: &Node, message: &Message) {
        self.babble(to, encode_frame(message).unwrap());
    }

    /// Says something about a move.
    pub(crate) fn say_of_move(
        &self,
        to: &Node,
        (entity, attempt, epoch): (EntityId, AttemptId, Epoch),
        role: Role,
        message: MigrationMessage,
    ) {
        let envelope = MigrationEnvelope { entity, attempt, epoch, role, message };
        self.say(to, &Message::Migration(envelope));
    }

    pub(crate) fn tell_deeds(&self, to: &Node, entity: EntityId, deeds: Vec<SignedDeed>) {
        let message = TitleMessage::DeedAnswered { after: Epoch::new(0), deeds, attempt: None };
        self.say(to, &Message::Title { entity, message });
    }

    /// Waits for something that was said to this node; what came before is forgotten.
    pub(crate) async fn hear<T>(
        &mut self,
        what: &str,
        mut is_it: impl FnMut(NodeId, &Message) -> Option<T>,
    ) -> T {
        let listening = async {
            loop {
                let (from, message) = self.heard.recv().await.unwrap();
                if let Some(heard) = is_it(from, &message) {
                    return heard;
                }
            }
        };
        let heard = tokio::time::timeout(PATIENCE, listening).await;
        heard.unwrap_or_else(|_| panic!("never heard: {what}"))
    }

    /// Waits until all that was said about a daemon was dealt with: an attempt that nobody knows is
    /// asked about, on the same lane.
    pub(crate) async fn dealt_with(&mut self, to: &Node, entity: EntityId) -> Vec<SignedDeed> {
        let number = self.questions.fetch_add(1, Ordering::Relaxed);
        let question = AttemptId::new(u128::from(number));
        let message = TitleMessage::DeedAsked { after: Epoch::new(0), attempt: Some(question) };
        self.say(to, &Message::Title { entity, message });
        self.hear("an answer", |_, message| match message {
            Message::Title {
                message: TitleMessage::DeedAnswered { deeds, attempt: Some((about, false)), .. },
                ..
            } if *about == question => Some(deeds.clone()),
            _ => None,
        })
        .await
    }
}
