//! Demand of this node that waits for room: who waits is counted, and may be too many.

use mobula_actors::SpawnError;
use mobula_actors::spawner::Request;

use super::Node;
use super::placing::Placer;
use crate::machine::Time;
use crate::placement::{PENDING_MAX, PendingDemand, Waiting};

impl Node {
    /// Demand that was placed from this node and found no room, by kind and demand: what waits, and
    /// what no node could hold in the last minute. Empty for a node on its own.
    #[must_use]
    pub fn pending(&self) -> Vec<PendingDemand> {
        let Some(clustered) = &self.0.cluster else { return Vec::new() };
        let placer = &clustered.placer;
        let now = placer.cluster.membership.now();
        placer.choice().pending.groups(now)
    }
}

/// One placement among those that wait. Dropped, it does not wait any more.
pub(super) struct Queue<'a> {
    placer: &'a Placer,
    waiting: Vec<Waiting>,
}

impl<'a> Queue<'a> {
    pub(super) fn new(placer: &'a Placer) -> Self {
        Self { placer, waiting: Vec::new() }
    }

    /// Waits until then, and is counted from the first time on.
    ///
    /// # Errors
    /// Too many wait already.
    pub(super) async fn wait<'r>(
        &mut self,
        until: Time,
        requests: impl IntoIterator<Item = &'r Request>,
        missing: &str,
    ) -> Result<(), SpawnError> {
        let now = self.placer.cluster.membership.now();
        self.count(now, requests, missing)?;
        tokio::time::sleep(until.since(now)).await;
        Ok(())
    }

    fn count<'r>(
        &mut self,
        now: Time,
        requests: impl IntoIterator<Item = &'r Request>,
        missing: &str,
    ) -> Result<(), SpawnError> {
        let pending = &mut self.placer.choice().pending;
        if !self.waiting.is_empty() {
            let again = self.waiting.iter();
            again.for_each(|number| pending.still_waits(*number, missing.to_owned()));
            return Ok(());
        }
        for request in requests {
            let (kind, demand) = (request.seed.kind(), &request.settings.demand);
            let Some(number) = pending.enter(now, kind, demand, missing.to_owned()) else {
                let why = format!("{PENDING_MAX} actors of this node wait for room: try later");
                return Err(SpawnError::Refused(why));
            };
            self.waiting.push(number);
        }
        Ok(())
    }
}

impl Drop for Queue<'_> {
    fn drop(&mut self) {
        let pending = &mut self.placer.choice().pending;
        self.waiting.drain(..).for_each(|number| pending.leave(number));
    }
}
