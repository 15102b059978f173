//! What outlives a run of an actor: its mailbox, its epoch, and those who watch it.
//!
//! A cell has two lanes. Messages wait in the queue; signals (stop, kill, notices of monitors, the
//! next run) wait in a short list that is looked at before every message.
//!
//! Invariants:
//! - **K-1** Signals overtake a full mailbox.
//! - **K-2** When a run ends, its state is dropped first; then names go; then monitors and the
//!   supervisor are told, each once.
//! - **K-3** A cell that ended for good refuses every message and answers every queued call with
//!   `Rejected(Stopped)`.
//! - **K-4** Epochs only grow.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::actor::Restart;
use crate::carrier::OnDown;
use crate::engine::Engine;
use crate::error::Why;
use crate::exit::{Down, Exit};
use crate::id::{ActorId, Epoch};
use crate::mailbox::sync::{AtomicU32, AtomicU64, Ordering, fence};
use crate::mailbox::{Consumer, Pop, PushError, Pushed, Queue};
use crate::spawner::{Notice, Watch};
use crate::wire::discarding;

/// A message in a mailbox, with what the runtime must know of it.
#[derive(Debug)]
pub(crate) struct Envelope<M> {
    pub(crate) message: M,
    /// Milliseconds of the engine's clock; 0 for none.
    pub(crate) deadline_ms: u32,
    /// Where its credit goes back; 0 for nowhere.
    pub(crate) credit: u32,
}

pub(crate) enum Signal<M> {
    /// End after the message in hand.
    Stop(Exit),
    /// A message that overtakes the queue.
    Notice(M),
    /// The supervisor holds the checkpoint with this sequence number.
    Stored(u64),
    /// Ten seconds have passed since the first message after a checkpoint.
    CheckpointDue,
    /// The next run, typed by the actor.
    Start(Box<dyn Any + Send>),
    /// There will be no next run.
    Retire,
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
    signals: VecDeque<Signal<M>>,
    monitors: Vec<OnDown>,
    supervision: Option<Supervision>,
    names: Vec<String>,
    kill: Option<Exit>,
    ended: Option<Exit>,
    /// A run has begun and not ended: a kill is meant for it.
    live: bool,
    /// No run follows the present one.
    retired: bool,
    exported: bool,
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
    /// Ends it at the next point where its handler waits; a run that has not begun does not begin.
    fn kill(&self, exit: Exit);
    /// Calls `on_down` when the present run ends; at once if the actor has ended.
    fn monitor(&self, on_down: OnDown);
    /// Hands over the next run; ignored unless the last one has ended.
    fn start_again(&self, run: Box<dyn Any + Send>);
    /// Says that there will be no next run: the cell ends with its present one, or now.
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
                signals: VecDeque::new(),
                monitors: Vec::new(),
                supervision,
                names: Vec::new(),
                kill: None,
                ended: None,
                live: false,
                retired: false,
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

