//! Peers that only look.

use mobula::net::{Allowlist, Identity};
use mobula::node::{Observer, ObserverError, Standing, TreeLine};
use mobula::prelude::*;

use crate::process::Process;
use crate::puppet::{Make, Msg, Puppet, notes, puppet};
use crate::support::{AT_ONCE, PATIENCE, all_see, eventually, member, members};

async fn observer(
    key: &Identity,
    list: &Allowlist,
    node: &Node,
) -> Result<Observer, ObserverError> {
    member(key.clone(), list, Some(node)).observe(PATIENCE).await
}

fn line<'a>(lines: &'a [TreeLine], name: &str) -> &'a TreeLine {
    lines.iter().find(|line| line.name == name).unwrap_or_else(|| panic!("no {name}: {lines:?}"))
}

/// OV-2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_sees_nodes_and_trees_and_no_node_hears_of_it() {
    let (keys, list) = members(4);
    let first = member(keys[0].clone(), &list, None).label("zone=a").start().await.unwrap();
    let second = member(keys[1].clone(), &list, Some(&first)).host::<Puppet>();
    let second = second.start().await.unwrap();
    let nodes = [first, second];
    all_see(&nodes, 2).await;
    let [here, there] = [nodes[0].id().unwrap(), nodes[1].id().unwrap()];
    let inner = Supervisor::spec(Strategy::RestForOne).child("near", Puppet::spec(Make::Plain));
    let spec = Supervisor::spec(Strategy::OneForOne)
        .supervisor("inner", inner)
        .child("far", Puppet::spec(Make::Plain).needs(Demand::cpu(0.5)).anywhere());
    let tree = nodes[0].supervise(spec).await.unwrap();
    notes(&tree.child::<Msg>("far").unwrap()).await;

    // Through the node that has no tree.
    let eyes = observer(&keys[2], &list, &nodes[1]).await.unwrap();
    let status = eyes.status(PATIENCE).await.unwrap();
    assert_eq!((status.asked, status.silent.len(), status.nodes.len()), (there, 0, 2));
    for seen in &status.nodes {
        assert_eq!((seen.standing, seen.total.cpu_milli), (Standing::Alive, 8_000), "{seen:?}");
        assert!(seen.record_age.is_some() && seen.actors.unwrap() >= 3, "{seen:?}");
        let labels: &[&str] = if seen.node == here { &["zone=a"] } else { &[] };
        assert_eq!(seen.labels, labels);
        assert_eq!(seen.kinds.len(), usize::from(seen.node == there), "{seen:?}");
    }
    let trees = eyes.trees(PATIENCE).await.unwrap();
    assert!(trees.silent.is_empty() && trees.nodes[&there].is_empty(), "{trees:?}");
    let lines = &trees.nodes[&here];
    assert_eq!((lines[0].depth, lines[0].name.as_str()), (0, "tree"));
    assert_eq!(lines[0].below.as_deref(), Some("one for one, 2 of 2 run"));
    let (far, near) = (line(lines, "far"), line(lines, "near"));
    assert_eq!((far.depth, far.node, far.state.as_str()), (1, there, "running"));
    assert_eq!((far.kind.as_str(), far.epoch, far.restarts), ("test.puppet", Some(Epoch(1)), 0));
    assert_eq!((near.depth, near.node, line(lines, "inner").depth), (2, here, 1));

    for node in &nodes {
        assert_eq!(node.members().len(), 2, "an observer is no member");
        assert_eq!(node.counts().violations, 0);
    }
    // It goes without a word, and nobody misses it.
    drop(eyes);
    let again = observer(&keys[2], &list, &nodes[0]).await.unwrap();
    assert_eq!(again.status(PATIENCE).await.unwrap().asked, here);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_sees_restarts_and_which_nodes_do_not_reply() {
    let (keys, list) = members(4);
    let node = member(keys[0].clone(), &list, None).host::<Puppet>().start().await.unwrap();
    let silent = Process::start(keys[1].clone(), &keys, &node).await;
    all_see(std::slice::from_ref(&node), 2).await;
    let spec = Supervisor::spec(Strategy::OneForOne).child("child", Puppet::spec(Make::Plain));
    let tree = node.supervise(spec).await.unwrap();
    let child = tree.child::<Msg>("child").unwrap();
    child.cast(Msg::Panic).unwrap();
    eventually("it runs again", || node.inspect(&child).is_some_and(|seen| seen.restarts == 1))
        .await;

    let eyes = observer(&keys[2], &list, &node).await.unwrap();
    silent.freeze();
    let trees = eyes.trees(AT_ONCE).await.unwrap();
    assert_eq!(trees.silent, [silent.id]);
    let child = line(&trees.nodes[&node.id().unwrap()], "child");
    assert_eq!((child.restarts, child.epoch), (1, Some(Epoch(2))));
    assert!(child.last_exit.as_ref().unwrap().contains("told to"), "{child:?}");
    let status = eyes.status(AT_ONCE).await.unwrap();
    assert_eq!(status.silent, [silent.id]);
    let unknown = status.nodes.iter().find(|seen| seen.node == silent.id).unwrap();
    assert!(unknown.actors.is_none(), "{unknown:?}");
}

/// OV-3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_takes_no_nodes_place_and_strangers_see_nothing() {
    let (keys, list) = members(4);
    let first = member(keys[0].clone(), &list, None).start().await.unwrap();
    let second = member(keys[1].clone(), &list, Some(&first)).host::<Puppet>();
    let second = second.start().await.unwrap();
    let nodes = [first, second];
    all_see(&nodes, 2).await;
    let there = puppet(&nodes[0], &nodes[1]).await;
    for key in [&keys[1], &Identity::generate()] {
        let refused = observer(key, &list, &nodes[0]).await.unwrap_err();
        assert!(refused.to_string().contains("turned away"), "{refused}");
    }
    notes(&there).await;
    assert_eq!(nodes[0].members().len(), 2);

    // A node whose key somebody looks with is let in.
    let _eyes = observer(&keys[2], &list, &nodes[0]).await.unwrap();
    let third = member(keys[2].clone(), &list, Some(&nodes[0])).start().await.unwrap();
    all_see(&nodes, 3).await;
    all_see(&[third], 3).await;
}
