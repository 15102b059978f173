//! What the scenarios share: a settled cluster, seeds, and words for what a cluster agrees on.

use std::time::Duration;

use mobula::gossip::{Config, Event};
use mobula::machine::Time;
use mobula::sim::World;

pub(crate) use crate::invariants::views_agree as all_agree;

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The seed of this run.
pub(crate) fn first_seed() -> u64 {
    let given = std::env::var("MOBULA_SIM_SEED").ok();
    given.and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// Runs `scenario` and prints how to repeat it when it fails.
pub(crate) fn with_seed(name: &str, seed: u64, scenario: impl FnOnce(u64)) {
    struct Reproduce<'a>(&'a str, u64);
    impl Drop for Reproduce<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let Self(name, seed) = self;
                eprintln!(
                    "REPRODUCE: MOBULA_SIM_SEED={seed} \
                     cargo test --no-default-features --test sim -- {name} # seed {seed}"
                );
            }
        }
    }
    let _reproduce = Reproduce(name, seed);
    scenario(seed);
}

/// A world of `nodes` that all run and hold each other alive, with all records everywhere.
pub(crate) fn settled(seed: u64, nodes: u32) -> World {
    let mut world = World::new(seed, nodes, Config::default());
    world.start_all();
    assert!(world.run_until(seconds(20), all_agree), "cluster of {nodes} did not settle");
    world
}

/// When each running node learnt that this life is dead; panics where one did not.
pub(crate) fn death_known(world: &World, key: u32, boot: u64) -> Vec<Time> {
    let known = |node: u32| {
        let dead = Event::Dead { key, boot };
        let seen = world.seen().iter().find(|seen| seen.node == node && seen.event == dead);
        seen.unwrap_or_else(|| panic!("node {node} never saw {key}@{boot} dead")).at
    };
    world.running().filter(|&node| node != key).map(known).collect()
}

/// Who was ever declared dead.
pub(crate) fn declared_dead(world: &World) -> Vec<(u32, u64)> {
    let mut dead: Vec<_> = world
        .seen()
        .iter()
        .filter_map(|seen| match seen.event {
            Event::Dead { key, boot } => Some((key, boot)),
            _ => None,
        })
        .collect();
    dead.sort_unstable();
    dead.dedup();
    dead
}
