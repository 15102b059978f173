//! What can go wrong with a tree.

use mobula_actors::{Exit, SpawnError};
use thiserror::Error;

/// A tree that did not come up. What had been started has been stopped in reverse order.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SuperviseError {
    /// Two children of one supervisor have the same id.
    #[error("two children have the id {0:?}; give each its own")]
    DuplicateId(String),
    /// A child did not start.
    #[error("the child {id:?} did not start: {reason}")]
    FailedToStartChild {
        /// Which one.
        id: String,
        /// Why.
        reason: SpawnError,
    },
    /// Children that had started ended too often before the others were up.
    #[error("the supervisor gave up while it started: {0}")]
    GaveUp(Exit),
    /// The supervisor itself could not be started.
    #[error(transparent)]
    Spawn(SpawnError),
}

/// Something that a tree could not do. Nothing has changed, unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TreeError {
    /// A child with this id runs.
    #[error("the child {0:?} is already started")]
    AlreadyStarted(String),
    /// A child with this id is kept, though it does not run: restart or delete it.
    #[error("the child {0:?} is already present; restart it, or delete it first")]
    AlreadyPresent(String),
    /// No child has this id.
    #[error("there is no child {0:?}")]
    Unknown(String),
    /// The child runs.
    #[error("the child {0:?} is running; terminate it first")]
    Running(String),
    /// The child is being started or stopped.
    #[error("the child {0:?} is being started or stopped; try again")]
    Busy(String),
    /// The supervisor has as many children as it may have.
    #[error("the supervisor has its {max} children already")]
    TooMany {
        /// The bound.
        max: usize,
    },
    /// The child did not start; it is not kept if it was new.
    #[error(transparent)]
    Start(#[from] SpawnError),
    /// The child runs where no reference of its type reaches it.
    #[error("the child {0:?} runs, but its messages cannot reach it: give them a `protocol!`")]
    Unreachable(String),
    /// The tree has ended or ends before it could answer; a child may have been started or
    /// stopped.
    #[error("the tree has stopped")]
    Stopped,
}
