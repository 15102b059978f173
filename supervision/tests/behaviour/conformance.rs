//! Cases of OTP's `supervisor_SUITE` that no other module holds.

use std::sync::Arc;

use mobula_actors::{Actor, Exit, Restart};
use mobula_supervision::{ChildState, Event, SuperviseError, TreeError};

use crate::probe::{Begin, Bench, Finish, Part, Probe, ProbeMsg, child, get, secs};

// sup_start_fail, sup_start_normal
#[tokio::test(start_paused = true)]
async fn a_supervisor_without_children_starts_and_one_whose_only_child_fails_does_not() {
    let bench = Bench::new();
    let tree = bench.supervise(bench.spec()).await.unwrap();
    tree.stop(secs(60)).await;
    let spec = bench.spec().child("a", bench.beginning("a", |_| Begin::Fail));
    let error = bench.supervise(spec).await.unwrap_err();
    assert!(matches!(error, SuperviseError::FailedToStartChild { .. }), "{error}");
}

// sup_stop_race
#[tokio::test(start_paused = true)]
async fn a_child_that_fails_while_it_is_stopped_does_not_change_the_stop() {
    let mut bench = Bench::new();
    let spec = bench.spec().intensity(0, secs(5)).child("a", bench.probe("a"));
    let spec = spec.child("b", bench.finishing("b", Finish::Slow(secs(2))));
    let tree = bench.supervise(spec).await.unwrap();
    let a = child(&tree, "a");
    let stop = tokio::spawn({
        let tree = tree.clone();
        async move { tree.stop(secs(60)).await }
    });
    tokio::time::sleep(secs(1)).await;
    // `b` is being stopped: the end of `a` is seen before its turn.
    a.cast(ProbeMsg::Fail).unwrap();
    let wait = tree.wait().await;
    stop.await.unwrap();
    assert_eq!(wait, Exit::Shutdown);
    assert!(matches!(bench.ended("a").await, Exit::Failed(_)));
    assert_eq!(bench.ended("b").await, Exit::Shutdown);
}

// do_not_save_start_parameters_for_temporary_children,
// do_not_save_child_specs_for_temporary_children
#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_a_temporary_child_that_has_ended() {
    let mut bench = Bench::new();
    let tree = bench.supervise(bench.spec()).await.unwrap();
    for exit in [Exit::Normal, Exit::Shutdown, Exit::Killed] {
        let a = tree.spawn("a", bench.probe("a").temporary()).await.unwrap();
        match &exit {
            Exit::Killed => a.kill(),
            other => a.cast(ProbeMsg::End(other.clone())).unwrap(),
        }
        assert_eq!(bench.ended("a").await, exit);
        assert_eq!(tree.count().await.specs, 0);
        assert!(tree.child::<ProbeMsg>("a").is_none());
        assert_eq!(tree.restart("a").await, Err(TreeError::Unknown("a".into())));
        assert_eq!(bench.log.holders(), 1);
    }
    tree.stop(secs(60)).await;
}

// multiple_restarts
#[tokio::test(start_paused = true)]
async fn children_that_fail_together_are_all_started_again() {
    let mut bench = Bench::new();
    let names = ["a", "b", "c"];
    let spec = names.iter().fold(bench.spec().intensity(3, secs(5)), |spec, name| {
        spec.child(*name, bench.probe(name))
    });
    let tree = bench.supervise(spec).await.unwrap();
    for name in names {
        child(&tree, name).cast(ProbeMsg::Fail).unwrap();
    }
    for name in names {
        assert_eq!(child(&tree, name).call(ProbeMsg::Get).await.unwrap().0, 2);
    }
    let failed = |event: &Event| matches!(event, Event::GaveUp { .. }).then_some(());
    child(&tree, "a").cast(ProbeMsg::Fail).unwrap();
    bench.event(failed).await;
}

// tree: children added at run time do not come back with their supervisor
#[tokio::test(start_paused = true)]
async fn only_static_children_come_back_with_their_supervisor() {
    let mut bench = Bench::new();
    let below = bench.spec().intensity(0, secs(5));
    let below = below.child("a", bench.probe("a"));
    let below = below.child("t", bench.probe("t").restart(Restart::Temporary));
    let tree = bench.supervise(bench.spec().supervisor("s", below)).await.unwrap();
    let s = tree.below("s").unwrap();
    s.spawn("later", bench.probe("later")).await.unwrap();
    child(&s, "a").cast(ProbeMsg::Fail).unwrap();
    bench.ended("s").await;
    bench.started("s").await;
    let infos = s.children().await;
    let ids: Vec<_> = infos.iter().map(|info| info.id.as_str()).collect();
    assert_eq!(ids, ["s/a", "s/t"]);
    assert!(s.child::<ProbeMsg>("later").is_none());
    assert_eq!(get(&s, "t").await.0, 1);
    tree.stop(secs(60)).await;
}

// count_restarting_children, which_children
#[tokio::test(start_paused = true)]
async fn a_child_that_waits_for_its_restart_is_listed_and_not_active() {
    let mut bench = Bench::new();
    let a = bench.probe("a").backoff(secs(10), secs(10));
    let spec = bench.spec().child("a", a).child("b", bench.probe("b"));
    let tree = bench.supervise(spec).await.unwrap();
    child(&tree, "a").cast(ProbeMsg::Fail).unwrap();
    bench.ended("a").await;
    let counts = tree.count().await;
    assert_eq!((counts.specs, counts.active, counts.workers), (2, 1, 2));
    assert_eq!(tree.children().await[0].state, ChildState::Restarting);
    // The back-off is waited for, within its jitter.
    let begun = tokio::time::Instant::now();
    assert_eq!(bench.started("a").await, 2);
    assert!(begun.elapsed() >= secs(8) && begun.elapsed() <= secs(12));
    tree.stop(secs(60)).await;
}

// simple_one_for_one_corruption: what ended is no longer spoken of
#[tokio::test(start_paused = true)]
async fn an_end_that_is_told_twice_is_counted_once() {
    let mut bench = Bench::new();
    let template = |part: Part| Probe::spec(part).transient();
    let spec = mobula_supervision::Supervisor::dynamic(template).intensity(1, secs(5));
    let tree = bench.supervise(bench.hooked(spec)).await.unwrap();
    let part = Part { begin: Arc::new(|_| Begin::Up), ..bench.part("a") };
    let a = tree.start_child::<Probe>(part).await.unwrap();
    a.kill();
    a.kill();
    assert_eq!(bench.any_end().await, Exit::Killed);
    assert_eq!(a.call(ProbeMsg::Get).await.unwrap().0, 2);
    tree.stop(secs(60)).await;
}
