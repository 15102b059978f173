//! What all connections of a node share: its name, its bounds, its links.

use std::{
    collections::BTreeMap,
    fmt,
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
    time::Instant,
};

use futures::task::AtomicWaker;
use mobula_actors::id::{NodeId, PeerKey};
use tokio::sync::{Notify, mpsc};

use super::{
    Inbound,
    hello::{Class, Hello, Terms},
    limits::Limits,
    link::{End, Link},
    membership::Membership,
    message::Lane,
    strikes::Strikes,
};

/// What the room asks of the swarm.
#[derive(Debug)]
pub(super) enum Command {
    Dial(PeerKey, String),
    DialBulk(PeerKey, String),
}

pub(super) struct Hub {
    pub(super) me: NodeId,
    /// It only looks, and says so when it dials.
    pub(super) observer: bool,
    pub(super) versions: RangeInclusive<u16>,
    pub(super) features: u64,
    pub(super) address: OnceLock<String>,
    pub(super) limits: Limits,
    pub(super) membership: Membership,
    pub(super) inbound: Arc<dyn Inbound>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) counters: Counters,
    pub(super) links: Mutex<Links>,
    pub(super) strikes: Mutex<Strikes>,
    /// Notified when a link is released.
    pub(super) released: Notify,
}

/// At most one link per peer. A life that follows waits here until the one before is gone.
#[derive(Default)]
pub(super) struct Links {
    map: BTreeMap<PeerKey, Link>,
    waiting: Vec<Waker>,
}

/// The answer to a connection that wants to carry a link.
pub(super) enum Claim {
    Carry(Link),
    /// Ask again after a wake.
    Wait,
    /// Another connection carries the link.
    Spare,
    /// A later life of the peer is connected.
    Stale,
}

impl Hub {
    pub(super) fn hello(&self, class: Class) -> Hello {
        let observer = self.observer && class == Class::Control;
        let class = if observer { Class::Observer } else { class };
        Hello {
            versions: self.versions.clone(),
            features: self.features,
            class,
            boot: self.me.boot,
            address: self.address.get().cloned().unwrap_or_default(),
        }
    }

    pub(super) fn message_bytes_max(&self, lane: Lane) -> usize {
        match lane {
            Lane::Control | Lane::Call => self.limits.message_bytes_max,
            Lane::Bulk => self.limits.bulk_message_bytes_max,
        }
    }

    /// Of two nodes the one with the smaller key says which control connection is the one.
    pub(super) fn chooses(&self, peer: &PeerKey) -> bool {
        self.me.key < *peer
    }

    /// A control connection wants to carry the link with `node`. `chosen` says that the peer,
    /// whose choice it is, chose this connection: one that is still here is over for the peer.
    pub(super) fn claim_control(
        self: &Arc<Self>,
        node: NodeId,
        address: Option<String>,
        terms: Terms,
        chosen: bool,
        bell: &Arc<AtomicWaker>,
        waker: &Waker,
    ) -> Claim {
        let mut links = self.links();
        let Some(link) = links.map.get(&node.key).cloned() else {
            let link = Link::new(Arc::clone(self), node, address, terms);
            link.attach(bell);
            links.map.insert(node.key, link.clone());
            links.wake();
            return Claim::Carry(link);
        };
        if link.node().boot > node.boot {
            return Claim::Stale;
        }
        if link.is_open() && link.node().boot == node.boot && !chosen {
            return Claim::Spare;
        }
        links.wait(waker);
        drop(links);
        link.close(End::Cut);
        Claim::Wait
    }

    /// A bulk connection wants to carry its part of the link with `node`.
    pub(super) fn claim_bulk(&self, node: NodeId, bell: &Arc<AtomicWaker>, waker: &Waker) -> Claim {
        let mut links = self.links();
        match links.map.get(&node.key) {
            Some(link) if link.node().boot > node.boot => Claim::Stale,
            Some(link) if link.node() == node && link.attach(bell) => Claim::Carry(link.clone()),
            _ => {
                links.wait(waker);
                Claim::Wait
            }
        }
    }

    pub(super) fn release(&self, link: &Link) {
        let mut links = self.links();
        let key = link.node().key;
        if links.map.get(&key).is_some_and(|held| held.is(link)) {
            links.map.remove(&key);
        }
        links.wake();
        drop(links);
        self.released.notify_waiters();
    }

    /// Whether a link with the peer exists. If not, wakes when links change.
    pub(super) fn is_linked(&self, peer: &PeerKey, waker: &Waker) -> bool {
        let mut links = self.links();
        let linked = links.map.contains_key(peer);
        if !linked {
            links.wait(waker);
        }
        linked
    }

    /// A member has broken the protocol (ST-1).
    pub(super) fn strike(&self, peer: PeerKey) {
        if self.strikes().strike(peer, Instant::now()) {
            count(&self.counters.quarantined, 1);
            tracing::warn!(%peer, "a member broke the protocol too often: it is kept out");
            if let Some(link) = self.link(&peer) {
                link.close(End::Cut);
            }
        }
    }

    /// Whether a member is kept out for a while.
    pub(super) fn is_out(&self, peer: &PeerKey) -> bool {
        self.strikes().is_out(peer, Instant::now())
    }

    pub(super) fn strikes(&self) -> MutexGuard<'_, Strikes> {
        self.strikes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn link(&self, peer: &PeerKey) -> Option<Link> {
        self.links().map.get(peer).cloned()
    }

    pub(super) fn all_links(&self) -> Vec<Link> {
        self.links().map.values().cloned().collect()
    }

    /// Waits until no link is left.
    pub(super) async fn all_released(&self) {
        let mut released = std::pin::pin!(self.released.notified());
        loop {
            released.as_mut().enable();
            if self.links().map.is_empty() {
                return;
            }
            released.as_mut().await;
            released.set(self.released.notified());
        }
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hub({})", self.me)
    }
}

impl Links {
    fn wait(&mut self, waker: &Waker) {
        if !self.waiting.iter().any(|kept| kept.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
    }

    fn wake(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

/// What happened so far at the door and on the lanes.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) denied: AtomicU64,
    pub(super) crowded: AtomicU64,
    pub(super) throttled: AtomicU64,
    pub(super) violations: AtomicU64,
    pub(super) quarantined: AtomicU64,
    pub(super) frames: AtomicU64,
}

/// A reading of the counters of a node's door and lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections of those who are no members, or are it no longer.
    pub denied: u64,
    /// Connections refused because too many were pending or held by one peer.
    pub crowded: u64,
    /// Connections refused because too many came from an address or a network lately.
    pub throttled: u64,
    /// Connections closed because the peer broke the protocol.
    pub violations: u64,
    /// How often a member was put into quarantine because it broke the protocol again and again.
    pub quarantined: u64,
    /// Frames decoded.
    pub frames: u64,
}

impl Counters {
    pub(super) fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            denied: read(&self.denied),
            crowded: read(&self.crowded),
            throttled: read(&self.throttled),
            violations: read(&self.violations),
            quarantined: read(&self.quarantined),
            frames: read(&self.frames),
        }
    }
}

pub(super) fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
