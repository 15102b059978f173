//! Integration tests over real libp2p, on loopback.

mod remote;
mod support;
