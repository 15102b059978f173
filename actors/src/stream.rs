//! Streams of replies: the tokens of a language model, the rows of a scan.
//!
//! A stream is made of rights to answer, which the caller grants ahead: each carries one item, and
//! now and then an item carries the right to be granted more. So a stream crosses nodes as replies
//! do, and is bounded by what was granted. One grant is kept for the end.
//!
//! Invariants:
//! - **RS-1** At most [`STREAM_ITEMS`] items are under way or wait for the caller.
//! - **RS-2** The items come in the order sent; then one end, which says how: the sender finished,
//!   it failed, or it was lost.
//! - **RS-3** A caller that goes is known to the sender: at once on one node, and with the next item
//!   but the first between nodes.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use tokio::time::Sleep;

use crate::call::Call;
use crate::carrier::BoxFuture;
use crate::engine::now;
use crate::error::{CallError, Lost, Why};
use crate::exit::Fault;
use crate::id::ActorId;
use crate::reference::{ActorRef, DEADLINE_DEFAULT, DEADLINE_MAX};
use crate::reply::{Answered, Reply};
use crate::wire::{Wire, with_decoding, with_encoding};

/// Items of one stream that may be under way.
pub const STREAM_ITEMS: usize = 16;

/// Why a stream of replies ended before its sender was done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The sender gave up, and said why.
    #[error("the stream failed: {0}")]
    Failed(Fault),
    /// The request was refused, the next item did not come in time, or the sender is gone.
    #[error("the stream was lost: {0}")]
    Lost(#[source] CallError),
}

/// An item that could not be sent.
#[derive(Error)]
#[non_exhaustive]
pub enum Unsent<T> {
    /// The caller took too few items for too long; it may yet take more.
    #[error("the caller took no item in time")]
    Slow(T),
    /// The caller has gone: nobody will take another item.
    #[error("the caller has gone")]
    Abandoned(T),
}

/// One answer of a stream.
#[derive(Serialize, Deserialize)]
#[serde(bound = "T: Wire")]
enum Packet<T> {
    Item(T, Option<Reply<Grants<T>>>),
    End,
    Failed(Fault),
}

/// Rights to send more items.
#[derive(Serialize, Deserialize)]
#[serde(bound = "T: Wire")]
struct Grants<T>(Vec<Reply<Packet<T>>>);

type Begin<T> = Box<dyn FnOnce(Duration) -> Beginning<T> + Send>;
type Beginning<T> = BoxFuture<'static, Result<Packet<T>, CallError>>;

/// The caller's end of a stream of replies: a [`Stream`], or [`next`](Self::next) in a loop.
/// Dropping it cancels the stream.
#[must_use = "nothing is sent until the first item is asked for"]
pub struct ReplyStream<T> {
    target: ActorId,
    within: Duration,
    begin: Option<Begin<T>>,
    /// The request and the first item.
    beginning: Option<Beginning<T>>,
    /// Where the items after it arrive, in order.
    slots: VecDeque<Answered<Packet<T>>>,
    /// How the sender is granted more.
    more: Option<Reply<Grants<T>>>,
    /// Items taken since the last grant.
    taken: usize,
    timer: Option<Pin<Box<Sleep>>>,
    is_armed: bool,
    is_over: bool,
}

impl<M: Send + 'static> ActorRef<M> {
    /// Asks for a stream of answers. `request` makes the message from the sending end: a variant's
    /// constructor, or a closure. Each item, the first included, may take 5 s unless
    /// [`ReplyStream::within`] says otherwise.
    ///
    /// The message leaves when the first item is asked for, not before. A refused message is the
    /// error of the first item.
    pub fn stream<T: Send + 'static>(
        &self,
        request: impl FnOnce(StreamSender<T>) -> M,
    ) -> ReplyStream<T> {
        let target = self.id();
        let (grants, mut slots): (VecDeque<_>, VecDeque<_>) =
            (0..=STREAM_ITEMS).map(|_| Reply::pair(target)).unzip();
        let sender = StreamSender { target, grants, asked: None, has_begun: false };
        let message = request(sender);
        let to = self.chosen(&message);
        slots.iter().for_each(|slot| slot.aim(to.id()));
        let begin: Option<Begin<T>> = slots.pop_front().map(|first| {
            let begin = move |within| -> Beginning<T> {
                Box::pin(Call::new(to, message, first).within(within).into_future())
            };
            Box::new(begin) as Begin<T>
        });
        ReplyStream {
            target,
            within: DEADLINE_DEFAULT,
            begin,
            beginning: None,
            slots,
            more: None,
            taken: 0,
            timer: None,
            is_armed: false,
            is_over: false,
        }
    }
}

