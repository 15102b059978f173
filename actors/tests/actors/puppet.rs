//! An actor that does what its messages say and reports what happens to it.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mobula_actors::id::Epoch;
use mobula_actors::spawner::{Notice, Watch};
use mobula_actors::{Actor, ActorRef, Context, Down, Engine, Exit, Fault, Reply, Stuck};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// What a puppet reports, in order.
#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    Started(Epoch, Option<u32>),
    Note(u32),
    Stored(u64),
    Stopping(Exit),
    Dropped,
    Down(Down),
}

pub(crate) type Events = mpsc::UnboundedReceiver<Event>;
type Deed = Box<dyn FnOnce(&mut Puppet, &mut Context<Puppet>) -> Result<(), Fault> + Send>;
type Opening = Arc<dyn Fn(&mut Context<Puppet>) -> Result<(), Fault> + Send + Sync>;

pub(crate) enum Msg {
    Note(u32),
    Stored(u64),
    Down(Down),
    /// Says that it has begun, then waits for the other end.
    Wait(oneshot::Sender<()>, oneshot::Receiver<()>),
    Ask(Reply<u32>),
    Keep(Reply<u32>),
    Do(Deed),
}

impl Msg {
    pub(crate) fn act(
        deed: impl FnOnce(&mut Puppet, &mut Context<Puppet>) -> Result<(), Fault> + Send + 'static,
    ) -> Self {
        Self::Do(Box::new(deed))
    }
}

impl fmt::Debug for Msg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note(number) => write!(f, "Note({number})"),
            _ => f.write_str("Msg"),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) opening: Option<Opening>,
    pub(crate) stop: Option<Opening>,
    pub(crate) waits_in_start: bool,
    pub(crate) panics_in_drop: bool,
    pub(crate) checkpoint: fn(u32) -> Option<Result<Bytes, Fault>>,
}

impl Script {
    pub(crate) fn new() -> (Self, Events) {
        let (events, seen) = mpsc::unbounded_channel();
        let script = Self {
            events,
            opening: None,
            stop: None,
            waits_in_start: false,
            panics_in_drop: false,
            checkpoint: |_| None,
        };
        (script, seen)
    }

    pub(crate) fn opening(
        mut self,
        opening: impl Fn(&mut Context<Puppet>) -> Result<(), Fault> + Send + Sync + 'static,
    ) -> Self {
        self.opening = Some(Arc::new(opening));
        self
    }
}

pub(crate) struct Puppet {
    pub(crate) script: Script,
    pub(crate) sum: u32,
    pub(crate) kept: Vec<Reply<u32>>,
}

impl Puppet {
    pub(crate) fn report(&self, event: Event) {
        let _ = self.script.events.send(event);
    }
}

impl Actor for Puppet {
    type Args = Script;
    type Msg = Msg;

    async fn start(script: Script, ctx: &mut Context<Self>) -> Result<Self, Fault> {
        let sum = ctx.restored::<u32>()?;
        let _ = script.events.send(Event::Started(ctx.epoch(), sum));
        if let Some(opening) = &script.opening {
            opening(ctx)?;
        }
        if script.waits_in_start {
            std::future::pending::<()>().await;
        }
        Ok(Self { script, sum: sum.unwrap_or(0), kept: Vec::new() })
    }

    async fn handle(&mut self, msg: Msg, ctx: &mut Context<Self>) -> Result<(), Fault> {
        match msg {
            Msg::Note(number) => {
                self.sum += number;
                self.report(Event::Note(number));
            }
            Msg::Stored(sequence) => self.report(Event::Stored(sequence)),
            Msg::Down(down) => self.report(Event::Down(down)),
            Msg::Wait(begun, over) => {
                let _ = begun.send(());
                let _ = over.await;
            }
            Msg::Ask(reply) => reply.send(self.sum),
            Msg::Keep(reply) => self.kept.push(reply),
            Msg::Do(deed) => return deed(self, ctx),
        }
        Ok(())
    }

    fn checkpoint(&self) -> Option<Result<Bytes, Fault>> {
        (self.script.checkpoint)(self.sum)
    }

    async fn stop(self, exit: &Exit) {
        self.report(Event::Stopping(exit.clone()));
        if self.script.stop.is_some() {
            panic!("panic in stop");
        }
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.report(Event::Dropped);
        if self.script.panics_in_drop {
            panic!("panic in drop");
        }
    }
}

pub(crate) fn engine() -> Engine {
    Engine::new(1, Handle::current())
}

/// A started puppet whose first event has been seen.
pub(crate) async fn puppet(engine: &Engine, mailbox: usize) -> (ActorRef<Msg>, Events) {
    let (script, mut events) = Script::new();
    let puppet = engine.spawn(Puppet::spec(script).mailbox(mailbox)).await.unwrap();
    assert!(matches!(next(&mut events).await, Event::Started(_, None)));
    (puppet, events)
}

/// Busies the puppet until the sender is used or dropped.
pub(crate) async fn busy(puppet: &ActorRef<Msg>) -> oneshot::Sender<()> {
    let (begun, has_begun) = oneshot::channel();
    let (over, is_over) = oneshot::channel();
    puppet.cast(Msg::Wait(begun, is_over)).unwrap();
    soon(has_begun).await.unwrap();
    over
}

/// A port of `puppet` that turns numbers into notes.
pub(crate) async fn note_port(puppet: &ActorRef<Msg>) -> ActorRef<u32> {
    let (told, port) = oneshot::channel();
    let deed = Msg::act(move |_, ctx| {
        let _ = told.send(ctx.port(Msg::Note));
        Ok(())
    });
    puppet.cast(deed).unwrap();
    soon(port).await.unwrap()
}

/// What comes, or a failure after ten seconds.
pub(crate) async fn soon<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future.into_future())
        .await
        .expect("nothing in ten seconds")
}

pub(crate) async fn next<T>(events: &mut mpsc::UnboundedReceiver<T>) -> T {
    soon(events.recv()).await.expect("nobody is left to report")
}

/// The end of the actor's present run.
/// Hears of each handler of `engine` that keeps its thread for `limit`.
pub(crate) fn stuck_for(engine: &Engine, limit: Duration) -> mpsc::UnboundedReceiver<Stuck> {
    let (told, stuck) = mpsc::unbounded_channel();
    let tell = move |seen| {
        // Nobody listens any more.
        let _ = told.send(seen);
    };
    engine.watch_handlers(limit, tell).unwrap();
    stuck
}

pub(crate) fn down<M: Send + 'static>(target: &ActorRef<M>) -> mpsc::UnboundedReceiver<Down> {
    let (told, seen) = mpsc::unbounded_channel();
    target.on_down(Box::new(move |down| {
        let _ = told.send(down);
    }));
    seen
}

/// A supervisor that only listens.
pub(crate) struct Ear(mpsc::UnboundedSender<Notice>);

impl Ear {
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<Notice>) {
        let (told, heard) = mpsc::unbounded_channel();
        (Arc::new(Self(told)), heard)
    }
}

impl Watch for Ear {
    fn notice(&self, notice: Notice) {
        let _ = self.0.send(notice);
    }
}
