//! The world: a heap of happenings, the nodes they happen to, and the faults a test makes.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

use bytes::Bytes;

use super::network::{Item, Network, Transit};
use super::trace::Trace;
use crate::gossip::{Config, Event, Gossip, Input, Output, Record};
use crate::machine::{Machine, Rng, Time};

/// A dial into silence ends after this long.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// A node without any connection dials its seeds this often.
const SEED_PERIOD: Duration = Duration::from_millis(500);
/// The first nodes are the seeds that every node dials when it starts.
const SEEDS: u32 = 3;

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
enum Happening {
    Arrival(Transit),
    /// `node`'s dial, made in its life `boot`, reaches `to`.
    Dial {
        node: u32,
        boot: u64,
        to: u32,
    },
    DialFailed {
        node: u32,
        boot: u64,
        to: u32,
    },
    /// A timer of the machine, set when it wanted to be stepped at this time.
    Wake {
        node: u32,
    },
    Seed {
        node: u32,
        boot: u64,
    },
}

#[derive(Debug)]
struct Entry {
    at: Time,
    id: u64,
    happening: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    /// The heap gives the greatest first: the earliest, and of those the first that was made.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.id).cmp(&(self.at, self.id))
    }
}

#[derive(Debug)]
struct Node {
    /// Nothing while the process does not run.
    gossip: Option<Gossip<u32>>,
    boot: u64,
    record: Record,
    /// What came while the process was paused; nothing while it runs.
    backlog: Option<Vec<Input<u32>>>,
    wake_at: Option<Time>,
}

