//! One worker: a task that polls ready actors.

use std::cell::Cell;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_task::Runnable;
use tokio::runtime::Handle;
use tokio::task::coop::has_budget_remaining;
use tokio::task::yield_now;

use super::Scheduler;
use super::line::Line;
use crate::mailbox::sync::Ordering;

/// Polls of actors that were woken by the one before, until those in line have their turn.
const NEXT_MAX: u32 = 32;
/// Polls between looks at the clock and at what was woken from outside.
const POLLS_PER_LOOK: u32 = 8;
/// How long a worker keeps its thread.
const STINT: Duration = Duration::from_micros(200);

pub(super) struct Worker {
    scheduler: Arc<Scheduler>,
    number: usize,
    /// It is listed among those that sleep, unless it was woken.
    sleeps: bool,
    /// It was woken for something that it has not found yet.
    searching: bool,
    /// Polls of actors that were woken by the one before.
    nexts: u32,
    /// It ends when it finds nothing.
    is_spare: bool,
}

/// Which worker polls actors on this thread.
struct Seat {
    /// The address of its scheduler; 0 for no worker.
    scheduler: Cell<usize>,
    number: Cell<usize>,
    /// An actor was woken, and may be the next.
    has_next: Cell<bool>,
}

thread_local! {
    static SEAT: Seat = const {
        Seat { scheduler: Cell::new(0), number: Cell::new(0), has_next: Cell::new(false) }
    };
}

/// Puts an actor in line where this thread's worker polls it. Gives it back if there is none.
#[inline]
pub(super) fn put_here(scheduler: &Scheduler, ready: Runnable, yields: bool) -> Option<Runnable> {
    let address = std::ptr::from_ref(scheduler).addr();
    // Fails only while the thread ends.
    let number = SEAT.try_with(|seat| {
        let is_mine = seat.scheduler.get() == address;
        seat.has_next.set(seat.has_next.get() | (is_mine && !yields));
        is_mine.then(|| seat.number.get())
    });
    let Ok(Some(number)) = number else { return Some(ready) };
    let line = &scheduler.lines[number];
    if yields {
        // This worker comes to it soon.
        line.push_back(ready);
    } else if number == scheduler.workers() {
        // The line of spare workers is everybody's, and nobody is its next.
        line.push_back(ready);
        scheduler.wake_another();
    } else if let Some(displaced) = line.put_next(ready) {
        line.push_back(displaced);
        scheduler.wake_another();
    }
    None
}

thread_local! {
    /// An actor begins on this thread, inside the turn of its spawner.
    static BEGINS: Cell<bool> = const { Cell::new(false) };
}

/// Polls a new actor for the first time, where this is a thread of the runtime: its spawner waits for
/// that, and nobody has to be woken for it. Gives it back elsewhere, and inside another such poll, so
/// that a family of any depth needs one level of the stack.
#[inline]
pub(super) fn begin_here(scheduler: &Scheduler, ready: Runnable) -> Option<Runnable> {
    let is_here = Handle::try_current().is_ok_and(|here| here.id() == scheduler.runtime.id());
    if !is_here || BEGINS.try_with(|begins| begins.replace(true)).unwrap_or(true) {
        return Some(ready);
    }
    run(ready);
    // Fails only while the thread ends.
    let _ = BEGINS.try_with(|begins| begins.set(false));
    None
}

impl Worker {
    pub(super) fn new(scheduler: Arc<Scheduler>, number: usize) -> Self {
        Self { scheduler, number, sleeps: false, searching: false, nexts: 0, is_spare: false }
    }

    /// One that shares the line that is everybody's.
    pub(super) fn spare(scheduler: Arc<Scheduler>) -> Self {
        scheduler.alive.fetch_add(1, Ordering::AcqRel);
        let mut worker = Self::new(scheduler.clone(), scheduler.workers());
        worker.is_spare = true;
        worker
    }

    pub(super) async fn work(mut self) {
        while !self.scheduler.is_closed() && poll_fn(|cx| self.poll(cx)).await.is_continue() {
            yield_now().await;
        }
    }

    /// Polls actors until none is ready (`Pending`), or others than actors should have the thread.
    fn poll(&mut self, cx: &Context<'_>) -> Poll<ControlFlow<()>> {
        if std::mem::take(&mut self.sleeps) {
            self.searching = !self.scheduler.idle.leave(self.number);
            self.scheduler.relief.call();
        }
        let before = sit_down(&self.scheduler, self.number);
        let nothing_left = self.stint(cx);
        stand_up(before);
        match nothing_left {
            true if self.is_spare => Poll::Ready(ControlFlow::Break(())),
            true => Poll::Pending,
            false => Poll::Ready(ControlFlow::Continue(())),
        }
    }

