//! Monitors of actors on other nodes.
//!
//! A watch is asked of the actor's node, asked again after a reconnect, and answered here when the
//! node dies.
//!
//! Invariant **O-1**: a watch fires exactly once.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mobula_actors::carrier::{Address, OnDown};
use mobula_actors::id::{ActorId, NodeId};
use mobula_actors::{Down, Exit, Why};

use super::children::Located;
use super::cluster::Cluster;
use super::routes::Route;
use super::service::NodeMsg;

/// Between two questions to a home about an actor that is to be watched.
const ASK_AGAIN: Duration = Duration::from_millis(200);

#[derive(Default)]
pub(super) struct Watches(Mutex<Table>);

#[derive(Default)]
struct Table {
    next: u64,
    watches: HashMap<u64, Watch>,
}

struct Watch {
    actor: ActorId,
    at: Address,
    node: NodeId,
    on_down: OnDown,
}

impl Watches {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, at: Address, node: NodeId, on_down: OnDown) -> u64 {
        let mut table = self.table();
        table.next += 1;
        let number = table.next;
        table.watches.insert(number, Watch { actor: at.actor, at, node, on_down });
        number
    }

    fn take(&self, number: u64) -> Option<Watch> {
        self.table().watches.remove(&number)
    }
}

impl Cluster {
    /// Watches the present run of an actor elsewhere.
    pub(super) fn watch(&self, at: Address, on_down: OnDown) {
        match self.whereabouts(&at) {
            Ok(node) => self.watch_on(node, at, on_down),
            // It may have moved: its home knows.
            Err(Why::NoRoute) if at.home != self.id && !self.membership.is_gone(at.home) => {
                self.watch_located(at, on_down);
            }
            Err(why) => self.nothing_to_watch(at, &why, on_down),
        }
    }

    fn watch_on(&self, node: NodeId, at: Address, on_down: OnDown) {
        let number = self.watches.add(at, node, on_down);
        self.tell(node, NodeMsg::Watch { actor: at.actor, watcher: self.id, number });
        if self.membership.is_gone(node) {
            // It died while it was being asked, and those who were told then did not find this.
            self.watched_node_is_dead(node);
        }
    }

    fn watch_located(&self, at: Address, on_down: OnDown) {
        let (Some(cluster), Some(home)) = (self.arc(), self.service(at.home)) else { return };
        self.system.runtime().spawn(async move {
            let actor = at.actor;
            while !cluster.membership.is_gone(at.home) {
                match home.call(|reply| NodeMsg::Locate { actor, reply }).await {
                    Ok(Located::At(node, epoch)) => {
                        cluster.routes().learn(actor, Route::At(node, epoch));
                        return cluster.watch_on(node, at, on_down);
                    }
                    Ok(Located::Ended) => break,
                    Err(_) => tokio::time::sleep(ASK_AGAIN).await,
                }
            }
            cluster.nothing_to_watch(at, &Why::NoRoute, on_down);
        });
    }

    fn nothing_to_watch(&self, at: Address, why: &Why, on_down: OnDown) {
        let child = self.children.find(at.actor);
        let dead = *why != Why::Stopped && child.is_none() && self.membership.is_gone(at.node);
        let exit = if dead { Exit::NodeDead(at.node) } else { Exit::NoProc };
        let restarting = child.is_some();
        fire(on_down, Down { actor: at.actor, epoch: at.epoch, exit, restarting });
    }

    /// Another node says that a watched run has ended.
    pub(super) fn watch_fired(&self, number: u64, down: Down) {
        if let Some(watch) = self.watches.take(number)
            && watch.actor == down.actor
        {
            fire(watch.on_down, down);
        }
    }

    pub(super) fn watched_node_is_dead(&self, node: NodeId) {
        let fired: Vec<Watch> = {
            let mut table = self.watches.table();
            table.watches.extract_if(|_, watch| watch.node == node).map(|(_, w)| w).collect()
        };
        for watch in fired {
            let restarting = self.children.find(watch.actor).is_some();
            let (actor, epoch, exit) = (watch.actor, watch.at.epoch, Exit::NodeDead(node));
            fire(watch.on_down, Down { actor, epoch, exit, restarting });
        }
    }

    /// Asks again after a reconnect: the first request may have been lost with the connection.
    pub(super) fn watch_again(&self, node: NodeId) {
        let again: Vec<_> = {
            let table = self.watches.table();
            let there = table.watches.iter().filter(|(_, watch)| watch.node == node);
            there.map(|(number, watch)| (*number, watch.actor)).collect()
        };
        for (number, actor) in again {
            self.tell(node, NodeMsg::Watch { actor, watcher: self.id, number });
        }
    }
}

/// Tells a watcher. What is wrong with its own code is no concern of the connection it came by.
fn fire(on_down: OnDown, down: Down) {
    let actor = down.actor;
    if catch_unwind(AssertUnwindSafe(|| on_down(down))).is_err() {
        tracing::warn!(%actor, "a monitor panicked");
    }
}
