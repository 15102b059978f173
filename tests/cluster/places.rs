//! Placement with real nodes: spread, refusals, and books that balance.

use std::time::Instant;

use futures::future::join_all;
use mobula::placement::{Capacity, Device};
use mobula::prelude::*;

use crate::puppet::{Make, Msg, Puppet};
use crate::support::{AT_ONCE, PATIENCE, ROOMY, cluster, eventually};

const CORE: u64 = 1_000;

fn needing(cores: f32) -> Spec<Puppet> {
    Puppet::spec(Make::Plain).needs(Demand::cpu(cores)).anywhere()
}

/// Thousandths of cores in use on each node, by its own record.
fn used(nodes: &[Node]) -> Vec<u64> {
    let own = |node: &Node| node.members()[0].cpu_milli;
    nodes.iter().map(own).map(|(total, free)| total - free).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twelve_actors_spread_over_three_nodes() {
    let nodes = cluster(3, |_, builder| builder.host::<Puppet>()).await;
    let mut actors: Vec<ActorRef<Msg>> = Vec::new();
    for _ in 0..12 {
        actors.push(nodes[0].spawn(needing(1.0)).await.unwrap());
    }
    eventually("all are in the records", || used(&nodes).iter().sum::<u64>() == 12 * CORE).await;
    let used = used(&nodes);
    assert!(used.iter().all(|&cpu| (2 * CORE..=8 * CORE).contains(&cpu)), "{used:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forbidden_label_is_respected() {
    let label = |i, builder: mobula::node::NodeBuilder| match i {
        0 => builder.host::<Puppet>().label("source"),
        _ => builder.host::<Puppet>(),
    };
    let nodes = cluster(2, label).await;
    for _ in 0..6 {
        let demand = Demand::cpu(1.0).without_label("source");
        nodes[0].spawn(Puppet::spec(Make::Plain).needs(demand).anywhere()).await.unwrap();
    }
    eventually("all are in the records", || used(&nodes) == [0, 6 * CORE]).await;
}

/// P-1, per device: two halves of a device fit on one, and a demand never on two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_is_told_which_device_its_demand_was_granted_on() {
    let build = |i, builder: mobula::node::NodeBuilder| match i {
        0 => builder,
        _ => builder.host::<Puppet>().capacity(Capacity {
            devices: vec![Device::whole(80), Device::whole(40)],
            counters: [("licence".to_owned(), 3)].into(),
            ..ROOMY
        }),
    };
    let nodes = cluster(2, build).await;
    let demand = |vram| Demand::gpu(0.5).vram(vram).counter("licence", 1);
    let spec = |vram| Puppet::spec(Make::Plain).needs(demand(vram)).anywhere();
    let mut devices = Vec::new();
    for vram in [30, 50, 20] {
        let actor = nodes[0].spawn(spec(vram)).await.unwrap();
        devices.push(actor.call(Msg::Device).within(PATIENCE).await.unwrap());
    }
    // The tightest one takes each; the third finds 10 and 30 bytes left.
    assert_eq!(devices, [Some(1), Some(0), Some(0)]);
    let refused = |demand| nodes[0].spawn(Puppet::spec(Make::Plain).needs(demand).anywhere());
    let two = refused(Demand::gpu(0.5).vram(100)).await.unwrap_err().to_string();
    assert!(two.contains("needs 100 of vram (bytes of a device), has 80"), "{two}");
    let bare = refused(Demand::gpu(0.5)).await.unwrap_err().to_string();
    assert!(bare.contains("a demand of gpu needs vram too"), "{bare}");
    let licences = refused(Demand::default().counter("licence", 4)).await.unwrap_err().to_string();
    assert!(licences.contains("needs 4 of the counter \"licence\", has 3"), "{licences}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actors_that_pack_leave_other_nodes_empty() {
    let nodes = cluster(3, |_, builder| builder.host::<Puppet>()).await;
    for _ in 0..6 {
        let spec = Puppet::spec(Make::Plain).needs(Demand::cpu(1.0)).pack();
        nodes[0].spawn(spec).await.unwrap();
    }
    eventually("all are on one node", || used(&nodes).contains(&(6 * CORE))).await;
}

/// Wherever the other one is: here, elsewhere for this node, or elsewhere for another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_is_placed_near_another_one() {
    let nodes = cluster(4, |_, builder| builder.host::<Puppet>()).await;
    let here = nodes[0].spawn(Puppet::spec(Make::Plain)).await.unwrap();
    let there = nodes[0].spawn(needing(0.1).on(nodes[2].id().unwrap())).await.unwrap();
    let near =
        |other: &ActorRef<Msg>| Puppet::spec(Make::Plain).needs(Demand::cpu(0.1)).near(other);
    for other in [&here, &there, &there] {
        nodes[0].spawn(near(other)).await.unwrap();
    }
    nodes[0].register("there", &there).await.unwrap();
    let found: ActorRef<Msg> = nodes[3].lookup("there").await.unwrap();
    nodes[3].spawn(near(&found)).await.unwrap();
    eventually("all are in the records", || used(&nodes) == [100, 0, 400, 0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn required_labels_are_required_and_preferred_ones_preferred() {
    let label = |i, builder: mobula::node::NodeBuilder| match i {
        0 => builder.host::<Puppet>(),
        1 => builder.host::<Puppet>().label("ssd"),
        _ => builder.host::<Puppet>().label("ssd").label("zone=a"),
    };
    let nodes = cluster(3, label).await;
    let spec = |demand| Puppet::spec(Make::Plain).needs(demand).anywhere();
    for _ in 0..3 {
        let demand = Demand::cpu(0.1).label("ssd").prefer_label("zone=a");
        nodes[0].spawn(spec(demand)).await.unwrap();
    }
    eventually("all are in the records", || used(&nodes) == [0, 0, 300]).await;
    let nowhere = nodes[0].spawn(spec(Demand::default().label("tape"))).await.unwrap_err();
    assert!(nowhere.to_string().contains("tape"), "{nowhere}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demand_that_no_node_can_ever_hold_fails_at_once_and_says_what_is_missing() {
    let nodes = cluster(2, |_, builder| builder.host::<Puppet>()).await;
    let asked = Instant::now();
    let refused = nodes[0].spawn(needing(1_000.0)).await.unwrap_err();
    assert!(asked.elapsed() < AT_ONCE);
    assert!(matches!(&refused, SpawnError::NoCapacity(text) if text.contains("cpu")), "{refused}");
}

/// PD-1, PD-3: an autoscaler reads what waits and what no node can hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demand_that_finds_no_room_is_pending() {
    let one = Capacity { cpu_milli: 1_000, ..ROOMY };
    let nodes = cluster(1, |_, builder| builder.host::<Puppet>().capacity(one.clone())).await;
    let node = nodes[0].clone();
    nodes[0].spawn(needing(2.0)).await.unwrap_err();
    let first = nodes[0].spawn(needing(1.0)).await.unwrap();
    let second = tokio::spawn(async move { node.spawn(needing(1.0)).await });
    let counts = || -> Vec<(u32, usize, usize)> {
        let groups = nodes[0].pending().into_iter();
        groups.map(|g| (g.demand.cpu_milli, g.waiting, g.impossible)).collect()
    };
    eventually("both are pending", || counts() == [(1_000, 1, 0), (2_000, 0, 1)]).await;
    let missing: Vec<String> = nodes[0].pending().into_iter().map(|group| group.missing).collect();
    assert!(missing[0].contains("needs 1000 of cpu"), "{missing:?}");
    assert!(missing[1].contains("add a larger node"), "{missing:?}");
    first.stop();
    second.await.unwrap().unwrap();
    assert_eq!(counts(), [(2_000, 0, 1)]);
}

/// P-1 of placement, with real nodes: what runs never exceeds what there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_spawns_at_once_from_three_nodes_oversubscribe_none() {
    let nodes = cluster(3, |_, builder| {
        builder.host::<Puppet>().capacity(Capacity { cpu_milli: 10_000, ..ROOMY })
    })
    .await;
    let spawns = (0..100).map(|i| nodes[i % 3].spawn(needing(1.0)));
    let spawned = tokio::time::timeout(PATIENCE, join_all(spawns)).await.unwrap();
    let alive: Vec<_> = spawned.iter().flatten().collect();
    assert_eq!(alive.len(), 30, "as many as there is room for, and no more");
    for actor in alive {
        actor.call(Msg::Where).within(PATIENCE).await.unwrap();
    }
    for refused in spawned.iter().filter_map(|spawn| spawn.as_ref().err()) {
        assert!(matches!(refused, SpawnError::NoCapacity(_)), "{refused}");
    }
    eventually("all is in use", || used(&nodes) == [10 * CORE; 3]).await;
    spawned.iter().flatten().for_each(ActorRef::stop);
    eventually("all is free again", || used(&nodes) == [0; 3]).await;
}

/// J-1, L-1: what a start that failed had reserved is free again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_fails_leaves_nothing_behind() {
    let nodes = cluster(2, |_, builder| builder.host::<Puppet>()).await;
    for _ in 0..10 {
        let spec = Puppet::spec(Make::Stillborn).needs(Demand::cpu(5.0)).anywhere();
        let failed = nodes[0].spawn(spec).await.unwrap_err();
        assert!(matches!(failed, SpawnError::Start(Exit::InitFailed(_))), "{failed}");
    }
    eventually("all is free", || used(&nodes) == [0, 0]).await;
}

/// L-1: a spawn that is given up half-way leaves no actor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spawns_that_are_dropped_leave_nothing_behind() {
    let nodes = cluster(2, |_, builder| builder.host::<Puppet>()).await;
    for polls in (0..40).cycle().take(400) {
        let there = nodes[1].id().unwrap();
        let spec = Puppet::spec(Make::Plain).needs(Demand::cpu(0.1)).on(there);
        let mut spawn = std::pin::pin!(nodes[0].spawn(spec));
        for _ in 0..polls {
            if let Some(spawned) = futures::FutureExt::now_or_never(&mut spawn) {
                // It was not given up: its actor lives until it is stopped.
                spawned.unwrap().stop();
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let node = &nodes[1];
    let free = |node: &Node| {
        let (total, free) = node.members()[0].cpu_milli;
        total == free
    };
    eventually("all is free", || free(node)).await;
}
