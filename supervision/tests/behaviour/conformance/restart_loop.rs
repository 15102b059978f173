//! Restarts that do not get anywhere: their supervisor goes on answering (SV-1).

use std::sync::Arc;

use mobula_actors::{Actor, Exit};
use mobula_supervision::{ChildState, Strategy, Supervisor, Tree, TreeError};
use tokio::time::Instant;

use crate::probe::{Begin, Bench, Part, Probe, ProbeMsg, child, counts, secs, states, stop};

fn hangs_later(epoch: u64) -> Begin {
    if epoch == 1 { Begin::Up } else { Begin::Hang }
}

/// A start under way, or a wait, does not hold up the stop.
async fn stops_at_once(tree: &Tree) {
    let begun = Instant::now();
    assert_eq!(stop(tree).await, Exit::Shutdown);
    assert!(begun.elapsed() < secs(1));
}

// SV-1
#[tokio::test(start_paused = true)]
async fn hanging_restart_loop() {
    let mut bench = Bench::new();
    let hangs = |name| bench.beginning(name, hangs_later).start_within(secs(3_600));
    let spec = bench.spec().child("a", hangs("a")).child("b", hangs("b"));
    let tree = bench.supervise(spec).await.unwrap();
    for id in ["a", "b"] {
        child(&tree, id).cast(ProbeMsg::Fail).unwrap();
        bench.ended(id).await;
    }
    let restarting = |id: &str| (id.to_owned(), ChildState::Restarting);
    assert_eq!(states(&tree).await, [restarting("a"), restarting("b")]);
    assert_eq!(tree.restart("a").await, Err(TreeError::Busy("a".into())));
    assert_eq!(tree.delete("a").await, Err(TreeError::Busy("a".into())));
    let again = tree.spawn("a", bench.probe("a")).await.unwrap_err();
    assert_eq!(again, TreeError::AlreadyStarted("a".into()));
    tree.terminate("a").await.unwrap();
    assert_eq!(states(&tree).await, [("a".into(), ChildState::Stopped), restarting("b")]);
    tree.delete("a").await.unwrap();
    stops_at_once(&tree).await;
}

// SV-1, SG-3
#[tokio::test(start_paused = true)]
async fn hanging_restart_loop_rest_for_one() {
    let mut bench = Bench::new();
    let hangs = bench.beginning("b", hangs_later).start_within(secs(3_600));
    let spec = bench.spec_of(Strategy::RestForOne).child("a", bench.probe("a"));
    let spec = spec.child("b", hangs).child("c", bench.probe("c")).child("d", bench.probe("d"));
    let tree = bench.supervise(spec).await.unwrap();
    child(&tree, "b").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(bench.ended("c").await, Exit::Shutdown);
    assert_eq!(counts(&tree).await, [4, 1, 0, 4]);
    let found: Vec<_> = states(&tree).await.into_iter().map(|(_, state)| state).collect();
    let [runs, restarts] = [ChildState::Running, ChildState::Restarting];
    assert_eq!(found, [runs, restarts, restarts, restarts]);
    tree.terminate("c").await.unwrap();
    assert_eq!(tree.children().await[2].state, ChildState::Stopped);
    tree.terminate("b").await.unwrap();
    // The group goes on without them.
    assert_eq!(child(&tree, "d").call(ProbeMsg::Get).await.unwrap().0, 2);
    stops_at_once(&tree).await;
}

// SV-1
#[tokio::test(start_paused = true)]
async fn hanging_restart_loop_simple() {
    let mut bench = Bench::new();
    let spec = Supervisor::dynamic(|part: Part| Probe::spec(part).start_within(secs(3_600)));
    let tree = bench.supervise(bench.hooked(spec).intensity(5, secs(5))).await.unwrap();
    let part = || Part { begin: Arc::new(hangs_later), ..bench.part("a") };
    let (first, second) = (part(), part());
    let a = tree.start_child::<Probe>(first).await.unwrap();
    let b = tree.start_child::<Probe>(second).await.unwrap();
    for child in [&a, &b] {
        child.cast(ProbeMsg::Fail).unwrap();
        bench.any_end().await;
    }
    assert_eq!(counts(&tree).await, [1, 0, 0, 2]);
    tree.end_child(&a).await.unwrap();
    assert_eq!(counts(&tree).await, [1, 0, 0, 1]);
    stops_at_once(&tree).await;
}
