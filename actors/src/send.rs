//! `send`: a cast that waits for room.
//!
//! Invariants:
//! - **SD-1** A send that is dropped while it waits has not sent.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::cell::Envelope;
use crate::deadline::Deadline;
use crate::delivery::Delivery;
use crate::error::{Rejected, Why};
use crate::reference::{ActorRef, DEADLINE_DEFAULT, DEADLINE_MAX, Route};

/// A message that is sent, or waits for room. Await it.
#[must_use = "the message is lost if there was no room and this is not awaited"]
pub struct SendMessage<M: Send + 'static>(Option<Box<Held<M>>>);

/// A message that found no room.
struct Held<M: Send + 'static> {
    target: ActorRef<M>,
    /// `None` once it is on its way.
    message: Option<M>,
    delivery: Delivery<M>,
    deadline: Deadline,
}

impl<M: Send + 'static> SendMessage<M> {
    #[inline(always)]
    pub(crate) fn new(target: &ActorRef<M>, message: M) -> Self {
        let Route::Here(cell) = &target.0 else { return Self::elsewhere(target, message) };
        match cell.push_in_line(Envelope::new(message, 0)) {
            Ok(()) => Self(None),
            Err(envelope) => Self::held(target.clone(), envelope.into_message(cell)),
        }
    }

    #[inline(never)]
    fn elsewhere(target: &ActorRef<M>, message: M) -> Self {
        match &target.0 {
            Route::Via(router) => Self::new(&router.choose(&message), message),
            _ => match target.cast(message) {
                Ok(()) => Self(None),
                Err(refused) => Self::held(target.clone(), refused.message),
            },
        }
    }

    #[cold]
    fn held(target: ActorRef<M>, message: M) -> Self {
        Self(Some(Box::new(Held {
            target,
            message: Some(message),
            delivery: Delivery::Done,
            deadline: Deadline::after(DEADLINE_DEFAULT),
        })))
    }

    /// Waits at most `timeout` (default 5 s, at most [`DEADLINE_MAX`]).
    pub fn within(mut self, timeout: Duration) -> Self {
        if let Some(held) = &mut self.0 {
            held.deadline = Deadline::after(timeout.min(DEADLINE_MAX));
        }
        self
    }
}

impl<M: Send + 'static> Future for SendMessage<M> {
    type Output = Result<(), Rejected<M>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            None => Poll::Ready(Ok(())),
            Some(held) => held.poll(cx),
        }
    }
}

impl<M: Send + 'static> Unpin for SendMessage<M> {}

impl<M: Send + 'static> Held<M> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Rejected<M>>> {
        if let Some(message) = self.message.take() {
            self.delivery = Delivery::new(self.target.clone(), message, self.deadline.timeout);
        }
        match self.delivery.poll(cx) {
            Poll::Ready(result) => {
                Poll::Ready(result.map_err(|(message, why)| Rejected { message, why }))
            }
            Poll::Pending if self.deadline.has_passed(cx) => match self.delivery.give_up() {
                Some(message) => Poll::Ready(Err(Rejected { message, why: Why::Full })),
                None => Poll::Pending,
            },
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<M: Send + 'static> fmt::Debug for SendMessage<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendMessage").field("waits", &self.0.is_some()).finish()
    }
}
