//! One child as its supervisor holds it: how it is started and made to stop.
//!
//! Invariant **ME-1**: of a temporary child that has started, neither arguments nor settings are
//! kept: it is never started again.

use std::sync::Arc;
use std::time::Duration;

use mobula_actors::id::{ActorId, Epoch, NodeId};
use mobula_actors::spawner::{Child, Order, Request, Spawner};
use mobula_actors::{Exit, Reply, Restart, Shutdown, SpawnError};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::directory::Reference;
use crate::error::TreeError;
use crate::line::{ChildWatch, Line, Outcome, What};
use crate::spec::{Recipe, Sown};
use crate::strategy::Key;

/// How long a killed run has to end before the supervisor goes on without it.
pub const KILL_GRACE: Duration = Duration::from_secs(5);

/// Told how a start that was asked for went; dropped if it was called off.
pub(crate) type Asked = Box<dyn FnOnce(Result<Option<Reference>, SpawnError>) + Send>;

pub(crate) struct Member {
    pub(crate) key: Key,
    pub(crate) id: Box<str>,
    pub(crate) actor: ActorId,
    pub(crate) kind: &'static str,
    pub(crate) shutdown: Shutdown,
    pub(crate) is_supervisor: bool,
    /// A temporary child that has started leaves it behind (ME-1).
    recipe: Option<Box<Recipe>>,
    /// The run that was ordered last.
    pub(crate) epoch: Epoch,
    /// The run, or the last one, whose mailbox waits for the next.
    pub(crate) hold: Option<Arc<dyn Child>>,
    /// Whoever asked for the start that is under way.
    pub(crate) asked: Option<Asked>,
    /// A child that does not come to life at its first start is not kept.
    pub(crate) is_new: bool,
    /// The run ended before the news of its start were here.
    pub(crate) early_end: Option<Box<Exit>>,
    /// How its last run, or its last start, ended.
    pub(crate) last_exit: Option<Box<Exit>>,
    /// What holds its start back.
    pub(crate) waits: Option<Box<str>>,
    watch: Arc<ChildWatch>,
    start: Option<AbortHandle>,
    timer: Option<AbortHandle>,
    waiting: Vec<Reply<Result<(), TreeError>>>,
}

/// What a member needs of its supervisor to act.
pub(crate) struct Hands<'a> {
    pub(crate) runtime: &'a Handle,
    pub(crate) spawner: &'a Arc<dyn Spawner>,
    pub(crate) line: &'a Arc<Line>,
}

/// The run to be started, as it was decided.
pub(crate) struct Run {
    pub(crate) epoch: Epoch,
    pub(crate) after: Duration,
    pub(crate) keep: bool,
    pub(crate) avoid: Option<NodeId>,
}

impl Member {
    pub(crate) fn new(
        key: Key,
        id: String,
        actor: ActorId,
        Sown { recipe, is_supervisor }: Sown,
        line: &Arc<Line>,
    ) -> Self {
        let kept = recipe.settings.restart != Restart::Temporary;
        let keeper = ChildWatch::new(line.clone(), key, kept);
        Self {
            key,
            id: id.into(),
            actor,
            kind: recipe.seed.kind(),
            shutdown: recipe.settings.shutdown,
            is_supervisor,
            recipe: Some(Box::new(recipe)),
            epoch: Epoch::default(),
            hold: None,
            asked: None,
            is_new: true,
            early_end: None,
            last_exit: None,
            waits: None,
            watch: Arc::new(keeper),
            start: None,
            timer: None,
            waiting: Vec::new(),
        }
    }

    /// Whether the news of a start are still to come.
    pub(crate) fn is_starting(&self) -> bool {
        self.start.is_some()
    }

