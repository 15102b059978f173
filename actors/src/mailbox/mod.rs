//! The mailbox's queue and the call's answer cell: the only lock-free code of mobula.
//!
//! [`Queue`] is a bounded queue of many producers and one consumer. Values lie inline in linked
//! blocks, so a push allocates once in up to 32 values, and a queue that sleeps owns no block, so
//! that millions of idle mailboxes cost about a hundred bytes each.
//!
//! ```text
//!  state word   | index: the next slot to claim, 61 bits | CLOSED | INSTALLING | ASLEEP |
//!
//!  consumer's block                                   tail block
//!        |                                                |
//!        v                                                v
//!  [next | x x 2 3] --> [next | 4 5 6 7] --> [next | 8 9 . .] --> null
//!              ^ position                             ^ index
//! ```
//!
//! *Push.* One exchange of the state word claims the index, and with it checks the flags; the room
//! was checked for that very index. Who claims a block's first slot sets `INSTALLING`, links its
//! block (allocated before the claim) and clears the flag; others wait for these few stores. The
//! value is written, then its ready flag is set.
//!
//! *Pop.* The consumer follows the ready flags and the links. It publishes its position, at every
//! pop of a small queue, else every 32 pops and when it finds nothing; producers remember the last
//! position they saw and look again only when the queue seems full.
//!
//! *Sleep.* With everything claimed popped, one exchange sets `ASLEEP` and rounds the index up to
//! the next block, so that no producer can reach the old block, which is freed. The next claim is
//! an installing one: it clears `ASLEEP` and hands the consumer a new block.
//!
//! - M-1 An accepted value is popped once, or dropped with the queue; the values of one producer
//!   are popped in its order.
//! - M-2 For each sleep exactly one push or close says [`Pushed::WakeConsumer`], and a push that does
//!   not is found by the consumer before it sleeps.
//! - M-3 A block is installed by one claimer, and freed or reused only when all claimed slots of it
//!   were popped and its successor is linked, or no claim can reach it.
//! - M-4 There is one consumer at a time; the next goes on where the last one stopped.
//! - M-5 After a close nothing is accepted; what was accepted before is popped.
//! - M-6 Never more values than the capacity, plus what [`Queue::push_beyond`] was allowed; an empty
//!   queue whose consumer has seen that is never full.
//! - M-7 While pushes wait, published room beyond what was promised to woken ones wakes the next in
//!   line; a woken push that gives up passes its wake on. The consumer of a large queue may let them
//!   wait until there is room for 128, or it finds nothing. It publishes, fences (SeqCst) and looks for
//!   waiters; a waiter enters the line, fences and looks for room: one sees the other.
//! - M-8 A sleeping queue owns no slot memory; an awake one keeps at most one block to spare.
//!
//! [`Slot`] is the cell that the answer to a call goes through; its rules are in its module.
#![allow(unsafe_code)] // Values live inline in shared blocks, which safe Rust cannot express.

mod block;
mod consumer;
mod progress;
mod push;
mod queue;
mod slot;
pub(crate) mod sync;
mod waiters;

pub use consumer::{Consumer, Pop, Rest};
pub use push::{PushError, Pushed};
pub use queue::Queue;
pub use slot::{Slot, Waiting};
pub use waiters::Waiter;

#[cfg(test)]
mod tests;
