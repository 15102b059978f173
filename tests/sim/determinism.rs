//! SW-1, C-2: a run is a function of its seed.

use crate::support::{seconds, settled};

fn trace(seed: u64) -> u64 {
    let mut world = settled(seed, 20);
    world.crash(7);
    world.run_for(seconds(5));
    world.trace()
}

#[test]
fn same_seed_gives_the_same_trace_and_another_seed_another() {
    let traces: Vec<u64> = (1..=4).map(trace).collect();
    assert_eq!(traces, (1..=4).map(trace).collect::<Vec<_>>());
    let mut distinct = traces.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), traces.len());
}
