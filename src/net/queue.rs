//! The messages that wait for one lane of a link.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use bytes::BytesMut;
use tokio::sync::Notify;

use super::{
    frame,
    limits::{BATCH_BYTES_MAX, FRAMED_BYTES_MAX},
    message::{Lane, Message, Why},
};

/// A bounded queue with many senders and one reader, the task of the lane's connection.
///
/// Its bounds count what was taken and not yet written too (`release`), so that a slow socket is
/// felt by the senders. The reader's waker is kept only while it found nothing: one wake a batch.
#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    room: Notify,
    lane: u16,
    bytes_max: usize,
    messages_max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Waiting>,
    /// A buffer that was written, for the next batch.
    spare: BytesMut,
    bytes: usize,
    messages: usize,
    reader: Option<Waker>,
    starved: bool,
    closed: bool,
}

/// What waits to be written.
#[derive(Debug)]
pub(super) enum Waiting {
    /// Small messages, as frames already: their senders have done the reader's work, and nothing of
    /// them is left to be freed by another thread.
    Batch(Batch),
    Message(Message),
}

/// Whole frames, and what the queue's bounds count for them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) frames: BytesMut,
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl Waiting {
    /// The messages, as they were pushed.
    pub(super) fn into_messages(self, lane: u16) -> Vec<Message> {
        match self {
            Self::Batch(batch) => frame::messages(batch.frames.freeze(), lane),
            Self::Message(message) => vec![message],
        }
    }
}

impl Queue {
    pub(super) fn new(lane: Lane, bytes_max: usize, messages_max: usize) -> Self {
        let lane = lane.wire();
        Self { inner: Mutex::default(), room: Notify::new(), lane, bytes_max, messages_max }
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
        if message.bytes() <= FRAMED_BYTES_MAX {
            inner.batch(self.lane, &message);
        } else {
            inner.waiting.push_back(Waiting::Message(message));
        }
        let reader = inner.reader.take();
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    /// Moves everything that waits into `taken`, which must be empty, and keeps `spare` for the
    /// next batch. Finding nothing, it keeps the waker for the next push.
    pub(super) fn take(&self, taken: &mut VecDeque<Waiting>, spare: &mut BytesMut, reader: &Waker) {
        let mut inner = self.lock();
        if inner.waiting.is_empty() {
            if !inner.reader.as_ref().is_some_and(|kept| kept.will_wake(reader)) {
                inner.reader = Some(reader.clone());
            }
        } else {
            std::mem::swap(&mut inner.waiting, taken);
        }
        if inner.spare.capacity() == 0 {
            inner.spare = std::mem::take(spare);
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
    pub(super) fn drain(&self) -> Vec<Message> {
        let waiting = std::mem::take(&mut self.lock().waiting);
        waiting.into_iter().flat_map(|waiting| waiting.into_messages(self.lane)).collect()
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

impl Inner {
    /// Puts a small message behind those that wait.
    fn batch(&mut self, lane: u16, message: &Message) {
        match self.waiting.back_mut() {
            Some(Waiting::Batch(batch)) if batch.has_room(message) => batch.push(lane, message),
            _ => {
                let mut batch =
                    Batch { frames: std::mem::take(&mut self.spare), ..Batch::default() };
                batch.push(lane, message);
                self.waiting.push_back(Waiting::Batch(batch));
            }
        }
    }
}

impl Batch {
    /// Whether it stays one write.
    fn has_room(&self, message: &Message) -> bool {
        self.frames.len().saturating_add(message.bytes()) < BATCH_BYTES_MAX
    }

    fn push(&mut self, lane: u16, message: &Message) {
        frame::begin(&mut self.frames, lane, message, 0);
        self.frames.extend_from_slice(&message.payload);
        self.messages = self.messages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(message.bytes());
    }
}
