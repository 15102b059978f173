//! Random faults, drawn from a seed: what a cluster has to live through, and its repair.

use std::collections::BTreeSet;
use std::time::Duration;

use super::world::World;
use crate::gossip::Record;
use crate::machine::Rng;

/// The longest quiet between two faults.
const QUIET_MAX: Duration = Duration::from_secs(2);
/// What each node has; how much of it is free is drawn.
const CPU_MILLI: u64 = 8_000;
/// A starved process waits at most so long for the processor.
const STARVED_MAX: Duration = Duration::from_secs(2);

/// A source of faults.
#[derive(Debug)]
pub struct Chaos {
    rng: Rng,
    cuts: BTreeSet<(u32, u32)>,
    nodes: u32,
    paused: BTreeSet<u32>,
}

impl Chaos {
    /// Faults for a world of `nodes` nodes.
    #[must_use]
    pub fn new(seed: u64, nodes: u32) -> Self {
        Self {
            rng: Rng::new(seed ^ 0xC4A0_5000),
            cuts: BTreeSet::new(),
            nodes,
            paused: BTreeSet::new(),
        }
    }

    /// Makes one fault or ends one, then lets up to 2 s pass.
    pub fn strike(&mut self, world: &mut World) {
        let nodes = self.nodes.into();
        let node = self.rng.below(nodes) as u32;
        let other = self.rng.below(nodes) as u32;
        match self.rng.below(12) {
            0 | 1 => world.crash(node),
            2 | 3 => world.start(node),
            4 => {
                self.paused.insert(node);
                world.pause(node);
            }
            5 => self.resume(world),
            6 if node != other => {
                self.cuts.insert((node, other));
                world.cut(node, other);
            }
            7 => self.heal(world),
            8 => world.starve(node, STARVED_MAX),
            9 | 10 => self.offer(world, node),
            _ => world.feed(node),
        }
        world.run_for(QUIET_MAX.mul_f64(self.rng.unit()));
    }

    /// A node has more or less room than before.
    fn offer(&mut self, world: &mut World, node: u32) {
        let record = Record {
            cpu_milli_total: CPU_MILLI,
            cpu_milli_free: self.rng.below(CPU_MILLI + 1),
            address: node.to_string(),
            ..Record::default()
        };
        world.offer(node, record);
    }

    fn resume(&mut self, world: &mut World) {
        if let Some(node) = self.paused.pop_first() {
            world.resume(node);
        }
    }

    fn heal(&mut self, world: &mut World) {
        if let Some((a, b)) = self.cuts.pop_first() {
            world.heal(a, b);
        }
    }

    /// Ends all faults; every node runs from here on.
    pub fn repair(&mut self, world: &mut World) {
        while !self.cuts.is_empty() {
            self.heal(world);
        }
        self.paused.clear();
        for node in 0..self.nodes {
            world.feed(node);
            world.resume(node);
        }
        world.start_all();
    }
}