    /// Starts a run in a task, so that a slow start holds nobody up.
    pub(crate) fn start(&mut self, run: Run, hands: &Hands<'_>) {
        self.epoch = run.epoch;
        self.early_end = None;
        if !run.keep {
            self.leave_cell();
        }
        // Only a temporary child has lost it, and that is started once.
        let Some(recipe) = self.recipe.as_deref() else { return };
        let Recipe { seed, settings } = recipe.clone();
        let request = Request {
            seed,
            order: Order {
                id: self.actor,
                epoch: run.epoch,
                checkpoint: self.watch.begin(run.epoch),
                watch: Some(self.watch.clone()),
                parent: Some(hands.line.supervisor()),
                ..Order::new(&settings)
            },
            settings,
            previous: self.hold.clone(),
            avoid: run.avoid.into_iter().collect(),
        };
        let (spawner, line) = (hands.spawner.clone(), hands.line.clone());
        let outcome = Outcome { line, child: self.key, epoch: run.epoch, start: None };
        let task = hands.runtime.spawn(async move {
            if !run.after.is_zero() {
                tokio::time::sleep(run.after).await;
            }
            let start = spawner.start(request).await;
            outcome.send(start);
        });
        self.start = Some(task.abort_handle());
    }

    /// The news of the start have come.
    pub(crate) fn start_is_over(&mut self) {
        (self.start, self.waits) = (None, None);
    }

    /// It runs.
    pub(crate) fn is_up(&mut self, child: Arc<dyn Child>) {
        self.hold = Some(child);
        self.is_new = false;
        if self.is_temporary() {
            self.recipe = None;
        }
    }

    fn is_temporary(&self) -> bool {
        let restart = self.recipe.as_ref().map(|recipe| recipe.settings.restart);
        restart.is_none_or(|restart| restart == Restart::Temporary)
    }

    /// Calls off the start, or asks the run to end; it is killed when its time is over.
    pub(crate) fn stop(&mut self, hands: &Hands<'_>) {
        if let Some(start) = &self.start {
            start.abort();
            return;
        }
        let Some(hold) = &self.hold else { return };
        match self.shutdown {
            Shutdown::Brutal => self.kill(hands),
            Shutdown::After(timeout) => {
                hold.stop(Exit::Shutdown);
                self.arm(timeout, What::Overdue, hands);
            }
            Shutdown::Infinity => hold.stop(Exit::Shutdown),
        }
    }

    /// The same without a timer: somebody else looks at the time. What is being stopped already
    /// has its own.
    pub(crate) fn ask_to_stop(&mut self) {
        if let Some(start) = &self.start {
            start.abort();
        } else if let (Some(hold), None) = (&self.hold, &self.timer) {
            match self.shutdown {
                Shutdown::Brutal => hold.kill(),
                Shutdown::After(_) | Shutdown::Infinity => hold.stop(Exit::Shutdown),
            }
        }
    }

    pub(crate) fn kill_now(&self) {
        if let Some(hold) = &self.hold {
            hold.kill();
        }
    }

    pub(crate) fn kill(&mut self, hands: &Hands<'_>) {
        self.kill_now();
        self.arm(KILL_GRACE, What::StillThere, hands);
    }

    fn arm(&mut self, after: Duration, what: What, hands: &Hands<'_>) {
        self.disarm();
        let (line, child, epoch) = (hands.line.clone(), self.key, self.epoch);
        let timer = hands.runtime.spawn(async move {
            tokio::time::sleep(after).await;
            line.tell(child, epoch, what);
        });
        self.timer = Some(timer.abort_handle());
    }

    /// The run has ended: nothing of it is waited for.
    pub(crate) fn disarm(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer.abort();
        }
    }

    /// Lets go of the cell: no run follows on it.
    fn leave_cell(&mut self) -> Option<Arc<dyn Child>> {
        self.disarm();
        let hold = self.hold.take()?;
        hold.retire();
        Some(hold)
    }

    /// Lets go of the child: no run follows anywhere.
    pub(crate) fn release(&mut self) {
        if let Some(hold) = self.leave_cell() {
            hold.forget();
        }
    }

    /// Answers `reply` once the child has stopped.
    pub(crate) fn tell_when_stopped(&mut self, reply: Reply<Result<(), TreeError>>) {
        self.waiting.push(reply);
    }

    /// The child has stopped: whoever waited for it is told.
    pub(crate) fn has_stopped(&mut self) {
        for reply in self.waiting.drain(..) {
            reply.send(Ok(()));
        }
    }
}

impl Drop for Member {
    /// A supervisor that was killed, or panicked, takes what it holds with it.
    fn drop(&mut self) {
        self.disarm();
        if let Some(start) = self.start.take() {
            start.abort();
        }
        if let Some(hold) = self.hold.take() {
            hold.kill();
            hold.retire();
            hold.forget();
        }
    }
}
