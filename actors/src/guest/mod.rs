//! Actors of the crate `ractor`, unchanged, as actors of a node.
//!
//! A [`Guest`] is an ordinary actor whose state is a running ractor actor: it is spawned,
//! supervised, monitored, linked, named, stopped and killed like any other. Its mailbox is the one
//! of this crate, with its bound and its deadlines; ractor's own, which has no bound, is fed one
//! message at a time.
//!
//! ```text
//! ActorRef<W> ── mailbox ── Guest ── W into R::Msg ──> ractor's queue ── Host ── the user's R
//!                             ^                                                  │ linked to
//!                             └──────────── how it ended ────────────────────── Warden
//! ```
//!
//! - **GU-1** Of the messages that come by the mailbox, at most two are inside the guest at a time:
//!   the one it handles and one that waits behind messages which came by ractor's own ways.
//! - **GU-2** A run ends with one exit, which says how the ractor actor ended; an end is told when
//!   its task is over, so that its state is gone.
//! - **GU-3** What the guest had spawned in ractor and linked to itself is killed, as ractor does
//!   it, and gone before the end is told. A kill that comes from ractor's side is the exception:
//!   nobody waits for the rest of the family then.
//! - **GU-4** Nothing of ractor's process-wide tables is used: guests have no ractor names, groups
//!   or process ids.
//!
//! | ractor | here |
//! |---|---|
//! | stops without a reason | [`Exit::Normal`] |
//! | stops with a reason, `"Drained"` included | [`Exit::ShutdownWith`] that reason |
//! | a panic in any of its functions | [`Exit::Panicked`] |
//! | an error from any of its functions | [`Exit::Failed`] |
//! | killed, or its task aborted | [`Exit::Killed`] |
//! | an error from, or a panic in, `pre_start` | the start fails, as a native one does |
//!
//! The other way, a stop is ractor's stop: `post_stop` runs, and its failure is the run's. A kill
//! is ractor's kill: the handler is dropped where it waits, and `post_stop` does not run.
//!
//! A guest runs as ractor runs it, as a task of the engine's runtime, whatever the spec says of
//! threads: state that is bound to a thread must not be a guest's.
//!
//! ```
//! use mobula_actors::guest::ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
//! use mobula_actors::{Engine, Reply, guest};
//!
//! // A ractor actor as it is.
//! struct Counter;
//! enum CounterMessage { Add(i64), Get(RpcReplyPort<i64>) }
//!
//! impl Actor for Counter {
//!     type Msg = CounterMessage;
//!     type State = i64;
//!     type Arguments = i64;
//!     async fn pre_start(&self, _: ActorRef<CounterMessage>, n: i64) -> Result<i64, ActorProcessingErr> {
//!         Ok(n)
//!     }
//!     async fn handle(
//!         &self,
//!         _: ActorRef<CounterMessage>,
//!         message: CounterMessage,
//!         n: &mut i64,
//!     ) -> Result<(), ActorProcessingErr> {
//!         match message {
//!             CounterMessage::Add(more) => *n += more,
//!             CounterMessage::Get(port) => port.send(*n)?,
//!         }
//!         Ok(())
//!     }
//! }
//!
//! // The protocol that others speak to it, which may leave the node.
//! #[derive(serde::Serialize, serde::Deserialize)]
//! enum CounterMsg { Add(i64), Get(Reply<i64>) }
//! mobula_actors::protocol!(CounterMsg = "shop.counter/1");
//!
//! impl From<CounterMsg> for CounterMessage {
//!     fn from(msg: CounterMsg) -> Self {
//!         match msg {
//!             CounterMsg::Add(n) => Self::Add(n),
//!             CounterMsg::Get(reply) => Self::Get(guest::port(reply)),
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let engine = Engine::new(1, tokio::runtime::Handle::current());
//! let counter = engine.spawn(guest::adapted::<CounterMsg, _>(Counter, 1)).await.unwrap();
//! counter.cast(CounterMsg::Add(5)).unwrap();
//! assert_eq!(counter.call(CounterMsg::Get).await, Ok(6));
//!
//! // Without a protocol of its own, its messages are ractor's, on this node.
//! let counter = engine.spawn(guest::spec(Counter, 1)).await.unwrap();
//! assert_eq!(counter.call(|reply| CounterMessage::Get(guest::port(reply))).await, Ok(1));
//! # }
//! ```

mod answer;
mod host;
mod kin;
mod visit;
mod warden;

use std::fmt;
use std::future::pending;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::sync::{Arc, Weak};

use ::ractor::SpawnErr;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::actor::{Actor, Kind, Spec};
use crate::cell::Cell;
use crate::context::Context;
use crate::error::Why;
use crate::exit::{Exit, Fault};
use crate::id::Epoch;
use crate::wire::{Protocol, Wire};

/// The crate whose actors are guests, in the version that is understood.
pub use ::ractor;
pub use answer::{port, reply};

use host::{Caught, Host};
use visit::{Progress, Visit};
use warden::Warden;

/// A ractor actor `R` that is addressed by messages `W`: its own, unless others become them.
///
/// Made by [`spec`] or [`adapted`].
pub struct Guest<R: ractor::Actor, W = <R as ractor::Actor>::Msg> {
    ractor: ractor::ActorRef<R::Msg>,
    visit: Arc<Visit>,
    news: watch::Receiver<Progress>,
    run: (Weak<Cell<W>>, Epoch),
    takes: PhantomData<fn(W)>,
}

