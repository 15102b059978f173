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
use std::time::Instant;

use bytes::Bytes;
use mobula_actors::carrier::{Address, Monitor};
use mobula_actors::id::{ActorId, Epoch, NodeId};
use mobula_actors::spawner::{Notice, Watch};
use mobula_actors::{Down, Exit, Reply, Restart, SpawnError, Why};
use serde::{Deserialize, Serialize};

use super::authority::Violation;
use super::cluster::Cluster;
use super::routes::Route;
use super::service::NodeMsg;
use super::ways::Changes;

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
pub(super) struct Children {
    table: Mutex<HashMap<ActorId, Child>>,
    changes: Arc<Changes>,
}

struct Child {
    epoch: Epoch,
    /// The node of the present run; `None` between runs, and while one starts.
    node: Option<NodeId>,
    /// The node that was asked to start it: the only one that can tell of it.
    host: Option<NodeId>,
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
            host: None,
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
    fn pause(&mut self, restarting: bool) -> Told {
        (self.starting, self.restarting) = (false, restarting);
        let waiting = self.waiting.extract_if(.., |waiting| !waiting.next).collect();
        Told { waiting, monitors: std::mem::take(&mut self.monitors) }
    }

    /// Another run starts. Returns the last one, and who watched it, if its end was not told.
    fn make_way(&mut self, epoch: Epoch) -> (Epoch, Vec<Monitor>) {
        let last = self.epoch;
        (self.node, self.starting, self.epoch) = (None, true, last.max(epoch));
        self.host = None;
        let watched = if last < epoch { std::mem::take(&mut self.monitors) } else { Vec::new() };
        (last, watched)
    }

    /// No run will follow.
    fn end(self, actor: ActorId, exit: Exit) {
        let Self { epoch, waiting, monitors, .. } = self;
        let down = Down { actor, epoch, exit, restarting: false };
        Told { waiting, monitors }.tell(Located::Ended, &down);
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
    pub(super) fn new(changes: Arc<Changes>) -> Self {
        Self { changes, ..Self::default() }
    }

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

    /// `node` is about to be asked to start the run that was ordered.
    pub(super) fn asks(&self, actor: ActorId, epoch: Epoch, node: NodeId) {
        let mut children = self.children();
        if let Some(child) = children.get_mut(&actor).filter(|child| child.epoch == epoch) {
            child.host = Some(node);
        }
    }

    /// Whether `node` can tell of a run. What it tells of one that is over changes nothing (H-3).
    pub(super) fn is_host(
        &self,
        node: NodeId,
        actor: ActorId,
        epoch: Epoch,
    ) -> Result<(), Violation> {
        let children = self.table();
        match children.get(&actor) {
            Some(Child { epoch: known, .. }) if epoch > *known => {
                Err(Violation::Epoch { actor, claimed: epoch, known: *known })
            }
            Some(child) if epoch == child.epoch && child.host != Some(node) => {
                Err(Violation::NotHost(actor))
            }
            _ => Ok(()),
        }
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
        let told = child.pause(true);
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
            child.end(actor, Exit::NoProc);
        }
    }

