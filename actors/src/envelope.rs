//! A message on its way into a mailbox, with what the runtime must know of it.

use tracing::Span;

use crate::cell::Cell;
use crate::engine::Engine;
use crate::error::Why;
use crate::id::Epoch;
use crate::observe::{Origin, is_traced};

/// A message in a mailbox.
#[derive(Debug)]
pub(crate) struct Envelope<M> {
    pub(crate) message: M,
    /// Milliseconds of the engine's clock; 0 for none.
    pub(crate) deadline_ms: u32,
    /// Where its credit goes back; 0 for nowhere. Or, from [`MADE_HERE`] on, what follows it.
    pub(crate) credit: u32,
}

/// In place of a credit, which messages made here do not have: a span follows the message, and this
/// bit stands above its tag.
const MADE_HERE: u32 = 1 << 31;
/// The message is for one run only, whose number stands where the deadline would; and this stands
/// above the tag.
const OF_ONE_RUN: u32 = MADE_HERE | 1 << 30;
/// In place of a tag: no span follows.
const NO_SPAN: u32 = !OF_ONE_RUN;

impl<M> Envelope<M> {
    pub(crate) fn new(message: M, deadline_ms: u32) -> Self {
        Self { message, deadline_ms, credit: 0 }
    }

    /// A message that no run but `epoch` may see.
    pub(crate) fn of_run(message: M, epoch: Epoch) -> Self {
        Self { message, deadline_ms: epoch.0 as u32, credit: OF_ONE_RUN | NO_SPAN }
    }

    /// Whether the runtime need not know anything of it.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.credit == 0 && self.deadline_ms == 0
    }

    /// Why the run `epoch` must not handle it, if so.
    #[inline]
    pub(crate) fn refusal(&self, epoch: Epoch, engine: &Engine) -> Option<Why> {
        if self.credit >= OF_ONE_RUN {
            return (self.deadline_ms != epoch.0 as u32).then_some(Why::Stopped);
        }
        engine.has_passed(self.deadline_ms).then_some(Why::Expired)
    }

    /// Says that it has left the mailbox.
    #[inline]
    pub(crate) fn return_credit(&mut self, engine: &Engine) {
        if self.credit < MADE_HERE {
            engine.return_credit(self.credit);
        } else {
            drop(self.origin(engine));
        }
    }

    /// Has the present span follow it to `cell`.
    #[inline]
    pub(crate) fn take_along_span(&mut self, cell: &Cell<M>)
    where
        M: Send + 'static,
    {
        if is_traced() {
            self.follow(cell.engine());
        }
    }

    #[cold]
    fn follow(&mut self, engine: &Engine) {
        let above = match self.credit {
            0 => MADE_HERE,
            credit if credit == OF_ONE_RUN | NO_SPAN => OF_ONE_RUN,
            _ => return,
        };
        let span = Span::current();
        if !span.is_none() {
            self.credit = above | engine.core().trail.put(span, NO_SPAN);
        }
    }

    /// The span that follows it; once.
    #[inline]
    pub(crate) fn origin(&mut self, engine: &Engine) -> Option<Origin> {
        if self.credit < MADE_HERE || self.credit & NO_SPAN == NO_SPAN {
            return None;
        }
        let span = engine.core().trail.take(self.credit & NO_SPAN);
        self.credit |= NO_SPAN;
        let is_call = self.credit < OF_ONE_RUN && self.deadline_ms != 0;
        Some(Origin { span: span?, is_call })
    }

    /// The message of an envelope that does not arrive.
    pub(crate) fn into_message(mut self, cell: &Cell<M>) -> M
    where
        M: Send + 'static,
    {
        self.let_go_of_span(cell);
        self.message
    }

    #[inline]
    pub(crate) fn let_go_of_span(&mut self, cell: &Cell<M>)
    where
        M: Send + 'static,
    {
        if self.credit >= MADE_HERE {
            drop(self.origin(cell.engine()));
        }
    }
}
