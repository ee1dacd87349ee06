//! Decides which daemon or node a word means.
//!
//! Names of daemons are notes of this node, kept in a file of its folder; they do not travel. Names
//! of nodes are given by whoever started this one.
//!
//! # Limits
//!
//! * [`NAME_BYTES_MAX`], [`NAMES_MAX`]: more are refused.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use whimbrel_wire::{EntityId, NodeId};

use super::fault::{AdminFault, Again, Code, Fault};
use super::words::{daemon_of, daemon_text};

/// Longest name of a daemon.
const NAME_BYTES_MAX: usize = 64;

/// Most names at one node.
const NAMES_MAX: usize = 100_000;

/// Fewest digits that are taken for the beginning of an id.
const PREFIX_DIGITS_MIN: usize = 4;

pub(super) struct Names {
    file: PathBuf,
    daemons: Mutex<BTreeMap<String, String>>,
    nodes: BTreeMap<NodeId, String>,
}

impl Names {
    /// The names in `file`, which need not exist.
    pub(super) fn open(file: PathBuf, nodes: BTreeMap<NodeId, String>) -> io::Result<Self> {
        let daemons = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { file, daemons: Mutex::new(daemons), nodes })
    }

    /// Whether `name` is free and can be one.
    pub(super) fn check(&self, name: &str) -> Result<(), AdminFault> {
        let bad = |message: String| {
            AdminFault::caller(
                Code::Name,
                message,
                format!("choose up to {NAME_BYTES_MAX} of letters, digits, '-', '_' and '.'"),
            )
        };
        let letters =
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !letters || daemon_of(name).is_some() {
            return Err(bad(format!("{name:?} cannot be the name of a daemon")));
        }
        let daemons = self.daemons();
        if daemons.contains_key(name) {
            return Err(bad(format!("the name {name:?} is taken at this node")));
        }
        if daemons.len() >= NAMES_MAX {
            return Err(bad(format!("this node has {NAMES_MAX} names already")));
        }
        Ok(())
    }

    /// Calls a daemon `name` from here on.
    pub(super) fn give(&self, name: &str, entity: &EntityId) -> Result<(), AdminFault> {
        let mut daemons = self.daemons();
        daemons.insert(name.to_owned(), daemon_text(entity));
        self.save(&daemons).map_err(|error| {
            let message = format!("could not note the name {name:?}: {error}");
            AdminFault::caller(Code::File, message, "use the id; look at the folder of the node")
                .blaming(Fault::Surroundings, Again::Yes)
        })
    }

    /// Forgets all names of a daemon.
    pub(super) fn forget(&self, entity: &EntityId) -> io::Result<()> {
        let mut daemons = self.daemons();
        let before = daemons.len();
        let text = daemon_text(entity);
        daemons.retain(|_, daemon| *daemon != text);
        if daemons.len() == before { Ok(()) } else { self.save(&daemons) }
    }

    /// What a daemon is called here.
    pub(super) fn of(&self, entity: &EntityId) -> Option<String> {
        let text = daemon_text(entity);
        self.daemons().iter().find(|(_, daemon)| **daemon == text).map(|(name, _)| name.clone())
    }

    /// What a node is called here.
    pub(super) fn of_node(&self, node: NodeId) -> Option<String> {
        self.nodes.get(&node).cloned()
    }

    /// The daemon that `word` means, among those `known` here.
    pub(super) fn daemon(
        &self,
        word: &str,
        known: impl FnOnce() -> Vec<EntityId>,
    ) -> Result<EntityId, AdminFault> {
        if let Some(entity) = daemon_of(word) {
            return Ok(entity);
        }
        let named = self.daemons().get(word).and_then(|text| daemon_of(text));
        if let Some(entity) = named {
            return Ok(entity);
        }
        let prefix = word.to_ascii_lowercase();
        let prefix = prefix.strip_prefix('d').filter(|rest| is_prefix(rest)).unwrap_or(&prefix);
        let means = |entity: &EntityId| {
            entity.origin_hash().to_string() == word
                || is_prefix(prefix) && daemon_text(entity).starts_with(prefix)
                || is_prefix(word) && daemon_text(entity).starts_with(word)
        };
        let found: Vec<EntityId> = known().into_iter().filter(means).collect();
        match found[..] {
            [entity] => Ok(entity),
            [] => Err(AdminFault::caller(
                Code::UnknownDaemon,
                format!("no daemon {word:?} is known at this node"),
                "see whimbrel ps; a daemon of another node is found by all 64 digits of its id",
            )),
            _ => Err(AdminFault::caller(
                Code::AmbiguousDaemon,
                format!("{} daemons are called {word:?}", found.len()),
                "give more digits of the id: whimbrel ps shows them",
            )),
        }
    }

    /// The node that `word` means, among those `known` here.
    pub(super) fn node(&self, word: &str, known: &[NodeId]) -> Result<NodeId, AdminFault> {
        let is_meant = |node: &&NodeId| {
            self.nodes.get(node).is_some_and(|name| name == word)
                || node.to_string() == word
                || node.get().to_string() == word
        };
        known.iter().find(is_meant).copied().ok_or_else(|| {
            AdminFault::caller(
                Code::UnknownNode,
                format!("no node {word:?} is known at this node"),
                "see whimbrel nodes for names and ids",
            )
        })
    }

    fn daemons(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.daemons.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, daemons: &BTreeMap<String, String>) -> io::Result<()> {
        let next = self.file.with_extension("next");
        fs::write(&next, serde_json::to_vec_pretty(daemons)?)?;
        fs::rename(&next, &self.file)
    }
}

