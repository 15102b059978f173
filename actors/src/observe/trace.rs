//! Spans that follow messages.
//!
//! An envelope has no room for a span. It carries a number, and the span waits in a ring of the
//! engine for whoever opens the envelope. A ring needs nobody to clear up after messages that were
//! lost on their way: what stands in it the longest is let go.
//!
//! Invariants:
//! - **TR-1** A span that waits for its message is kept open, until [`SPANS_MAX`] later ones wait as
//!   well; then the message goes on without it.
//! - **TR-2** A handler runs inside a span `handle` if, and only if, its message was sent from inside
//!   an enabled one. Of a call that is its parent, since the caller waits. Of any other message it
//!   only follows from it: actors may pass messages on for ever, and a parent stays open as long as
//!   its children.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Span, info_span};

use crate::cell::{Cell, Control};
use crate::observe::IS_OBSERVED;

/// Messages of one engine that spans follow at a time.
pub const SPANS_MAX: usize = 65_536;

/// Whether anybody listens to any span. One load of a static where nobody does.
#[inline]
pub(crate) fn is_on() -> bool {
    IS_OBSERVED && LevelFilter::current() != LevelFilter::OFF
}

/// The spans of messages that are under way.
#[derive(Default)]
pub(crate) struct Trail(Mutex<Ring>);

#[derive(Default)]
struct Ring {
    next: u32,
    /// By their tags, modulo [`SPANS_MAX`].
    spans: Vec<Option<(u32, Span)>>,
}

impl Trail {
    /// Keeps `span` under a tag below `tags`.
    pub(crate) fn put(&self, span: Span, tags: u32) -> u32 {
        let mut ring = self.ring();
        let tag = ring.next;
        ring.next = (tag + 1) % tags;
        let place = tag as usize % SPANS_MAX;
        if place >= ring.spans.len() {
            ring.spans.resize_with(place + 1, || None);
        }
        let oldest = ring.spans[place].replace((tag, span));
        drop(ring);
        // The subscriber's code runs outside the lock.
        drop(oldest);
        tag
    }

    pub(crate) fn take(&self, tag: u32) -> Option<Span> {
        let mut ring = self.ring();
        let place = ring.spans.get_mut(tag as usize % SPANS_MAX)?;
        place.take_if(|(waits, _)| *waits == tag).map(|(_, span)| span)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // No code of the user runs under this lock, so a poisoned one still holds whole data.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a message was sent from.
pub(crate) struct Origin {
    pub(crate) span: Span,
    pub(crate) is_call: bool,
}

impl Origin {
    /// The span for the handler of the message (TR-2).
    #[cold]
    pub(crate) fn handling<M: Send + 'static>(self, cell: &Cell<M>) -> Box<Span> {
        let (actor, kind, sender) = (cell.id(), cell.kind(), self.span);
        // Made by the subscriber that knows the sender's span.
        let span = sender.with_subscriber(|(id, dispatch): (_, &Dispatch)| {
            tracing::dispatcher::with_default(dispatch, || {
                if self.is_call {
                    return info_span!(parent: id, "handle", %actor, kind);
                }
                let span = info_span!(parent: None, "handle", %actor, kind);
                span.follows_from(id.clone());
                span
            })
        });
        Box::new(span.unwrap_or_else(Span::none))
    }

    /// The message is handled inside the present span, together with others.
    #[cold]
    pub(crate) fn join(self) {
        Span::current().follows_from(self.span.id());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // TR-1
    #[test]
    fn the_span_that_waits_the_longest_is_let_go() {
        let trail = Trail::default();
        let first = trail.put(Span::none(), u32::MAX);
        let second = trail.put(Span::none(), u32::MAX);
        for _ in 0..SPANS_MAX - 1 {
            trail.put(Span::none(), u32::MAX);
        }
        assert!(trail.take(first).is_none());
        assert!(trail.take(second).is_some() && trail.take(second).is_none());
        assert_eq!(trail.ring().spans.len(), SPANS_MAX);
    }

    #[test]
    fn tags_begin_again() {
        let trail = Trail::default();
        let tags: Vec<_> = (0..5).map(|_| trail.put(Span::none(), 3)).collect();
        assert_eq!(tags, [0, 1, 2, 0, 1]);
        assert!(trail.take(2).is_some() && trail.take(3).is_none());
    }
}
