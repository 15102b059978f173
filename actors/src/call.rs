//! Waiting verbs: `send`, which waits for room, and `call`, which waits for an answer.
//!
//! Invariants:
//! - **A-1** Both end by their deadline.
//! - **A-2** What is dropped while it still waits for room has not been sent.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use crate::carrier::BoxFuture;
use crate::cell::{Cell, Envelope};
use crate::engine::now;
use crate::error::{CallError, Lost, Rejected, Why};
use crate::mailbox::{PushError, Waiter};
use crate::reference::{ActorRef, DEADLINE_DEFAULT, DEADLINE_MAX};
use crate::reply::CallSlot;
use crate::wire::Outgoing;

/// A message that waits for room. Await it.
#[must_use = "nothing is sent until it is awaited"]
pub struct SendMessage<M> {
    target: ActorRef<M>,
    message: M,
    timeout: Duration,
}

impl<M: Send + 'static> SendMessage<M> {
    pub(crate) fn new(target: ActorRef<M>, message: M) -> Self {
        Self { target, message, timeout: DEADLINE_DEFAULT }
    }

    /// Waits at most `timeout` (default 5 s, at most [`DEADLINE_MAX`]).
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(DEADLINE_MAX);
        self
    }
}

impl<M: Send + 'static> IntoFuture for SendMessage<M> {
    type Output = Result<(), Rejected<M>>;
    type IntoFuture = Sending<M>;

    fn into_future(self) -> Sending<M> {
        // Most sends find room at once, so the clock is read by those that do not.
        Sending {
            deadline: Deadline::after(self.timeout),
            delivery: Delivery::new(self.target, self.message, None, self.timeout),
        }
    }
}

/// The future of [`ActorRef::send`].
pub struct Sending<M: Send + 'static> {
    delivery: Delivery<M>,
    deadline: Deadline,
}

impl<M: Send + 'static> Unpin for Sending<M> {}

impl<M: Send + 'static> Future for Sending<M> {
    type Output = Result<(), Rejected<M>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match this.delivery.poll(cx) {
            Poll::Ready(result) => {
                Poll::Ready(result.map_err(|(message, why)| Rejected { message, why }))
            }
            Poll::Pending if this.deadline.has_passed(cx) => match this.delivery.give_up() {
                Some(message) => Poll::Ready(Err(Rejected { message, why: Why::Full })),
                None => Poll::Pending,
            },
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A request that waits for its answer. Await it.
#[must_use = "nothing is sent until it is awaited"]
pub struct Call<M, T> {
    target: ActorRef<M>,
    message: M,
    slot: Arc<CallSlot<T>>,
    timeout: Duration,
}

impl<M: Send + 'static, T: Send + 'static> Call<M, T> {
    pub(crate) fn new(target: ActorRef<M>, message: M, slot: Arc<CallSlot<T>>) -> Self {
        Self { target, message, slot, timeout: DEADLINE_DEFAULT }
    }

    /// Waits at most `timeout`, for room and answer together (default 5 s, at most
    /// [`DEADLINE_MAX`]).
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(DEADLINE_MAX);
        self
    }
}

impl<M: Send + 'static, T: Send + 'static> IntoFuture for Call<M, T> {
    type Output = Result<T, CallError>;
    type IntoFuture = Calling<M, T>;

    fn into_future(self) -> Calling<M, T> {
        let deadline = now() + self.timeout;
        let delivery = Delivery::new(self.target, self.message, Some(deadline), self.timeout);
        if let Delivery::Here(_) = delivery {
            self.slot.stay();
        }
        let (delivery, deadline) = (Some(delivery), Deadline::at(deadline));
        Calling { slot: self.slot, deadline, delivery, done: false }
    }
}

/// The future of [`ActorRef::call`].
pub struct Calling<M: Send + 'static, T: Send + 'static> {
    slot: Arc<CallSlot<T>>,
    delivery: Option<Delivery<M>>,
    deadline: Deadline,
    done: bool,
}

impl<M: Send + 'static, T: Send + 'static> Unpin for Calling<M, T> {}

