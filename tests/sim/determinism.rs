//! SW-1, C-2: a run is a function of its seed.

use std::time::Duration;

use mobula::sim::{Chaos, World};

use crate::support::{seconds, settled};

const NODES: u32 = 12;

/// What is done to a settled cluster, each with a name of its own.
const SCENARIOS: [(&str, fn(&mut World, u64)); 12] = [
    ("quiet", |_, _| {}),
    ("crash", |world, _| world.crash(7)),
    ("slow crash", |world, _| world.crash_slowly(7, Duration::from_millis(30))),
    ("leave", |world, _| world.leave(7)),
    ("pause", |world, _| world.pause(7)),
    ("isolated", |world, _| world.isolate(7)),
    ("one link cut", |world, _| world.cut(3, 4)),
    ("starved", |world, _| world.starve(7, Duration::from_secs(1))),
    ("restart", |world, _| {
        world.crash(7);
        world.start(7);
    }),
    ("pause and resume", |world, _| {
        world.pause(7);
        world.run_for(seconds(3));
        world.resume(7);
    }),
    ("halves", |world, _| {
        (0..6).flat_map(|a| (6..12).map(move |b| (a, b))).for_each(|(a, b)| world.cut(a, b));
    }),
    ("chaos", |world, seed| {
        let mut chaos = Chaos::new(seed, NODES);
        (0..5).for_each(|_| chaos.strike(world));
    }),
];

fn trace(scenario: fn(&mut World, u64), seed: u64) -> u64 {
    let mut world = settled(seed, NODES);
    scenario(&mut world, seed);
    world.run_for(seconds(5));
    world.trace()
}

#[test]
fn twelve_scenarios_have_the_same_trace_twice_on_each_of_twenty_seeds() {
    for (name, scenario) in SCENARIOS {
        let traces: Vec<u64> = (1..=20).map(|seed| trace(scenario, seed)).collect();
        let again: Vec<u64> = (1..=20).map(|seed| trace(scenario, seed)).collect();
        assert_eq!(traces, again, "{name}");
        let mut distinct = traces.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), traces.len(), "{name}: another seed gives another trace");
    }
}
