//! Monitors of actors on other nodes: the watcher's side. The other one is `watched`.
//!
//! The home of an actor hears of every end of its runs, and needs no more: `children` has its
//! monitors. Any other node asks the node where the actor runs, asks again after a reconnect, and
//! answers itself when that node dies. If the node does not have the actor, or nobody knows where
//! it is, its home is asked where.
//!
//! Invariants:
//! - **O-1** A watch fires exactly once.
//! - **O-2** What fires is the end of the run that was watched first, whatever became of the
//!   connection meanwhile: the node where it ran keeps that end until the watcher has it.
//! - **O-3** A node has at most [`WATCHES_MAX`] watches elsewhere, and keeps at most as many for
//!   each other node. One beyond is answered at once with [`Exit::NoCapacity`].
//! - **O-4** To a life that is fenced all other nodes are gone: its watches fire with
//!   [`Exit::NodeDead`] as it learns of that, and so does each that it begins later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mobula_actors::carrier::{Address, Monitor};
use mobula_actors::id::{Epoch, NodeId};
use mobula_actors::{Down, Exit, Why};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::authority::Violation;
use super::children::Located;
use super::cluster::Cluster;
use super::routes::Route;
use super::service::NodeMsg;

/// Actors elsewhere that a node watches at the same time; as many as that may each other node watch
/// on it.
pub const WATCHES_MAX: usize = 262_144;
/// How long the news of a node's death wait for what the home of an actor there says of it.
const DEATH_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two questions to a home about an actor that is to be watched.
const ASK_AGAIN: Duration = Duration::from_millis(200);

pub(super) struct Watches {
    table: Mutex<Table>,
    places: Arc<Semaphore>,
}

#[derive(Default)]
struct Table {
    next: u64,
    watches: HashMap<u64, Watch>,
}

struct Watch {
    at: Address,
    /// The node that was asked.
    node: NodeId,
    monitor: Monitor,
    /// Its place among those there may be (O-3).
    _place: OwnedSemaphorePermit,
}

impl Default for Watches {
    fn default() -> Self {
        let places = Arc::new(Semaphore::new(WATCHES_MAX));
        Self { table: Mutex::default(), places }
    }
}

impl Watches {
    fn add(&self, watch: Watch) -> u64 {
        let mut table = self.table();
        table.next += 1;
        let number = table.next;
        table.watches.insert(number, watch);
        number
    }

    /// Whether `node` is the one that was asked for this watch, if it still is one.
    pub(super) fn is_asked(&self, node: NodeId, number: u64) -> Result<(), Violation> {
        match self.table().watches.get(&number) {
            Some(watch) if watch.node != node => Err(Violation::NotAsked(number)),
            _ => Ok(()),
        }
    }