    /// Where a child is; `None` if it is not a child of this node.
    pub(super) fn find(&self, actor: ActorId) -> Option<Result<(NodeId, Epoch), Why>> {
        let children = self.table();
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
            let forgotten = monitor.join(&mut child.monitors);
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
            child.end(actor, exit.clone());
            return None;
        };
        child.ended = epoch;
        child.node = None;
        let restarting = child.restart.after(exit);
        let told = child.pause(restarting);
        drop(children);
        told.tell(Located::Between(epoch), &Down { actor, epoch, exit: exit.clone(), restarting });
        Some(watch)
    }

    fn watch_of(&self, actor: ActorId, epoch: Epoch) -> Option<Arc<dyn Watch>> {
        let children = self.table();
        children.get(&actor).filter(|child| child.epoch == epoch)?.watch.clone()
    }

    /// The monitors of runs on other nodes than `me`, and what they are to hear when those are gone.
    pub(super) fn elsewhere(&self, me: NodeId) -> Vec<(Down, Vec<Monitor>)> {
        let mut children = self.children();
        let there = children.iter_mut().filter_map(|(actor, child)| {
            let exit = Exit::NodeDead(child.node.filter(|node| *node != me)?);
            let down = Down { actor: *actor, epoch: child.epoch, exit, restarting: false };
            Some((down, std::mem::take(&mut child.monitors)))
        });
        there.collect()
    }

    fn on_node(&self, node: NodeId) -> Vec<(ActorId, Epoch)> {
        let children = self.table();
        let there = children.iter().filter(|(_, child)| child.node == Some(node));
        there.map(|(actor, child)| (*actor, child.epoch)).collect()
    }

    /// For whoever may change something.
    fn children(&self) -> MutexGuard<'_, HashMap<ActorId, Child>> {
        let children = self.table();
        self.changes.note();
        children
    }

    /// For whoever only looks: the ways of messages stay what they are.
    fn table(&self) -> MutexGuard<'_, HashMap<ActorId, Child>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
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
                Ok(Located::Ended) => cluster.routes().learn(actor, Route::Ended(Instant::now())),
                // An answer to another question.
                Ok(Located::Between(_)) => {}
                Err(why) => tracing::debug!(%actor, %why, "an actor's home did not answer"),
            }
            cluster.located(actor);
            cluster.changed.notify_waiters();
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, TryRecvError, channel};

    use mobula_actors::id::PeerKey;

    use super::*;

    const NODE: NodeId = NodeId { key: PeerKey([1; 32]), boot: 1 };

    fn actor(number: u64) -> ActorId {
        ActorId { origin: 1, number }
    }

    struct Supervised;

    impl Watch for Supervised {
        fn notice(&self, _: Notice) {}
    }

    fn order(children: &Children, epoch: u64) {
        let watch: Arc<dyn Watch> = Arc::new(Supervised);
        children.ordered(actor(1), Epoch(epoch), Restart::Transient, Some(watch)).unwrap();
    }

    fn watched(children: &Children) -> Receiver<Down> {
        let (told, downs) = channel();
        children.monitor(actor(1), Monitor::new(move |down| drop(told.send(down)))).unwrap();
        downs
    }

    /// H-2, H-3: and a monitor hears of the run that it was set on.
    #[test]
    fn the_end_of_a_run_is_told_once_and_that_of_an_older_one_to_nobody() {
        let children = Children::default();
        order(&children, 1);
        let starting = watched(&children);
        assert!(children.started(actor(1), Epoch(1), NODE));
        assert!(children.ended(actor(1), Epoch(1), &Exit::Killed).is_some());
        assert!(children.ended(actor(1), Epoch(1), &Exit::Killed).is_none());
        let down = Down { actor: actor(1), epoch: Epoch(1), exit: Exit::Killed, restarting: true };
        assert_eq!(starting.recv().as_ref(), Ok(&down));

        let between = watched(&children).recv().unwrap();
        assert_eq!((between.exit, between.restarting), (Exit::NoProc, true));

        order(&children, 2);
        let second = watched(&children);
        assert!(children.ended(actor(1), Epoch(1), &Exit::Normal).is_none());
        assert!(children.started(actor(1), Epoch(2), NODE));
        assert_eq!(second.try_recv(), Err(TryRecvError::Empty));
        assert!(children.ended(actor(1), Epoch(2), &Exit::Normal).is_some());
        let done = Down { epoch: Epoch(2), exit: Exit::Normal, restarting: false, ..down };
        assert_eq!(second.recv(), Ok(done));
    }

    #[test]
    fn whoever_watches_a_run_that_is_given_up_for_a_newer_one_hears_of_that() {
        let children = Children::default();
        order(&children, 1);
        assert!(children.started(actor(1), Epoch(1), NODE));
        let first = watched(&children);
        order(&children, 2);
        let exit = Exit::Fenced(Epoch(2));
        let down = Down { actor: actor(1), epoch: Epoch(1), exit, restarting: true };
        assert_eq!(first.recv(), Ok(down));
        let second = watched(&children);
        children.forget(actor(1));
        let gone = Exit::NoProc;
        let down = Down { actor: actor(1), epoch: Epoch(2), exit: gone, restarting: false };
        assert_eq!(second.recv(), Ok(down));
    }

    /// O-4 of `watches`.
    #[test]
    fn monitors_of_runs_elsewhere_are_given_up_together() {
        let children = Children::default();
        order(&children, 1);
        assert!(children.started(actor(1), Epoch(1), NODE));
        let _watched = watched(&children);
        assert!(children.elsewhere(NODE).is_empty(), "it runs here");
        let me = NodeId { boot: 2, ..NODE };
        let given_up = children.elsewhere(me);
        let exit = Exit::NodeDead(NODE);
        assert_eq!(
            given_up[0].0,
            Down { actor: actor(1), epoch: Epoch(1), exit, restarting: false }
        );
        assert_eq!((given_up.len(), given_up[0].1.len()), (1, 1));
        assert!(children.elsewhere(me)[0].1.is_empty());
    }

    #[test]
    fn a_home_has_so_many_children_and_refuses_the_next() {
        let children = Children::default();
        let order = |number| children.ordered(actor(number), Epoch(1), Restart::Temporary, None);
        for number in 0..CHILDREN_MAX as u64 {
            order(number).unwrap();
        }
        assert!(matches!(order(CHILDREN_MAX as u64), Err(SpawnError::Refused(_))));
        // Another run of one that is there takes no more room.
        order(0).unwrap();
        children.forget(actor(0));
        order(CHILDREN_MAX as u64).unwrap();
    }
}
