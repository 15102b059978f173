//! What a tree answers when it is asked for children.

use mobula_actors::SpawnError;
use mobula_supervision::TreeError;

use crate::probe::{Begin, Bench, ProbeMsg, child, get, secs};

#[tokio::test(start_paused = true)]
async fn a_terminated_temporary_child_is_not_kept() {
    let bench = Bench::new();
    let tree = bench.supervise(bench.spec()).await.unwrap();
    tree.spawn("a", bench.probe("a").temporary()).await.unwrap();
    tree.terminate("a").await.unwrap();
    assert!(tree.children().await.is_empty());
    assert!(tree.child::<ProbeMsg>("a").is_none());
    tree.spawn("a", bench.probe("a").temporary()).await.unwrap();
    tree.stop(secs(60)).await;
}

// A manual stop neither counts nor restarts.
#[tokio::test(start_paused = true)]
async fn terminating_does_not_count_toward_the_intensity() {
    let bench = Bench::new();
    let spec = bench.spec().intensity(0, secs(5)).child("a", bench.probe("a"));
    let tree = bench.supervise(spec).await.unwrap();
    for _ in 0..5 {
        tree.terminate("a").await.unwrap();
        tree.restart("a").await.unwrap();
    }
    assert_eq!(get(&tree, "a").await.0, 6);
    tree.stop(secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_start_at_run_time_is_not_kept_and_does_not_count() {
    let bench = Bench::new();
    let spec = bench.spec().intensity(0, secs(5)).child("a", bench.probe("a"));
    let tree = bench.supervise(spec).await.unwrap();
    let error = tree.spawn("b", bench.beginning("b", |_| Begin::Fail)).await.unwrap_err();
    assert!(matches!(error, TreeError::Start(SpawnError::Start(_))), "{error}");
    assert_eq!(tree.children().await.len(), 1);
    assert!(tree.child::<ProbeMsg>("b").is_none());
    tree.stop(secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn a_reference_of_another_type_is_not_given_out() {
    let bench = Bench::new();
    let tree = bench.supervise(bench.spec().child("a", bench.probe("a"))).await.unwrap();
    assert!(tree.child::<u8>("a").is_none());
    assert_eq!(child(&tree, "a").call(ProbeMsg::Get).await.unwrap().0, 1);
    tree.stop(secs(60)).await;
}
