//! What describes a supervisor and its static children.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mobula_actors::spawner::{IntoSeed, Seed};
use mobula_actors::{Restart, Settings, Shutdown};

use crate::error::SuperviseError;
use crate::event::Event;
use crate::strategy::Strategy;
use crate::supervisor::{Supervising, Supervisor};

/// Restarts within [`PERIOD_DEFAULT`] unless a spec says otherwise, as in OTP.
pub const INTENSITY_DEFAULT: u32 = 1;
/// The period of the default intensity.
pub const PERIOD_DEFAULT: Duration = Duration::from_secs(5);
/// Ends caused by the infrastructure within [`INFRA_PERIOD`] that a supervisor survives.
pub const INFRA_MAX: u32 = 100;
/// The period of the node-loss budget.
pub const INFRA_PERIOD: Duration = Duration::from_secs(60);

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
    restart: Restart,
}

/// Describes one child.
#[derive(Clone)]
pub(crate) struct ChildSpec {
    pub(crate) id: String,
    body: Body,
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
            restart: Restart::Permanent,
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
    /// found under `id/` and their own ids. When it is started again its children are new actors;
    /// temporary ones, whose arguments are used by their only start, then make that start fail.
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

    /// Calls `hook` with everything that happens, also under the supervisors below that have none
    /// of their own.
    #[must_use]
    pub fn on_event(mut self, hook: Hook) -> Self {
        self.hook = Some(hook);
        self
    }

    pub(crate) fn check(&self) -> Result<(), SuperviseError> {
        let mut ids = HashSet::new();
        for child in &self.children {
            if !ids.insert(&child.id) {
                return Err(SuperviseError::DuplicateId(child.id.clone()));
            }
            if let Body::Supervisor(spec) = &child.body {
                spec.check()?;
            }
        }
        Ok(())
    }
}

impl ChildSpec {
    pub(crate) fn new(id: String, seed: Arc<dyn Seed>, settings: Settings) -> Self {
        Self { id, body: Body::Actor(seed, settings) }
    }

    /// What starts the child, under the supervisor that `parent` describes.
    pub(crate) fn into_seed(self, parent: &Supervising) -> (Arc<dyn Seed>, Settings) {
        match self.body {
            Body::Actor(seed, settings) => (seed, settings),
            Body::Supervisor(spec) => {
                let restart = spec.restart;
                let below = parent.below(&self.id, spec);
                let (seed, settings) = Supervisor::actor(below).into_seed();
                (seed, Settings { restart, shutdown: Shutdown::Infinity, ..settings })
            }
        }
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
