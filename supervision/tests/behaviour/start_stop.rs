//! Ordered start, reverse stop, and what happens to those who do not stop.

use mobula_actors::{Exit, SpawnError};
use mobula_supervision::SuperviseError;
use tokio::time::Instant;

use crate::probe::{Begin, Bench, Finish, get, secs};

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_fails_after_its_timeout() {
    let bench = Bench::new();
    let hangs = bench.beginning("a", |_| Begin::Hang).start_within(secs(7));
    let begun = Instant::now();
    let error = bench.supervise(bench.spec().child("a", hangs)).await.unwrap_err();
    assert_eq!(begun.elapsed().as_secs(), 7);
    let reason = SpawnError::Deadline { timeout_ms: 7_000 };
    assert_eq!(error, SuperviseError::FailedToStartChild { id: "a".into(), reason });
}

#[tokio::test(start_paused = true)]
async fn a_tree_that_is_not_stopped_in_its_time_is_killed() {
    let bench = Bench::new();
    let stuck = bench.finishing("a", Finish::Hang).shutdown_infinity();
    let tree = bench.supervise(bench.spec().child("a", stuck)).await.unwrap();
    let running = tree.child::<crate::probe::ProbeMsg>("a").unwrap();
    let (gone, wait) = tokio::sync::oneshot::channel();
    running.on_down(Box::new(|down| drop(gone.send(down.exit))));
    let begun = Instant::now();
    tree.stop(secs(2)).await;
    assert_eq!(begun.elapsed().as_secs(), 2);
    assert_eq!(wait.await.unwrap(), Exit::Killed);
    bench.log.until("a gone").await;
}

// SV-1: the supervisor of a slow start answers meanwhile, and can be stopped.
#[tokio::test(start_paused = true)]
async fn a_start_under_way_is_called_off_by_a_stop() {
    let bench = Bench::new();
    let tree = bench.supervise(bench.spec().child("a", bench.probe("a"))).await.unwrap();
    let hangs = bench.beginning("b", |_| Begin::Hang).start_within(secs(3_600));
    let spawn = tokio::spawn({
        let tree = tree.clone();
        async move { tree.spawn("b", hangs).await }
    });
    bench.log.until("b begins").await;
    assert_eq!(get(&tree, "a").await.0, 1);
    let begun = Instant::now();
    tree.stop(secs(60)).await;
    assert!(begun.elapsed() < secs(1));
    let error = spawn.await.unwrap().unwrap_err();
    assert_eq!(error, mobula_supervision::TreeError::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_start_of_a_tree_that_is_dropped_leaves_nothing_running() {
    let bench = Bench::new();
    let hangs = bench.beginning("b", |_| Begin::Hang).start_within(secs(3_600));
    let spec = bench.spec().child("a", bench.probe("a")).child("b", hangs);
    assert!(tokio::time::timeout(secs(1), bench.supervise(spec)).await.is_err());
    // The kill takes effect in the tasks that it reaches.
    bench.log.until("a gone").await;
    assert_eq!(bench.log.take(), ["a begins", "a up", "b begins", "a gone"]);
}
