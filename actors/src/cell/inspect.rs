//! What a cell tells of itself.

use std::time::Duration;

use crate::cell::{Cell, Control, Phase};
use crate::inspect::{Inspection, RunState};
use crate::mailbox::sync::Ordering;
use crate::observe::IS_OBSERVED;

impl<M: Send + 'static> Cell<M> {
    /// Messages were given to the handler. Only the run counts, one at a time.
    #[inline]
    pub(crate) fn count_handled(&self, messages: u64) {
        if !IS_OBSERVED {
            return;
        }
        let handled = self.handled.load(Ordering::Relaxed);
        self.handled.store(handled.wrapping_add(messages), Ordering::Relaxed);
    }

    pub(crate) fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    /// Its code has kept a thread for this long. Only the run counts.
    pub(crate) fn count_busy(&self, time: Duration) {
        let time_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let busy_ns = self.busy_ns.load(Ordering::Relaxed);
        self.busy_ns.store(busy_ns.saturating_add(time_ns), Ordering::Relaxed);
    }

    pub(super) fn inspection(&self) -> Inspection {
        let epoch = self.epoch();
        let inner = self.inner();
        let state = match inner.phase {
            Phase::Running if inner.alive => RunState::Running,
            Phase::Running | Phase::Starting => RunState::Starting,
            Phase::Between { .. } => RunState::Between,
            Phase::Ended => RunState::Ended,
        };
        let rare = inner.rare.as_deref();
        let names = rare.map(|rare| rare.names.clone()).unwrap_or_default();
        let parent = inner.ties.as_deref().and_then(|ties| ties.parent);
        let last_exit = rare.and_then(|rare| rare.last_exit.as_deref().cloned());
        drop(inner);
        let capacity = self.queue.capacity();
        Inspection {
            id: self.id,
            kind: self.kind(),
            names,
            parent,
            epoch,
            state,
            mailbox_messages: self.queue.len(),
            mailbox_capacity: (capacity != usize::MAX).then_some(capacity),
            handled: self.handled(),
            busy: Duration::from_nanos(self.busy_ns.load(Ordering::Relaxed)),
            restarts: epoch.0.saturating_sub(1),
            last_exit,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn what_senders_read_shares_no_cache_line_with_what_the_run_counts() {
        const LINE: usize = 64;
        let (counted, read) = (offset_of!(Cell<u64>, handled), offset_of!(Cell<u64>, breed));
        // Cells lie at multiples of 16 bytes, behind the 16 bytes of their counts.
        for line in (0..size_of::<Cell<u64>>() + 2 * LINE).step_by(16) {
            let holds = |at: usize| (line..line + LINE).contains(&(at + LINE));
            assert!(!(holds(counted) && holds(read)), "the line at {line}");
        }
        assert!(offset_of!(Cell<u64>, id) > read);
        assert!(offset_of!(Cell<u64>, flags) > read);
    }
}
