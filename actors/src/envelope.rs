//! A message on its way into a mailbox, with what the runtime must know of it.

use crate::engine::Engine;
use crate::error::Why;
use crate::id::Epoch;

/// A message in a mailbox.
#[derive(Debug)]
pub(crate) struct Envelope<M> {
    pub(crate) message: M,
    /// Milliseconds of the engine's clock; 0 for none.
    pub(crate) deadline_ms: u32,
    /// Where its credit goes back; 0 for nowhere.
    pub(crate) credit: u32,
}

/// In place of a credit: the message is for one run only, whose number stands where the deadline
/// would. Such messages are made here and have neither.
const OF_ONE_RUN: u32 = u32::MAX;

impl<M> Envelope<M> {
    pub(crate) fn new(message: M, deadline_ms: u32) -> Self {
        Self { message, deadline_ms, credit: 0 }
    }

    /// A message that no run but `epoch` may see.
    pub(crate) fn of_run(message: M, epoch: Epoch) -> Self {
        Self { message, deadline_ms: epoch.0 as u32, credit: OF_ONE_RUN }
    }

    /// Whether the runtime need not know anything of it.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.credit == 0 && self.deadline_ms == 0
    }

    /// Why the run `epoch` must not handle it, if so.
    #[inline]
    pub(crate) fn refusal(&self, epoch: Epoch, engine: &Engine) -> Option<Why> {
        match self.credit {
            OF_ONE_RUN => (self.deadline_ms != epoch.0 as u32).then_some(Why::Stopped),
            _ => engine.has_passed(self.deadline_ms).then_some(Why::Expired),
        }
    }

    /// Says that it has left the mailbox.
    #[inline]
    pub(crate) fn return_credit(&self, engine: &Engine) {
        if self.credit != OF_ONE_RUN {
            engine.return_credit(self.credit);
        }
    }
}
