//! How revocations spread: who knows a newer list gives it to those it is connected with.
//!
//! A list is signed by the cluster, so it matters little who brings it. Nodes tell each other the
//! version that they know when they meet and when it changes.
//!
//! Invariant **RK-1**: a list is sent to one connection at most once for each version.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mobula_actors::Payload;
use mobula_actors::id::NodeId;

use super::authority::Violation;
use super::cluster::Cluster;
use super::service::NodeMsg;
use crate::net::Revocations;

/// How often a node looks whether its own list has changed.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The versions that were sent to whom.
#[derive(Default)]
pub(super) struct Revoking(Mutex<HashMap<NodeId, u64>>);

impl Revoking {
    pub(super) fn disconnected(&self, node: NodeId) {
        self.sent().remove(&node);
    }

    /// Whether a version is to be sent; from then on it is sent (RK-1).
    fn sends(&self, node: NodeId, version: u64) -> bool {
        self.sent().insert(node, version).is_none_or(|sent| sent < version)
    }

    fn sent(&self) -> MutexGuard<'_, HashMap<NodeId, u64>> {
        // Nothing that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster {
    /// Tells a node which list is known here, if there is one.
    pub(super) fn offer_revocations(&self, node: NodeId) {
        if let Some(list) = self.revocations() {
            self.tell(node, NodeMsg::Revoked { version: list.version() });
        }
    }

    /// A node knows this version. The older of the two lists gives way.
    pub(super) fn compare_revocations(&self, node: NodeId, theirs: u64) {
        let ours = self.revocations();
        let version = ours.as_ref().map_or(0, Revocations::version);
        if theirs > version {
            return self.tell(node, NodeMsg::Revoked { version });
        }
        if let Some(list) = ours.filter(|_| theirs < version)
            && self.link(node).is_some()
            && self.revoking.sends(node, version)
        {
            let list = Payload(Bytes::copy_from_slice(list.signed()));
            self.tell(node, NodeMsg::Revocations { list });
        }
    }

    /// A node has sent its list.
    pub(super) fn learn_revocations(&self, from: NodeId, list: &[u8]) {
        match self.net(|net| net.learn_revocations(list)) {
            Some(Ok(true)) => {
                tracing::info!(%from, "a newer list of revocations holds from now on")
            }
            Some(Err(_)) => self.accuse(from, &Violation::Forged),
            _ => {}
        }
    }

    /// Tells all that are connected when there is a newer list, until the node stops.
    pub(super) async fn spread_revocations(self: Arc<Self>) {
        let mut interval = tokio::time::interval(LOOK_INTERVAL);
        let mut told = 0;
        loop {
            interval.tick().await;
            let version = self.revocations().map_or(0, |list| list.version());
            if version > told {
                told = version;
                self.linked().into_iter().for_each(|node| self.offer_revocations(node));
            }
        }
    }

    fn revocations(&self) -> Option<Revocations> {
        self.net(|net| net.revocations()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use mobula_actors::id::PeerKey;

    use super::*;

    /// RK-1.
    #[test]
    fn a_version_is_sent_once_to_a_connection() {
        let revoking = Revoking::default();
        let node = NodeId { key: PeerKey([1; 32]), boot: 1 };
        assert!(revoking.sends(node, 1));
        assert!(!revoking.sends(node, 1));
        assert!(revoking.sends(node, 2));
        revoking.disconnected(node);
        assert!(revoking.sends(node, 2));
    }
}
