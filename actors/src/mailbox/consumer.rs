//! The consumer's side of the queue; see [the room's documentation](super) for the protocol.

use std::fmt;
use std::ptr;

use crate::mailbox::block::{Block, OwnedBlock};
use crate::mailbox::queue::{ASLEEP, CLOSED, INDEX_SHIFT, Queue};
use crate::mailbox::sync::{Ordering, fence};

/// A consumer that goes on to pop wakes those who wait once there is room for so many.
const WAKE_ROOM: usize = 128;

/// What a pop found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pop<T> {
    /// The oldest value.
    Value(T),
    /// Nothing is queued. Final if the queue was closed before.
    Empty,
    /// A producer has claimed the next slot and not written it yet: yield and pop again.
    Busy,
}

/// How a consumer that found nothing may rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It sleeps, as [`Consumer::sleep`] says, or nothing will come: the queue is closed and empty.
    Asleep,
    /// There is a value.
    Awake,
    /// A producer has claimed the next slot and not written it yet: yield and look again.
    Busy,
}

/// The only consumer of a [`Queue`], until dropped.
pub struct Consumer<'a, T> {
    queue: &'a Queue<T>,
}

impl<'a, T> Consumer<'a, T> {
    /// Only for the owner of the claim.
    pub(super) fn new(queue: &'a Queue<T>) -> Self {
        Self { queue }
    }

    /// Takes the oldest value. Never waits.
    #[inline]
    pub fn pop(&mut self) -> Pop<T> {
        match self.take() {
            Some(value) => Pop::Value(value),
            None => self.nothing(),
        }
    }

    /// Takes the oldest value, if it is there already. `None` does not tell why: ask
    /// [`Consumer::pop`].
    #[inline(always)]
    pub fn take(&mut self) -> Option<T> {
        let head = self.queue.head();
        let block = self.block()?;
        let taken = head.taken.load(Ordering::Relaxed);
        // SAFETY: `block` is linked, which only the consumer ends; `block()` left `taken < SLOTS`,
        // and `taken` moves on with every value read.
        let value = unsafe { Block::read(block, taken as usize) }?;
        head.taken.store(taken + 1, Ordering::Relaxed);
        let position = head.position.load(Ordering::Relaxed) + 1;
        head.position.store(position, Ordering::Relaxed);
        if position - head.published.load(Ordering::Relaxed) >= u64::from(head.step) {
            self.publish_between();
        }
        Some(value)
    }

    /// The block of the position, `None` if it is not linked yet.
    #[inline(always)]
    fn block(&self) -> Option<*mut Block<T>> {
        let head = self.queue.head();
        let block = head.block.load(Ordering::Acquire);
        if block.is_null() || (head.taken.load(Ordering::Relaxed) as usize) < Block::<T>::SLOTS {
            return (!block.is_null()).then_some(block);
        }
        self.next_block(block)
    }

    #[inline(never)]
    fn next_block(&self, block: *mut Block<T>) -> Option<*mut Block<T>> {
        let head = self.queue.head();
        // SAFETY: linked, as in `pop`.
        let next = unsafe { &(*block).next }.load(Ordering::Acquire);
        if next.is_null() {
            return None;
        }
        head.block.store(next, Ordering::Relaxed);
        head.taken.store(0, Ordering::Relaxed);
        // SAFETY: all slots were popped and the successor is linked, so no producer needs it.
        let mut used = unsafe { OwnedBlock::from_raw(block) };
        used.iter_mut().for_each(OwnedBlock::reset);
        self.queue.keep_spare(used);
        Some(next)
    }

    #[inline(never)]
    fn nothing(&mut self) -> Pop<T> {
        let index = self.queue.tail().state.load(Ordering::Acquire) >> INDEX_SHIFT;
        if index != self.queue.head().position.load(Ordering::Relaxed) {
            return Pop::Busy;
        }
        self.publish();
        Pop::Empty
    }

    /// Goes to sleep unless there is a value. Register the waker before.
    pub fn rest(&mut self) -> Rest {
        loop {
            if self.has_value() {
                return Rest::Awake;
            }
            match self.nothing() {
                Pop::Busy => return Rest::Busy,
                _ if self.sleep() => return Rest::Asleep,
                _ if self.queue.is_closed() && !self.has_value() => return Rest::Asleep,
                _ => {}
            }
        }
    }

