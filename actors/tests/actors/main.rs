//! Actors on one node, as their users see them.
#![allow(missing_docs)]

mod calls;
mod checkpoints;
mod exits;
mod fairness;
mod fake_net;
mod kinds;
mod monitors;
mod names;
mod pipes;
mod puppet;
mod runs;
mod verbs;
mod wire;
