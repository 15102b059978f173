//! The links between nodes: when what was sent arrives, and what silence holds back.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::machine::{Rng, Time};

/// The shortest way between two nodes.
const DELAY: Duration = Duration::from_micros(200);
/// What is added at most, drawn anew for each item.
const JITTER: Duration = Duration::from_micros(800);

/// What a connection carries.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Frame(Bytes),
    Close { bye: bool },
}

/// An item on its way; the world delivers it at `at` if the connection is still there.
#[derive(Clone, Debug)]
pub(super) struct Transit {
    pub(super) at: Time,
    pub(super) from: u32,
    pub(super) to: u32,
    link: usize,
    connection: u64,
    pub(super) item: Item,
}

/// One end of a connection, and what it sends.
#[derive(Clone, Copy, Debug, Default)]
struct End {
    open: bool,
    /// Whether what it sends is held back.
    silent: bool,
    /// Nothing that it sends overtakes what arrives then.
    last: Time,
}

/// Two nodes that are or were connected.
#[derive(Debug)]
struct Link {
    /// The number of the newest connection.
    connection: u64,
    /// That of the node with the smaller number, and the other.
    ends: [End; 2],
}

/// All connections, at most one per pair of nodes, and the directions that are silent.
#[derive(Debug)]
pub(super) struct Network {
    rng: Rng,
    links: Vec<Link>,
    /// For each node whom it is linked with, in order, and by which link.
    peers: Vec<Vec<(u32, usize)>>,
    /// For each node towards whom it is silent, and what that holds back.
    silent: Vec<BTreeMap<u32, Vec<Item>>>,
    opened: u64,
}

impl Network {
    pub(super) fn new(seed: u64, nodes: u32) -> Self {
        let peers = (0..nodes).map(|_| Vec::new()).collect();
        let silent = (0..nodes).map(|_| BTreeMap::new()).collect();
        Self { rng: Rng::new(seed), links: Vec::new(), peers, silent, opened: 0 }
    }

    fn link(&self, from: u32, to: u32) -> Option<usize> {
        let peers = self.peers.get(from as usize)?;
        let at = peers.binary_search_by_key(&to, |(peer, _)| *peer).ok()?;
        Some(peers[at].1)
    }

    /// To whom `node` has an open end of a connection.
    pub(super) fn peers(&self, node: u32) -> impl Iterator<Item = u32> {
        let peers = self.peers.get(node as usize).into_iter().flatten();
        let open =
            move |(peer, link): &&(u32, usize)| self.links[*link].ends[side(node, *peer)].open;
        peers.filter(open).map(|(peer, _)| *peer)
    }

    /// How long one item takes.
    pub(super) fn delay(&mut self) -> Duration {
        DELAY + JITTER.mul_f64(self.rng.unit())
    }

    /// Whether `node` has an open end of a connection to `peer`.
    pub(super) fn is_open(&self, node: u32, peer: u32) -> bool {
        self.link(node, peer).is_some_and(|link| self.links[link].ends[side(node, peer)].open)
    }

    /// Whether both ends of a connection are open.
    pub(super) fn is_whole(&self, a: u32, b: u32) -> bool {
        self.is_open(a, b) && self.is_open(b, a)
    }

    pub(super) fn is_silent(&self, a: u32, b: u32) -> bool {
        let silent = |from: u32, to| {
            self.silent.get(from as usize).is_some_and(|held| held.contains_key(&to))
        };
        silent(a, b) || silent(b, a)
    }

    /// Opens a connection; what an older one between the two carried is lost.
    pub(super) fn open(&mut self, a: u32, b: u32) {
        self.opened += 1;
        let mut ends = [End { open: true, silent: false, last: Time(0) }; 2];
        for (from, to) in [(a, b), (b, a)] {
            if let Some(held) = self.silent[from as usize].get_mut(&to) {
                held.clear();
                ends[side(from, to)].silent = true;
            }
        }
        let opened = Link { connection: self.opened, ends };
        if let Some(link) = self.link(a, b) {
            self.links[link] = opened;
        } else {
            for (from, to) in [(a, b), (b, a)] {
                let peers = &mut self.peers[from as usize];
                let at = peers.partition_point(|(peer, _)| *peer < to);
                peers.insert(at, (to, self.links.len()));
            }
            self.links.push(opened);
        }
    }

    /// Puts an item on the way, or holds it while the direction is silent (SW-2, SW-3).
    pub(super) fn send(&mut self, now: Time, from: u32, to: u32, item: Item) -> Option<Transit> {
        let delay = self.delay();
        let link = self.link(from, to)?;
        let Link { connection, ends } = &mut self.links[link];
        let end = &mut ends[side(from, to)];
        if !end.open {
            return None;
        }
        end.open = !matches!(item, Item::Close { .. });
        if end.silent {
            self.silent[from as usize].entry(to).or_default().push(item);
            return None;
        }
        let at = now.after(delay).max(Time(end.last.0 + 1));
        end.last = at;
        Some(Transit { at, from, to, link, connection: *connection, item })
    }

    /// Whether the receiver still has the connection that the item travels on. A close that
    /// arrives also closes the receiver's end.
    pub(super) fn arrives(&mut self, transit: &Transit) -> bool {
        let Link { connection, ends } = &mut self.links[transit.link];
        let end = &mut ends[side(transit.to, transit.from)];
        if *connection != transit.connection || !end.open {
            return false;
        }
        end.open = !matches!(transit.item, Item::Close { .. });
        true
    }

    /// Silences one direction.
    pub(super) fn silence(&mut self, from: u32, to: u32) {
        self.silent[from as usize].entry(to).or_default();
        if let Some(link) = self.link(from, to) {
            self.links[link].ends[side(from, to)].silent = true;
        }
    }

    /// Ends the silence of one direction and puts what it held on the way.
    pub(super) fn heal(&mut self, now: Time, from: u32, to: u32) -> Vec<Transit> {
        let held = self.silent[from as usize].remove(&to).unwrap_or_default();
        let at = now.after(self.delay());
        let Some(link) = self.link(from, to) else { return Vec::new() };
        let Link { connection, ends } = &mut self.links[link];
        let connection = *connection;
        let end = &mut ends[side(from, to)];
        end.silent = false;
        let mut at = at.max(Time(end.last.0 + 1));
        let mut transits = Vec::new();
        for item in held {
            transits.push(Transit { at, from, to, link, connection, item });
            at = Time(at.0 + 1);
        }
        end.last = at;
        transits
    }
}

/// Which end of a link is that of `node`.
fn side(node: u32, peer: u32) -> usize {
    usize::from(node > peer)
}
