//! The actor that carries out what the [plan](crate::strategy) decides.
//!
//! Invariants:
//! - **SV-1** It never waits for a start in its mailbox: starts run in tasks, and asking, stopping
//!   and terminating go on meanwhile.
//! - **SV-2** It ends after its children, in reverse order, also when it gives up. Only a supervisor
//!   that is killed or panics leaves at once: its children are then killed, and its next run waits for
//!   their ends (OR-1).
//! - **SV-3** A child keeps its actor id and its references over all its runs.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mobula_actors::id::ActorId;
use mobula_actors::{Actor, Context, Exit, Fault, Reply, SpawnError, Spec};
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::directory::{Directory, Reference};
use crate::dynamic::Template;
use crate::error::{SuperviseError, TreeError};
use crate::info::{Counts, Look};
use crate::intensity::Intensity;
use crate::line::{Line, News};
use crate::member::Member;
use crate::spec::{ChildSpec, INFRA_MAX, INFRA_PERIOD, SupervisorSpec};
use crate::strategy::{Key, Plan, Strategy};
use crate::supervising::Supervising;

/// Children of one supervisor, static and run-time together.
pub const CHILDREN_MAX: usize = 1_000_000;

/// What a supervisor is asked.
pub enum Msg {
    /// There are news.
    News,
    /// Add a child and start it.
    Spawn { child: ChildSpec, reply: Reply<Result<Reference, TreeError>> },
    /// Add a child that the template has made, and start it.
    StartChild { child: ChildSpec, reply: Reply<Result<Reference, TreeError>> },
    /// Stop a child of a dynamic supervisor.
    EndChild { actor: ActorId, reply: Reply<Result<(), TreeError>> },
    /// How children are made.
    Template(Reply<Option<Template>>),
    /// Stop a child.
    Terminate { id: String, reply: Reply<Result<(), TreeError>> },
    /// Start a stopped child.
    Restart { id: String, reply: Reply<Result<Reference, TreeError>> },
    /// Forget a stopped child.
    Delete { id: String, reply: Reply<Result<(), TreeError>> },
    /// List the children; of a dynamic supervisor no more than this.
    Look { dynamic_max: usize, reply: Reply<Look> },
    /// Count them.
    Count(Reply<Counts>),
    /// Where its tree keeps its children, and its own path.
    Place(Reply<(Arc<Directory>, String)>),
}

/// Starts children in order, starts them again when they end, and stops them in reverse order.
///
/// [`Supervisor::spec`] describes one, [`supervise`](crate::supervise) starts it.
pub struct Supervisor {
    pub(crate) supervising: Supervising,
    pub(crate) runtime: Handle,
    pub(crate) line: Arc<Line>,
    news: UnboundedReceiver<News>,
    pub(crate) plan: Plan,
    pub(crate) members: BTreeMap<Key, Box<Member>>,
    pub(crate) ids: HashMap<String, Key>,
    /// Of the stop of all of them.
    pub(crate) timer: Option<AbortHandle>,
    pub(crate) keys: u64,
    pub(crate) born: Instant,
    pub(crate) over: Option<Exit>,
}

impl Supervisor {
    /// Describes a supervisor without children.
    #[must_use]
    pub fn spec(strategy: Strategy) -> SupervisorSpec {
        SupervisorSpec::new(strategy)
    }

    /// The supervisor as an actor. Its start takes as long as its children's.
    pub(crate) fn actor(supervising: Supervising) -> Spec<Self> {
        <Self as Actor>::spec(supervising).start_within(Duration::MAX).shutdown_infinity()
    }
}

impl Actor for Supervisor {
    type Args = Supervising;
    type Msg = Msg;

    async fn start(supervising: Supervising, ctx: &mut Context<Self>) -> Result<Self, Fault> {
        // It hears of its children by their notices; a link must not end it.
        ctx.trap_exits();
        supervising.directory.orphans.gone().await;
        supervising.admit(ctx)?;
        let mut supervisor = Self::new(supervising, ctx);
        let spec = supervisor.supervising.spec.clone();
        for child in &spec.children {
            if let Err(error) = supervisor.start_static(child.clone()).await {
                supervisor.wind_down(Exit::Shutdown).await;
                return Err(supervisor.supervising.fail(error));
            }
        }
        let decisions = supervisor.plan.up();
        supervisor.carry_out(decisions);
        // It may have to end at once.
        supervisor.line.poke();
        Ok(supervisor)
    }

