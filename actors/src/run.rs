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
use tracing::{Span, debug};

use crate::actor::{Actor, OnRestart};
use crate::cell::{Birth, Cell, Control, Envelope, Signal};
use crate::checkpoint::{after_message, checkpoint_if_due, take_checkpoint};
use crate::context::Context;
use crate::engine::Engine;
use crate::error::{SpawnError, Why};
use crate::exit::{Exit, Fault};
use crate::guarded::Guarded;
use crate::id::Epoch;
use crate::mailbox::{Consumer, Rest};
use crate::spawner::{Notice, Order};
use crate::threads::{Run, put};

/// Messages an actor handles before it lets others run.
pub const MESSAGES_PER_TURN: u32 = 128;

/// What one run starts from.
pub(crate) struct Start<A: Actor> {
    pub(crate) args: A::Args,
    pub(crate) epoch: Epoch,
    pub(crate) checkpoint: Option<Bytes>,
    /// The number of its device.
    pub(crate) device: Option<u32>,
    /// Who waits for it to come to life, unless the cell knows already.
    pub(crate) born: Option<Birth>,
    /// What becomes of the messages that wait for it.
    pub(crate) on_restart: OnRestart,
}

pub(crate) type Started = oneshot::Receiver<Result<(), Exit>>;

/// Makes a cell and the task that runs it.
pub(crate) fn launch<A: Actor>(
    engine: &Engine,
    args: A::Args,
    order: Order,
    run: Run,
) -> Result<(Arc<Cell<A::Msg>>, Started), SpawnError> {
    let (id, messages, supervision) = (order.id, order.mailbox_messages, order.supervision());
    let cell = Cell::new(engine.breed::<A>(), id, messages, supervision, order.parent);
    let cell = Arc::new(if run == Run::Task { cell } else { cell.prompt() });
    let listed = Arc::downgrade(&cell);
    engine.core().actors.enter(id, listed);
    // After it was listed: an engine that stops later finds it there.
    if engine.is_stopping() {
        cell.close();
        return Err(SpawnError::Stopping);
    }
    let (told, started) = oneshot::channel();
    let Order { epoch, checkpoint, device, on_restart, .. } = order;
    let start = Box::new(Start::<A> { args, epoch, checkpoint, device, born: None, on_restart });
    cell.begin_run(epoch, told);
    put(engine, run, &cell, live(CloseOnDrop(cell.clone()), Some(start)))?;
    Ok((cell, started))
}

/// Waits until a start has come to its end, at most for `timeout`.
pub(crate) async fn come_alive(mut started: Started, timeout: Duration) -> Result<(), SpawnError> {
    // Most starts are over with their first poll, which was the spawner's: no clock has to be read.
    if let Ok(told) = started.try_recv() {
        return told.map_err(SpawnError::Start);
    }
    match tokio::time::timeout(timeout, started).await {
        Ok(Ok(told)) => told.map_err(SpawnError::Start),
        Ok(Err(_)) => Err(SpawnError::Stopping),
        Err(_) => Err(SpawnError::Deadline {
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        }),
    }
}

/// All runs of one actor, one after the other. The cell ends with its task, also when the runtime
/// drops the task half-way.
///
/// This and what it awaits are functions that return `async` blocks: the arguments of an
/// `async fn` are kept twice, and every idle actor would pay for that.
#[expect(clippy::manual_async_fn, reason = "its arguments must not be kept twice, see `live`")]
fn live<A: Actor>(
    guard: CloseOnDrop<A::Msg>,
    mut next: Option<Box<Start<A>>>,
) -> impl Future<Output = ()> + Send {
    async move {
        while let Some(start) = next.take() {
            let exit = {
                let running = pin!(Some(run(&guard.0, start)));
                Guarded::new(running, &guard.0).await
            };
            guard.0.pipes_gone().await;
            over(&guard.0, exit);
            next = next_run(&guard.0).await;
        }
        guard.0.close();
    }
}

