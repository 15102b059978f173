//! The mailbox's queue and the call's answer cell: the only lock-free code of mobula.
#![allow(unsafe_code)] // Values live inline in shared blocks, which safe Rust cannot express.

mod block;
mod consumer;
mod queue;
mod slot;
pub(crate) mod sync;
mod waiters;

pub use consumer::{Consumer, Pop};
pub use queue::{PushError, Pushed, Queue};
pub use slot::Slot;
pub use waiters::Waiter;

#[cfg(test)]
mod tests;
