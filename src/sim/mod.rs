//! A deterministic world of simulated nodes: the production machines under virtual time.
//!
//! The world owes the machines what the transport owes them: reliable ordered frames per
//! connection, and connections that close or go silent. It carries encoded bytes, so that the
//! limits of the wire are simulated too. It plays the driver's part: it dials, answers dials,
//! closes connections to the dead, and starts a node anew that was declared dead.
//!
//! A further machine per node (placement, supervision) joins in `driver`: its timers become
//! happenings, its frames travel over the same `network`.
//!
//! Placement has scenarios of its own, without a network: [`Load`] and [`GangLoad`].
//!
//! Invariants:
//! - **SW-1** Same seed and same calls, same [`World::trace`].
//! - **SW-2** Frames of one connection arrive in the order sent; a close comes after them.
//! - **SW-3** A silent link holds what was sent and delivers it when it heals.

mod agenda;
mod chaos;
mod driver;
mod gangs;
mod ground;
mod network;
mod placing;
mod schedule;
mod trace;
mod world;

pub use chaos::Chaos;
pub use gangs::{GangLoad, GangWaits};
pub use placing::{Load, Waits};
pub use world::{Seen, World};
