//! What the last message to an actor elsewhere found out: where it goes, and whose credit it spends.
//!
//! Invariants:
//! - **WY-1** A way is followed only while nothing has changed that it was found by: no route, no
//!   child, no link, no credit line. It is found anew otherwise.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use mobula_actors::carrier::Address;
use mobula_actors::id::{ActorId, Epoch, NodeId};

use super::cluster::Table;
use super::credit::Purse;
use crate::net::Link;

/// Ways that a node remembers. One more, and all are found anew.
const WAYS_MAX: usize = 65_536;

/// Counts what may lead messages elsewhere than before.
#[derive(Default)]
pub(super) struct Changes(AtomicU64);

impl Changes {
    /// Something has changed, or changes before the lock that protects it is released.
    pub(super) fn note(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// The way to one actor.
pub(super) struct Way {
    pub(super) node: NodeId,
    /// The run that is there.
    pub(super) epoch: Epoch,
    pub(super) link: Link,
    /// `None` for a node's own actor, which needs no credit.
    pub(super) purse: Option<Arc<Purse>>,
}

impl Way {
    pub(super) fn is_open(&self) -> bool {
        self.link.is_open()
    }
}

pub(super) struct Ways<W = Way> {
    changes: Arc<Changes>,
    found: RwLock<Table<ActorId, Found<W>>>,
}

struct Found<W> {
    /// What `Changes` said before the search.
    at: u64,
    /// One without a route goes where the address says.
    by: Address,
    way: Arc<W>,
}

impl<W> Ways<W> {
    pub(super) fn new(changes: Arc<Changes>) -> Self {
        Self { changes, found: RwLock::default() }
    }

    /// The way to `to`: the one that was followed last, if it is still `good`, or what `find` finds.
    pub(super) fn get<E>(
        &self,
        to: &Address,
        good: impl FnOnce(&W) -> bool,
        find: impl FnOnce() -> Result<W, E>,
    ) -> Result<Arc<W>, E> {
        // Read first: what changes during the search makes its result a thing of the past.
        let at = self.changes.now();
        if let Some(way) = self.known(at, to).filter(|way| good(way)) {
            return Ok(way);
        }
        let way = Arc::new(find()?);
        let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
        if found.len() >= WAYS_MAX && !found.contains_key(&to.actor) {
            found.clear();
        }
        found.insert(to.actor, Found { at, by: *to, way: way.clone() });
        Ok(way)
    }

    /// Lets go of all, and of the links that they hold.
    pub(super) fn forget(&self) {
        self.found.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn known(&self, at: u64, to: &Address) -> Option<Arc<W>> {
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        let found = found.get(&to.actor).filter(|found| found.at == at && found.by == *to)?;
        Some(found.way.clone())
    }
}

#[cfg(test)]
mod tests {
    use mobula_actors::id::PeerKey;

    use super::*;

    const A: NodeId = NodeId { key: PeerKey([1; 32]), boot: 1 };
    const B: NodeId = NodeId { key: PeerKey([2; 32]), boot: 1 };
    const ACTOR: ActorId = ActorId { origin: 1, number: 1 };

    fn at(node: NodeId) -> Address {
        Address { actor: ACTOR, epoch: Epoch(1), node, home: A }
    }

    fn get(ways: &Ways<u32>, to: Address, next: u32) -> u32 {
        *ways.get(&to, |way| *way != 3, || Ok::<_, ()>(next)).unwrap()
    }

    /// WY-1.
    #[test]
    fn a_way_is_followed_until_something_changes() {
        let changes = Arc::<Changes>::default();
        let ways = Ways::new(changes.clone());
        assert_eq!(ways.get(&at(A), |_| true, || Err(())), Err(()));
        assert_eq!([get(&ways, at(A), 1), get(&ways, at(A), 2)], [1, 1]);
        assert_eq!(get(&ways, at(B), 2), 2, "an address that says something else");
        changes.note();
        assert_eq!(get(&ways, at(B), 3), 3);
        assert_eq!(get(&ways, at(B), 4), 4, "its link is closed");
    }

    /// WY-1.
    #[test]
    fn what_changes_during_a_search_is_not_missed() {
        let changes = Arc::<Changes>::default();
        let ways = Ways::new(changes.clone());
        let find = || {
            changes.note();
            Ok::<_, ()>(1)
        };
        assert_eq!(ways.get(&at(A), |_| true, find).map(|way| *way), Ok(1));
        assert_eq!(get(&ways, at(A), 2), 2);
    }

    #[test]
    fn the_table_is_bounded() {
        let ways = Ways::new(Arc::default());
        for number in 0..=WAYS_MAX as u64 {
            let to = Address { actor: ActorId { origin: 1, number }, ..at(A) };
            get(&ways, to, 1);
        }
        assert_eq!(ways.found.read().unwrap().len(), 1);
    }
}
