//! Decides whom this node talks to: the keys of the members and where they listen.
//!
//! How the list comes about is for others to decide. Links follow every change: who is struck off is
//! cut off, who is added can be sent to and may dial in.
//!
//! # Invariants
//!
//! * M1 (one key per node): a member is found under the id of its own key and nowhere else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use whimbrel_wire::{NodeId, PublicKey};

/// One node of the mesh as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The key it proves itself with.
    pub key: PublicKey,
    /// Where it can be dialled. They are tried in turn; a node that only dials needs none.
    pub addresses: Vec<SocketAddr>,
}

/// The member list. Clones share it.
#[derive(Clone, Debug)]
pub struct Members {
    list: Arc<watch::Sender<BTreeMap<NodeId, Member>>>,
}

impl Default for Members {
    fn default() -> Self {
        Self { list: Arc::new(watch::Sender::new(BTreeMap::new())) }
    }
}

impl FromIterator<Member> for Members {
    fn from_iter<T: IntoIterator<Item = Member>>(members: T) -> Self {
        let list = Self::default();
        list.replace(members);
        list
    }
}

impl Members {
    /// Adds a member, or changes where it listens.
    pub fn insert(&self, member: Member) -> NodeId {
        let node = member.key.node_id();
        self.list.send_modify(|list| {
            list.insert(node, member);
        });
        node
    }

    /// Strikes a member off. `false` if it was not on the list.
    pub fn remove(&self, node: NodeId) -> bool {
        self.list.send_if_modified(|list| list.remove(&node).is_some())
    }

    /// Replaces the whole list in one step.
    pub fn replace(&self, members: impl IntoIterator<Item = Member>) {
        let next = members.into_iter().map(|member| (member.key.node_id(), member)).collect();
        self.list.send_replace(next);
    }

    /// The member with this id.
    pub fn member(&self, node: NodeId) -> Option<Member> {
        self.list.borrow().get(&node).cloned()
    }

    /// Everybody on the list, in the order of their ids.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.list.borrow().keys().copied().collect()
    }

    /// The member with exactly this key. An id is only a short digest of it, so whole keys are compared.
    pub(in crate::link) fn by_key(&self, key: &PublicKey) -> Option<NodeId> {
        let node = key.node_id();
        self.holds(node, key).then_some(node)
    }

    pub(in crate::link) fn holds(&self, node: NodeId, key: &PublicKey) -> bool {
        self.list.borrow().get(&node).is_some_and(|member| member.key == *key)
    }

    pub(crate) fn changes(&self) -> watch::Receiver<BTreeMap<NodeId, Member>> {
        self.list.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use whimbrel_wire::NodeKey;

    use super::*;

    fn member(seed: u8, port: u16) -> Member {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Member { key: NodeKey::from_seed(&[seed; 32]).public(), addresses: vec![address] }
    }

    #[test]
    fn one_key_per_node_and_one_place_on_the_list() {
        let members: Members = [member(1, 1), member(2, 2), member(1, 3)].into_iter().collect();
        let first = member(1, 3);
        assert_eq!(members.nodes().len(), 2);
        assert_eq!(members.by_key(&first.key), Some(first.key.node_id()));
        assert_eq!(members.member(first.key.node_id()), Some(first.clone()));
        assert!(!members.holds(first.key.node_id(), &member(2, 2).key));
        assert!(members.remove(first.key.node_id()));
        assert!(!members.remove(first.key.node_id()));
        assert_eq!(members.by_key(&first.key), None);
    }

    #[test]
    fn links_hear_of_changes_and_of_nothing_else() {
        let members = Members::default();
        let mut changes = members.changes();
        members.remove(member(1, 1).key.node_id());
        assert!(!changes.has_changed().unwrap());
        members.insert(member(1, 1));
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        members.replace([]);
        assert!(changes.has_changed().unwrap());
    }
}
