//! Integration tests over real libp2p, on loopback.

#![allow(unreachable_pub)] // A test exports nothing: `pub` marks what its modules share.

mod calls;
mod cases;
mod deaths;
mod faults;
mod flow;
mod gangs;
mod grants;
mod groups;
#[cfg(feature = "ractor")]
mod guests;
mod inspections;
mod lives;
mod monitors;
mod moves;
mod names;
mod observers;
mod partitions;
mod places;
mod process;
mod puppet;
mod relay;
mod remote;
mod rogues;
mod strangers;
mod support;
mod versions;
