//! The world: what will happen, the nodes they happen to, and the faults a test makes.

use std::time::Duration;

use bytes::Bytes;

use super::network::{Item, Network, Transit};
use super::schedule::{Happening, Schedule};
use super::trace::Trace;
use crate::gossip::{Config, Event, Gossip, Input, Output, Peer, Record};
use crate::machine::{Rng, Time};

/// A starved process runs for at most so long before it waits again.
const SLICE: Duration = Duration::from_millis(200);

/// An event of one node, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it was known.
    pub at: Time,
    /// To whom.
    pub node: u32,
    /// In which of its lives.
    pub boot: u64,
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
    /// When its machine wants to be stepped.
    pub(super) wanted_at: Option<Time>,
    /// The earliest wake that is scheduled.
    pub(super) wake_at: Option<Time>,
    /// The longest it has to wait for the processor, while it is starved.
    pub(super) starved: Option<Duration>,
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
    /// Empty, but for the memory that it has.
    pub(super) out: Vec<Output<u32>>,
    rng: Rng,
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
            wanted_at: None,
            wake_at: None,
            starved: None,
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
            out: Vec::new(),
            rng: Rng::new(seed ^ 0x5_11CE),
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

    /// How many nodes there are, running or not.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.nodes.len() as u32
    }

    /// Starts every node that does not run.
    pub fn start_all(&mut self) {
        for node in 0..self.nodes.len() as u32 {
            self.start(node);
        }
    }

    /// Starts every node at once in its first life, each with the table of all: what a cluster is
    /// like some time after its nodes have joined. They only have to connect.
    pub fn start_acquainted(&mut self) {
        let mut all: Vec<(u32, String)> =
            (0..self.nodes.len() as u32).map(|node| (node, node.to_string())).collect();
        all.sort_unstable_by_key(|(node, _)| node.place());
        let lives = all.iter().map(|(key, address)| (*key, 1, address.as_str()));
        let first = Gossip::new(0, 1, 0, Config { address: 0.to_string(), ..self.config.clone() });
        let first = first.with_members(lives);
        for node in 0..self.nodes.len() as u32 {
            self.start_with(node, |gossip| gossip.with_table_of(&first));
        }
    }

    /// Starts a process with the next boot; nothing when it runs.
    pub fn start(&mut self, node: u32) {
        if self.start_with(node, |gossip| gossip) {
            self.dial_seeds(node, self.boot(node));
        }
    }

    /// Starts a process after `prepare` had its machine; false when it runs.
    fn start_with(&mut self, node: u32, prepare: impl FnOnce(Gossip<u32>) -> Gossip<u32>) -> bool {
        let seed = Rng::new(self.seed.wrapping_add(u64::from(node) << 32)).next_u64();
        let config = Config { address: node.to_string(), ..self.config.clone() };
        let Some(entry) = self.nodes.get_mut(node as usize).filter(|n| n.gossip.is_none()) else {
            return false;
        };
        entry.boot += 1;
        let boot = entry.boot;
        let gossip = Gossip::new(node, boot, seed.wrapping_add(boot), config);
        entry.gossip = Some(prepare(gossip));
        let record = entry.record.clone();
        self.tell(node, Input::LocalRecord(record));
        true
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

    /// Takes the processor from a process most of the time: it runs for at most 200 ms, then waits
    /// for at most `longest`.
    pub fn starve(&mut self, node: u32, longest: Duration) {
        let boot = self.boot(node);
        if let Some(entry) = self.nodes.get_mut(node as usize).filter(|n| n.gossip.is_some())
            && entry.starved.replace(longest).is_none()
        {
            self.schedule.push(self.now, Happening::Slice { node, boot });
        }
    }

    /// Gives a starved process the processor back.
    pub fn feed(&mut self, node: u32) {
        let starved = self.nodes.get_mut(node as usize).and_then(|entry| entry.starved.take());
        if starved.is_some() {
            self.resume(node);
        }
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
            Happening::Wake { node } => self.wake(node),
            Happening::Slice { node, boot } => self.slice(node, boot),
            Happening::Seed { node, boot } => self.dial_seeds(node, boot),
        }
    }

    fn wake(&mut self, node: u32) {
        let Some(entry) = self.nodes.get_mut(node as usize) else { return };
        if entry.wake_at == Some(self.now) {
            entry.wake_at = None;
        }
        let due = entry.wanted_at.is_some_and(|at| at <= self.now) && entry.backlog.is_none();
        if due { self.tell(node, Input::Tick) } else { self.schedule_wake(node) }
    }

    /// Sees to it that a wake comes no later than the machine wants one. One that comes too early
    /// only schedules the next.
    pub(super) fn schedule_wake(&mut self, node: u32) {
        let Some(entry) = self.nodes.get_mut(node as usize) else { return };
        let Some(wanted) = entry.wanted_at.filter(|_| entry.backlog.is_none()) else { return };
        if entry.wake_at.is_none_or(|at| at > wanted) {
            entry.wake_at = Some(wanted);
            self.schedule.push(wanted.max(self.now), Happening::Wake { node });
        }
    }

    /// A starved process runs for a short while and then waits, by chance nearly as long as it can
    /// have to.
    fn slice(&mut self, node: u32, boot: u64) {
        let Some(entry) = self.nodes.get(node as usize).filter(|n| n.boot == boot) else { return };
        let Some(longest) = entry.starved else { return };
        let runs = entry.backlog.is_none();
        let share = self.rng.unit();
        let time = if runs { longest.mul_f64(share) } else { SLICE.mul_f64(share) };
        if runs {
            self.pause(node);
        } else {
            self.resume(node);
        }
        self.schedule.push(self.now.after(time), Happening::Slice { node, boot });
    }

    pub(super) fn end(&mut self, node: u32, bye: bool) {
        if let Some(entry) = self.nodes.get_mut(node as usize) {
            entry.gossip = None;
            entry.backlog = None;
            entry.wanted_at = None;
            entry.starved = None;
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
