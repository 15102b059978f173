//! Actors on one node, as their users see them.
#![allow(missing_docs)]

mod attached;
mod bad_input;
mod batches;
mod births;
mod calls;
mod checkpoints;
mod exits;
mod fairness;
mod fake_net;
mod families;
mod groups;
#[cfg(feature = "ractor")]
mod guests;
mod inspect;
mod kinds;
mod metered;
mod monitors;
mod names;
mod pipes;
mod ports;
mod puppet;
mod runs;
mod scheduling;
mod streams;
mod threads;
mod timers;
mod traced;
mod verbs;
mod waits;
mod wire;
