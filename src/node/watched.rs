//! Monitors that other nodes have on actors here (O-2, O-3 of `watches`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mobula_actors::carrier::Monitor;
use mobula_actors::id::{ActorId, Epoch, NodeId};
use mobula_actors::{Down, Exit};

use super::cluster::Cluster;
use super::service::NodeMsg;
use super::watches::WATCHES_MAX;

#[derive(Default)]
pub(super) struct Watched(Mutex<HashMap<NodeId, HashMap<u64, State>>>);

/// What became of a watch. It stays until the watcher has heard, or is dead.
enum State {
    /// The run goes on. The token keeps its monitor in force.
    Armed {
        _token: Arc<()>,
    },
    Over(Down),
}

enum Entered {
    New(Arc<()>),
    /// The watcher asks again.
    Armed,
    Over(Down),
    Full,
}

impl Watched {
    fn enter(&self, watcher: NodeId, number: u64) -> Entered {
        let mut all = self.all();
        let watches = all.entry(watcher).or_default();
        match watches.get(&number) {
            Some(State::Armed { .. }) => return Entered::Armed,
            Some(State::Over(down)) => return Entered::Over(down.clone()),
            None if watches.len() >= WATCHES_MAX => return Entered::Full,
            None => {}
        }
        let token = Arc::new(());
        watches.insert(number, State::Armed { _token: token.clone() });
        Entered::New(token)
    }

    /// The run has ended; false if nobody waits to hear that any more.
    fn over(&self, watcher: NodeId, number: u64, down: &Down) -> bool {
        let mut all = self.all();
        let state = all.get_mut(&watcher).and_then(|watches| watches.get_mut(&number));
        let Some(state) = state else { return false };
        *state = State::Over(down.clone());
        true
    }

    /// The watcher has heard, or does not care any more.
    pub(super) fn forget(&self, watcher: NodeId, number: u64) {
        if let Some(watches) = self.all().get_mut(&watcher) {
            watches.remove(&number);
        }
    }

    pub(super) fn node_is_gone(&self, watcher: NodeId) {
        let gone = self.all().remove(&watcher);
        drop(gone);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<NodeId, HashMap<u64, State>>> {
        // Nothing that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster {
    /// Tells `watcher` when the present run of an actor ends. Asked again, nothing changes but that
    /// an end which it has not heard of is told again.
    pub(super) fn watch_for(&self, actor: ActorId, watcher: NodeId, number: u64) {
        // Nothing is kept for nodes that are not there: so many can be made up.
        if !self.membership.is_living(watcher) {
            return;
        }
        match self.watched.enter(watcher, number) {
            Entered::New(token) => self.arm(actor, watcher, number, &token),
            Entered::Armed => {}
            Entered::Over(down) => self.tell_end(watcher, number, down),
            Entered::Full => {
                let text = format!("a node may watch {WATCHES_MAX} actors here, and does");
                self.tell_not_watched(watcher, actor, number, Exit::NoCapacity(text));
            }
        }
        if self.membership.is_gone(watcher) {
            // It died meanwhile, and those who were told then did not find this.
            self.watched.node_is_gone(watcher);
        }
    }

    fn arm(&self, actor: ActorId, watcher: NodeId, number: u64, token: &Arc<()>) {
        let Some(inbound) = self.engine.exported(actor) else {
            self.watched.forget(watcher, number);
            return self.tell(watcher, NodeMsg::Absent { number });
        };
        let cluster = self.weak();
        let on_down = Box::new(move |down| {
            if let Some(cluster) = cluster.upgrade()
                && cluster.watched.over(watcher, number, &down)
            {
                cluster.tell_end(watcher, number, down);
            }
        });
        let watcher = Some(Arc::downgrade(token));
        inbound.control().monitor(Monitor { on_down, watcher });
    }

    pub(super) fn tell_not_watched(
        &self,
        watcher: NodeId,
        actor: ActorId,
        number: u64,
        exit: Exit,
    ) {
        self.tell_end(watcher, number, Down { actor, epoch: Epoch(0), exit, restarting: false });
    }

    fn tell_end(&self, watcher: NodeId, number: u64, down: Down) {
        self.tell(watcher, NodeMsg::Fired { by: self.id, number, down });
    }
}

#[cfg(test)]
mod tests {
    use mobula_actors::id::PeerKey;

    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId { key: PeerKey([number; 32]), boot: 1 }
    }

    /// O-2.
    #[test]
    fn an_end_is_kept_until_the_watcher_has_it() {
        let watched = Watched::default();
        let entered = watched.enter(node(1), 7);
        assert!(matches!(entered, Entered::New(_)));
        assert!(matches!(watched.enter(node(1), 7), Entered::Armed));
        let (actor, epoch) = (ActorId { origin: 1, number: 1 }, Epoch(3));
        let down = Down { actor, epoch, exit: Exit::Killed, restarting: true };
        assert!(watched.over(node(1), 7, &down));
        for _ in 0..2 {
            let again = watched.enter(node(1), 7);
            assert!(matches!(again, Entered::Over(kept) if kept == down));
        }
        watched.forget(node(1), 7);
        assert!(!watched.over(node(1), 7, &down));
        assert!(matches!(watched.enter(node(1), 7), Entered::New(_)));
    }

    /// O-3.
    #[test]
    fn each_node_has_its_own_bound_and_takes_its_watches_with_it() {
        let watched = Watched::default();
        for number in 0..WATCHES_MAX as u64 {
            assert!(matches!(watched.enter(node(1), number), Entered::New(_)));
        }
        assert!(matches!(watched.enter(node(1), WATCHES_MAX as u64), Entered::Full));
        assert!(matches!(watched.enter(node(1), 0), Entered::Armed));
        assert!(matches!(watched.enter(node(2), 0), Entered::New(_)));
        watched.node_is_gone(node(1));
        assert!(matches!(watched.enter(node(1), 0), Entered::New(_)));
    }
}
