//! What actors tell to those who listen: metrics, through the facade of the crate `metrics`, and
//! spans of `tracing` that follow a message which was sent from inside one.
//!
//! Nobody has to ask for it: a recorder or a subscriber that is there is told. Without one, a
//! message costs a few instructions for it, and the clock is read at one turn in 61. Install the
//! recorder before the node is built: what a kind of actors reports to is decided when the first of
//! them starts. The bench `observe` compares with a build that has none of this.
//!
//! | metric | what it counts |
//! |---|---|
//! | `mobula_actors{kind}` | gauge: actors that have a run |
//! | `mobula_actors_started_total{kind}` | runs that began |
//! | `mobula_actors_ended_total{kind,exit}` | runs that ended, and how |
//! | `mobula_restarts_total{kind}` | runs that began and were not an actor's first |
//! | `mobula_messages_handled_total{kind}` | messages that were given to handlers |
//! | `mobula_turn_seconds{kind}` | histogram: how long an actor kept its thread at a time |
//! | `mobula_mailbox_messages{kind}` | histogram: messages that waited when such a turn began |
//!
//! Counters of messages are told once a turn, which is at most 128 messages.
//!
//! A message that is sent from inside an enabled span is handled inside a span `handle` of level
//! INFO, with the fields `actor` and `kind`: a child of the sender's span if it is a call, else one
//! that follows from it. Through a port it goes on as one that follows. What a timer, a pipe or a
//! stream delivers follows nothing, and no span follows to another node.
//!
//! Invariants:
//! - **OB-1** What is told adds up: turn by turn and run by run, nothing twice and nothing missed.
//! - **OB-2** A kind that nobody listens to when its first actor starts is not told of until all its
//!   actors have ended.

mod breed;
mod meter;
mod trace;
mod turns;

/// False in a build that the bench `observe` makes to compare with: without anything that this room
/// and [inspections](crate::Inspection) do as messages go by.
pub(crate) const IS_OBSERVED: bool = !cfg!(mobula_unobserved);

pub(crate) use breed::{Breed, Breeds};
pub use trace::SPANS_MAX;
pub(crate) use trace::{Origin, Trail, is_on as is_traced};
pub(crate) use turns::Turns;
