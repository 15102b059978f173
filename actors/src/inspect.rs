//! What can be known of an actor without its help.
//!
//! Invariants:
//! - **IN-1** To look at an actor waits for nothing of it: not for its mailbox, nor for its handler.
//! - **IN-2** A message is counted when it is given to the handler, so whoever has its answer finds
//!   it counted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::cell::Control;
use crate::engine::{Core, Engine};
use crate::exit::Exit;
use crate::id::{ActorId, Epoch};
use crate::reference::ActorRef;

/// An actor as it is at this moment. Its parts are read one after the other while the actor goes
/// on, so that they need not be of the same instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// Who it is.
    pub id: ActorId,
    /// The name of its type.
    pub kind: &'static str,
    /// The names that its present run has on this node.
    pub names: Vec<String>,
    /// Its supervisor, or the actor whose context started it. `None` for one that was started from
    /// outside, or whose supervisor is on another node.
    pub parent: Option<ActorId>,
    /// Its run, or the last one it had.
    pub epoch: Epoch,
    /// What that run does.
    pub state: RunState,
    /// Messages that wait. While it handles some, a mailbox of 128 or more may count up to 31 too
    /// many.
    pub mailbox_messages: usize,
    /// Messages that may wait; `None` if there is no bound.
    pub mailbox_capacity: Option<usize>,
    /// Messages that its handler was given, over all runs on this node since the last move.
    pub handled: u64,
    /// How long its code kept a thread, waits not counted, over the same runs. The first 64 turns
    /// of a run are measured, then one in 61 stands for all: an estimate, unless somebody listens
    /// to [metrics](crate::observe).
    pub busy: Duration,
    /// Runs before this one, wherever they were.
    pub restarts: u64,
    /// How its last run that ended abnormally on this node ended.
    pub last_exit: Option<Exit>,
}

/// What an actor's run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum RunState {
    /// Its `start` has not returned.
    Starting,
    /// It handles messages, or waits for them.
    Running,
    /// The last run has ended, and its supervisor decides about the next.
    Between,
    /// It has ended for good.
    Ended,
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Between => "between runs",
            Self::Ended => "ended",
        })
    }
}

impl fmt::Display for Inspection {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.id, self.epoch, self.kind)?;
        for name in &self.names {
            write!(f, " {name:?}")?;
        }
        write!(f, ", {}, mailbox {}", self.state, self.mailbox_messages)?;
        if let Some(capacity) = self.mailbox_capacity {
            write!(f, "/{capacity}")?;
        }
        write!(f, ", handled {}, busy {:.1?}", self.handled, self.busy)?;
        if self.restarts > 0 {
            write!(f, ", restarts {}", self.restarts)?;
        }
        if let Some(exit) = &self.last_exit {
            write!(f, ", last end: {exit}")?;
        }
        match self.parent {
            Some(parent) => write!(f, ", child of {parent}"),
            None => Ok(()),
        }
    }
}

impl Engine {
    /// Looks at an actor of this node; `None` if it has ended for good, or is elsewhere. Takes the
    /// id of an actor or a reference to it.
    #[must_use]
    pub fn inspect(&self, actor: impl Into<ActorId>) -> Option<Inspection> {
        self.core().actors.get(actor.into()).map(|cell| cell.inspect())
    }

    /// Looks at all actors of this node, one after the other as the iterator is asked: the
    /// supervisors and the node's own among them, and ports. In the order of their ids, which for
    /// those that were started here is that of their starts. One that starts or ends meanwhile may
    /// be missing.
    #[must_use]
    pub fn actors(&self) -> Actors {
        Actors::of(self.core().clone())
    }

    /// How many actors there are on this node, without a look at each.
    #[must_use]
    pub fn actors_count(&self) -> usize {
        self.core().actors.len()
    }
}

impl<M: Send + 'static> ActorRef<M> {
    /// Looks at the actor, also at one that has ended; `None` if it is on another node.
    #[must_use]
    pub fn inspect(&self) -> Option<Inspection> {
        self.cell().map(|cell| cell.inspect())
    }
}

impl<M: Send + 'static> From<&ActorRef<M>> for ActorId {
    fn from(reference: &ActorRef<M>) -> Self {
        reference.id()
    }
}

/// All actors of a node: see [`Engine::actors`].
pub struct Actors {
    core: Arc<Core>,
    last: Option<ActorId>,
    block: std::vec::IntoIter<Arc<dyn Control>>,
}

impl Actors {
    pub(crate) fn of(core: Arc<Core>) -> Self {
        Self { core, last: None, block: Vec::new().into_iter() }
    }

    /// The next actor itself.
    pub(crate) fn next_cell(&mut self) -> Option<Arc<dyn Control>> {
        loop {
            if let Some(cell) = self.block.next() {
                return Some(cell);
            }
            let (last, block) = self.core.actors.after(self.last)?;
            self.last = Some(last);
            self.block = block.into_iter();
        }
    }
}

impl Iterator for Actors {
    type Item = Inspection;

    fn next(&mut self) -> Option<Inspection> {
        self.next_cell().map(|cell| cell.inspect())
    }
}

impl fmt::Debug for Actors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actors").field("last", &self.last).finish_non_exhaustive()
    }
}
