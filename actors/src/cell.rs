//! What outlives a run of an actor: its mailbox, its epoch, and those who watch it.
//!
//! A cell has two lanes. Messages wait in the queue; signals (stop, kill, notices of monitors, the
//! next run) wait in a short list that is looked at before every message.
//!
//! Invariants:
//! - **K-1** Signals overtake a full mailbox.
//! - **K-2** When a run ends, its state and its pipes are dropped first; then names go; then
//!   monitors and the supervisor are told, each once.
//! - **K-3** A cell that ended for good refuses every message and answers every queued call with
//!   `Rejected(Stopped)`. An actor nobody supervises has ended for good before its end is told.
//! - **K-4** Epochs only grow.
//! - **K-5** What is meant for one run (stop, kill, notices) never reaches another.
//! - **K-6** No code of the user runs under the cell's lock, and none of it can keep the cell from
//!   telling an end.

mod control;
mod ending;
mod inspect;
mod kin;

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::actor::Restart;
use crate::carrier::Monitor;
pub use crate::cell::control::Control;
use crate::engine::Engine;
pub(crate) use crate::envelope::Envelope;
use crate::error::Why;
use crate::exit::Exit;
use crate::id::{ActorId, Epoch};
use crate::mailbox::sync::{AtomicU32, AtomicU64, Ordering, fence};
use crate::mailbox::{Consumer, PushError, Pushed, Queue};
use crate::observe::Breed;
use crate::spawner::Watch;
use crate::wakes;

pub(crate) enum Signal<M> {
    /// End after the message in hand.
    Stop(Exit),
    /// A message that overtakes the queue, made by the actor's own code.
    Notice(Box<dyn FnOnce() -> M + Send>),
    /// The supervisor holds the checkpoint with this sequence number.
    Stored(u64),
    /// The next run, typed by the actor.
    Start(Box<dyn Any + Send>),
}

const SIGNALLED: u32 = 1;
const KILLED: u32 = 2;
/// The run has a waker: needed once, since all runs of a cell share one task.
const AWAKE: u32 = 4;
/// A stop waits among the signals; one is enough.
const STOPPING: u32 = 8;
/// There will be no next run.
const RETIRED: u32 = 16;

/// In this order: what the run changes with every message lies beside the end of the queue that it
/// pops from, and 48 bytes before what senders read with every message, which no cache line spans
/// from where cells lie, at multiples of 16 bytes. With both in one line, a call takes a tenth more
/// time.
#[repr(C)]
pub(crate) struct Cell<M> {
    queue: Queue<Envelope<M>>,
    /// Written by the run only.
    handled: AtomicU64,
    busy_ns: AtomicU64,
    inner: Mutex<Inner<M>>,
    epoch: AtomicU64,
    breed: Arc<Breed>,
    id: ActorId,
    flags: AtomicU32,
}

struct Inner<M> {
    phase: Phase,
    /// Whether the run has come to life.
    alive: bool,
    /// Who waits for that.
    birth: Option<Birth>,
    /// Whose child it is; `None` for nobody's.
    ties: Option<Box<Ties>>,
    /// Idle actors that nobody watches have none of this.
    rare: Option<Box<Rare<M>>>,
}

struct Ties {
    supervision: Option<Supervision>,
    parent: Option<ActorId>,
}

/// Is told whether a run came to life, or how it ended before.
pub(crate) type Birth = oneshot::Sender<Result<(), Exit>>;

struct Rare<M> {
    signals: VecDeque<Signal<M>>,
    monitors: Vec<Monitor>,
    names: Vec<String>,
    kill: Option<Exit>,
    /// Of the last run that ended abnormally.
    last_exit: Option<Box<Exit>>,
    /// Pipes of a run that ends, until they are gone.
    pipes: Vec<JoinHandle<()>>,
    exported: bool,
}

impl<M> Default for Rare<M> {
    fn default() -> Self {
        Self {
            signals: VecDeque::new(),
            monitors: Vec::new(),
            names: Vec::new(),
            kill: None,
            last_exit: None,
            pipes: Vec::new(),
            exported: false,
        }
    }
}

impl<M> Inner<M> {
    fn rare(&mut self) -> &mut Rare<M> {
        self.rare.get_or_insert_with(Box::default)
    }

    fn supervision(&self) -> Option<&Supervision> {
        self.ties.as_ref()?.supervision.as_ref()
    }