fn over<M: Send + 'static>(cell: &Cell<M>, exit: Box<Exit>) {
    debug!(actor = %cell.id(), kind = cell.kind(), epoch = %cell.epoch(), %exit, "run ended");
    cell.end_run(&exit);
}

/// Waits for what the supervisor decides. `None`, at once, if there is none.
async fn next_run<A: Actor>(cell: &Cell<A::Msg>) -> Option<Box<Start<A>>> {
    let start = poll_fn(|cx| cell.poll_start(cx)).await?;
    // Only the seed that made this cell starts it again, with the same type.
    let mut start = start.downcast::<Start<A>>().ok()?;
    if start.on_restart == OnRestart::Drop {
        drop_waiting(cell, start.epoch);
    }
    cell.begin_run(start.epoch, start.born.take()?);
    Some(start)
}

/// Drops the messages that were left for a run, and says how many they were.
fn drop_waiting<M: Send + 'static>(cell: &Cell<M>, epoch: Epoch) {
    let messages = cell.drop_waiting();
    if let (Some(supervision), true) = (cell.supervision(), messages > 0) {
        supervision.watch.notice(Notice::Dropped { actor: cell.id(), epoch, messages });
    }
}

/// One run, from `start` to the last word. Its exit is boxed, and what happens between two waits is
/// in functions of its own: an idle actor pays for all that a wait could lie beside.
#[expect(clippy::manual_async_fn, reason = "its arguments must not be kept twice, see `live`")]
fn run<A: Actor>(
    cell: &Arc<Cell<A::Msg>>,
    start: Box<Start<A>>,
) -> impl Future<Output = Box<Exit>> + Send {
    async move {
        let (mut ctx, args) = prepare(cell, start);
        let born = {
            let starting = pin!(A::start(args, &mut ctx));
            until_killed(cell, starting).await
        };
        let mut state = match alive(born, &mut ctx) {
            Ok(state) => state,
            Err(exit) => return exit,
        };
        let Some(actor) = &mut state.0 else { return Box::new(Exit::Killed) };
        let exit = serve(actor, &mut ctx, cell).await;
        if exit.is_abnormal() {
            return exit;
        }
        let Some(actor) = state.0.take() else { return exit };
        let stopped = {
            let stopping = pin!(actor.stop(&exit));
            until_killed(cell, stopping).await
        };
        stopped.map_or_else(Box::new, |()| exit)
    }
}

#[expect(clippy::boxed_local, reason = "unpacked here, it has no place in the coroutine")]
fn prepare<A: Actor>(cell: &Arc<Cell<A::Msg>>, start: Box<Start<A>>) -> (Context<A>, A::Args) {
    let Start { args, checkpoint, device, .. } = *start;
    (Context::new(cell.clone(), checkpoint, device), args)
}

