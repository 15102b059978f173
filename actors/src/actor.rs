//! What an actor is, and the spec that describes one to be started.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::carrier::{Address, Carrier};
use crate::cell::Cell;
use crate::context::Context;
use crate::demand::{Demand, Neighbour, Place, PlaceStrategy};
use crate::engine::Engine;
use crate::error::Why;
use crate::exit::{Exit, Fault};
use crate::reference::ActorRef;
use crate::threads::Run;
use crate::wire::{Outgoing, Protocol, Wire, encode};

/// Messages a mailbox holds unless its spec says otherwise.
pub const MAILBOX_MESSAGES_DEFAULT: usize = 1_024;
/// How long a start may take unless its spec says otherwise.
pub const START_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// How long a child has to stop before it is killed, unless its spec says otherwise.
pub const SHUTDOWN_DEFAULT: Duration = Duration::from_secs(5);

/// Something that owns state and handles one message at a time.
///
/// A panic or an error ends the run, never the node: everything the actor owned is dropped, then
/// those who watch it are told.
pub trait Actor: Sized + Send + 'static {
    /// What `start` is given. Children that are restarted need it to be `Clone`.
    type Args: Send + 'static;
    /// What it understands: a plain enum.
    type Msg: Send + 'static;
    /// What it runs on, unless its spec says otherwise.
    const RUN: Run = Run::Task;

    /// Makes the actor. It is alive once this returns; messages wait until then.
    ///
    /// # Errors
    /// A fault ends the run before it began: whoever spawned it is told.
    fn start(
        args: Self::Args,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = Result<Self, Fault>> + Send;

    /// Handles one message.
    ///
    /// # Errors
    /// A fault ends the run with [`Exit::Failed`].
    fn handle(
        &mut self,
        msg: Self::Msg,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// The state its next run should start from, or `None` if it keeps none: the bytes that
    /// [`Context::restored`] reads there, which are postcard's. Asked of supervised
    /// actors every 1,000 messages, 10 s after a message, and after [`Context::checkpoint_now`].
    fn checkpoint(&self) -> Option<Result<Bytes, Fault>> {
        None
    }

    /// The last word of an orderly end. Not called after a panic, a fault or a kill: clean up in
    /// `Drop`.
    fn stop(self, exit: &Exit) -> impl Future<Output = ()> + Send {
        let _ = exit;
        async {}
    }

    /// Describes an actor of this type to be started with `args`.
    fn spec(args: Self::Args) -> Spec<Self> {
        Spec::new(args)
    }
}

/// An actor type that other nodes can start: a stable name, and arguments that travel.
///
/// Written with [`kind!`](crate::kind):
///
/// ```
/// # use mobula_actors::{Actor, Context, Fault, Reply, kind, protocol};
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Ping(Reply<()>);
/// # protocol!(Ping = "shop.ping/1");
/// struct Echo;
/// # impl Actor for Echo {
/// #     type Args = ();
/// #     type Msg = Ping;
/// #     async fn start(_: (), _: &mut Context<Self>) -> Result<Self, Fault> { Ok(Echo) }
/// #     async fn handle(&mut self, ping: Ping, _: &mut Context<Self>) -> Result<(), Fault> {
/// #         ping.0.send(());
/// #         Ok(())
/// #     }
/// # }
/// kind!(Echo = "shop.echo");
///
/// let spec = Echo::spec(()).anywhere();
/// ```
///
/// Without its kind an actor starts on its own node only, and the compiler says which line is
/// missing:
///
/// ```compile_fail
/// # use mobula_actors::{Actor, Context, Fault, Reply, kind, protocol};
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Ping(Reply<()>);
/// # protocol!(Ping = "shop.ping/1");
/// struct Echo;
/// # impl Actor for Echo {
/// #     type Args = ();
/// #     type Msg = Ping;
/// #     async fn start(_: (), _: &mut Context<Self>) -> Result<Self, Fault> { Ok(Echo) }
/// #     async fn handle(&mut self, ping: Ping, _: &mut Context<Self>) -> Result<(), Fault> {
/// #         ping.0.send(());
/// #         Ok(())
/// #     }
/// # }
/// let spec = Echo::spec(()).anywhere();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no kind, so no other node can be asked to start it",
    note = "derive `Serialize` and `Deserialize` for its arguments and add `kind!({Self} = \"name\");`"
)]
pub trait Kind: Actor<Args: Wire, Msg: Protocol> {
    /// The name under which nodes host it.
    const NAME: &'static str;
}

/// Gives an actor type the stable name under which nodes host it: `kind!(Counter = "shop.counter");`
#[macro_export]
macro_rules! kind {
    ($actor:ty = $name:literal) => {
        impl $crate::Kind for $actor {
            const NAME: &'static str = $name;
        }
    };
}

/// When a supervisor starts a child again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Restart {
    /// After every end.
    #[default]
    Permanent,
    /// After an abnormal end.
    Transient,
    /// Never.
    Temporary,
}

