//! Supervisors that end with their significant children.

use mobula_actors::{Exit, Restart};
use mobula_supervision::{AutoShutdown, Strategy, SupervisorSpec, TreeError};

use crate::probe::{Bench, ProbeMsg, child, get, secs};

const MODES: [AutoShutdown; 2] = [AutoShutdown::AnySignificant, AutoShutdown::AllSignificant];

fn exits() -> [Exit; 3] {
    [Exit::Normal, Exit::Shutdown, Exit::ShutdownWith("done".into())]
}

/// `a` and `b` are significant, `c` is not.
fn three(bench: &Bench, mode: AutoShutdown, restart: Restart) -> SupervisorSpec {
    let probe = |name| bench.probe(name).restart(restart);
    let spec = bench.spec().auto_shutdown(mode).child("a", probe("a").significant());
    spec.child("b", probe("b").significant()).child("c", probe("c"))
}

// nonsignificant_temporary, nonsignificant_transient S-6
#[tokio::test(start_paused = true)]
async fn the_end_of_a_child_that_is_not_significant_ends_nobody() {
    for (mode, restart) in [MODES[0], MODES[1]]
        .into_iter()
        .flat_map(|mode| [(mode, Restart::Temporary), (mode, Restart::Transient)])
    {
        let mut bench = Bench::new();
        let tree = bench.supervise(three(&bench, mode, restart)).await.unwrap();
        child(&tree, "c").cast(ProbeMsg::End(Exit::Normal)).unwrap();
        bench.ended("c").await;
        assert_eq!(get(&tree, "a").await.0, 1);
        tree.stop(secs(60)).await;
    }
}

// significant_temporary, significant_transient S-6
#[tokio::test(start_paused = true)]
async fn the_end_of_significant_children_ends_the_rest_in_reverse() {
    for restart in [Restart::Temporary, Restart::Transient] {
        for exit in exits() {
            let bench = Bench::new();
            let tree = bench.supervise(three(&bench, MODES[0], restart)).await.unwrap();
            bench.log.take();
            child(&tree, "a").cast(ProbeMsg::End(exit.clone())).unwrap();
            assert_eq!(tree.wait().await, Exit::Shutdown, "{restart:?} {exit}");
            let log = ["a stopped", "a gone", "c stopped", "c gone", "b stopped", "b gone"];
            assert_eq!(bench.log.take(), log);

            let mut bench = Bench::new();
            let tree = bench.supervise(three(&bench, MODES[1], restart)).await.unwrap();
            child(&tree, "b").cast(ProbeMsg::End(exit.clone())).unwrap();
            bench.ended("b").await;
            assert_eq!(get(&tree, "a").await.0, 1, "{restart:?} {exit}");
            child(&tree, "a").cast(ProbeMsg::End(exit)).unwrap();
            assert_eq!(tree.wait().await, Exit::Shutdown);
        }
    }
}

// significant_temporary, significant_transient: abnormal ends
#[tokio::test(start_paused = true)]
async fn an_abnormal_end_shuts_down_only_if_no_restart_follows() {
    for mode in MODES {
        let bench = Bench::new();
        let spec = bench.spec().auto_shutdown(mode);
        let spec = spec.child("a", bench.probe("a").transient().significant());
        let tree = bench.supervise(spec).await.unwrap();
        child(&tree, "a").cast(ProbeMsg::Fail).unwrap();
        assert_eq!(child(&tree, "a").call(ProbeMsg::Get).await.unwrap().0, 2);
        tree.stop(secs(60)).await;

        let bench = Bench::new();
        let spec = bench.spec().auto_shutdown(mode);
        let spec = spec.child("a", bench.probe("a").temporary().significant());
        let tree = bench.supervise(spec).await.unwrap();
        child(&tree, "a").cast(ProbeMsg::Fail).unwrap();
        assert_eq!(tree.wait().await, Exit::Shutdown);
    }
}

// significant_bystander S-6
#[tokio::test(start_paused = true)]
async fn a_significant_child_that_is_stopped_ends_nobody() {
    for mode in MODES {
        let mut bench = Bench::new();
        let spec = bench.spec_of(Strategy::OneForAll).auto_shutdown(mode);
        let spec = spec.child("a", bench.probe("a"));
        let spec = spec.child("b", bench.probe("b").temporary().significant());
        let spec = spec.child("c", bench.probe("c").transient().significant());
        let tree = bench.supervise(spec).await.unwrap();
        child(&tree, "a").cast(ProbeMsg::Fail).unwrap();
        // `b` is gone with the group, `c` has come back.
        assert_eq!((bench.started("c").await, bench.started("c").await), (1, 2));
        assert_eq!(tree.count().await.specs, 2);
        tree.terminate("c").await.unwrap();
        assert_eq!(get(&tree, "a").await.0, 2);
        tree.stop(secs(60)).await;
    }
}

// significant_escalation S-6
#[tokio::test(start_paused = true)]
async fn an_automatic_shutdown_climbs_through_significant_supervisors() {
    let bench = Bench::new();
    let below = bench.spec().auto_shutdown(AutoShutdown::AnySignificant).transient().significant();
    let below = below.child("b", bench.probe("b").transient().significant());
    let spec = bench.spec().auto_shutdown(AutoShutdown::AllSignificant);
    let spec = spec.child("a", bench.probe("a")).supervisor("below", below);
    let tree = bench.supervise(spec).await.unwrap();
    bench.log.take();
    child(&tree, "below/b").cast(ProbeMsg::End(Exit::Normal)).unwrap();
    assert_eq!(tree.wait().await, Exit::Shutdown);
    assert_eq!(bench.log.take(), ["b stopped", "b gone", "a stopped", "a gone"]);
}

// S-6: the tree was up for a moment, and says so.
#[tokio::test(start_paused = true)]
async fn a_significant_child_that_ends_during_the_start_ends_the_tree_after_it() {
    let bench = Bench::new();
    let slow = bench.beginning("b", |_| crate::probe::Begin::Slow(secs(1)));
    let quick = bench.beginning("a", |_| crate::probe::Begin::Brief);
    let spec = bench.spec().auto_shutdown(AutoShutdown::AnySignificant);
    let spec = spec.child("a", quick.transient().significant()).child("b", slow);
    let tree = bench.supervise(spec).await.unwrap();
    // It may have ended by now.
    assert!([Exit::Shutdown, Exit::NoProc].contains(&tree.wait().await));
    assert!(bench.log.take().ends_with(&["b stopped".into(), "b gone".into()]));
    assert_eq!(tree.terminate("b").await, Err(TreeError::Stopped));
}
