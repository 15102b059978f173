//! What a supervisor decides, as a pure machine: what happened and when goes in, decisions come
//! out. It has no clock, no task and no chance of its own; simulation runs the same code.
//!
//! Invariants:
//! - **S-1** Every start of a child has a larger epoch than the one before it, also if it fails.
//! - **S-2** Children are stopped in reverse order of their start, one after the other.
//! - **S-3** Ends caused by a child's code count toward `intensity`, those caused by the
//!   infrastructure toward the node-loss budget, and one dead node counts once.
//! - **S-4** Once the plan ends, nothing is started any more.
//! - **S-5** A child is `Stopping` until its end, or that of its start, has been reported.
//! - **S-6** Only the own end of a significant child that is not started again leads to an automatic
//!   shutdown: no stop that was ordered, no end for a group's sake, none before the plan is up.
//! - **S-7** `Dynamic` keeps nothing of a child that is not started again, and stops all at once.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use mobula_actors::Exit;
use mobula_actors::id::{Epoch, NodeId};

use crate::intensity::Intensity;

mod child;
mod ending;
mod group;

pub use child::{ChildState, Rules};

use child::{Child, Next};

/// Dead nodes remembered, so that the children of each count once.
pub const DEAD_NODES_MAX: usize = 256;

/// Which children an end concerns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// Only the child that ended is started again.
    #[default]
    OneForOne,
    /// All children are: those that run are stopped first.
    OneForAll,
    /// It and those that started after it are: those that run are stopped first.
    RestForOne,
    /// As `OneForOne`, for children of one kind that are started on demand: nothing is kept of
    /// those that have ended, and all are stopped together. See
    /// [`Supervisor::dynamic`](crate::Supervisor::dynamic).
    Dynamic,
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::OneForOne => "one for one",
            Self::OneForAll => "one for all",
            Self::RestForOne => "rest for one",
            Self::Dynamic => "dynamic",
        })
    }
}

/// Whether a supervisor ends when its significant children have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AutoShutdown {
    /// It does not.
    #[default]
    Never,
    /// When one of them ends by itself and is not started again.
    AnySignificant,
    /// When the last of them does.
    AllSignificant,
}

/// A child within its supervisor. Larger keys started later; none is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64);

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// Start a run.
    Start {
        /// Of whom.
        child: Key,
        /// Its number.
        epoch: Epoch,
        /// The wait before it.
        after: Duration,
        /// Whether it goes on with the cell, and so the mailbox, of the run before it.
        keep: bool,
        /// A node to be used only if no other will do.
        avoid: Option<NodeId>,
    },
    /// End the run, or call off the start.
    Stop {
        /// Of whom.
        child: Key,
    },
    /// End all runs and call off all starts, at once and in no order.
    StopAll,
    /// Its run has ended and none follows: let go of its cell.
    Release {
        /// Whose.
        child: Key,
    },
    /// Nothing of it is kept any more.
    Forget {
        /// Whom.
        child: Key,
    },
    /// All children have ended: so does the supervisor.
    GiveUp(Exit),
}

/// A supervisor's children and what it has decided about them.
#[derive(Debug)]
pub struct Plan {
    strategy: Strategy,
    intensity: Intensity,
    infra_budget: Intensity,
    dead: VecDeque<NodeId>,
    /// Boxed: a tree of small entries that grows at its end wastes less.
    children: BTreeMap<Key, Box<Child>>,
    auto_shutdown: AutoShutdown,
    /// Everything has been started once.
    is_up: bool,
    /// The automatic shutdown waits for that.
    shuts_down: bool,
    ending: Option<Exit>,
    group: Option<group::Group>,
}

/// Why and when a run ended, with a number in `0.0..1.0` for the jitter of the wait.
#[derive(Clone, Debug)]
pub struct End {
    /// How it ended.
    pub exit: Exit,
    /// When, since an arbitrary start.
    pub now: Duration,
    /// The chance.
    pub chance: f64,
}

impl Plan {
    /// A plan without children.
    #[must_use]
    pub fn new(strategy: Strategy, intensity: Intensity, infra_budget: Intensity) -> Self {
        Self {
            strategy,
            intensity,
            infra_budget,
            dead: VecDeque::new(),
            children: BTreeMap::new(),
            auto_shutdown: AutoShutdown::Never,
            is_up: false,
            shuts_down: false,
            ending: None,
            group: None,
        }
    }

