//! Decides how an isolate is a daemon: the kind `isolate`.
//!
//! A newborn is given a module, which travels with it by its chunks. A **reactor** exports `on_event`
//! and is called for each event; what it asks of the functions in [`IMPORT_MODULE`] happens once, after
//! the turn is durable, wherever it lives.
//!
//! # What a reactor exports
//!
//! ```text
//! memory                               its first memory, addressed by 32 bits
//! whimbrel_alloc(length) → pointer     gives room for an event; it is the guest's from then on
//! on_event(pointer, length)            takes an event
//! on_timer(number: i64)                a timer is due; may be missing
//! on_message(pointer, length)          takes a message of a channel; without it, on_event does
//! _initialize(), on_birth()            called once, in this order, before anything else; may be missing
//! ```
//!
//! # What it may import from `whimbrel`
//!
//! ```text
//! answer(pointer, length)              an answer to whoever sent the event
//! send(to, pointer, length)            an event for the daemon of the 32 bytes at `to`
//! publish(name, name length, pointer, length)
//! set_timer(number: i64, at: i64)      calls on_timer once the daemon's time is `at`, in nanoseconds
//! cancel_timer(number: i64)            forgets it
//! now() → i64                          nanoseconds since the Unix epoch; stands still within a turn
//! random(pointer, length)              fills with random bytes, the same in every replay of the turn
//! entity(pointer)                      writes the 32 bytes of its own name
//! decline(pointer, length)             ends the turn: the event is declined with this reason
//! ```
//!
//! A **program** exports `_start` and runs until it ends, in slices that are turns of its journal. It
//! may import WASI preview 1 from `wasi_snapshot_preview1`, as reactors may as far as they do not wait,
//! and of `whimbrel` what needs no event: `send`, `publish`, `now`, `random`, `entity`.
//!
//! # What a program is sent
//!
//! ```text
//! in BYTES           input; declined while there is no room for it
//! fed                how many bytes of input there were so far
//! feed AT BYTES      input that begins with the byte of this number, which must be the next one;
//!                    what there was already is not taken again
//! end                no more input will come
//! take OUT ERR       what came before these numbers was taken, and what follows is wanted: answers the
//!                    standing, and the bytes of stdout and stderr if there are any
//! ?status            where it is, as JSON
//! ?hashes            the digest of its state and those of its memories, as JSON
//! pause, resume      no slice is taken in between
//! ```
//!
//! A turn of a reactor that declines, traps, takes too long or asks for too much has not happened: the sender is
//! told why, and the guest is as it was before. Of a timer nobody is told.
//!
//! # Limits
//!
//! * [`Policy`]: what a node allows; an isolate that claims more is refused before anything is built.
//! * [`TIMER_ID_MAX`]: timers have numbers up to it.

mod calls;
mod desk;
mod founding;
mod image;
mod kind;
mod library;
mod machine;
mod program;
mod reactor;
mod said;
mod settings;

pub use crate::wasi::Beginnings;
pub use calls::IMPORT_MODULE;
pub use desk::TIMER_ID_MAX;
pub use founding::{FOUNDING_MAGIC, Founding, FoundingError};
pub use kind::Isolate;
pub use library::Library;
pub use machine::Refusal;
pub use settings::{Disallowed, Life, Policy};

#[cfg(test)]
mod tests;
