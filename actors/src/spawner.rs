//! What a supervisor asks of its node: to start a child, here or elsewhere, and to be told how it
//! fares.
//!
//! A [`Seed`] is a child's start, without its types: it can be planted on this node again and
//! again, or be encoded for another. A [`Spawner`] decides where; the node implements it.

mod seed;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::actor::{OnRestart, Restart, Settings};
use crate::carrier::{Address, BoxFuture, Carrier};
use crate::cell::{Control, Supervision};
use crate::engine::Engine;
use crate::error::{SpawnError, Why};
use crate::exit::Exit;
use crate::id::{ActorId, Epoch, NodeId};
use crate::run::come_alive;
use crate::wire::Outgoing;

pub use seed::{Hosted, IntoSeed};

/// What a supervisor hears of a child.
#[non_exhaustive]
pub enum Notice {
    /// A run has ended, and all it owned is gone.
    Ended {
        /// Who.
        actor: ActorId,
        /// Which run.
        epoch: Epoch,
        /// How.
        exit: Exit,
    },
    /// A run hands over its state.
    Checkpoint {
        /// Who.
        actor: ActorId,
        /// Which run.
        epoch: Epoch,
        /// Counts up within the run.
        sequence: u64,
        /// The state.
        state: Bytes,
        /// To be called once the state is held.
        stored: Box<dyn FnOnce() + Send>,
    },
    /// A run is about to start, and the messages that waited for it have been dropped, as
    /// [`OnRestart::Drop`] says.
    Dropped {
        /// Who.
        actor: ActorId,
        /// The run to come.
        epoch: Epoch,
        /// Casts and calls.
        messages: u64,
    },
    /// The start of a run is held back.
    Waits {
        /// Who.
        actor: ActorId,
        /// The run to come.
        epoch: Epoch,
        /// For what.
        why: String,
    },
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended { actor, epoch, exit } => write!(f, "Ended({actor} {epoch}: {exit})"),
            Self::Checkpoint { actor, epoch, sequence, .. } => {
                write!(f, "Checkpoint({actor} {epoch} #{sequence})")
            }
            Self::Dropped { actor, epoch, messages } => {
                write!(f, "Dropped({actor} {epoch}: {messages})")
            }
            Self::Waits { actor, epoch, why } => write!(f, "Waits({actor} {epoch}: {why})"),
        }
    }
}

/// Whoever supervises a child. Called from the child's task: it must not block.
pub trait Watch: Send + Sync + 'static {
    /// Something happened to a child.
    fn notice(&self, notice: Notice);
}

/// How one run of a child is to be started.
#[derive(Clone)]
pub struct Order {
    /// The child's name, the same for all its runs.
    pub id: ActorId,
    /// The run's number.
    pub epoch: Epoch,
    /// The state it starts from.
    pub checkpoint: Option<Bytes>,
    /// The number of the device that it has its share of, if it asked for one.
    pub device: Option<u32>,
    /// Messages its mailbox holds.
    pub mailbox_messages: usize,
    /// When it is started again.
    pub restart: Restart,
    /// What becomes of messages that waited during a restart.
    pub on_restart: OnRestart,
    /// Who hears of it.
    pub watch: Option<Arc<dyn Watch>>,
    /// The actor that it is a child of, if that is on the same node.
    pub parent: Option<ActorId>,
}

impl Order {
    /// The first run of an actor with these settings; the id is still to be filled in.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            id: ActorId { origin: 0, number: 0 },
            epoch: Epoch(1),
            checkpoint: None,
            device: None,
            mailbox_messages: settings.mailbox_messages,
            restart: settings.restart,
            on_restart: settings.on_restart,
            watch: None,
            parent: None,
        }
    }

    pub(crate) fn supervision(&self) -> Option<Supervision> {
        let watch = self.watch.clone()?;
        Some(Supervision { watch, restart: self.restart })
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order").field("id", &self.id).field("epoch", &self.epoch).finish()
    }
}

/// A child on this node and the news of its start.
#[derive(Debug)]
pub struct Planted {
    /// The child.
    pub control: Arc<dyn Control>,
    /// Resolves when `start` has returned; dropped when the engine is stopping.
    pub started: oneshot::Receiver<Result<(), Exit>>,
}

impl fmt::Debug for dyn Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.kind(), self.id())
    }
}

/// Where a started child is to be found.
pub struct Site<'a> {
    /// Its cell, if it lives here.
    pub control: Option<&'a Arc<dyn Control>>,
    /// The way to it wherever it lives, if this node is part of a cluster.
    pub cluster: Option<(Arc<dyn Carrier>, Address)>,
}

impl fmt::Debug for Site<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("control", &self.control).finish_non_exhaustive()
    }
}

