//! What describes a supervisor and its static children.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mobula_actors::spawner::{IntoSeed, Seed};
use mobula_actors::{Restart, Settings, Shutdown};

use crate::dynamic::Template;
use crate::error::SpecError;
use crate::event::Event;
use crate::strategy::{AutoShutdown, Strategy};
use crate::supervisor::{Supervising, Supervisor};

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
    restart: Restart,
    significant: bool,
}

/// Describes one child.
#[derive(Clone)]
pub struct ChildSpec {
    pub(crate) id: String,
    body: Body,
}

/// What starts a child and says how it is treated.
pub(crate) struct Sown {
    pub(crate) seed: Arc<dyn Seed>,
    pub(crate) settings: Settings,
    pub(crate) is_supervisor: bool,
}

#[derive(Clone)]
enum Body {
    Actor(Arc<dyn Seed>, Settings),
    Supervisor(SupervisorSpec),
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
            restart: Restart::Permanent,
            significant: false,
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
    /// to give a supervisor less time than its children need.
    #[must_use]
    pub fn supervisor(mut self, id: impl Into<String>, spec: Self) -> Self {
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

    /// Calls `hook` with everything that happens, also under the supervisors below that have none
    /// of their own.
    #[must_use]
    pub fn on_event(mut self, hook: Hook) -> Self {
        self.hook = Some(hook);
        self
    }

    /// How many restarts this tree can see before it gives up: those of supervisors below
    /// supervisors multiply. More than [`RESTARTS_WARN`] are warned of when it is started.
    #[must_use]
    pub fn restarts_max(&self) -> u64 {
        let below = self.children.iter().filter_map(|child| match &child.body {
            Body::Supervisor(spec) => Some(spec.restarts_max().saturating_add(1)),
            Body::Actor(..) => None,
        });
        let one_more = u64::from(self.intensity.0) + 1;
        one_more.saturating_mul(below.max().unwrap_or(1)) - 1
    }

    pub(crate) fn check(&self) -> Result<(), SpecError> {
        if self.intensity.1.is_zero() {
            return Err(SpecError::NoPeriod);
        }
        if self.strategy == Strategy::Dynamic {
            self.check_dynamic()?;
        }
        let mut ids = HashSet::new();
        for child in &self.children {
            if !ids.insert(&child.id) {
                return Err(SpecError::DuplicateId(child.id.clone()));
            }
            child.check(self.auto_shutdown)?;
        }
        Ok(())
    }

    fn check_dynamic(&self) -> Result<(), SpecError> {
        if self.auto_shutdown != AutoShutdown::Never {
            return Err(SpecError::DynamicAutoShutdown);
        }
        if let Some(child) = self.children.first() {
            return Err(SpecError::DynamicChild(child.id.clone()));
        }
        if self.template.is_none() { Err(SpecError::NoTemplate) } else { Ok(()) }
    }

    pub(crate) fn warn_of_restarts(&self) {
        let nested = self.children.iter().any(|child| matches!(child.body, Body::Supervisor(_)));
        let restarts = self.restarts_max();
        if nested && restarts > RESTARTS_WARN {
            tracing::warn!(restarts, "nested intensities multiply; lower them to give up earlier");
        }
    }
}

impl ChildSpec {
    pub(crate) fn new(id: String, seed: Arc<dyn Seed>, settings: Settings) -> Self {
        Self { id, body: Body::Actor(seed, settings) }
    }

    pub(crate) fn supervisor(id: String, spec: SupervisorSpec) -> Self {
        Self { id, body: Body::Supervisor(spec) }
    }

    /// Whether the child may stand under a supervisor with this automatic shutdown.
    pub(crate) fn check(&self, above: AutoShutdown) -> Result<(), SpecError> {
        let (restart, significant) = match &self.body {
            Body::Actor(_, settings) => (settings.restart, settings.significant),
            Body::Supervisor(spec) => {
                spec.check()?;
                (spec.restart, spec.significant)
            }
        };
        let is_permanent = restart == Restart::Permanent;
        if let Body::Supervisor(spec) = &self.body
            && is_permanent
            && spec.auto_shutdown != AutoShutdown::Never
        {
            return Err(SpecError::PermanentAutoShutdown(self.id.clone()));
        }
        match significant {
            true if is_permanent => Err(SpecError::SignificantPermanent(self.id.clone())),
            true if above == AutoShutdown::Never => {
                Err(SpecError::SignificantForNothing(self.id.clone()))
            }
            _ => Ok(()),
        }
    }

    /// What starts the child, under the supervisor that `parent` describes.
    pub(crate) fn sow(self, parent: &Supervising) -> Sown {
        match self.body {
            Body::Actor(seed, settings) => Sown { seed, settings, is_supervisor: false },
            Body::Supervisor(spec) => {
                let (restart, significant) = (spec.restart, spec.significant);
                let below = parent.below(&self.id, spec);
                let (seed, settings) = Supervisor::actor(below).into_seed();
                let shutdown = Shutdown::Infinity;
                let settings = Settings { restart, significant, shutdown, ..settings };
                Sown { seed, settings, is_supervisor: true }
            }
        }
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChildSpec({:?})", self.id)
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
