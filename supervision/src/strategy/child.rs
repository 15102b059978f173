//! One child as the plan knows it.

use std::fmt;
use std::time::Duration;

use mobula_actors::id::{Epoch, NodeId};
use mobula_actors::{Exit, Restart};

use super::{Decision, Key};
use crate::backoff::Backoff;

/// What a child is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildState {
    /// It has no run, and gets none of itself.
    Stopped,
    /// A start that was asked for is under way.
    Starting,
    /// It runs.
    Running,
    /// A start after an end is due or under way.
    Restarting,
    /// Its run, or its start, is being ended.
    Stopping,
}

/// How one child is to be treated.
#[derive(Clone, Debug)]
pub struct Rules {
    /// When it is started again.
    pub restart: Restart,
    /// Whether its own end may end the supervisor.
    pub significant: bool,
    /// Its waits after ends caused by its code; `None` for none.
    pub code: Option<Box<Backoff>>,
    /// Its waits after ends caused by the infrastructure; `None` for none.
    pub infra: Option<Box<Backoff>>,
}

#[derive(Debug)]
pub(super) struct Child {
    pub(super) rules: Rules,
    pub(super) state: ChildState,
    pub(super) epoch: Epoch,
    pub(super) restarts: u64,
    /// A start has been ordered, and nothing heard of it.
    pub(super) ordered: bool,
    /// It is stopped for the sake of its group, and started again with it.
    pub(super) again: bool,
    /// What its next run is to know of the end of its last.
    pub(super) next: Next,
}

/// How the run after an end is started.
#[derive(Clone, Debug, Default)]
pub(super) struct Next {
    pub(super) keep: bool,
    pub(super) avoid: Option<Box<NodeId>>,
}

impl Next {
    pub(super) fn after(exit: &Exit) -> Self {
        let avoid = if let Exit::NodeDead(node) = exit { Some(Box::new(*node)) } else { None };
        Self { keep: !exit.is_infrastructure(), avoid }
    }
}

impl Child {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            state: ChildState::Stopped,
            epoch: Epoch::default(),
            restarts: 0,
            ordered: false,
            again: false,
            next: Next::default(),
        }
    }

    pub(super) fn is_starting(&self) -> bool {
        matches!(self.state, ChildState::Starting | ChildState::Restarting)
    }

    pub(super) fn wait_after(&mut self, exit: &Exit, now: Duration, chance: f64) -> Duration {
        let lost = exit.is_infrastructure();
        let backoff = if lost { &mut self.rules.infra } else { &mut self.rules.code };
        let backoff = backoff.as_mut();
        backoff.map_or(Duration::ZERO, |backoff| backoff.wait(now, chance))
    }

    /// The run after the last one is to be started.
    pub(super) fn order(&mut self, child: Key, after: Duration) -> Decision {
        self.epoch = self.epoch.next();
        self.ordered = true;
        let Next { keep, avoid } = std::mem::take(&mut self.next);
        let avoid = avoid.map(|node| *node);
        Decision::Start { child, epoch: self.epoch, after, keep, avoid }
    }

    pub(super) fn order_again(&mut self, child: Key, after: Duration) -> Decision {
        self.state = ChildState::Restarting;
        self.restarts += 1;
        self.order(child, after)
    }
}

impl ChildState {
    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
        }
    }
}

impl fmt::Display for ChildState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