impl<T: Send + 'static> ReplyStream<T> {
    /// Waits at most `timeout` for each item (default 5 s, at most [`DEADLINE_MAX`]).
    pub fn within(mut self, timeout: Duration) -> Self {
        self.within = timeout.min(DEADLINE_MAX);
        self
    }

    /// The next item; `None` once the sender has finished, and after an error.
    ///
    /// # Errors
    /// [`StreamError`], once: every error ends the stream.
    ///
    /// # Cancel safety
    /// A wait that is dropped has taken no item.
    pub async fn next(&mut self) -> Option<Result<T, StreamError>> {
        poll_fn(|cx| self.poll_item(cx)).await
    }

    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, StreamError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let packet = match self.poll_packet(cx) {
            Poll::Ready(packet) => packet,
            Poll::Pending if self.is_late(cx) => Err(CallError::Unknown(Lost::Deadline)),
            Poll::Pending => return Poll::Pending,
        };
        self.is_armed = false;
        match packet {
            Ok(Packet::Item(item, more)) => {
                self.take(more);
                Poll::Ready(Some(Ok(item)))
            }
            Ok(Packet::End) => self.end(None),
            Ok(Packet::Failed(fault)) => self.end(Some(StreamError::Failed(fault))),
            Err(error) => self.end(Some(StreamError::Lost(error))),
        }
    }

    fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<Result<Packet<T>, CallError>> {
        if let Some(begin) = self.begin.take() {
            self.beginning = Some(begin(self.within));
        }
        if let Some(beginning) = &mut self.beginning {
            let first = ready!(beginning.as_mut().poll(cx));
            self.beginning = None;
            return Poll::Ready(first);
        }
        let Some(slot) = self.slots.front_mut() else {
            return Poll::Ready(Err(CallError::Unknown(Lost::Dropped)));
        };
        let packet = ready!(slot.poll(cx));
        self.slots.pop_front();
        // What began has run.
        Poll::Ready(packet.map_err(|error| match error {
            CallError::Rejected(_) => CallError::Unknown(Lost::Dropped),
            error => error,
        }))
    }

    /// Notes that an item was taken, and grants more once half of the credit is used up.
    fn take(&mut self, more: Option<Reply<Grants<T>>>) {
        self.taken += 1;
        self.more = more.or_else(|| self.more.take());
        if self.taken < STREAM_ITEMS / 2 {
            return;
        }
        let Some(more) = self.more.take() else { return };
        let fresh = (0..std::mem::take(&mut self.taken)).map(|_| Reply::pair(self.target));
        let (grants, slots): (Vec<_>, Vec<_>) = fresh.unzip();
        self.slots.extend(slots);
        more.send(Grants(grants));
    }

    /// The wait for the first item has the deadline of its call.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        if self.beginning.is_some() {
            return false;
        }
        let deadline = now() + self.within;
        let new = || Box::pin(tokio::time::sleep_until(deadline.into()));
        let timer = self.timer.get_or_insert_with(new);
        if !std::mem::replace(&mut self.is_armed, true) {
            timer.as_mut().reset(deadline.into());
        }
        timer.as_mut().poll(cx).is_ready()
    }

    fn end(&mut self, error: Option<StreamError>) -> Poll<Option<Result<T, StreamError>>> {
        self.cancel();
        Poll::Ready(error.map(Err))
    }
}

impl<T> ReplyStream<T> {
    fn cancel(&mut self) {
        self.is_over = true;
        self.begin = None;
        self.beginning = None;
        for mut slot in self.slots.drain(..) {
            slot.abandon();
        }
        self.more = None;
    }
}

impl<T> Drop for ReplyStream<T> {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl<T> Unpin for ReplyStream<T> {}

impl<T: Send + 'static> Stream for ReplyStream<T> {
    type Item = Result<T, StreamError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_item(cx)
    }
}

/// The sending end of a stream of replies. It travels in the request, and can be moved into a task;
/// to another node it can go only before its first item.
///
/// Dropping it without [`finish`](Self::finish) or [`fail`](Self::fail) tells the caller that the
/// stream is lost: `Unknown(Dropped)`, or `Rejected` when the request was never run.
#[must_use = "dropping it unfinished tells the caller that the stream is lost"]
pub struct StreamSender<T> {
    target: ActorId,
    /// The last one is for the end.
    grants: VecDeque<Reply<Packet<T>>>,
    /// Where more grants arrive.
    asked: Option<Answered<Grants<T>>>,
    has_begun: bool,
}

