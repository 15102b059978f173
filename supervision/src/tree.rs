//! A started tree: asking for children, looking at them, and stopping them.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mobula_actors::id::ActorId;
use mobula_actors::spawner::{IntoSeed, Spawner};
use mobula_actors::{Actor, ActorRef, CallError, Engine, NameError, Reply};
use tokio::sync::oneshot;

use crate::directory::{Directory, Reference};
use crate::dynamic::Template;
use crate::error::{SuperviseError, TreeError};
use crate::info::{ChildInfo, Counts};
use crate::spec::{ChildSpec, SupervisorSpec};
use crate::supervising::Supervising;
use crate::supervisor::{Msg, Supervisor};

/// Starts and stops have bounds of their own; an answer that takes longer than this is given up.
const ANSWER_WITHIN: Duration = Duration::from_secs(86_400);

/// Starts a tree on `engine`, whose children `spawner` starts here or elsewhere. Returns once every
/// static child is initialised.
///
/// # Errors
/// [`SuperviseError`]; the children that had started have been stopped in reverse order.
///
/// # Cancel safety
/// A tree whose start is dropped is killed, with its children.
pub async fn supervise(
    engine: &Engine,
    spawner: Arc<dyn Spawner>,
    spec: SupervisorSpec,
) -> Result<Tree, SuperviseError> {
    spec.check()?;
    spec.warn_of_restarts();
    let supervising = Supervising::root(spec, spawner);
    let (directory, failure) = (supervising.directory.clone(), supervising.failure.clone());
    match engine.spawn(Supervisor::actor(supervising)).await {
        Ok(supervisor) => Ok(Tree::new(supervisor, directory, String::new())),
        Err(error) => Err(failure.get().cloned().unwrap_or(SuperviseError::Spawn(error))),
    }
}

/// A handle to a running tree. Dropping it does not stop the tree.
#[derive(Clone)]
pub struct Tree {
    supervisor: ActorRef<Msg>,
    directory: Arc<Directory>,
    /// Empty for the root, else it ends in a slash.
    path: String,
    /// How children are made, once it is known.
    template: Arc<OnceLock<Template>>,
}

impl Tree {
    fn new(supervisor: ActorRef<Msg>, directory: Arc<Directory>, path: String) -> Self {
        Self { supervisor, directory, path, template: Arc::default() }
    }

    /// The tree, or the part of one, whose supervisor has this name on `engine`'s node
    /// ([`SupervisorSpec::named`]).
    ///
    /// # Errors
    /// [`NameError::Unknown`], [`NameError::Ended`], or [`NameError::OtherProtocol`] if the name is
    /// that of another actor.
    pub async fn named(engine: &Engine, name: &str) -> Result<Self, NameError> {
        let supervisor = engine.lookup::<Msg>(name)?;
        let place = supervisor.call(Msg::Place).within(ANSWER_WITHIN).await;
        let (directory, path) = place.map_err(|_: CallError| NameError::Ended(name.into()))?;
        Ok(Self::new(supervisor, directory, path))
    }

    /// The part of the tree under the supervisor with this path. What is asked of it is asked of
    /// that supervisor; stopped, it is started again by the one above if its spec says so. The
    /// handle is good for all runs of the supervisor. `None` if there is none.
    #[must_use]
    pub fn below(&self, id: &str) -> Option<Self> {
        let path = format!("{}{id}", self.path);
        let supervisor = self.directory.get::<Msg>(&path)?;
        Some(Self::new(supervisor, self.directory.clone(), path + "/"))
    }

    /// Starts one more child of a dynamic supervisor, made by its template. It is ended with
    /// [`Tree::end_child`].
    ///
    /// # Errors
    /// [`TreeError::NoTemplate`] if the supervisor is not dynamic, or its children are not `A`s;
    /// [`TreeError::Spec`] if the template made a significant one; or why it did not start.
    /// Nothing is kept of it then.
    ///
    /// # Cancel safety
    /// As [`Tree::spawn`].
    pub async fn start_child<A: Actor>(
        &self,
        args: A::Args,
    ) -> Result<ActorRef<A::Msg>, TreeError> {
        let template = match self.template.get() {
            Some(template) => template.clone(),
            None => {
                let template = self.ask(Msg::Template).await?.ok_or(TreeError::NoTemplate)?;
                self.template.get_or_init(|| template).clone()
            }
        };
        let made = template.make::<A::Args, A::Msg>(args);
        let (seed, settings) = made.ok_or(TreeError::NoTemplate)?;
        let child = ChildSpec::new(String::new(), seed, settings);
        let reference = self.ask(|reply| Msg::StartChild { child, reply }).await??;
        typed(&reference).ok_or(TreeError::NoTemplate)
    }

