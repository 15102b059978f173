//! G-6: records converge, and only change makes a new version.

use std::time::Duration;

use mobula::gossip::Record;
use mobula::sim::World;

use crate::support::{first_seed, seconds, settled, with_seed};

fn everywhere(world: &World, key: u32, record: &Record) -> bool {
    world.running().all(|node| {
        world.gossip(node).is_some_and(|gossip| {
            gossip.rows(world.now()).any(|row| row.key == key && row.record == record)
        })
    })
}

#[test]
fn changed_record_is_everywhere_within_a_few_rounds() {
    with_seed("changed_record_is_everywhere_within_a_few_rounds", first_seed(), |seed| {
        let mut world = settled(seed, 50);
        let kinds = vec!["counter".to_owned()];
        let record = Record { kinds, address: "4".to_owned(), ..Record::default() };
        world.offer(4, record.clone());
        let at = world.now();
        assert!(world.run_until(seconds(3), |world| everywhere(world, 4, &record)));
        println!("50 nodes: record everywhere after {:?}", world.now().since(at));
        // Push-pull with fan-out 3: 99 % after 2 rounds of 300 ms, all after a few more.
        assert!(world.now().since(at) <= Duration::from_millis(1_500));
    });
}

#[test]
fn same_record_again_makes_no_new_version_and_a_small_change_waits() {
    let name = "same_record_again_makes_no_new_version_and_a_small_change_waits";
    with_seed(name, first_seed(), |seed| {
        let mut world = settled(seed, 3);
        let record = Record { cpu_milli_total: 1_000, cpu_milli_free: 1_000, ..Record::default() };
        world.offer(0, record.clone());
        let seq = |world: &World| {
            let gossip = world.gossip(0)?;
            gossip.rows(world.now()).find(|row| row.key == 0).map(|row| row.seq)
        };
        let before = seq(&world);
        world.offer(0, record.clone());
        world.run_for(seconds(3));
        assert_eq!(seq(&world), before);
        let small = Record { cpu_milli_free: 990, ..record };
        world.offer(0, small.clone());
        world.run_for(Duration::from_millis(900));
        assert_eq!(seq(&world), before);
        assert!(world.run_until(seconds(2), |world| everywhere(world, 0, &small)));
        assert_eq!(seq(&world), before.map(|seq| seq + 1));
    });
}

#[test]
fn rows_of_a_quiet_cluster_stay_young_and_those_of_a_silent_node_age() {
    let name = "rows_of_a_quiet_cluster_stay_young_and_those_of_a_silent_node_age";
    with_seed(name, first_seed(), |seed| {
        let mut world = settled(seed, 30);
        world.run_for(seconds(5));
        let ages = |world: &World, key: Option<u32>| {
            let rows = world.running().flat_map(|node| {
                let rows = world.gossip(node).into_iter().flat_map(|g| g.rows(world.now()));
                rows.filter(|row| key.is_none_or(|key| row.key == key && node != key))
                    .map(|row| row.age)
                    .collect::<Vec<_>>()
            });
            rows.collect::<Vec<_>>()
        };
        let worst = ages(&world, None).into_iter().max().expect("rows");
        println!("30 nodes: oldest row {worst:?}");
        assert!(worst <= Duration::from_millis(1_500), "{worst:?}");
        world.isolate(8);
        world.run_for(Duration::from_millis(2_000));
        assert!(ages(&world, Some(8)).iter().all(|age| *age >= Duration::from_millis(1_900)));
    });
}
