//! Ready actors in line for one worker, or for all.

use std::collections::VecDeque;
use std::sync::PoisonError;

use async_task::Runnable;
use crossbeam_utils::atomic::AtomicCell;

use crate::mailbox::sync::{AtomicUsize, Mutex, MutexGuard, Ordering};

/// Actors that wait for a worker: one that was woken by the actor in its turn, then the others, the
/// longest waiting first.
#[derive(Default)]
pub(super) struct Line {
    next: AtomicCell<Option<Runnable>>,
    others: Mutex<VecDeque<Runnable>>,
    /// How many others; read without the lock.
    len: AtomicUsize,
}

impl Line {
    /// Puts an actor before all others. The one that stood there comes back.
    #[inline]
    pub(super) fn put_next(&self, ready: Runnable) -> Option<Runnable> {
        self.next.swap(Some(ready))
    }

    #[inline]
    pub(super) fn take_next(&self) -> Option<Runnable> {
        self.next.take()
    }

    /// Whether nobody waits, but for the next.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    pub(super) fn push_back(&self, ready: Runnable) {
        self.change(|others| others.push_back(ready));
    }

    #[inline]
    pub(super) fn pop_front(&self) -> Option<Runnable> {
        if self.is_empty() {
            return None;
        }
        self.change(VecDeque::pop_front)
    }

    /// Takes the first, and moves those that come after it to `mine`, so that they are one of
    /// `shares` parts together.
    pub(super) fn take_share(&self, shares: usize, mine: &Self) -> Option<Runnable> {
        if self.is_empty() {
            return None;
        }
        let mut share: VecDeque<Runnable> = self.change(|others| {
            let count = others.len().div_ceil(shares);
            others.drain(..count).collect()
        });
        let first = share.pop_front();
        if !share.is_empty() {
            // Never two locks at a time.
            mine.change(|others| others.append(&mut share));
        }
        first
    }

    /// Moves all to the end of another line.
    pub(super) fn move_to(&self, other: &Self) {
        let mut all: VecDeque<Runnable> = self.take_next().into_iter().collect();
        self.change(|others| all.append(others));
        if !all.is_empty() {
            other.change(|others| others.append(&mut all));
        }
    }

    /// As it looks to one worker while another takes the last.
    #[cfg(test)]
    pub(super) fn seems_to_hold_one(&self) {
        self.len.store(1, Ordering::Relaxed);
    }

    fn change<R>(&self, change: impl FnOnce(&mut VecDeque<Runnable>) -> R) -> R {
        let mut others: MutexGuard<'_, _> =
            self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut others);
        self.len.store(others.len(), Ordering::Relaxed);
        changed
    }
}
