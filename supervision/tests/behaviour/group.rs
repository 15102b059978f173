//! Restarts of several children for the end of one.

use mobula_actors::Exit;
use mobula_supervision::{ChildState, Strategy, SupervisorSpec, Tree};

use crate::probe::{Begin, Bench, ProbeMsg, child, get, secs};

async fn supervise(bench: &Bench, strategy: Strategy, intensity: u32) -> Tree {
    let spec = bench.spec_of(strategy).intensity(intensity, secs(5));
    let spec = ["a", "b", "c"]
        .into_iter()
        .fold(spec, |spec: SupervisorSpec, name| spec.child(name, bench.probe(name)));
    let tree = bench.supervise(spec).await.unwrap();
    bench.log.take();
    tree
}

async fn epochs(tree: &Tree) -> Vec<u64> {
    tree.children().await.into_iter().map(|child| child.epoch.0).collect()
}

// [one_for_all]
#[tokio::test(start_paused = true)]
async fn one_for_all_stops_the_others_in_reverse_and_starts_all_in_order() {
    let bench = Bench::new();
    let tree = supervise(&bench, Strategy::OneForAll, 1).await;
    child(&tree, "b").cast(ProbeMsg::Fail).unwrap();
    bench.log.until("c up").await;
    let stops = ["b gone", "c stopped", "c gone", "a stopped", "a gone"];
    let starts = ["a begins", "a up", "b begins", "b up", "c begins", "c up"];
    assert_eq!(bench.log.take(), [&stops[..], &starts[..]].concat());
    assert_eq!(get(&tree, "c").await.0, 2);
    // SG-1: it counted once; the second trips [one_for_all_escalation].
    child(&tree, "c").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(tree.wait().await, Exit::MaxIntensity);
}

// [rest_for_one]
#[tokio::test(start_paused = true)]
async fn rest_for_one_restarts_those_that_started_after() {
    let bench = Bench::new();
    let tree = supervise(&bench, Strategy::RestForOne, 1).await;
    // Messages that wait outlive the stop for the group's sake.
    child(&tree, "b").cast(ProbeMsg::Fail).unwrap();
    bench.log.until("c up").await;
    let log = ["b gone", "c stopped", "c gone", "b begins", "b up", "c begins", "c up"];
    assert_eq!(bench.log.take(), log);
    assert_eq!(get(&tree, "c").await.0, 2);
    assert_eq!(epochs(&tree).await, [1, 2, 2]);
    child(&tree, "c").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(tree.wait().await, Exit::MaxIntensity);
}

/// Lets `c` fail its second and third start in the group that the end of `b` makes.
async fn failing_sibling(bench: &Bench, strategy: Strategy) -> Tree {
    let begin = |epoch| if (2..4).contains(&epoch) { Begin::Fail } else { Begin::Up };
    let spec = bench.spec_of(strategy).intensity(3, secs(5));
    let spec = spec.child("a", bench.probe("a")).child("b", bench.probe("b"));
    let spec = spec.child("c", bench.beginning("c", begin)).child("d", bench.probe("d"));
    let tree = bench.supervise(spec).await.unwrap();
    bench.log.take();
    child(&tree, "b").cast(ProbeMsg::Fail).unwrap();
    bench.log.until("d up").await;
    assert_eq!(get(&tree, "d").await.0, 2);
    tree
}

// [one_for_all_other_child_fails_restart] SG-2
#[tokio::test(start_paused = true)]
async fn one_for_all_begins_again_when_a_sibling_fails_to_start() {
    let bench = Bench::new();
    let tree = failing_sibling(&bench, Strategy::OneForAll).await;
    assert_eq!(epochs(&tree).await, [4, 4, 4, 2]);
    // Three counted: the fault and two failed starts.
    child(&tree, "d").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(tree.wait().await, Exit::MaxIntensity);
}

// [rest_for_one_other_child_fails_restart] SG-2
#[tokio::test(start_paused = true)]
async fn rest_for_one_goes_on_from_the_sibling_that_fails_to_start() {
    let bench = Bench::new();
    let tree = failing_sibling(&bench, Strategy::RestForOne).await;
    assert_eq!(epochs(&tree).await, [1, 2, 4, 2]);
    child(&tree, "d").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(tree.wait().await, Exit::MaxIntensity);
}

// [temporary_bystander]
#[tokio::test(start_paused = true)]
async fn a_temporary_sibling_is_stopped_with_the_group_and_not_started_again() {
    let bench = Bench::new();
    let spec = bench.spec_of(Strategy::OneForAll).child("a", bench.probe("a"));
    let spec = spec.child("b", bench.probe("b").temporary()).child("c", bench.probe("c"));
    let tree = bench.supervise(spec).await.unwrap();
    bench.log.take();
    child(&tree, "a").cast(ProbeMsg::Fail).unwrap();
    bench.log.until("c up").await;
    let children = tree.children().await;
    let ids: Vec<_> = children.iter().map(|child| child.id.as_str()).collect();
    assert_eq!(ids, ["a", "c"]);
    tree.stop(secs(60)).await;
}

// [hanging_restart_loop_rest_for_one] SV-1
#[tokio::test(start_paused = true)]
async fn a_group_whose_start_hangs_can_be_stopped() {
    let mut bench = Bench::new();
    let begin = |epoch| if epoch == 1 { Begin::Up } else { Begin::Hang };
    let hangs = bench.beginning("b", begin).start_within(secs(3_600));
    let spec = bench.spec_of(Strategy::RestForOne).child("a", bench.probe("a"));
    let spec = spec.child("b", hangs).child("c", bench.probe("c"));
    let tree = bench.supervise(spec).await.unwrap();
    child(&tree, "b").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(bench.ended("c").await, Exit::Shutdown);
    let states: Vec<_> = tree.children().await.into_iter().map(|child| child.state).collect();
    assert_eq!(states, [ChildState::Running, ChildState::Restarting, ChildState::Restarting]);
    // SG-3
    tree.terminate("c").await.unwrap();
    assert_eq!(tree.children().await[2].state, ChildState::Stopped);
    let begun = tokio::time::Instant::now();
    tree.stop(secs(60)).await;
    assert!(begun.elapsed() < secs(1));
}
