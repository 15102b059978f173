//! What the fate of others does to a run.

use crate::cell::{Cell, Control, KILLED, Phase, SIGNALLED};
use crate::exit::Exit;
use crate::id::Epoch;
use crate::mailbox::sync::Ordering;

/// The ends of linked actors do not end this one.
const TRAPPING: u32 = 1 << 16;

impl<M: Send + 'static> Cell<M> {
    /// Ends the run `epoch` and no other (K-5) as a linked run has ended. A normal end is not
    /// shared.
    pub(crate) fn share_fate(&self, epoch: Epoch, exit: &Exit) {
        let traps = self.flags.load(Ordering::Acquire) & TRAPPING != 0;
        if traps || *exit == Exit::Normal {
            return;
        }
        let mut inner = self.inner();
        if !matches!(inner.phase, Phase::Starting | Phase::Running) || self.epoch() != epoch {
            return;
        }
        inner.rare().kill.get_or_insert_with(|| exit.clone());
        self.flags.fetch_or(KILLED, Ordering::SeqCst);
        drop(inner);
        self.wake();
    }

    /// From now on, the ends of linked actors do not end this one.
    pub(crate) fn trap(&self) {
        self.flags.fetch_or(TRAPPING, Ordering::SeqCst);
    }

    /// Whether a signal waits for the run.
    pub(crate) fn is_signalled(&self) -> bool {
        self.flags.load(Ordering::Acquire) & (SIGNALLED | KILLED) != 0
    }
}
