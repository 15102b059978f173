//! Actors on one node: mailboxes, references, calls, monitors and the engine that runs them.

pub mod demand;
pub mod id;
pub mod mailbox;
