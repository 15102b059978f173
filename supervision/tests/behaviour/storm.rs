//! Everything at once, on several threads.

use mobula_actors::{CallError, Why};
use mobula_supervision::{ChildState, Strategy, TreeError};

use crate::probe::{Bench, ProbeMsg, child, get, secs};

const CHILDREN: usize = 16;
const ROUNDS: usize = 100;

// S-5, SV-3: whatever crosses, every child runs at the end, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn faults_kills_and_orders_that_cross_leave_every_child_running() {
    for strategy in [Strategy::OneForOne, Strategy::RestForOne, Strategy::OneForAll] {
        storm(strategy).await;
    }
}

async fn storm(strategy: Strategy) {
    let bench = Bench::new();
    let mut spec = bench.spec_of(strategy).intensity(u32::MAX, secs(1));
    for number in 0..CHILDREN {
        spec = spec.child(number.to_string(), bench.probe("child"));
    }
    let tree = bench.supervise(spec).await.unwrap();
    let storms: Vec<_> = (0..CHILDREN)
        .map(|number| {
            let (tree, id) = (tree.clone(), number.to_string());
            tokio::spawn(async move {
                for round in 0..ROUNDS {
                    let target = child(&tree, &id);
                    // The child may be down, or its cell gone: that is the point.
                    let _ = target.cast(ProbeMsg::Fail);
                    match round % 4 {
                        0 => target.kill(),
                        1 => tree.terminate(&id).await.unwrap(),
                        2 => target.stop(),
                        _ => tokio::task::yield_now().await,
                    }
                    match tree.restart(&id).await {
                        Ok(()) | Err(TreeError::Running(_) | TreeError::Busy(_)) => {}
                        // A kill or a stop can also meet the start that was asked for.
                        Err(TreeError::Start(_)) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                settle(&tree, &id).await;
            })
        })
        .collect();
    for storm in storms {
        storm.await.unwrap();
    }
    let last: Vec<_> = (0..CHILDREN).map(|number| child(&tree, &number.to_string())).collect();
    tree.stop(secs(60)).await;
    for reference in last {
        let answer = reference.call(ProbeMsg::Get).await;
        assert_eq!(answer.unwrap_err(), CallError::Rejected(Why::Stopped));
    }
    let log = bench.log.take();
    let count = |what: &str| log.iter().filter(|line| line.ends_with(what)).count();
    assert_eq!(count(" up"), count(" gone"));
}

/// Messages of the storm may still end runs; at last the child runs and answers.
async fn settle(tree: &mobula_supervision::Tree, id: &str) {
    loop {
        let children = tree.children().await;
        let info = children.into_iter().find(|child| child.id == id).unwrap();
        match info.state {
            ChildState::Stopped => drop(tree.restart(id).await),
            ChildState::Running if child(tree, id).call(ProbeMsg::Get).await.is_ok() => break,
            _ => tokio::task::yield_now().await,
        }
    }
    assert!(get(tree, id).await.0 > 1);
}