impl<M: Send + 'static, T: Send + 'static> Calling<M, T> {
    fn end(&mut self, result: Result<T, CallError>) -> Poll<Result<T, CallError>> {
        self.done = true;
        Poll::Ready(result)
    }

    fn poll_delivery(&mut self, cx: &mut Context<'_>) -> Option<CallError> {
        let delivery = self.delivery.as_mut()?;
        match delivery.poll(cx) {
            Poll::Ready(Ok(())) => {
                self.delivery = None;
                None
            }
            Poll::Ready(Err((message, why))) => {
                drop(message);
                self.delivery = None;
                Some(CallError::Rejected(why))
            }
            Poll::Pending => None,
        }
    }
}

impl<M: Send + 'static, T: Send + 'static> Future for Calling<M, T> {
    type Output = Result<T, CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(error) = this.poll_delivery(cx) {
            return this.end(Err(error));
        }
        if let Poll::Ready(answer) = this.slot.poll(cx) {
            return this.end(answer);
        }
        if !this.deadline.has_passed(cx) {
            return Poll::Pending;
        }
        let waiting = this.delivery.as_mut().and_then(Delivery::give_up);
        let error = match waiting {
            Some(message) => {
                drop(message);
                CallError::Rejected(Why::Expired)
            }
            None => CallError::Unknown(Lost::Deadline),
        };
        this.slot.abandon();
        this.end(Err(error))
    }
}

impl<M: Send + 'static, T: Send + 'static> Drop for Calling<M, T> {
    fn drop(&mut self) {
        if !self.done {
            self.slot.abandon();
        }
    }
}

/// One message on its way into a mailbox, here or elsewhere.
enum Delivery<M: Send + 'static> {
    Here(Knock<M>),
    /// Boxed: what stays on this node must not pay for its size.
    There(Box<Departure<M>>),
    Travelling(Box<(M, Travel)>),
    Done,
}

type Travel = BoxFuture<'static, Result<(), (Outgoing, Why)>>;

/// A message for another node, not yet encoded.
struct Departure<M: Send + 'static> {
    target: ActorRef<M>,
    message: M,
    /// The deadline that goes with it.
    travels: Option<Instant>,
    deadline: Instant,
}

/// A message at the door of a mailbox of this node. Dropping it gives up its place in the line.
pub(crate) struct Knock<M: Send + 'static> {
    cell: Arc<Cell<M>>,
    envelope: Option<Envelope<M>>,
    waiter: Waiter,
}

impl<M: Send + 'static> Knock<M> {
    pub(crate) fn new(cell: Arc<Cell<M>>, envelope: Envelope<M>) -> Self {
        Self { cell, envelope: Some(envelope), waiter: Waiter::default() }
    }

    fn with(cell: Arc<Cell<M>>, message: M, travels: Option<Instant>) -> Self {
        let deadline_ms = travels.map_or(0, |deadline| cell.engine().deadline_ms(deadline));
        Self::new(cell, Envelope::new(message, deadline_ms))
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), (M, Why)>> {
        if let Some(envelope) = &mut self.envelope {
            envelope.take_along_span(&self.cell);
        }
        match ready!(self.cell.queue().poll_push(cx, &mut self.envelope, &mut self.waiter)) {
            Ok(pushed) => {
                self.cell.after_push(pushed);
                Poll::Ready(Ok(()))
            }
            Err(PushError::Full(envelope)) => {
                Poll::Ready(Err((envelope.into_message(&self.cell), Why::Full)))
            }
            Err(PushError::Closed(envelope)) => {
                Poll::Ready(Err((envelope.into_message(&self.cell), Why::Stopped)))
            }
        }
    }
}

impl<M: Send + 'static> Drop for Knock<M> {
    fn drop(&mut self) {
        self.cell.queue().cancel(&mut self.waiter);
        if let Some(envelope) = &mut self.envelope {
            envelope.let_go_of_span(&self.cell);
        }
    }
}

