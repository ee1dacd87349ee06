//! Decides when a peer is dialled, and sends what is queued for it.
//!
//! One task per peer and lane runs [`keep_dialled`]. The peer's address is tried, then the next of
//! its addresses, with waits between that double up to a bound; a call from the peer cuts a wait short.
//!
//! # States
//!
//! ```text
//!            something queued           welcomed
//!   Resting ─────────────────▶ Dialling ────────▶ Standing
//!      ▲                          │ failed           │ lost
//!      └──────── Waiting ◀────────┴──────────────────┘
//!          the wait is over, or the peer has called
//! ```
//!
//! # Limits
//!
//! * `redial_wait_min`, `redial_wait_max`: see [`LinkLimits`]. The wait starts again at the least one
//!   only after a connection has stood for longer than the greatest, so that a peer which accepts
//!   and hangs up is not called without pause.
//! * `BATCH_BYTES_MAX = 256 KiB`: what is taken from a queue for one write.

use std::sync::Arc;

use quinn::{Connection, SendStream};
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::accept::WELCOME;
use super::links::Shared;
use super::peer::{Direction, Peer};
use crate::link::inbound::Inbound;
use crate::link::lane::{Lane, encode};
use crate::link::limits::LinkLimits;
use crate::link::tls::SERVER_NAME;

const BATCH_BYTES_MAX: usize = 256 * 1024;

/// Why a peer could not be reached this time.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("the peer is not on the member list")]
    NotMember,
    #[error("the member list has no address for the peer")]
    NoAddress,
    #[error("could not set up encryption")]
    Encryption(#[from] rustls::Error),
    #[error("could not begin")]
    Begin(#[from] quinn::ConnectError),
    #[error("the connection failed")]
    Connection(#[from] quinn::ConnectionError),
    #[error("the lane could not be opened")]
    Open(#[from] quinn::WriteError),
    #[error("the peer did not welcome the connection")]
    NotWelcome(#[from] quinn::ReadExactError),
    #[error("the peer answered something else than a welcome")]
    Confused,
    #[error("the handshake took too long")]
    TooLong(#[from] tokio::time::error::Elapsed),
}

/// Sends what is queued for `peer` on `lane` until the peer has ended.
pub(super) async fn keep_dialled(shared: Arc<Shared>, peer: Arc<Peer>, lane: Lane) {
    tokio::select! {
        () = dial_when_wanted(&shared, &peer, lane) => {}
        () = peer.ended() => {}
    }
}

async fn dial_when_wanted(shared: &Arc<Shared>, peer: &Arc<Peer>, lane: Lane) {
    let mut backoff = Backoff::new(&shared.limits);
    for attempt in 0usize.. {
        peer.queue(lane).filled().await;
        peer.counters.dials.add(1);
        let dialling = Box::pin(dial(shared, peer, lane, attempt));
        match timeout(shared.limits.handshake_time_max, dialling).await.map_err(DialError::from) {
            Ok(Ok((connection, stream))) => {
                let began = Instant::now();
                serve(shared, peer, lane, connection, stream).await;
                backoff.connection_stood(began);
            }
            Ok(Err(error)) | Err(error) => {
                peer.counters.dials_failed.add(1);
                debug!(peer = %peer.node, %lane, %error, "could not dial");
            }
        }
        backoff.wait(peer, lane).await;
    }
}

/// The wait before the next attempt.
struct Backoff<'a> {
    limits: &'a LinkLimits,
    wait: std::time::Duration,
}

impl<'a> Backoff<'a> {
    const fn new(limits: &'a LinkLimits) -> Self {
        Self { limits, wait: limits.redial_wait_min }
    }

    fn connection_stood(&mut self, began: Instant) {
        if began.elapsed() > self.limits.redial_wait_max {
            self.wait = self.limits.redial_wait_min;
        }
    }

    async fn wait(&mut self, peer: &Peer, lane: Lane) {
        tokio::select! {
            () = sleep(self.wait) => {
                self.wait = self.wait.saturating_mul(2).min(self.limits.redial_wait_max);
            }
            () = peer.heard(lane) => self.wait = self.limits.redial_wait_min,
        }
    }
}

async fn dial(
    shared: &Shared,
    peer: &Peer,
    lane: Lane,
    attempt: usize,
) -> Result<(Connection, SendStream), DialError> {
    let member = shared.members.member(peer.node).ok_or(DialError::NotMember)?;
    let turn = attempt.checked_rem(member.addresses.len()).ok_or(DialError::NoAddress)?;
    let mut config = quinn::ClientConfig::new(Arc::new(shared.credentials.call(peer.key)?));
    config.transport_config(Arc::clone(&shared.transport));
    let address = member.addresses[turn];
    let connection = shared.endpoint.connect_with(config, address, SERVER_NAME)?.await?;
    let mut stream = connection.open_uni().await?;
    stream.write_all(&[lane.tag()]).await?;
    // In TLS 1.3 the caller is done before the other side has looked at its key, so a handshake that
    // went well here says nothing yet. Frames wait for the welcome instead of getting lost.
    let mut answer = [0];
    connection.accept_uni().await?.read_exact(&mut answer).await?;
    if answer == WELCOME { Ok((connection, stream)) } else { Err(DialError::Confused) }
}

/// Sends on a connection until it is lost.
async fn serve(
    shared: &Arc<Shared>,
    peer: &Arc<Peer>,
    lane: Lane,
    connection: Connection,
    stream: SendStream,
) {
    let Some(standing) = peer.stand(Direction::Dialled, lane, connection) else { return };
    let up = (lane == Lane::Control).then(|| Up::new(shared, peer));
    tokio::select! {
        reason = standing.connection().closed() => {
            debug!(peer = %peer.node, %lane, %reason, "connection lost");
        }
        () = write(peer, lane, stream) => {}
    }
    drop(standing);
    drop(up);
}

/// Tells of a link that it is up, and when dropped that it is down.
struct Up<'a> {
    inbound: &'a dyn Inbound,
    peer: &'a Peer,
}

impl<'a> Up<'a> {
    fn new(shared: &'a Shared, peer: &'a Peer) -> Self {
        shared.inbound.link_up(peer.node);
        Self { inbound: &*shared.inbound, peer }
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        self.inbound.link_down(self.peer.node);
    }
}

/// Writes what the lane's queue holds, several frames at a time but never waiting for more.
async fn write(peer: &Peer, lane: Lane, mut stream: SendStream) {
    let counters = &peer.counters.lanes[lane.index()];
    let (mut frames, mut chunks) = (Vec::new(), Vec::new());
    loop {
        peer.queue(lane).take(&mut frames, BATCH_BYTES_MAX).await;
        counters.frames_sent.add(frames.len() as u64);
        counters.bytes_sent.add(frames.iter().map(|frame| frame.len() as u64).sum());
        encode(&mut frames, &mut chunks);
        if let Err(error) = stream.write_all_chunks(&mut chunks).await {
            debug!(peer = %peer.node, %lane, %error, "could not write");
            return;
        }
        chunks.clear();
    }
}
