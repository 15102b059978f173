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

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use tokio::task::JoinHandle;

use crate::actor::Restart;
use crate::carrier::OnDown;
use crate::engine::Engine;
use crate::error::Why;
use crate::exit::{Down, Exit};
use crate::id::{ActorId, Epoch};
use crate::mailbox::sync::{AtomicU32, AtomicU64, Ordering, fence};
use crate::mailbox::{Consumer, Pop, PushError, Pushed, Queue};
use crate::spawner::{Notice, Watch};
use crate::wire::discarding_by;

/// A message in a mailbox, with what the runtime must know of it.
#[derive(Debug)]
pub(crate) struct Envelope<M> {
    pub(crate) message: M,
    /// Milliseconds of the engine's clock; 0 for none.
    pub(crate) deadline_ms: u32,
    /// Where its credit goes back; 0 for nowhere.
    pub(crate) credit: u32,
}

/// In place of a credit: the message is for one run only, whose number stands where the deadline
/// would. Such messages are made here and have neither.
const OF_ONE_RUN: u32 = u32::MAX;

impl<M> Envelope<M> {
    pub(crate) fn new(message: M, deadline_ms: u32) -> Self {
        Self { message, deadline_ms, credit: 0 }
    }

    /// A message that no run but `epoch` may see.
    pub(crate) fn of_run(message: M, epoch: Epoch) -> Self {
        Self { message, deadline_ms: epoch.0 as u32, credit: OF_ONE_RUN }
    }

    /// Why the run `epoch` must not handle it, if so.
    pub(crate) fn refusal(&self, epoch: Epoch, engine: &Engine) -> Option<Why> {
        match self.credit {
            OF_ONE_RUN => (self.deadline_ms != epoch.0 as u32).then_some(Why::Stopped),
            _ => engine.has_passed(self.deadline_ms).then_some(Why::Expired),
        }
    }

    /// Says that it has left the mailbox.
    pub(crate) fn return_credit(&self, engine: &Engine) {
        if self.credit != OF_ONE_RUN {
            engine.return_credit(self.credit);
        }
    }
}

pub(crate) enum Signal<M> {
    /// End after the message in hand.
    Stop(Exit),
    /// A message that overtakes the queue, made by the actor's own code.
    Notice(Box<dyn FnOnce() -> M + Send>),
    /// The supervisor holds the checkpoint with this sequence number.
    Stored(u64),
    /// Ten seconds have passed since the first message after a checkpoint.
    CheckpointDue,
    /// The next run, typed by the actor.
    Start(Box<dyn Any + Send>),
}

/// What a run takes from its cell next.
pub(crate) enum Next<M> {
    Signal(Signal<M>),
    Message(Envelope<M>),
}

const SIGNALLED: u32 = 1;
const KILLED: u32 = 2;
/// The run has a waker: needed once, since all runs of a cell share one task.
const AWAKE: u32 = 4;
/// A stop waits among the signals; one is enough.
const STOPPING: u32 = 8;
/// There will be no next run.
const RETIRED: u32 = 16;

pub(crate) struct Cell<M> {
    id: ActorId,
    kind: &'static str,
    engine: Engine,
    queue: Queue<Envelope<M>>,
    flags: AtomicU32,
    epoch: AtomicU64,
    waker: OnceLock<Waker>,
    inner: Mutex<Inner<M>>,
}

struct Inner<M> {
    phase: Phase,
    signals: VecDeque<Signal<M>>,
    monitors: Vec<Monitor>,
    supervision: Option<Supervision>,
    names: Vec<String>,
    kill: Option<Exit>,
    /// Pipes of a run that ends, until they are gone.
    pipes: Vec<JoinHandle<()>>,
    exported: bool,
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

/// Whom to tell of the end of the present run.
pub(crate) struct Monitor {
    pub(crate) on_down: OnDown,
    /// Dead when nobody wants to know any more; `None` for a watcher that lasts.
    pub(crate) watcher: Option<Weak<()>>,
}

impl Monitor {
    fn is_forgotten(&self) -> bool {
        self.watcher.as_ref().is_some_and(|watcher| watcher.strong_count() == 0)
    }

