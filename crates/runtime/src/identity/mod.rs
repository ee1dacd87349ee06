//! Decides how the secrets of a daemon, its key and the tokens that it holds, leave this process: sealed to the
//! node it moves to, or locked for this node's own disk.
//!
//! When a key is sealed, sent, stored or wiped is for others; this module keeps nothing.
//!
//! ```text
//!   source                                       target
//!   Secrets ─── seal ─▶ envelope ── the offer ──▶ open ─▶ Secrets
//!      │ lock                                               │ lock
//!      ▼                                                    ▼
//!   the source's disk                            the target's disk
//! ```
//!
//! # Invariants
//!
//! * I1 (one reader): an envelope opens with the key of the node that it was sealed to, and with no
//!   other; a locked key with the key of the node that locked it.
//! * I2 (one writer): an envelope opens only if the node that is named as its source sealed it.
//! * I3 (one move): an envelope opens only for the daemon, attempt, epoch and snapshot that it was
//!   sealed for.
//! * I4 (one daemon): what is opened or unlocked is the key of the daemon that was asked for.
//! * I5 (nothing left): every buffer of this module that held a secret is overwritten when dropped.
//!   Registers, and copies that the compiler or the cipher crates leave on the stack, are out of
//!   its reach.
//!
//! # Limits
//!
//! * `limits::ENVELOPE_BYTES_MAX`: a longer envelope is refused before anything is computed.

mod binding;
mod curve;
mod envelope;
mod error;
mod random;
mod rest;
mod secrets;
#[cfg(test)]
mod tests;

pub use binding::Binding;
pub(crate) use envelope::seal;
pub use envelope::{EnvelopeUnsealFn, unsealer};
pub use error::IdentityError;
pub(crate) use rest::{lock, unlock};
pub use secrets::{Secrets, TOKENS_BYTES_MAX, TOKENS_MAX, TooManyTokens};
