//! What a supervisor does when it may be the one that is cut off.

use std::time::Duration;

use mobula::actors::OnPartition;
use mobula::net::Identity;
use mobula::prelude::*;
use mobula::supervision::{ChildInfo, ChildState};

use crate::puppet::{Make, Msg, Puppet, notes};
use crate::support::{PATIENCE, all_see, children_when, cluster, member, members};

/// A child that does not run on its supervisor's node.
fn child(on_partition: OnPartition) -> Spec<Puppet> {
    let demand = Demand::cpu(0.5).without_label("home");
    Puppet::spec(Make::Plain).needs(demand).anywhere().on_partition(on_partition)
}

fn is_patient(child: &ChildInfo) -> bool {
    child.id.starts_with("patient")
}

/// F9, L-3: of five nodes three are gone, and whoever is left cannot know whether they are dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_children_that_wait_are_not_started_again_and_the_others_are() {
    let (keys, list) = members(5);
    let mut nodes = Vec::new();
    for key in &keys {
        let builder = member(key.clone(), &list, nodes.first()).host::<Puppet>();
        let builder = if nodes.is_empty() { builder.label("home") } else { builder };
        nodes.push(builder.start().await.unwrap());
    }
    all_see(&nodes, 5).await;
    let mut spec = Supervisor::spec(Strategy::OneForOne);
    for number in 0..6 {
        spec = spec
            .child(format!("eager {number}"), child(OnPartition::Restart))
            .child(format!("patient {number}"), child(OnPartition::Wait));
    }
    let tree = nodes[0].supervise(spec).await.unwrap();
    let (second, third) = (nodes[1].id(), nodes[2].id());
    let on = |child: &ChildInfo, nodes: &[Option<NodeId>]| {
        child.state == ChildState::Running && nodes.contains(&child.node)
    };
    // Three of five are a majority: all are started again.
    nodes.truncate(3);
    let children =
        children_when(&tree, |all| all.len() == 12 && all.iter().all(|c| on(c, &[second, third])))
            .await;
    let lost: Vec<_> = children.into_iter().filter(|child| child.node == third).collect();
    assert!(lost.iter().any(is_patient) && !lost.iter().all(is_patient), "{lost:?}");
    let first_lost = lost.iter().find(|child| is_patient(child)).unwrap();
    let patient: ActorRef<Msg> = tree.child(&first_lost.id).unwrap();
    nodes[0].register("patient", &patient).await.unwrap();
    let far: ActorRef<Msg> = nodes[1].lookup("patient").await.unwrap();
    far.call(|reply| Msg::NoteAsk(1, reply)).within(PATIENCE).await.unwrap();

    // Two are none.
    nodes.truncate(2);
    let was_lost = |child: &ChildInfo| lost.iter().any(|lost| lost.id == child.id);
    children_when(&tree, |children| {
        children.iter().all(|child| match is_patient(child) && was_lost(child) {
            true => child.waits.is_some() && child.state == ChildState::Restarting,
            false => on(child, &[second]),
        })
    })
    .await;
    let print = tree.print().await;
    assert!(print.contains("waits: 2 of 5 nodes are seen, which is no majority"), "{print}");
    // It is nowhere, and both who know it are told to try again.
    for reference in [&patient, &far] {
        assert_eq!(reference.cast(Msg::Note(2)).unwrap_err().why, Why::Moving);
    }

    nodes.push(back(&keys[2], &keys, &nodes[0]).await);
    let all = |children: &[ChildInfo]| children.iter().all(|c| c.state == ChildState::Running);
    assert!(children_when(&tree, all).await.iter().all(|child| child.waits.is_none()));
    far.call(|reply| Msg::NoteAsk(3, reply)).within(PATIENCE).await.unwrap();
    assert_eq!(notes(&patient).await, [3]);
}

async fn back(key: &Identity, keys: &[Identity], seed: &Node) -> Node {
    let list = keys.iter().map(Identity::peer_key).collect();
    member(key.clone(), &list, Some(seed)).host::<Puppet>().start().await.unwrap()
}

/// An end is not believed for ever: what an operator stopped is found when it is started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_was_terminated_and_restarted_is_found_by_those_who_were_told_of_its_end() {
    let nodes = cluster(3, |_, builder| builder.host::<Puppet>()).await;
    let there = Puppet::spec(Make::Plain).on(nodes[1].id().unwrap());
    let spec = Supervisor::spec(Strategy::OneForOne).child("child", there);
    let tree = nodes[0].supervise(spec).await.unwrap();
    let child: ActorRef<Msg> = tree.child("child").unwrap();
    nodes[0].register("child", &child).await.unwrap();
    let far: ActorRef<Msg> = nodes[2].lookup("child").await.unwrap();
    assert!(notes(&far).await.is_empty());
    tree.terminate("child").await.unwrap();
    let ended =
        async { while far.call(Msg::Notes).await != Err(CallError::Rejected(Why::Stopped)) {} };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    tree.restart("child").await.unwrap();
    let found = async {
        let mut interval = tokio::time::interval(Duration::from_millis(5));
        while far.call(Msg::Notes).await.is_err() {
            interval.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap();
}