    async fn handle(&mut self, msg: Msg, ctx: &mut Context<Self>) -> Result<(), Fault> {
        match msg {
            Msg::News => self.catch_up(),
            Msg::Spawn { child, reply } => self.spawn(child, reply),
            Msg::StartChild { child, reply } => self.start_child(child, reply),
            Msg::EndChild { actor, reply } => self.end_child(actor, reply),
            Msg::Template(reply) => reply.send(self.supervising.spec.template.clone()),
            Msg::Terminate { id, reply } => self.terminate(&id, reply),
            Msg::Restart { id, reply } => self.restart(&id, reply),
            Msg::Delete { id, reply } => reply.send(self.delete(&id)),
            Msg::Look { dynamic_max, reply } => reply.send(self.look(dynamic_max)),
            Msg::Count(reply) => reply.send(self.counts()),
            Msg::Place(reply) => {
                let Supervising { directory, path, .. } = &self.supervising;
                reply.send((directory.clone(), path.clone()));
            }
        }
        if self.plan.is_ending() {
            ctx.stop_with(self.until_over().await);
        }
        Ok(())
    }

    async fn stop(mut self, exit: &Exit) {
        self.wind_down(exit.clone()).await;
    }
}

impl Supervisor {
    fn new(supervising: Supervising, ctx: &Context<Self>) -> Self {
        let (line, news) = Line::new(ctx.me());
        let (max, period) = supervising.spec.intensity;
        let infra_budget = Intensity::new(INFRA_MAX, INFRA_PERIOD);
        Self {
            plan: Plan::new(supervising.spec.strategy, Intensity::new(max, period), infra_budget)
                .auto_shutdown(supervising.spec.auto_shutdown),
            supervising,
            runtime: ctx.engine().runtime().clone(),
            line,
            news,
            members: BTreeMap::new(),
            ids: HashMap::new(),
            timer: None,
            keys: 0,
            born: Instant::now(),
            over: None,
        }
    }

    /// Adds a static child and waits until it is up.
    async fn start_static(&mut self, child: ChildSpec) -> Result<(), SuperviseError> {
        let id = child.id.clone();
        let (told, mut answer) = oneshot::channel();
        let key = self.add(child, Box::new(move |start| drop(told.send(start.map(drop)))));
        let decisions = self.plan.start(key);
        self.carry_out(decisions);
        loop {
            match answer.try_recv() {
                Ok(Ok(()) | Err(SpawnError::Start(Exit::Ignored))) => return Ok(()),
                Ok(Err(reason)) => return Err(SuperviseError::FailedToStartChild { id, reason }),
                // Children that were up already have ended too often.
                Err(_) if self.plan.is_ending() => {
                    return Err(SuperviseError::GaveUp(self.until_over().await));
                }
                Err(TryRecvError::Closed) => {
                    let reason = SpawnError::Start(Exit::Killed);
                    return Err(SuperviseError::FailedToStartChild { id, reason });
                }
                Err(TryRecvError::Empty) => {}
            }
            self.step().await;
        }
    }

    /// Waits for the next news and acts on them.
    async fn step(&mut self) {
        // The line is ours, so the queue stays open.
        if let Some(news) = self.news.recv().await {
            self.apply(news);
        }
    }

    fn catch_up(&mut self) {
        self.line.heard();
        while let Ok(news) = self.news.try_recv() {
            self.apply(news);
        }
    }

    /// Stops all children in reverse order (SV-2).
    async fn wind_down(&mut self, exit: Exit) {
        let decisions = self.plan.end(exit);
        self.carry_out(decisions);
        self.until_over().await;
    }

    async fn until_over(&mut self) -> Exit {
        loop {
            if let Some(exit) = &self.over {
                return exit.clone();
            }
            self.step().await;
        }
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Supervisor({:?}, {} children)", self.supervising.path, self.members.len())
    }
}

impl fmt::Debug for Msg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Msg")
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer.abort();
        }
        if !self.is_dynamic() {
            for member in self.members.values() {
                self.supervising.directory.remove(&self.supervising.path_of(&member.id));
            }
        }
        // The last to start is the first to be killed (SV-2).
        while let Some((_, member)) = self.members.pop_last() {
            if let Some(hold) = &member.hold {
                self.supervising.directory.orphans.leave(hold);
            }
        }
    }
}
