//! What can go wrong with a tree.

use mobula_actors::{Exit, NameError, SpawnError};
use thiserror::Error;

/// A tree that did not come up. What had been started has been stopped in reverse order.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SuperviseError {
    /// Its spec contradicts itself; nothing has been started.
    #[error(transparent)]
    Spec(#[from] SpecError),
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
    /// It said that it is not needed ([`SupervisorSpec::only_if`](crate::SupervisorSpec::only_if)):
    /// nothing runs.
    #[error("the supervisor is not needed")]
    Ignored,
    /// It could not have its name; nothing has been started.
    #[error(transparent)]
    Name(NameError),
    /// The supervisor itself could not be started.
    #[error(transparent)]
    Spawn(SpawnError),
}

/// A spec that contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SpecError {
    /// Two children of one supervisor have the same id.
    #[error("two children have the id {0:?}; give each its own")]
    DuplicateId(String),
    /// A path is made of ids with slashes between them.
    #[error("a child cannot have the id {0:?}; take one with no slash that is not empty")]
    BadId(String),
    /// Restarts within no time at all cannot be counted.
    #[error("an intensity needs a period longer than zero")]
    NoPeriod,
    /// A permanent child never ends for good, so it cannot be significant.
    #[error("the permanent child {0:?} cannot be significant; make it transient or temporary")]
    SignificantPermanent(String),
    /// Its supervisor has no automatic shutdown, so that it would mean nothing.
    #[error("the child {0:?} is significant; give its supervisor an automatic shutdown")]
    SignificantForNothing(String),
    /// It would be started again whenever it has shut down.
    #[error("the supervisor {0:?} shuts down by itself; make it transient or temporary")]
    PermanentAutoShutdown(String),
    /// The children of a dynamic supervisor come and go.
    #[error("a dynamic supervisor has no automatic shutdown")]
    DynamicAutoShutdown,
    /// It has its template and no other children.
    #[error("a dynamic supervisor has no child {0:?} beside its template")]
    DynamicChild(String),
    /// Supervisors stand below each other too often.
    #[error("the supervisor {id:?} stands below {max} others; make the tree flatter")]
    TooDeep {
        /// The one that is too much.
        id: String,
        /// The bound.
        max: usize,
    },
    /// A dynamic supervisor needs to know how to make a child.
    #[error("a dynamic supervisor needs a template; describe it with `Supervisor::dynamic`")]
    NoTemplate,
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
    /// The child said that it is not needed: it has no run. It is kept unless it is temporary, or
    /// of a dynamic supervisor.
    #[error("the child {0:?} is not needed")]
    Ignored(String),
    /// The children of a dynamic supervisor have no ids: use `start_child` and `end_child`.
    #[error("a dynamic supervisor has no children with ids; use `start_child` and `end_child`")]
    Dynamic,
    /// The supervisor is not dynamic, or its children are of another kind.
    #[error("the supervisor has no template for such a child")]
    NoTemplate,
    /// What was to be added contradicts itself or its supervisor.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The tree has ended or ends before it could answer; a child may have been started or
    /// stopped.
    #[error("the tree has stopped")]
    Stopped,
}