    fn tell(self, down: Down) {
        let (actor, on_down) = (down.actor, self.on_down);
        if catch_unwind(AssertUnwindSafe(|| on_down(down))).is_err() {
            tracing::warn!(%actor, "a monitor panicked");
        }
    }
}

/// Who decides what happens after a run.
#[derive(Clone)]
pub(crate) struct Supervision {
    pub(crate) watch: Arc<dyn Watch>,
    pub(crate) restart: Restart,
}

/// The untyped face of a cell: what can be done to an actor without knowing its messages.
pub trait Control: Send + Sync + 'static {
    /// Who it is.
    fn id(&self) -> ActorId;
    /// Its run, or the last one it had.
    fn epoch(&self) -> Epoch;
    /// The name of its kind.
    fn kind(&self) -> &'static str;
    /// Whether it has ended and is not started again.
    fn has_ended(&self) -> bool;
    /// Messages waiting.
    fn backlog(&self) -> usize;
    /// Asks it to end after the message in hand.
    fn stop(&self, exit: Exit);
    /// Ends its run at the next point where its handler waits.
    fn kill(&self, exit: Exit);
    /// Calls `on_down` when the present run ends; at once, with [`Exit::NoProc`], if there is none.
    fn monitor(&self, on_down: OnDown);
    /// Hands over the next run; ignored unless the last one has ended.
    fn start_again(&self, run: Box<dyn Any + Send>);
    /// Says that there will be no next run: the actor has ended for good when the present one
    /// ends, or at once between two runs.
    fn retire(&self);
    /// The supervisor holds its checkpoint `sequence`.
    fn stored(&self, sequence: u64);
    /// For whoever knows its messages.
    fn as_any_arc(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<M: Send + 'static> Cell<M> {
    pub(crate) fn new(
        engine: Engine,
        id: ActorId,
        kind: &'static str,
        mailbox_messages: usize,
        supervision: Option<Supervision>,
    ) -> Self {
        let queue = match mailbox_messages {
            usize::MAX => Queue::unbounded(),
            bound => Queue::bounded(bound),
        };
        Self {
            id,
            kind,
            engine,
            queue,
            flags: AtomicU32::new(0),
            epoch: AtomicU64::new(0),
            waker: OnceLock::new(),
            inner: Mutex::new(Inner {
                phase: Phase::Starting,
                signals: VecDeque::new(),
                monitors: Vec::new(),
                supervision,
                names: Vec::new(),
                kill: None,
                pipes: Vec::new(),
                exported: false,
            }),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn queue(&self) -> &Queue<Envelope<M>> {
        &self.queue
    }

    pub(crate) fn supervision(&self) -> Option<Supervision> {
        self.inner().supervision.clone()
    }

    /// Enqueues without waiting.
    pub(crate) fn push(&self, envelope: Envelope<M>) -> Result<(), (Envelope<M>, Why)> {
        self.pushed(self.queue.push(envelope))
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

    pub(crate) fn after_push(&self, pushed: Pushed) {
        if matches!(pushed, Pushed::WakeConsumer) {
            self.wake();
        }
    }

    /// For the present run, or the one that is about to start; nothing happens without one.
    fn signal(&self, signal: Signal<M>) {
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
        inner.signals.push_back(signal);
        self.flags.fetch_or(set, Ordering::SeqCst);
        drop(inner);
        self.wake();
    }

    /// Wakes the task. It finds every flag set before the call: the fence pairs with the one after
    /// the waker is first stored.
    fn wake(&self) {
        fence(Ordering::SeqCst);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.flags.load(Ordering::Acquire) & KILLED != 0
    }

    /// Stores the task's waker before anything is looked at. One task runs all runs, so the first
    /// waker stays right.
    pub(crate) fn attend(&self, cx: &Context<'_>) {
        if self.flags.load(Ordering::Relaxed) & AWAKE == 0 {
            let _ = self.waker.set(cx.waker().clone());
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

    fn take_signal(&self) -> Option<Signal<M>> {
        if self.flags.load(Ordering::Acquire) & SIGNALLED == 0 {
            return None;
        }
        let mut inner = self.inner();
        let signal = inner.signals.pop_front();
        if inner.signals.is_empty() {
            self.flags.fetch_and(!SIGNALLED, Ordering::SeqCst);
        }
        signal
    }

    pub(crate) fn poll_next(
        &self,
        consumer: &mut Consumer<'_, Envelope<M>>,
        cx: &Context<'_>,
    ) -> Poll<Next<M>> {
        self.attend(cx);
        loop {
            if let Some(signal) = self.take_signal() {
                return Poll::Ready(Next::Signal(signal));
            }
            match consumer.pop() {
                Pop::Value(envelope) => return Poll::Ready(Next::Message(envelope)),
                Pop::Busy => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Pop::Empty => {
                    if consumer.sleep() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Begins the run `epoch`.
    pub(crate) fn begin_run(&self, epoch: Epoch) {
        let mut inner = self.inner();
        self.epoch.store(epoch.0, Ordering::Release);
        inner.phase = Phase::Running;
    }

    pub(crate) fn kill_exit(&self) -> Exit {
        self.inner().kill.clone().unwrap_or(Exit::Killed)
    }

    /// Takes over the pipes of a run that ends.
    pub(crate) fn leave_pipes(&self, pipes: Vec<JoinHandle<()>>) {
        self.inner().pipes = pipes;
    }

    /// Waits until the pipes of the run that ended are dropped (K-2). They were aborted, so this
    /// takes until each next waits.
    pub(crate) async fn pipes_gone(&self) {
        let pipes = std::mem::take(&mut self.inner().pipes);
        for pipe in pipes {
            // An error says that it was aborted.
            let _ = pipe.await;
        }
    }

    /// Tells everybody that the run is over. Its state is gone by now (K-2). `alive` is false when
    /// the run never came to life: its spawner is told instead of the supervisor.
    pub(crate) fn end_run(&self, exit: &Exit, alive: bool) {
        let epoch = self.epoch();
        let (signals, monitors, names, supervision, restarting) = {
            let mut inner = self.inner();
            if !matches!(inner.phase, Phase::Running | Phase::Starting) {
                return;
            }
            let supervision = inner.supervision.clone();
            let restarting = supervision.as_ref().is_some_and(|s| s.restart.after(exit));
            inner.phase = Phase::Between { restarting };
            inner.kill = None;
            self.flags.fetch_and(!(KILLED | STOPPING | SIGNALLED), Ordering::SeqCst);
            let signals = std::mem::take(&mut inner.signals);
            let monitors = std::mem::take(&mut inner.monitors);
            (signals, monitors, std::mem::take(&mut inner.names), supervision, restarting)
        };
        self.discard(signals, || Why::Stopped);
        self.engine.forget_names(self.id, names);
        if supervision.is_none() {
            self.close();
        }
        for monitor in monitors {
            monitor.tell(Down { actor: self.id, epoch, exit: exit.clone(), restarting });
        }
        if let (Some(supervision), true) = (supervision, alive) {
            supervision.watch.notice(Notice::Ended { actor: self.id, epoch, exit: exit.clone() });
        }
    }

    /// Ends the cell for good (K-3). Idempotent.
    pub(crate) fn close(&self) {
        // Its consumer is the task that closes it: nobody is to be woken.
        let _ = self.queue.close();
        let signals = {
            let mut inner = self.inner();
            inner.phase = Phase::Ended;
            self.flags.fetch_and(!SIGNALLED, Ordering::SeqCst);
            std::mem::take(&mut inner.signals)
        };
        self.discard(signals, || Why::Stopped);
        if let Some(mut consumer) = self.queue.consumer() {
            self.drain(&mut consumer);
        }
        self.engine.unexport(self.id);
    }

    fn drain(&self, consumer: &mut Consumer<'_, Envelope<M>>) {
        loop {
            match consumer.pop() {
                Pop::Value(envelope) => {
                    envelope.return_credit(&self.engine);
                    self.discard(envelope, || Why::Stopped);
                }
                Pop::Busy => std::thread::yield_now(),
                Pop::Empty => return,
            }
        }
    }

    /// Drops what did not run. A destructor that panics is of no concern to the runtime (K-6).
    pub(crate) fn discard<T>(&self, dropped: T, why: fn() -> Why) {
        let drop_it = || discarding_by(Some(self.id), why, || drop(dropped));
        if catch_unwind(AssertUnwindSafe(drop_it)).is_err() {
            tracing::warn!(actor = %self.id, "a message panicked when it was dropped");
        }
    }

    /// Tells `monitor` of the end of the present run, or at once that there is none.
    pub(crate) fn watch(&self, monitor: Monitor) {
        let mut inner = self.inner();
        let restarting = match inner.phase {
            Phase::Starting | Phase::Running => {
                let forgotten = inner.forgotten_monitors();
                inner.monitors.push(monitor);
                drop(inner);
                drop(forgotten);
                return;
            }
            Phase::Between { restarting } => restarting,
            Phase::Ended => false,
        };
        drop(inner);
        let exit = Exit::NoProc;
        monitor.tell(Down { actor: self.id, epoch: self.epoch(), exit, restarting });
    }

    /// Marks the cell as listed in the export table; true the first time.
    pub(crate) fn mark_exported(&self) -> bool {
        !std::mem::replace(&mut self.inner().exported, true)
    }

    /// Remembers that `name` goes when the run ends; false if there is no run.
    pub(crate) fn note_name(&self, name: &str) -> bool {
        let mut inner = self.inner();
        if !matches!(inner.phase, Phase::Starting | Phase::Running) {
            return false;
        }
        inner.names.push(name.to_owned());
        true
    }

    fn inner(&self) -> MutexGuard<'_, Inner<M>> {
        // No code of the user runs under this lock, so a poisoned one still holds whole data.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> Inner<M> {
    /// Takes out the monitors nobody waits for, each time the list would grow: so it holds at most
    /// twice as many as somebody waits for.
    fn forgotten_monitors(&mut self) -> Vec<Monitor> {
        if self.monitors.len() < self.monitors.capacity() {
            return Vec::new();
        }
        self.monitors.extract_if(.., |monitor| monitor.is_forgotten()).collect()
    }
}

impl<M: Send + 'static> Control for Cell<M> {
    fn id(&self) -> ActorId {
        self.id
    }

    fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    fn kind(&self) -> &'static str {
        self.kind
    }

    fn has_ended(&self) -> bool {
        self.queue.is_closed()
    }

    fn backlog(&self) -> usize {
        self.queue.len()
    }

    fn stop(&self, exit: Exit) {
        self.signal(Signal::Stop(exit));
    }

    fn kill(&self, exit: Exit) {
        let mut inner = self.inner();
        if !matches!(inner.phase, Phase::Starting | Phase::Running) {
            return;
        }
        inner.kill.get_or_insert(exit);
        self.flags.fetch_or(KILLED, Ordering::SeqCst);
        drop(inner);
        self.wake();
    }

    fn monitor(&self, on_down: OnDown) {
        self.watch(Monitor { on_down, watcher: None });
    }

    fn start_again(&self, run: Box<dyn Any + Send>) {
        let mut inner = self.inner();
        if !matches!(inner.phase, Phase::Between { .. }) {
            return;
        }
        inner.phase = Phase::Starting;
        inner.signals.push_back(Signal::Start(run));
        self.flags.fetch_or(SIGNALLED, Ordering::SeqCst);
        drop(inner);
        self.wake();
    }

    fn retire(&self) {
        self.flags.fetch_or(RETIRED, Ordering::SeqCst);
        self.wake();
    }

    fn stored(&self, sequence: u64) {
        self.signal(Signal::Stored(sequence));
    }

    fn as_any_arc(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl<M> std::fmt::Debug for Cell<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cell")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