impl<T: Send + 'static> StreamSender<T> {
    /// Sends an item as soon as the caller has room for it (default deadline 5 s,
    /// [`SendItem::within`]). In a handler it holds up the mailbox: move the sender into a
    /// [`pipe`](crate::Context::pipe) to go on meanwhile.
    ///
    /// # Errors
    /// The item, and whether the caller is slow or gone. A slow one may be tried again.
    ///
    /// # Cancel safety
    /// An item whose wait is dropped was not sent.
    pub fn send(&mut self, item: T) -> SendItem<'_, T> {
        SendItem { sender: self, item: Some(item), timeout: DEADLINE_DEFAULT, timer: None }
    }

    /// Ends the stream: the caller has all of it.
    pub fn finish(self) {
        self.last(Packet::End);
    }

    /// Ends the stream before its time, and says why.
    pub fn fail(self, fault: Fault) {
        self.last(Packet::Failed(fault));
    }

    /// Whether nobody takes items any more, as far as is known here.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.grants.front().is_none_or(Reply::is_abandoned)
    }

    fn last(mut self, packet: Packet<T>) {
        if let Some(grant) = self.grants.pop_front() {
            grant.send(packet);
        }
    }

    /// Waits for room; false if the caller is gone.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if let Some(asked) = &mut self.asked
            && let Poll::Ready(granted) = asked.poll(cx)
        {
            self.asked = None;
            match granted {
                // What a peer grants beyond the bound is not kept.
                Ok(Grants(more)) => {
                    let room = (STREAM_ITEMS + 1).saturating_sub(self.grants.len());
                    self.grants.extend(more.into_iter().take(room));
                }
                Err(_) => self.grants.clear(),
            }
        }
        match self.grants.len() {
            _ if self.is_abandoned() => Poll::Ready(false),
            1 if self.asked.is_some() => Poll::Pending,
            grants => Poll::Ready(grants > 1),
        }
    }

    fn put(&mut self, item: T) {
        self.has_begun = true;
        let more = match self.asked {
            Some(_) => None,
            None => {
                let (more, asked) = Reply::pair(self.target);
                self.asked = Some(asked);
                Some(more)
            }
        };
        if let Some(grant) = self.grants.pop_front() {
            grant.send(Packet::Item(item, more));
        }
    }
}

impl<T> Drop for StreamSender<T> {
    fn drop(&mut self) {
        if let Some(mut asked) = self.asked.take() {
            asked.abandon();
        }
    }
}

/// An item that waits for room. Await it.
#[must_use = "nothing is sent until it is awaited"]
pub struct SendItem<'a, T> {
    sender: &'a mut StreamSender<T>,
    item: Option<T>,
    timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<T: Send + 'static> SendItem<'_, T> {
    /// Waits at most `timeout` (default 5 s, at most [`DEADLINE_MAX`]).
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(DEADLINE_MAX);
        self
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let timeout = self.timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        timer.as_mut().poll(cx).is_ready()
    }
}

impl<T> Unpin for SendItem<'_, T> {}

impl<T: Send + 'static> Future for SendItem<'_, T> {
    type Output = Result<(), Unsent<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let refuse = match this.sender.poll_room(cx) {
            Poll::Ready(true) => {
                if let Some(item) = this.item.take() {
                    this.sender.put(item);
                }
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(false) => Unsent::Abandoned,
            Poll::Pending if this.is_late(cx) => Unsent::Slow,
            Poll::Pending => return Poll::Pending,
        };
        match this.item.take() {
            Some(item) => Poll::Ready(Err(refuse(item))),
            // It has been given back already.
            None => Poll::Pending,
        }
    }
}

impl<T: Wire> Serialize for StreamSender<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.has_begun {
            let text = "a stream that has begun cannot move to another node";
            with_encoding::<(), _>(|_| Err(Why::Incompatible(text.into())))?;
        }
        self.grants.serialize(serializer)
    }
}

impl<'de, T: Wire> Deserialize<'de> for StreamSender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut grants = VecDeque::<Reply<Packet<T>>>::deserialize(deserializer)?;
        grants.truncate(STREAM_ITEMS + 1);
        // Outside of a message, where its type is being traced, it is for nobody.
        let target = with_decoding::<_, D::Error>(|context| Ok(context.to)).ok().flatten();
        let target = target.unwrap_or(ActorId { origin: 0, number: 0 });
        Ok(Self { target, grants, asked: None, has_begun: false })
    }
}

impl<T> fmt::Debug for ReplyStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyStream").field("target", &self.target).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for StreamSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSender").field("grants", &self.grants.len()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for SendItem<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendItem").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Unsent<T> {
    /// Leaves the item out: items need no `Debug`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slow(_) => "Slow",
            Self::Abandoned(_) => "Abandoned",
        })
    }
}
