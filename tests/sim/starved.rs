//! G-3: whoever gets no processor is slow, not dead, and its own clock accuses nobody.

use std::time::Duration;

use crate::support::{declared_dead, first_seed, seconds, settled, with_seed};

/// The longest wait of a starved process, below the shortest suspicion of 30 nodes, 5.9 s.
const WAIT_MAX: Duration = Duration::from_secs(3);

// 30 nodes for an hour are 30 node-hours.
#[test]
fn a_quarter_of_the_nodes_starved_of_processor_brings_no_false_verdict() {
    let name = "a_quarter_of_the_nodes_starved_of_processor_brings_no_false_verdict";
    with_seed(name, first_seed(), |seed| {
        let mut world = settled(seed, 30);
        (0..30).step_by(4).for_each(|node| world.starve(node, WAIT_MAX));
        for _ in 0..60 {
            world.run_for(seconds(60));
            assert_eq!(declared_dead(&world), []);
            world.take_seen();
        }
        let scores = |starved: bool| -> u32 {
            let nodes = (0..30).filter(|node| (node % 4 == 0) == starved);
            nodes.filter_map(|node| world.gossip(node)).map(|gossip| gossip.health_score()).sum()
        };
        assert!(scores(true) > 0 && scores(false) <= scores(true), "the starved know of it");
    });
}