    pub(crate) fn signal(&self, signal: Signal<M>) {
        let mut inner = self.inner();
        if inner.ended.is_some() {
            return;
        }
        inner.signals.push_back(signal);
        self.flags.fetch_or(SIGNALLED, Ordering::SeqCst);
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

    pub(crate) fn poll_signal(&self, cx: &Context<'_>) -> Poll<Signal<M>> {
        self.attend(cx);
        self.take_signal().map_or(Poll::Pending, Poll::Ready)
    }

    fn take_signal(&self) -> Option<Signal<M>> {
        if self.flags.load(Ordering::Acquire) & SIGNALLED == 0 {
            return None;
        }
        let mut inner = self.inner();
        let signal = inner.signals.pop_front();
        inner.live |= matches!(signal, Some(Signal::Start(_)));
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
        self.epoch.store(epoch.0, Ordering::Release);
        self.inner().live = true;
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.inner().retired
    }

    pub(crate) fn kill_exit(&self) -> Exit {
        self.inner().kill.clone().unwrap_or(Exit::Killed)
    }

    /// Tells everybody that the run is over. Its state is gone by now (K-2). `started` is false
    /// when the run never came to life: its spawner has been told already.
    pub(crate) fn end_run(&self, exit: &Exit, started: bool) {
        let epoch = self.epoch();
        let (monitors, names, supervision) = {
            let mut inner = self.inner();
            inner.live = false;
            inner.kill = None;
            self.flags.fetch_and(!KILLED, Ordering::SeqCst);
            // Stops and notices were for the run that ended; the next run is not among them yet.
            inner.signals.retain(|signal| matches!(signal, Signal::Start(_) | Signal::Retire));
            let monitors = std::mem::take(&mut inner.monitors);
            (monitors, std::mem::take(&mut inner.names), inner.supervision.clone())
        };
        self.engine.forget_names(self.id, names);
        let restarting = supervision.as_ref().is_some_and(|s| s.restart.after(exit));
        for on_down in monitors {
            on_down(Down { actor: self.id, epoch, exit: exit.clone(), restarting });
        }
        if let (Some(supervision), true) = (supervision, started) {
            supervision.watch.notice(Notice::Ended { actor: self.id, epoch, exit: exit.clone() });
        }
    }

    /// Ends the cell for good (K-3).
    pub(crate) fn close(&self, exit: &Exit) {
        // Its consumer is the task that closes it: nobody is to be woken.
        let _ = self.queue.close();
        let monitors = {
            let mut inner = self.inner();
            inner.ended = Some(exit.clone());
            inner.signals.clear();
            self.flags.fetch_and(!SIGNALLED, Ordering::SeqCst);
            std::mem::take(&mut inner.monitors)
        };
        if let Some(mut consumer) = self.queue.consumer() {
            self.drain(&mut consumer);
        }
        self.engine.unexport(self);
        for on_down in monitors {
            on_down(self.absent());
        }
    }

    fn drain(&self, consumer: &mut Consumer<'_, Envelope<M>>) {
        loop {
            match consumer.pop() {
                Pop::Value(envelope) => {
                    self.engine.return_credit(envelope.credit);
                    discarding(|| Why::Stopped, || drop(envelope));
                }
                Pop::Busy => std::thread::yield_now(),
                Pop::Empty => return,
            }
        }
    }

    /// Marks the cell as listed in the export table; true the first time.
    pub(crate) fn mark_exported(&self) -> bool {
        !std::mem::replace(&mut self.inner().exported, true)
    }

    /// Remembers that `name` goes when the run ends; false if the actor has ended already.
    pub(crate) fn note_name(&self, name: &str) -> bool {
        let mut inner = self.inner();
        if inner.ended.is_some() {
            return false;
        }
        inner.names.push(name.to_owned());
        true
    }

    fn absent(&self) -> Down {
        Down { actor: self.id, epoch: self.epoch(), exit: Exit::NoProc, restarting: false }
    }

    fn inner(&self) -> MutexGuard<'_, Inner<M>> {
        // No code of the user runs under this lock, so a poisoned one still holds whole data.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
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
        // A run that has not begun does not begin; its arguments are dropped outside the lock.
        let (starts, others) =
            inner.signals.drain(..).partition(|signal| matches!(signal, Signal::Start(_)));
        inner.signals = others;
        if inner.live {
            inner.kill.get_or_insert(exit);
            self.flags.fetch_or(KILLED, Ordering::SeqCst);
        }
        drop(inner);
        drop::<VecDeque<_>>(starts);
        self.wake();
    }

    fn monitor(&self, on_down: OnDown) {
        let mut inner = self.inner();
        if inner.ended.is_none() {
            inner.monitors.push(on_down);
            return;
        }
        drop(inner);
        on_down(self.absent());
    }

    fn start_again(&self, run: Box<dyn Any + Send>) {
        self.signal(Signal::Start(run));
    }

    fn retire(&self) {
        self.inner().retired = true;
        self.signal(Signal::Retire);
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
