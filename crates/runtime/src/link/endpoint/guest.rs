//! Decides how a stranger asks to be let in, and how it is heard.
//!
//! A guest marks the id of the connection that it asks for, so that it is told apart before anything is known of
//! it; whoever does not do that has to be a member. It proves its key and that of the host by the same handshake
//! as members, over another protocol, says one thing on one stream, and is told one.
//!
//! # Limits
//!
//! * [`GUESTS_MAX`] are heard at a time, [`FROM_ONE_PLACE_MAX`] of them from one address (of IPv6: one network of 64
//!   bits), and only after it proved its address. Each has `handshake_time_max` to say what it wants, the host
//!   [`ANSWER_MAX`] to answer, and the guest [`FAREWELL_MAX`] to hang up.
//! * [`REQUEST_BYTES_MAX`], [`ANSWER_BYTES_MAX`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use quinn::{ConnectionId, Endpoint, Incoming, VarInt};
use tokio::time::timeout;
use tracing::debug;
use whimbrel_wire::{NodeKey, PublicKey};

use super::links::Shared;
use super::settings;
use crate::core::lock;
use crate::link::limits::LinkLimits;
use crate::link::tls::{self, Credentials, SERVER_NAME};

/// How the id of a guest's connection begins. The rest is random.
const GUEST_MARK: [u8; 8] = *b"whimbrel";

/// How long such an id is.
const ID_BYTES: usize = 20;

/// Guests that are heard at a time.
pub(super) const GUESTS_MAX: usize = 8;

/// Of them from one address.
const FROM_ONE_PLACE_MAX: usize = 2;

/// The longest request.
const REQUEST_BYTES_MAX: usize = 4 * 1024;

/// The longest answer.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a host may take to answer, after the handshake.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How long a guest may take to hang up once it was answered.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// The guests that are being heard.
#[derive(Default)]
pub(super) struct Guests(Mutex<Vec<IpAddr>>);

/// A place at the door. It is free again when this is dropped.
struct Place {
    guests: Arc<Guests>,
    from: IpAddr,
}

impl Guests {
    /// A place for somebody from there, if there is one.
    fn admit(self: &Arc<Self>, from: IpAddr) -> Result<Place, &'static str> {
        let from = whence(from);
        let mut heard = lock(&self.0);
        if heard.len() >= GUESTS_MAX {
            return Err("too many guests at once");
        }
        if heard.iter().filter(|other| **other == from).count() >= FROM_ONE_PLACE_MAX {
            return Err("too many guests from one address at once");
        }
        heard.push(from);
        Ok(Place { guests: Arc::clone(self), from })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut heard = lock(&self.guests.0);
        if let Some(index) = heard.iter().position(|other| *other == self.from) {
            heard.swap_remove(index);
        }
    }
}