/// What a guest is started with: the two values that `ractor::Actor::spawn` takes.
///
/// `Clone` if both are, which restarts need; and they travel if both do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GuestArgs<R: ractor::Actor> {
    /// The actor's handler.
    pub handler: R,
    /// What its `pre_start` is given.
    pub arguments: R::Arguments,
}

/// The name under which nodes host a ractor actor, so that others can ask for it to be started.
/// Without it a guest is started on its own node only, and can be reached from others all the same.
#[diagnostic::on_unimplemented(
    message = "the ractor actor `{Self}` has no kind, so no other node can be asked to start it",
    note = "say `impl GuestKind for {Self} {{ const NAME: &'static str = \"name\"; }}`"
)]
pub trait GuestKind: ractor::Actor {
    /// The name.
    const NAME: &'static str;
}

/// A guest that takes its own messages, on this node.
pub fn spec<R: ractor::Actor>(handler: R, arguments: R::Arguments) -> Spec<Guest<R>> {
    Guest::spec(GuestArgs { handler, arguments })
}

/// A guest that takes messages `W`, each of which becomes one of its own where the guest takes it.
///
/// If `W` has a [`protocol!`](crate::protocol), references to the guest can leave the node.
pub fn adapted<W, R>(handler: R, arguments: R::Arguments) -> Spec<Guest<R, W>>
where
    R: ractor::Actor,
    W: Into<R::Msg> + Send + 'static,
{
    Guest::spec(GuestArgs { handler, arguments })
}

impl<R, W> Kind for Guest<R, W>
where
    R: GuestKind,
    W: Into<R::Msg> + Protocol,
    GuestArgs<R>: Wire,
{
    const NAME: &'static str = R::NAME;
}

impl<R, W> Actor for Guest<R, W>
where
    R: ractor::Actor,
    W: Into<R::Msg> + Send + 'static,
{
    type Args = GuestArgs<R>;
    type Msg = W;

    /// `pre_start` runs here, in the actor's own task.
    async fn start(args: GuestArgs<R>, ctx: &mut Context<Self>) -> Result<Self, Fault> {
        let visit = Arc::new(Visit::default());
        let run = (Arc::downgrade(&ctx.cell), ctx.epoch());
        let warden = Warden { run: run.clone(), visit: visit.clone() };
        let (warden, watching) = ractor::Actor::spawn(None, warden, ()).await.map_err(fault)?;
        ctx.outlast(watching);
        let warden = warden.get_cell();
        let host = Host::new(args.handler, visit.clone(), warden.clone(), &ctx.cell);
        let arrival = ractor::Actor::spawn_linked(None, host, args.arguments, warden);
        let (ractor, living) = arrival.await.map_err(fault)?;
        ctx.outlast(living);
        let news = visit.news();
        Ok(Self { ractor, visit, news, run, takes: PhantomData })
    }

    /// Returns when the guest has handled a message, or has ended (GU-1).
    async fn handle(&mut self, message: W, ctx: &mut Context<Self>) -> Result<(), Fault> {
        let before = self.news.borrow_and_update().handled;
        let sent = self.forward(message, ctx);
        let progress = self.news.wait_for(|p| p.over.is_some() || (sent && p.handled > before));
        let over = match progress.await {
            Ok(progress) => progress.over.clone(),
            Err(_) => Some(Exit::Killed),
        };
        if let Some(exit) = over {
            ctx.stop_with(exit);
        }
        Ok(())
    }

    async fn stop(mut self, _: &Exit) {
        self.ractor.stop(None);
        let over = self.news.wait_for(|progress| progress.over.is_some()).await;
        let exit = over.ok().and_then(|progress| progress.over.clone());
        if let Some(exit) = exit.filter(Exit::is_abnormal) {
            // The run ends as its guest did, and not as it was asked to.
            let (cell, epoch) = &self.run;
            if let Some(cell) = cell.upgrade() {
                cell.share_fate(*epoch, &exit);
                pending::<()>().await;
            }
        }
    }
}

impl<R, W> Guest<R, W>
where
    R: ractor::Actor,
    W: Into<R::Msg> + Send + 'static,
{
    /// Puts a message into ractor's queue; false if the guest takes no more. Then the message is
    /// dropped: it is the one that was in hand when the guest ended.
    fn forward(&self, message: W, ctx: &Context<Self>) -> bool {
        if self.ractor.get_status() >= ractor::ActorStatus::Draining {
            ctx.cell.discard(message, || Why::Stopped);
            return false;
        }
        self.ractor.send_message(message.into()).is_ok()
    }
}

/// A run that ends takes its guest with it. The context waits for the tasks (GU-2).
impl<R: ractor::Actor, W> Drop for Guest<R, W> {
    fn drop(&mut self) {
        self.visit.expect(kin::descendants(&self.ractor));
        self.ractor.kill();
    }
}

impl<R: ractor::Actor, W> fmt::Debug for Guest<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("ractor", &self.ractor).finish_non_exhaustive()
    }
}

/// Why a start failed: what `pre_start` said, or its panic, which goes on here.
fn fault(error: SpawnErr) -> Fault {
    match error {
        SpawnErr::StartupFailed(error) => match error.downcast::<Caught>() {
            Ok(caught) => match caught.0 {
                Exit::Panicked(text) => resume_unwind(Box::new(text)),
                exit => Fault::new(exit.to_string()),
            },
            Err(error) => Fault::of(&*error),
        },
        error => Fault::of(&error),
    }
}
