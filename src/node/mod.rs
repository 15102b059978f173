//! A node: the engine that runs its actors, and, if it is part of a cluster, everything that
//! connects it to the others.
//!
//! ```text
//! Node ── Engine (actors of the user)        Engine beside it (supervisors, the node's own actor)
//!   └─ Cluster ── carrier of messages: calls, credit, routes, frames
//!        ├─ outbound    from references to the network;  inbound: from there into mailboxes
//!        ├─ membership  drives gossip: who is there
//!        ├─ placing     starts actors where they fit;  gang: several, or none
//!        ├─ children    where those of this home run
//!        ├─ hosting     what runs here for others, and its books
//!        ├─ watches     monitors of actors elsewhere;  watched: those that others have here
//!        ├─ naming      registers and looks up names;  directory: those that this node keeps;
//!        │              registrar: those that were registered on it
//!        ├─ gathering   groups of the cluster;  roster: who joined here and elsewhere
//!        ├─ shapes      whether two nodes mean the same by a protocol;  comparing: how they find out
//!        ├─ looks       what it tells who only looks;  observer: such a peer
//!        └─ service     the node's own actor: how nodes ask each other
//! ```
//!
//! Network, membership and supervision run on a small runtime of their own, so that a handler that
//! never yields cannot cost the node its life.

#[cfg(feature = "net")]
mod asked;
#[cfg(feature = "net")]
mod authority;
#[cfg(feature = "net")]
mod backlog;
#[cfg(feature = "net")]
mod builder;
#[cfg(feature = "net")]
mod calls;
#[cfg(feature = "net")]
mod checkpoints;
#[cfg(feature = "net")]
mod children;
#[cfg(feature = "net")]
mod cluster;
#[cfg(feature = "net")]
mod comparing;
#[cfg(feature = "net")]
mod credit;
#[cfg(feature = "net")]
mod directory;
#[cfg(feature = "net")]
mod figures;
#[cfg(feature = "net")]
mod frames;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
#[cfg(feature = "net")]
mod gang;
#[cfg(feature = "net")]
mod gathering;
mod groups;
#[cfg(all(test, feature = "net"))]
mod hostile;
#[cfg(feature = "net")]
mod hosting;
#[cfg(feature = "net")]
mod inbound;
#[cfg(feature = "net")]
mod looks;
#[cfg(feature = "net")]
mod membership;
mod names;
#[cfg(feature = "net")]
mod naming;
#[cfg(feature = "net")]
mod observer;
#[cfg(feature = "net")]
mod outbound;
#[cfg(feature = "net")]
mod pending;
#[cfg(feature = "net")]
mod placed;
#[cfg(feature = "net")]
mod placing;
#[cfg(feature = "net")]
mod registrar;
#[cfg(feature = "net")]
mod revoking;
#[cfg(feature = "net")]
mod roster;
#[cfg(feature = "net")]
mod routes;
#[cfg(feature = "net")]
mod service;
#[cfg(feature = "net")]
mod shapes;
#[cfg(feature = "net")]
mod unfinished;
#[cfg(feature = "net")]
mod watched;
#[cfg(feature = "net")]
mod watches;
#[cfg(feature = "net")]
mod ways;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use mobula_actors::id::ActorId;
use mobula_actors::spawner::Spawner;
use mobula_actors::{Actor, ActorRef, Actors, Engine, Inspection, SpawnError, Spec, Stuck};
use mobula_supervision::{SuperviseError, SupervisorSpec, Tree, supervise};
use tokio::runtime::{Builder, Handle, Runtime};

#[cfg(feature = "net")]
pub use builder::{NodeBuilder, NodeError};
#[cfg(feature = "net")]
pub use looks::{NodeStatus, TreeLine};
#[cfg(feature = "net")]
pub use membership::{Member, Standing};
pub use names::{NameEnd, Registration};
#[cfg(feature = "net")]
pub use observer::{Observer, ObserverError, Status, Trees};

/// Limits and defaults of this room, by name.
#[cfg(feature = "net")]
pub mod limits {
    pub use super::asked::{ASKED_BURST, ASKED_PER_SECOND};
    pub use super::authority::EPOCH_LEAP_MAX;
    pub use super::backlog::BACKLOG_MAX;
    pub use super::calls::CALLS_MAX;
    pub use super::checkpoints::CHECKPOINT_TIMEOUT;
    pub use super::children::{CHILDREN_MAX, WAITING_MAX};
    pub use super::credit::{CREDIT_LINES_MAX, CREDIT_START, CREDIT_WINDOW_MAX};
    pub use super::directory::{NAME_BYTES_MAX, NAME_COPIES, NAMES_MAX};
    pub use super::hosting::ORPHAN_GRACE;
    pub use super::looks::{TREE_LINES_MAX, TREE_LOOK_TIMEOUT};
    pub use super::membership::REDIAL_INTERVAL;
    pub use super::placing::RESERVE_TIMEOUT;
    pub use super::roster::GROUP_JOINS_MAX;
    pub use super::routes::ROUTES_MAX;
    pub use super::shapes::{PROTOCOLS_MAX, SHAPES_BYTES_MAX};
    pub use super::watches::WATCHES_MAX;
}

