//! Gangs with real nodes: all or nothing, however they lie and whatever fails.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::task::Poll;

use futures::future::join_all;
use mobula::actors::Fault;
use mobula::placement::Capacity;
use mobula::prelude::*;
use tokio::sync::mpsc::{self, UnboundedSender};

use crate::puppet::{Make, Msg, Puppet};
use crate::support::{PATIENCE, ROOMY, cluster, eventually};

const CORE: u64 = 1_000;
/// What each node has: room for two members.
const PLACES: u32 = 2;

fn member(make: Make) -> Spec<Puppet> {
    Puppet::spec(make).needs(Demand::cpu(1.0)).anywhere()
}

fn gang(members: usize) -> Vec<Spec<Puppet>> {
    (0..members).map(|_| member(Make::Plain)).collect()
}

/// Three nodes with room for two each, besides one that only places.
async fn narrow() -> Vec<Node> {
    let room = Capacity { cpu_milli: PLACES * CORE as u32, ..ROOMY };
    cluster(4, |i, builder| match i {
        0 => builder,
        _ => builder.host::<Puppet>().capacity(room.clone()),
    })
    .await
}

/// Thousandths of cores in use on each node that hosts, as the node that places sees it.
fn used(nodes: &[Node]) -> Vec<u64> {
    let by_id: BTreeMap<NodeId, u64> =
        nodes[0].members().iter().map(|m| (m.node, m.cpu_milli.0 - m.cpu_milli.1)).collect();
    nodes[1..].iter().map(|node| by_id[&node.id().unwrap()]).collect()
}

async fn all_free(nodes: &[Node]) {
    eventually("all rooms are free again", || used(nodes) == [0, 0, 0]).await;
}

/// Where members are: how many on each node that has any.
async fn lie(nodes: &[Node], members: &[ActorRef<Msg>]) -> Vec<u64> {
    for member in members {
        member.call(Msg::Notes).within(PATIENCE).await.unwrap();
    }
    let all = members.len() as u64 * CORE;
    eventually("all are in the records", || used(nodes).iter().sum::<u64>() == all).await;
    let mut counts: Vec<u64> = used(nodes).into_iter().map(|cpu| cpu / CORE).collect();
    counts.sort_unstable();
    counts
}

async fn end(nodes: &[Node], members: Vec<ActorRef<Msg>>) {
    for member in members {
        member.send(Msg::End).await.unwrap();
    }
    all_free(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_lie_as_the_layout_says() {
    let nodes = narrow().await;
    let cases = [
        (Layout::StrictPack, 2, [0, 0, 2]),
        (Layout::StrictSpread, 3, [1, 1, 1]),
        (Layout::Spread, 3, [1, 1, 1]),
        (Layout::Pack, 4, [0, 2, 2]),
        (Layout::Spread, 6, [2, 2, 2]),
    ];
    for (layout, count, expected) in cases {
        let members = nodes[0].spawn_gang(layout, gang(count)).await.unwrap();
        assert_eq!(lie(&nodes, &members).await, expected, "{layout:?}");
        end(&nodes, members).await;
    }
}

/// P-5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gang_that_fits_on_no_empty_cluster_fails_at_once() {
    let nodes = narrow().await;
    for (layout, count) in [(Layout::StrictPack, 3), (Layout::StrictSpread, 4)] {
        let why = nodes[0].spawn_gang(layout, gang(count)).await.unwrap_err();
        assert!(matches!(&why, SpawnError::NoCapacity(_)), "{layout:?}: {why}");
    }
    let many = nodes[0].spawn_gang(Layout::Pack, gang(257)).await.unwrap_err().to_string();
    assert!(many.contains("at most 256"), "{many}");
    let alone = Node::local().spawn_gang(Layout::Pack, gang(1)).await.unwrap_err().to_string();
    assert!(alone.contains("Node::builder"), "{alone}");
    assert_eq!(used(&nodes), [0, 0, 0]);
}

/// GA-1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_one_start_fails_the_others_end_and_all_rooms_are_free() {
    let nodes = narrow().await;
    for round in 0..6 {
        let mut specs = gang(5);
        specs.insert(round, member(Make::Stillborn));
        let failed = nodes[0].spawn_gang(Layout::Spread, specs).await.unwrap_err();
        assert!(failed.to_string().contains("stillborn"), "{failed}");
        all_free(&nodes).await;
    }
    let whole = nodes[0].spawn_gang(Layout::Spread, gang(6)).await.unwrap();
    assert_eq!(lie(&nodes, &whole).await, [2, 2, 2]);
}

