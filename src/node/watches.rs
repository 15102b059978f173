//! Monitors of actors on other nodes.
//!
//! A watch is asked of the actor's node, asked again after a reconnect, and answered here when the
//! node dies.
//!
//! Invariant **O-1**: a watch fires exactly once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mobula_actors::carrier::{Address, OnDown};
use mobula_actors::id::{ActorId, NodeId};
use mobula_actors::{Down, Exit, Why};

use super::cluster::Cluster;
use super::service::NodeMsg;

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
    pub(super) fn watch(&self, at: Address, on_down: OnDown) {
        let node = match self.whereabouts(&at) {
            Ok(node) => node,
            Err(why) => {
                let exit = match why {
                    Why::Stopped => Exit::NoProc,
                    _ => Exit::NodeDead(at.node),
                };
                on_down(Down { actor: at.actor, epoch: at.epoch, exit, restarting: false });
                return;
            }
        };
        let number = self.watches.add(at, node, on_down);
        self.tell(node, NodeMsg::Watch { actor: at.actor, watcher: self.id, number });
        if self.membership.is_gone(node) {
            // It died while it was being asked, and those who were told then did not find this.
            self.watched_node_is_dead(node);
        }
    }

    /// Another node says that a watched run has ended.
    pub(super) fn watch_fired(&self, number: u64, down: Down) {
        if let Some(watch) = self.watches.take(number) {
            if watch.actor == down.actor {
                (watch.on_down)(down);
            }
        }
    }

    pub(super) fn watched_node_is_dead(&self, node: NodeId) {
        let fired: Vec<Watch> = {
            let mut table = self.watches.table();
            table.watches.extract_if(|_, watch| watch.node == node).map(|(_, w)| w).collect()
        };
        for watch in fired {
            (watch.on_down)(Down {
                actor: watch.actor,
                epoch: watch.at.epoch,
                exit: Exit::NodeDead(node),
                restarting: false,
            });
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
