//! Messages that an actor owes itself: once after a while, or again and again.
//!
//! Invariants:
//! - **T-1** A timer ends with its run.
//! - **T-2** At most one tick of a repeated timer waits in the mailbox: an actor that lags misses
//!   ticks, and is not buried under them.
//! - **T-3** A message maker that panics ends the run, as a handler that panics does.

use std::fmt;
use std::sync::Weak;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::actor::Actor;
use crate::cell::{Cell, Envelope, Signal};
use crate::context::{Context, owe};
use crate::id::Epoch;
use crate::run::caught;

/// The shortest time between two ticks; a shorter period counts as this.
pub const PERIOD_MIN: Duration = Duration::from_millis(1);

/// A timer that was set. Dropping it changes nothing: the timer goes on until it is cancelled, has
/// done its work, or the run ends.
#[derive(Clone)]
pub struct Timer(AbortHandle);

impl Timer {
    /// Makes no more messages. One that is in the mailbox already is still handled.
    pub fn cancel(&self) {
        self.0.abort();
    }

    /// Whether it makes no more messages.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.is_finished()
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("is_over", &self.is_over()).finish()
    }
}

impl<A: Actor> Context<A> {
    /// Delivers `message` after `delay`, unless the run has ended or the timer was cancelled.
    pub fn after(&mut self, delay: Duration, message: A::Msg) -> Timer {
        Timer(self.pipe_beside(tokio::time::sleep(delay), move |()| message))
    }

    /// Delivers what `message` makes once every `period` (at least 1 ms), for the first time after
    /// one period. A tick that comes while the one before still waits in the mailbox is left out,
    /// and those after it keep to the beat (T-2).
    pub fn every(
        &mut self,
        period: Duration,
        message: impl FnMut() -> A::Msg + Send + 'static,
    ) -> Timer {
        let (cell, epoch) = (std::sync::Arc::downgrade(&self.cell), self.epoch());
        let ticking = caught(tick(cell.clone(), epoch, period.max(PERIOD_MIN), message));
        Timer(self.beside(async move {
            if let (Err(exit), Some(cell)) = (ticking.await, cell.upgrade()) {
                cell.signal_run(epoch, Signal::Stop(exit));
            }
        }))
    }
}

async fn tick<M: Send + 'static>(
    cell: Weak<Cell<M>>,
    epoch: Epoch,
    period: Duration,
    mut message: impl FnMut() -> M + Send,
) {
    let first = Instant::now().checked_add(period);
    // A period beyond the end of the clock never passes.
    let Some(first) = first else { return std::future::pending().await };
    let mut beat = interval_at(first, period);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut last = 0;
    loop {
        beat.tick().await;
        let Some(cell) = cell.upgrade() else { return };
        if cell.queue().positions_popped() < last {
            continue;
        }
        owe(cell.clone(), Envelope::of_run(message(), epoch)).await;
        last = cell.queue().positions_claimed();
    }
}
