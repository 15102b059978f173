//! Whether a worker is in a turn, for whoever looks from outside.

use crate::mailbox::sync::{AtomicU64, Ordering};

/// Counts up at the beginning and at the end of every poll: odd within one.
#[derive(Default)]
pub(super) struct Turns(AtomicU64);

impl Turns {
    #[inline]
    pub(super) fn within<R>(&self, poll: impl FnOnce() -> R) -> R {
        self.count();
        let polled = poll();
        self.count();
        polled
    }

    /// Only one worker writes.
    #[inline]
    fn count(&self) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
