//! What the reference layer asks of the node that carries its messages elsewhere.
//!
//! `actors` knows no network: a node that is part of a cluster hands a [`Carrier`] to its engine,
//! and references to actors elsewhere go through it.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Instant;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::error::{CallError, Why};
use crate::exit::{Down, Exit};
use crate::id::{ActorId, Epoch, NodeId};
use crate::wire::{CallId, Outgoing, Schema};

/// A boxed future that owns what it needs.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where an actor was when the reference to it was written. An address is never an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    /// Who.
    pub actor: ActorId,
    /// Which run was known.
    pub epoch: Epoch,
    /// Where that run lived.
    pub node: NodeId,
    /// The node whose supervisor may start it again, and which knows where it is.
    pub home: NodeId,
}

/// Where an answer goes: the type-erased right side of a pending call.
pub trait Answer: Send + Sync {
    /// An answer came from `from`. Calls after the first do nothing.
    fn answer(&self, carrier: &Arc<dyn Carrier>, from: NodeId, head: &[u8], payloads: Vec<Bytes>);
    /// No answer will come.
    fn fail(&self, error: CallError);
}

/// Called once with the end of a watched run.
pub type OnDown = Box<dyn FnOnce(Down) + Send>;

/// Whom to tell of the end of the present run.
pub struct Monitor {
    /// What is called.
    pub on_down: OnDown,
    /// Dead when nobody wants to know any more; `None` for a watcher that lasts.
    pub watcher: Option<Weak<()>>,
}

impl Monitor {
    /// One whose watcher lasts.
    pub fn new(on_down: impl FnOnce(Down) + Send + 'static) -> Self {
        Self { on_down: Box::new(on_down), watcher: None }
    }

    /// Whether nobody wants to know any more.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        self.watcher.as_ref().is_some_and(|watcher| watcher.strong_count() == 0)
    }

    /// Adds it to `monitors`. Each time the list would grow, those that nobody waits for are taken
    /// out first, so that it holds at most twice as many as somebody waits for. They are returned to
    /// be dropped outside of any lock.
    #[must_use = "to be dropped outside of any lock"]
    pub fn join(self, monitors: &mut Vec<Self>) -> Vec<Self> {
        let is_full = monitors.len() == monitors.capacity();
        let forgotten = match is_full {
            true => monitors.extract_if(.., |monitor| monitor.is_forgotten()).collect(),
            false => Vec::new(),
        };
        monitors.push(self);
        forgotten
    }

    /// Tells it. What is wrong with a watcher's code is no concern of whoever calls this.
    pub fn tell(self, down: Down) {
        let (actor, on_down) = (down.actor, self.on_down);
        if catch_unwind(AssertUnwindSafe(|| on_down(down))).is_err() {
            tracing::warn!(%actor, "a monitor panicked");
        }
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("watcher", &self.watcher).finish_non_exhaustive()
    }
}

/// The node's side of references to actors elsewhere.
pub trait Carrier: Send + Sync + 'static {
    /// This node.
    fn node(&self) -> NodeId;

    /// The engine that runs this node's actors.
    fn engine(&self) -> Engine;

    /// Keeps `answer` under a new call number until an answer or a failure arrives.
    ///
    /// # Errors
    /// [`Why::TooManyCalls`] when the bound is reached.
    fn register(&self, answer: Arc<dyn Answer>) -> Result<CallId, Why>;

    /// Nobody waits for this call any more.
    fn forget(&self, call: CallId);

    /// The address with the whereabouts that are known now, for whoever is given it.
    fn present(&self, to: &Address) -> Address {
        *to
    }

    /// Sends without waiting.
    ///
    /// # Errors
    /// The message, and why it was refused; it has not left.
    fn push(
        &self,
        to: &Address,
        message: Outgoing,
        deadline: Option<Instant>,
    ) -> Result<(), (Outgoing, Why)>;

    /// Waits for a route, for credit and for room, until `deadline`, which travels along when
    /// `carry_deadline` says that the message is a call.
    ///
    /// # Errors
    /// As [`Carrier::push`]. Cancel safe: a dropped wait has not sent.
    fn send(
        self: Arc<Self>,
        to: Address,
        message: Outgoing,
        deadline: Instant,
        carry_deadline: bool,
    ) -> BoxFuture<'static, Result<(), (Outgoing, Why)>>;

    /// Answers a call that waits on another node.
    fn reply(&self, call: CallId, answer: Result<Outgoing, CallError>);

    /// Tells `monitor` once when the present run at `to` ends; at once if there is none.
    fn monitor(&self, to: &Address, monitor: Monitor);

    /// Asks the actor at `to` to end.
    fn stop(&self, to: &Address, exit: Exit, kill: bool);
}

impl fmt::Debug for dyn Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Carrier({})", self.node())
    }
}

/// A message from another node.
pub struct Inbox<'a> {
    /// Who sent it.
    pub from: NodeId,
    /// The message in postcard.
    pub head: &'a [u8],
    /// Its payloads.
    pub payloads: Vec<Bytes>,
    /// When it is no longer worth running; `None` for casts.
    pub deadline: Option<Instant>,
    /// Where its credit goes back when the actor has taken it from the mailbox; 0 for nowhere.
    pub credit: u32,
}

impl fmt::Debug for Inbox<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inbox(from {}, {} bytes)", self.from, self.head.len())
    }
}

/// An actor that other nodes may reach: an entry of the export table.
pub trait Inbound: Send + Sync + 'static {
    /// Decodes and enqueues a message, beyond the capacity by at most `extra` messages.
    ///
    /// # Errors
    /// Why it was refused. Replies inside what could be decoded have been answered with it.
    fn deliver(
        &self,
        carrier: &Arc<dyn Carrier>,
        inbox: Inbox<'_>,
        extra: usize,
    ) -> Result<(), Why>;
    /// Its protocol.
    fn schema(&self) -> &'static Schema;
    /// The actor behind it.
    fn control(&self) -> Arc<dyn crate::cell::Control>;
    /// For the typed fast path on the same node.
    fn as_any(&self) -> &(dyn Any + Send + Sync);
}