impl Restart {
    /// Whether a child of this type is started again after `exit`.
    #[must_use]
    pub fn after(self, exit: &Exit) -> bool {
        match self {
            Self::Permanent => true,
            Self::Transient => exit.is_abnormal(),
            Self::Temporary => false,
        }
    }
}

/// What becomes of the messages that wait in a child's mailbox when it is started again. The one
/// that was being handled when it ended is dropped in any case; if it is a call, it ends
/// `Unknown(Dropped)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum OnRestart {
    /// The new run handles them.
    #[default]
    Keep,
    /// They are dropped when the new run begins: calls are `Rejected(Restarted)`, and the
    /// supervisor is told how many messages there were.
    Drop,
}

/// What becomes of a child whose run is lost while its supervisor may be the one that is cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnPartition {
    /// It is started again on its supervisor's side, also by a supervisor that is alone. The run on
    /// the other side may go on until the sides meet; then it ends with
    /// [`Exit::Fenced`](crate::Exit::Fenced). What both do outside of the cluster meanwhile is done
    /// twice.
    #[default]
    Restart,
    /// It is started elsewhere only by a supervisor whose node sees a majority of the nodes that it
    /// knows, those held dead counted with them and those that left in order not. Until then it has
    /// no run, and the tree says so. Where half of the nodes or more are lost for good, it waits until
    /// others have come in their place.
    Wait,
}

/// How a child is made to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Killed at once.
    Brutal,
    /// Asked, and killed after this long.
    After(Duration),
    /// Asked, and waited for.
    Infinity,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::After(SHUTDOWN_DEFAULT)
    }
}

/// Type state of a [`Spec`] whose actor may be started many times: its arguments are cloned.
#[derive(Debug)]
pub struct Again;
/// Type state of a [`Spec`] whose actor is started once.
#[derive(Debug)]
pub struct Once;

/// How the arguments of a spec travel to another node.
pub(crate) struct Portable<A: Actor> {
    pub(crate) kind: &'static str,
    pub(crate) encode: fn(&Arc<dyn Carrier>, &A::Args) -> Result<Outgoing, Why>,
    pub(crate) export: fn(&Engine, &Arc<Cell<A::Msg>>),
    pub(crate) refer: fn(&Engine, Arc<dyn Carrier>, Address) -> ActorRef<A::Msg>,
}

impl<A: Actor> Clone for Portable<A> {
    fn clone(&self) -> Self {
        Self { kind: self.kind, encode: self.encode, export: self.export, refer: self.refer }
    }
}

/// Describes one actor: its arguments, where it may run, and how it is supervised.
pub struct Spec<A: Actor, R = Again> {
    pub(crate) args: A::Args,
    pub(crate) settings: Settings,
    pub(crate) portable: Option<Portable<A>>,
    state: PhantomData<R>,
}

/// The part of a [`Spec`] that does not depend on the actor's type.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Messages the mailbox holds; `usize::MAX` for no bound.
    pub mailbox_messages: usize,
    /// How long a start may take.
    pub start_timeout: Duration,
    /// When a supervisor starts it again.
    pub restart: Restart,
    /// How it is made to stop.
    pub shutdown: Shutdown,
    /// What it runs on.
    pub run: Run,
    /// What it needs of its node.
    pub demand: Demand,
    /// Where it may run.
    pub place: Place,
    /// Which of the nodes with room it prefers.
    pub strategy: PlaceStrategy,
    /// Whom it should be near.
    pub near: Option<Neighbour>,
    /// Waits between restarts after code faults; `None` restarts at once, as OTP does.
    pub backoff: Option<(Duration, Duration)>,
    /// What becomes of the messages that waited during a restart.
    pub on_restart: OnRestart,
    /// What becomes of it when its supervisor may be cut off.
    pub on_partition: OnPartition,
    /// Whether its own end may end its supervisor, if that has an automatic shutdown.
    pub significant: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mailbox_messages: MAILBOX_MESSAGES_DEFAULT,
            start_timeout: START_TIMEOUT_DEFAULT,
            restart: Restart::default(),
            shutdown: Shutdown::default(),
            run: Run::default(),
            demand: Demand::default(),
            place: Place::default(),
            strategy: PlaceStrategy::default(),
            near: None,
            backoff: None,
            on_restart: OnRestart::default(),
            on_partition: OnPartition::default(),
            significant: false,
        }
    }
}

impl<A: Actor> Spec<A> {
    fn new(args: A::Args) -> Self {
        let settings = Settings { run: A::RUN, ..Settings::default() };
        Self { args, settings, portable: None, state: PhantomData }
    }
}

impl<A: Actor> Spec<A> {
    /// Is started again as `restart` says, and keeps its arguments: a temporary child described
    /// like this comes back with its supervisor, which one made with [`Spec::temporary`] cannot.
    #[must_use]
    pub fn restart(self, restart: Restart) -> Self {
        self.restarted(restart)
    }
}

