//! The world: a heap of happenings, the nodes they happen to, and the faults a test makes.

use std::time::Duration;

use bytes::Bytes;

use super::network::{Item, Network, Transit};
use super::schedule::{Happening, Schedule};
use super::trace::Trace;
use crate::gossip::{Config, Event, Gossip, Input, Record};
use crate::machine::{Rng, Time};

/// An event of one node, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it was known.
    pub at: Time,
    /// To whom.
    pub node: u32,
    /// What.
    pub event: Event<u32>,
}

#[derive(Debug)]
pub(super) struct Node {
    /// Nothing while the process does not run.
    pub(super) gossip: Option<Gossip<u32>>,
    pub(super) boot: u64,
    pub(super) record: Record,
    /// What came while the process was paused; nothing while it runs.
    pub(super) backlog: Option<Vec<Input<u32>>>,
    pub(super) wake_at: Option<Time>,
    /// Until then, dials to the process that ended are reset, not refused.
    pub(super) dying_until: Time,
}

/// Simulated nodes, numbered from 0, of which the first three are seeds.
#[derive(Debug)]
pub struct World {
    pub(super) seed: u64,
    pub(super) config: Config,
    pub(super) now: Time,
    pub(super) schedule: Schedule,
    pub(super) nodes: Vec<Node>,
    pub(super) network: Network,
    pub(super) trace: Trace,
    pub(super) seen: Vec<Seen>,
    pub(super) bytes_sent: u64,
}

impl World {
    /// A world of `nodes` nodes, none of which runs yet.
    #[must_use]
    pub fn new(seed: u64, nodes: u32, config: Config) -> Self {
        let node = |number: u32| Node {
            gossip: None,
            boot: 0,
            record: Record { address: number.to_string(), ..Record::default() },
            backlog: None,
            dying_until: Time(0),
            wake_at: None,
        };
        Self {
            seed,
            config,
            now: Time(0),
            schedule: Schedule::default(),
            nodes: (0..nodes).map(node).collect(),
            network: Network::new(seed ^ 0x4E45_5457, nodes),
            trace: Trace::new(),
            seen: Vec::new(),
            bytes_sent: 0,
        }
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// The hash of everything that happened so far (SW-1).
    #[must_use]
    pub fn trace(&self) -> u64 {
        self.trace.value()
    }

    /// The events of all nodes, in order, that were not taken out.
    #[must_use]
    pub fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// The events since this was called last, in order; [`seen`](Self::seen) has no more of them.
    pub fn take_seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    /// All bytes that nodes sent so far.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.bytes_sent
    }

    /// The machine of a node that runs or is paused.
    #[must_use]
    pub fn gossip(&self, node: u32) -> Option<&Gossip<u32>> {
        self.nodes.get(node as usize)?.gossip.as_ref()
    }

    /// The life that a node is in, or was in last; zero before its first.
    #[must_use]
    pub fn boot(&self, node: u32) -> u64 {
        self.nodes.get(node as usize).map_or(0, |node| node.boot)
    }

