//! Decides how a local sender reaches a daemon wherever it lives.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use whimbrel_protocol::SendError;
use whimbrel_wire::limits::PAYLOAD_BYTES_MAX;
use whimbrel_wire::{Answer, ClientId, EntityId};

use crate::cell::Work;
use crate::core::Core;
use crate::error::DaemonError;

/// A sender of events. Its events reach each daemon in the order in which `send` was called, each
/// exactly once. Cheap to clone; clones are the same sender.
#[derive(Clone)]
pub struct Client {
    core: Arc<Core>,
    id: ClientId,
}

impl Client {
    pub(crate) const fn new(core: Arc<Core>, id: ClientId) -> Self {
        Self { core, id }
    }

    /// Who it is to the daemons.
    #[must_use]
    pub const fn id(&self) -> ClientId {
        self.id
    }

    /// Sends an event. It takes its place in the order at once; the future ends when the event is
    /// in the daemon's state for ever. Dropping the future does not take the event back.
    ///
    /// # Errors
    ///
    /// [`DaemonError::Send`] when the event failed for certain, or when that cannot be known.
    pub fn send(
        &self,
        entity: EntityId,
        payload: Bytes,
    ) -> impl Future<Output = Result<Answer, DaemonError>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let fits = payload.len() <= PAYLOAD_BYTES_MAX;
        if fits {
            let cell = self.core.cell(entity);
            self.core.post(&cell, Work::Send { client: self.id, payload, reply });
        }
        async move {
            if !fits {
                return Err(SendError::TooLarge.into());
            }
            answer.await.map_err(|_| DaemonError::ShuttingDown)?.map_err(DaemonError::Send)
        }
    }
}
