//! Mobula: typed actors, supervision and placement over a peer-to-peer cluster. No head node.

pub mod gossip;
pub mod machine;
#[cfg(feature = "net")]
pub mod net;
pub mod placement;
pub mod sim;
