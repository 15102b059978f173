//! What is counted while a cluster runs.

use std::collections::BTreeSet;
use std::time::Duration;

use hdrhistogram::Histogram;
use mobula::gossip::{Event, Gossip};
use mobula::machine::Time;
use mobula::sim::{Seen, World};

/// The largest value of a histogram; what is larger counts as this.
const VALUE_MAX: u64 = 100_000_000;

/// The cluster at one time.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub at_s: f64,
    /// The share of the survivors that count exactly the survivors alive.
    pub agreeing: f64,
    pub bytes_per_node_s: f64,
}

/// How many running nodes hold `true`.
pub fn count(world: &World, holds: impl Fn(&Gossip<u32>) -> bool) -> usize {
    world.running().filter(|&node| world.gossip(node).is_some_and(&holds)).count()
}

/// When each survivor learnt of each death.
#[derive(Debug)]
pub struct Detection {
    began: Time,
    wanted: u64,
    waits_ms: Histogram<u64>,
    last: Time,
    false_dead: BTreeSet<(u32, u64)>,
}

impl Default for Detection {
    fn default() -> Self {
        let waits_ms = Histogram::new_with_max(VALUE_MAX, 3).expect("three digits are allowed");
        Self { began: Time(0), wanted: 0, waits_ms, last: Time(0), false_dead: BTreeSet::new() }
    }
}

impl Detection {
    /// The fault comes now.
    pub fn begin(&mut self, now: Time, nodes: u32, victims: &BTreeSet<u32>) {
        (self.began, self.last) = (now, now);
        self.wanted = (u64::from(nodes) - victims.len() as u64) * victims.len() as u64;
    }

    /// Takes an event of a survivor.
    pub fn see(&mut self, seen: &Seen, victims: &BTreeSet<u32>) {
        let Event::Dead { key, boot } = seen.event else { return };
        if victims.contains(&seen.node) {
            return;
        }
        if !victims.contains(&key) {
            self.false_dead.insert((key, boot));
        } else {
            self.waits_ms.saturating_record(seen.at.since(self.began).as_millis() as u64);
            self.last = self.last.max(seen.at);
        }
    }

    /// From the fault until the last survivor knew the last death.
    pub fn agreed_s(&self) -> Option<f64> {
        let complete = self.wanted > 0 && self.waits_ms.len() == self.wanted;
        complete.then(|| self.last.since(self.began).as_secs_f64())
    }

    /// The 99th percentile over all pairs of a survivor and a victim.
    pub fn p99_s(&self) -> Option<f64> {
        let known = !self.waits_ms.is_empty();
        known.then(|| self.waits_ms.value_at_quantile(0.99) as f64 / 1e3)
    }

    /// Lives of healthy nodes that a survivor declared dead.
    pub fn false_dead(&self) -> u64 {
        self.false_dead.len() as u64
    }
}

/// The ages of rows, in rounds of exchange.
#[derive(Debug)]
pub struct Staleness {
    rounds_x100: Histogram<u64>,
}

impl Default for Staleness {
    fn default() -> Self {
        Self {
            rounds_x100: Histogram::new_with_max(VALUE_MAX, 3).expect("three digits are allowed"),
        }
    }
}

impl Staleness {
    /// Looks at all rows that `node` has of nodes that can be heard.
    pub fn look(&mut self, world: &World, node: u32, period: Duration, victims: &BTreeSet<u32>) {
        let Some(gossip) = world.gossip(node) else { return };
        for row in gossip.rows(world.now()) {
            if row.key != node && !victims.contains(&row.key) {
                let rounds = row.age.as_secs_f64() / period.as_secs_f64();
                self.rounds_x100.saturating_record((rounds * 100.0) as u64);
            }
        }
    }

    /// The 99th percentile of the ages of records.
    pub fn p99_rounds(&self) -> f64 {
        self.rounds_x100.value_at_quantile(0.99) as f64 / 100.0
    }
}