/// A running node. Cheap to clone; all clones are one.
///
/// It must be made inside a tokio runtime: its actors run there. Dropping the last clone ends the
/// node without a good-bye; [`Node::stop`] is the orderly end.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    engine: Engine,
    system: Engine,
    spawner: Arc<dyn Spawner>,
    trees: Arc<Mutex<Vec<Tree>>>,
    #[cfg(feature = "net")]
    cluster: Option<builder::Clustered>,
    runtime: Mutex<System>,
}

/// The runtime of what must go on when actors keep theirs busy. It ends without being waited for,
/// which inside another runtime nobody may do, also when a start fails half-way.
#[derive(Debug)]
struct System(Option<Runtime>);

impl Node {
    /// A node on its own: actors, names and supervision, and no network.
    ///
    /// # Panics
    /// Outside a tokio runtime, as `tokio::spawn` does.
    #[must_use]
    pub fn local() -> Self {
        let engine = Engine::new(1, Handle::current());
        // Without a thread for a runtime of their own, supervisors share the user's.
        let runtime = System::start().unwrap_or(System(None));
        let system =
            runtime.handle().map_or_else(|| engine.clone(), |handle| engine.beside(handle));
        Self(Arc::new(Inner {
            spawner: Arc::new(engine.clone()),
            engine,
            system,
            trees: Arc::default(),
            #[cfg(feature = "net")]
            cluster: None,
            runtime: Mutex::new(runtime),
        }))
    }

    /// Starts a tree of supervised actors, and returns when all its children are alive.
    ///
    /// # Errors
    /// The child that did not start; those before it have been stopped.
    pub async fn supervise(&self, spec: SupervisorSpec) -> Result<Tree, SuperviseError> {
        let tree = supervise(&self.0.system, self.0.spawner.clone(), spec).await?;
        self.0.trees.lock().unwrap_or_else(PoisonError::into_inner).push(tree.clone());
        Ok(tree)
    }

    /// Looks at an actor of this node without its help, by its id or a reference to it: what it
    /// is, what waits for it, what it has done. `None` if it has ended for good, or runs on another
    /// node.
    #[must_use]
    pub fn inspect(&self, actor: impl Into<ActorId>) -> Option<Inspection> {
        self.0.engine.inspect(actor)
    }

    /// Looks at all actors of this node, supervisors and the node's own among them: see
    /// [`Engine::actors`].
    #[must_use]
    pub fn actors(&self) -> Actors {
        self.0.engine.actors()
    }

    /// Calls `report` when an actor of this node keeps its thread for `limit` without yielding: see
    /// [`Engine::watch_handlers`]. Off until then; actors that were started before are not watched.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn watch_handlers(
        &self,
        limit: std::time::Duration,
        report: impl Fn(Stuck) + Send + 'static,
    ) -> std::io::Result<()> {
        self.0.engine.watch_handlers(limit, report)
    }

    /// Starts an actor where its spec allows, and waits until it is alive.
    ///
    /// # Errors
    /// [`SpawnError`]; nothing is left behind.
    pub async fn spawn<A: Actor, R>(
        &self,
        spec: Spec<A, R>,
    ) -> Result<ActorRef<A::Msg>, SpawnError> {
        #[cfg(feature = "net")]
        if let Some(clustered) = &self.0.cluster {
            return clustered.spawn(spec).await;
        }
        self.0.engine.spawn(spec).await
    }

    /// Ends the node in order: trees first, in reverse of their start, then every other actor,
    /// which is asked to end and not waited for, then the network.
    pub async fn stop(&self) {
        let trees =
            std::mem::take(&mut *self.0.trees.lock().unwrap_or_else(PoisonError::into_inner));
        for tree in trees.iter().rev() {
            tree.stop(STOP_TIMEOUT).await;
        }
        #[cfg(feature = "net")]
        if let Some(clustered) = &self.0.cluster {
            clustered.dismiss_hosted().await;
        }
        self.0.engine.stop();
        #[cfg(feature = "net")]
        if let Some(clustered) = &self.0.cluster {
            clustered.leave().await;
        }
        self.0.end();
    }
}

/// How long a tree may take to stop before what is left of it is killed.
pub const STOP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(25);

/// After so many polls of its tasks the runtime of the network looks at the sockets again. Its tasks
/// are short and most of them wait for a socket: a call must not wait for many turns of a transfer.
const EVENT_INTERVAL: u32 = 4;

impl System {
    fn start() -> std::io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder
            .worker_threads(1)
            .event_interval(EVENT_INTERVAL)
            .thread_name("mobula-system")
            .enable_all()
            .build()
            .map(Some)
            .map(Self)
    }

    fn handle(&self) -> Option<Handle> {
        self.0.as_ref().map(|runtime| runtime.handle().clone())
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Inner {
    fn end(&self) {
        let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        drop(std::mem::replace(&mut *runtime, System(None)));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        #[cfg(feature = "net")]
        if let Some(clustered) = &self.cluster {
            clustered.fall_silent();
        }
        self.engine.stop();
        self.end();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({:?})", self.0.engine)
    }
}
