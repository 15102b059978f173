//! Frames that must not get lost and wait for room in a full lane: how many, for each node.
//!
//! Invariant **BL-1**: at most [`BACKLOG_MAX`] wait for one node. One that does not read so many is cut
//! off, and what waited for it is over, as after every lost connection.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mobula_actors::id::NodeId;

/// Answers, credit and denials that wait until a node reads, beyond what its lanes hold.
pub const BACKLOG_MAX: usize = 16_384;

#[derive(Default)]
pub(super) struct Backlog(Mutex<HashMap<NodeId, usize>>);

impl Backlog {
    /// One more waits; false if too many do.
    pub(super) fn enter(&self, node: NodeId) -> bool {
        let mut waiting = self.waiting();
        let count = waiting.entry(node).or_default();
        let fits = *count < BACKLOG_MAX;
        *count += usize::from(fits);
        fits
    }

    pub(super) fn leave(&self, node: NodeId) {
        let mut waiting = self.waiting();
        let Some(count) = waiting.get_mut(&node) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            waiting.remove(&node);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<NodeId, usize>> {
        // Nothing that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use mobula_actors::id::PeerKey;

    use super::*;

    /// BL-1.
    #[test]
    fn so_many_frames_wait_for_a_node_and_no_more() {
        let backlog = Backlog::default();
        let [slow, other] = [1, 2].map(|number| NodeId { key: PeerKey([number; 32]), boot: 1 });
        assert_eq!((0..2 * BACKLOG_MAX).filter(|_| backlog.enter(slow)).count(), BACKLOG_MAX);
        assert!(backlog.enter(other));
        backlog.leave(slow);
        assert!(backlog.enter(slow) && !backlog.enter(slow));
        (0..BACKLOG_MAX).for_each(|_| backlog.leave(slow));
        backlog.leave(other);
        assert!(backlog.waiting().is_empty());
    }
}
