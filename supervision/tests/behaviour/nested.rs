//! Supervisors under supervisors.

use mobula_actors::Exit;
use mobula_supervision::{AutoShutdown, SpecError, SupervisorSpec, TreeError};

use crate::probe::{Bench, ProbeMsg, child, get, secs};

fn nested(bench: &Bench, outer: u32, inner: u32) -> SupervisorSpec {
    let below = bench.spec().intensity(inner, secs(5));
    let below = below.child("b", bench.probe("b")).child("c", bench.probe("c"));
    let spec = bench.spec().intensity(outer, secs(5)).child("a", bench.probe("a"));
    spec.supervisor("below", below).child("d", bench.probe("d"))
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_below_starts_and_stops_in_its_place() {
    let bench = Bench::new();
    let tree = bench.supervise(nested(&bench, 1, 1)).await.unwrap();
    let up: Vec<_> = bench.log.take().into_iter().filter(|line| line.ends_with("up")).collect();
    assert_eq!(up, ["a up", "b up", "c up", "d up"]);
    assert_eq!(get(&tree, "below/c").await.0, 1);
    tree.stop(secs(60)).await;
    let stopped: Vec<_> =
        bench.log.take().into_iter().filter(|line| line.ends_with("stopped")).collect();
    assert_eq!(stopped, ["d stopped", "c stopped", "b stopped", "a stopped"]);
}

// deviation b
#[tokio::test(start_paused = true)]
async fn a_supervisor_that_gives_up_is_started_again_with_its_static_children() {
    let mut bench = Bench::new();
    let tree = bench.supervise(nested(&bench, 1, 0)).await.unwrap();
    assert_eq!(bench.started("below").await, 1);
    child(&tree, "below/b").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(bench.ended("below").await, Exit::MaxIntensity);
    assert_eq!(bench.started("below").await, 2);
    // Its children are new actors; the others were left alone.
    assert_eq!(get(&tree, "below/b").await, (1, 0));
    assert_eq!(get(&tree, "a").await, (1, 0));
    child(&tree, "below/c").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(tree.wait().await, Exit::MaxIntensity);
    assert!(bench.log.take().ends_with(&["a stopped".into(), "a gone".into()]));
}

// SV-2
#[tokio::test(start_paused = true)]
async fn a_supervisor_that_is_killed_takes_its_children_with_it() {
    let bench = Bench::new();
    let stuck = bench.finishing("b", crate::probe::Finish::Hang).shutdown_infinity();
    let below = bench.spec().child("b", stuck);
    let tree = bench.supervise(bench.spec().supervisor("below", below)).await.unwrap();
    let (gone, wait) = tokio::sync::oneshot::channel();
    child(&tree, "below/b").on_down(Box::new(|down| drop(gone.send(down.exit))));
    tree.stop(secs(1)).await;
    assert_eq!(wait.await.unwrap(), Exit::Killed);
}

#[tokio::test(start_paused = true)]
async fn children_and_supervisors_are_added_below() {
    let bench = Bench::new();
    let tree = bench.supervise(nested(&bench, 1, 1)).await.unwrap();
    let below = tree.below("below").unwrap();
    let e = below.spawn("e", bench.probe("e")).await.unwrap();
    assert_eq!(child(&tree, "below/e").id(), e.id());
    assert_eq!(child(&below, "e").id(), e.id());
    let deep = bench.spec().child("f", bench.probe("f"));
    let deep = below.spawn_supervisor("deep", deep).await.unwrap();
    assert_eq!(get(&tree, "below/deep/f").await.0, 1);
    let counts = below.count().await;
    assert_eq!((counts.specs, counts.active), (4, 4));
    assert_eq!((counts.supervisors, counts.workers), (1, 3));
    let text = tree.print().await;
    let names: Vec<_> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["tree", "a", "below", "b", "c", "e", "deep", "f", "d"]);
    below.terminate("deep").await.unwrap();
    assert_eq!(deep.terminate("f").await, Err(TreeError::Stopped));
    assert!(tree.below("a").is_none() && tree.below("nobody").is_none());
    tree.stop(secs(60)).await;
}

#[tokio::test]
async fn a_supervisor_that_contradicts_itself_is_refused_below_too() {
    let bench = Bench::new();
    let auto = bench.spec().auto_shutdown(AutoShutdown::AnySignificant);
    let error = bench.supervise(bench.spec().supervisor("x", auto.clone())).await.unwrap_err();
    assert_eq!(error, SpecError::PermanentAutoShutdown("x".into()).into());
    let tree = bench.supervise(bench.spec()).await.unwrap();
    let error = tree.spawn_supervisor("x", auto).await.unwrap_err();
    assert_eq!(error, SpecError::PermanentAutoShutdown("x".into()).into());
}

// nested limits multiply: every fault but the last of (10 + 1) * (10 + 1)
#[test]
fn the_restarts_of_nested_supervisors_multiply() {
    let spec = || mobula_supervision::Supervisor::spec(Default::default()).intensity(10, secs(5));
    assert_eq!(spec().restarts_max(), 10);
    assert_eq!(spec().supervisor("a", spec()).restarts_max(), 120);
    let deep = spec().supervisor("a", spec().supervisor("b", spec().intensity(u32::MAX, secs(5))));
    assert!(deep.restarts_max() > mobula_supervision::limits::RESTARTS_WARN);
}