    fn take(&self, number: u64) -> Option<Watch> {
        self.table().watches.remove(&number)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that can panic runs under this lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster {
    /// Watches the present run of an actor elsewhere, or the one that is about to start.
    pub(super) fn watch(&self, at: Address, monitor: Monitor) {
        let Err(monitor) = self.children.monitor(at.actor, monitor) else { return };
        self.drop_forgotten();
        if self.membership.is_fenced() {
            return tell(monitor, at, at.epoch, Exit::NodeDead(at.node), false);
        }
        let Ok(place) = self.watches.places.clone().try_acquire_owned() else {
            let text =
                format!("this node watches {WATCHES_MAX} actors elsewhere, as many as it may");
            return tell(monitor, at, at.epoch, Exit::NoCapacity(text), false);
        };
        let mut watch = Watch { at, node: at.node, monitor, _place: place };
        match self.whereabouts(&at) {
            Ok(node) => {
                watch.node = node;
                self.watch_there(watch);
            }
            // Its home knows where it is, or will be.
            Err(Why::NoRoute) if !self.membership.is_gone(at.home) => {
                self.watch_located(watch, None);
            }
            Err(why) => self.nothing_to_watch(watch, &why),
        }
    }

    fn watch_there(&self, watch: Watch) {
        let (actor, node) = (watch.at.actor, watch.node);
        let number = self.watches.add(watch);
        self.tell(node, NodeMsg::Watch { actor, watcher: self.id, number });
        if self.membership.is_gone(node) {
            // It died while it was being asked, and those who were told then did not find this.
            self.watched_node_is_dead(node);
        }
        if self.membership.is_fenced() {
            self.watches_fenced();
        }
    }

    /// This life is over in the eyes of the others (O-4).
    pub(super) fn watches_fenced(&self) {
        let all = std::mem::take(&mut self.watches.table().watches);
        for Watch { at, node, monitor, .. } in all.into_values() {
            tell(monitor, at, at.epoch, Exit::NodeDead(node), false);
        }
        for (down, monitors) in self.children.elsewhere(self.id) {
            monitors.into_iter().for_each(|monitor| monitor.tell(down.clone()));
        }
    }

    /// Asks the home where the actor is. `denied` has said that it does not have it.
    fn watch_located(&self, mut watch: Watch, denied: Option<NodeId>) {
        let at = watch.at;
        let (Some(cluster), Some(home)) = (self.arc(), self.service(at.home)) else { return };
        self.system.runtime().spawn(async move {
            let actor = at.actor;
            while !cluster.membership.is_gone(at.home) && !watch.monitor.is_forgotten() {
                let asked = home.call(|reply| NodeMsg::Locate { actor, next: false, reply }).await;
                match asked {
                    Ok(Located::At(node, epoch)) if denied != Some(node) => {
                        cluster.routes().learn(actor, Route::At(node, epoch));
                        watch.node = node;
                        return cluster.watch_there(watch);
                    }
                    Ok(Located::Between(epoch)) => {
                        return tell(watch.monitor, at, epoch, Exit::NoProc, true);
                    }
                    Ok(Located::Ended) => break,
                    // No answer, or one older than what the denier knows: that will reach the home.
                    Ok(Located::At(..)) | Err(_) => tokio::time::sleep(ASK_AGAIN).await,
                }
            }
            cluster.nothing_to_watch(watch, &Why::NoRoute);
        });
    }

    fn nothing_to_watch(&self, watch: Watch, why: &Why) {
        let at = watch.at;
        let dead = *why != Why::Stopped && self.membership.is_gone(at.node);
        let exit = if dead { Exit::NodeDead(at.node) } else { Exit::NoProc };
        tell(watch.monitor, at, at.epoch, exit, false);
    }

    /// Another node says that a watched run has ended.
    pub(super) fn watch_fired(&self, by: NodeId, number: u64, down: Down) {
        // It keeps the end until this node has it (O-2).
        self.tell(by, NodeMsg::Unwatch { watcher: self.id, number });
        if let Some(watch) = self.watches.take(number) {
            watch.monitor.tell(Down { actor: watch.at.actor, ..down });
        }
    }

    /// A node says that it has no such actor.
    pub(super) fn watch_denied(&self, number: u64) {
        let Some(watch) = self.watches.take(number) else { return };
        let (at, node) = (watch.at, watch.node);
        if at.home == node || self.membership.is_gone(at.home) {
            return self.nothing_to_watch(watch, &Why::Stopped);
        }
        self.routes().not_there(at.actor, node);
        self.watch_located(watch, Some(node));
    }

    pub(super) fn watched_node_is_dead(&self, node: NodeId) {
        let fired: Vec<Watch> = {
            let mut table = self.watches.table();
            table.watches.extract_if(|_, watch| watch.node == node).map(|(_, w)| w).collect()
        };
        for watch in fired {
            self.tell_of_death(watch);
        }
    }

    /// Whether the actor is started again is for its home to say, if that is alive and soon answers.
    fn tell_of_death(&self, watch: Watch) {
        let (at, exit) = (watch.at, Exit::NodeDead(watch.node));
        let home = self.service(at.home).filter(|_| self.membership.is_living(at.home));
        let (Some(home), false) = (home, at.home == watch.node) else {
            return tell(watch.monitor, at, at.epoch, exit, false);
        };
        self.system.runtime().spawn(async move {
            let (actor, node) = (at.actor, watch.node);
            let asked = tokio::time::timeout(DEATH_TIMEOUT, async {
                loop {
                    let asked = home.call(|reply| NodeMsg::Locate { actor, next: false, reply });
                    match asked.await {
                        Ok(Located::Ended) => return false,
                        Ok(Located::Between(_)) => return true,
                        Ok(Located::At(now, _)) if now != node => return true,
                        // No answer, or the home does not know of the death yet.
                        Ok(Located::At(..)) | Err(_) => tokio::time::sleep(ASK_AGAIN).await,
                    }
                }
            });
            let restarting = asked.await.unwrap_or(false);
            tell(watch.monitor, at, at.epoch, exit, restarting);
        });
    }

    /// Asks again after a reconnect: the first request may have been lost with the connection, or
    /// the answer.
    pub(super) fn watch_again(&self, node: NodeId) {
        let again: Vec<_> = {
            let table = self.watches.table();
            let there = table.watches.iter().filter(|(_, watch)| watch.node == node);
            there.map(|(number, watch)| (*number, watch.at.actor)).collect()
        };
        for (number, actor) in again {
            self.tell(node, NodeMsg::Watch { actor, watcher: self.id, number });
        }
    }

    /// Gives up the watches nobody waits for, each time the table would grow: so it holds at most
    /// twice as many as somebody waits for.
    fn drop_forgotten(&self) {
        let forgotten: Vec<(u64, Watch)> = {
            let mut table = self.watches.table();
            let is_full = self.watches.places.available_permits() == 0;
            if table.watches.len() < table.watches.capacity() && !is_full {
                return;
            }
            table.watches.extract_if(|_, watch| watch.monitor.is_forgotten()).collect()
        };
        for (number, watch) in forgotten {
            self.tell(watch.node, NodeMsg::Unwatch { watcher: self.id, number });
        }
    }
}

fn tell(monitor: Monitor, at: Address, epoch: Epoch, exit: Exit, restarting: bool) {
    monitor.tell(Down { actor: at.actor, epoch, exit, restarting });
}

#[cfg(test)]
mod tests {
    use mobula_actors::{Actor, ActorRef, Context, Fault, Reply, protocol};
    use mobula_supervision::{Strategy, Supervisor};
    use serde::{Deserialize, Serialize};
    use tokio::sync::oneshot;

    use super::*;
    use crate::gossip::Event;
    use crate::net::{Allowlist, Identity};
    use crate::node::Node;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[derive(Serialize, Deserialize)]
    enum Msg {
        Run(Reply<Epoch>),
        Panic,
    }
    protocol!(Msg = "test.watched/1");

    struct Mortal;

    impl Actor for Mortal {
        type Args = ();
        type Msg = Msg;

        async fn start((): (), _: &mut Context<Self>) -> Result<Self, Fault> {
            Ok(Self)
        }

        async fn handle(&mut self, msg: Msg, ctx: &mut Context<Self>) -> Result<(), Fault> {
            match msg {
                Msg::Run(reply) => reply.send(ctx.epoch()),
                Msg::Panic => panic!("told to"),
            }
            Ok(())
        }
    }

    async fn pair() -> (Node, Node) {
        let keys = [Identity::generate(), Identity::generate()];
        let mut members = Allowlist::new();
        keys.iter().for_each(|key| drop(members.insert(key.peer_key())));
        let [first, second] = keys.map(|key| {
            Node::builder().key(key).members(members.clone()).listen("/ip4/127.0.0.1/tcp/0")
        });
        let first = first.start().await.unwrap();
        let second = second.join([first.addresses()[0].clone()]).start().await.unwrap();
        assert!(first.until(PATIENCE, |all| all.len() == 2).await);
        (first, second)
    }

    /// O-1, O-2: the connection is cut each time that the run ends.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_watch_keeps_its_run_over_a_reconnect() {
        let (here, there) = pair().await;
        let peer = there.id().unwrap();
        let spec = Supervisor::spec(Strategy::OneForOne).intensity(1_000, PATIENCE);
        let tree = there.supervise(spec.child("mortal", Mortal::spec(()))).await.unwrap();
        let near: ActorRef<Msg> = tree.child("mortal").unwrap();
        there.register("mortal", &near).await.unwrap();
        let far: ActorRef<Msg> = here.lookup("mortal").await.unwrap();
        for run in 1..=20 {
            let epoch = far.call(Msg::Run).within(PATIENCE).await.unwrap();
            assert_eq!(epoch, Epoch(run));
            let (told, down) = oneshot::channel();
            far.on_down(Box::new(move |down| drop(told.send(down))));
            // Questions to a node are answered in order: the watch is set.
            here.members_of(peer).await.unwrap();
            here.cluster().unwrap().net(|net| net.close(&peer.key, false));
            near.send(Msg::Panic).await.unwrap();
            let down = tokio::time::timeout(PATIENCE, down).await.unwrap().unwrap();
            let exit = Exit::Panicked("told to".into());
            let wanted = Down { actor: far.id(), epoch, exit, restarting: true };
            assert_eq!(down, wanted);
        }
    }

    /// O-4: the others hold this node dead, and it is not told of any end any more.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_watches_of_a_fenced_life_fire_and_those_it_begins_fire_at_once() {
        let (here, there) = pair().await;
        let target = there.spawn(Mortal::spec(())).await.unwrap();
        there.register("mortal", &target).await.unwrap();
        let far: ActorRef<Msg> = here.lookup("mortal").await.unwrap();
        let watch = || {
            let (told, down) = oneshot::channel();
            far.on_down(Box::new(move |down| drop(told.send(down))));
            down
        };
        let early = watch();
        here.members_of(there.id().unwrap()).await.unwrap();
        let boot = here.id().unwrap().boot;
        here.cluster().unwrap().learn(Event::SelfDeclaredDead { boot });
        for down in [early, watch()] {
            let down = tokio::time::timeout(PATIENCE, down).await.unwrap().unwrap();
            assert_eq!(down.exit, Exit::NodeDead(there.id().unwrap()));
        }
    }

