//! G-1, G-2, G-4, G-5: pause, restart, leave, partition.

use std::time::Duration;

use mobula::gossip::{Event, State};
use mobula::machine::Rng;
use mobula::sim::World;

use crate::support::{all_agree, declared_dead, first_seed, seconds, settled, with_seed};

// G-2
#[test]
fn paused_node_refutes_the_suspicion_when_it_goes_on() {
    with_seed("paused_node_refutes_the_suspicion_when_it_goes_on", first_seed(), |seed| {
        let mut world = settled(seed, 50);
        world.pause(9);
        let unreachable = Event::Unreachable { key: 9, boot: 1 };
        let accused = |world: &World| world.seen().iter().any(|seen| seen.event == unreachable);
        assert!(world.run_until(seconds(20), accused));
        world.resume(9);
        assert!(world.run_until(seconds(5), all_agree));
        world.run_for(seconds(60));
        assert_eq!(declared_dead(&world), []);
        let incarnation = world.gossip(0).and_then(|g| g.member(9)).map(|m| m.incarnation);
        assert!(incarnation >= Some(1));
    });
}

// G-5
#[test]
fn node_declared_dead_while_paused_comes_back_in_a_new_life() {
    with_seed("node_declared_dead_while_paused_comes_back_in_a_new_life", first_seed(), |seed| {
        let mut world = settled(seed, 5);
        world.pause(4);
        world.run_for(seconds(20));
        assert_eq!(declared_dead(&world), [(4, 1)]);
        world.resume(4);
        assert!(world.run_until(seconds(10), all_agree));
        assert_eq!(world.boot(4), 2);
        assert!((0..4).all(|node| world.boot(node) == 1));
        let own = |event: &Event<u32>| matches!(event, Event::SelfDeclaredDead { .. });
        let told: Vec<_> = world.seen().iter().filter(|seen| own(&seen.event)).collect();
        assert_eq!(told.len(), 1);
    });
}

// G-1
#[test]
fn restart_replaces_the_dead_life_and_its_record() {
    with_seed("restart_replaces_the_dead_life_and_its_record", first_seed(), |seed| {
        let mut world = settled(seed, 10);
        world.crash(3);
        world.run_for(seconds(2));
        let rows = world.gossip(0).map(|g| g.rows(world.now()).count());
        assert_eq!(rows, Some(9));
        world.start(3);
        assert!(world.run_until(seconds(5), all_agree));
        let row = world.gossip(0).and_then(|g| g.rows(world.now()).find(|row| row.key == 3));
        assert_eq!(row.map(|row| row.boot), Some(2));
    });
}

// G-1
#[test]
fn restart_before_anybody_noticed_ends_the_old_life_too() {
    with_seed("restart_before_anybody_noticed_ends_the_old_life_too", first_seed(), |seed| {
        let mut world = settled(seed, 10);
        world.crash(3);
        world.start(3);
        assert!(world.run_until(seconds(5), all_agree));
        assert_eq!(declared_dead(&world), [(3, 1)]);
        assert_eq!(world.boot(3), 2);
    });
}

// G-1, G-3: refusals gathered about the old life never kill the new one.
#[test]
fn restart_at_any_moment_after_a_crash_never_kills_the_new_life() {
    let name = "restart_at_any_moment_after_a_crash_never_kills_the_new_life";
    for seed in first_seed()..first_seed() + 60 {
        with_seed(name, seed, |seed| {
            let mut world = settled(seed, 3 + (seed % 3) as u32);
            world.crash(1);
            world.run_for(Duration::from_micros(Rng::new(seed).below(8_000)));
            world.start(1);
            assert!(world.run_until(seconds(5), all_agree));
            world.run_for(seconds(5));
            assert_eq!(declared_dead(&world), [(1, 1)]);
        });
    }
}

// G-4
#[test]
fn node_that_leaves_is_left_and_never_dead() {
    with_seed("node_that_leaves_is_left_and_never_dead", first_seed(), |seed| {
        let mut world = settled(seed, 20);
        world.leave(5);
        world.run_for(seconds(30));
        let left = |node| world.gossip(node).and_then(|g| g.member(5)).map(|m| m.state);
        assert!(world.running().all(|node| left(node) == Some(State::Left)));
        assert_eq!(declared_dead(&world), []);
        assert!(all_agree(&world));
    });
}

// F19: nobody is left to be asked, and every table is of old lives.
#[test]
fn a_cluster_that_starts_cold_finds_itself_in_new_lives() {
    with_seed("a_cluster_that_starts_cold_finds_itself_in_new_lives", first_seed(), |seed| {
        let mut world = settled(seed, 50);
        (0..50).for_each(|node| world.crash(node));
        world.run_for(seconds(60));
        world.take_seen();
        world.start_all();
        assert!(world.run_until(seconds(20), all_agree));
        assert!((0..50).all(|node| world.boot(node) == 2));
        world.run_for(seconds(30));
        assert!(declared_dead(&world).iter().all(|(_, boot)| *boot == 1));
    });
}

// G-5: both sides hold the other dead; the smaller takes new lives.
#[test]
fn partition_heals_by_the_smaller_side_taking_new_lives() {
    with_seed("partition_heals_by_the_smaller_side_taking_new_lives", first_seed(), |seed| {
        let mut world = settled(seed, 5);
        let sides = || (0..3).flat_map(|a| (3..5).map(move |b| (a, b)));
        sides().for_each(|(a, b)| world.cut(a, b));
        world.run_for(seconds(30));
        assert_eq!(world.gossip(0).map(|g| g.rows(world.now()).count()), Some(3));
        assert_eq!(world.gossip(4).map(|g| g.rows(world.now()).count()), Some(2));
        sides().for_each(|(a, b)| world.heal(a, b));
        assert!(world.run_until(seconds(30), all_agree));
        assert!((0..3).all(|node| world.boot(node) == 1), "the larger side keeps its lives");
        assert!((3..5).all(|node| world.boot(node) > 1), "the smaller side took new ones");
    });
}

// G-5: one of the smaller side is back before the other, and comes in by the other's table too.
#[test]
fn newcomer_with_the_verdicts_of_the_smaller_side_ends_nobody_of_the_larger() {
    let name = "newcomer_with_the_verdicts_of_the_smaller_side_ends_nobody_of_the_larger";
    for seed in first_seed()..first_seed() + 20 {
        with_seed(name, seed, |seed| {
            let mut world = settled(seed, 5);
            let larger = 0..3;
            (0..4).for_each(|node| world.cut(node, 4));
            larger.clone().for_each(|node| world.cut(node, 3));
            world.run_for(seconds(30));
            larger.clone().for_each(|node| world.heal(node, 3));
            assert!(world.run_until(seconds(30), |world| world.boot(3) > 1));
            // The newcomer meets the other one first.
            larger.clone().for_each(|node| world.cut(node, 3));
            world.heal(3, 4);
            world.run_for(seconds(3));
            larger.clone().for_each(|node| world.heal(node, 3));
            world.run_for(seconds(5));
            larger.for_each(|node| world.heal(node, 4));
            assert!(world.run_until(seconds(60), all_agree));
            assert!((0..3).all(|node| world.boot(node) == 1), "the larger side keeps its lives");
        });
    }
}
