//! What a supervisor tells of its children.

use mobula_actors::id::{ActorId, Epoch, NodeId};
use mobula_actors::{Exit, Restart, Shutdown};

use crate::member::Member;
use crate::strategy::{ChildState, Strategy};
use crate::supervisor::Supervisor;

/// A child as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildInfo {
    /// Its path from the root of the tree.
    pub id: String,
    /// Whether it is a supervisor.
    pub is_supervisor: bool,
    /// Its kind.
    pub kind: &'static str,
    /// Its actor, the same over all runs.
    pub actor: ActorId,
    /// Its run, or the one that was tried last.
    pub epoch: Epoch,
    /// The node it runs on, or ran on last, if that is another one.
    pub node: Option<NodeId>,
    /// What it is doing.
    pub state: ChildState,
    /// How often it was started again.
    pub restarts: u64,
    /// How its last run ended, or the last start that failed; `None` as long as none has.
    pub last_exit: Option<Exit>,
    /// What holds its start back, if something does.
    pub waits: Option<String>,
    /// When it is started again.
    pub restart: Restart,
    /// How it is made to stop.
    pub shutdown: Shutdown,
    /// Whether its own end may end its supervisor.
    pub significant: bool,
}

/// How many children a supervisor has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Specs, running or not; 1 for a dynamic supervisor.
    pub specs: usize,
    /// Those that run.
    pub active: usize,
    /// Those whose start after an end is due or under way.
    pub restarting: usize,
    /// Those that are supervisors, running or not.
    pub supervisors: usize,
    /// Those that are not.
    pub workers: usize,
}

/// A supervisor and its children, or the first of them.
#[derive(Debug)]
pub struct Look {
    pub(crate) strategy: Strategy,
    pub(crate) counts: Counts,
    pub(crate) children: Vec<ChildInfo>,
}

impl Supervisor {
    pub(crate) fn look(&self, dynamic_max: usize) -> Look {
        let max = if self.is_dynamic() { dynamic_max } else { usize::MAX };
        let children = self.members.values().take(max).map(|member| self.info(member)).collect();
        Look { strategy: self.supervising.spec.strategy, counts: self.counts(), children }
    }

    fn info(&self, member: &Member) -> ChildInfo {
        let (epoch, restarts) = self.plan.runs(member.key);
        let rules = self.plan.rules(member.key);
        ChildInfo {
            id: self.supervising.name(member),
            is_supervisor: member.is_supervisor,
            kind: member.kind,
            actor: member.actor,
            epoch,
            node: member.hold.as_ref().and_then(|hold| hold.node()),
            state: self.plan.state(member.key).unwrap_or(ChildState::Stopped),
            restarts,
            last_exit: member.last_exit.as_deref().cloned(),
            waits: member.waits.as_deref().map(Into::into),
            restart: rules.map_or(Restart::Temporary, |rules| rules.restart),
            shutdown: member.shutdown,
            significant: rules.is_some_and(|rules| rules.significant),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for member in self.members.values() {
            match self.plan.state(member.key) {
                Some(ChildState::Running) => counts.active += 1,
                Some(ChildState::Restarting) => counts.restarting += 1,
                _ => {}
            }
            counts.supervisors += usize::from(member.is_supervisor);
        }
        counts.workers = self.members.len() - counts.supervisors;
        counts.specs = if self.is_dynamic() { 1 } else { self.members.len() };
        counts
    }
}
