//! What an actor can do while it starts or handles a message.

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::task::{AbortHandle, JoinHandle};

use crate::actor::Actor;
use crate::carrier::Monitor;
use crate::cell::{Cell, Control, Envelope, Signal};
use crate::checkpoint::Checkpointing;
use crate::delivery::Knock;
use crate::engine::Engine;
use crate::error::Why;
use crate::exit::{Down, Exit, Fault};
use crate::family::Family;
use crate::id::{ActorId, Epoch};
use crate::observe::{IS_OBSERVED, Origin};
use crate::reference::{ActorRef, Route};
use crate::run::{caught, panic_text};

/// Messages that the runtime owes an actor may exceed its mailbox by this many: timers and pipes.
pub const OWED_MESSAGES_MAX: usize = 256;

/// The actor's own side of the runtime.
pub struct Context<A: Actor> {
    pub(crate) cell: Arc<Cell<A::Msg>>,
    pub(crate) stop: Option<Box<Exit>>,
    pub(crate) checkpoint: Checkpointing,
    /// What most actors never need is not paid for by idle ones.
    rare: Option<Box<Rare<A::Msg>>>,
}

pub(crate) struct Rare<M> {
    restored: Option<Bytes>,
    device: Option<u32>,
    /// Timers and pipes end with the run.
    tasks: Vec<JoinHandle<()>>,
    /// Tasks that end by themselves once the run's state is gone, before the end is told.
    #[cfg(feature = "ractor")]
    outlasting: Vec<JoinHandle<()>>,
    /// Tells the monitors this run set that it still wants to know.
    watching: Option<Arc<()>>,
    /// The sequence number of the last checkpoint.
    pub(crate) checkpoints: u64,
    pub(crate) on_stored: Option<Box<dyn FnMut(u64) -> M + Send + Sync>>,
    pub(crate) family: Option<Box<Family>>,
    /// Where the message in hand was sent from.
    origin: Option<Origin>,
}

impl<M> Default for Rare<M> {
    fn default() -> Self {
        Self {
            restored: None,
            device: None,
            tasks: Vec::new(),
            #[cfg(feature = "ractor")]
            outlasting: Vec::new(),
            watching: None,
            checkpoints: 0,
            on_stored: None,
            family: None,
            origin: None,
        }
    }
}

impl<A: Actor> Context<A> {
    pub(crate) fn new(
        cell: Arc<Cell<A::Msg>>,
        restored: Option<Bytes>,
        device: Option<u32>,
    ) -> Self {
        // Nobody keeps those of an actor without a supervisor.
        let checkpoint = Checkpointing::new(cell.is_supervised());
        let mut ctx = Self { cell, stop: None, checkpoint, rare: None };
        if restored.is_some() {
            ctx.rare().restored = restored;
        }
        if device.is_some() {
            ctx.rare().device = device;
        }
        ctx
    }

    pub(crate) fn rare(&mut self) -> &mut Rare<A::Msg> {
        self.rare.get_or_insert_with(Box::default)
    }

    /// Keeps where the message in hand was sent from.
    pub(crate) fn keep_origin(&mut self, origin: Origin) {
        self.rare().origin = Some(origin);
    }

    #[inline]
    pub(crate) fn take_origin(&mut self) -> Option<Origin> {
        if !IS_OBSERVED {
            return None;
        }
        self.rare.as_mut()?.origin.take()
    }

    /// The actor's own address.
    #[must_use]
    pub fn me(&self) -> ActorRef<A::Msg> {
        ActorRef(Route::Here(self.cell.clone()))
    }

    /// Who it is.
    #[must_use]
    pub fn id(&self) -> ActorId {
        self.cell.id()
    }