    /// O-3: what nobody waits for makes room.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_node_watches_so_many_elsewhere_and_says_so_of_the_next() {
        let (here, there) = pair().await;
        let target = there.spawn(Mortal::spec(())).await.unwrap();
        there.register("mortal", &target).await.unwrap();
        let far: ActorRef<Msg> = here.lookup("mortal").await.unwrap();
        let cluster = here.cluster().unwrap();
        let places = cluster.watches.places.clone();
        let others = places.try_acquire_many_owned(WATCHES_MAX as u32 - 1).unwrap();
        let watcher = Arc::new(());
        let forgetful =
            Monitor { on_down: Box::new(|_| ()), watcher: Some(Arc::downgrade(&watcher)) };
        far.watch(forgetful);
        let watch = || {
            let (told, down) = oneshot::channel();
            far.on_down(Box::new(move |down| drop(told.send(down))));
            down
        };
        let refused = watch().await.unwrap();
        assert!(matches!(refused.exit, Exit::NoCapacity(_)), "{refused:?}");
        drop(watcher);
        let granted = watch();
        drop(others);
        // The watch is set, and the one before given up.
        here.members_of(there.id().unwrap()).await.unwrap();
        target.kill();
        let down = tokio::time::timeout(PATIENCE, granted).await.unwrap().unwrap();
        assert_eq!(down.exit, Exit::Killed);
    }
}
