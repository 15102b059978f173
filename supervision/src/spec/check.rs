//! What a spec may not say, and what it is warned of.

use std::collections::HashSet;

use super::child::Body;
use super::{LEVELS_MAX, RESTARTS_WARN, SupervisorSpec};
use crate::error::SpecError;
use crate::strategy::{AutoShutdown, Strategy};

impl SupervisorSpec {
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
        if let Some(id) = &self.too_deep {
            return Err(SpecError::TooDeep { id: id.clone(), max: LEVELS_MAX });
        }
        if self.strategy == Strategy::Dynamic {
            self.check_dynamic()?;
        }
        let mut ids = HashSet::new();
        for child in &self.children {
            if !ids.insert(&child.id) {
                return Err(SpecError::DuplicateId(child.id.clone()));
            }
            child.check_id()?;
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
