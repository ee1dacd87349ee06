//! The admin API: what people and programs on the same machine can ask a running node.
//!
//! A node listens on a Unix socket in its data folder that only its owner may open. Requests and
//! replies are lines of JSON ([`words`]); whoever may open the socket may do everything. This
//! module decides nothing about daemons: it translates questions into calls of
//! [`DaemonRuntime`](crate::DaemonRuntime) and their ends into words.
//!
//! * [`words`]: requests and replies; [`fault`]: what a refusal says; `line`: one line, bounded;
//! * [`AdminServer`]: the node's side; [`AdminClient`]: the other side;
//! * `names`: what daemons and nodes are called here.

mod client;
mod fault;
mod line;
mod names;
mod server;
mod tell;
pub mod words;
mod work;

pub use client::{AdminClient, AdminClientError, Asker, Listener};
pub use fault::{AdminFault, Again, Code, Effect, Fault};
pub use line::LINE_BYTES_MAX;
pub use server::{AdminServer, AdminServerError};

/// The name of the socket in the folder of a node.
pub const SOCKET_NAME: &str = "admin.sock";
