//! What an actor can do while it starts or handles a message.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::task::AbortHandle;

use crate::actor::Actor;
use crate::cell::{Cell, Control, Envelope, Signal};
use crate::engine::Engine;
use crate::exit::{Down, Exit, Fault};
use crate::id::{ActorId, Epoch};
use crate::reference::{ActorRef, Route};

/// Messages that the runtime owes an actor may exceed its mailbox by this many: timers and pipes.
pub const OWED_MESSAGES_MAX: usize = 256;

/// The actor's own side of the runtime.
pub struct Context<A: Actor> {
    pub(crate) cell: Arc<Cell<A::Msg>>,
    pub(crate) stop: Option<Exit>,
    pub(crate) checkpoint: Checkpointing<A::Msg>,
    restored: Option<Bytes>,
    /// Timers and pipes end with the run.
    tasks: Vec<AbortHandle>,
}

/// When a run is next asked for its state, and whom to tell that it is safe.
pub(crate) struct Checkpointing<M> {
    pub(crate) wanted: bool,
    pub(crate) sequence: u64,
    pub(crate) messages: u32,
    pub(crate) timed: bool,
    pub(crate) on_stored: Option<Box<dyn FnMut(u64) -> M + Send>>,
}

impl<A: Actor> Context<A> {
    pub(crate) fn new(cell: Arc<Cell<A::Msg>>, restored: Option<Bytes>) -> Self {
        let checkpoint = Checkpointing {
            wanted: false,
            sequence: 0,
            messages: 0,
            timed: false,
            on_stored: None,
        };
        Self { cell, stop: None, checkpoint, restored, tasks: Vec::new() }
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
        self.stop.get_or_insert(exit);
    }

    /// Delivers `notice(down)` once, ahead of waiting messages, when the present run of `target`
    /// has ended; at once if there is none.
    pub fn monitor<M: Send + 'static>(
        &mut self,
        target: &ActorRef<M>,
        notice: impl FnOnce(Down) -> A::Msg + Send + 'static,
    ) {
        // A monitor of a run that has ended must not reach the run after it.
        let (cell, epoch) = (Arc::downgrade(&self.cell), self.epoch());
        target.on_down(Box::new(move |down| {
            if let Some(cell) = cell.upgrade().filter(|cell| cell.epoch() == epoch) {
                cell.signal(Signal::Notice(notice(down)));
            }
        }));
    }

    /// Delivers `message` after `delay`, unless the run has ended by then.
    pub fn after(&mut self, delay: Duration, message: A::Msg) {
        self.pipe(tokio::time::sleep(delay), move |()| message);
    }

    /// Awaits `future` beside the mailbox and delivers what it gives as a message. It ends with
    /// the run.
    pub fn pipe<T: Send + 'static>(
        &mut self,
        future: impl IntoFuture<Output = T, IntoFuture: Send + 'static>,
        message: impl FnOnce(T) -> A::Msg + Send + 'static,
    ) {
        let (cell, future) = (Arc::downgrade(&self.cell), future.into_future());
        let task = self.engine().runtime().spawn(async move {
            let message = message(future.await);
            let Some(cell) = cell.upgrade() else { return };
            let envelope = Envelope { message, deadline_ms: 0, credit: 0 };
            // A mailbox that is full beyond what is owed belongs to an actor that does not keep
            // up with its own timers; waiting is then the right pace.
            if let Err((envelope, crate::error::Why::Full)) =
                cell.push_beyond(envelope, OWED_MESSAGES_MAX)
            {
                let target = ActorRef(Route::Here(cell));
                let _ = target.send(envelope.message).within(Duration::MAX / 4).await;
            }
        });
        self.tasks.retain(|task| !task.is_finished());
        self.tasks.push(task.abort_handle());
    }

    /// The latest checkpoint that a run before this one left, if any.
    ///
    /// # Errors
    /// A fault when the bytes are not an `S`: return it, and the start fails.
    pub fn restored<S: DeserializeOwned>(&mut self) -> Result<Option<S>, Fault> {
        let Some(bytes) = self.restored.take() else { return Ok(None) };
        match postcard::take_from_bytes(&bytes) {
            Ok((state, [])) => Ok(Some(state)),
            Ok(_) => Err(Fault::new("the checkpoint has bytes left over")),
            Err(error) => Err(Fault::new(format!("the checkpoint cannot be read: {error}"))),
        }
    }

    /// Asks for a checkpoint as soon as the message in hand is done, and returns its sequence
    /// number.
    pub fn checkpoint_now(&mut self) -> u64 {
        self.checkpoint.wanted = true;
        self.checkpoint.sequence + 1
    }

    /// Delivers `notice(sequence)` each time the supervisor holds a checkpoint of this run: what
    /// it covers will survive the node.
    pub fn on_checkpoint_stored(&mut self, notice: impl FnMut(u64) -> A::Msg + Send + 'static) {
        self.checkpoint.on_stored = Some(Box::new(notice));
    }
}

impl<A: Actor> Drop for Context<A> {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl<A: Actor> fmt::Debug for Context<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({} {})", self.id(), self.epoch())
    }
}
