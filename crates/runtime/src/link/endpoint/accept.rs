//! Decides which incoming connections are let in, and reads them.
//!
//! # States
//!
//! ```text
//!   arrived ──▶ shaking hands ──▶ naming its lane ──▶ read until it ends
//!      │ too many      │ stranger         │ no lane           │ breaks the rules
//!      └ turned away   └──────────────────┴── closed ─────────┘
//! ```
//!
//! # Limits
//!
//! * `handshakes_max`, `handshake_time_max`: see [`LinkLimits`](crate::link::LinkLimits). They span all
//!   states before the last, so a caller that stops half-way holds a place for a bounded time.
//! * `frame_time_max`: a frame that was begun ends within it, however it trickles in.
//! * `PIECES_MAX = 32`: pieces taken from a stream at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{Connection, Incoming, RecvStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::close::Close;
use super::guest;
use super::links::Shared;
use super::peer::{Direction, Peer, Standing};
use crate::link::error::LinkFault;
use crate::link::lane::{Decoder, Lane};
use crate::link::tls;

/// What a caller is told once its key and its lane are accepted.
pub(super) const WELCOME: [u8; 1] = [1];

const PIECES_MAX: usize = 32;

/// Why a caller was not let in.
#[derive(Debug, thiserror::Error)]
enum AdmitError {
    #[error("the handshake failed")]
    Connection(#[from] quinn::ConnectionError),
    #[error("the caller is not a member")]
    NotMember,
    #[error("the caller did not name its lane")]
    Unnamed(#[from] quinn::ReadExactError),
    #[error("the caller named a lane that does not exist")]
    NotALane,
    #[error("the caller could not be welcomed")]
    Welcome(#[from] quinn::WriteError),
    #[error("the handshake took too long")]
    TooLong(#[from] tokio::time::error::Elapsed),
}

/// Lets callers in until the endpoint is closed.
pub(super) async fn accept(shared: Arc<Shared>) {
    let places_max = shared.limits.handshakes_max;
    let places = Arc::new(Semaphore::new(places_max));
    let guests = Arc::new(guest::Guests::default());
    while let Some(incoming) = shared.endpoint.accept().await {
        if guest::is_guest(&incoming) {
            guest::let_in(&shared, incoming, &guests);
            continue;
        }
        let half_taken = places.available_permits() <= places_max / 2;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            shared.handshakes.turned_away.add(1);
            shared.inbound.stranger(incoming.remote_address(), "too many call at once");
            incoming.refuse();
            continue;
        };
        if half_taken && incoming.may_retry() {
            // A forged address never answers, so a flood of them takes at most half the places.
            if incoming.retry().is_err() {
                shared.handshakes.turned_away.add(1);
            }
            continue;
        }
        shared.runtime.spawn(answer(Arc::clone(&shared), incoming, place));
    }
}

async fn answer(shared: Arc<Shared>, incoming: Incoming, place: OwnedSemaphorePermit) {
    let from = incoming.remote_address();
    let admitting = Box::pin(admit(&shared, incoming));
    match timeout(shared.limits.handshake_time_max, admitting).await.map_err(AdmitError::from) {
        Ok(Ok((standing, lane, stream))) => {
            shared.handshakes.accepted.add(1);
            drop(place);
            read(&shared, &standing, lane, stream).await;
        }
        Ok(Err(error)) | Err(error) => {
            shared.handshakes.failed.add(1);
            debug!(%from, %error, "did not accept a connection");
            shared.inbound.stranger(from, &error.to_string());
        }
    }
}

async fn admit(
    shared: &Arc<Shared>,
    incoming: Incoming,
) -> Result<(Standing, Lane, RecvStream), AdmitError> {
    let connection = incoming.accept()?.await?;
    let Some(peer) = caller(shared, &connection) else {
        Close::NotMember.tell(&connection);
        return Err(AdmitError::NotMember);
    };
    let mut stream = connection.accept_uni().await?;
    let mut tag = [0];
    stream.read_exact(&mut tag).await?;
    let Some(lane) = Lane::from_tag(tag[0]) else {
        fault(shared, &peer, &connection, LinkFault::NotALane);
        return Err(AdmitError::NotALane);
    };
    let standing =
        peer.stand(Direction::Accepted, lane, connection.clone()).ok_or(AdmitError::NotMember)?;
    let mut welcome = connection.open_uni().await?;
    welcome.write_all(&WELCOME).await?;
    // Dropping the stream finishes it: all that was written still arrives.
    Ok((standing, lane, stream))
}

fn caller(shared: &Arc<Shared>, connection: &Connection) -> Option<Arc<Peer>> {
    let (node, key) = tls::authenticated(connection, &shared.members)?;
    shared.peer(node).ok().filter(|peer| peer.key == key)
}

/// Reads an accepted connection until it or its lane ends.
async fn read(shared: &Shared, standing: &Standing, lane: Lane, stream: RecvStream) {
    let (peer, connection) = (standing.peer(), standing.connection());
    let reader = Reader { shared, peer, connection, lane };
    tokio::select! {
        _ = connection.closed() => {}
        () = reader.read(stream) => {}
        () = reader.datagrams() => {}
    }
}

fn fault(shared: &Shared, peer: &Peer, connection: &Connection, fault: LinkFault) {
    warn!(peer = %peer.node, %fault, "closed the connection of a peer");
    Close::Fault.tell(connection);
    peer.counters.faults.add(1);
    shared.inbound.link_fault(peer.node, fault);
}

/// How long is still waited for the rest of a frame.
struct Patience {
    most: Duration,
    left: Duration,
}

impl Patience {
    const fn new(most: Duration) -> Self {
        Self { most, left: most }
    }

    /// Another frame begins.
    const fn renew(&mut self) {
        self.left = self.most;
    }

    /// Waits as long as need be between frames, and within one as long as there is patience left.
    async fn wait<T>(
        &mut self,
        is_between: bool,
        reading: impl Future<Output = T>,
    ) -> Result<T, tokio::time::error::Elapsed> {
        if is_between {
            self.renew();
            return Ok(reading.await);
        }
        let begun = Instant::now();
        let read = timeout(self.left, reading).await?;
        self.left = self.left.saturating_sub(begun.elapsed());
        Ok(read)
    }
}

/// Hands on the frames of one lane.
struct Reader<'a> {
    shared: &'a Shared,
    peer: &'a Peer,
    connection: &'a Connection,
    lane: Lane,
}

impl Reader<'_> {
    /// Hands on datagrams, which travel beside the control lane alone.
    async fn datagrams(&self) {
        if self.lane != Lane::Control {
            return std::future::pending().await;
        }
        while let Ok(datagram) = self.connection.read_datagram().await {
            self.peer.counters.datagrams_received.add(1);
            self.shared.inbound.datagram(self.peer.node, datagram);
        }
    }

    async fn read(&self, mut stream: RecvStream) {
        let mut decoder = Decoder::new(self.shared.limits.lane(self.lane).frame_bytes_max);
        let mut pieces: [Bytes; PIECES_MAX] = Default::default();
        let mut patience = Patience::new(self.shared.limits.frame_time_max);
        loop {
            let reading = stream.read_chunks(&mut pieces);
            let Ok(read) = patience.wait(decoder.is_between_frames(), reading).await else {
                let slow = LinkFault::FrameTooSlow { lane: self.lane };
                return fault(self.shared, self.peer, self.connection, slow);
            };
            match read {
                Ok(Some(count)) => {
                    let frames = self.frames_received();
                    if self.hand_on(&mut decoder, &mut pieces[..count]).await.is_err() {
                        return;
                    }
                    if self.frames_received() != frames {
                        patience.renew();
                    }
                }
                Ok(None) if decoder.is_between_frames() => return,
                Ok(None) => {
                    let truncated = LinkFault::FrameTruncated { lane: self.lane };
                    return fault(self.shared, self.peer, self.connection, truncated);
                }
                Err(error) => {
                    debug!(peer = %self.peer.node, lane = %self.lane, %error, "could not read");
                    return;
                }
            }
        }
    }

    fn frames_received(&self) -> u64 {
        self.peer.counters.lanes[self.lane.index()].frames_received.value()
    }

    async fn hand_on(&self, decoder: &mut Decoder, pieces: &mut [Bytes]) -> Result<(), LinkFault> {
        let counters = &self.peer.counters.lanes[self.lane.index()];
        for piece in pieces {
            while let Some(frame) = self.next_frame(decoder, piece)? {
                counters.frames_received.add(1);
                counters.bytes_received.add(frame.len() as u64);
                if let Some(pause) = self.shared.inbound.frame(self.peer.node, self.lane, frame) {
                    pause.await;
                }
            }
            // Lets go of the receive buffer before the next wait.
            *piece = Bytes::new();
        }
        Ok(())
    }

    fn next_frame(
        &self,
        decoder: &mut Decoder,
        piece: &mut Bytes,
    ) -> Result<Option<Bytes>, LinkFault> {
        decoder.next(piece).map_err(|too_long| {
            let fault_found = LinkFault::FrameTooLong {
                lane: self.lane,
                announced: too_long.announced,
                allowed: self.shared.limits.lane(self.lane).frame_bytes_max,
            };
            fault(self.shared, self.peer, self.connection, fault_found);
            fault_found
        })
    }
}