    /// Which run this is.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.cell.epoch()
    }

    /// The engine it runs on.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.cell.engine()
    }

    /// Ends the run after the message in hand, with [`Exit::Normal`].
    pub fn stop(&mut self) {
        self.stop_with(Exit::Normal);
    }

    /// Ends the run after the message in hand.
    pub fn stop_with(&mut self, exit: Exit) {
        self.stop.get_or_insert_with(|| Box::new(exit));
    }

    /// For `start` to return: the actor is not needed, and that is no failure. The start ends with
    /// [`Exit::Ignored`]; a supervisor goes on without it.
    #[must_use = "return it from `start`"]
    pub fn ignore(&mut self) -> Fault {
        self.stop = Some(Box::new(Exit::Ignored));
        Fault::new("the actor is not needed")
    }

    /// Delivers `notice(down)` once, ahead of waiting messages, when the present run of `target`
    /// has ended; at once if there is none.
    pub fn monitor<M: Send + 'static>(
        &mut self,
        target: &ActorRef<M>,
        notice: impl FnOnce(Down) -> A::Msg + Send + 'static,
    ) {
        let (cell, epoch) = (Arc::downgrade(&self.cell), self.epoch());
        let watching = self.token();
        let on_down = Box::new(move |down| {
            if let Some(cell) = cell.upgrade() {
                // `notice` is the watcher's code: it runs in the watcher's own task.
                cell.signal_run(epoch, Signal::Notice(Box::new(move || notice(down))));
            }
        });
        target.watch(Monitor { on_down, watcher: Some(watching) });
    }

    /// Lives as long as this run wants to know of others.
    pub(crate) fn token(&mut self) -> Weak<()> {
        Arc::downgrade(self.rare().watching.get_or_insert_with(Arc::default))
    }

    /// Awaits `future` beside the mailbox and delivers what it gives as a message. It ends with
    /// the run, and the run ends with it if it panics.
    pub fn pipe<T: Send + 'static>(
        &mut self,
        future: impl IntoFuture<Output = T, IntoFuture: Send + 'static>,
        message: impl FnOnce(T) -> A::Msg + Send + 'static,
    ) {
        self.pipe_beside(future, message);
    }

    pub(crate) fn pipe_beside<T: Send + 'static>(
        &mut self,
        future: impl IntoFuture<Output = T, IntoFuture: Send + 'static>,
        message: impl FnOnce(T) -> A::Msg + Send + 'static,
    ) -> AbortHandle {
        let (cell, epoch) = (Arc::downgrade(&self.cell), self.epoch());
        let made = caught(future.into_future());
        self.beside(async move {
            let made = made.await.map(|value| catch_unwind(AssertUnwindSafe(|| message(value))));
            let Some(cell) = cell.upgrade() else { return };
            match made {
                Ok(Ok(message)) => owe(cell, Envelope::of_run(message, epoch)).await,
                Ok(Err(panic)) => {
                    let exit = Exit::Panicked(panic_text(&*panic));
                    cell.signal_run(epoch, Signal::Stop(exit));
                }
                Err(exit) => cell.signal_run(epoch, Signal::Stop(exit)),
            }
        })
    }

    /// Runs `task` until the run ends.
    pub(crate) fn beside(
        &mut self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        let task = self.engine().runtime().spawn(task);
        let handle = task.abort_handle();
        let tasks = &mut self.rare().tasks;
        if tasks.len() == tasks.capacity() {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(task);
        handle
    }

    /// Waits for `task` when the run ends, and does not abort it.
    #[cfg(feature = "ractor")]
    pub(crate) fn outlast(&mut self, task: JoinHandle<()>) {
        self.rare().outlasting.push(task);
    }

    /// The latest checkpoint that a run before this one left, if any.
    ///
    /// # Errors
    /// A fault when the bytes are not an `S`: return it, and the start fails.
    pub fn restored<S: DeserializeOwned>(&mut self) -> Result<Option<S>, Fault> {
        let restored = self.rare.as_mut().and_then(|rare| rare.restored.take());
        let Some(bytes) = restored else { return Ok(None) };
        match postcard::take_from_bytes(&bytes) {
            Ok((state, [])) => Ok(Some(state)),
            Ok(_) => Err(Fault::new("the checkpoint has bytes left over")),
            Err(error) => Err(Fault::new(format!("the checkpoint cannot be read: {error}"))),
        }
    }

    /// The number of the device of its node on which it has what it demanded; `None` if it demanded
    /// none, or was not placed by its demand.
    #[must_use]
    pub fn device(&self) -> Option<u32> {
        self.rare.as_ref()?.device
    }

    /// Asks for a checkpoint as soon as the message in hand is done, and returns its sequence
    /// number.
    pub fn checkpoint_now(&mut self) -> u64 {
        self.checkpoint.wanted = true;
        self.rare().checkpoints + 1
    }

    /// Delivers `notice(sequence)` each time the supervisor holds a checkpoint of this run: what
    /// it covers will survive the node.
    pub fn on_checkpoint_stored(
        &mut self,
        notice: impl FnMut(u64) -> A::Msg + Send + Sync + 'static,
    ) {
        self.rare().on_stored = Some(Box::new(notice));
    }
}

impl<A: Actor> Drop for Context<A> {
    fn drop(&mut self) {
        let Some(rare) = &mut self.rare else { return };
        let mut tasks = std::mem::take(&mut rare.tasks);
        let family = rare.family.take().filter(|family| family.has_children());
        tasks.retain(|task| !task.is_finished());
        for task in &tasks {
            task.abort();
        }
        #[cfg(feature = "ractor")]
        tasks.append(&mut rare.outlasting);
        if let Some(family) = family {
            tasks.push(self.engine().runtime().spawn(family.end()));
        }
        if !tasks.is_empty() {
            self.cell.leave_pipes(tasks);
        }
    }
}

/// Delivers what the runtime owes an actor.
pub(crate) async fn owe<M: Send + 'static>(cell: Arc<Cell<M>>, envelope: Envelope<M>) {
    // A mailbox that is full beyond what is owed belongs to an actor that does not keep up with
    // its own timers; waiting is then the right pace.
    if let Err((envelope, Why::Full)) = cell.push_beyond(envelope, OWED_MESSAGES_MAX) {
        let mut knock = Knock::new(cell, envelope);
        // Refused only once the actor has ended, and what it was owed with it.
        let _ = poll_fn(|cx| knock.poll(cx)).await;
    }
}

impl<A: Actor> fmt::Debug for Context<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({} {})", self.id(), self.epoch())
    }
}
