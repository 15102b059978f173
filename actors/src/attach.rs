//! A stream whose items are messages.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Weak};

use futures_core::Stream;

use crate::actor::Actor;
use crate::cell::{Cell, Envelope, Signal};
use crate::context::Context;
use crate::delivery::Knock;
use crate::id::Epoch;
use crate::run::caught;

impl<A: Actor> Context<A> {
    /// Delivers each item of `stream` as `map` makes it a message, then once `map(None)`: a
    /// variant that holds an `Option` is its own `map`.
    ///
    /// The stream is pulled only while there is room: an item that finds the mailbox full waits,
    /// and the next is not asked for until it is in. The stream ends with the run; one that panics
    /// ends the run.
    pub fn attach<S>(
        &mut self,
        stream: S,
        map: impl FnMut(Option<S::Item>) -> A::Msg + Send + 'static,
    ) where
        S: Stream<Item: Send> + Send + 'static,
    {
        let (cell, epoch) = (Arc::downgrade(&self.cell), self.epoch());
        let feeding = caught(feed(cell.clone(), epoch, stream, map));
        self.beside(async move {
            if let (Err(exit), Some(cell)) = (feeding.await, cell.upgrade()) {
                cell.signal_run(epoch, Signal::Stop(exit));
            }
        });
    }
}

async fn feed<M: Send + 'static, S: Stream<Item: Send>>(
    cell: Weak<Cell<M>>,
    epoch: Epoch,
    stream: S,
    mut map: impl FnMut(Option<S::Item>) -> M,
) {
    let mut stream = pin!(stream);
    loop {
        let item = poll_fn(|cx| stream.as_mut().poll_next(cx)).await;
        let is_last = item.is_none();
        let Some(cell) = cell.upgrade() else { return };
        let mut knock = Knock::new(cell, Envelope::of_run(map(item), epoch));
        // Refused only once the actor has ended.
        if poll_fn(|cx| knock.poll(cx)).await.is_err() || is_last {
            return;
        }
    }
}
