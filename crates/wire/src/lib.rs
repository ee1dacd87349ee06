//! The words of Whimbrel and their exact bytes.
//!
//! Everything that two parts of the system say to each other, or that one part writes down for
//! later, is named here: ids, epochs, positions, links of the output chain, deeds, manifests,
//! journal entries and messages. This crate decides nothing about who owns a daemon or how it
//! moves; it only says what the words mean and whether some bytes are such a word.
//!
//! # Invariants
//!
//! * W1 (strict bytes): decoding either gives back exactly what was encoded or a typed error; it
//!   never panics and never allocates more than a small multiple of the input it was given.
//!
//! # Limits
//!
//! See [`limits`].

mod channel;
mod chunk;
mod deed;
mod delivery;
mod digest;
mod failure;
mod frame;
mod hex;
mod id;
mod key;
mod ledger;
pub mod limits;
mod link;
mod manifest;
mod message;
mod migration;
mod permit;
mod record;
mod time;
mod turn;

pub use channel::{
    ChannelName, ChannelNameError, ChannelWord, Hearing, Start, SubscribeRefusal,
    SubscriptionBinding, SubscriptionState,
};
pub use chunk::{ChunkList, ChunkRef};
pub use deed::{Deed, DeedError, SignedDeed};
pub use delivery::{DeliveryMessage, Refusal};
pub use digest::{Digest, DigestWriter, Purpose};
pub use failure::MigrationFailureReason;
pub use frame::{FrameError, decode, decode_frame, encode, encode_frame};
pub use hex::{hex, unhex};
pub use id::{
    AttemptId, ClientId, EntityId, Epoch, Kind, KindError, NodeId, OriginHash, Position, Sequence,
    StateVersion, StoreId, TimerId,
};
pub use key::{Identity, KeyError, NodeKey, PublicKey, Signature};
pub use ledger::{Ledger, Outgoing, Session};
pub use link::{CausalEvent, CausalLink, Head};
pub use manifest::{Luggage, Manifest, StateRef};
pub use message::{Message, MigrationEnvelope, Role, TitleMessage};
pub use migration::{CatchUp, Frozen, MigrationMessage, MigrationPhase, Offer, Progress};
pub use permit::{ChannelPattern, Permit};
pub use record::{CopyRecord, Holding, SeatRecord, Write, WriteError, WriteRefusal};
pub use time::Time;
pub use turn::{Answer, EvolutionWord, InputOrigin, Sender, Stamp, Turn};