    /// Takes a list out, and makes none if there is none.
    fn take<T: Default>(&mut self, list: fn(&mut Rare<M>) -> &mut T) -> T {
        self.rare.as_deref_mut().map(|rare| std::mem::take(list(rare))).unwrap_or_default()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The next run has been handed over.
    Starting,
    Running,
    /// The last run has ended; its supervisor decides.
    Between {
        restarting: bool,
    },
    Ended,
}

/// Who decides what happens after a run.
#[derive(Clone)]
pub(crate) struct Supervision {
    pub(crate) watch: Arc<dyn Watch>,
    pub(crate) restart: Restart,
}

impl<M: Send + 'static> Cell<M> {
    pub(crate) fn new(
        breed: Arc<Breed>,
        id: ActorId,
        mailbox_messages: usize,
        supervision: Option<Supervision>,
        parent: Option<ActorId>,
    ) -> Self {
        let queue = match mailbox_messages {
            usize::MAX => Queue::unbounded(),
            bound => Queue::bounded(bound),
        };
        let is_child = supervision.is_some() || parent.is_some();
        let ties = is_child.then(|| Box::new(Ties { supervision, parent }));
        Self {
            id,
            breed,
            queue,
            handled: AtomicU64::new(0),
            busy_ns: AtomicU64::new(0),
            flags: AtomicU32::new(0),
            epoch: AtomicU64::new(0),
            inner: Mutex::new(Inner {
                phase: Phase::Starting,
                alive: false,
                birth: None,
                ties,
                rare: None,
            }),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.breed.engine
    }

    pub(crate) fn breed(&self) -> &Breed {
        &self.breed
    }

    pub(crate) fn queue(&self) -> &Queue<Envelope<M>> {
        &self.queue
    }

    pub(crate) fn is_supervised(&self) -> bool {
        self.inner().supervision().is_some()
    }

    pub(crate) fn supervision(&self) -> Option<Supervision> {
        self.inner().supervision().cloned()
    }

    /// For a run that takes long over each message.
    #[must_use]
    pub(crate) fn prompt(mut self) -> Self {
        self.queue = self.queue.prompt();
        self
    }

    /// Enqueues without waiting.
    #[inline]
    pub(crate) fn push(&self, envelope: Envelope<M>) -> Result<(), (Envelope<M>, Why)> {
        self.pushed(self.queue.push(envelope))
    }

    /// Enqueues without waiting, and not before those that wait. What is refused comes back: it may
    /// stand in line, and learns there if the actor has ended.
    #[inline(always)]
    pub(crate) fn push_in_line(&self, mut envelope: Envelope<M>) -> Result<(), Envelope<M>> {
        envelope.take_along_span(self);
        if self.queue.is_awaited() {
            return Err(envelope);
        }
        match self.queue.push(envelope) {
            Ok(pushed) => {
                self.after_push(pushed);
                Ok(())
            }
            Err(PushError::Full(envelope) | PushError::Closed(envelope)) => Err(envelope),
        }
    }

    /// Enqueues up to `extra` messages beyond the capacity: for messages that hold credit, and for
    /// what the runtime itself owes the actor.
    pub(crate) fn push_beyond(
        &self,
        envelope: Envelope<M>,
        extra: usize,
    ) -> Result<(), (Envelope<M>, Why)> {
        self.pushed(self.queue.push_beyond(envelope, extra))
    }

    #[inline]
    fn pushed(
        &self,
        outcome: Result<Pushed, PushError<Envelope<M>>>,
    ) -> Result<(), (Envelope<M>, Why)> {
        match outcome {
            Ok(pushed) => {
                self.after_push(pushed);
                Ok(())
            }
            Err(PushError::Full(envelope)) => Err((envelope, Why::Full)),
            Err(PushError::Closed(envelope)) => Err((envelope, Why::Stopped)),
        }
    }

    #[inline]
    pub(crate) fn after_push(&self, pushed: Pushed) {
        if matches!(pushed, Pushed::WakeConsumer) {
            self.wake();
        }
    }

    /// For the present run, or the one that is about to start; nothing happens without one.
    pub(crate) fn signal(&self, signal: Signal<M>) {
        self.signal_if(signal, |inner| matches!(inner.phase, Phase::Running | Phase::Starting));
    }

    /// For the run `epoch` and no other (K-5).
    pub(crate) fn signal_run(&self, epoch: Epoch, signal: Signal<M>) {
        self.signal_if(signal, |inner| inner.phase == Phase::Running && self.epoch() == epoch);
    }

    fn signal_if(&self, signal: Signal<M>, wanted: impl FnOnce(&Inner<M>) -> bool) {
        let mut inner = self.inner();
        let mut set = SIGNALLED;
        if matches!(signal, Signal::Stop(_)) {
            set |= STOPPING;
        }
        let repeated = set & STOPPING & self.flags.load(Ordering::Relaxed) != 0;
        if repeated || !wanted(&inner) {
            // The signal is an argument, so it is dropped after the lock.
            return;
        }
        inner.rare().signals.push_back(signal);
        self.flags.fetch_or(set, Ordering::SeqCst);
        drop(inner);
        self.wake();
    }

    /// Wakes the task. It finds every flag set before the call: either the waker is there, or the
    /// fence pairs with the one after it is first stored.
    #[inline(never)]
    fn wake(&self) {
        let waker = self.queue.waker().or_else(|| {
            fence(Ordering::SeqCst);
            self.queue.waker()
        });
        if let Some(waker) = waker {
            wakes::wake_by_ref(waker);
        }
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.flags.load(Ordering::Acquire) & KILLED != 0
    }

    /// Stores the task's waker before anything is looked at. One task runs all runs, so the first
    /// waker stays right.
    pub(crate) fn attend(&self, cx: &Context<'_>) {
        if self.flags.load(Ordering::Relaxed) & AWAKE == 0 {
            self.queue.set_waker(cx.waker());
            self.flags.fetch_or(AWAKE, Ordering::SeqCst);
            fence(Ordering::SeqCst);
        }
    }

    /// The next run once it is handed over; `None` when there will be none.
    pub(crate) fn poll_start(&self, cx: &Context<'_>) -> Poll<Option<Box<dyn Any + Send>>> {
        self.attend(cx);
        if self.has_ended() || self.flags.load(Ordering::Acquire) & RETIRED != 0 {
            return Poll::Ready(None);
        }
        match self.take_signal() {
            Some(Signal::Start(run)) => Poll::Ready(Some(run)),
            // Between two runs no other signal is accepted, and a start stands before the rest.
            _ => Poll::Pending,
        }
    }

    pub(crate) fn take_signal(&self) -> Option<Signal<M>> {
        if self.flags.load(Ordering::Acquire) & SIGNALLED == 0 {
            return None;
        }
        let mut inner = self.inner();
        let signals = &mut inner.rare().signals;
        let signal = signals.pop_front();
        if signals.is_empty() {
            self.flags.fetch_and(!SIGNALLED, Ordering::SeqCst);
        }
        signal
    }

    /// The next message, if nothing but messages is to be seen to. On `None` find
    /// out what.
    #[inline(always)]
    pub(crate) fn message_at_hand(
        &self,
        consumer: &mut Consumer<'_, Envelope<M>>,
    ) -> Option<Envelope<M>> {
        if self.flags.load(Ordering::Acquire) & (AWAKE | SIGNALLED | KILLED) != AWAKE {
            return None;
        }
        consumer.take()
    }

    /// Begins the run `epoch`; `birth` waits for it to come to life.
    pub(crate) fn begin_run(&self, epoch: Epoch, birth: Birth) {
        let mut inner = self.inner();
        self.epoch.store(epoch.0, Ordering::Release);
        inner.phase = Phase::Running;
        inner.alive = false;
        inner.birth = Some(birth);
        drop(inner);
        if let Some(meter) = &self.breed.meter {
            meter.run_began(epoch == Epoch(1));
        }
    }

    /// Says that the run lives; false if nobody wants it any more.
    pub(crate) fn come_alive(&self) -> bool {
        let birth = self.inner().birth.take();
        let alive = birth.is_some_and(|birth| birth.send(Ok(())).is_ok());
        self.inner().alive = alive;
        alive
    }

    pub(crate) fn kill_exit(&self) -> Exit {
        self.inner().rare().kill.clone().unwrap_or(Exit::Killed)
    }

    /// Marks the cell as listed in the export table; true the first time.
    pub(crate) fn mark_exported(&self) -> bool {
        !std::mem::replace(&mut self.inner().rare().exported, true)
    }

    /// Remembers that `name` goes when the run ends; false if there is no run.
    pub(crate) fn note_name(&self, name: &str) -> bool {
        let mut inner = self.inner();
        if !matches!(inner.phase, Phase::Starting | Phase::Running) {
            return false;
        }
        inner.rare().names.push(name.to_owned());
        true
    }

    fn inner(&self) -> MutexGuard<'_, Inner<M>> {
        // No code of the user runs under this lock, so a poisoned one still holds whole data.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> std::fmt::Debug for Cell<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cell")
            .field("id", &self.id)
            .field("kind", &self.breed.kind)
            .finish_non_exhaustive()
    }
}
