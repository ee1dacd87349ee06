//! The admin API: what people and programs on the same machine can ask a running node.
//!
//! A node listens on a Unix socket in its data folder that only its owner may open. Requests and
//! replies are lines of JSON ([`words`]). Whoever may open the socket may do everything, unless the node was
//! given root keys: then a [token](crate::Caller) is demanded. This module decides nothing about daemons: it
//! translates questions into calls of [`DaemonRuntime`](crate::DaemonRuntime) and their ends into words.
//!
//! * [`words`]: requests and replies; [`AdminFault`]: what a refusal says; `line`: a line, bounded;
//! * [`AdminServer`]: the node's side; [`AdminClient`]: the other side;
//! * `office`: what a request does; `judged`: what it needs of its caller; `channels`: those about channels; `watched`: how a move goes; `names`: what daemons are called.

mod channels;
mod client;
mod fault;
mod files;
mod judged;
mod line;
mod names;
mod office;
mod server;
mod tell;
mod watched;
pub mod words;

pub use client::{AdminClient, AdminClientError, Asker, Listener};
pub use fault::{AdminFault, Again, Code, Effect, Fault};
pub use line::LINE_BYTES_MAX;
pub use server::{AdminServer, AdminServerError};

/// The name of the socket in the folder of a node.
pub const SOCKET_NAME: &str = "admin.sock";
