//! Integration tests over real libp2p, on loopback.

#![allow(unreachable_pub)] // A test exports nothing: `pub` marks what its modules share.

mod remote;
mod support;
