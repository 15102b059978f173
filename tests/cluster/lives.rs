//! Lives of a node: leaving, coming back, and several of them in one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mobula::node::{Member, Standing};
use mobula::prelude::*;
use mobula::supervision::Event;

use crate::puppet::{Make, Msg, Puppet, notes, puppet};
use crate::support::{PATIENCE, all_see, cluster, member, members, sees};

fn standing(members: &[Member], node: NodeId) -> Option<Standing> {
    members.iter().find(|member| member.node == node).map(|member| member.standing)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_back_with_its_key_is_a_new_life_and_hosts_again() {
    let (keys, list) = members(3);
    let first = member(keys[0].clone(), &list, None).host::<Puppet>().start().await.unwrap();
    let second = member(keys[1].clone(), &list, Some(&first)).host::<Puppet>();
    let second = second.start().await.unwrap();
    let third = member(keys[2].clone(), &list, Some(&first)).host::<Puppet>();
    let third = third.start().await.unwrap();
    let nodes = [first, second];
    all_see(&nodes, 3).await;
    let old = third.id().unwrap();
    let lost = puppet(&nodes[0], &third).await;
    third.stop().await;
    for node in &nodes {
        assert!(node.until(PATIENCE, |all| standing(all, old) == Some(Standing::Gone)).await);
    }
    assert!(matches!(lost.call(Msg::Notes).await, Err(CallError::Rejected(_))));

    let third = member(keys[2].clone(), &list, Some(&nodes[0])).host::<Puppet>();
    let third = third.start().await.unwrap();
    let new = third.id().unwrap();
    assert!(new.key == old.key && new.boot > old.boot);
    all_see(&nodes, 3).await;
    for node in &nodes {
        assert_eq!(standing(&node.members(), new), Some(Standing::Alive));
    }
    assert!(sees(&third, 3).await);
    for node in &nodes {
        let there = puppet(node, &third).await;
        there.call(|reply| Msg::NoteAsk(1, reply)).within(PATIENCE).await.unwrap();
    }
}

/// A node that leaves dismisses what it hosts: each child starts once more, elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orderly_leave_moves_each_child_once() {
    let build = |i, builder: mobula::node::NodeBuilder| match i {
        0 => builder,
        _ => builder.host::<Puppet>(),
    };
    let mut nodes = cluster(3, build).await;
    let starts = Arc::new(AtomicUsize::new(0));
    let counted = starts.clone();
    let hook = Arc::new(move |event: &Event| {
        if matches!(event, Event::Restarting { .. }) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let leaving = nodes[2].id().unwrap();
    let mut spec = Supervisor::spec(Strategy::OneForOne).on_event(hook);
    for i in 0..6 {
        // Transient: an orderly end would be taken for the end of its work.
        let child = Puppet::spec(Make::Plain).needs(Demand::cpu(1.0)).anywhere().transient();
        spec = spec.child(format!("child {i}"), child);
    }
    let tree = nodes[0].supervise(spec).await.unwrap();
    let children = tree.children().await;
    let there = children.iter().filter(|child| child.node == Some(leaving)).count();
    assert!(there > 0, "nothing was placed on the node that leaves");
    nodes.pop().unwrap().stop().await;
    assert!(nodes[0].until(PATIENCE, |all| standing(all, leaving) == Some(Standing::Gone)).await);
    for i in 0..6 {
        let child: ActorRef<Msg> = tree.child(&format!("child {i}")).unwrap();
        assert_eq!(notes(&child).await, Vec::<u64>::new());
    }
    assert_eq!(starts.load(Ordering::Relaxed), there);
    assert!(tree.children().await.iter().all(|child| child.node == nodes[1].id()));
}

/// Threads of this process that belong to nodes.
fn system_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("mobula-system")).count()
}

/// A stopped node keeps no thread and no task of its own. In a process of its own, where no other
/// test has nodes.
#[test]
fn a_stopped_node_leaves_nothing_behind() {
    const ALONE: &str = "MOBULA_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "lives::a_stopped_node_leaves_nothing_behind"])
            .env(ALONE, "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let nodes = cluster(3, |_, builder| builder.host::<Puppet>()).await;
        let there = puppet(&nodes[0], &nodes[1]).await;
        notes(&there).await;
        assert!(system_threads() >= 3);
        let stops = nodes.iter().map(Node::stop);
        tokio::time::timeout(PATIENCE, futures::future::join_all(stops)).await.unwrap();
        // And one that is dropped.
        let alone = Node::local();
        drop((nodes, alone, there));
        crate::support::eventually("their threads end", || system_threads() == 0).await;
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        crate::support::eventually("their tasks end", || tasks() == 0).await;
    });
}

/// A port in use is an error and no panic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_fails_says_why() {
    let (keys, list) = members(2);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let builder = member(keys[0].clone(), &list, None).listen(format!("/ip4/127.0.0.1/tcp/{port}"));
    let failed = builder.start().await.unwrap_err().to_string();
    assert!(failed.contains(&port.to_string()), "{failed}");
    let twice = member(keys[1].clone(), &list, None).host::<Puppet>().host::<Puppet>();
    assert!(twice.start().await.unwrap_err().to_string().contains("test.puppet"));
}
