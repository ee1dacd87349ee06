//! Decides how a node joins: it calls its host, shows the invitation, and keeps what it is told.

use std::path::Path;

use thiserror::Error;
use whimbrel_members::{
    Contact, JoinRefusal, JoinRequest, Roster, RosterConfig, SignedInvitation, Welcome,
};
use whimbrel_wire::{decode, encode};

use super::file;
use crate::link::{self, CallError};

/// Why a node has not joined.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The text is no invitation. Fault: caller. Changed: nothing. Again: with the whole text.
    #[error("the text is no invitation")]
    NoInvitation,
    /// The host was not reached. Fault: surroundings. Changed: perhaps the guest is let in already; nothing here.
    /// Again: yes, with the same invitation.
    #[error("could not reach the host")]
    Call(#[from] CallError),
    /// The host refused. Fault: see the reason. Changed: nothing.
    #[error("the host refused: {0}")]
    Refused(JoinRefusal),
    /// The answer of the host makes no sense. Fault: peer. Changed: nothing here. Again: no.
    #[error("the host answered something else")]
    Confused,
    /// What the host told could not be saved. Fault: surroundings. Changed: the guest is a member. Again: yes,
    /// with the same invitation.
    #[error("could not save the list of members")]
    NotSaved(#[from] std::io::Error),
}

/// Joins by an invitation and keeps what the host tells in `file`, from which [`Mesh::open`](crate::Mesh::open)
/// goes on. `config` says who the guest is and where others find it.
///
/// # Errors
///
/// [`JoinError`].
pub async fn join(config: RosterConfig, invitation: &str, file: &Path) -> Result<(), JoinError> {
    let signed = SignedInvitation::parse(invitation).ok_or(JoinError::NoInvitation)?;
    let invitation = signed.invitation.clone();
    let Contact { name, addresses, .. } =
        Contact::new(config.key.public(), &config.name, &config.addresses);
    let request = encode(&JoinRequest { invitation: signed, name, addresses });
    let answer =
        link::call_host(&config.key, invitation.by, &invitation.addresses, &request).await?;
    let answer: Result<Welcome, JoinRefusal> = decode(&answer).map_err(|_| JoinError::Confused)?;
    let welcome = answer.map_err(JoinError::Refused)?;
    let roster = Roster::welcomed(config, &invitation, welcome).ok_or(JoinError::Confused)?;
    let (file, bytes) = (file.to_owned(), roster.bytes());
    let saved = tokio::task::spawn_blocking(move || file::write(&file, &bytes));
    saved.await.map_err(std::io::Error::other)??;
    Ok(())
}
