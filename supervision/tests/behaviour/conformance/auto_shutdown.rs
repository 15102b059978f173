//! Supervisors that end with their significant children.

use mobula_actors::{Actor, Exit, Restart};
use mobula_supervision::{
    AutoShutdown, SpecError, Strategy, Supervisor, SupervisorSpec, TreeError,
};

use crate::probe::{Bench, Part, Probe, ProbeMsg, child, counts, get, secs, states};

const MODES: [AutoShutdown; 2] = [AutoShutdown::AnySignificant, AutoShutdown::AllSignificant];

fn orderly() -> [Exit; 3] {
    [Exit::Normal, Exit::Shutdown, Exit::ShutdownWith("done".into())]
}

/// `a` and `b` are significant, `c` is not.
fn three(bench: &Bench, mode: AutoShutdown, restart: Restart) -> SupervisorSpec {
    let probe = |name| bench.probe(name).restart(restart);
    let spec = bench.spec().auto_shutdown(mode).child("a", probe("a").significant());
    spec.child("b", probe("b").significant()).child("c", probe("c"))
}

async fn nonsignificant(restart: Restart, exits: &[Exit]) {
    for (mode, exit) in
        MODES.into_iter().flat_map(|mode| exits.iter().map(move |exit| (mode, exit)))
    {
        let mut bench = Bench::new();
        let tree = bench.supervise(three(&bench, mode, restart)).await.unwrap();
        super::types::end(&child(&tree, "c"), exit);
        assert_eq!(&bench.ended("c").await, exit);
        assert_eq!(get(&tree, "a").await.0, 1, "{mode:?} {exit}");
        tree.stop(secs(60)).await;
    }
}

// S-6
#[tokio::test(start_paused = true)]
async fn nonsignificant_temporary() {
    nonsignificant(Restart::Temporary, &[&orderly()[..], &super::types::abnormal()].concat()).await;
}

// S-6
#[tokio::test(start_paused = true)]
async fn nonsignificant_transient() {
    nonsignificant(Restart::Transient, &orderly()).await;
}

/// Each of the ends is one after which no start follows.
async fn significant(restart: Restart, exits: &[Exit]) {
    for exit in exits {
        let bench = Bench::new();
        let tree = bench.supervise(three(&bench, MODES[0], restart)).await.unwrap();
        bench.log.take();
        super::types::end(&child(&tree, "a"), exit);
        assert_eq!(tree.wait().await, Exit::Shutdown, "{restart:?} {exit}");
        let others = ["c stopped", "c gone", "b stopped", "b gone"];
        assert!(bench.log.take().ends_with(&others.map(String::from)));

        let mut bench = Bench::new();
        let tree = bench.supervise(three(&bench, MODES[1], restart)).await.unwrap();
        super::types::end(&child(&tree, "b"), exit);
        bench.ended("b").await;
        assert_eq!(get(&tree, "a").await.0, 1, "{restart:?} {exit}");
        super::types::end(&child(&tree, "a"), exit);
        assert_eq!(tree.wait().await, Exit::Shutdown);
    }
}

// S-6
#[tokio::test(start_paused = true)]
async fn significant_temporary() {
    significant(Restart::Temporary, &[&orderly()[..], &super::types::abnormal()].concat()).await;
}

// S-6
#[tokio::test(start_paused = true)]
async fn significant_transient() {
    significant(Restart::Transient, &orderly()).await;
    // After an abnormal end it is started again.
    for (mode, exit) in MODES.into_iter().zip(super::types::abnormal()) {
        let bench = Bench::new();
        let tree = bench.supervise(three(&bench, mode, Restart::Transient)).await.unwrap();
        super::types::end(&child(&tree, "a"), &exit);
        assert_eq!(child(&tree, "a").call(ProbeMsg::Get).await.unwrap().0, 2);
        assert_eq!(counts(&tree).await, [3, 3, 0, 3]);
        tree.stop(secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn significant_simple() {
    let bench = Bench::new();
    for mode in MODES {
        let spec = Supervisor::dynamic(Probe::spec).auto_shutdown(mode);
        let error = bench.supervise(spec).await.unwrap_err();
        assert_eq!(error, SpecError::DynamicAutoShutdown.into());
    }
    let spec = Supervisor::dynamic(|part: Part| Probe::spec(part).temporary().significant());
    let tree = bench.supervise(spec).await.unwrap();
    let error = tree.start_child::<Probe>(bench.part("a")).await.unwrap_err();
    assert!(matches!(error, TreeError::Spec(SpecError::SignificantForNothing(_))), "{error}");
    assert!(bench.log.take().is_empty());
}

// S-6
#[tokio::test(start_paused = true)]
async fn significant_bystander() {
    for (strategy, mode) in [Strategy::OneForAll, Strategy::RestForOne]
        .into_iter()
        .flat_map(|strategy| MODES.map(|mode| (strategy, mode)))
    {
        let mut bench = Bench::new();
        let spec = bench.spec_of(strategy).auto_shutdown(mode).child("a", bench.probe("a"));
        let spec = spec.child("b", bench.probe("b").temporary().significant());
        let spec = spec.child("c", bench.probe("c").transient().significant());
        let tree = bench.supervise(spec).await.unwrap();
        child(&tree, "a").cast(ProbeMsg::Fail).unwrap();
        // `b` is gone with the group, `c` has come back.
        assert_eq!((bench.started("c").await, bench.started("c").await), (1, 2));
        let ids: Vec<_> = states(&tree).await.into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, ["a", "c"]);
        tree.terminate("c").await.unwrap();
        assert_eq!(get(&tree, "a").await.0, 2);
        tree.stop(secs(60)).await;
    }
}

// S-6
#[tokio::test(start_paused = true)]
async fn significant_escalation() {
    for restart in [Restart::Transient, Restart::Temporary] {
        let bench = Bench::new();
        let below = bench.spec().auto_shutdown(AutoShutdown::AnySignificant).significant();
        let below = match restart {
            Restart::Temporary => below.temporary(),
            _ => below.transient(),
        };
        let below = below.child("b", bench.probe("b").transient().significant());
        let spec = bench.spec().auto_shutdown(AutoShutdown::AllSignificant);
        let spec = spec.child("a", bench.probe("a")).supervisor("below", below);
        let tree = bench.supervise(spec).await.unwrap();
        bench.log.take();
        child(&tree, "below/b").cast(ProbeMsg::End(Exit::Normal)).unwrap();
        assert_eq!(tree.wait().await, Exit::Shutdown);
        assert_eq!(bench.log.take(), ["b stopped", "b gone", "a stopped", "a gone"]);
    }
}