/// What counts as one address: whoever has one of IPv6 has a network of them.
fn whence(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// Why a host was not reached.
///
/// Fault: surroundings, or the host is another one. Changed: nothing. Again: yes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// There is no address to call.
    #[error("the invitation has no address of the host")]
    NoAddress,
    /// The socket could not be opened.
    #[error("could not open a socket")]
    Socket(#[source] std::io::Error),
    /// None of the addresses led to the host: the last attempt failed like this.
    #[error("could not call the host: {0}")]
    Failed(String),
}

/// Whether this call is marked as that of a guest.
pub(super) fn is_guest(incoming: &Incoming) -> bool {
    incoming.orig_dst_cid().starts_with(&GUEST_MARK)
}

/// Hears a guest out, if there is a place and the door is open.
pub(super) fn let_in(shared: &Arc<Shared>, incoming: Incoming, guests: &Arc<Guests>) {
    if !shared.inbound.is_open_to_guests() {
        return incoming.refuse();
    }
    if incoming.may_retry() {
        // Not even the handshake is begun with whoever forges its address.
        drop(incoming.retry());
        return;
    }
    let from = incoming.remote_address();
    match guests.admit(from.ip()) {
        Ok(place) => drop(shared.runtime.spawn(hear(Arc::clone(shared), incoming, place))),
        Err(why) => {
            shared.inbound.stranger(from, why);
            incoming.refuse();
        }
    }
}

async fn hear(shared: Arc<Shared>, incoming: Incoming, place: Place) {
    let from = incoming.remote_address();
    match Box::pin(hear_out(&shared, incoming)).await {
        Ok(()) => debug!(%from, "a guest was heard"),
        Err(error) => {
            debug!(%from, %error, "a guest was not heard");
            shared.inbound.stranger(from, &error);
        }
    }
    drop(place);
}

async fn hear_out(shared: &Arc<Shared>, incoming: Incoming) -> Result<(), String> {
    let wrong = |error: &dyn std::fmt::Display| error.to_string();
    let handshake = Box::pin(async {
        let connecting = incoming.accept_with(Arc::clone(&shared.door)).map_err(|it| wrong(&it))?;
        let connection = connecting.await.map_err(|it| wrong(&it))?;
        let mut stream = connection.accept_uni().await.map_err(|it| wrong(&it))?;
        let request = stream.read_to_end(REQUEST_BYTES_MAX).await.map_err(|it| wrong(&it))?;
        Ok::<_, String>((connection, request))
    });
    let (connection, request) =
        timeout(shared.limits.handshake_time_max, handshake).await.map_err(|it| wrong(&it))??;
    let key = tls::peer_key(&connection).ok_or("it has no key")?;
    let answering = Box::pin(async {
        let from = connection.remote_address();
        let answer = shared.inbound.guest(from, key, request.into()).await;
        let answer = answer.ok_or("there is no answer")?;
        let mut stream = connection.open_uni().await.map_err(|it| wrong(&it))?;
        stream.write_all(&answer).await.map_err(|it| wrong(&it))?;
        stream.finish().map_err(|it| wrong(&it))?;
        // All of it arrived.
        drop(stream.stopped().await);
        Ok::<_, String>(())
    });
    timeout(ANSWER_MAX, answering).await.map_err(|it| wrong(&it))??;
    // The guest hangs up when it has heard it; one that does not keeps nobody else out.
    drop(timeout(FAREWELL_MAX, connection.closed()).await);
    Ok(())
}

/// Calls a host as a guest: says one thing, and gives what it is told.
pub(crate) async fn call_host(
    key: &NodeKey,
    host: PublicKey,
    addresses: &[SocketAddr],
    request: &[u8],
) -> Result<Bytes, CallError> {
    let mut last = CallError::NoAddress;
    for &address in addresses {
        match Box::pin(call(key, host, address, request)).await {
            Ok(answer) => return Ok(answer),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn call(
    key: &NodeKey,
    host: PublicKey,
    address: SocketAddr,
    request: &[u8],
) -> Result<Bytes, CallError> {
    let failed = |error: &dyn std::fmt::Display| CallError::Failed(format!("{address}: {error}"));
    let limits = LinkLimits::default();
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)),
        SocketAddr::V6(_) => SocketAddr::from((IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0)),
    };
    let endpoint = Endpoint::client(any).map_err(CallError::Socket)?;
    let tls = Credentials::new(key).call_as_guest(host).map_err(|it| failed(&it))?;
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(settings::transport(&limits)));
    let mut random = [0; ID_BYTES - GUEST_MARK.len()];
    getrandom::fill(&mut random).map_err(|it| failed(&it))?;
    let id = ConnectionId::new(&[&GUEST_MARK[..], &random].concat());
    config.initial_dst_cid_provider(Arc::new(move || id));
    let connecting =
        endpoint.connect_with(config, address, SERVER_NAME).map_err(|it| failed(&it))?;
    let talk = Box::pin(async {
        let connection = connecting.await.map_err(|it| failed(&it))?;
        let mut stream = connection.open_uni().await.map_err(|it| failed(&it))?;
        stream.write_all(request).await.map_err(|it| failed(&it))?;
        stream.finish().map_err(|it| failed(&it))?;
        let mut stream = connection.accept_uni().await.map_err(|it| failed(&it))?;
        let answer = stream.read_to_end(ANSWER_BYTES_MAX).await.map_err(|it| failed(&it))?;
        connection.close(VarInt::from_u32(0), b"heard");
        Ok::<_, CallError>(Bytes::from(answer))
    });
    let talked = timeout(limits.handshake_time_max + ANSWER_MAX, talk).await;
    let talked = talked.unwrap_or_else(|_| Err(failed(&"it took too long")));
    drop(timeout(limits.close_time_max, endpoint.wait_idle()).await);
    talked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_places_leaves_some_to_others_and_gives_them_back() {
        let guests = Arc::new(Guests::default());
        let from = |text: &str| guests.admit(text.parse().unwrap());
        let mut places: Vec<Place> = Vec::new();
        for _ in 0..FROM_ONE_PLACE_MAX {
            places.push(from("10.0.0.1").unwrap());
        }
        assert!(from("10.0.0.1").is_err());
        assert!(from("::ffff:10.0.0.1").is_err(), "the same one, as IPv6 writes it");
        for host in 1..=FROM_ONE_PLACE_MAX {
            places.push(from(&format!("2001:db8::{host}")).unwrap());
        }
        assert!(from("2001:db8::ffff").is_err(), "a neighbour in its network");
        places.push(from("2001:db8:0:1::1").unwrap());
        while places.len() < GUESTS_MAX {
            places.push(from(&format!("10.0.1.{}", places.len())).unwrap());
        }
        assert!(from("10.0.2.1").is_err(), "no more than there are");
        places.remove(0);
        drop(from("10.0.0.1").unwrap());
        places.clear();
        assert!(lock(&guests.0).is_empty());
    }
}
