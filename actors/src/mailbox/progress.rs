//! How far a queue has come, for whoever wants to know whether something it pushed still waits.

use crate::mailbox::queue::{INDEX_SHIFT, Queue};
use crate::mailbox::sync::Ordering;

impl<T> Queue<T> {
    /// The position behind everything pushed so far. Positions only grow.
    pub(crate) fn positions_claimed(&self) -> u64 {
        self.tail().state.load(Ordering::Acquire) >> INDEX_SHIFT
    }

    /// The position before which everything was popped, as last published: what was pushed before
    /// [`Queue::positions_claimed`] gave a number no larger than this waits no more.
    pub(crate) fn positions_popped(&self) -> u64 {
        self.head().published.load(Ordering::Acquire)
    }
}