    fn has_value(&self) -> bool {
        let Some(block) = self.block() else { return false };
        let taken = self.queue.head().taken.load(Ordering::Relaxed);
        // SAFETY: as in `take`.
        unsafe { Block::is_ready(block, taken as usize) }
    }

    /// Goes to sleep if nothing is queued. `true`: the next push, or the close, says
    /// [`Pushed::WakeConsumer`](super::Pushed::WakeConsumer), and the queue holds no slot memory.
    /// `false`: something was pushed, or the queue is closed: pop again; an `Empty` is then final
    /// if the queue is closed.
    ///
    /// Register the waker before. A consumer woken for another reason may pop and sleep again.
    pub fn sleep(&mut self) -> bool {
        self.publish();
        let (head, tail) = (self.queue.head(), self.queue.tail());
        let state = tail.state.load(Ordering::Acquire);
        if state & ASLEEP != 0 {
            // An exchange and not the load decides: it reads the newest state, so a push missed here
            // comes after the caller's registration.
            let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
            return tail.state.compare_exchange(state, state, success, failure).is_ok();
        }
        if state >> INDEX_SHIFT != head.position.load(Ordering::Relaxed) {
            return false;
        }
        // Everything claimed was popped, so no producer is inside a block.
        let spare = match head.spare.load(Ordering::Relaxed) {
            none if none.is_null() => none,
            _ => head.spare.swap(ptr::null_mut(), Ordering::AcqRel),
        };
        // SAFETY: whoever swaps a spare block out owns it.
        drop(unsafe { OwnedBlock::from_raw(spare) });
        self.take_block_away(state)
    }

    /// Moves index and head to the next block's start and frees the block they leave.
    fn take_block_away(&self, state: u64) -> bool {
        let (head, tail) = (self.queue.head(), self.queue.tail());
        // Before the exchange: after it, a producer may link a block here.
        let block = head.block.load(Ordering::Relaxed);
        head.block.store(ptr::null_mut(), Ordering::Relaxed);
        let closed = state & CLOSED != 0;
        let start = (state >> INDEX_SHIFT).next_multiple_of(Block::<T>::SLOTS as u64);
        let asleep = (start << INDEX_SHIFT) | ASLEEP;
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        if !closed && tail.state.compare_exchange(state, asleep, success, failure).is_err() {
            head.block.store(block, Ordering::Relaxed);
            return false;
        }
        head.taken.store(0, Ordering::Relaxed);
        // SAFETY: popped to the last claim, and no later claim can reach it: claims are over, or
        // go on in another block.
        drop(unsafe { OwnedBlock::from_raw(block) });
        if !closed {
            head.position.store(start, Ordering::Relaxed);
            head.published.store(start, Ordering::Release);
        }
        !closed
    }

    /// Makes the room of all popped values visible and wakes as many waiting pushes. Call it before
    /// work that takes long.
    pub fn publish(&mut self) {
        let head = self.queue.head();
        let position = head.position.load(Ordering::Relaxed);
        let is_new = position != head.published.load(Ordering::Relaxed);
        if !is_new && !head.owed.load(Ordering::Relaxed) {
            return;
        }
        head.published.store(position, Ordering::Release);
        head.owed.store(false, Ordering::Relaxed);
        if head.bounded {
            fence(Ordering::SeqCst);
            self.queue.wake_waiters();
        }
    }

    /// [`Consumer::publish`] by a consumer that goes on to pop. A push that waits for a large queue
    /// is woken once there is room for many: woken for every few values it would sleep as often.
    #[inline(never)]
    fn publish_between(&mut self) {
        let head = self.queue.head();
        head.published.store(head.position.load(Ordering::Relaxed), Ordering::Release);
        if !head.bounded {
            return;
        }
        fence(Ordering::SeqCst);
        if !self.queue.is_awaited() {
            return;
        }
        let room_min = WAKE_ROOM.min(self.queue.capacity() / 2);
        let owed = head.step > 1 && self.queue.room() < room_min;
        head.owed.store(owed, Ordering::Relaxed);
        if !owed {
            self.queue.wake_waiters();
        }
    }
}

impl<T> Drop for Consumer<'_, T> {
    fn drop(&mut self) {
        self.publish();
        self.queue.head().claimed.store(false, Ordering::Release);
    }
}

impl<T> fmt::Debug for Consumer<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Consumer").field(self.queue).finish()
    }
}
