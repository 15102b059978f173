//! The two ways in which a message can fail to do its work, and the errors of each verb.
//!
//! Invariant **E-2**: `Rejected` means certainly not run, and retrying is safe; `Unknown` means
//! that it left and may have run. There is no third outcome.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::exit::Exit;

/// Why a message was refused. It has not run and will not run.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Why {
    /// The mailbox, or the lane to its node, was full.
    #[error("the mailbox is full; use `send` to wait for room")]
    Full,
    /// The receiving node has granted no more messages to this actor for now.
    #[error("no credit for this actor at the moment; use `send` to wait for it")]
    NoCredit,
    /// The actor has ended and is not started again.
    #[error("the actor has stopped")]
    Stopped,
    /// No node is known on which the actor lives, and none that will know.
    #[error("no route to the actor")]
    NoRoute,
    /// Its node cannot be reached, and the message had not left.
    #[error("the actor's node is unreachable")]
    Unreachable,
    /// The deadline passed before it could run.
    #[error("the deadline passed before the message could run")]
    Expired,
    /// Bigger than a message may be.
    #[error("the message has {bytes} bytes, more than the {max} allowed between nodes")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// It could not be encoded or decoded.
    #[error("the message could not be understood: {0}")]
    Incompatible(String),
    /// The caller has as many calls in flight as it may have.
    #[error("too many calls in flight; wait for some of them to be answered")]
    TooManyCalls,
    /// The actor was started again, and drops the messages that waited for it.
    #[error("the actor was started again and dropped its mailbox")]
    Restarted,
    /// The actor's node does not let this one ask that.
    #[error("{0}")]
    Denied(Box<str>),
    /// It is being started again, or looked for: its home will know where it is.
    #[error("the actor is between two places; use `send` to wait for it")]
    Moving,
}

/// Why an answer is missing. The message may have run.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Lost {
    /// The deadline passed.
    #[error("no answer before the deadline")]
    Deadline,
    /// The actor dropped the right to answer, or ended while it held it.
    #[error("the actor gave no answer")]
    Dropped,
    /// The connection to the actor's node broke, or the node died, after the message had left.
    #[error("the connection broke before the answer came")]
    Disconnected,
    /// The answer could not be decoded.
    #[error("the answer could not be understood: {0}")]
    Undecodable(String),
}

/// A call without an answer.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CallError {
    /// Certainly not run; safe to try again.
    #[error("rejected: {0}")]
    Rejected(#[source] Why),
    /// May have run.
    #[error("outcome unknown: {0}")]
    Unknown(#[source] Lost),
}

/// A refused `cast` or `send`, with the message.
#[derive(Error)]
#[error("rejected: {why}")]
pub struct Rejected<M> {
    /// The message, as it was given.
    pub message: M,
    /// Why it was refused.
    #[source]
    pub why: Why,
}

impl<M> fmt::Debug for Rejected<M> {
    /// Leaves the message out: messages need no `Debug`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("why", &self.why).finish_non_exhaustive()
    }
}

/// A spawn that did not bring an actor to life. Nothing is left behind.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SpawnError {
    /// `start` failed, panicked or was killed.
    #[error("the actor did not start: {0}")]
    Start(Exit),
    /// It was not ready in time; it has been told to end.
    #[error("the actor was not ready within {timeout_ms} ms")]
    Deadline {
        /// The time it had.
        timeout_ms: u64,
    },
    /// The node is stopping.
    #[error("the node is stopping and starts no more actors")]
    Stopping,
    /// No node has, or will have, what it needs.
    #[error("{0}")]
    NoCapacity(String),
    /// It can only run here, and was asked to run elsewhere.
    #[error("the kind {kind:?} cannot be started on another node: say `.anywhere()` on its spec")]
    NotPortable {
        /// The actor's kind.
        kind: String,
    },
    /// The chosen node could not be asked, or did not answer.
    #[error("the chosen node gave no answer: {0}")]
    Node(#[source] CallError),
    /// The chosen node refused.
    #[error("the chosen node refused: {0}")]
    Refused(String),
}

/// A name that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// Somebody has it.
    #[error("the name {0:?} is taken")]
    Taken(String),
    /// Nobody has it.
    #[error("no actor has the name {0:?}")]
    Unknown(String),
    /// The actor behind it speaks another protocol.
    #[error("the actor named {0:?} takes other messages than those asked for")]
    OtherProtocol(String),
    /// The actor had already ended.
    #[error("the actor to be named {0:?} has ended")]
    Ended(String),
    /// It is empty, or too long, or what it was to stand for is no actor.
    #[error("{0:?} cannot be a name: {1}")]
    Unfit(String, &'static str),
    /// The node has as many names as it may have.
    #[error("{0:?} would be one name too many: give up some of this node's {1}")]
    TooMany(String, usize),
    /// A node that keeps the name does not let this one ask that.
    #[error("the name {0:?} cannot be asked for: {1}")]
    Denied(String, String),
    /// The nodes that keep the name did not answer in time.
    #[error("the nodes that keep the name {0:?} did not answer in time; try again")]
    Unreachable(String),
}