    /// The nodes whose process exists, paused ones included.
    pub fn running(&self) -> impl Iterator<Item = u32> + '_ {
        let runs = |(number, node): (usize, &Node)| node.gossip.as_ref().map(|_| number as u32);
        self.nodes.iter().enumerate().filter_map(runs)
    }

    /// Starts every node that does not run.
    pub fn start_all(&mut self) {
        for node in 0..self.nodes.len() as u32 {
            self.start(node);
        }
    }

    /// Starts a process with the next boot; nothing when it runs.
    pub fn start(&mut self, node: u32) {
        let seed = Rng::new(self.seed.wrapping_add(u64::from(node) << 32)).next_u64();
        let config = Config { address: node.to_string(), ..self.config.clone() };
        let Some(entry) = self.nodes.get_mut(node as usize).filter(|n| n.gossip.is_none()) else {
            return;
        };
        entry.boot += 1;
        let boot = entry.boot;
        entry.gossip = Some(Gossip::new(node, boot, seed.wrapping_add(boot), config));
        let record = entry.record.clone();
        self.tell(node, Input::LocalRecord(record));
        self.dial_seeds(node, boot);
    }

    /// Kills a process: its connections close, dials to it are refused.
    pub fn crash(&mut self, node: u32) {
        self.end(node, false);
    }

    /// Kills a process whose system goes on taking connections for it, and resets them, for a
    /// while.
    pub fn crash_slowly(&mut self, node: u32, dying: Duration) {
        let until = self.now.after(dying);
        if let Some(entry) = self.nodes.get_mut(node as usize) {
            entry.dying_until = until;
        }
        self.end(node, false);
    }

    /// A process says good-bye and ends.
    pub fn leave(&mut self, node: u32) {
        self.tell(node, Input::Leave);
        self.end(node, true);
    }

    /// Stops a process without ending it: its connections stay, and it hears nothing.
    pub fn pause(&mut self, node: u32) {
        if let Some(entry) = self.nodes.get_mut(node as usize).filter(|n| n.gossip.is_some()) {
            entry.backlog.get_or_insert_with(Vec::new);
        }
    }

    /// Lets a paused process go on: everything that came meanwhile, it hears now.
    pub fn resume(&mut self, node: u32) {
        let entry = self.nodes.get_mut(node as usize);
        for input in entry.and_then(|entry| entry.backlog.take()).unwrap_or_default() {
            self.tell(node, input);
        }
        self.tell(node, Input::Tick);
    }

    /// Silences both directions between two nodes.
    pub fn cut(&mut self, a: u32, b: u32) {
        self.network.silence(a, b);
        self.network.silence(b, a);
    }

    /// Ends the silence between two nodes.
    pub fn heal(&mut self, a: u32, b: u32) {
        let held = self.network.heal(self.now, a, b);
        for transit in held.into_iter().chain(self.network.heal(self.now, b, a)) {
            self.schedule.push(transit.at, Happening::Arrival(transit));
        }
    }

    /// Silences a node towards everybody.
    pub fn isolate(&mut self, node: u32) {
        (0..self.nodes.len() as u32).filter(|&peer| peer != node).for_each(|p| self.cut(node, p));
    }

    /// Ends the silence of a node towards everybody.
    pub fn rejoin(&mut self, node: u32) {
        (0..self.nodes.len() as u32).filter(|&peer| peer != node).for_each(|p| self.heal(node, p));
    }

    /// What a node offers from now on, in this life and the next.
    pub fn offer(&mut self, node: u32, record: Record) {
        if let Some(entry) = self.nodes.get_mut(node as usize) {
            entry.record = record.clone();
        }
        self.tell(node, Input::LocalRecord(record));
    }

    /// Delivers bytes to `to` as if the connected peer `from` had sent them.
    pub fn inject(&mut self, from: u32, to: u32, bytes: Bytes) {
        self.tell(to, Input::Frame { from, bytes });
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some((at, happening)) = self.schedule.pop_until(end) {
            self.now = self.now.max(at);
            self.happen(happening);
        }
        self.now = end;
    }

    /// Lets time pass until `done`, looked at every 10 ms; false when `limit` passed first.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now.after(limit);
        while !done(self) {
            if self.now >= end {
                return false;
            }
            self.run_for(Duration::from_millis(10));
        }
        true
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrival(transit) => {
                if !self.network.arrives(&transit) {
                    return;
                }
                let Transit { from, to, item, .. } = transit;
                let input = match item {
                    Item::Frame(bytes) => Input::Frame { from, bytes },
                    Item::Close { bye } => Input::ConnectionClosed { key: from, bye },
                };
                self.tell(to, input);
            }
            Happening::Dial { node, boot, to } => self.dial_arrives(node, boot, to),
            Happening::DialFailed { node, boot, to } => {
                if self.boot(node) == boot {
                    self.tell(node, Input::DialFailed { key: to });
                }
            }
            Happening::Wake { node } => {
                let entry = self.nodes.get_mut(node as usize);
                let due = entry.filter(|n| n.wake_at == Some(self.now) && n.backlog.is_none());
                if let Some(entry) = due {
                    entry.wake_at = None;
                    self.tell(node, Input::Tick);
                }
            }
            Happening::Seed { node, boot } => self.dial_seeds(node, boot),
        }
    }

    pub(super) fn end(&mut self, node: u32, bye: bool) {
        if let Some(entry) = self.nodes.get_mut(node as usize) {
            entry.gossip = None;
            entry.backlog = None;
            entry.wake_at = None;
        }
        let peers: Vec<u32> = self.network.peers(node).collect();
        for peer in peers {
            self.close(node, peer, bye);
        }
    }

    pub(super) fn close(&mut self, node: u32, peer: u32, bye: bool) {
        if let Some(transit) = self.network.send(self.now, node, peer, Item::Close { bye }) {
            self.schedule.push(transit.at, Happening::Arrival(transit));
        }
    }
}
