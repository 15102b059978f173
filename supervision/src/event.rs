//! What a supervisor tells those who look on.

use std::fmt;
use std::time::Duration;

use mobula_actors::Exit;
use mobula_actors::id::{ActorId, Epoch, NodeId};

/// Something that happened under a supervisor. `id` is the child's path from the root of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A run came to life.
    Started {
        /// The child.
        id: String,
        /// Its actor.
        actor: ActorId,
        /// The run.
        epoch: Epoch,
        /// The node it runs on, if that is another one.
        node: Option<NodeId>,
    },
    /// A run did not come to life.
    StartFailed {
        /// The child.
        id: String,
        /// The run that was tried.
        epoch: Epoch,
        /// Why.
        exit: Exit,
    },
    /// A run ended.
    Ended {
        /// The child.
        id: String,
        /// Its actor.
        actor: ActorId,
        /// The run.
        epoch: Epoch,
        /// How.
        exit: Exit,
    },
    /// A child is to be started again.
    Restarting {
        /// The child.
        id: String,
        /// The run to come.
        epoch: Epoch,
        /// The wait before it.
        after: Duration,
    },
    /// A run begins without the messages that waited for it, as its spec says.
    Dropped {
        /// The child.
        id: String,
        /// The run.
        epoch: Epoch,
        /// Casts and calls; the calls were `Rejected(Restarted)`.
        messages: u64,
    },
    /// A run was killed and has not ended: a handler keeps its thread. The supervisor goes on
    /// without it.
    Zombie {
        /// The child.
        id: String,
        /// Its actor.
        actor: ActorId,
        /// The run.
        epoch: Epoch,
    },
    /// The supervisor stopped its children and ends.
    GaveUp {
        /// The supervisor; empty for the root.
        id: String,
        /// How it ends.
        exit: Exit,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { id, actor, epoch, node: Some(node) } => {
                write!(f, "{id} started as {actor} {epoch} on {node}")
            }
            Self::Started { id, actor, epoch, node: None } => {
                write!(f, "{id} started as {actor} {epoch} here")
            }
            Self::StartFailed { id, epoch, exit } => write!(f, "{id} {epoch} not started: {exit}"),
            Self::Ended { id, epoch, exit, .. } => write!(f, "{id} {epoch} ended: {exit}"),
            Self::Restarting { id, epoch, after } => {
                write!(f, "{id} is started again as {epoch} in {} ms", after.as_millis())
            }
            Self::Dropped { id, epoch, messages } => {
                write!(f, "{id} {epoch} begins without {messages} messages that waited")
            }
            Self::Zombie { id, epoch, .. } => {
                write!(f, "{id} {epoch} was killed but has not ended")
            }
            Self::GaveUp { id, exit } if id.is_empty() => write!(f, "the tree gave up: {exit}"),
            Self::GaveUp { id, exit } => write!(f, "{id} gave up: {exit}"),
        }
    }
}
