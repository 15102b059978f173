//! `call`: a message that waits for its answer.
//!
//! Invariants:
//! - **A-1** A call and a send end by their deadline.
//! - **A-2** A call that is dropped while it waits for room has not been sent.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::cell::Envelope;
use crate::deadline::Deadline;
use crate::delivery::{Delivery, Expiry, Knock};
use crate::error::{CallError, Lost, Why};
use crate::reference::{ActorRef, DEADLINE_DEFAULT, DEADLINE_MAX};
use crate::reply::Answered;

/// A request that waits for its answer. Await it.
#[must_use = "nothing is sent until it is awaited"]
pub struct Call<M: Send + 'static, T: Send + 'static> {
    target: ActorRef<M>,
    /// `None` once it has left or waits for room.
    message: Option<M>,
    answer: Answered<T>,
    deadline: Deadline,
    /// It found no room yet.
    waiting: Option<Box<Delivery<M>>>,
    done: bool,
}

impl<M: Send + 'static, T: Send + 'static> Call<M, T> {
    #[inline(always)]
    pub(crate) fn new(target: ActorRef<M>, message: M, answer: Answered<T>) -> Self {
        Self {
            target,
            message: Some(message),
            answer,
            deadline: Deadline::after(DEADLINE_DEFAULT),
            waiting: None,
            done: false,
        }
    }

    /// Waits at most `timeout` from when it is first awaited, for room and answer together (default
    /// 5 s, at most [`DEADLINE_MAX`]).
    pub fn within(mut self, timeout: Duration) -> Self {
        self.deadline = Deadline::after(timeout.min(DEADLINE_MAX));
        self
    }

    /// Sends it, or puts it in line.
    #[inline]
    fn leave(&mut self, message: M) {
        let Ok(cell) = self.target.place() else { return self.wait_elsewhere(message) };
        self.answer.stay();
        let envelope = Envelope::new(message, cell.engine().expiry_ms(self.deadline.begin()));
        if let Err(envelope) = cell.push_in_line(envelope) {
            let knock = Knock::new(cell.into_owned(), envelope);
            self.waiting = Some(Box::new(Delivery::Here(knock)));
        }
    }

    #[cold]
    fn wait_elsewhere(&mut self, message: M) {
        let timeout = self.deadline.timeout;
        let target = self.target.clone();
        let delivery = Delivery::there(target, message, Expiry::AtDeadline, timeout);
        self.waiting = Some(Box::new(delivery));
    }

    #[cold]
    fn poll_delivery(&mut self, cx: &mut Context<'_>) -> Option<CallError> {
        let Poll::Ready(delivered) = self.waiting.as_mut()?.poll(cx) else { return None };
        self.waiting = None;
        let (message, why) = delivered.err()?;
        drop(message);
        Some(CallError::Rejected(why))
    }

    /// The deadline has passed.
    #[cold]
    fn give_up(&mut self) -> CallError {
        let waiting = self.waiting.as_mut().and_then(|delivery| delivery.give_up());
        let error = match waiting {
            Some(message) => {
                drop(message);
                CallError::Rejected(Why::Expired)
            }
            None => CallError::Unknown(Lost::Deadline),
        };
        self.answer.abandon();
        error
    }
}

impl<M: Send + 'static, T: Send + 'static> Unpin for Call<M, T> {}

impl<M: Send + 'static, T: Send + 'static> Future for Call<M, T> {
    type Output = Result<T, CallError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(message) = this.message.take() {
            this.leave(message);
        }
        if this.waiting.is_some()
            && let Some(error) = this.poll_delivery(cx)
        {
            this.done = true;
            return Poll::Ready(Err(error));
        }
        if let Poll::Ready(answer) = this.answer.poll(cx) {
            this.done = true;
            return Poll::Ready(answer);
        }
        if !this.deadline.has_passed(cx) {
            return Poll::Pending;
        }
        this.done = true;
        Poll::Ready(Err(this.give_up()))
    }
}

impl<M: Send + 'static, T: Send + 'static> Drop for Call<M, T> {
    fn drop(&mut self) {
        if !self.done {
            self.answer.abandon();
        }
    }
}

impl<M: Send + 'static, T: Send + 'static> fmt::Debug for Call<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("target", &self.target).finish_non_exhaustive()
    }
}
