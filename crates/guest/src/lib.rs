//! What a daemon in WebAssembly is written with.
//!
//! A guest is a library for `wasm32-unknown-unknown` or `wasm32-wasip1` (`crate-type = ["cdylib"]`)
//! with a type that implements [`Reactor`] and is named in [`reactor!`]. All that it asks for happens
//! once the turn is durable, and not at all if the turn is declined or traps. On other targets the
//! functions do nothing, so that a guest can be checked and tested there.
//!
//! ```
//! use whimbrel_guest::{Reactor, answer, reactor};
//!
//! #[derive(Default)]
//! struct Adder(u64);
//!
//! impl Reactor for Adder {
//!     fn on_event(&mut self, event: &[u8]) -> Result<(), String> {
//!         if event.is_empty() {
//!             return Err("there is nothing to add".to_owned());
//!         }
//!         self.0 += event.iter().map(|&byte| u64::from(byte)).sum::<u64>();
//!         answer(self.0.to_string().as_bytes());
//!         Ok(())
//!     }
//! }
//!
//! reactor!(Adder);
//! ```

mod imports;

/// Who a daemon is: 32 bytes.
pub type Entity = [u8; 32];

/// What a guest does.
pub trait Reactor: Default {
    /// Takes an event.
    ///
    /// # Errors
    ///
    /// A reason declines it: then nothing of the turn has happened, in the guest's memory neither.
    fn on_event(&mut self, event: &[u8]) -> Result<(), String>;

    /// Takes a message of a channel; unless told otherwise, like an event.
    ///
    /// # Errors
    ///
    /// As [`on_event`](Self::on_event).
    fn on_message(&mut self, message: &[u8]) -> Result<(), String> {
        self.on_event(message)
    }

    /// A timer is due.
    fn on_timer(&mut self, _number: u64) {}
}

/// Answers whoever sent the event.
pub fn answer(payload: &[u8]) {
    imports::answer(payload);
}

/// Sends an event to another daemon.
pub fn send(to: &Entity, payload: &[u8]) {
    imports::send(to, payload);
}

/// Publishes a message on a channel of this daemon.
pub fn publish(channel: &str, payload: &[u8]) {
    imports::publish(channel, payload);
}

/// Calls [`Reactor::on_timer`] once the daemon's time is `at`, in nanoseconds since the Unix epoch.
/// Timers have numbers from 0 to 4095; one that is set again moves.
pub fn set_timer(number: u64, at: u64) {
    imports::set_timer(number, at);
}

/// Forgets a timer.
pub fn cancel_timer(number: u64) {
    imports::cancel_timer(number);
}

/// Nanoseconds since the Unix epoch. It stands still within a turn and never goes back.
#[must_use]
pub fn now() -> u64 {
    imports::now()
}

/// Fills with random bytes, the same in every replay of the turn.
pub fn fill_random(bytes: &mut [u8]) {
    imports::random(bytes);
}

/// Who this daemon is.
#[must_use]
pub fn entity() -> Entity {
    imports::entity()
}

/// Ends the turn: the event is declined because of this, and nothing of it has happened.
pub fn decline(reason: &str) {
    imports::decline(reason);
}

/// Room for an event that comes; for [`reactor!`].
#[doc(hidden)]
#[must_use]
pub fn allocate(length: usize) -> *mut u8 {
    Box::into_raw(vec![0_u8; length].into_boxed_slice()).cast()
}

/// The event that was put there; for [`reactor!`].
#[doc(hidden)]
#[must_use]
#[allow(unsafe_code, reason = "the node gives back the room that it was given")]
pub fn taken(at: *mut u8, length: usize) -> Box<[u8]> {
    // SAFETY: `reactor!` calls this with what `allocate` gave, once.
    unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(at, length)) }
}

/// Declines if there is a reason; for [`reactor!`].
#[doc(hidden)]
pub fn judge(result: Result<(), String>) {
    if let Err(reason) = result {
        decline(&reason);
    }
}

/// Exports a type that implements [`Reactor`] as the daemon of this module.
#[macro_export]
macro_rules! reactor {
    ($reactor:ty) => {
        thread_local! {
            static WHIMBREL_REACTOR: ::std::cell::RefCell<$reactor> =
                ::std::cell::RefCell::default();
        }

        #[allow(unsafe_code, reason = "exports have fixed names")]
        #[unsafe(no_mangle)]
        extern "C" fn whimbrel_alloc(length: usize) -> *mut u8 {
            $crate::allocate(length)
        }

        #[allow(unsafe_code, reason = "exports have fixed names")]
        #[unsafe(no_mangle)]
        extern "C" fn on_event(at: *mut u8, length: usize) {
            let event = $crate::taken(at, length);
            $crate::judge(WHIMBREL_REACTOR.with_borrow_mut(|reactor| {
                <$reactor as $crate::Reactor>::on_event(reactor, &event)
            }));
        }

        #[allow(unsafe_code, reason = "exports have fixed names")]
        #[unsafe(no_mangle)]
        extern "C" fn on_message(at: *mut u8, length: usize) {
            let message = $crate::taken(at, length);
            $crate::judge(WHIMBREL_REACTOR.with_borrow_mut(|reactor| {
                <$reactor as $crate::Reactor>::on_message(reactor, &message)
            }));
        }

        #[allow(unsafe_code, reason = "exports have fixed names")]
        #[unsafe(no_mangle)]
        extern "C" fn on_timer(number: u64) {
            WHIMBREL_REACTOR.with_borrow_mut(|reactor| {
                <$reactor as $crate::Reactor>::on_timer(reactor, number)
            });
        }
    };
}
