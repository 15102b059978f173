//! The task that runs an actor: one task for all its runs.
//!
//! Invariants:
//! - **X-1** A panic ends the run and nothing else: it is caught, the run is dropped, and only then
//!   is anybody told.
//! - **X-2** An actor yields to others after [`MESSAGES_PER_TURN`] messages.
//! - **X-3** Expired calls are dropped before they run.
//! - **X-4** A kill takes effect where the handler next waits; a handler that is dropped has not
//!   finished, and nothing of it runs again.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tracing::debug;

use crate::actor::Actor;
use crate::cell::{Cell, Control, Envelope, Next, Signal};
use crate::context::Context;
use crate::engine::Engine;
use crate::error::{SpawnError, Why};
use crate::exit::Exit;
use crate::id::Epoch;
use crate::mailbox::Consumer;
use crate::spawner::{Notice, Order};
use crate::threads::{Run, put};

/// Messages an actor handles before it lets others run.
pub const MESSAGES_PER_TURN: u32 = 128;
/// Messages between two checkpoints.
pub const CHECKPOINT_MESSAGES: u32 = 1_000;
/// How long after the first message since a checkpoint the next is due.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);
/// The largest checkpoint: bigger states belong into objects.
pub const CHECKPOINT_BYTES_MAX: usize = 16 << 20;

/// What one run starts from.
pub(crate) struct Start<A: Actor> {
    pub(crate) args: A::Args,
    pub(crate) epoch: Epoch,
    pub(crate) checkpoint: Option<Bytes>,
    pub(crate) started: Option<oneshot::Sender<Result<(), Exit>>>,
}

type Started = oneshot::Receiver<Result<(), Exit>>;

/// Makes a cell and the task that runs it.
pub(crate) fn launch<A: Actor>(
    engine: &Engine,
    args: A::Args,
    order: Order,
    run: Run,
) -> Result<(Arc<Cell<A::Msg>>, Started), SpawnError> {
    if engine.is_stopping() {
        return Err(SpawnError::Stopping);
    }
    let kind = std::any::type_name::<A>();
    let supervision = order.supervision();
    let cell = Cell::new(engine.clone(), order.id, kind, order.mailbox_messages, supervision);
    let cell = Arc::new(cell);
    let (told, started) = oneshot::channel();
    let start =
        Start { args, epoch: order.epoch, checkpoint: order.checkpoint, started: Some(told) };
    cell.begin_run(start.epoch);
    put(engine, run, &cell, live::<A>(cell.clone(), start))?;
    Ok((cell, started))
}

/// All runs of one actor, one after the other.
async fn live<A: Actor>(cell: Arc<Cell<A::Msg>>, first: Start<A>) {
    // The cell ends with its task, also when the runtime drops the task half-way.
    let guard = CloseOnDrop(cell.clone());
    let mut next = Some(first);
    while let Some(mut start) = next.take() {
        let mut birth = Birth { told: start.started.take(), alive: false };
        let exit = Guarded(Some(Box::pin(run::<A>(&cell, start, &mut birth)))).await;
        cell.pipes_gone().await;
        debug!(actor = %cell.id(), kind = cell.kind(), epoch = %cell.epoch(), %exit, "run ended");
        cell.end_run(&exit, birth.alive);
        if let Some(told) = birth.told {
            // Whoever asked for the start has gone if this fails; the end is known all the same.
            let _ = told.send(Err(exit));
        }
        next = next_run::<A>(&cell).await;
    }
    cell.close();
    drop(guard);
}

/// Waits for what the supervisor decides. `None`, at once, if there is none.
async fn next_run<A: Actor>(cell: &Cell<A::Msg>) -> Option<Start<A>> {
    let start = poll_fn(|cx| cell.poll_start(cx)).await?;
    // Only the seed that made this cell starts it again, with the same type.
    let start = *start.downcast::<Start<A>>().ok()?;
    cell.begin_run(start.epoch);
    Some(start)
}

/// Who waits for a run to come to life, and whether it has.
struct Birth {
    told: Option<oneshot::Sender<Result<(), Exit>>>,
    alive: bool,
}

impl Birth {
    /// Says that the run lives; false if nobody wants it any more.
    fn announce(&mut self) -> bool {
        self.alive = self.told.take().is_some_and(|told| told.send(Ok(())).is_ok());
        self.alive
    }
}