    /// The same, ending with its significant children.
    #[must_use]
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.auto_shutdown = auto_shutdown;
        self
    }

    /// All static children have been started: from now on there may be an automatic shutdown, be
    /// it for an end before (S-6).
    pub fn up(&mut self) -> Vec<Decision> {
        self.is_up = true;
        if self.shuts_down { self.end(Exit::Shutdown) } else { Vec::new() }
    }

    /// Adds a stopped child. Its key is larger than any before it.
    pub fn add(&mut self, key: Key, rules: Rules) {
        self.children.insert(key, Box::new(Child::new(rules)));
    }

    /// Forgets a stopped child; a child in another state stays.
    pub fn remove(&mut self, key: Key) {
        if self.state(key) == Some(ChildState::Stopped) {
            self.children.remove(&key);
        }
    }

    /// What a child is doing; `None` if it is not known.
    #[must_use]
    pub fn state(&self, key: Key) -> Option<ChildState> {
        self.children.get(&key).map(|child| child.state)
    }

    /// How a child is treated.
    #[must_use]
    pub fn rules(&self, key: Key) -> Option<&Rules> {
        self.children.get(&key).map(|child| &child.rules)
    }

    /// The child's run, or the last one that was ordered, and how often it was started again.
    #[must_use]
    pub fn runs(&self, key: Key) -> (Epoch, u64) {
        self.children.get(&key).map_or_else(Default::default, |child| (child.epoch, child.restarts))
    }

    /// Whether the plan ends.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Starts a stopped child because somebody asked for it.
    pub fn start(&mut self, key: Key) -> Vec<Decision> {
        let child = self.children.get_mut(&key).filter(|child| child.state == ChildState::Stopped);
        match child {
            Some(child) if self.ending.is_none() => {
                child.state = ChildState::Starting;
                vec![child.order(key, Duration::ZERO)]
            }
            _ => Vec::new(),
        }
    }

    /// The start that was ordered has succeeded.
    pub fn started(&mut self, key: Key) -> Vec<Decision> {
        let Some(child) = self.children.get_mut(&key) else { return Vec::new() };
        child.ordered = false;
        match child.state {
            ChildState::Starting | ChildState::Restarting => {
                child.state = ChildState::Running;
                self.advance(key)
            }
            // It was called off too late.
            ChildState::Stopping => vec![Decision::Stop { child: key }],
            ChildState::Running | ChildState::Stopped => Vec::new(),
        }
    }

    /// The start that was ordered has failed, or was called off. One that somebody asked for
    /// leaves the child stopped; during a restart it counts as one more end. A child that is not
    /// needed ([`Exit::Ignored`]) stays without a run, and that does not count.
    pub fn start_failed(&mut self, key: Key, end: End) -> Vec<Decision> {
        let Some(child) = self.children.get_mut(&key) else { return Vec::new() };
        child.ordered = false;
        match child.state {
            ChildState::Restarting if end.exit == Exit::Ignored => self.finish(key),
            ChildState::Restarting => self.start_again(key, end),
            ChildState::Starting => self.finish(key),
            // The run before it may have left a mailbox, unless the infrastructure took it.
            ChildState::Stopping => self.stopped(key, &end.exit),
            ChildState::Stopped | ChildState::Running => Vec::new(),
        }
    }

    /// The child's run has ended.
    pub fn ended(&mut self, key: Key, end: End) -> Vec<Decision> {
        let Some(child) = self.children.get(&key) else { return Vec::new() };
        match child.state {
            ChildState::Running if self.is_about_to_stop(key) => self.stopped_early(key, &end.exit),
            ChildState::Running
                if self.ending.is_none() && child.rules.restart.after(&end.exit) =>
            {
                self.start_again(key, end)
            }
            ChildState::Running => self.ended_for_good(key),
            ChildState::Stopping => self.stopped(key, &end.exit),
            _ => Vec::new(),
        }
    }

    /// Stops one child; it stays, stopped, unless it is temporary.
    pub fn terminate(&mut self, key: Key) -> Vec<Decision> {
        let Some(child) = self.children.get_mut(&key) else { return Vec::new() };
        child.again = false;
        if let Some(group) = &mut self.group {
            group.leave(key);
        }
        match child.state {
            ChildState::Stopped | ChildState::Stopping => Vec::new(),
            // It waits for its group, and has nothing that could be stopped.
            ChildState::Restarting if !child.ordered => self.finish(key),
            _ => {
                child.state = ChildState::Stopping;
                vec![Decision::Stop { child: key }]
            }
        }
    }

    fn start_again(&mut self, key: Key, end: End) -> Vec<Decision> {
        let End { exit, now, chance } = end;
        let lost = exit.is_infrastructure();
        let admitted = if lost { self.admit_loss(&exit, now) } else { self.intensity.add(now) };
        if !admitted {
            // Its group is not gone on with.
            self.group = None;
            let mut decisions = self.finish(key);
            decisions.extend(self.end(Exit::MaxIntensity));
            return decisions;
        }
        match self.strategy {
            Strategy::OneForOne | Strategy::Dynamic => self.restart_one(key, &exit, now, chance),
            Strategy::OneForAll => self.restart_from(Key(0), key, &exit, now, chance),
            Strategy::RestForOne => self.restart_from(key, key, &exit, now, chance),
        }
    }

    fn restart_one(&mut self, key: Key, exit: &Exit, now: Duration, chance: f64) -> Vec<Decision> {
        let Some(child) = self.children.get_mut(&key) else { return Vec::new() };
        child.next = Next::after(exit);
        let after = child.wait_after(exit, now, chance);
        vec![child.order_again(key, after)]
    }

    fn admit_loss(&mut self, exit: &Exit, now: Duration) -> bool {
        if let Exit::NodeDead(node) = exit {
            if self.dead.contains(node) {
                return true;
            }
            if self.dead.len() == DEAD_NODES_MAX {
                self.dead.pop_front();
            }
            self.dead.push_back(*node);
        }
        self.infra_budget.add(now)
    }
}