    /// Stops a child of a dynamic supervisor, and returns when it has ended.
    ///
    /// # Errors
    /// [`TreeError::Unknown`] if it has ended, [`TreeError::NoTemplate`] if the supervisor is not
    /// dynamic, or [`TreeError::Stopped`].
    pub async fn end_child<M: Send + 'static>(&self, child: &ActorRef<M>) -> Result<(), TreeError> {
        let actor = child.id();
        self.ask(|reply| Msg::EndChild { actor, reply }).await?
    }

    /// Starts one more supervisor at the end of the order. As any child added at run time it ends
    /// with this run of its supervisor.
    ///
    /// # Errors
    /// As [`Tree::spawn`], and [`TreeError::Spec`].
    pub async fn spawn_supervisor(
        &self,
        id: impl Into<String>,
        spec: SupervisorSpec,
    ) -> Result<Self, TreeError> {
        let id = id.into();
        spec.warn_of_restarts();
        let path = format!("{}{id}/", self.path);
        let child = ChildSpec::supervisor(id.clone(), spec);
        let reference = self.ask(|reply| Msg::Spawn { child, reply }).await??;
        let supervisor = typed(&reference).ok_or(TreeError::Unreachable(id))?;
        Ok(Self::new(supervisor, self.directory.clone(), path))
    }

    /// Counts the supervisor's children; all zero once it has stopped.
    pub async fn count(&self) -> Counts {
        self.ask(Msg::Count).await.unwrap_or_default()
    }

    /// Starts one more child at the end of the order. It ends with this run of its supervisor; it
    /// does not come back with the next.
    ///
    /// # Errors
    /// [`TreeError::AlreadyStarted`], [`TreeError::AlreadyPresent`], [`TreeError::Spec`],
    /// [`TreeError::Dynamic`], or why it did not start.
    ///
    /// # Cancel safety
    /// A child whose spawn is dropped may still be started, and is then supervised.
    pub async fn spawn<S: IntoSeed>(
        &self,
        id: impl Into<String>,
        spec: S,
    ) -> Result<ActorRef<S::Msg>, TreeError> {
        let (id, (seed, settings)) = (id.into(), spec.into_seed());
        let name = id.clone();
        let child = ChildSpec::new(id, seed, settings);
        let reference = self.ask(|reply| Msg::Spawn { child, reply }).await??;
        typed(&reference).ok_or(TreeError::Unreachable(name))
    }

    /// A reference to a child by its path: its id, or `supervisor/id` below the root. It stays
    /// valid when the child is started again. `None` if there is none, or if it takes other
    /// messages.
    #[must_use]
    pub fn child<M: Send + 'static>(&self, id: &str) -> Option<ActorRef<M>> {
        if self.path.is_empty() {
            return self.directory.get(id);
        }
        self.directory.get(&format!("{}{id}", self.path))
    }

    /// The children of the supervisor, in start order; none once the tree has stopped.
    pub async fn children(&self) -> Vec<ChildInfo> {
        let look = self.ask(|reply| Msg::Look { dynamic_max: usize::MAX, reply }).await;
        look.map(|look| look.children).unwrap_or_default()
    }

    /// Stops a child, and returns when it has ended. It is kept and can be restarted or deleted,
    /// unless it is temporary. Does nothing if it is stopped already.
    ///
    /// # Errors
    /// [`TreeError::Unknown`] or [`TreeError::Stopped`].
    pub async fn terminate(&self, id: &str) -> Result<(), TreeError> {
        self.ask(|reply| Msg::Terminate { id: id.into(), reply }).await?
    }

    /// Starts a stopped child. Earlier references to it reach it only if it may move between
    /// nodes; take a new one with [`Tree::child`].
    ///
    /// # Errors
    /// [`TreeError::Running`], [`TreeError::Busy`], [`TreeError::Unknown`], or why it did not
    /// start; it then stays stopped.
    pub async fn restart(&self, id: &str) -> Result<(), TreeError> {
        match self.ask(|reply| Msg::Restart { id: id.into(), reply }).await? {
            Ok(_) | Err(TreeError::Unreachable(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Forgets a stopped child.
    ///
    /// # Errors
    /// [`TreeError::Running`], [`TreeError::Busy`] or [`TreeError::Unknown`].
    pub async fn delete(&self, id: &str) -> Result<(), TreeError> {
        self.ask(|reply| Msg::Delete { id: id.into(), reply }).await?
    }

    /// Stops the children in reverse order and then the supervisor, and returns when it has ended.
    /// After `timeout` what is left is killed, which takes effect where each of them waits next;
    /// this returns when that has happened, 5 s later at most.
    pub async fn stop(&self, timeout: Duration) {
        let mut ended = self.ended();
        self.supervisor.stop();
        if tokio::time::timeout(timeout, &mut ended).await.is_err() {
            self.supervisor.kill();
            // Its sender goes with the supervisor's run.
            let _ = ended.await;
            self.directory.orphans.gone().await;
        }
    }

    /// Resolves with the supervisor's end: [`Exit::MaxIntensity`](mobula_actors::Exit) if it gave
    /// up; [`Exit::NoProc`](mobula_actors::Exit) if it had ended before.
    pub async fn wait(&self) -> mobula_actors::Exit {
        self.ended().await.unwrap_or(mobula_actors::Exit::NoProc)
    }

    pub(crate) fn actor(&self) -> ActorId {
        self.supervisor.id()
    }

    /// Its id; `tree` for the root.
    pub(crate) fn name(&self) -> String {
        let path = self.path.trim_end_matches('/');
        if path.is_empty() { "tree".into() } else { path.into() }
    }

    /// A path from the root as one from here.
    pub(crate) fn within<'a>(&self, id: &'a str) -> &'a str {
        id.strip_prefix(&self.path).unwrap_or(id)
    }

    fn ended(&self) -> oneshot::Receiver<mobula_actors::Exit> {
        let (told, ended) = oneshot::channel();
        self.supervisor.on_down(Box::new(move |down| {
            // Whoever waited may have gone.
            let _ = told.send(down.exit);
        }));
        ended
    }

    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(Reply<T>) -> Msg,
    ) -> Result<T, TreeError> {
        let answer = self.supervisor.call(request).within(ANSWER_WITHIN).await;
        answer.map_err(|_: CallError| TreeError::Stopped)
    }
}

fn typed<M: Send + 'static>(reference: &Reference) -> Option<ActorRef<M>> {
    let reference: &(dyn Any + Send + Sync) = &**reference;
    reference.downcast_ref::<ActorRef<M>>().cloned()
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tree({})", self.supervisor.id())
    }
}
