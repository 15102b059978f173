//! Workers that sleep, and how they are woken for what waits.
//!
//! A worker enters this list, passes a fence and looks at the lines once more; whoever puts an actor
//! in line passes a fence and looks at this list: one of them sees the other (SC-2). A worker that
//! was woken is *searching* until it has found something, and while one is, no other is woken: it
//! wakes the next itself if it leaves anything behind.

use std::sync::PoisonError;
use std::task::Waker;

use crate::mailbox::sync::{AtomicUsize, Mutex, MutexGuard, Ordering, fence};

#[derive(Default)]
pub(super) struct Idle {
    sleepers: Mutex<Vec<(usize, Waker)>>,
    /// How many sleep; read without the lock.
    count: AtomicUsize,
    searching: AtomicUsize,
}

impl Idle {
    /// Wakes a worker, if one sleeps and none is searching. After something was put in line.
    #[inline]
    pub(super) fn wake_one(&self) {
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::Relaxed) != 0 && self.searching.load(Ordering::Relaxed) == 0 {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        let mut sleepers = self.sleepers();
        // The last to fall asleep has the warmest caches.
        let Some((_, waker)) = sleepers.pop() else { return };
        self.count.store(sleepers.len(), Ordering::Relaxed);
        self.searching.fetch_add(1, Ordering::Relaxed);
        drop(sleepers);
        waker.wake();
    }

    pub(super) fn wake_all(&self) {
        fence(Ordering::SeqCst);
        let sleepers = std::mem::take(&mut *self.sleepers());
        self.searching.fetch_add(sleepers.len(), Ordering::Relaxed);
        sleepers.into_iter().for_each(|(_, waker)| waker.wake());
    }

    pub(super) fn all_sleep(&self, workers: usize) -> bool {
        self.count.load(Ordering::Relaxed) >= workers
    }

    /// Lists a worker that found nothing. It looks once more before it sleeps.
    pub(super) fn enter(&self, worker: usize, waker: &Waker) {
        let waker = waker.clone();
        let mut sleepers = self.sleepers();
        sleepers.push((worker, waker));
        self.count.store(sleepers.len(), Ordering::Relaxed);
        drop(sleepers);
        fence(Ordering::SeqCst);
    }

    /// Takes a worker out that does not sleep after all, or not any more. False if it was taken out
    /// to be woken: then it is searching.
    pub(super) fn leave(&self, worker: usize) -> bool {
        let mut sleepers = self.sleepers();
        let place = sleepers.iter().position(|(sleeper, _)| *sleeper == worker);
        let entry = place.map(|place| sleepers.swap_remove(place));
        self.count.store(sleepers.len(), Ordering::Relaxed);
        drop(sleepers);
        entry.is_some()
    }

    /// A searching worker has found something, or gives up. The fence is for the latter: it looks at
    /// the lines once more.
    pub(super) fn end_search(&self) {
        self.searching.fetch_sub(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    fn sleepers(&self) -> MutexGuard<'_, Vec<(usize, Waker)>> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
