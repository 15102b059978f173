//! The gossip room.
