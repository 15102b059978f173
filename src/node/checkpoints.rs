//! Hands the states of hosted actors over to their homes (J-4 of `hosting`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mobula_actors::Payload;
use mobula_actors::id::{ActorId, Epoch, NodeId};

use super::cluster::Cluster;
use super::service::NodeMsg;

/// How long a home may take to say that it holds a checkpoint.
pub const CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(30);

/// The state of a hosted actor, on its way to its home.
pub(super) struct Checkpoint {
    pub(super) actor: ActorId,
    pub(super) epoch: Epoch,
    pub(super) sequence: u64,
    pub(super) state: Bytes,
    pub(super) stored: Box<dyn FnOnce() + Send>,
}

impl Cluster {
    /// Hands a state over to its home, one after the other.
    pub(super) fn hand_over(self: Arc<Self>, home: NodeId, checkpoint: Checkpoint) {
        let actor = checkpoint.actor;
        if home == self.id {
            let Checkpoint { actor, epoch, sequence, state, stored } = checkpoint;
            return self.child_checkpoint(actor, epoch, sequence, state, stored);
        }
        {
            let mut running = self.hosting.running();
            // A run that is just starting is not in the table yet; it has time for another one.
            let Some(hosted) = running.get_mut(&actor) else { return };
            if hosted.sending {
                hosted.waiting = Some(checkpoint);
                return;
            }
            hosted.sending = true;
        }
        let runtime = self.system.runtime().clone();
        runtime.spawn(async move {
            let mut next = Some(checkpoint);
            while let Some(checkpoint) = next.take() {
                self.send_checkpoint(home, checkpoint).await;
                let mut running = self.hosting.running();
                let Some(hosted) = running.get_mut(&actor) else { return };
                next = hosted.waiting.take();
                hosted.sending = next.is_some();
            }
        });
    }

    async fn send_checkpoint(&self, home: NodeId, checkpoint: Checkpoint) {
        let Checkpoint { actor, epoch, sequence, state, stored } = checkpoint;
        let Some(service) = self.service(home) else { return };
        let held = service
            .call(|stored| NodeMsg::Checkpoint {
                actor,
                epoch,
                sequence,
                state: Payload(state),
                stored,
            })
            .within(CHECKPOINT_TIMEOUT)
            .await;
        match held {
            Ok(()) => stored(),
            // The next one supersedes it.
            Err(why) => tracing::debug!(%actor, sequence, %why, "a checkpoint is not held"),
        }
    }
}
