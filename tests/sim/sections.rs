//! GS-1 to GS-3: a cluster of several sections.

use mobula::gossip::{Config, Event};
use mobula::sim::World;

use crate::support::{all_agree, declared_dead, first_seed, seconds, with_seed};

const NODES: u32 = 60;

/// Sections of at most 16 nodes.
fn sectioned(seed: u64) -> World {
    let config = Config { section_members_max: 16, ..Config::default() };
    let mut world = World::new(seed, NODES, config);
    world.start_all();
    assert!(world.run_until(seconds(20), all_agree), "{NODES} nodes in sections did not settle");
    world
}

// GS-2, GS-3
#[test]
fn a_crash_is_known_in_every_section_and_suspicions_stay_in_their_own() {
    let name = "a_crash_is_known_in_every_section_and_suspicions_stay_in_their_own";
    for seed in first_seed()..first_seed() + 5 {
        with_seed(name, seed, |seed| {
            let mut world = sectioned(seed);
            let (crashed, silent) = (7, 23);
            let neighbours = |world: &World, of: u32| -> Vec<u32> {
                let view = |node| world.gossip(node)?.member(of).filter(|m| m.neighbour);
                (0..NODES).filter(|&node| view(node).is_some()).collect()
            };
            let near = neighbours(&world, silent);
            assert!(near.len() < NODES as usize / 2, "{near:?}");
            world.crash(crashed);
            world.isolate(silent);
            world.run_for(seconds(20));
            let survivors = world.seen().iter().filter(|seen| seen.node != silent);
            let dead = Event::Dead { key: crashed, boot: 1 };
            let told = survivors.clone().filter(|seen| seen.event == dead).count();
            assert_eq!(told, NODES as usize - 2, "every survivor learns it once");
            let of_silent = survivors
                .filter(|seen| matches!(seen.event, Event::Suspect { key, .. } if key == silent));
            assert!(of_silent.clone().count() > 0);
            assert!(of_silent.into_iter().all(|seen| near.contains(&seen.node)));
        });
    }
}

// GS-1
#[test]
fn a_whole_section_that_crashes_is_found_by_the_others() {
    with_seed("a_whole_section_that_crashes_is_found_by_the_others", first_seed(), |seed| {
        let mut world = sectioned(seed);
        let rows = world.gossip(11).map(|g| g.rows(world.now()).map(|row| row.key).collect());
        let section: Vec<u32> = rows.unwrap_or_default();
        assert!(section.contains(&11) && section.len() < NODES as usize);
        section.iter().for_each(|&node| world.crash(node));
        assert!(world.run_until(seconds(60), all_agree), "the dead section is still alive to some");
        assert_eq!(declared_dead(&world).len(), section.len());
    });
}
