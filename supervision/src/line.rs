//! How news of children reaches their supervisor: never blocked, never lost, and bounded by the
//! runs that the supervisor itself has ordered.
//!
//! Invariants:
//! - **LN-1** Telling never waits: the news go into a queue, and the supervisor is poked unless it
//!   has been already.
//! - **LN-2** A start is reported exactly once, also when its task is aborted or panics.
//! - **LN-3** Checkpoints do not queue: a child's watch keeps the last two, and only then is the
//!   child told that they are stored.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use mobula_actors::id::{ActorId, Epoch};
use mobula_actors::spawner::{Notice, Started, Watch};
use mobula_actors::{ActorRef, Exit, SpawnError};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::checkpoint::{Checkpoints, Refused, checksum};
use crate::strategy::Key;
use crate::supervisor::Msg;

/// What a supervisor hears.
#[derive(Debug)]
pub(crate) enum News {
    /// Of the run `epoch` of a child.
    Of { child: Key, epoch: Epoch, what: What },
    /// Children that stop together had their time.
    AllOverdue,
    /// They were killed a while ago.
    AllStillThere,
}

#[derive(Debug)]
pub(crate) enum What {
    /// The start that was ordered is over; `None` if it was called off.
    Start(Option<Result<Started, SpawnError>>),
    /// The run has ended.
    Ended(Exit),
    /// It begins without this many messages, which waited for it.
    Dropped(u64),
    /// The start that was ordered is held back, and for what.
    Waits(String),
    /// It had its time to stop.
    Overdue,
    /// It was killed a while ago.
    StillThere,
}

/// The way to a supervisor's present run.
pub(crate) struct Line {
    news: UnboundedSender<News>,
    supervisor: ActorRef<Msg>,
    poked: AtomicBool,
}

impl Line {
    pub(crate) fn new(supervisor: ActorRef<Msg>) -> (Arc<Self>, UnboundedReceiver<News>) {
        let (news, receiver) = mpsc::unbounded_channel();
        (Arc::new(Self { news, supervisor, poked: AtomicBool::new(false) }), receiver)
    }

    pub(crate) fn supervisor(&self) -> ActorId {
        self.supervisor.id()
    }

    /// Does nothing once the supervisor's run is over.
    pub(crate) fn tell(&self, child: Key, epoch: Epoch, what: What) {
        self.send(News::Of { child, epoch, what });
    }

    pub(crate) fn send(&self, news: News) {
        let told = self.news.send(news).is_ok();
        if told {
            self.poke();
        }
    }

    /// Has the supervisor look at its news, if there are any.
    pub(crate) fn poke(&self) {
        if !self.poked.swap(true, Ordering::SeqCst) {
            self.supervisor.notify(Msg::News);
        }
    }

    /// The supervisor is about to look at its news: what comes later pokes it again.
    pub(crate) fn heard(&self) {
        self.poked.store(false, Ordering::SeqCst);
    }
}

/// Reports how a start went when it is sent or dropped (LN-2).
pub(crate) struct Outcome {
    pub(crate) line: Arc<Line>,
    pub(crate) child: Key,
    pub(crate) epoch: Epoch,
    pub(crate) start: Option<Result<Started, SpawnError>>,
}

impl Outcome {
    pub(crate) fn send(mut self, start: Result<Started, SpawnError>) {
        self.start = Some(start);
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        self.line.tell(self.child, self.epoch, What::Start(self.start.take()));
    }
}

/// Watches one child over all its runs.
pub(crate) struct ChildWatch {
    line: Arc<Line>,
    child: Key,
    /// Whether a run may follow that needs the states of those before it.
    keeps: bool,
    /// Most children hand over nothing, and their first runs start from nothing.
    checkpoints: Mutex<Option<Box<Checkpoints>>>,
}

impl ChildWatch {
    pub(crate) fn new(line: Arc<Line>, child: Key, keeps: bool) -> Self {
        Self { line, child, keeps, checkpoints: Mutex::default() }
    }

    /// A run is about to start: no state of an earlier one is taken from here on, and it gets the
    /// latest that is held.
    pub(crate) fn begin(&self, epoch: Epoch) -> Option<Bytes> {
        let mut checkpoints = self.checkpoints();
        if checkpoints.is_none() && epoch <= Epoch(1) {
            return None;
        }
        let checkpoints = checkpoints.get_or_insert_default();
        checkpoints.begin(epoch);
        checkpoints.newest()
    }

    fn hold(&self, epoch: Epoch, sequence: u64, state: Bytes) -> Result<(), Refused> {
        if !self.keeps {
            return Ok(());
        }
        let sum = checksum(&state);
        self.checkpoints().get_or_insert_default().hold(epoch, sequence, sum, state)
    }

    fn checkpoints(&self) -> MutexGuard<'_, Option<Box<Checkpoints>>> {
        // No code of the user runs under this lock, so a poisoned one still holds whole data.
        self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for ChildWatch {
    fn notice(&self, notice: Notice) {
        match notice {
            Notice::Ended { epoch, exit, .. } => {
                self.line.tell(self.child, epoch, What::Ended(exit));
            }
            Notice::Checkpoint { actor, epoch, sequence, state, stored } => {
                match self.hold(epoch, sequence, state) {
                    Ok(()) => stored(),
                    Err(why) => {
                        tracing::debug!(%actor, %epoch, sequence, %why, "checkpoint refused")
                    }
                }
            }
            Notice::Dropped { epoch, messages, .. } => {
                self.line.tell(self.child, epoch, What::Dropped(messages));
            }
            Notice::Waits { epoch, why, .. } => {
                self.line.tell(self.child, epoch, What::Waits(why));
            }
            other => tracing::debug!(?other, "notice not understood"),
        }
    }
}
