//! What describes a supervisor and its static children.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mobula_actors::Restart;
use mobula_actors::spawner::IntoSeed;

use crate::dynamic::Template;
use crate::event::Event;
use crate::strategy::{AutoShutdown, Strategy};

mod check;
mod child;

use child::Body;
pub(crate) use child::{ChildSpec, Recipe, Sown};

/// Restarts within [`PERIOD_DEFAULT`] unless a spec says otherwise, as in OTP.
pub const INTENSITY_DEFAULT: u32 = 1;
/// The period of the default intensity.
pub const PERIOD_DEFAULT: Duration = Duration::from_secs(5);
/// Ends caused by the infrastructure within [`INFRA_PERIOD`] that a supervisor survives.
pub const INFRA_MAX: u32 = 100;
/// The period of the node-loss budget.
pub const INFRA_PERIOD: Duration = Duration::from_secs(60);

/// A tree whose nested intensities allow more restarts than this before it gives up is warned of:
/// limits of supervisors below supervisors multiply.
pub const RESTARTS_WARN: u64 = 1_000;

/// Supervisors below each other in one spec. Each is walked through by recursion.
pub(crate) const LEVELS_MAX: usize = 64;

/// Whether a supervisor is needed.
pub(crate) type Needed = Arc<dyn Fn() -> bool + Send + Sync>;

/// What looks on: called in the supervisor's task, so it must not block.
pub type Hook = Arc<dyn Fn(&Event) + Send + Sync>;

/// Describes a supervisor. Its static children belong to it: they come back with it.
#[derive(Clone)]
pub struct SupervisorSpec {
    pub(crate) strategy: Strategy,
    pub(crate) intensity: (u32, Duration),
    pub(crate) backoff: Option<(Duration, Duration)>,
    pub(crate) children: Vec<ChildSpec>,
    pub(crate) hook: Option<Hook>,
    pub(crate) auto_shutdown: AutoShutdown,
    pub(crate) template: Option<Template>,
    /// Whether it is needed; asked before each of its starts.
    pub(crate) needed: Option<Needed>,
    pub(crate) name: Option<String>,
    restart: Restart,
    significant: bool,
    /// Of supervisors below each other, this one included.
    levels: usize,
    /// The child that would have been one level too many, and was left out.
    too_deep: Option<String>,
}

impl SupervisorSpec {
    pub(crate) fn new(strategy: Strategy) -> Self {
        Self {
            strategy,
            intensity: (INTENSITY_DEFAULT, PERIOD_DEFAULT),
            backoff: None,
            children: Vec::new(),
            hook: None,
            auto_shutdown: AutoShutdown::Never,
            template: None,
            needed: None,
            name: None,
            restart: Restart::Permanent,
            significant: false,
            levels: 1,
            too_deep: None,
        }
    }

    /// Gives up on more than `max` restarts within `period` (default 1 in 5 s). Ends caused by the
    /// infrastructure have a budget of their own: 100 in 60 s.
    #[must_use]
    pub fn intensity(mut self, max: u32, period: Duration) -> Self {
        self.intensity = (max, period);
        self
    }

