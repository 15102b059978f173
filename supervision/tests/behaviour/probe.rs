//! A child that does what a test tells it, writes down what happens to it, and a tree of such.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use mobula_actors::{Actor, ActorRef, Context, Engine, Exit, Fault, Reply, Spec};
use mobula_supervision::{
    ChildState, Event, Strategy, SuperviseError, Supervisor, SupervisorSpec, Tree, supervise,
};
use tokio::sync::{Notify, mpsc};

/// What a run does when it starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Begin {
    Up,
    Slow(Duration),
    Fail,
    Hang,
    /// It is not needed.
    Ignore,
    /// It comes up, and ends at once.
    Brief,
    Panic,
    /// It needs this name on its node.
    Named(&'static str),
}

/// What a run does when it is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Finish {
    Orderly,
    Slow(Duration),
    Hang,
    Panic,
}

#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) log: Log,
    pub(crate) begin: Arc<dyn Fn(u64) -> Begin + Send + Sync>,
    pub(crate) finish: Finish,
}

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<(Mutex<Vec<String>>, Notify)>);

impl Log {
    pub(crate) fn note(&self, line: String) {
        self.0.0.lock().unwrap().push(line);
        self.0.1.notify_one();
    }

    /// Who can write to it.
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.0.lock().unwrap())
    }

    /// Waits until `line` has been written.
    pub(crate) async fn until(&self, line: &str) {
        let wait = async {
            while !self.0.0.lock().unwrap().iter().any(|written| written == line) {
                self.0.1.notified().await;
            }
        };
        tokio::time::timeout(secs(1_000_000), wait).await.expect("the line is never written");
    }
}

pub(crate) enum ProbeMsg {
    Add(u8),
    Get(Reply<(u64, u8)>),
    Save,
    /// Panics while it holds the reply.
    Fatal(Reply<(u64, u8)>),
    Fail,
    Panic,
    End(Exit),
}

pub(crate) struct Probe {
    part: Part,
    epoch: u64,
    count: u8,
}

impl Actor for Probe {
    type Args = Part;
    type Msg = ProbeMsg;

    async fn start(part: Part, ctx: &mut Context<Self>) -> Result<Self, Fault> {
        let epoch = ctx.epoch().0;
        let count = ctx.restored::<u8>()?.unwrap_or(0);
        part.log.note(format!("{} begins", part.name));
        match (part.begin)(epoch) {
            Begin::Up => {}
            Begin::Brief => ctx.stop(),
            Begin::Panic => panic!("told to panic"),
            Begin::Named(name) => ctx.engine().register(name, &ctx.me())?,
            Begin::Ignore => return Err(ctx.ignore()),
            Begin::Slow(wait) => tokio::time::sleep(wait).await,
            Begin::Fail => return Err(Fault::new("told to fail")),
            Begin::Hang => std::future::pending().await,
        }
        part.log.note(format!("{} up", part.name));
        Ok(Self { part, epoch, count })
    }

    async fn handle(&mut self, msg: ProbeMsg, ctx: &mut Context<Self>) -> Result<(), Fault> {
        match msg {
            ProbeMsg::Add(n) => self.count += n,
            ProbeMsg::Get(reply) => reply.send((self.epoch, self.count)),
            ProbeMsg::Save => drop(ctx.checkpoint_now()),
            ProbeMsg::Fail => return Err(Fault::new("told to fail")),
            ProbeMsg::Fatal(reply) => {
                let _held = reply;
                panic!("told to panic");
            }
            ProbeMsg::Panic => panic!("told to panic"),
            ProbeMsg::End(exit) => ctx.stop_with(exit),
        }
        Ok(())
    }

    fn checkpoint(&self) -> Option<Result<Bytes, Fault>> {
        Some(Ok(Bytes::from(vec![self.count])))
    }

    async fn stop(self, _: &Exit) {
        match self.part.finish {
            Finish::Orderly => {}
            Finish::Slow(wait) => tokio::time::sleep(wait).await,
            Finish::Hang => std::future::pending().await,
            Finish::Panic => panic!("told to panic"),
        }
        self.part.log.note(format!("{} stopped", self.part.name));
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.part.log.note(format!("{} gone", self.part.name));
    }
}

