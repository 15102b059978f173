//! What a supervisor is started with, again and again.

use std::fmt;
use std::sync::{Arc, OnceLock};

use mobula_actors::spawner::Spawner;
use mobula_actors::{Context, Fault};

use crate::directory::Directory;
use crate::error::SuperviseError;
use crate::event::Event;
use crate::member::Member;
use crate::spec::{Hook, SupervisorSpec};
use crate::strategy::Strategy;
use crate::supervisor::Supervisor;

/// What one supervisor is started with.
#[derive(Clone)]
pub struct Supervising {
    pub(crate) spec: Arc<SupervisorSpec>,
    pub(crate) spawner: Arc<dyn Spawner>,
    pub(crate) directory: Arc<Directory>,
    /// Empty for the root, else it ends in a slash.
    pub(crate) path: String,
    hook: Option<Hook>,
    /// Why the first start failed.
    pub(crate) failure: Arc<OnceLock<SuperviseError>>,
}

impl Supervising {
    pub(crate) fn root(spec: SupervisorSpec, spawner: Arc<dyn Spawner>) -> Self {
        Self {
            hook: spec.hook.clone(),
            spec: Arc::new(spec),
            spawner,
            directory: Arc::default(),
            path: String::new(),
            failure: Arc::default(),
        }
    }

    pub(crate) fn below(&self, id: &str, spec: SupervisorSpec) -> Self {
        Self {
            hook: spec.hook.clone().or_else(|| self.hook.clone()),
            spec: Arc::new(spec),
            path: format!("{}{id}/", self.path),
            failure: Arc::default(),
            ..self.clone()
        }
    }
}

impl Supervising {
    /// Whether the supervisor is needed and has its name.
    pub(crate) fn admit(&self, ctx: &mut Context<Supervisor>) -> Result<(), Fault> {
        if self.spec.needed.as_ref().is_some_and(|needed| !needed()) {
            self.fail(SuperviseError::Ignored);
            return Err(ctx.ignore());
        }
        let Some(name) = &self.spec.name else { return Ok(()) };
        let named = ctx.engine().register(name, &ctx.me());
        named.map_err(|error| self.fail(SuperviseError::Name(error)))
    }

    /// Only the first start of a tree has somebody who reads the error.
    pub(crate) fn fail(&self, error: SuperviseError) -> Fault {
        let fault = Fault::from(error.clone());
        let _ = self.failure.set(error);
        fault
    }

    /// The supervisor's own path; empty for the root.
    pub(crate) fn own_path(&self) -> &str {
        self.path.trim_end_matches('/')
    }

    /// The child's path, or what stands for it.
    pub(crate) fn name(&self, member: &Member) -> String {
        match self.spec.strategy {
            Strategy::Dynamic => format!("{}{}", self.path, member.actor),
            _ => self.path_of(&member.id),
        }
    }

    pub(crate) fn path_of(&self, id: &str) -> String {
        format!("{}{id}", self.path)
    }

    pub(crate) fn tell(&self, event: &Event) {
        tracing::debug!(%event, "supervised");
        if let Some(hook) = &self.hook {
            hook(event);
        }
    }
}

impl fmt::Debug for Supervising {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Supervising({:?})", self.path)
    }
}