impl<A: Actor, R> Spec<A, R> {
    /// Holds up to `messages` in the mailbox (default 1,024, at least 1).
    #[must_use]
    pub fn mailbox(mut self, messages: usize) -> Self {
        self.settings.mailbox_messages = messages.max(1);
        self
    }

    /// Holds any number of messages: a slow actor can then eat the node's memory.
    #[must_use]
    pub fn mailbox_unbounded(mut self) -> Self {
        self.settings.mailbox_messages = usize::MAX;
        self
    }

    /// Gives the start up to `timeout` (default 30 s).
    #[must_use]
    pub fn start_within(mut self, timeout: Duration) -> Self {
        self.settings.start_timeout = timeout;
        self
    }

    /// Runs on an operating-system thread of its own.
    #[must_use]
    pub fn on_thread(mut self) -> Self {
        self.settings.run = Run::Thread;
        self
    }

    /// Runs on the runtime's blocking threads, so that handlers may compute or block for long.
    #[must_use]
    pub fn blocking(mut self) -> Self {
        self.settings.run = Run::Blocking;
        self
    }

    /// Needs this much of its node (default nothing).
    #[must_use]
    pub fn needs(mut self, demand: Demand) -> Self {
        self.settings.demand = demand;
        self
    }

    /// Gives it `timeout` to stop before it is killed (default 5 s).
    #[must_use]
    pub fn shutdown(mut self, timeout: Duration) -> Self {
        self.settings.shutdown = Shutdown::After(timeout);
        self
    }

    /// Kills it at once when it is to stop.
    #[must_use]
    pub fn shutdown_brutal(mut self) -> Self {
        self.settings.shutdown = Shutdown::Brutal;
        self
    }

    /// Waits as long as it takes to stop.
    #[must_use]
    pub fn shutdown_infinity(mut self) -> Self {
        self.settings.shutdown = Shutdown::Infinity;
        self
    }

    /// Waits between `min` and `max`, doubling, before it is started again after a code fault.
    #[must_use]
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.settings.backoff = Some((min, max.max(min)));
        self
    }

    /// What becomes of the messages that waited during a restart (default: kept).
    #[must_use]
    pub fn on_restart(mut self, on_restart: OnRestart) -> Self {
        self.settings.on_restart = on_restart;
        self
    }

    /// What becomes of it when its supervisor may be cut off from most nodes (default: it is started
    /// again on the supervisor's side).
    #[must_use]
    pub fn on_partition(mut self, on_partition: OnPartition) -> Self {
        self.settings.on_partition = on_partition;
        self
    }

    /// Its own end may end its supervisor, if that has an automatic shutdown (default: not).
    #[must_use]
    pub fn significant(mut self) -> Self {
        self.settings.significant = true;
        self
    }

    /// Is started again after an abnormal end only.
    #[must_use]
    pub fn transient(self) -> Spec<A, Again> {
        self.restarted(Restart::Transient)
    }

    /// Is never started again; its arguments need not be `Clone`.
    #[must_use]
    pub fn temporary(self) -> Spec<A, Once> {
        self.restarted(Restart::Temporary)
    }

    /// May be started on any node that hosts its kind and has room.
    #[must_use]
    pub fn anywhere(self) -> Self
    where
        A: Kind,
    {
        self.placed(Place::Anywhere)
    }

    /// Is started on this node and no other.
    #[must_use]
    pub fn on(self, node: crate::id::NodeId) -> Self
    where
        A: Kind,
    {
        self.placed(Place::On(node))
    }

    /// May be started on any node that hosts its kind and has room, and prefers full ones, so that
    /// others stay empty. The default prefers those that are used least.
    #[must_use]
    pub fn pack(mut self) -> Self
    where
        A: Kind,
    {
        self.settings.strategy = PlaceStrategy::Pack;
        self.movable()
    }

    /// May be started on any node that hosts its kind and has room, and prefers the node where
    /// `other` is whenever it is placed. Room counts for more: a node that is a quarter emptier is
    /// taken all the same.
    #[must_use]
    pub fn near<M: Send + 'static>(mut self, other: &ActorRef<M>) -> Self
    where
        A: Kind,
    {
        self.settings.near = Some(other.as_neighbour());
        self.movable()
    }

    /// Leaves where it may run as it was said, and says anywhere if nothing was.
    fn movable(self) -> Self
    where
        A: Kind,
    {
        let place = match self.settings.place {
            Place::Here => Place::Anywhere,
            place => place,
        };
        self.placed(place)
    }

    fn placed(mut self, place: Place) -> Self
    where
        A: Kind,
    {
        self.settings.place = place;
        self.portable = Some(Portable {
            kind: A::NAME,
            encode,
            export: Engine::export_movable,
            refer: ActorRef::at,
        });
        self
    }

    fn restarted<S>(mut self, restart: Restart) -> Spec<A, S> {
        self.settings.restart = restart;
        Spec {
            args: self.args,
            settings: self.settings,
            portable: self.portable,
            state: PhantomData,
        }
    }
}

impl<A: Actor, R> std::fmt::Debug for Spec<A, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spec")
            .field("actor", &std::any::type_name::<A>())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
