//! Pushers that wait for room, first come, first served.
//!
//! A waiter is in the list (it waits), or it was woken and owns one grant until it pushes or gives
//! up. Grants are counted, so that the room promised to a woken waiter wakes nobody else, and a
//! grant given up goes to the next in line. Tickets keep the order: a waiter that was woken in vain
//! goes back to its old place.

use std::collections::VecDeque;
use std::ptr;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

use crate::mailbox::push::{PushError, Pushed};
use crate::mailbox::queue::Queue;
use crate::mailbox::sync::{AtomicUsize, Mutex, MutexGuard, Ordering, fence};

/// The place of one waiting push, kept by whoever polls it. Give it back with [`Queue::cancel`] when
/// the push is given up, else the wake it may own is lost to the others. It belongs to the queue it
/// was first polled with.
#[derive(Debug, Default)]
pub struct Waiter {
    /// 0: not waiting.
    pub(super) ticket: u64,
}

/// Waiting for room.
impl<T> Queue<T> {
    /// Queues `value`, waiting for room behind those that waited earlier. On `Ready` the value was
    /// taken out of `value` and is queued, or is in the error, which is never `Full`. With nothing
    /// in `value` it answers `Ready(Ok(Pushed::Awake))`.
    ///
    /// Cancel safe if a push given up is reported with [`Queue::cancel`]; `value` then still holds
    /// the value. A plain [`Queue::push`] does not stand in line and may take the room first.
    #[inline]
    pub fn poll_push(
        &self,
        cx: &mut Context<'_>,
        value: &mut Option<T>,
        waiter: &mut Waiter,
    ) -> Poll<Result<Pushed, PushError<T>>> {
        let Some(message) = value.take() else { return Poll::Ready(Ok(Pushed::Awake)) };
        if waiter.ticket != 0 && self.stays_in_line(waiter, cx) {
            *value = Some(message);
            return Poll::Pending;
        }
        let behind = waiter.ticket == 0 && self.is_awaited();
        let pushed = if behind { Err(PushError::Full(message)) } else { self.push(message) };
        let Err(PushError::Full(message)) = pushed else {
            waiter.ticket = 0;
            return Poll::Ready(pushed);
        };
        *value = Some(message);
        self.waiters_or_new().enter(waiter, cx.waker());
        fence(Ordering::SeqCst);
        self.wake_waiters();
        Poll::Pending
    }

    fn stays_in_line(&self, waiter: &Waiter, cx: &Context<'_>) -> bool {
        self.waiters().is_some_and(|line| line.stays(waiter, cx.waker()))
    }

    /// Gives a waiting push up. If it had been woken, the next in line is. Idempotent, and nothing
    /// happens for a waiter that does not wait.
    #[inline]
    pub fn cancel(&self, waiter: &mut Waiter) {
        if waiter.ticket == 0 {
            return;
        }
        if let Some(waiters) = self.waiters() {
            waiters.leave(waiter);
            self.wake_waiters();
        }
    }

    /// Wakes as many waiters as there is room for, all of them once closed. The caller made room, or
    /// entered the line, and then passed a SeqCst fence: of two such callers one sees the other.
    pub(super) fn wake_waiters(&self) {
        let Some(waiters) = self.waiters() else { return };
        while !waiters.is_empty() {
            let Some(waker) = waiters.grant(|| self.room()) else { return };
            waker.wake();
        }
    }

    pub(super) fn room(&self) -> usize {
        match self.is_closed() {
            true => usize::MAX,
            false => self.capacity().saturating_sub(self.len()),
        }
    }

    /// Whether any push stands in line.
    #[inline]
    pub fn is_awaited(&self) -> bool {
        self.waiters().is_some_and(|line| !line.is_empty())
    }

    #[inline]
    fn waiters(&self) -> Option<&Waiters> {
        let waiters = self.tail().waiters.load(Ordering::Acquire);
        // SAFETY: null, or set once to a leaked box that only `drop` takes back.
        unsafe { waiters.as_ref() }
    }

    fn waiters_or_new(&self) -> &Waiters {
        if let Some(waiters) = self.waiters() {
            return waiters;
        }
        let fresh = Box::into_raw(Box::<Waiters>::default());
        let (none, both) = (ptr::null_mut(), Ordering::AcqRel);
        match self.tail().waiters.compare_exchange(none, fresh, both, Ordering::Acquire) {
            // SAFETY: as in `waiters`.
            Ok(_) => unsafe { &*fresh },
            Err(first) => {
                // SAFETY: `fresh` was not shared.
                drop(unsafe { Box::from_raw(fresh) });
                // SAFETY: as in `waiters`.
                unsafe { &*first }
            }
        }
    }
}

#[derive(Default)]
struct Line {
    entries: VecDeque<(u64, Waker)>,
    tickets: u64,
    granted: usize,
}

impl Line {
    fn find(&self, ticket: u64) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&ticket, |entry| entry.0)
    }
}

#[derive(Default)]
pub(super) struct Waiters {
    /// How many are in line; read without the lock.
    count: AtomicUsize,
    line: Mutex<Line>,
}

impl Waiters {
    fn line(&self) -> MutexGuard<'_, Line> {
        // Nothing under the lock panics half-way; the list is whole even if a waker's clone did.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Puts a waiter in line that is not in it: at the end, or at its old place if it has a ticket.
    pub(super) fn enter(&self, waiter: &mut Waiter, waker: &Waker) {
        let waker = waker.clone();
        let mut line = self.line();
        if waiter.ticket == 0 {
            line.tickets += 1;
            waiter.ticket = line.tickets;
        }
        let place = line.entries.partition_point(|entry| entry.0 < waiter.ticket);
        line.entries.insert(place, (waiter.ticket, waker));
        self.count.store(line.entries.len(), Ordering::Relaxed);
    }

    /// Whether the waiter still stands in line, with `waker` from now on. If not, it was woken, and
    /// its grant is spent by this call.
    pub(super) fn stays(&self, waiter: &Waiter, waker: &Waker) -> bool {
        let mut line = self.line();
        let Ok(place) = line.find(waiter.ticket) else {
            line.granted = line.granted.saturating_sub(1);
            return false;
        };
        let old = match &mut line.entries[place].1 {
            same if same.will_wake(waker) => None,
            other => Some(std::mem::replace(other, waker.clone())),
        };
        // Dropping a waker may drop a task, which may give up its own push: not under the lock.
        drop(line);
        drop(old);
        true
    }

    /// Takes a waiter out of line, or its grant back.
    pub(super) fn leave(&self, waiter: &mut Waiter) {
        let ticket = std::mem::take(&mut waiter.ticket);
        let mut line = self.line();
        let entry = match line.find(ticket) {
            Ok(place) => line.entries.remove(place),
            Err(_) => {
                line.granted = line.granted.saturating_sub(1);
                None
            }
        };
        self.count.store(line.entries.len(), Ordering::Relaxed);
        drop(line);
        drop(entry);
    }

    /// The next waiter to wake, if `room` exceeds what was promised already. `room` is read under
    /// the lock, so that of two callers the later one sees what the earlier one saw.
    pub(super) fn grant(&self, room: impl FnOnce() -> usize) -> Option<Waker> {
        let mut line = self.line();
        if line.entries.is_empty() || room() <= line.granted {
            return None;
        }
        let (_, waker) = line.entries.pop_front()?;
        line.granted += 1;
        self.count.store(line.entries.len(), Ordering::Relaxed);
        Some(waker)
    }
}
