//! After the faults stop, all views agree: random crashes, restarts, pauses and cuts, then quiet.

use std::time::Duration;

use mobula::machine::Rng;
use mobula::sim::World;

use crate::support::{all_agree, first_seed, seconds, settled, with_seed};

const NODES: u32 = 30;

fn random_fault(world: &mut World, rng: &mut Rng) {
    let node = rng.below(u64::from(NODES)) as u32;
    let other = rng.below(u64::from(NODES)) as u32;
    match rng.below(8) {
        0 | 1 => world.crash(node),
        2 | 3 => world.start(node),
        4 => world.pause(node),
        5 => world.resume(node),
        6 => world.cut(node, other),
        _ => world.heal(node, other),
    }
}

fn repair(world: &mut World) {
    for node in 0..NODES {
        world.rejoin(node);
        world.resume(node);
    }
    world.start_all();
}

#[test]
fn all_views_agree_once_random_faults_stop() {
    let name = "all_views_agree_once_random_faults_stop";
    let mut worst = Duration::ZERO;
    for seed in first_seed()..first_seed() + 20 {
        with_seed(name, seed, |seed| {
            let mut world = settled(seed, NODES);
            let mut rng = Rng::new(seed);
            for _ in 0..90 {
                random_fault(&mut world, &mut rng);
                world.run_for(Duration::from_millis(rng.below(2_000)));
            }
            repair(&mut world);
            let quiet = world.now();
            assert!(world.run_until(seconds(60), all_agree), "views differ after 60 s of quiet");
            worst = worst.max(world.now().since(quiet));
        });
    }
    println!("{NODES} nodes, 20 seeds: agreed after {worst:?} of quiet at worst");
}
