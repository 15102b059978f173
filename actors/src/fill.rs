//! Micro-batches: many messages in one go.
//!
//! Invariants:
//! - **MB-1** A batch holds the messages that waited, in their order, and none that expired.
//! - **MB-2** Signals overtake: a batch takes nothing, and waits for nothing, once a signal is there.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use crate::actor::Actor;
use crate::context::Context;
use crate::mailbox::Pop;
use crate::run::admit;

impl<A: Actor> Context<A> {
    /// A batch of up to `most` messages: `first`, the one in hand, and those that wait behind it.
    /// It does not wait for more unless told so by [`Fill::at_least`].
    ///
    /// ```
    /// # use mobula_actors::{Actor, Context, Fault, Reply};
    /// # struct Scorer;
    /// # type Score = (u32, Reply<u32>);
    /// # impl Actor for Scorer {
    /// # type Args = ();
    /// # type Msg = Score;
    /// # async fn start((): (), _: &mut Context<Self>) -> Result<Self, Fault> { Ok(Self) }
    /// async fn handle(&mut self, first: Score, ctx: &mut Context<Self>) -> Result<(), Fault> {
    ///     for (features, reply) in ctx.fill(first, 64).await {
    ///         reply.send(features + 1);
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// None: a batch that is dropped drops the messages it took, and their calls answer
    /// `Unknown(Dropped)`.
    pub fn fill(&mut self, first: A::Msg, most: usize) -> Fill<'_, A> {
        Fill { ctx: self, batch: vec![first], most, least: 1, within: Duration::ZERO, timer: None }
    }
}

/// A batch that is being filled. Await it.
#[must_use = "the messages are lost unless it is awaited"]
pub struct Fill<'a, A: Actor> {
    ctx: &'a mut Context<A>,
    batch: Vec<A::Msg>,
    most: usize,
    least: usize,
    within: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<A: Actor> Fill<'_, A> {
    /// Waits until there are `least` messages, for at most `within`, and no longer once a signal
    /// is there.
    pub fn at_least(mut self, least: usize, within: Duration) -> Self {
        self.least = least.min(self.most);
        self.within = within;
        self
    }

    fn has_waited(&mut self, cx: &mut TaskContext<'_>) -> bool {
        let within = self.within;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(within)));
        timer.as_mut().poll(cx).is_ready()
    }

    fn end(&mut self) -> Poll<Vec<A::Msg>> {
        // The message in hand is counted by whoever handed it over.
        let more = u32::try_from(self.batch.len()).unwrap_or(u32::MAX).saturating_sub(1);
        self.ctx.checkpoint.count(more);
        self.ctx.cell.count_handled(more.into());
        Poll::Ready(std::mem::take(&mut self.batch))
    }
}

impl<A: Actor> Unpin for Fill<'_, A> {}

impl<A: Actor> Future for Fill<'_, A> {
    type Output = Vec<A::Msg>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Vec<A::Msg>> {
        let this = self.get_mut();
        let cell = this.ctx.cell.clone();
        loop {
            if this.batch.len() >= this.most || cell.is_signalled() {
                return this.end();
            }
            // The run lets go of its queue when the handler first waits: now.
            let Some(mut consumer) = cell.queue().consumer() else {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            };
            match consumer.pop() {
                Pop::Value(envelope) => {
                    this.batch.extend(admit(this.ctx, envelope));
                    if let Some(origin) = this.ctx.take_origin() {
                        origin.join();
                    }
                }
                Pop::Busy => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Pop::Empty if this.batch.len() >= this.least || this.has_waited(cx) => {
                    return this.end();
                }
                Pop::Empty if consumer.sleep() => return Poll::Pending,
                // Something came in between.
                Pop::Empty => {}
            }
        }
    }
}

impl<A: Actor> fmt::Debug for Fill<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (taken, most) = (self.batch.len(), self.most);
        f.debug_struct("Fill").field("taken", &taken).field("most", &most).finish_non_exhaustive()
    }
}
