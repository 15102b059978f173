//! What describes one child, and how it is sown.

use std::fmt;
use std::sync::Arc;

use mobula_actors::spawner::{IntoSeed, Seed};
use mobula_actors::{Restart, Settings, Shutdown};

use super::SupervisorSpec;
use crate::error::SpecError;
use crate::strategy::AutoShutdown;
use crate::supervising::Supervising;
use crate::supervisor::Supervisor;

/// Describes one child.
#[derive(Clone)]
pub struct ChildSpec {
    pub(crate) id: String,
    pub(super) body: Body,
}

/// What starts a child and says how it is treated.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub(crate) seed: Arc<dyn Seed>,
    pub(crate) settings: Settings,
}

/// A child about to be added.
pub(crate) struct Sown {
    pub(crate) recipe: Recipe,
    pub(crate) is_supervisor: bool,
}

#[derive(Clone)]
pub(super) enum Body {
    Actor(Arc<dyn Seed>, Settings),
    Supervisor(SupervisorSpec),
}

impl ChildSpec {
    pub(crate) fn new(id: String, seed: Arc<dyn Seed>, settings: Settings) -> Self {
        Self { id, body: Body::Actor(seed, settings) }
    }

    pub(crate) fn supervisor(id: String, spec: SupervisorSpec) -> Self {
        Self { id, body: Body::Supervisor(spec) }
    }

    /// Whether the child can be found by its id: paths are ids with slashes between them.
    pub(crate) fn check_id(&self) -> Result<(), SpecError> {
        if self.id.is_empty() || self.id.contains('/') {
            return Err(SpecError::BadId(self.id.clone()));
        }
        Ok(())
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
            Body::Actor(seed, settings) => {
                Sown { recipe: Recipe { seed, settings }, is_supervisor: false }
            }
            Body::Supervisor(spec) => {
                let (restart, significant) = (spec.restart, spec.significant);
                let below = parent.below(&self.id, spec);
                let (seed, settings) = Supervisor::actor(below).into_seed();
                let shutdown = Shutdown::Infinity;
                let settings = Settings { restart, significant, shutdown, ..settings };
                Sown { recipe: Recipe { seed, settings }, is_supervisor: true }
            }
        }
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChildSpec({:?})", self.id)
    }
}