    /// Whether it ended because no actor is ready.
    fn stint(&mut self, cx: &Context<'_>) -> bool {
        let begun = Instant::now();
        let mut polls = 0;
        loop {
            polls += 1;
            let look = polls % POLLS_PER_LOOK == 0;
            match self.next(look) {
                Some(ready) => {
                    self.found();
                    self.scheduler.turns[self.number].within(|| run(ready));
                }
                None if self.is_spare || self.rest(cx) => return true,
                None => {}
            }
            if !has_budget_remaining() || (look && begun.elapsed() >= STINT) {
                return false;
            }
        }
    }

    fn line(&self) -> &Line {
        &self.scheduler.lines[self.number]
    }

    /// The next actor to be polled.
    #[inline]
    fn next(&mut self, look_outside: bool) -> Option<Runnable> {
        if look_outside && let Some(ready) = self.scheduler.injected().pop_front() {
            return Some(ready);
        }
        if self.nexts < NEXT_MAX
            && let Some(next) = self.take_next()
        {
            self.nexts += 1;
            return Some(next);
        }
        self.nexts = 0;
        // Another worker may have emptied the line just now: then it is the next one's turn after all.
        self.line().pop_front().or_else(|| self.take_next()).or_else(|| self.search())
    }

    #[inline]
    fn take_next(&self) -> Option<Runnable> {
        let has_next = SEAT.with(|seat| seat.has_next.replace(false));
        if has_next { self.line().take_next() } else { None }
    }

    #[cold]
    fn search(&self) -> Option<Runnable> {
        let lines = &self.scheduler.lines;
        let workers = self.scheduler.workers();
        let shared = self.scheduler.injected().take_share(workers, self.line());
        let mut others = (1..workers).map(|ahead| &lines[(self.number + ahead) % workers]);
        shared.or_else(|| others.find_map(|line| line.take_share(2, self.line())))
    }

    /// An actor is at hand, wherever it came from: no search keeps others asleep while it is polled.
    #[inline]
    fn found(&mut self) {
        if std::mem::take(&mut self.searching) {
            self.scheduler.idle.end_search();
            if self.scheduler.has_ready() {
                self.scheduler.wake_another();
            }
        }
    }

    /// Goes to sleep unless an actor is ready.
    #[cold]
    fn rest(&mut self, cx: &Context<'_>) -> bool {
        let idle = &self.scheduler.idle;
        if std::mem::take(&mut self.searching) {
            idle.end_search();
        }
        idle.enter(self.number, cx.waker());
        self.sleeps = !self.scheduler.has_ready() && !self.scheduler.is_closed();
        if !self.sleeps {
            self.searching = !idle.leave(self.number);
        }
        self.sleeps
    }
}

/// A run catches its own panics; what is left is a panic while the actor is put away. It has ended
/// then, and nobody else is to blame.
#[inline]
fn run(ready: Runnable) {
    let _ = catch_unwind(AssertUnwindSafe(|| ready.run()));
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.is_spare {
            self.scheduler.relief.spares.fetch_sub(1, Ordering::AcqRel);
        }
        self.scheduler.worker_gone();
    }
}

/// Who sat there before.
type Before = (usize, usize, bool);

fn sit_down(scheduler: &Scheduler, number: usize) -> Before {
    let address = std::ptr::from_ref(scheduler).addr();
    SEAT.with(|seat| {
        // It may have left a next one behind when it stood up.
        (seat.scheduler.replace(address), seat.number.replace(number), seat.has_next.replace(true))
    })
}

fn stand_up((scheduler, number, has_next): Before) {
    SEAT.with(|seat| {
        seat.scheduler.set(scheduler);
        seat.number.set(number);
        seat.has_next.set(has_next);
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use super::*;

    // SC-2: a line that another worker empties at the very moment hides nobody.
    #[test]
    fn the_next_has_its_turn_when_the_line_was_emptied_by_another() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let scheduler = Scheduler::new(runtime.handle().clone(), Weak::new());
        let mut worker = Worker::new(scheduler.clone(), 0);
        worker.nexts = NEXT_MAX;
        let before = sit_down(&scheduler, 0);
        let (ready, _task) = async_task::spawn(async {}, |_| {});
        assert!(put_here(&scheduler, ready, false).is_none());
        scheduler.lines[0].seems_to_hold_one();
        let next = worker.next(false);
        stand_up(before);
        assert!(next.is_some());
    }
}