/// GA-1: members that lie on the node that places them are no exception.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_on_the_placing_node_ends_with_a_gang_that_fails() {
    let nodes = cluster(2, |_, builder| builder.host::<Puppet>()).await;
    let here = nodes[0].id().unwrap();
    let there = nodes[1].id().unwrap();
    let on = |make, node| Puppet::spec(make).needs(Demand::cpu(1.0)).on(node);
    let specs = vec![on(Make::Plain, here), on(Make::Stillborn, there)];
    nodes[0].spawn_gang(Layout::Pack, specs).await.unwrap_err();
    let used = || nodes[0].members().iter().map(|m| m.cpu_milli.0 - m.cpu_milli.1).sum::<u64>();
    eventually("all rooms are free again", || used() == 0).await;
    let puppets = |node: &Node| node.actors().filter(|actor| actor.kind.contains("puppet")).count();
    eventually("no member is left", || puppets(&nodes[0]) + puppets(&nodes[1]) == 0).await;
}

/// GA-1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spawns_that_are_dropped_leave_no_room_taken() {
    let nodes = narrow().await;
    for round in 0..200 {
        let mut spawn = std::pin::pin!(nodes[0].spawn_gang(Layout::Spread, gang(2)));
        // After so many turns of this task, wherever that is.
        let mut turns = round % 5;
        let outcome = poll_fn(|cx| match spawn.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending if turns == 0 => Poll::Ready(None),
            Poll::Pending => {
                turns -= 1;
                Poll::Pending
            }
        });
        if let Some(Ok(members)) = outcome.await {
            end(&nodes, members).await;
        }
    }
    all_free(&nodes).await;
    let whole = nodes[0].spawn_gang(Layout::Spread, gang(6)).await.unwrap();
    assert_eq!(lie(&nodes, &whole).await, [2, 2, 2]);
}

/// P-9: none waits for the other, and the rooms go to one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_gangs_for_the_room_of_one_one_is_started_whole() {
    let nodes = narrow().await;
    let spawns = nodes[1..].iter().map(|node| node.spawn_gang(Layout::Spread, gang(6)));
    let outcomes = join_all(spawns).await;
    let started: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    assert_eq!(started.len(), 1, "{outcomes:?}");
    assert_eq!(lie(&nodes, started[0]).await, [2, 2, 2]);
    let refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    refused.for_each(|why| assert!(matches!(why, SpawnError::NoCapacity(_)), "{why}"));
}

/// Has a gang of two, each on a node of its own, and shares its fate.
struct Conductor;

impl Actor for Conductor {
    type Args = (Node, UnboundedSender<Vec<ActorRef<Msg>>>);
    type Msg = ();

    async fn start((node, started): Self::Args, ctx: &mut Context<Self>) -> Result<Self, Fault> {
        let members = node.spawn_gang(Layout::StrictSpread, gang(2)).await?;
        members.iter().for_each(|member| ctx.link(member));
        started.send(members)?;
        Ok(Self)
    }

    async fn handle(&mut self, (): (), _: &mut Context<Self>) -> Result<(), Fault> {
        Ok(())
    }
}

/// Nothing of a gang goes on when a member is lost: its supervisor has all of it placed again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gang_whose_node_dies_is_placed_again_as_a_whole() {
    let mut nodes = narrow().await;
    let (started, mut gangs) = mpsc::unbounded_channel();
    let conductor = Conductor::spec((nodes[0].clone(), started));
    let spec = Supervisor::spec(Strategy::OneForOne).child("conductor", conductor);
    let tree = nodes[0].supervise(spec).await.unwrap();
    let first = gangs.recv().await.unwrap();
    assert_eq!(lie(&nodes, &first).await, [0, 1, 1]);
    let hosting = used(&nodes).iter().position(|cpu| *cpu > 0).unwrap();
    drop(nodes.remove(1 + hosting));
    let second = tokio::time::timeout(PATIENCE, gangs.recv()).await.unwrap().unwrap();
    assert_eq!(lie(&nodes, &second).await, [1, 1]);
    for lost in first {
        lost.call(Msg::Notes).within(PATIENCE).await.unwrap_err();
    }
    tree.stop(PATIENCE).await;
}