async fn run<A: Actor>(cell: &Arc<Cell<A::Msg>>, start: Start<A>, birth: &mut Birth) -> Exit {
    let mut ctx = Context::<A>::new(cell.clone(), start.checkpoint);
    let mut state = match until_killed(cell, A::start(start.args, &mut ctx)).await {
        Ok(Ok(actor)) => State(Some(actor)),
        Ok(Err(fault)) => return Exit::InitFailed(fault),
        Err(kill) => return kill,
    };
    if !birth.announce() {
        return Exit::Killed;
    }
    let Some(actor) = &mut state.0 else { return Exit::Killed };
    if ctx.checkpoint.wanted {
        take_checkpoint(actor, &mut ctx);
    }
    let exit = serve(actor, &mut ctx, cell).await;
    if !exit.is_abnormal()
        && let Some(actor) = state.0.take()
        && let Err(kill) = until_killed(cell, actor.stop(&exit)).await
    {
        return kill;
    }
    exit
}

/// The state of a run. A destructor that panics, be it while another panic unwinds, ends neither
/// the node nor hides why the run ended.
struct State<A>(Option<A>);

impl<A> Drop for State<A> {
    fn drop(&mut self) {
        let actor = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(actor))).is_err() {
            debug!(actor = std::any::type_name::<A>(), "the state panicked when it was dropped");
        }
    }
}

async fn serve<A: Actor>(actor: &mut A, ctx: &mut Context<A>, cell: &Arc<Cell<A::Msg>>) -> Exit {
    // Claiming fails only while another run holds the queue, and runs follow one another.
    let mut claim = cell.queue().consumer();
    let mut turn = 0;
    loop {
        let Some(consumer) = &mut claim else { return Exit::Killed };
        if let Some(exit) = ctx.stop.take() {
            return exit;
        }
        if cell.is_killed() {
            return cell.kill_exit();
        }
        if turn >= MESSAGES_PER_TURN {
            turn = 0;
            yield_once().await;
        }
        turn += 1;
        let message = match poll_fn(|cx| poll_next(cell, consumer, cx)).await {
            None => return cell.kill_exit(),
            Some(Next::Message(envelope)) => match admit(ctx, envelope) {
                Some(message) => message,
                None => continue,
            },
            Some(Next::Signal(Signal::Stop(exit))) => return exit,
            Some(Next::Signal(Signal::Notice(notice))) => notice(),
            Some(Next::Signal(Signal::Stored(sequence))) => match &mut ctx.checkpoint.on_stored {
                Some(notice) => notice(sequence),
                None => continue,
            },
            Some(Next::Signal(Signal::CheckpointDue)) => {
                ctx.checkpoint.timed = false;
                if ctx.checkpoint.messages > 0 {
                    take_checkpoint(actor, ctx);
                }
                continue;
            }
            // A run is never started over another.
            Some(Next::Signal(Signal::Start(_))) => continue,
        };
        let handled = {
            let handler = pin!(actor.handle(message, ctx));
            handle(cell, &mut claim, handler).await
        };
        if claim.is_none() {
            claim = cell.queue().consumer();
        }
        match handled {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => return Exit::Failed(fault),
            Err(kill) => return kill,
        }
        after_message(actor, ctx);
    }
}

fn poll_next<M: Send + 'static>(
    cell: &Cell<M>,
    consumer: &mut Consumer<'_, Envelope<M>>,
    cx: &TaskContext<'_>,
) -> Poll<Option<Next<M>>> {
    cell.attend(cx);
    if cell.is_killed() {
        return Poll::Ready(None);
    }
    cell.poll_next(consumer, cx).map(Some)
}

/// Gives the credit of a message back, and drops the message if its time is over or the run
/// it was for has ended (K-5).
pub(crate) fn admit<A: Actor>(ctx: &Context<A>, envelope: Envelope<A::Msg>) -> Option<A::Msg> {
    let engine = ctx.cell.engine();
    envelope.return_credit(engine);
    match envelope.refusal(ctx.epoch(), engine) {
        None => Some(envelope.message),
        Some(Why::Expired) => {
            ctx.cell.discard(envelope, || Why::Expired);
            None
        }
        Some(_) => {
            ctx.cell.discard(envelope, || Why::Stopped);
            None
        }
    }
}