fn is_prefix(word: &str) -> bool {
    let digits = PREFIX_DIGITS_MIN..=64;
    digits.contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(first: u8) -> EntityId {
        let mut bytes = [0xab; 32];
        bytes[2] = first;
        EntityId::from_bytes(bytes)
    }

    #[test]
    fn a_daemon_is_found_by_id_beginning_origin_and_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("names.json");
        let names = Names::open(file.clone(), BTreeMap::new()).unwrap();
        let known = || vec![entity(1), entity(2)];
        names.check("store").unwrap();
        names.give("store", &entity(2)).unwrap();
        let found = |word: &str| names.daemon(word, known);
        assert_eq!(found(&daemon_text(&entity(9))), Ok(entity(9)));
        assert_eq!(found("abab01"), Ok(entity(1)));
        assert_eq!(found("dabab01"), Ok(entity(1)));
        assert_eq!(found(&entity(2).origin_hash().to_string()), Ok(entity(2)));
        assert_eq!(found("store"), Ok(entity(2)));
        assert_eq!(found("abab").unwrap_err().code, Code::AmbiguousDaemon);
        assert_eq!(found("abab03").unwrap_err().code, Code::UnknownDaemon);
        assert_eq!(found("ab").unwrap_err().code, Code::UnknownDaemon);

        let names = Names::open(file, BTreeMap::new()).unwrap();
        assert_eq!(names.of(&entity(2)).as_deref(), Some("store"));
        assert_eq!(names.check("store").unwrap_err().code, Code::Name);
        names.forget(&entity(2)).unwrap();
        names.check("store").unwrap();
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names::open(folder.path().join("names.json"), BTreeMap::new()).unwrap();
        for name in ["", "a b", "ä", &"x".repeat(65), &"a".repeat(64)] {
            assert_eq!(names.check(name).unwrap_err().code, Code::Name, "{name}");
        }
    }

    #[test]
    fn a_node_is_found_by_id_and_name() {
        let folder = tempfile::tempdir().unwrap();
        let nodes = BTreeMap::from([(NodeId::new(5), "east".to_owned())]);
        let names = Names::open(folder.path().join("names.json"), nodes).unwrap();
        let known = [NodeId::new(5), NodeId::new(6)];
        assert_eq!(names.node("east", &known), Ok(NodeId::new(5)));
        assert_eq!(names.node("n6", &known), Ok(NodeId::new(6)));
        assert_eq!(names.node("6", &known), Ok(NodeId::new(6)));
        assert_eq!(names.node("n7", &known).unwrap_err().code, Code::UnknownNode);
    }
}
