//! Ordered start, reverse stop, and what happens to those who do not stop.

use mobula_actors::{Exit, SpawnError};
use mobula_supervision::{SpecError, SuperviseError};
use tokio::time::Instant;

use crate::probe::{Begin, Bench, Finish, get, secs};

// [order_of_children, sup_start_normal] S-2, SV-2
#[tokio::test(start_paused = true)]
async fn children_start_in_order_and_stop_in_reverse() {
    let bench = Bench::new();
    let slow = bench.beginning("a", |_| Begin::Slow(secs(1)));
    let spec = bench.spec().child("a", slow).child("b", bench.probe("b"));
    let tree = bench.supervise(spec).await.unwrap();
    assert_eq!(bench.log.take(), ["a begins", "a up", "b begins", "b up"]);
    tree.stop(secs(60)).await;
    assert_eq!(bench.log.take(), ["b stopped", "b gone", "a stopped", "a gone"]);
    assert!(tree.children().await.is_empty());
    assert!(tree.child::<crate::probe::ProbeMsg>("a").is_none());
}

// [sup_start_child_returns_error]
#[tokio::test(start_paused = true)]
async fn a_start_that_fails_stops_the_children_before_it_in_reverse() {
    let bench = Bench::new();
    let spec = bench.spec().child("a", bench.probe("a")).child("b", bench.probe("b"));
    let spec = spec.child("c", bench.beginning("c", |_| Begin::Fail)).child("d", bench.probe("d"));
    let error = bench.supervise(spec).await.unwrap_err();
    let SuperviseError::FailedToStartChild { id, reason } = error else { panic!("{error}") };
    assert_eq!(id, "c");
    assert!(matches!(reason, SpawnError::Start(Exit::InitFailed(_))), "{reason}");
    let starts = ["a begins", "a up", "b begins", "b up", "c begins"];
    let stops = ["b stopped", "b gone", "a stopped", "a gone"];
    assert_eq!(bench.log.take(), [&starts[..], &stops[..]].concat());
}

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

#[tokio::test]
async fn two_children_with_one_id_are_refused_before_anything_starts() {
    let bench = Bench::new();
    let spec = bench.spec().child("a", bench.probe("a")).child("a", bench.probe("a"));
    let error = bench.supervise(spec).await.unwrap_err();
    assert_eq!(error, SuperviseError::Spec(SpecError::DuplicateId("a".into())));
    assert!(bench.log.take().is_empty());
}

// [sup_stop_timeout]
#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_stop_in_its_time_is_killed_and_the_stop_goes_on() {
    let mut bench = Bench::new();
    let stuck = bench.finishing("b", Finish::Hang).shutdown(secs(3));
    let spec = bench.spec().child("a", bench.probe("a")).child("b", stuck);
    let tree = bench.supervise(spec).await.unwrap();
    bench.log.take();
    let begun = Instant::now();
    tree.stop(secs(60)).await;
    assert_eq!(begun.elapsed().as_secs(), 3);
    assert_eq!(bench.ended("b").await, Exit::Killed);
    assert_eq!(bench.ended("a").await, Exit::Shutdown);
    assert_eq!(bench.log.take(), ["b gone", "a stopped", "a gone"]);
}

// [sup_stop_brutal_kill]
#[tokio::test(start_paused = true)]
async fn a_brutal_child_is_killed_without_being_asked() {
    let mut bench = Bench::new();
    let spec = bench.spec().child("a", bench.probe("a").shutdown_brutal());
    let tree = bench.supervise(spec).await.unwrap();
    bench.log.take();
    tree.stop(secs(60)).await;
    assert_eq!(bench.ended("a").await, Exit::Killed);
    assert_eq!(bench.log.take(), ["a gone"]);
}

// [sup_stop_infinity]
#[tokio::test(start_paused = true)]
async fn a_child_with_infinite_time_is_waited_for() {
    let mut bench = Bench::new();
    let slow = bench.finishing("a", Finish::Slow(secs(3_600))).shutdown_infinity();
    let tree = bench.supervise(bench.spec().child("a", slow)).await.unwrap();
    let begun = Instant::now();
    tree.stop(secs(7_200)).await;
    assert_eq!(begun.elapsed().as_secs(), 3_600);
    assert_eq!(bench.ended("a").await, Exit::Shutdown);
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
