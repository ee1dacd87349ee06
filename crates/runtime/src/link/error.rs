//! What can go wrong with links, and whose fault it is.

use std::io;

use crate::link::lane::Lane;

/// Why links could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The address is taken, foreign or forbidden.
    ///
    /// Fault: caller or surroundings. Changed: nothing. Again: yes, with another address or later.
    #[error("could not open the link socket")]
    Socket(#[source] io::Error),
    /// The limits contradict each other.
    ///
    /// Fault: caller. Changed: nothing. Again: no, not with these limits.
    #[error("could not use the link limits: {0}")]
    Limits(&'static str),
    /// The node's key could not be made into a TLS identity.
    ///
    /// Fault: us. Changed: nothing. Again: no.
    #[error("could not set up link encryption")]
    Encryption(#[source] rustls::Error),
    /// There is no tokio runtime to run the links on.
    ///
    /// Fault: caller. Changed: nothing. Again: yes, inside a runtime.
    #[error("could not find a runtime for the links")]
    NoRuntime,
}

/// Why a frame was not taken for sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// As much waits for this peer on this lane as may.
    ///
    /// Fault: surroundings (the peer is slow or away). Changed: nothing. Again: yes, later.
    #[error("lane is full")]
    Full,
    /// The peer is not among the members, or is this node itself.
    ///
    /// Fault: caller. Changed: nothing. Again: only after the peer has become a member.
    #[error("peer is not a member")]
    UnknownPeer,
    /// The frame is longer than the lane allows.
    ///
    /// Fault: caller. Changed: nothing. Again: no.
    #[error("frame of {bytes} bytes is longer than {allowed}")]
    TooLong {
        /// Length of the frame.
        bytes: usize,
        /// The lane's limit.
        allowed: u32,
    },
    /// The links are closed.
    ///
    /// Fault: caller. Changed: nothing. Again: no.
    #[error("links are closed")]
    Closed,
}

/// What an authenticated peer did that it should not have. Its connection has been closed for it;
/// it may dial again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkFault {
    /// It announced a frame beyond the lane's limit. Nothing was set aside for it.
    #[error("peer announced a frame of {announced} bytes on {lane}, {allowed} are allowed")]
    FrameTooLong {
        /// Where.
        lane: Lane,
        /// What it announced.
        announced: u32,
        /// What it may.
        allowed: u32,
    },
    /// It ended a lane in the middle of a frame. The beginning was dropped.
    #[error("peer ended {lane} inside a frame")]
    FrameTruncated {
        /// Where.
        lane: Lane,
    },
    /// It began a frame and did not end it within the time that one may take.
    #[error("peer took too long for a frame on {lane}")]
    FrameTooSlow {
        /// Where.
        lane: Lane,
    },
    /// It named a lane that does not exist.
    #[error("peer named a lane that does not exist")]
    NotALane,
}
