//! The driver's part: it steps the machines, dials for them, and acts on their events.

use std::time::Duration;

use super::network::Item;
use super::schedule::Happening;
use super::world::{Seen, World};
use crate::gossip::{Event, Input, Output};
use crate::machine::{Machine, Time};

/// A dial into silence ends after this long.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// A node without any connection dials its seeds this often.
const SEED_PERIOD: Duration = Duration::from_millis(500);
/// The first nodes are the seeds that every node dials when it starts.
const SEEDS: u32 = 3;

impl World {
    /// Dials the seeds while the node is alone.
    pub(super) fn dial_seeds(&mut self, node: u32, boot: u64) {
        let alone = self.network.peers(node).next().is_none();
        if self.boot(node) != boot || self.gossip(node).is_none() || !alone {
            return;
        }
        for to in (0..SEEDS.min(self.nodes.len() as u32)).filter(|&seed| seed != node) {
            self.dial(node, to);
        }
        self.schedule.push(self.now.after(SEED_PERIOD), Happening::Seed { node, boot });
    }

    fn dial(&mut self, node: u32, to: u32) {
        let boot = self.boot(node);
        let at = self.now.after(self.network.delay());
        self.schedule.push(at, Happening::Dial { node, boot, to });
    }

    pub(super) fn dial_arrives(&mut self, node: u32, boot: u64, to: u32) {
        if self.boot(node) != boot || self.gossip(node).is_none() {
            return;
        }
        let answers =
            |number: u32| self.nodes.get(number as usize).is_some_and(|n| n.backlog.is_none());
        if self.network.is_silent(node, to) || !answers(node) || !answers(to) {
            let at = self.now.after(DIAL_TIMEOUT);
            return self.schedule.push(at, Happening::DialFailed { node, boot, to });
        }
        if self.gossip(to).is_none() {
            let dying = self.nodes.get(to as usize).is_some_and(|n| self.now < n.dying_until);
            let outcome =
                if dying { Input::DialFailed { key: to } } else { Input::DialRefused { key: to } };
            return self.tell(node, outcome);
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

    /// Steps a machine and does what it wants done.
    pub(super) fn tell(&mut self, node: u32, input: Input<u32>) {
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
        let mut out = std::mem::take(&mut self.out);
        gossip.handle(now, input, &mut out);
        entry.wanted_at = gossip.poll_timeout().map(|at| at.max(Time(now.0 + 1)));
        self.schedule_wake(node);
        for output in out.drain(..) {
            self.carry_out(node, output);
        }
        self.out = out;
    }

    fn carry_out(&mut self, node: u32, output: Output<u32>) {
        match output {
            Output::Send { to, bytes } => {
                self.bytes_sent += bytes.len() as u64;
                if let Some(transit) = self.network.send(self.now, node, to, Item::Frame(bytes)) {
                    self.schedule.push(transit.at, Happening::Arrival(transit));
                }
            }
            Output::Dial { key, .. } => self.dial(node, key),
            Output::Event(event) => {
                let boot = self.boot(node);
                self.seen.push(Seen { at: self.now, node, boot, event: event.clone() });
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
