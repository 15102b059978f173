//! The untyped face of a cell.

use std::any::Any;
use std::sync::Arc;

use crate::carrier::Monitor;
use crate::cell::{Cell, KILLED, Phase, RETIRED, SIGNALLED, Signal};
use crate::exit::Exit;
use crate::id::{ActorId, Epoch};
use crate::inspect::Inspection;
use crate::mailbox::sync::Ordering;

/// The untyped face of a cell: what can be done to an actor without knowing its messages.
pub trait Control: Send + Sync + 'static {
    /// Who it is.
    fn id(&self) -> ActorId;
    /// Its run, or the last one it had.
    fn epoch(&self) -> Epoch;
    /// The name of its kind.
    fn kind(&self) -> &'static str;
    /// Whether it has ended and is not started again.
    fn has_ended(&self) -> bool;
    /// Messages waiting.
    fn backlog(&self) -> usize;
    /// Messages its mailbox holds.
    fn capacity(&self) -> usize;
    /// Asks it to end after the message in hand.
    fn stop(&self, exit: Exit);
    /// Ends its run at the next point where its handler waits.
    fn kill(&self, exit: Exit);
    /// Tells `monitor` when the present run ends; at once, with [`Exit::NoProc`], if there is none.
    fn monitor(&self, monitor: Monitor);
    /// Hands over the next run; ignored unless the last one has ended.
    fn start_again(&self, run: Box<dyn Any + Send>);
    /// Says that there will be no next run: the actor has ended for good when the present one
    /// ends, or at once between two runs.
    fn retire(&self);
    /// The supervisor holds its checkpoint `sequence`.
    fn stored(&self, sequence: u64);
    /// Has its task polled once more, whatever for.
    fn nudge(&self);
    /// What there is to know of it.
    fn inspect(&self) -> Inspection;
    /// For whoever knows its messages.
    fn as_any_arc(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<M: Send + 'static> Control for Cell<M> {
    fn id(&self) -> ActorId {
        self.id
    }

    fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    fn kind(&self) -> &'static str {
        self.breed.kind
    }

    fn has_ended(&self) -> bool {
        self.queue.is_closed()
    }

    fn nudge(&self) {
        self.wake();
    }

    fn backlog(&self) -> usize {
        self.queue.len()
    }

    fn capacity(&self) -> usize {
        self.queue.capacity()
    }

    fn stop(&self, exit: Exit) {
        self.signal(Signal::Stop(exit));
    }

    fn kill(&self, exit: Exit) {
        let mut inner = self.inner();
        if !matches!(inner.phase, Phase::Starting | Phase::Running) {
            return;
        }
        inner.rare().kill.get_or_insert(exit);
        self.flags.fetch_or(KILLED, Ordering::SeqCst);
        drop(inner);
        self.wake();
    }

    fn monitor(&self, monitor: Monitor) {
        self.watch(monitor);
    }

    fn start_again(&self, run: Box<dyn Any + Send>) {
        let mut inner = self.inner();
        if !matches!(inner.phase, Phase::Between { .. }) {
            return;
        }
        inner.phase = Phase::Starting;
        inner.rare().signals.push_back(Signal::Start(run));
        self.flags.fetch_or(SIGNALLED, Ordering::SeqCst);
        drop(inner);
        self.wake();
    }

    fn retire(&self) {
        self.flags.fetch_or(RETIRED, Ordering::SeqCst);
        self.wake();
    }

    fn stored(&self, sequence: u64) {
        self.signal(Signal::Stored(sequence));
    }

    fn inspect(&self) -> Inspection {
        self.inspection()
    }

    fn as_any_arc(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