impl<M: Send + 'static> Delivery<M> {
    fn new(target: ActorRef<M>, message: M, travels: Option<Instant>, timeout: Duration) -> Self {
        match target.into_place() {
            Ok(cell) => Self::Here(Knock::with(cell, message, travels)),
            Err(target) => {
                let deadline = travels.unwrap_or_else(|| now() + timeout);
                Self::There(Box::new(Departure { target, message, travels, deadline }))
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), (M, Why)>> {
        let result = match self {
            Self::Here(knock) => ready!(knock.poll(cx)),
            Self::There(_) => match self.depart() {
                Some(result) => result,
                None => return self.poll(cx),
            },
            Self::Travelling(travel) => {
                let arrived = ready!(travel.1.as_mut().poll(cx));
                match (arrived, std::mem::replace(self, Self::Done)) {
                    (Err((outgoing, why)), Self::Travelling(travel)) => {
                        drop(outgoing);
                        Err((travel.0, why))
                    }
                    _ => Ok(()),
                }
            }
            Self::Done => Ok(()),
        };
        *self = Self::Done;
        Poll::Ready(result)
    }

    /// Sends towards another node. `None` when the message has to wait: for room on its way, or,
    /// if its actor has come to this node meanwhile, in the mailbox's line.
    fn depart(&mut self) -> Option<Result<(), (M, Why)>> {
        let Self::There(departure) = std::mem::replace(self, Self::Done) else {
            return Some(Ok(()));
        };
        let Departure { target, message, travels, deadline } = *departure;
        let remote = match target.place() {
            Ok(cell) => {
                *self = Self::Here(Knock::with(cell.into_owned(), message, travels));
                return None;
            }
            Err(remote) => remote,
        };
        let outgoing = match (remote.encode)(&remote.carrier, &message) {
            Ok(outgoing) => outgoing,
            Err(why) => return Some(Err((message, why))),
        };
        match remote.carrier.push(&remote.address, outgoing, travels) {
            Ok(()) => Some(Ok(())),
            Err((outgoing, why @ (Why::TooLarge { .. } | Why::Incompatible(_)))) => {
                drop(outgoing);
                Some(Err((message, why)))
            }
            Err((outgoing, _)) => {
                let carrier = remote.carrier.clone();
                let send = carrier.send(remote.address, outgoing, deadline, travels.is_some());
                *self = Self::Travelling(Box::new((message, send)));
                None
            }
        }
    }

    /// Takes the message back if it is still waiting for room.
    fn give_up(&mut self) -> Option<M> {
        match std::mem::replace(self, Self::Done) {
            Self::Here(mut knock) => {
                // First out of the line, so that no wake is lost.
                knock.cell.queue().cancel(&mut knock.waiter);
                knock.envelope.take().map(|envelope| envelope.into_message(&knock.cell))
            }
            Self::There(departure) => Some(departure.message),
            Self::Travelling(travel) => {
                let (message, send) = *travel;
                // Drops what was encoded, which takes the replies back first.
                drop(send);
                Some(message)
            }
            Self::Done => None,
        }
    }
}

/// A deadline whose timer is armed only by a wait that lasts.
struct Deadline {
    end: End,
    timer: Option<Pin<Box<Sleep>>>,
}

enum End {
    /// This long after the first wait.
    After(Duration),
    At(Instant),
}

impl Deadline {
    fn after(timeout: Duration) -> Self {
        Self { end: End::After(timeout), timer: None }
    }

    fn at(at: Instant) -> Self {
        Self { end: End::At(at), timer: None }
    }

    fn has_passed(&mut self, cx: &mut Context<'_>) -> bool {
        let timer = self.timer.get_or_insert_with(|| {
            let at = match self.end {
                End::After(timeout) => now() + timeout,
                End::At(at) => at,
            };
            Box::pin(tokio::time::sleep_until(at.into()))
        });
        timer.as_mut().poll(cx).is_ready()
    }
}

impl<M> fmt::Debug for SendMessage<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendMessage").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl<M, T> fmt::Debug for Call<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl<M: Send + 'static> fmt::Debug for Sending<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").finish_non_exhaustive()
    }
}

impl<M: Send + 'static, T: Send + 'static> fmt::Debug for Calling<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calling").finish_non_exhaustive()
    }
}
