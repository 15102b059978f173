//! G-1, G-3: who dies, how fast, and who does not.

use std::time::Duration;

use crate::support::{
    all_agree, death_known, declared_dead, first_seed, seconds, settled, with_seed,
};

fn crash_is_known_within(nodes: u32, limit: Duration, name: &str, seed: u64) {
    with_seed(name, seed, |seed| {
        let mut world = settled(seed, nodes);
        let at = world.now();
        world.crash(1);
        world.run_for(seconds(3));
        let worst = death_known(&world, 1, 1).into_iter().max().expect("survivors");
        println!("{nodes} nodes, seed {seed}: crash known after {:?} at worst", worst.since(at));
        assert!(worst.since(at) <= limit, "known after {:?}", worst.since(at));
        assert_eq!(declared_dead(&world), [(1, 1)]);
        assert!(all_agree(&world));
    });
}

// G-3: a refused dial is the verdict at once.
#[test]
fn crash_in_a_large_cluster_is_known_to_all_within_a_second() {
    let name = "crash_in_a_large_cluster_is_known_to_all_within_a_second";
    for seed in first_seed()..first_seed() + 5 {
        crash_is_known_within(50, seconds(1), name, seed);
    }
}

#[test]
fn crash_in_a_small_cluster_is_known_within_a_few_round_trips() {
    let name = "crash_in_a_small_cluster_is_known_within_a_few_round_trips";
    for seed in first_seed()..first_seed() + 20 {
        for nodes in [2, 3, 5] {
            crash_is_known_within(nodes, Duration::from_millis(10), name, seed);
        }
    }
}

// G-3: a process that is being killed resets dials for a moment; they are made again.
#[test]
fn a_process_that_dies_slowly_is_known_dead_soon_after_it_is_gone() {
    let name = "a_process_that_dies_slowly_is_known_dead_soon_after_it_is_gone";
    for seed in first_seed()..first_seed() + 20 {
        with_seed(name, seed, |seed| {
            for nodes in [2, 3, 5] {
                let mut world = settled(seed, nodes);
                let at = world.now();
                world.crash_slowly(1, Duration::from_millis(30));
                world.run_for(seconds(3));
                let worst = death_known(&world, 1, 1).into_iter().max().expect("survivors");
                let took = worst.since(at);
                assert!(took <= Duration::from_millis(80), "{nodes} nodes: after {took:?}");
                assert_eq!(declared_dead(&world), [(1, 1)]);
            }
        });
    }
}

#[test]
fn two_crashes_at_once_are_both_known_at_once() {
    with_seed("two_crashes_at_once_are_both_known_at_once", first_seed(), |seed| {
        let mut world = settled(seed, 10);
        let at = world.now();
        world.crash(1);
        world.crash(2);
        world.run_for(seconds(3));
        for key in [1, 2] {
            let worst = death_known(&world, key, 1).into_iter().max().expect("survivors");
            assert!(worst.since(at) <= Duration::from_millis(200), "{:?}", worst.since(at));
        }
        assert_eq!(declared_dead(&world), [(1, 1), (2, 1)]);
    });
}

// G-3: silence waits for accusers and for the time of the suspicion.
#[test]
fn silent_node_is_dead_within_the_suspicion_and_nobody_else_is() {
    let name = "silent_node_is_dead_within_the_suspicion_and_nobody_else_is";
    with_seed(name, first_seed(), |seed| {
        for nodes in [3, 50] {
            let mut world = settled(seed, nodes);
            let at = world.now();
            world.isolate(2);
            // Accusers in a few periods, S_min = 4 · log10 50 s = 6.8 s, then the news.
            world.run_for(seconds(16));
            let known = death_known(&world, 2, 1);
            let waits: Vec<_> = known.iter().map(|known| known.since(at)).collect();
            println!("{nodes} nodes, seed {seed}: silence fatal after {:?}", waits.iter().max());
            assert!(waits.iter().all(|wait| *wait >= seconds(4)), "{waits:?}");
            let by_survivors = world.seen().iter().filter(|seen| seen.node != 2);
            let wrong = by_survivors.filter(
                |seen| matches!(seen.event, mobula::gossip::Event::Dead { key, .. } if key != 2),
            );
            assert_eq!(wrong.count(), 0);
        }
    });
}

// G-3: one member that does not hear another is one accuser, and that is not enough.
#[test]
fn link_cut_between_two_members_kills_neither() {
    with_seed("link_cut_between_two_members_kills_neither", first_seed(), |seed| {
        let mut world = settled(seed, 8);
        world.cut(3, 4);
        world.run_for(seconds(60));
        assert_eq!(declared_dead(&world), []);
        world.heal(3, 4);
        assert!(world.run_until(seconds(10), all_agree));
    });
}

#[test]
fn quiet_cluster_declares_nobody_dead() {
    with_seed("quiet_cluster_declares_nobody_dead", first_seed(), |seed| {
        let mut world = settled(seed, 50);
        let (before, bytes) = (world.seen().len(), world.bytes_sent());
        world.run_for(seconds(30));
        let per_node = (world.bytes_sent() - bytes) / 30 / 50;
        println!("50 nodes, quiet: {per_node} bytes sent per node and second");
        assert_eq!(world.seen()[before..], []);
        assert!(per_node <= 40_000, "{per_node} B/s");
    });
}
