//! What travels on a lane.

use bytes::Bytes;
use thiserror::Error;

/// One message between two nodes. The net room carries it and does not look into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// What it is, in the numbering of the caller.
    pub kind: u8,
    /// Whom it is for, in the naming of the caller.
    pub target: u64,
    /// A small encoded part, at most 32 KiB.
    pub head: Bytes,
    /// The raw part. A received one shares a 64 KiB buffer unless it is larger than a frame: copy
    /// a small one that is to be kept for long.
    pub payload: Bytes,
}

impl Message {
    /// What a lane counts for it: both parts and the frame header.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.head.len().saturating_add(self.payload.len()).saturating_add(super::frame::HEADER)
    }
}

/// A road for messages of one sort between two nodes. Order holds within a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Membership, gossip and whatever else must not wait. Goes before calls.
    Control,
    /// Messages between actors.
    Call,
    /// Large parts that name their place. On a connection of its own, dialed at the first push.
    Bulk,
}

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 3] = [Self::Control, Self::Call, Self::Bulk];
}

/// A message that was not taken, given back.
#[derive(Debug, Error)]
#[error("message to lane refused: {why}")]
pub struct Refused {
    /// The message, untouched.
    pub message: Message,
    /// The reason.
    pub why: Why,
}

/// Why a lane refused a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Why {
    /// The lane holds as much as it may: wait for `Link::room`.
    #[error("the lane is full, wait for room")]
    Full,
    /// A part of the message is larger than it may be.
    #[error("{bytes} bytes are more than the {max} allowed, split the message")]
    TooLarge {
        /// Of the offending part.
        bytes: usize,
        /// The bound it broke.
        max: usize,
    },
    /// The link is closed or closing.
    #[error("the link is closed, dial the peer again")]
    Closed,
    /// The peer does not listen, and the bulk lane needs a connection dialed to it.
    #[error("the peer has no address to dial for the bulk lane")]
    NoAddress,
}
