//! Decides what a save does to the key of its daemon, in the same breath: a copy that is bound to go
//! live must not lose it, and one that is thrown away, or a daemon that was not born, must not
//! leave it.

use whimbrel_store::Engine;
use whimbrel_wire::{EntityId, Write, WriteError};

use crate::cell::Inner;
use crate::core::Core;
use crate::identity;

/// What a save does to a key.
pub(crate) enum KeyChange {
    /// Nothing.
    None,
    /// It must be there before.
    Put(EntityId, Vec<u8>),
    /// It must be there before, and gone again if the daemon was not born for certain.
    Bear(EntityId, Vec<u8>),
    /// It goes.
    Drop(EntityId),
    /// The key that must be put is not at hand: then the save must not happen either.
    Missing(String),
}

impl KeyChange {
    pub(crate) fn of(core: &Core, entity: EntityId, inner: &Inner, write: &Write) -> Self {
        let locked = |attempt| match inner.arriving.get(attempt) {
            Some(key) => identity::lock(&core.key, key).map_err(|error| error.to_string()),
            None => Err("the key of the copy is not here".to_owned()),
        };
        match write {
            Write::SaveCopy { attempt, .. } => match locked(attempt) {
                Ok(sealed) => Self::Put(entity, sealed),
                Err(why) => Self::Missing(why),
            },
            Write::Birth { deed, .. } => match locked(&deed.deed.attempt) {
                Ok(sealed) => Self::Bear(entity, sealed),
                Err(why) => Self::Missing(why),
            },
            Write::DropCopy { .. } if inner.seat.key_goes_with_copy() => Self::Drop(entity),
            Write::DropCopy { .. }
            | Write::Append { .. }
            | Write::Publish { .. }
            | Write::Compact { .. }
            | Write::BeginAttempt { .. }
            | Write::HandOver { .. }
            | Write::Reclaim { .. }
            | Write::AppendCopy { .. }
            | Write::Accept { .. }
            | Write::Learn { .. }
            | Write::DropState { .. }
            | Write::Delete { .. } => Self::None,
        }
    }

    /// Saves `write` with this change.
    pub(crate) fn commit(
        &self,
        engine: &mut (impl Engine + ?Sized),
        write: Write,
    ) -> Result<(), WriteError> {
        let failed = |error: whimbrel_store::StoreError| WriteError::Failed(error.to_string());
        let fresh = match self {
            Self::None => false,
            Self::Put(entity, sealed) => {
                engine.put_key(entity, sealed).map_err(failed)?;
                false
            }
            Self::Bear(entity, sealed) => {
                let fresh = engine.key(entity).map_err(failed)?.is_none();
                engine.put_key(entity, sealed).map_err(failed)?;
                fresh
            }
            Self::Drop(entity) => {
                engine.drop_key(entity).map_err(failed)?;
                false
            }
            Self::Missing(why) => return Err(WriteError::Failed(why.clone())),
        };
        let result = one(engine.commit(&[write]));
        let unborn = matches!(result, Err(WriteError::Refused(_) | WriteError::Failed(_)));
        if let Self::Bear(entity, _) = self
            && fresh
            && unborn
            && let Err(error) = engine.drop_key(entity)
        {
            tracing::error!(%entity, %error, "the key of a daemon that was not born could not be wiped");
        }
        result
    }
}

/// The answer to one write.
fn one(mut results: Vec<Result<(), WriteError>>) -> Result<(), WriteError> {
    let nothing = || Err(WriteError::Unknown("the store did not answer".to_owned()));
    results.pop().unwrap_or_else(nothing)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use whimbrel_store::{Chunks, Memory, MemoryChunks, Vault};
    use whimbrel_wire::{
        AttemptId, ChunkRef, Deed, Epoch, Head, Identity, Kind, Manifest, NodeKey, StateRef,
        StateVersion, StoreId, Time,
    };

    use super::*;

    /// A birth whose snapshot names a chunk.
    fn birth(identity: &Identity, store: StoreId, chunk: ChunkRef) -> Write {
        let key = NodeKey::from_seed(&[1; 32]);
        let deed = Deed::birth(identity, key.public(), store, AttemptId::new(1));
        let manifest = Manifest {
            entity: identity.entity_id(),
            kind: Kind::new("kv").unwrap(),
            version: StateVersion::new(1),
            epoch: Epoch::FIRST,
            head: Head::newborn(&identity.entity_id(), &deed.digest()),
            last: None,
            time: Time::ZERO,
            state: StateRef { bytes: 0, chunks: 0, lists: Vec::new() },
            luggage: vec![chunk],
        };
        Write::Birth { deed, manifest }
    }

    #[test]
    fn a_daemon_that_was_not_born_leaves_no_key() {
        let store = StoreId::new(1);
        let shelf = Arc::new(MemoryChunks::new());
        let shared: Arc<dyn Chunks> = shelf.clone();
        let mut engine = Memory::new(store, Some(shared));
        let identity = Identity::from_seed(&[9; 32]);
        let entity = identity.entity_id();
        let chunk = ChunkRef::of(b"luggage");
        let change = KeyChange::Bear(entity, b"locked".to_vec());
        let refused = change.commit(&mut engine, birth(&identity, store, chunk));
        assert!(matches!(refused, Err(WriteError::Refused(_))), "{refused:?}");
        assert_eq!(engine.key(&entity).unwrap(), None);

        shelf.put(&[(chunk, bytes::Bytes::from_static(b"luggage"))]).unwrap();
        assert_eq!(change.commit(&mut engine, birth(&identity, store, chunk)), Ok(()));
        assert_eq!(engine.key(&entity).unwrap().map(|key| key.to_vec()), Some(b"locked".to_vec()));
        // A second birth is refused, and the key of the first stays.
        let again = change.commit(&mut engine, birth(&identity, store, chunk));
        assert!(matches!(again, Err(WriteError::Refused(_))), "{again:?}");
        assert!(engine.key(&entity).unwrap().is_some());
    }
}