/// An engine, what its probes wrote down, and what their supervisor told.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) log: Log,
    hook: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let (hook, events) = mpsc::unbounded_channel();
        let engine = Engine::new(1, tokio::runtime::Handle::current());
        Self { engine, log: Log::default(), hook, events }
    }

    pub(crate) fn part(&self, name: &str) -> Part {
        let (name, log) = (name.to_owned(), self.log.clone());
        Part { name, log, begin: Arc::new(|_| Begin::Up), finish: Finish::Orderly }
    }

    pub(crate) fn probe(&self, name: &str) -> Spec<Probe> {
        Probe::spec(self.part(name))
    }

    /// A probe whose runs begin as `begin` says of their epoch.
    pub(crate) fn beginning(
        &self,
        name: &str,
        begin: impl Fn(u64) -> Begin + Send + Sync + 'static,
    ) -> Spec<Probe> {
        Probe::spec(Part { begin: Arc::new(begin), ..self.part(name) })
    }

    pub(crate) fn finishing(&self, name: &str, finish: Finish) -> Spec<Probe> {
        Probe::spec(Part { finish, ..self.part(name) })
    }

    /// A spec whose events this bench receives, for as many restarts as a test may need.
    pub(crate) fn spec(&self) -> SupervisorSpec {
        self.spec_of(Strategy::OneForOne)
    }

    pub(crate) fn spec_of(&self, strategy: Strategy) -> SupervisorSpec {
        self.hooked(Supervisor::spec(strategy).intensity(50, Duration::from_secs(5)))
    }

    /// The spec, with its events received by this bench.
    pub(crate) fn hooked(&self, spec: SupervisorSpec) -> SupervisorSpec {
        let hook = self.hook.clone();
        spec.on_event(Arc::new(move |event| drop(hook.send(event.clone()))))
    }

    pub(crate) async fn supervise(&self, spec: SupervisorSpec) -> Result<Tree, SuperviseError> {
        supervise(&self.engine, Arc::new(self.engine.clone()), spec).await
    }

    /// The next event that `pick` wants; those before it are skipped.
    pub(crate) async fn event<T>(&mut self, pick: impl Fn(&Event) -> Option<T>) -> T {
        let search = async {
            loop {
                let event = self.events.recv().await.expect("the bench holds a sender");
                if let Some(found) = pick(&event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(100), search).await.expect("no such event came")
    }

    /// Waits for a child's next start and gives its epoch.
    pub(crate) async fn started(&mut self, child: &str) -> u64 {
        self.event(|event| match event {
            Event::Started { id, epoch, .. } if id == child => Some(epoch.0),
            _ => None,
        })
        .await
    }

    /// Waits for the next end of any child.
    pub(crate) async fn any_end(&mut self) -> Exit {
        self.event(|event| match event {
            Event::Ended { exit, .. } => Some(exit.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for a child's next end.
    pub(crate) async fn ended(&mut self, child: &str) -> Exit {
        self.event(|event| match event {
            Event::Ended { id, exit, .. } if id == child => Some(exit.clone()),
            _ => None,
        })
        .await
    }
}

pub(crate) fn child(tree: &Tree, id: &str) -> ActorRef<ProbeMsg> {
    tree.child(id).expect("a child of that name with a reference")
}

/// What OTP counts, in its order: specs, active, supervisors, workers.
pub(crate) async fn counts(tree: &Tree) -> [usize; 4] {
    let counts = tree.count().await;
    [counts.specs, counts.active, counts.supervisors, counts.workers]
}

/// The children's ids and states.
pub(crate) async fn states(tree: &Tree) -> Vec<(String, ChildState)> {
    tree.children().await.into_iter().map(|child| (child.id, child.state)).collect()
}

/// Waits until what goes on has come to rest. Its patience is real time: that of a test may stand
/// still.
pub(crate) async fn until<F: Future<Output = bool>>(mut at_rest: impl FnMut() -> F) {
    let begun = std::time::Instant::now();
    while !at_rest().await {
        assert!(begun.elapsed() < secs(20), "it did not come to rest");
        tokio::task::yield_now().await;
    }
}

/// Stops the tree and says how it ended.
pub(crate) async fn stop(tree: &Tree) -> Exit {
    // The wait is asked for first.
    let (exit, ()) = tokio::join!(tree.wait(), tree.stop(secs(3_600 * 24)));
    exit
}

/// The child's epoch and count.
pub(crate) async fn get(tree: &Tree, id: &str) -> (u64, u8) {
    child(tree, id).call(ProbeMsg::Get).await.expect("an answer")
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
