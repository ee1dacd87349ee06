//! Links over real sockets on the loopback.

mod delivery;
mod faults;
mod pressure;
mod reconnection;
mod refusal;
mod silence;
mod stage;
