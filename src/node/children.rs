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
use mobula_actors::carrier::{Address, Monitor};
use mobula_actors::id::{ActorId, Epoch, NodeId};
use mobula_actors::spawner::{Notice, Watch};
use mobula_actors::{Down, Exit, Reply, Restart, SpawnError, Why};
use serde::{Deserialize, Serialize};

use super::cluster::Cluster;
use super::routes::Route;
use super::service::NodeMsg;

/// Nodes that wait to hear where one child is; beyond it they ask again later.
pub const WAITING_MAX: usize = 1_024;
/// Portable actors that a node can be the home of at the same time.
pub const CHILDREN_MAX: usize = 1_048_576;

/// Where an actor is, in the words of its home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Located {
    At(NodeId, Epoch),
    Ended,
    /// This run was the last so far, and another one is to come.
    Between(Epoch),
}

#[derive(Default)]
pub(super) struct Children(Mutex<HashMap<ActorId, Child>>);

struct Child {
    epoch: Epoch,
    /// The node of the present run; `None` between runs, and while one starts.
    node: Option<NodeId>,
    starting: bool,
    /// The newest run that is known to have ended.
    ended: Epoch,
    watch: Option<Arc<dyn Watch>>,
    restart: Restart,
    /// What its last end said.
    restarting: bool,
    waiting: Vec<Waiting>,
    monitors: Vec<Monitor>,
}

struct Waiting {
    /// Waits for the next run, whatever becomes of this one.
    next: bool,
    reply: Reply<Located>,
}

/// Those who hear that a run is over.
struct Told {
    waiting: Vec<Waiting>,
    monitors: Vec<Monitor>,
}

impl Child {
    fn new(epoch: Epoch, restart: Restart) -> Self {
        Self {
            epoch,
            node: None,
            starting: true,
            ended: Epoch(0),
            watch: None,
            restart,
            restarting: true,
            waiting: Vec::new(),
            monitors: Vec::new(),
        }
    }

    /// No run goes on or starts.
    fn is_between(&mut self, restarting: bool) -> Told {
        (self.starting, self.restarting) = (false, restarting);
        let waiting = self.waiting.extract_if(.., |waiting| !waiting.next).collect();
        Told { waiting, monitors: std::mem::take(&mut self.monitors) }
    }

    /// Another run starts. Returns the last one, and who watched it, if its end was not told.
    fn make_way(&mut self, epoch: Epoch) -> (Epoch, Vec<Monitor>) {
        let last = self.epoch;
        (self.node, self.starting, self.epoch) = (None, true, last.max(epoch));
        let watched = if last < epoch { std::mem::take(&mut self.monitors) } else { Vec::new() };
        (last, watched)
    }

    /// No run will follow.
    fn is_over(self, actor: ActorId, exit: Exit) {
        let Self { epoch, waiting, monitors, .. } = self;
        let down = Down { actor, epoch, exit, restarting: false };
        Told { waiting, monitors }.tell(Located::Ended, &down);
    }

    /// Takes out the monitors nobody waits for, each time the list would grow.
    fn forgotten_monitors(&mut self) -> Vec<Monitor> {
        if self.monitors.len() < self.monitors.capacity() {
            return Vec::new();
        }
        self.monitors.extract_if(.., |monitor| monitor.is_forgotten()).collect()
    }
}

impl Told {
    fn tell(self, located: Located, down: &Down) {
        answer(self.waiting, located);
        self.monitors.into_iter().for_each(|monitor| monitor.tell(down.clone()));
    }
}

fn answer(waiting: Vec<Waiting>, located: Located) {
    waiting.into_iter().for_each(|waiting| waiting.reply.send(located));
}

impl Children {
    /// A run of a child has been ordered.
    ///
    /// # Errors
    /// The node has as many children as it may have; nothing has changed.
    pub(super) fn ordered(
        &self,
        actor: ActorId,
        epoch: Epoch,
        restart: Restart,
        watch: Option<Arc<dyn Watch>>,
    ) -> Result<(), SpawnError> {
        let mut children = self.children();
        if children.len() >= CHILDREN_MAX && !children.contains_key(&actor) {
            let text = "of portable actors, a node can be the home of";
            return Err(SpawnError::Refused(format!("{text} {CHILDREN_MAX}, and this one is")));
        }
        let child = children.entry(actor).or_insert_with(|| Child::new(epoch, restart));
        let (last, monitors) = child.make_way(epoch);
        child.watch = watch;
        drop(children);
        let exit = Exit::Fenced(epoch);
        let down = Down { actor, epoch: last, exit, restarting: true };
        Told { waiting: Vec::new(), monitors }.tell(Located::Between(last), &down);
        Ok(())
    }