/// Simulated nodes, numbered from 0, of which the first three are seeds.
#[derive(Debug)]
pub struct World {
    seed: u64,
    config: Config,
    now: Time,
    heap: BinaryHeap<Entry>,
    made: u64,
    nodes: Vec<Node>,
    network: Network,
    trace: Trace,
    seen: Vec<Seen>,
    bytes_sent: u64,
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
            wake_at: None,
        };
        Self {
            seed,
            config,
            now: Time(0),
            heap: BinaryHeap::new(),
            made: 0,
            nodes: (0..nodes).map(node).collect(),
            network: Network::new(seed ^ 0x4E45_5457),
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

    /// The hash of everything that happened so far (S-1).
    #[must_use]
    pub fn trace(&self) -> u64 {
        self.trace.value()
    }

    /// All events of all nodes so far, in order.
    #[must_use]
    pub fn seen(&self) -> &[Seen] {
        &self.seen
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
            self.push(transit.at, Happening::Arrival(transit));
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
        while self.heap.peek().is_some_and(|entry| entry.at <= end) {
            let Some(Entry { at, happening, .. }) = self.heap.pop() else { break };
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

    fn push(&mut self, at: Time, happening: Happening) {
        self.made += 1;
        self.heap.push(Entry { at, id: self.made, happening });
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

    /// Dials the seeds while the node is alone.
    fn dial_seeds(&mut self, node: u32, boot: u64) {
        let alone = (0..self.nodes.len() as u32).all(|peer| !self.network.is_open(node, peer));
        if self.boot(node) != boot || self.gossip(node).is_none() || !alone {
            return;
        }
        for to in (0..SEEDS.min(self.nodes.len() as u32)).filter(|&seed| seed != node) {
            self.dial(node, to);
        }
        self.push(self.now.after(SEED_PERIOD), Happening::Seed { node, boot });
    }

    fn dial(&mut self, node: u32, to: u32) {
        let boot = self.boot(node);
        let at = self.now.after(self.network.delay());
        self.push(at, Happening::Dial { node, boot, to });
    }

    fn dial_arrives(&mut self, node: u32, boot: u64, to: u32) {
        if self.boot(node) != boot || self.gossip(node).is_none() {
            return;
        }
        let answers =
            |number: u32| self.nodes.get(number as usize).is_some_and(|n| n.backlog.is_none());
        if self.network.is_silent(node, to) || !answers(node) || !answers(to) {
            let at = self.now.after(DIAL_TIMEOUT);
            return self.push(at, Happening::DialFailed { node, boot, to });
        }
        if self.gossip(to).is_none() {
            return self.tell(node, Input::DialRefused { key: to });
        }
        let whole = self.network.is_whole(node, to);
        if !whole {
            self.network.open(node, to);
            self.tell_connected(to, node);
        }
        self.tell_connected(node, to);
    }

    fn tell_connected(&mut self, node: u32, key: u32) {
        let (boot, address) = (self.boot(key), key.to_string());
        self.tell(node, Input::Connected { key, boot, address });
    }

    fn end(&mut self, node: u32, bye: bool) {
        if let Some(entry) = self.nodes.get_mut(node as usize) {
            entry.gossip = None;
            entry.backlog = None;
            entry.wake_at = None;
        }
        for peer in 0..self.nodes.len() as u32 {
            self.close(node, peer, bye);
        }
    }

    fn close(&mut self, node: u32, peer: u32, bye: bool) {
        if let Some(transit) = self.network.send(self.now, node, peer, Item::Close { bye }) {
            self.push(transit.at, Happening::Arrival(transit));
        }
    }

    /// Steps a machine and does what it wants done.
    fn tell(&mut self, node: u32, input: Input<u32>) {
        let now = self.now;
        let Some(entry) = self.nodes.get_mut(node as usize) else { return };
        let Some(gossip) = entry.gossip.as_mut() else { return };
        if let Some(backlog) = entry.backlog.as_mut() {
            return backlog.push(input);
        }
        let (kind, length) = kind_and_length(&input);
        for value in [now.0, u64::from(node), kind, length] {
            self.trace.add(value);
        }
        let mut out = Vec::new();
        gossip.handle(now, input, &mut out);
        let wake_at = gossip.poll_timeout().map(|at| at.max(Time(now.0 + 1)));
        if entry.wake_at != wake_at {
            entry.wake_at = wake_at;
            if let Some(at) = wake_at {
                self.push(at, Happening::Wake { node });
            }
        }
        for output in out {
            self.carry_out(node, output);
        }
    }

    fn carry_out(&mut self, node: u32, output: Output<u32>) {
        match output {
            Output::Send { to, bytes } => {
                self.bytes_sent += bytes.len() as u64;
                if let Some(transit) = self.network.send(self.now, node, to, Item::Frame(bytes)) {
                    self.push(transit.at, Happening::Arrival(transit));
                }
            }
            Output::Dial { key, .. } => self.dial(node, key),
            Output::Event(event) => {
                self.seen.push(Seen { at: self.now, node, event: event.clone() });
                match event {
                    Event::Dead { key, boot } if self.boot(key) == boot => {
                        self.end_connection(node, key);
                    }
                    Event::SelfDeclaredDead { .. } => {
                        self.end(node, true);
                        self.start(node);
                    }
                    _ => {}
                }
            }
        }
    }

    /// The driver drops its connection to a life that is over.
    fn end_connection(&mut self, node: u32, key: u32) {
        if self.network.is_open(node, key) {
            self.close(node, key, false);
            self.tell(node, Input::ConnectionClosed { key, bye: false });
        }
    }
}

fn kind_and_length(input: &Input<u32>) -> (u64, u64) {
    match input {
        Input::Tick => (0, 0),
        Input::Frame { from, bytes } => (1 + (u64::from(*from) << 8), bytes.len() as u64),
        Input::Connected { key, .. } => (2, u64::from(*key)),
        Input::ConnectionClosed { key, .. } => (3, u64::from(*key)),
        Input::DialRefused { key } => (4, u64::from(*key)),
        Input::DialFailed { key } => (5, u64::from(*key)),
        Input::LocalRecord(record) => (6, record.kinds.len() as u64),
        Input::Leave => (7, 0),
    }
}
