//! A message on its way into a mailbox that could not take it at once.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::carrier::BoxFuture;
use crate::cell::{Cell, Envelope};
use crate::engine::now;
use crate::error::Why;
use crate::mailbox::{PushError, Waiter};
use crate::reference::ActorRef;
use crate::wire::Outgoing;

/// Whether a message that was not handled by its sender's deadline is dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    Never,
    AtDeadline,
}

/// One message on its way into a mailbox, here or elsewhere.
pub(crate) enum Delivery<M: Send + 'static> {
    Here(Knock<M>),
    /// Boxed: what stays on this node must not pay for its size.
    There(Box<Departure<M>>),
    Travelling(Box<(M, Travel)>),
    Done,
}

type Travel = BoxFuture<'static, Result<(), (Outgoing, Why)>>;

/// A message for another node, not yet encoded.
pub(crate) struct Departure<M: Send + 'static> {
    target: ActorRef<M>,
    message: M,
    expiry: Expiry,
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

    #[inline]
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
    /// A message that never expires, to wherever its actor is.
    pub(crate) fn new(target: ActorRef<M>, message: M, timeout: Duration) -> Self {
        match target.into_place() {
            Ok(cell) => Self::Here(Knock::new(cell, Envelope::new(message, 0))),
            Err(target) => Self::there(target, message, Expiry::Never, timeout),
        }
    }

    /// A message to an actor that is not on this node.
    pub(crate) fn there(
        target: ActorRef<M>,
        message: M,
        expiry: Expiry,
        timeout: Duration,
    ) -> Self {
        let deadline = now() + timeout;
        Self::There(Box::new(Departure { target, message, expiry, deadline }))
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), (M, Why)>> {
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
        let Departure { target, message, expiry, deadline } = *departure;
        let expires = (expiry == Expiry::AtDeadline).then_some(deadline);
        let remote = match target.place() {
            Ok(cell) => {
                let deadline_ms = expires.map_or(0, |at| cell.engine().deadline_ms(at));
                let envelope = Envelope::new(message, deadline_ms);
                *self = Self::Here(Knock::new(cell.into_owned(), envelope));
                return None;
            }
            Err(remote) => remote,
        };
        let outgoing = match (remote.encode)(&remote.carrier, &message) {
            Ok(outgoing) => outgoing,
            Err(why) => return Some(Err((message, why))),
        };
        match remote.carrier.push(&remote.address, outgoing, expires) {
            Ok(()) => Some(Ok(())),
            Err((outgoing, why @ (Why::TooLarge { .. } | Why::Incompatible(_)))) => {
                drop(outgoing);
                Some(Err((message, why)))
            }
            Err((outgoing, _)) => {
                let carrier = remote.carrier.clone();
                let send = carrier.send(remote.address, outgoing, deadline, expires.is_some());
                *self = Self::Travelling(Box::new((message, send)));
                None
            }
        }
    }

    /// Takes the message back if it is still waiting for room.
    pub(crate) fn give_up(&mut self) -> Option<M> {
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
