//! What a connection is told when it is closed. The other side only logs it.

use quinn::VarInt;

/// Why this side closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// The node stops.
    Stopping,
    /// The peer is not, or not any more, a member.
    NotMember,
    /// The peer dialled again; there is one connection each way.
    Replaced,
    /// The peer broke the rules of the link.
    Fault,
    /// A lane ended, or could not be served.
    LaneEnded,
}

impl Close {
    pub(super) fn tell(self, connection: &quinn::Connection) {
        connection.close(self.code(), self.reason());
    }

    pub(super) const fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Stopping => 0,
            Self::NotMember => 1,
            Self::Replaced => 2,
            Self::Fault => 3,
            Self::LaneEnded => 4,
        })
    }

    pub(super) const fn reason(self) -> &'static [u8] {
        match self {
            Self::Stopping => b"stopping",
            Self::NotMember => b"not a member",
            Self::Replaced => b"replaced",
            Self::Fault => b"fault",
            Self::LaneEnded => b"lane ended",
        }
    }
}
