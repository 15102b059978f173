//! A run that was ordered and is not alive yet, or belongs to a gang that is not.

use std::sync::Arc;

use mobula_actors::id::{ActorId, Epoch, NodeId};
use mobula_actors::spawner::Order;
use mobula_actors::{Exit, SpawnError};

use super::cluster::Cluster;
use super::service::NodeMsg;

/// A placement that has not succeeded yet. Dropped, what it may have left is told to end (L-1), and
/// whoever looked for an actor that was never alive is told that there is none.
pub(super) struct Unfinished {
    cluster: Arc<Cluster>,
    actor: ActorId,
    epoch: Epoch,
    /// The node that was asked to start it.
    at: Option<NodeId>,
    /// It came to life, though its gang may still fail.
    alive: bool,
    finished: bool,
}

impl Unfinished {
    /// Notes the order of a run.
    pub(super) fn ordered(cluster: &Arc<Cluster>, order: &Order) -> Result<Self, SpawnError> {
        let Order { id: actor, epoch, restart, watch, .. } = order;
        cluster.children.ordered(*actor, *epoch, *restart, watch.clone())?;
        let (actor, epoch, cluster) = (*actor, *epoch, cluster.clone());
        Ok(Self { cluster, actor, epoch, at: None, alive: false, finished: false })
    }

    /// `node` is about to be asked to start it.
    pub(super) fn asks(&mut self, node: NodeId) {
        self.at = Some(node);
        self.cluster.children.asks(self.actor, self.epoch, node);
    }

    /// It is alive, and ends all the same if its gang fails.
    pub(super) fn alive(&mut self) {
        self.alive = true;
    }

    /// It stays.
    pub(super) fn finished(mut self) {
        self.finished = true;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let Self { cluster, actor, epoch, at, alive, .. } = self;
        cluster.children.not_started(*actor, *epoch);
        // On this node a start that failed leaves nothing behind by itself.
        if let Some(node) = at.filter(|node| *alive || *node != cluster.id) {
            let (actor, epoch) = (*actor, *epoch);
            let end = NodeMsg::End { actor, epoch: Some(epoch), exit: Exit::Killed, kill: true };
            cluster.tell(node, end);
            cluster.tell(node, NodeMsg::Retire { actor, epoch });
        }
    }
}
