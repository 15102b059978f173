//! Which thread polls which actor next.
//!
//! A runtime of tokio gives a thread to whatever is ready; an actor wants more than that. Most of
//! what makes an actor ready is another actor's message, and the two belong on one thread, one after
//! the other: their messages lie in its caches, and no other thread has to be woken for them. So the
//! actors of an engine that run as tasks share a few *workers*, one task for each thread of the
//! runtime, and a worker polls one ready actor after the other.
//!
//! ```text
//!  woken by the actor in its turn          woken from elsewhere
//!        |                                        |
//!        v                                        v
//!    next (one)  --displaced-->  line         injected
//!        |                        | ^ ^           |
//!        +---> worker polls <-----+ | +-----------+
//!                 |                 |
//!                 +-----------------+ yields        idle workers take half of another's line
//! ```
//!
//! Invariants:
//! - **SC-1** An actor that is woken is polled after that, by one worker at a time. The first poll is
//!   its spawner's, where that is on a thread of the same runtime.
//! - **SC-2** While ready actors wait that no awake worker is about to poll, no worker sleeps.
//! - **SC-3** Ready actors are polled in turn: one that yields goes to the end of the line, and after
//!   32 polls of actors that woke each other the line comes first.
//! - **SC-4** A worker lets the runtime see to others soon after 200 µs, or when the budget that tokio
//!   gives a task is used up; who waits behind an actor that does not yield is moved to another worker.
//! - **SC-5** When the runtime ends, so does every actor on it.

mod idle;
mod line;
mod relief;
mod turns;
mod worker;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, TryLockError, Weak};

use async_task::{Builder, Runnable, ScheduleInfo, WithInfo};
use tokio::runtime::{Handle, RuntimeFlavor};

use self::idle::Idle;
use self::line::Line;
use self::relief::Relief;
use self::turns::Turns;
use self::worker::{Worker, begin_here, put_here};
use crate::engine::Core;
use crate::inspect::Actors;
use crate::mailbox::sync::{AtomicBool, AtomicUsize, Ordering};

/// Shares the actors of an engine among the threads of a runtime.
pub(crate) struct Scheduler {
    runtime: Handle,
    /// One for each worker, and at last the one for what was woken by others than workers.
    lines: Box<[Line]>,
    /// One for each line.
    turns: Box<[Turns]>,
    idle: Idle,
    relief: Relief,
    /// Workers whose tasks have not ended.
    alive: AtomicUsize,
    /// The engine is gone.
    closed: AtomicBool,
    /// No worker will poll again.
    over: AtomicBool,
    sweeper: Mutex<()>,
    /// Knows the actors that sleep.
    core: Weak<Core>,
}

impl Scheduler {
    pub(crate) fn new(runtime: Handle, core: Weak<Core>) -> Arc<Self> {
        let workers = runtime.metrics().num_workers().max(1);
        let scheduler = Arc::new(Self {
            lines: (0..=workers).map(|_| Line::default()).collect(),
            turns: (0..=workers).map(|_| Turns::default()).collect(),
            idle: Idle::default(),
            relief: Relief::default(),
            alive: AtomicUsize::new(workers),
            closed: AtomicBool::new(false),
            over: AtomicBool::new(false),
            sweeper: Mutex::new(()),
            runtime,
            core,
        });
        for number in 0..workers {
            let worker = Worker::new(scheduler.clone(), number);
            scheduler.runtime.spawn(worker.work());
        }
        // Where there is one thread only, nobody can help.
        if scheduler.runtime.runtime_flavor() != RuntimeFlavor::CurrentThread {
            scheduler.runtime.spawn(relief::watch(scheduler.clone()));
        }
        scheduler
    }

    /// Has `life` polled by the workers until it ends or they do.
    pub(crate) fn spawn(self: &Arc<Self>, life: impl Future<Output = ()> + Send + 'static) {
        let scheduler = self.clone();
        let schedule = move |ready, info: ScheduleInfo| {
            scheduler.schedule(ready, info.woken_while_running);
        };
        let (ready, task) = Builder::new().spawn(|()| life, WithInfo(schedule));
        task.detach();
        if let Some(ready) = begin_here(self, ready) {
            self.schedule(ready, false);
        }
    }

    /// The workers end. Nobody is left whom they could poll.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.idle.wake_all();
        self.relief.call();
    }

    #[inline]
    fn schedule(&self, ready: Runnable, yields: bool) {
        let Some(ready) = put_here(self, ready, yields) else { return };
        self.injected().push_back(ready);
        if self.over.load(Ordering::SeqCst) {
            self.sweep();
        } else {
            let _ = self.idle.wake_one();
        }
    }

    /// Wakes a worker beside the one whose thread this is. The runtime would poll it next on this
    /// very thread, and let no other take it before the present turn is over, if nothing came after
    /// it.
    fn wake_another(&self) {
        if self.idle.wake_one() {
            drop(self.runtime.spawn(async {}));
        }
    }

    fn workers(&self) -> usize {
        self.lines.len() - 1
    }

    fn injected(&self) -> &Line {
        &self.lines[self.workers()]
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Whether any line has somebody in it.
    fn has_ready(&self) -> bool {
        self.lines.iter().any(|line| !line.is_empty())
    }

    /// The task of a worker has ended or was dropped.
    fn worker_gone(&self) {
        if self.alive.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        self.over.store(true, Ordering::SeqCst);
        let (injected, lines) = (self.injected(), &self.lines[..self.workers()]);
        lines.iter().for_each(|line| line.move_to(injected));
        self.sweep();
        // Those that sleep are swept as they are woken.
        let Some(core) = self.core.upgrade() else { return };
        let mut actors = Actors::of(core);
        while let Some(cell) = actors.next_cell() {
            cell.nudge();
        }
    }

    /// Drops what is ready (SC-5). Whoever ends so may wake others: they come after it, not inside it.
    fn sweep(&self) {
        while !self.injected().is_empty() {
            let _sweeper = match self.sweeper.try_lock() {
                Ok(guard) => guard,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // It looks again when it is done.
                Err(TryLockError::WouldBlock) => return,
            };
            while let Some(ready) = self.injected().pop_front() {
                drop(ready);
            }
        }
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("workers", &self.workers()).finish_non_exhaustive()
    }
}
