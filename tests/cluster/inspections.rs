//! Actors as their nodes see them.

use mobula::actors::{Inspection, RunState};
use mobula::prelude::*;

use crate::puppet::{Make, Msg, Puppet};
use crate::support::{PATIENCE, cluster, eventually};

fn of_kind(node: &Node, kind: &str) -> Vec<Inspection> {
    node.actors().filter(|actor| actor.kind.ends_with(kind)).collect()
}

/// IN-1, LI-1 of actors.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_sees_what_runs_on_it_and_nothing_else() {
    let nodes = cluster(2, |_, builder| builder.host::<Puppet>()).await;
    let there = Puppet::spec(Make::Plain).on(nodes[1].id().unwrap());
    let there = nodes[0].spawn(there).await.unwrap();
    there.call(|reply| Msg::NoteAsk(7, reply)).await.unwrap();
    assert_eq!(nodes[0].inspect(&there), None);
    let seen = nodes[1].inspect(&there).unwrap();
    assert_eq!((seen.id, seen.state, seen.handled), (there.id(), RunState::Running, 1));
    assert_eq!(seen.parent, None, "its home is elsewhere");
    for node in &nodes {
        assert_eq!(of_kind(node, "service::Service").len(), 1, "the node's own");
    }
}

/// NA-3 of actors.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_sees_its_trees_and_ends_all_its_actors() {
    let node = Node::local();
    let spec = Supervisor::spec(Strategy::OneForOne).child("one", Puppet::spec(Make::Plain));
    let tree = node.supervise(spec).await.unwrap();
    let child = tree.child::<Msg>("one").unwrap();
    let alone = node.spawn(Puppet::spec(Make::Plain)).await.unwrap();
    let supervisors = of_kind(&node, "supervisor::Supervisor");
    assert_eq!(supervisors.len(), 1);
    assert_eq!(node.inspect(&child).unwrap().parent, Some(supervisors[0].id));
    assert_eq!(node.inspect(&alone).unwrap().parent, None);

    child.cast(Msg::Panic).unwrap();
    eventually("it is started again", || {
        let seen = node.inspect(&child).unwrap();
        seen.restarts == 1 && seen.state == RunState::Running
    })
    .await;
    let again = node.inspect(&child).unwrap();
    assert_eq!(again.last_exit, Some(Exit::Panicked("told to".into())));

    let (told, end) = tokio::sync::oneshot::channel();
    alone.on_down(Box::new(move |down| drop(told.send(down))));
    node.stop().await;
    let down = tokio::time::timeout(PATIENCE, end).await.unwrap().unwrap();
    assert_eq!(down.exit, Exit::Shutdown);
    // Nobody supervised it, and no other node could reach it. A supervised one is listed until
    // its task has seen that no run follows.
    eventually("all have ended", || node.actors().next().is_none()).await;
}
