//! A child that placement put on some node, in the hands of its supervisor.

use std::sync::Arc;

use mobula_actors::id::{ActorId, Epoch, NodeId};
use mobula_actors::spawner::Child;
use mobula_actors::{Control, Exit};

use super::cluster::Cluster;
use super::service::NodeMsg;

/// A run on this node or another one.
pub(super) struct Placed {
    pub(super) cluster: Arc<Cluster>,
    pub(super) actor: ActorId,
    pub(super) epoch: Epoch,
    pub(super) node: NodeId,
}

impl Child for Placed {
    fn node(&self) -> Option<NodeId> {
        Some(self.node)
    }

    fn stop(&self, exit: Exit) {
        let (actor, epoch) = (self.actor, Some(self.epoch));
        self.cluster.tell(self.node, NodeMsg::End { actor, epoch, exit, kill: false });
    }

    fn kill(&self) {
        let (actor, epoch) = (self.actor, Some(self.epoch));
        self.cluster.tell(self.node, NodeMsg::End { actor, epoch, exit: Exit::Killed, kill: true });
    }

    /// Who looks for the child from now on waits for its next run.
    fn retire(&self) {
        let (actor, epoch) = (self.actor, self.epoch);
        self.cluster.tell(self.node, NodeMsg::Retire { actor, epoch });
    }

    fn forget(&self) {
        self.cluster.children.forget(self.actor);
        self.cluster.changed.notify_waiters();
    }

    fn control(&self) -> Option<Arc<dyn Control>> {
        None
    }
}
