//! Names in the whole cluster (NR-1 to NR-3; DI-1 to DI-4 have their tests beside the code).

use futures::future::join_all;
use mobula::actors::NameError;
use mobula::node::{NameEnd, Registration, Standing};
use mobula::prelude::*;

use crate::process::Process;
use crate::puppet::{GateMsg, Make, Msg, Puppet, notes, puppet};
use crate::support::{PATIENCE, all_see, cluster, member, members};

async fn here(node: &Node) -> ActorRef<Msg> {
    node.spawn(Puppet::spec(Make::Plain)).await.unwrap()
}

async fn ended(registration: &Registration) -> NameEnd {
    tokio::time::timeout(PATIENCE, registration.ended()).await.unwrap()
}

/// Looks the name up until nobody has it.
async fn gone(node: &Node, name: &str) {
    let mut interval = tokio::time::interval(std::time::Duration::from_millis(5));
    let looked = async {
        while node.lookup::<Msg>(name).await != Err(NameError::Unknown(name.into())) {
            interval.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.unwrap();
}

/// Waits until `node` knows that the life `other` is over.
async fn sees_gone(node: &Node, other: NodeId) {
    let gone = |all: &[mobula::node::Member]| {
        all.iter().any(|member| member.node == other && member.standing == Standing::Gone)
    };
    assert!(node.until(PATIENCE, gone).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_leads_every_node_to_its_actor_and_is_given_once() {
    let nodes = cluster(3, |_, builder| builder.host::<Puppet>()).await;
    let target = puppet(&nodes[0], &nodes[1]).await;
    let registration = nodes[0].register("target", &target).await.unwrap();
    assert_eq!(registration.name(), "target");
    for (number, node) in nodes.iter().enumerate() {
        let found: ActorRef<Msg> = node.lookup("target").await.unwrap();
        assert_eq!(found, target);
        found.call(|reply| Msg::NoteAsk(number as u64, reply)).within(PATIENCE).await.unwrap();
        let taken = node.register("target", &here(node).await).await;
        assert_eq!(taken.unwrap_err(), NameError::Taken("target".into()));
        let other = node.lookup::<GateMsg>("target").await;
        assert_eq!(other.unwrap_err(), NameError::OtherProtocol("target".into()));
        let unknown = node.lookup::<Msg>("nobody").await;
        assert_eq!(unknown, Err(NameError::Unknown("nobody".into())));
    }
    assert_eq!(notes(&target).await, [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_a_name_is_refused() {
    let nodes = cluster(1, |_, builder| builder).await;
    let target = here(&nodes[0]).await;
    for name in ["", &"n".repeat(256)] {
        let refused = nodes[0].register(name, &target).await;
        assert!(matches!(refused, Err(NameError::Unfit(..))), "{refused:?}");
    }
    let group = nodes[0].group_here::<Msg>("pool").unwrap();
    let pool = group.balance(mobula::actors::RoundRobin);
    let refused = nodes[0].register("pool", &pool).await;
    assert!(matches!(refused, Err(NameError::Unfit(..))), "{refused:?}");
}

/// NR-2, NR-3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_ends_with_its_run_or_when_it_is_given_up_and_is_free_again() {
    let nodes = cluster(2, |_, builder| builder.host::<Puppet>()).await;
    let target = puppet(&nodes[0], &nodes[1]).await;
    let first = nodes[0].register("name", &target).await.unwrap();
    target.kill();
    assert_eq!(ended(&first).await, NameEnd::Ended);
    gone(&nodes[1], "name").await;
    // It ends once.
    first.give_up();
    assert_eq!(ended(&first).await, NameEnd::Ended);

    let heir = here(&nodes[1]).await;
    let second = nodes[1].register("name", &heir).await.unwrap();
    assert_eq!(nodes[0].lookup("name").await, Ok(heir.clone()));
    second.give_up();
    assert_eq!(ended(&second).await, NameEnd::GivenUp);
    gone(&nodes[0], "name").await;
    nodes[0].register("name", &here(&nodes[0]).await).await.unwrap();

    heir.kill();
    let dead = async { while nodes[1].inspect(&heir).is_some() {} };
    tokio::time::timeout(PATIENCE, dead).await.unwrap();
    let late = nodes[1].register("late", &heir).await;
    assert_eq!(late.unwrap_err(), NameError::Ended("late".into()));
}

/// NR-1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_registrations_at_once_on_all_nodes_exactly_one_succeeds() {
    let nodes = cluster(3, |_, builder| builder).await;
    let actors = join_all(nodes.iter().map(here)).await;
    for round in 0..30 {
        let name = format!("name {round}");
        let all = nodes.iter().zip(&actors).map(|(node, actor)| node.register(&name, actor));
        let outcomes = join_all(all).await;
        let granted: Vec<usize> = (0..3).filter(|&i| outcomes[i].is_ok()).collect();
        assert_eq!(granted.len(), 1, "{outcomes:?}");
        assert_eq!(nodes[round % 3].lookup(&name).await, Ok(actors[granted[0]].clone()));
    }
}

/// A registration that is not waited for leaves nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_that_is_dropped_leaves_the_name_free() {
    let nodes = cluster(2, |_, builder| builder).await;
    let actor = here(&nodes[0]).await;
    for round in 0..30 {
        let name = format!("name {round}");
        let polled = futures::FutureExt::now_or_never(nodes[0].register(&name, &actor));
        if let Some(granted) = polled {
            // All were faster than one look.
            granted.unwrap().give_up();
        }
        gone(&nodes[1], &name).await;
        nodes[1].register(&name, &here(&nodes[1]).await).await.unwrap();
    }
}

/// Names outlive the nodes that keep them, and newcomers find them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_outlive_the_death_of_a_node_that_keeps_them_and_go_with_the_one_that_made_them() {
    let (keys, list) = members(4);
    let first = member(keys[0].clone(), &list, None).start().await.unwrap();
    let second = member(keys[1].clone(), &list, Some(&first)).start().await.unwrap();
    let mut process = Process::start(keys[2].clone(), &keys, &first).await;
    let mut nodes = vec![first, second];
    all_see(&nodes, 3).await;
    let actor = here(&nodes[0]).await;
    let names: Vec<String> = (0..60).map(|number| format!("name {number}")).collect();
    for name in &names {
        nodes[0].register(name, &actor).await.unwrap();
    }
    process.kill();
    // Dead or not yet: one copy is elsewhere.
    for name in &names {
        assert_eq!(nodes[1].lookup(name).await.as_ref(), Ok(&actor), "{name}");
    }
    sees_gone(&nodes[1], process.id).await;
    let third = member(keys[3].clone(), &list, Some(&nodes[0])).start().await.unwrap();
    nodes.push(third);
    all_see(&nodes, 3).await;
    for name in &names {
        assert_eq!(nodes[2].lookup(name).await.as_ref(), Ok(&actor), "{name}");
        let taken = nodes[2].register(name, &here(&nodes[2]).await).await;
        assert_eq!(taken.unwrap_err(), NameError::Taken(name.clone()));
    }
    let made_them = nodes.remove(0);
    let id = made_them.id().unwrap();
    made_them.stop().await;
    sees_gone(&nodes[0], id).await;
    for name in &names {
        gone(&nodes[0], name).await;
    }
}

/// DI-2: two that never met register one name; the older one stays, and the other is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_two_clusters_meet_the_older_registration_stays_and_the_younger_is_told() {
    let (keys, list) = members(3);
    let old = member(keys[0].clone(), &list, None).start().await.unwrap();
    let young = member(keys[1].clone(), &list, None).start().await.unwrap();
    let (older, younger) = (here(&old).await, here(&young).await);
    let stays = old.register("name", &older).await.unwrap();
    // The clock that decides counts milliseconds.
    let registered = std::time::SystemTime::now();
    while registered.elapsed().unwrap_or_default().as_millis() < 2 {
        tokio::task::yield_now().await;
    }
    let goes = young.register("name", &younger).await.unwrap();
    let between = member(keys[2].clone(), &list, Some(&old)).join([young.addresses()[0].clone()]);
    let nodes = [old, young, between.start().await.unwrap()];
    assert_eq!(ended(&goes).await, NameEnd::Lost(nodes[0].id().unwrap()));
    all_see(&nodes, 3).await;
    for node in &nodes {
        assert_eq!(node.lookup("name").await, Ok(older.clone()));
    }
    // The loser lives; it has lost its name only.
    assert_eq!(notes(&younger).await, Vec::<u64>::new());
    older.kill();
    assert_eq!(ended(&stays).await, NameEnd::Ended);
    gone(&nodes[2], "name").await;
}

#[tokio::test]
async fn on_a_node_of_its_own_names_end_and_are_given_up_alike() {
    let node = Node::local();
    let actor = here(&node).await;
    let first = node.register("name", &actor).await.unwrap();
    assert_eq!(node.lookup("name").await, Ok(actor.clone()));
    let taken = node.register("name", &actor).await;
    assert_eq!(taken.unwrap_err(), NameError::Taken("name".into()));
    first.give_up();
    assert_eq!(ended(&first).await, NameEnd::GivenUp);
    let second = node.register("name", &actor).await.unwrap();
    actor.kill();
    assert_eq!(ended(&second).await, NameEnd::Ended);
    assert_eq!(node.lookup::<Msg>("name").await, Err(NameError::Unknown("name".into())));
}