/// What a start came to: the state of a run that lives, or the end of one that does not.
fn alive<A: Actor>(
    born: Result<Result<A, Fault>, Exit>,
    ctx: &mut Context<A>,
) -> Result<State<A>, Box<Exit>> {
    let actor = match born.map_err(Box::new)? {
        Ok(actor) => actor,
        Err(_) if ctx.stop.as_deref() == Some(&Exit::Ignored) => {
            return Err(Box::new(Exit::Ignored));
        }
        Err(fault) => return Err(Box::new(Exit::InitFailed(fault))),
    };
    let state = State(Some(actor));
    if !ctx.cell.come_alive() {
        return Err(Box::new(Exit::Killed));
    }
    if let (true, Some(actor)) = (ctx.checkpoint.wanted, &state.0) {
        take_checkpoint(actor, ctx);
    }
    Ok(state)
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

#[expect(clippy::manual_async_fn, reason = "its arguments must not be kept twice, see `live`")]
fn serve<A: Actor>(
    actor: &mut A,
    ctx: &mut Context<A>,
    cell: &Cell<A::Msg>,
) -> impl Future<Output = Box<Exit>> + Send {
    async move {
        // Claiming fails only while another run holds the queue, and runs follow one another.
        let mut claim = cell.queue().consumer();
        let mut turn = 0;
        loop {
            let Some(consumer) = &mut claim else { return Box::new(Exit::Killed) };
            let message = match message_at_hand(ctx, cell, consumer, &mut turn) {
                Some(message) => message,
                None => {
                    let idle = poll_fn(|cx| poll_idle(actor, ctx, cell, consumer, &mut turn, cx));
                    match idle.await {
                        Ok(Some(notice)) => notice,
                        Ok(None) => continue,
                        Err(exit) => return exit,
                    }
                }
            };
            cell.count_handled(1);
            let span = ctx.take_origin().map(|origin| origin.handling(cell));
            let handled = {
                let handler = pin!(actor.handle(message, ctx));
                handle(cell, &mut claim, span, handler).await
            };
            if claim.is_none() {
                claim = cell.queue().consumer();
            }
            match handled {
                Ok(Ok(())) => {}
                Ok(Err(fault)) => return Box::new(Exit::Failed(fault)),
                Err(kill) => return Box::new(kill),
            }
            if ctx.checkpoint.kept {
                after_message(actor, ctx);
            }
        }
    }
}

/// The next message, where that takes no more than a look: nothing else is to be seen to.
#[inline(always)]
fn message_at_hand<A: Actor>(
    ctx: &mut Context<A>,
    cell: &Cell<A::Msg>,
    consumer: &mut Consumer<'_, Envelope<A::Msg>>,
    turn: &mut u32,
) -> Option<A::Msg> {
    if *turn >= MESSAGES_PER_TURN || ctx.stop.is_some() {
        return None;
    }
    let envelope = cell.message_at_hand(consumer)?;
    *turn += 1;
    admit(ctx, envelope)
}

/// Sees to all that is not a message, and waits for one. `Ok(None)`: look for messages again;
/// `Ok(Some)`: a signal turned out to be one; `Err`: how the run ends.
fn poll_idle<A: Actor>(
    actor: &mut A,
    ctx: &mut Context<A>,
    cell: &Cell<A::Msg>,
    consumer: &mut Consumer<'_, Envelope<A::Msg>>,
    turn: &mut u32,
    cx: &TaskContext<'_>,
) -> Poll<Result<Option<A::Msg>, Box<Exit>>> {
    cell.attend(cx);
    loop {
        if let Some(exit) = ctx.stop.take() {
            return Poll::Ready(Err(exit));
        }
        if ctx.checkpoint.due_ms != 0 {
            checkpoint_if_due(actor, ctx);
        }
        if *turn >= MESSAGES_PER_TURN {
            *turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if cell.is_killed() {
            return Poll::Ready(Err(Box::new(cell.kill_exit())));
        }
        if let Some(signal) = cell.take_signal() {
            *turn += 1;
            match signal {
                Signal::Stop(exit) => return Poll::Ready(Err(Box::new(exit))),
                signal => match heed(ctx, signal) {
                    Some(message) => return Poll::Ready(Ok(Some(message))),
                    None => continue,
                },
            }
        }
        match consumer.rest() {
            Rest::Awake => return Poll::Ready(Ok(None)),
            Rest::Asleep => return Poll::Pending,
            Rest::Busy => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }
}

/// Does what a signal asks for; some are a message in the end.
fn heed<A: Actor>(ctx: &mut Context<A>, signal: Signal<A::Msg>) -> Option<A::Msg> {
    match signal {
        Signal::Notice(notice) => Some(notice()),
        Signal::Stored(sequence) => {
            let message = ctx.rare().on_stored.as_mut().map(|notice| notice(sequence));
            // It is no news to the next checkpoint, else each would be the reason for one more.
            ctx.checkpoint.skipped |= message.is_some();
            message
        }
        // A stop ends the run, and a run is never started over another.
        Signal::Stop(_) | Signal::Start(_) => None,
    }
}

/// Gives the credit of a message back, and drops the message if its time is over or the run
/// it was for has ended (K-5).
#[inline(always)]
pub(crate) fn admit<A: Actor>(
    ctx: &mut Context<A>,
    mut envelope: Envelope<A::Msg>,
) -> Option<A::Msg> {
    if !envelope.is_plain()
        && let Some(why) = refusal(ctx, &mut envelope)
    {
        refuse(ctx, envelope, why);
        return None;
    }
    Some(envelope.message)
}

fn refusal<A: Actor>(ctx: &mut Context<A>, envelope: &mut Envelope<A::Msg>) -> Option<Why> {
    let engine = ctx.cell.engine();
    let origin = envelope.origin(engine);
    envelope.return_credit(engine);
    let why = envelope.refusal(ctx.epoch(), engine);
    if let (None, Some(origin)) = (&why, origin) {
        ctx.keep_origin(origin);
    }
    why
}

#[cold]
fn refuse<A: Actor>(ctx: &Context<A>, envelope: Envelope<A::Msg>, why: Why) {
    ctx.cell.discard(envelope, if why == Why::Expired { || Why::Expired } else { || Why::Stopped });
}

/// Polls a handler to its end or to the kill. When it waits, the run lets go of its queue:
/// senders must see the room now, and the handler may take more messages (`Context::fill`).
fn handle<M: Send + 'static, F: Future>(
    cell: &Cell<M>,
    claim: &mut Option<Consumer<'_, Envelope<M>>>,
    span: Option<Box<Span>>,
    mut handler: Pin<&mut F>,
) -> impl Future<Output = Result<F::Output, Exit>> {
    poll_fn(move |cx| {
        if cell.is_killed() {
            return Poll::Ready(Err(cell.kill_exit()));
        }
        let inside = span.as_deref().map(Span::enter);
        let polled = handler.as_mut().poll(cx).map(Ok);
        drop(inside);
        if polled.is_pending() {
            *claim = None;
        }
        polled
    })
}

fn until_killed<M: Send + 'static, F: Future>(
    cell: &Cell<M>,
    mut future: Pin<&mut F>,
) -> impl Future<Output = Result<F::Output, Exit>> {
    poll_fn(move |cx| {
        cell.attend(cx);
        if cell.is_killed() {
            return Poll::Ready(Err(cell.kill_exit()));
        }
        future.as_mut().poll(cx).map(Ok)
    })
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

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".into())
}

struct CloseOnDrop<M: Send + 'static>(Arc<Cell<M>>);

impl<M: Send + 'static> Drop for CloseOnDrop<M> {
    fn drop(&mut self) {
        if !self.0.has_ended() {
            self.0.end_run(&Exit::Killed);
            self.0.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Reply;

    enum Ask {
        Add(u64),
        Get(Reply<u64>),
    }
    struct Small(u64);

    impl Actor for Small {
        type Args = u64;
        type Msg = Ask;
        async fn start(n: u64, _: &mut Context<Self>) -> Result<Self, Fault> {
            Ok(Self(n))
        }
        async fn handle(&mut self, ask: Ask, _: &mut Context<Self>) -> Result<(), Fault> {
            match ask {
                Ask::Add(n) => self.0 += n,
                Ask::Get(reply) => reply.send(self.0),
            }
            Ok(())
        }
    }

    fn size_of_made<T, A, B>(_: fn(A, B) -> T) -> usize {
        size_of::<T>()
    }

    // Measured with glibc: 618 B of resident memory per idle actor.
    #[tokio::test]
    async fn an_idle_actor_is_small() {
        /// Its state, who awaits it, how it is polled, and its scheduler.
        const TASK_HEAD: usize = 40;
        const ARC_HEAD: usize = 16;
        assert!(size_of_made(live::<Small>) + TASK_HEAD <= 328);
        assert!(size_of::<Cell<Ask>>() + ARC_HEAD <= 232);
        // And it is an actor.
        let engine = Engine::new(1, tokio::runtime::Handle::current());
        let small = engine.spawn(Small::spec(1)).await.unwrap();
        small.cast(Ask::Add(2)).unwrap();
        assert_eq!(small.call(Ask::Get).await, Ok(3));
    }
}