    /// Waits between `min` and `max`, doubling, before a child that does not say otherwise is
    /// started again. By default restarts after code faults do not wait, and those after repeated
    /// node losses wait 200 ms to 30 s.
    #[must_use]
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.backoff = Some((min, max.max(min)));
        self
    }

    /// Adds a child, started after those before it and stopped before them.
    ///
    /// A permanent or transient child is started many times, so its arguments are cloned. One
    /// whose arguments cannot be is temporary, or does not compile:
    ///
    /// ```
    /// # use mobula_actors::{Actor, Context, Fault};
    /// # use mobula_supervision::{Strategy, Supervisor};
    /// struct Connection;
    /// # struct Feed;
    /// # impl Actor for Feed {
    /// #     type Args = Connection;
    /// #     type Msg = ();
    /// #     async fn start(_: Connection, _: &mut Context<Self>) -> Result<Self, Fault> { Ok(Feed) }
    /// #     async fn handle(&mut self, _: (), _: &mut Context<Self>) -> Result<(), Fault> { Ok(()) }
    /// # }
    /// // `Feed` takes a `Connection` as its argument.
    /// let spec = Supervisor::spec(Strategy::OneForOne);
    /// let spec = spec.child("feed", Feed::spec(Connection).temporary());
    /// ```
    ///
    /// ```compile_fail
    /// # use mobula_actors::{Actor, Context, Fault};
    /// # use mobula_supervision::{Strategy, Supervisor};
    /// struct Connection;
    /// # struct Feed;
    /// # impl Actor for Feed {
    /// #     type Args = Connection;
    /// #     type Msg = ();
    /// #     async fn start(_: Connection, _: &mut Context<Self>) -> Result<Self, Fault> { Ok(Feed) }
    /// #     async fn handle(&mut self, _: (), _: &mut Context<Self>) -> Result<(), Fault> { Ok(()) }
    /// # }
    /// // `Feed` takes a `Connection` as its argument.
    /// let spec = Supervisor::spec(Strategy::OneForOne);
    /// let spec = spec.child("feed", Feed::spec(Connection));
    /// ```
    #[must_use]
    pub fn child(mut self, id: impl Into<String>, spec: impl IntoSeed) -> Self {
        let (seed, settings) = spec.into_seed();
        self.children.push(ChildSpec { id: id.into(), body: Body::Actor(seed, settings) });
        self
    }

    /// Adds a supervisor as a child. It has as long to stop as its children need. Its children are
    /// found under `id/` and their own ids. When it is started again its children are new actors.
    /// Those made with `Spec::temporary`, whose arguments are used by their only start, then make
    /// that start fail: say `.restart(Restart::Temporary)` instead.
    ///
    /// A spec owns those below it, so no supervisor stands in its own subtree, and there is no way
    /// to give a supervisor less time than its children need. More than 64 below each other are
    /// refused when the tree is started.
    #[must_use]
    pub fn supervisor(mut self, id: impl Into<String>, spec: Self) -> Self {
        let levels = spec.levels + 1;
        if levels > LEVELS_MAX {
            self.too_deep = Some(id.into());
            return self;
        }
        self.levels = self.levels.max(levels);
        self.children.push(ChildSpec { id: id.into(), body: Body::Supervisor(spec) });
        self
    }

    /// As a child of another supervisor: is started again after an abnormal end only, which giving
    /// up is. By default it is started again after every end.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.restart = Restart::Transient;
        self
    }

    /// As a child of another supervisor: is never started again.
    #[must_use]
    pub fn temporary(mut self) -> Self {
        self.restart = Restart::Temporary;
        self
    }

    /// As a child of another supervisor: its own end may end that one.
    #[must_use]
    pub fn significant(mut self) -> Self {
        self.significant = true;
        self
    }

    /// Ends, with [`Exit::Shutdown`](mobula_actors::Exit), when its significant children have ended
    /// by themselves (default never).
    #[must_use]
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.auto_shutdown = auto_shutdown;
        self
    }

    /// Is started only if `needed` says so each time. Else it has no run, and nothing of it is
    /// started: under a supervisor it is kept, stopped, and can be restarted later, unless it is
    /// temporary; at the root [`supervise`](crate::supervise) answers
    /// [`SuperviseError::Ignored`](crate::SuperviseError::Ignored).
    ///
    /// `needed` is called in the supervisor's task, so it must not block.
    #[must_use]
    pub fn only_if(mut self, needed: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.needed = Some(Arc::new(needed));
        self
    }

    /// Has a name on its node while it runs, by which [`Tree::named`](crate::Tree::named) finds it.
    /// If the name is taken it does not start.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Calls `hook` with everything that happens, also under the supervisors below that have none
    /// of their own.
    #[must_use]
    pub fn on_event(mut self, hook: Hook) -> Self {
        self.hook = Some(hook);
        self
    }
}

impl fmt::Debug for SupervisorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorSpec")
            .field("strategy", &self.strategy)
            .field("children", &self.children.iter().map(|child| &child.id).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
