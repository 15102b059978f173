//! Where actors of other nodes are known to live.
//!
//! An address says where an actor was; a route says where it is now. Routes are learned from an
//! actor's home and forgotten when a node dies or says that the actor is gone. The table is a
//! bounded cache: no table of all actors exists anywhere.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mobula_actors::id::{ActorId, Epoch, NodeId};

use super::cluster::Table;

/// Routes a node remembers; the oldest are forgotten first.
pub const ROUTES_MAX: usize = 65_536;

/// How long an actor is taken for ended before its home is asked again.
const ENDED_FOR: Duration = Duration::from_secs(1);

/// What is known of an actor's whereabouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// It runs there.
    At(NodeId, Epoch),
    /// Its home said then that it has ended. An actor that was stopped can be started again, so that
    /// is believed for [`ENDED_FOR`] only.
    Ended(Instant),
    /// What was known has proved wrong: its home must be asked.
    Unknown,
}

#[derive(Default)]
pub(super) struct Routes {
    by_actor: Table<ActorId, Route>,
    /// In the order of their first entry.
    order: VecDeque<ActorId>,
}

impl Routes {
    pub(super) fn get(&self, actor: ActorId) -> Option<Route> {
        match self.by_actor.get(&actor).copied() {
            Some(Route::Ended(since)) if since.elapsed() >= ENDED_FOR => Some(Route::Unknown),
            route => route,
        }
    }

    /// Learns a route. A run that is older than the known one is not believed.
    pub(super) fn learn(&mut self, actor: ActorId, route: Route) {
        if let (Some(Route::At(_, known)), Route::At(_, new)) = (self.get(actor), route)
            && new < known
        {
            return;
        }
        if self.by_actor.insert(actor, route).is_none() {
            self.order.push_back(actor);
        }
        if self.by_actor.len() > ROUTES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_actor.remove(&oldest);
        }
    }

    /// Forgets what `node` was said to have.
    pub(super) fn node_is_gone(&mut self, node: NodeId) {
        for route in self.by_actor.values_mut() {
            if matches!(*route, Route::At(at, _) if at == node) {
                *route = Route::Unknown;
            }
        }
    }

    /// `node` says that it does not have `actor`.
    pub(super) fn not_there(&mut self, actor: ActorId, node: NodeId) {
        match self.get(actor) {
            Some(Route::At(at, _)) if at != node => {}
            Some(Route::Ended(_)) => {}
            _ => self.learn(actor, Route::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use mobula_actors::id::PeerKey;

    use super::*;

    const A: NodeId = NodeId { key: PeerKey([1; 32]), boot: 1 };
    const B: NodeId = NodeId { key: PeerKey([2; 32]), boot: 1 };

    fn actor(number: u64) -> ActorId {
        ActorId { origin: 1, number }
    }

    #[test]
    fn an_older_run_is_not_believed() {
        let mut routes = Routes::default();
        routes.learn(actor(1), Route::At(B, Epoch(2)));
        routes.learn(actor(1), Route::At(A, Epoch(1)));
        assert_eq!(routes.get(actor(1)), Some(Route::At(B, Epoch(2))));
    }

    #[test]
    fn a_dead_node_has_nothing() {
        let mut routes = Routes::default();
        routes.learn(actor(1), Route::At(A, Epoch(1)));
        routes.learn(actor(2), Route::At(B, Epoch(1)));
        routes.node_is_gone(A);
        assert_eq!(routes.get(actor(1)), Some(Route::Unknown));
        assert_eq!(routes.get(actor(2)), Some(Route::At(B, Epoch(1))));
    }

    #[test]
    fn only_the_node_that_was_believed_can_deny() {
        let mut routes = Routes::default();
        routes.learn(actor(1), Route::At(A, Epoch(1)));
        routes.not_there(actor(1), B);
        assert_eq!(routes.get(actor(1)), Some(Route::At(A, Epoch(1))));
        routes.not_there(actor(1), A);
        assert_eq!(routes.get(actor(1)), Some(Route::Unknown));
    }

    #[test]
    fn an_end_is_believed_for_a_while() {
        let mut routes = Routes::default();
        let now = Instant::now();
        routes.learn(actor(1), Route::Ended(now + ENDED_FOR));
        assert_eq!(routes.get(actor(1)), Some(Route::Ended(now + ENDED_FOR)));
        routes.learn(actor(1), Route::Ended(now.checked_sub(ENDED_FOR).unwrap()));
        assert_eq!(routes.get(actor(1)), Some(Route::Unknown));
        routes.learn(actor(1), Route::At(A, Epoch(2)));
        assert_eq!(routes.get(actor(1)), Some(Route::At(A, Epoch(2))));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut routes = Routes::default();
        for number in 0..=ROUTES_MAX as u64 {
            routes.learn(actor(number), Route::At(A, Epoch(1)));
        }
        assert_eq!(routes.by_actor.len(), ROUTES_MAX);
        assert_eq!(routes.get(actor(0)), None);
    }
}
