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
    /// Wakes a worker, if one sleeps and none is searching; says whether. After something was put in
    /// line.
    #[inline]
    pub(super) fn wake_one(&self) -> bool {
        fence(Ordering::SeqCst);
        self.count.load(Ordering::Relaxed) != 0
            && self.searching.load(Ordering::Relaxed) == 0
            && self.wake()
    }

    #[cold]
    fn wake(&self) -> bool {
        let mut sleepers = self.sleepers();
        // The last to fall asleep has the warmest caches.
        let Some((_, waker)) = sleepers.pop() else { return false };
        self.count.store(sleepers.len(), Ordering::Relaxed);
        self.searching.fetch_add(1, Ordering::Relaxed);
        drop(sleepers);
        waker.wake();
        true
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

#[cfg(all(test, mobula_loom))]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use loom::future::block_on;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;

    use super::*;

    /// Takes one out of line, as a worker does: looks, sleeps, and looks after every wake.
    fn take_one(idle: &Idle, line: &AtomicUsize) {
        let (mut sleeps, mut searching) = (false, false);
        let take = || line.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        block_on(poll_fn(|cx| {
            loop {
                if std::mem::take(&mut sleeps) {
                    searching = !idle.leave(0);
                }
                if take().is_ok() {
                    if searching {
                        idle.end_search();
                    }
                    return Poll::Ready(());
                }
                if std::mem::take(&mut searching) {
                    idle.end_search();
                }
                idle.enter(0, cx.waker());
                sleeps = line.load(Ordering::Relaxed) == 0;
                if sleeps {
                    return Poll::Pending;
                }
                searching = !idle.leave(0);
            }
        }));
    }

    // SC-2: whoever comes while the worker falls asleep, or is woken for another, is found.
    #[test]
    fn loom_no_worker_sleeps_while_somebody_is_in_line() {
        loom::model(|| {
            let (idle, line) = (Arc::new(Idle::default()), Arc::new(AtomicUsize::new(0)));
            let putters = [(); 2].map(|()| {
                let (idle, line) = (Arc::clone(&idle), Arc::clone(&line));
                thread::spawn(move || {
                    line.fetch_add(1, Ordering::Relaxed);
                    idle.wake_one();
                })
            });
            take_one(&idle, &line);
            take_one(&idle, &line);
            for putter in putters {
                putter.join().unwrap();
            }
        });
    }
}
