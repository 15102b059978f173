//! The links between nodes: when what was sent arrives, and what silence holds back.

use std::collections::{BTreeMap, BTreeSet};
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
    pub(super) connection: u64,
    pub(super) item: Item,
}

/// One direction of a connection, kept by its sender.
#[derive(Debug, Default)]
struct Lane {
    /// The number of the connection.
    connection: u64,
    /// Whether its sender still has the connection.
    open: bool,
    /// Nothing overtakes what arrives then.
    last: Time,
    held: Vec<Item>,
}

/// All connections, at most one per pair of nodes, and the directions that are silent.
#[derive(Debug)]
pub(super) struct Network {
    rng: Rng,
    /// For each node its lanes, by receiver.
    lanes: Vec<BTreeMap<u32, Lane>>,
    silent: BTreeSet<(u32, u32)>,
    opened: u64,
}

impl Network {
    pub(super) fn new(seed: u64, nodes: u32) -> Self {
        let lanes = (0..nodes).map(|_| BTreeMap::new()).collect();
        Self { rng: Rng::new(seed), lanes, silent: BTreeSet::new(), opened: 0 }
    }

    fn lane(&self, from: u32, to: u32) -> Option<&Lane> {
        self.lanes.get(from as usize)?.get(&to)
    }

    fn lane_mut(&mut self, from: u32, to: u32) -> Option<&mut Lane> {
        self.lanes.get_mut(from as usize)?.get_mut(&to)
    }

    /// To whom `node` has an open end of a connection.
    pub(super) fn peers(&self, node: u32) -> impl Iterator<Item = u32> {
        let lanes = self.lanes.get(node as usize).into_iter().flatten();
        lanes.filter(|(_, lane)| lane.open).map(|(&peer, _)| peer)
    }

    /// How long one item takes.
    pub(super) fn delay(&mut self) -> Duration {
        DELAY + JITTER.mul_f64(self.rng.unit())
    }

    /// Whether `node` has an open end of a connection to `peer`.
    pub(super) fn is_open(&self, node: u32, peer: u32) -> bool {
        self.lane(node, peer).is_some_and(|lane| lane.open)
    }

    /// Whether both ends of a connection are open.
    pub(super) fn is_whole(&self, a: u32, b: u32) -> bool {
        self.is_open(a, b) && self.is_open(b, a)
    }

    pub(super) fn is_silent(&self, a: u32, b: u32) -> bool {
        self.silent.contains(&(a, b)) || self.silent.contains(&(b, a))
    }

    /// Opens a connection; what an older one between the two carried is lost.
    pub(super) fn open(&mut self, a: u32, b: u32) {
        self.opened += 1;
        for (from, to) in [(a, b), (b, a)] {
            let lane = Lane { connection: self.opened, open: true, ..Lane::default() };
            if let Some(lanes) = self.lanes.get_mut(from as usize) {
                lanes.insert(to, lane);
            }
        }
    }

    /// Puts an item on the way, or holds it while the direction is silent (SW-2, SW-3).
    pub(super) fn send(&mut self, now: Time, from: u32, to: u32, item: Item) -> Option<Transit> {
        let delay = self.delay();
        let silent = !self.silent.is_empty() && self.silent.contains(&(from, to));
        let lane = self.lane_mut(from, to).filter(|lane| lane.open)?;
        if matches!(item, Item::Close { .. }) {
            lane.open = false;
        }
        if silent {
            lane.held.push(item);
            return None;
        }
        let at = now.after(delay).max(Time(lane.last.0 + 1));
        lane.last = at;
        Some(Transit { at, from, to, connection: lane.connection, item })
    }

    /// Whether the receiver still has the connection that the item travels on. A close that
    /// arrives also closes the receiver's end.
    pub(super) fn arrives(&mut self, transit: &Transit) -> bool {
        let Some(lane) = self.lane_mut(transit.to, transit.from) else { return false };
        if lane.connection != transit.connection || !lane.open {
            return false;
        }
        lane.open = !matches!(transit.item, Item::Close { .. });
        true
    }

    /// Silences one direction.
    pub(super) fn silence(&mut self, from: u32, to: u32) {
        self.silent.insert((from, to));
    }

    /// Ends the silence of one direction and puts what it held on the way.
    pub(super) fn heal(&mut self, now: Time, from: u32, to: u32) -> Vec<Transit> {
        self.silent.remove(&(from, to));
        let at = now.after(self.delay());
        let Some(lane) = self.lane_mut(from, to) else { return Vec::new() };
        let connection = lane.connection;
        let mut at = at.max(Time(lane.last.0 + 1));
        let mut transits = Vec::new();
        for item in lane.held.drain(..) {
            transits.push(Transit { at, from, to, connection, item });
            at = Time(at.0 + 1);
        }
        lane.last = at;
        transits
    }
}
