//! The actors whose home this node is: those that it, or a supervisor on it, had started somewhere
//! by placement. Here is known where each of them runs.
//!
//! Invariants:
//! - **H-1** The home is the only one that is asked where its children are, and what it says is
//!   what the last start and the last end of a run said.
//! - **H-2** The end of a run is passed on once, to whoever supervises the child.
//! - **H-3** Nothing of a run older than the newest that was ordered changes anything.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use mobula_actors::id::{ActorId, Epoch, NodeId};
use mobula_actors::spawner::{Notice, Watch};
use mobula_actors::{Exit, Reply, Why};
use serde::{Deserialize, Serialize};

use super::cluster::Cluster;
use super::routes::Route;

/// Nodes that wait to hear where one child is; beyond it they ask again later.
pub const WAITING_MAX: usize = 1_024;

/// Where an actor is, in the words of its home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Located {
    At(NodeId, Epoch),
    Ended,
}

#[derive(Default)]
pub(super) struct Children(Mutex<HashMap<ActorId, Child>>);

struct Child {
    epoch: Epoch,
    /// The node of the present run; `None` between runs.
    node: Option<NodeId>,
    /// The newest run that is known to have ended.
    ended: Epoch,
    watch: Option<Arc<dyn Watch>>,
    waiting: Vec<Reply<Located>>,
}

impl Children {
    /// A run of a child has been ordered.
    pub(super) fn ordered(&self, actor: ActorId, epoch: Epoch, watch: Option<Arc<dyn Watch>>) {
        let mut children = self.children();
        let child = children.entry(actor).or_insert_with(|| Child {
            epoch,
            node: None,
            ended: Epoch(0),
            watch: None,
            waiting: Vec::new(),
        });
        child.epoch = child.epoch.max(epoch);
        child.node = None;
        child.watch = watch;
    }

    /// A run has come to life. False if it is older than another one, or has ended meanwhile.
    pub(super) fn started(&self, actor: ActorId, epoch: Epoch, node: NodeId) -> bool {
        let mut children = self.children();
        let Some(child) = children.get_mut(&actor) else { return false };
        if child.epoch != epoch {
            return false;
        }
        if child.ended < epoch {
            child.node = Some(node);
            let waiting = std::mem::take(&mut child.waiting);
            drop(children);
            waiting.into_iter().for_each(|reply| reply.send(Located::At(node, epoch)));
        }
        true
    }

    /// A run did not come to life. An actor that never was alive, or that nobody starts again, is
    /// none.
    pub(super) fn not_started(&self, actor: ActorId, epoch: Epoch) {
        let never =
            |child: &Child| child.epoch == epoch && (child.watch.is_none() || epoch <= Epoch(1));
        if self.children().get(&actor).is_some_and(never) {
            self.forget(actor);
        }
    }

    /// There will be no more runs.
    pub(super) fn forget(&self, actor: ActorId) {
        let child = self.children().remove(&actor);
        let waiting = child.map(|child| child.waiting).unwrap_or_default();
        waiting.into_iter().for_each(|reply| reply.send(Located::Ended));
    }

    /// Where a child is; `None` if it is not a child of this node.
    pub(super) fn find(&self, actor: ActorId) -> Option<Result<(NodeId, Epoch), Why>> {
        let children = self.children();
        let child = children.get(&actor)?;
        Some(child.node.map(|node| (node, child.epoch)).ok_or(Why::NoRoute))
    }

    /// Answers when it is known where the child is.
    pub(super) fn locate(&self, actor: ActorId, reply: Reply<Located>) {
        let mut children = self.children();
        let answer = match children.get_mut(&actor) {
            None => Located::Ended,
            Some(Child { node: Some(node), epoch, .. }) => Located::At(*node, *epoch),
            Some(child) => {
                child.waiting.retain(|reply| !reply.is_abandoned());
                if child.waiting.len() < WAITING_MAX {
                    child.waiting.push(reply);
                }
                return;
            }
        };
        drop(children);
        reply.send(answer);
    }

    /// Takes note of an end; the watch is to be told if there is one (H-2, H-3).
    fn ended(&self, actor: ActorId, epoch: Epoch) -> Option<Arc<dyn Watch>> {
        let mut children = self.children();
        let child = children.get_mut(&actor)?;
        if epoch < child.epoch || child.ended >= epoch {
            return None;
        }
        child.ended = epoch;
        child.node = None;
        if child.watch.is_none() {
            // Nobody starts it again.
            let waiting = children.remove(&actor).map(|child| child.waiting).unwrap_or_default();
            drop(children);
            waiting.into_iter().for_each(|reply| reply.send(Located::Ended));
            return None;
        }
        child.watch.clone()
    }

    fn watch_of(&self, actor: ActorId, epoch: Epoch) -> Option<Arc<dyn Watch>> {
        let children = self.children();
        children.get(&actor).filter(|child| child.epoch == epoch)?.watch.clone()
    }

    fn on_node(&self, node: NodeId) -> Vec<(ActorId, Epoch)> {
        let children = self.children();
        let there = children.iter().filter(|(_, child)| child.node == Some(node));
        there.map(|(actor, child)| (*actor, child.epoch)).collect()
    }

    fn children(&self) -> MutexGuard<'_, HashMap<ActorId, Child>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster {
    /// A run of a child has ended, wherever it was.
    pub(super) fn child_ended(&self, actor: ActorId, epoch: Epoch, exit: Exit) {
        if let Some(watch) = self.children.ended(actor, epoch) {
            watch.notice(Notice::Ended { actor, epoch, exit });
        }
        self.changed.notify_waiters();
    }

    /// A child hands over its state.
    pub(super) fn child_checkpoint(
        &self,
        actor: ActorId,
        epoch: Epoch,
        sequence: u64,
        state: Bytes,
        stored: Box<dyn FnOnce() + Send>,
    ) {
        if let Some(watch) = self.children.watch_of(actor, epoch) {
            watch.notice(Notice::Checkpoint { actor, epoch, sequence, state, stored });
        }
    }

    pub(super) fn children_node_is_dead(&self, node: NodeId) {
        for (actor, epoch) in self.children.on_node(node) {
            self.child_ended(actor, epoch, Exit::NodeDead(node));
        }
    }

    /// Asks an actor's home where it is, and remembers the answer.
    pub(super) fn locate(&self, to: mobula_actors::carrier::Address) {
        if to.home == self.id || !self.locating(to.actor) {
            return;
        }
        let (Some(cluster), Some(home)) = (self.arc(), self.service(to.home)) else { return };
        self.system.runtime().spawn(async move {
            let actor = to.actor;
            let asked = home.call(|reply| super::service::NodeMsg::Locate { actor, reply }).await;
            match asked {
                Ok(Located::At(node, epoch)) => {
                    cluster.routes().learn(actor, Route::At(node, epoch));
                }
                Ok(Located::Ended) => cluster.routes().learn(actor, Route::Ended),
                Err(why) => tracing::debug!(%actor, %why, "an actor's home did not answer"),
            }
            cluster.located(actor);
            cluster.changed.notify_waiters();
        });
    }
}