/// A child's start without its types.
pub trait Seed: Send + Sync + 'static {
    /// The name of its kind.
    fn kind(&self) -> &'static str;

    /// Starts the first run of a new cell on `engine`.
    ///
    /// # Errors
    /// [`SpawnError::Stopping`], or that its arguments were used up.
    fn plant(&self, engine: &Engine, order: Order) -> Result<Planted, SpawnError>;

    /// Starts another run on the cell of a child whose last run has ended: its mailbox goes on.
    ///
    /// # Errors
    /// That its arguments were used up, or that the order's epoch is not larger than the last.
    fn replant(&self, control: &Arc<dyn Control>, order: Order) -> Result<Planted, SpawnError>;

    /// An `ActorRef` to the child, to be downcast by whoever knows its messages. `None` if the
    /// child lives elsewhere and its protocol cannot be carried there.
    fn refer(&self, engine: &Engine, site: &Site<'_>) -> Option<Box<dyn Any + Send + Sync>>;

    /// The arguments for another node; `None` if it may run here only.
    fn encode(&self, carrier: &Arc<dyn Carrier>) -> Option<Result<Outgoing, Why>>;
}

/// A request to start a child where its spec allows.
#[derive(Clone)]
pub struct Request {
    /// The child's start.
    pub seed: Arc<dyn Seed>,
    /// Where it may run, what it needs, how long it may take.
    pub settings: Settings,
    /// The run.
    pub order: Order,
    /// The child as it was, when its last run ended for a reason of its own: it is started again
    /// on its cell, where its mailbox waits.
    pub previous: Option<Arc<dyn Child>>,
    /// Nodes to be used only if no other will do.
    pub avoid: Vec<NodeId>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({} {:?})", self.seed.kind(), self.order)
    }
}

/// A started child as its supervisor holds it, here or elsewhere.
pub trait Child: Send + Sync + 'static {
    /// The node it runs on, if that is another one.
    fn node(&self) -> Option<NodeId>;
    /// Asks it to end.
    fn stop(&self, exit: Exit);
    /// Ends it where it waits.
    fn kill(&self);
    /// Says that no run follows on its cell: a next one, if there is one, begins anew.
    fn retire(&self);
    /// Says that no run follows anywhere, after [`Child::retire`].
    fn forget(&self) {}
    /// Its cell, if it lives here.
    fn control(&self) -> Option<Arc<dyn Control>>;
}

/// A child that has come to life.
pub struct Started {
    /// The hold its supervisor has on it.
    pub child: Arc<dyn Child>,
    /// Its `ActorRef`, as a [`Seed::refer`] made it.
    pub reference: Option<Box<dyn Any + Send + Sync>>,
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").field("node", &self.child.node()).finish_non_exhaustive()
    }
}

/// Starts children. The node implements it; [`Engine`] does for a node without a cluster.
pub trait Spawner: Send + Sync + 'static {
    /// A name for a new child.
    fn next_id(&self) -> ActorId;

    /// Starts a run and resolves when it is alive. A start that fails leaves nothing running, and
    /// is not reported to the watch.
    fn start(&self, request: Request) -> BoxFuture<'static, Result<Started, SpawnError>>;
}

impl Spawner for Engine {
    fn next_id(&self) -> ActorId {
        Self::next_id(self)
    }

    fn start(&self, request: Request) -> BoxFuture<'static, Result<Started, SpawnError>> {
        let engine = self.clone();
        Box::pin(async move {
            let control = start_here(&engine, &request).await?;
            let site = Site { control: Some(&control), cluster: None };
            let reference = request.seed.refer(&engine, &site);
            Ok(Started { child: Arc::new(Local(control)), reference })
        })
    }
}

/// Starts a run on this node: on the child's own cell if it has one here, else on a new one.
///
/// # Errors
/// As [`Spawner::start`].
///
/// # Cancel safety
/// A start that is dropped is killed.
pub async fn start_here(
    engine: &Engine,
    request: &Request,
) -> Result<Arc<dyn Control>, SpawnError> {
    let cell = request.previous.as_ref().and_then(|child| child.control());
    let (planted, fresh) = match cell.filter(|cell| !cell.has_ended()) {
        Some(cell) => (request.seed.replant(&cell, request.order.clone())?, false),
        None => (request.seed.plant(engine, request.order.clone())?, true),
    };
    let timeout = request.settings.start_timeout;
    let unfinished = Unfinished { control: planted.control, fresh, kept: false };
    come_alive(planted.started, timeout).await?;
    Ok(unfinished.keep())
}

/// A child on this node.
#[derive(Debug)]
pub struct Local(pub Arc<dyn Control>);

impl Child for Local {
    fn node(&self) -> Option<NodeId> {
        None
    }

    fn stop(&self, exit: Exit) {
        self.0.stop(exit);
    }

    fn kill(&self) {
        self.0.kill(Exit::Killed);
    }

    fn retire(&self) {
        self.0.retire();
    }

    fn control(&self) -> Option<Arc<dyn Control>> {
        Some(self.0.clone())
    }
}

/// A start that has not succeeded yet. Dropped, nothing of it is left running: a cell made for it
/// ends, and a cell that was there before waits for its supervisor, as it did.
struct Unfinished {
    control: Arc<dyn Control>,
    fresh: bool,
    kept: bool,
}

impl Unfinished {
    fn keep(mut self) -> Arc<dyn Control> {
        self.kept = true;
        self.control.clone()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if self.fresh {
            self.control.retire();
        }
        self.control.kill(Exit::Killed);
    }
}