    /// A run has come to life. False if it is older than another one, or has ended meanwhile.
    pub(super) fn started(&self, actor: ActorId, epoch: Epoch, node: NodeId) -> bool {
        let mut children = self.children();
        let Some(child) = children.get_mut(&actor) else { return false };
        if child.epoch != epoch {
            return false;
        }
        child.starting = false;
        if child.ended < epoch {
            child.node = Some(node);
            let waiting = std::mem::take(&mut child.waiting);
            drop(children);
            answer(waiting, Located::At(node, epoch));
        }
        true
    }

    /// A run did not come to life. An actor that never was alive, or that nobody starts again, is
    /// none.
    pub(super) fn not_started(&self, actor: ActorId, epoch: Epoch) {
        let mut children = self.children();
        let child = children.get_mut(&actor).filter(|child| child.epoch == epoch);
        let Some(child) = child else { return };
        if child.watch.is_none() || epoch <= Epoch(1) {
            drop(children);
            return self.forget(actor);
        }
        let told = child.is_between(true);
        drop(children);
        told.tell(
            Located::Between(epoch),
            &Down { actor, epoch, exit: Exit::NoProc, restarting: true },
        );
    }

    /// There will be no more runs.
    pub(super) fn forget(&self, actor: ActorId) {
        let child = self.children().remove(&actor);
        if let Some(child) = child {
            child.is_over(actor, Exit::NoProc);
        }
    }

    /// Where a child is; `None` if it is not a child of this node.
    pub(super) fn find(&self, actor: ActorId) -> Option<Result<(NodeId, Epoch), Why>> {
        let children = self.children();
        let child = children.get(&actor)?;
        Some(child.node.map(|node| (node, child.epoch)).ok_or(Why::NoRoute))
    }

    /// Watches the present run of a child, or the one that starts; `monitor` hears at once if there
    /// is neither.
    ///
    /// # Errors
    /// The monitor: it is no child of this node.
    pub(super) fn monitor(&self, actor: ActorId, monitor: Monitor) -> Result<(), Monitor> {
        let mut children = self.children();
        let Some(child) = children.get_mut(&actor) else { return Err(monitor) };
        if child.starting || child.node.is_some() {
            let forgotten = child.forgotten_monitors();
            child.monitors.push(monitor);
            drop(children);
            drop(forgotten);
            return Ok(());
        }
        let (epoch, restarting) = (child.epoch, child.restarting);
        drop(children);
        monitor.tell(Down { actor, epoch, exit: Exit::NoProc, restarting });
        Ok(())
    }

    /// Answers when it is known where the child is. One between two runs is nowhere; with `next`,
    /// that is no answer.
    pub(super) fn locate(&self, actor: ActorId, next: bool, reply: Reply<Located>) {
        let mut children = self.children();
        let located = match children.get_mut(&actor) {
            None => Located::Ended,
            Some(Child { node: Some(node), epoch, .. }) => Located::At(*node, *epoch),
            Some(child) if !next && !child.starting => Located::Between(child.epoch),
            Some(child) => {
                child.waiting.retain(|waiting| !waiting.reply.is_abandoned());
                if child.waiting.len() < WAITING_MAX {
                    child.waiting.push(Waiting { next, reply });
                }
                return;
            }
        };
        drop(children);
        reply.send(located);
    }

    /// Takes note of an end; the watch is to be told if there is one (H-2, H-3).
    fn ended(&self, actor: ActorId, epoch: Epoch, exit: &Exit) -> Option<Arc<dyn Watch>> {
        let mut children = self.children();
        let child = children.get_mut(&actor)?;
        if epoch < child.epoch || child.ended >= epoch {
            return None;
        }
        let Some(watch) = child.watch.clone() else {
            // Nobody starts it again.
            let child = children.remove(&actor)?;
            drop(children);
            child.is_over(actor, exit.clone());
            return None;
        };
        child.ended = epoch;
        child.node = None;
        let restarting = child.restart.after(exit);
        let told = child.is_between(restarting);
        drop(children);
        told.tell(Located::Between(epoch), &Down { actor, epoch, exit: exit.clone(), restarting });
        Some(watch)
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
        if let Some(watch) = self.children.ended(actor, epoch, &exit) {
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
    pub(super) fn locate(&self, to: Address) {
        if to.home == self.id || !self.locating(to.actor) {
            return;
        }
        let (Some(cluster), Some(home)) = (self.arc(), self.service(to.home)) else { return };
        self.system.runtime().spawn(async move {
            let actor = to.actor;
            let asked = home.call(|reply| NodeMsg::Locate { actor, next: true, reply }).await;
            match asked {
                Ok(Located::At(node, epoch)) => {
                    cluster.routes().learn(actor, Route::At(node, epoch));
                }
                Ok(Located::Ended) => cluster.routes().learn(actor, Route::Ended),
                // An answer to another question.
                Ok(Located::Between(_)) => {}
                Err(why) => tracing::debug!(%actor, %why, "an actor's home did not answer"),
            }
            cluster.located(actor);
            cluster.changed.notify_waiters();
        });
    }
}
