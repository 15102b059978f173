//! Whom the end of one child concerns, and how often.

use mobula_actors::{Actor, Exit};
use mobula_supervision::{Event, Strategy, Supervisor, SupervisorSpec, Tree};

use crate::probe::{Begin, Bench, Part, Probe, ProbeMsg, child, counts, get, secs};

async fn supervise(bench: &Bench, strategy: Strategy, intensity: u32) -> Tree {
    let spec = bench.spec_of(strategy).intensity(intensity, secs(3_600));
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

/// Lets a child's second start, and those after it, fail until the supervisor gives up.
async fn escalates(strategy: Strategy, faulty: &str, expected: &[&str]) {
    let bench = Bench::new();
    let begin = |epoch| if epoch == 1 { Begin::Up } else { Begin::Fail };
    let spec = bench.spec_of(strategy).intensity(4, secs(3_600));
    let spec = ["a", "b", "c"].into_iter().fold(spec, |spec: SupervisorSpec, name| {
        let probe = if name == faulty { bench.beginning(name, begin) } else { bench.probe(name) };
        spec.child(name, probe)
    });
    let tree = bench.supervise(spec).await.unwrap();
    bench.log.take();
    child(&tree, "b").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(tree.wait().await, Exit::MaxIntensity);
    assert_eq!(bench.log.take(), expected, "{strategy:?}");
}

// S-1, SV-3
#[tokio::test(start_paused = true)]
async fn one_for_one() {
    let mut bench = Bench::new();
    let tree = supervise(&bench, Strategy::OneForOne, 4).await;
    let b = child(&tree, "b");
    assert_eq!(bench.started("b").await, 1);
    for epoch in 2..6 {
        b.cast(ProbeMsg::Fail).unwrap();
        assert_eq!(bench.started("b").await, epoch);
        assert_eq!(counts(&tree).await, [3, 3, 0, 3]);
    }
    // The old reference reaches the new run.
    assert_eq!(b.call(ProbeMsg::Get).await.unwrap().0, 5);
    assert_eq!(epochs(&tree).await, [1, 5, 1]);
    let infos = tree.children().await;
    assert_eq!((infos[0].restarts, infos[1].restarts), (0, 4));
    // Whoever ends, the supervisor counts.
    child(&tree, "c").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(tree.wait().await, Exit::MaxIntensity);
}

// S-3, deviation b: it ends with `MaxIntensity`, which is abnormal.
#[tokio::test(start_paused = true)]
async fn one_for_one_escalation() {
    let starts = ["b begins"; 4];
    let stops = ["c stopped", "c gone", "a stopped", "a gone"];
    let log = [&["b gone"][..], &starts, &stops].concat();
    escalates(Strategy::OneForOne, "b", &log).await;
    let mut bench = Bench::new();
    let tree = supervise(&bench, Strategy::OneForOne, 0).await;
    child(&tree, "a").cast(ProbeMsg::Fail).unwrap();
    let gave_up = |event: &Event| matches!(event, Event::GaveUp { .. }).then(|| event.clone());
    let expected = Event::GaveUp { id: String::new(), exit: Exit::MaxIntensity };
    assert_eq!(bench.event(gave_up).await, expected);
}

// SG-1: it counts once.
#[tokio::test(start_paused = true)]
async fn one_for_all() {
    let bench = Bench::new();
    let tree = supervise(&bench, Strategy::OneForAll, 1).await;
    child(&tree, "b").cast(ProbeMsg::Fail).unwrap();
    bench.log.until("c up").await;
    let stops = ["b gone", "c stopped", "c gone", "a stopped", "a gone"];
    let starts = ["a begins", "a up", "b begins", "b up", "c begins", "c up"];
    assert_eq!(bench.log.take(), [&stops[..], &starts[..]].concat());
    assert_eq!(get(&tree, "c").await.0, 2);
    assert_eq!(counts(&tree).await, [3, 3, 0, 3]);
    child(&tree, "c").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(tree.wait().await, Exit::MaxIntensity);
}

// SG-2
#[tokio::test(start_paused = true)]
async fn one_for_all_escalation() {
    let first = ["b gone", "c stopped", "c gone", "a stopped", "a gone"];
    let tries = ["a begins", "a up", "b begins", "a stopped", "a gone"].repeat(4);
    escalates(Strategy::OneForAll, "b", &[&first[..], &tries].concat()).await;
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

// SG-2: what has been started is stopped again.
#[tokio::test(start_paused = true)]
async fn one_for_all_other_child_fails_restart() {
    let bench = Bench::new();
    let tree = failing_sibling(&bench, Strategy::OneForAll).await;
    assert_eq!(epochs(&tree).await, [4, 4, 4, 2]);
    // Three counted: the fault and two failed starts.
    child(&tree, "d").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(tree.wait().await, Exit::MaxIntensity);
}

#[tokio::test(start_paused = true)]
async fn rest_for_one() {
    let bench = Bench::new();
    let tree = supervise(&bench, Strategy::RestForOne, 2).await;
    child(&tree, "b").cast(ProbeMsg::Fail).unwrap();
    bench.log.until("c up").await;
    let log = ["b gone", "c stopped", "c gone", "b begins", "b up", "c begins", "c up"];
    assert_eq!(bench.log.take(), log);
    assert_eq!(get(&tree, "c").await.0, 2);
    assert_eq!((epochs(&tree).await, counts(&tree).await), (vec![1, 2, 2], [3, 3, 0, 3]));
    child(&tree, "c").cast(ProbeMsg::Fail).unwrap();
    bench.log.until("c up").await;
    assert_eq!(get(&tree, "c").await.0, 3);
    child(&tree, "b").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(tree.wait().await, Exit::MaxIntensity);
}

// SG-2
#[tokio::test(start_paused = true)]
async fn rest_for_one_escalation() {
    let log = ["b gone", "c stopped", "c gone", "b begins", "b up"];
    let tries = ["c begins"; 4];
    let stops = ["b stopped", "b gone", "a stopped", "a gone"];
    escalates(Strategy::RestForOne, "c", &[&log[..], &tries, &stops].concat()).await;
}

// SG-2: what has been started stays.
#[tokio::test(start_paused = true)]
async fn rest_for_one_other_child_fails_restart() {
    let bench = Bench::new();
    let tree = failing_sibling(&bench, Strategy::RestForOne).await;
    assert_eq!(epochs(&tree).await, [1, 2, 4, 2]);
    child(&tree, "d").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(tree.wait().await, Exit::MaxIntensity);
}

async fn dynamic(bench: &Bench, intensity: u32) -> Tree {
    let spec = Supervisor::dynamic(Probe::spec).intensity(intensity, secs(3_600));
    bench.supervise(bench.hooked(spec)).await.unwrap()
}

// Each is started again with its own arguments.
#[tokio::test(start_paused = true)]
async fn simple_one_for_one() {
    let bench = Bench::new();
    let tree = dynamic(&bench, 2).await;
    let a = tree.start_child::<Probe>(bench.part("a")).await.unwrap();
    let b = tree.start_child::<Probe>(bench.part("b")).await.unwrap();
    bench.log.take();
    for epoch in 2..4 {
        a.cast(ProbeMsg::Fail).unwrap();
        assert_eq!(a.call(ProbeMsg::Get).await.unwrap().0, epoch);
        assert_eq!(b.call(ProbeMsg::Get).await.unwrap().0, 1);
        assert_eq!(bench.log.take(), ["a gone", "a begins", "a up"]);
        assert_eq!(counts(&tree).await, [1, 2, 0, 2]);
    }
    b.cast(ProbeMsg::Fail).unwrap();
    assert_eq!(tree.wait().await, Exit::MaxIntensity);
}

#[tokio::test(start_paused = true)]
async fn simple_one_for_one_escalation() {
    let bench = Bench::new();
    let tree = dynamic(&bench, 4).await;
    let begin = |epoch| if epoch == 1 { Begin::Up } else { Begin::Fail };
    let part = Part { begin: std::sync::Arc::new(begin), ..bench.part("a") };
    let a = tree.start_child::<Probe>(part).await.unwrap();
    let b = tree.start_child::<Probe>(bench.part("b")).await.unwrap();
    bench.log.take();
    a.cast(ProbeMsg::Fail).unwrap();
    assert_eq!(tree.wait().await, Exit::MaxIntensity);
    let log = [&["a gone"][..], &["a begins"; 4], &["b stopped", "b gone"]].concat();
    assert_eq!(bench.log.take(), log);
    assert!(b.cast(ProbeMsg::Save).is_err());
}

#[tokio::test(start_paused = true)]
async fn multiple_restarts() {
    let mut bench = Bench::new();
    let tree = supervise(&bench, Strategy::OneForOne, 3).await;
    for name in ["a", "b", "c"] {
        child(&tree, name).cast(ProbeMsg::Fail).unwrap();
    }
    for name in ["a", "b", "c"] {
        assert_eq!(child(&tree, name).call(ProbeMsg::Get).await.unwrap().0, 2);
    }
    let gave_up = |event: &Event| matches!(event, Event::GaveUp { .. }).then_some(());
    child(&tree, "a").cast(ProbeMsg::Fail).unwrap();
    bench.event(gave_up).await;
}

// DY-1
#[tokio::test(start_paused = true)]
async fn simple_one_for_one_restart_ignore() {
    let bench = Bench::new();
    let tree = dynamic(&bench, 1).await;
    let begin = |epoch| if epoch == 1 { Begin::Up } else { Begin::Ignore };
    let part = Part { begin: std::sync::Arc::new(begin), ..bench.part("a") };
    let a = tree.start_child::<Probe>(part).await.unwrap();
    a.cast(ProbeMsg::Fail).unwrap();
    crate::probe::until(async || counts(&tree).await == [1, 0, 0, 0]).await;
    assert_eq!(crate::probe::stop(&tree).await, Exit::Shutdown);
}

// What is not a child's present run is not spoken of.
#[tokio::test(start_paused = true)]
async fn simple_one_for_one_corruption() {
    let mut bench = Bench::new();
    let spec = Supervisor::dynamic(|part: Part| Probe::spec(part).transient());
    let tree = bench.supervise(bench.hooked(spec).intensity(1, secs(5))).await.unwrap();
    let a = tree.start_child::<Probe>(bench.part("a")).await.unwrap();
    a.kill();
    a.kill();
    assert_eq!(bench.any_end().await, Exit::Killed);
    assert_eq!(a.call(ProbeMsg::Get).await.unwrap().0, 2);
    assert_eq!(counts(&tree).await, [1, 1, 0, 1]);
    tree.stop(secs(60)).await;
}
