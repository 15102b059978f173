//! Random faults, then quiet: the invariants hold all the time, and in the end all views agree.

use std::time::Duration;

use mobula::machine::Time;
use mobula::sim::Chaos;

use crate::invariants::{Always, views_agree};
use crate::support::{first_seed, seconds, settled, with_seed};

const NODES: u32 = 30;

#[test]
fn all_views_agree_once_random_faults_stop() {
    let name = "all_views_agree_once_random_faults_stop";
    let mut worst = Duration::ZERO;
    for seed in first_seed()..first_seed() + 20 {
        with_seed(name, seed, |seed| {
            let mut world = settled(seed, NODES);
            let mut chaos = Chaos::new(seed, NODES);
            let mut always = Always::default();
            while world.now() < Time(120_000_000) {
                chaos.strike(&mut world);
                let seen = world.take_seen();
                always.look(&world, &seen).unwrap_or_else(|broken| panic!("{broken}"));
            }
            chaos.repair(&mut world);
            let quiet = world.now();
            assert!(world.run_until(seconds(60), views_agree), "views differ after 60 s of quiet");
            let seen = world.take_seen();
            always.look(&world, &seen).unwrap_or_else(|broken| panic!("{broken}"));
            worst = worst.max(world.now().since(quiet));
        });
    }
    println!("{NODES} nodes, 20 seeds: agreed after {worst:?} of quiet at worst");
}
