//! The messages that wait for one lane of a link.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use tokio::sync::Notify;

use super::message::{Message, Why};

/// A bounded queue with many senders and one reader, the task of the lane's connection.
///
/// Its bounds count what was taken and not yet written too (`release`), so that a slow socket is
/// felt by the senders. The reader's waker is kept only while it found nothing: one wake a batch.
#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    room: Notify,
    bytes_max: usize,
    messages_max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Message>,
    bytes: usize,
    messages: usize,
    reader: Option<Waker>,
    starved: bool,
    closed: bool,
}

impl Queue {
    pub(super) fn new(bytes_max: usize, messages_max: usize) -> Self {
        Self { inner: Mutex::default(), room: Notify::new(), bytes_max, messages_max }
    }

    pub(super) fn push(&self, message: Message) -> Result<(), (Message, Why)> {
        let mut inner = self.lock();
        if inner.closed {
            return Err((message, Why::Closed));
        }
        if !self.fits(&inner) {
            return Err((message, Why::Full));
        }
        inner.bytes = inner.bytes.saturating_add(message.bytes());
        inner.messages = inner.messages.saturating_add(1);
        inner.waiting.push_back(message);
        let reader = inner.reader.take();
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    /// Moves everything that waits into `taken`, which must be empty. Finding nothing, it keeps
    /// the waker for the next push.
    pub(super) fn take(&self, taken: &mut VecDeque<Message>, reader: &Waker) {
        let mut inner = self.lock();
        if inner.waiting.is_empty() {
            if !inner.reader.as_ref().is_some_and(|kept| kept.will_wake(reader)) {
                inner.reader = Some(reader.clone());
            }
        } else {
            std::mem::swap(&mut inner.waiting, taken);
        }
    }

    /// Gives back the room of messages that were taken and are now written.
    pub(super) fn release(&self, messages: usize, bytes: usize) {
        let mut inner = self.lock();
        inner.messages = inner.messages.saturating_sub(messages);
        inner.bytes = inner.bytes.saturating_sub(bytes);
        if inner.starved && self.fits(&inner) {
            inner.starved = false;
            drop(inner);
            self.room.notify_waiters();
        }
    }

    /// Waits until a push could be taken or the queue is closed. Losing the future loses nothing.
    pub(super) async fn room(&self) {
        let mut notified = std::pin::pin!(self.room.notified());
        loop {
            notified.as_mut().enable();
            {
                let mut inner = self.lock();
                if inner.closed || self.fits(&inner) {
                    return;
                }
                inner.starved = true;
            }
            notified.as_mut().await;
            notified.set(self.room.notified());
        }
    }

    /// Refuses pushes from now on. What waits stays for the reader.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        let reader = inner.reader.take();
        drop(inner);
        self.room.notify_waiters();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// What still waits; the queue is left empty.
    pub(super) fn drain(&self) -> VecDeque<Message> {
        std::mem::take(&mut self.lock().waiting)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    fn fits(&self, inner: &Inner) -> bool {
        inner.bytes < self.bytes_max && inner.messages < self.messages_max
    }

    /// No code that can panic runs under the lock, so a poisoned one is still consistent.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
