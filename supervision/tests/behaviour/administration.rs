//! What a tree answers when it is asked for children.

use mobula_actors::SpawnError;
use mobula_supervision::{ChildState, TreeError};

use crate::probe::{Begin, Bench, ProbeMsg, child, get, secs};

// [child_adm]
#[tokio::test(start_paused = true)]
async fn children_are_added_terminated_restarted_and_deleted_at_run_time() {
    let bench = Bench::new();
    let tree = bench.supervise(bench.spec()).await.unwrap();
    let a = tree.spawn("a", bench.probe("a")).await.unwrap();
    assert_eq!(a.call(ProbeMsg::Get).await.unwrap().0, 1);
    let id = || "a".to_owned();
    let again = tree.spawn("a", bench.probe("a")).await;
    assert_eq!(again.unwrap_err(), TreeError::AlreadyStarted(id()));
    assert_eq!(tree.restart("a").await, Err(TreeError::Running(id())));
    assert_eq!(tree.delete("a").await, Err(TreeError::Running(id())));
    tree.terminate("a").await.unwrap();
    assert_eq!(bench.log.take(), ["a begins", "a up", "a stopped", "a gone"]);
    tree.terminate("a").await.unwrap();
    assert_eq!(tree.children().await[0].state, ChildState::Stopped);
    let again = tree.spawn("a", bench.probe("a")).await;
    assert_eq!(again.unwrap_err(), TreeError::AlreadyPresent(id()));
    tree.restart("a").await.unwrap();
    assert_eq!(get(&tree, "a").await.0, 2);
    tree.terminate("a").await.unwrap();
    tree.delete("a").await.unwrap();
    assert_eq!(tree.delete("a").await, Err(TreeError::Unknown(id())));
    assert_eq!(tree.terminate("a").await, Err(TreeError::Unknown(id())));
    assert_eq!(tree.restart("a").await, Err(TreeError::Unknown(id())));
    tree.stop(secs(60)).await;
    assert_eq!(tree.terminate("a").await, Err(TreeError::Stopped));
}

// [temporary children leave no specs behind]
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
async fn children_added_later_stop_first_and_are_printed() {
    let bench = Bench::new();
    let tree = bench.supervise(bench.spec().child("a", bench.probe("a"))).await.unwrap();
    tree.spawn("b", bench.probe("b")).await.unwrap();
    let text = tree.print().await;
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("a ") && lines[0].contains("running"), "{text}");
    assert!(lines[1].starts_with("b ") && lines[1].contains("e1"), "{text}");
    bench.log.take();
    tree.stop(secs(60)).await;
    assert_eq!(bench.log.take(), ["b stopped", "b gone", "a stopped", "a gone"]);
}

#[tokio::test(start_paused = true)]
async fn a_reference_of_another_type_is_not_given_out() {
    let bench = Bench::new();
    let tree = bench.supervise(bench.spec().child("a", bench.probe("a"))).await.unwrap();
    assert!(tree.child::<u8>("a").is_none());
    assert_eq!(child(&tree, "a").call(ProbeMsg::Get).await.unwrap().0, 1);
    tree.stop(secs(60)).await;
}