fn after_message<A: Actor>(actor: &A, ctx: &mut Context<A>) {
    ctx.checkpoint.messages += 1;
    if ctx.checkpoint.wanted || ctx.checkpoint.messages >= CHECKPOINT_MESSAGES {
        take_checkpoint(actor, ctx);
    } else if !ctx.checkpoint.timed && ctx.cell.supervision().is_some() {
        ctx.checkpoint.timed = true;
        let (cell, epoch) = (Arc::downgrade(&ctx.cell), ctx.epoch());
        ctx.beside(async move {
            tokio::time::sleep(CHECKPOINT_INTERVAL).await;
            if let Some(cell) = cell.upgrade() {
                cell.signal_run(epoch, Signal::CheckpointDue);
            }
        });
    }
}

fn take_checkpoint<A: Actor>(actor: &A, ctx: &mut Context<A>) {
    ctx.checkpoint.wanted = false;
    ctx.checkpoint.messages = 0;
    let Some(supervision) = ctx.cell.supervision() else { return };
    let state = match actor.checkpoint() {
        None => return,
        Some(Ok(state)) if state.len() <= CHECKPOINT_BYTES_MAX => state,
        Some(Ok(state)) => {
            tracing::warn!(actor = %ctx.id(), bytes = state.len(), "checkpoint too large, not kept");
            return;
        }
        Some(Err(fault)) => {
            tracing::warn!(actor = %ctx.id(), %fault, "checkpoint failed, the last one stays");
            return;
        }
    };
    ctx.checkpoint.sequence += 1;
    let (sequence, cell) = (ctx.checkpoint.sequence, Arc::downgrade(&ctx.cell));
    let epoch = ctx.epoch();
    supervision.watch.notice(Notice::Checkpoint {
        actor: ctx.id(),
        epoch,
        sequence,
        state,
        stored: Box::new(move || {
            if let Some(cell) = cell.upgrade() {
                cell.signal_run(epoch, Signal::Stored(sequence));
            }
        }),
    });
}

/// Polls a handler to its end or to the kill. When it waits, the run lets go of its queue:
/// senders must see the room now, and the handler may take more messages (`Context::fill`).
async fn handle<M: Send + 'static, F: Future>(
    cell: &Cell<M>,
    claim: &mut Option<Consumer<'_, Envelope<M>>>,
    mut handler: Pin<&mut F>,
) -> Result<F::Output, Exit> {
    poll_fn(|cx| {
        if cell.is_killed() {
            return Poll::Ready(Err(cell.kill_exit()));
        }
        let polled = handler.as_mut().poll(cx).map(Ok);
        if polled.is_pending() {
            *claim = None;
        }
        polled
    })
    .await
}

async fn until_killed<M: Send + 'static, F: Future>(
    cell: &Cell<M>,
    future: F,
) -> Result<F::Output, Exit> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        cell.attend(cx);
        if cell.is_killed() {
            return Poll::Ready(Err(cell.kill_exit()));
        }
        future.as_mut().poll(cx).map(Ok)
    })
    .await
}

/// A future whose panic is a value.
pub(crate) async fn caught<F: Future>(future: F) -> Result<F::Output, Exit> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(Exit::Panicked(panic_text(&*panic)))),
    })
    .await
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A run whose panics end it: the future that panicked is dropped before the exit is seen.
struct Guarded<F>(Option<Pin<Box<F>>>);

impl<F: Future<Output = Exit>> Future for Guarded<F> {
    type Output = Exit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Exit> {
        let Some(run) = &mut self.0 else { return Poll::Pending };
        let polled = catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx)));
        let exit = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(exit)) => exit,
            Err(panic) => Exit::Panicked(panic_text(&*panic)),
        };
        let run = self.0.take();
        // What is left of the state may panic once more when it is dropped.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(run)));
        Poll::Ready(dropped.map_or_else(|panic| Exit::Panicked(panic_text(&*panic)), |()| exit))
    }
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".into())
}

struct CloseOnDrop<M: Send + 'static>(Arc<Cell<M>>);

impl<M: Send + 'static> Drop for CloseOnDrop<M> {
    fn drop(&mut self) {
        if !self.0.has_ended() {
            self.0.end_run(&Exit::Killed, true);
            self.0.close();
        }
    }
}
