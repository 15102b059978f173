//! What a supervisor is asked about its children.

use mobula_actors::{Actor, Restart};
use mobula_supervision::{ChildState, Supervisor, Tree, TreeError};

use crate::probe::{Bench, Part, Probe, ProbeMsg, child, counts, get, secs, states, stop, until};

#[tokio::test(start_paused = true)]
async fn child_adm() {
    let bench = Bench::new();
    let tree = bench.supervise(bench.spec().child("a", bench.probe("a"))).await.unwrap();
    let id = || "a".to_owned();
    assert_eq!(counts(&tree).await, [1, 1, 0, 1]);
    let again = tree.spawn("a", bench.probe("a")).await;
    assert_eq!(again.unwrap_err(), TreeError::AlreadyStarted(id()));
    assert_eq!(tree.terminate("b").await, Err(TreeError::Unknown("b".into())));
    tree.terminate("a").await.unwrap();
    assert_eq!(bench.log.take(), ["a begins", "a up", "a stopped", "a gone"]);
    assert_eq!(states(&tree).await, [(id(), ChildState::Stopped)]);
    assert_eq!(counts(&tree).await, [1, 0, 0, 1]);
    tree.terminate("a").await.unwrap();
    let again = tree.spawn("a", bench.probe("a")).await;
    assert_eq!(again.unwrap_err(), TreeError::AlreadyPresent(id()));
    tree.restart("a").await.unwrap();
    assert_eq!(get(&tree, "a").await.0, 2);
    assert_eq!(tree.restart("a").await, Err(TreeError::Running(id())));
    assert_eq!(tree.restart("b").await, Err(TreeError::Unknown("b".into())));
    assert_eq!(tree.delete("a").await, Err(TreeError::Running(id())));
    assert_eq!(tree.delete("b").await, Err(TreeError::Unknown("b".into())));
    tree.terminate("a").await.unwrap();
    tree.delete("a").await.unwrap();
    assert_eq!(tree.restart("a").await, Err(TreeError::Unknown(id())));
    assert_eq!(counts(&tree).await, [0, 0, 0, 0]);
    tree.spawn("a", bench.probe("a")).await.unwrap();
    assert_eq!(counts(&tree).await, [1, 1, 0, 1]);
    tree.stop(secs(60)).await;
    assert_eq!(tree.terminate("a").await, Err(TreeError::Stopped));
    assert_eq!(tree.spawn("a", bench.probe("a")).await.unwrap_err(), TreeError::Stopped);
    assert_eq!(counts(&tree).await, [0, 0, 0, 0]);
}

async fn dynamic(bench: &Bench, restart: Restart) -> Tree {
    let spec = Supervisor::dynamic(move |part: Part| Probe::spec(part).restart(restart));
    bench.supervise(bench.hooked(spec)).await.unwrap()
}

// OTP lets a dead child be terminated again; ours keeps nothing of it, and says that it is unknown.
#[tokio::test(start_paused = true)]
async fn child_adm_simple() {
    let bench = Bench::new();
    let tree = dynamic(&bench, Restart::Permanent).await;
    assert_eq!(counts(&tree).await, [1, 0, 0, 0]);
    let a = tree.start_child::<Probe>(bench.part("a")).await.unwrap();
    let b = tree.start_child::<Probe>(bench.part("b")).await.unwrap();
    assert_eq!(counts(&tree).await, [1, 2, 0, 2]);
    assert_eq!(tree.spawn("c", bench.probe("c")).await.unwrap_err(), TreeError::Dynamic);
    assert_eq!(tree.terminate("a").await, Err(TreeError::Dynamic));
    assert_eq!(tree.restart("a").await, Err(TreeError::Dynamic));
    assert_eq!(tree.delete("a").await, Err(TreeError::Dynamic));
    assert_eq!(counts(&tree).await, [1, 2, 0, 2]);
    bench.log.take();
    tree.end_child(&a).await.unwrap();
    assert_eq!(bench.log.take(), ["a stopped", "a gone"]);
    assert_eq!(counts(&tree).await, [1, 1, 0, 1]);
    let unknown = |id: String| Err(TreeError::Unknown(id));
    assert_eq!(tree.end_child(&a).await, unknown(a.id().to_string()));
    let other = bench.engine.spawn(bench.probe("other")).await.unwrap();
    assert_eq!(tree.end_child(&other).await, unknown(other.id().to_string()));
    assert_eq!(other.call(ProbeMsg::Get).await.unwrap().0, 1);
    assert_eq!(b.call(ProbeMsg::Get).await.unwrap().0, 1);
    tree.stop(secs(60)).await;
    // And a supervisor that is not dynamic knows no such children.
    let plain = bench.supervise(bench.spec()).await.unwrap();
    let refused = plain.start_child::<Probe>(bench.part("a")).await.unwrap_err();
    assert_eq!(refused, TreeError::NoTemplate);
    assert_eq!(plain.end_child(&other).await, Err(TreeError::NoTemplate));
}

#[tokio::test(start_paused = true)]
async fn which_children() {
    let mut bench = Bench::new();
    let below = bench.spec().child("c", bench.probe("c"));
    let spec = bench.spec().child("a", bench.probe("a")).supervisor("s", below);
    let tree = bench.supervise(spec).await.unwrap();
    let b = tree.spawn("b", bench.probe("b")).await.unwrap();
    let infos = tree.children().await;
    let ids: Vec<_> = infos.iter().map(|info| (info.id.as_str(), info.is_supervisor)).collect();
    assert_eq!(ids, [("a", false), ("s", true), ("b", false)]);
    assert_eq!(infos[2].actor, b.id());
    assert!(infos[0].kind.ends_with("Probe"), "{}", infos[0].kind);
    assert!(infos.iter().all(|info| info.epoch.0 == 1 && info.last_exit.is_none()));
    // The same actor, another run, and how the last one ended.
    b.kill();
    bench.ended("b").await;
    until(async || tree.children().await[2].state == ChildState::Running).await;
    let again = &tree.children().await[2];
    assert_eq!((again.actor, again.epoch.0, again.restarts), (b.id(), 2, 1));
    assert_eq!(again.last_exit, Some(mobula_actors::Exit::Killed));
    let below = tree.below("s").unwrap().children().await;
    assert_eq!((below.len(), below[0].id.as_str()), (1, "s/c"));
    tree.stop(secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn which_children_simple_one_for_one() {
    let bench = Bench::new();
    let tree = dynamic(&bench, Restart::Temporary).await;
    assert!(tree.children().await.is_empty());
    let mut started = Vec::new();
    for _ in 0..3 {
        started.push(tree.start_child::<Probe>(bench.part("a")).await.unwrap());
    }
    let infos = tree.children().await;
    let found: Vec<_> = infos.iter().map(|info| (info.actor, info.id.clone())).collect();
    let expected: Vec<_> =
        started.iter().map(|child| (child.id(), child.id().to_string())).collect();
    assert_eq!(found, expected);
    tree.end_child(&started[1]).await.unwrap();
    let left: Vec<_> = tree.children().await.into_iter().map(|info| info.actor).collect();
    assert_eq!(left, [started[0].id(), started[2].id()]);
    tree.stop(secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn count_children() {
    let bench = Bench::new();
    let tree = dynamic(&bench, Restart::Temporary).await;
    let mut started = Vec::new();
    for thousands in 1..=2 {
        for _ in 0..1_000 {
            started.push(tree.start_child::<Probe>(bench.part("a")).await.unwrap());
        }
        assert_eq!(counts(&tree).await, [1, thousands * 1_000, 0, thousands * 1_000]);
        assert_eq!(tree.children().await.len(), thousands * 1_000);
    }
    for child in &started {
        child.kill();
    }
    until(async || counts(&tree).await == [1, 0, 0, 0]).await;
    tree.stop(secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn count_children_supervisor() {
    let bench = Bench::new();
    let below = bench.spec().child("y", bench.probe("y"));
    let spec = bench.spec().child("a", bench.probe("a")).child("b", bench.probe("b"));
    let tree = bench.supervise(spec.supervisor("s", below.clone())).await.unwrap();
    tree.spawn_supervisor("t", below).await.unwrap();
    assert_eq!(counts(&tree).await, [4, 4, 2, 2]);
    tree.terminate("a").await.unwrap();
    tree.terminate("s").await.unwrap();
    assert_eq!(counts(&tree).await, [4, 2, 2, 2]);
    tree.delete("s").await.unwrap();
    assert_eq!(counts(&tree).await, [3, 2, 1, 2]);
    assert_eq!(stop(&tree).await, mobula_actors::Exit::Shutdown);
}

#[tokio::test(start_paused = true)]
async fn count_restarting_children() {
    let mut bench = Bench::new();
    let a = bench.probe("a").backoff(secs(10), secs(10));
    let spec = bench.spec().child("a", a).child("b", bench.probe("b"));
    let tree = bench.supervise(spec).await.unwrap();
    child(&tree, "a").cast(ProbeMsg::Fail).unwrap();
    bench.ended("a").await;
    assert_eq!(counts(&tree).await, [2, 1, 0, 2]);
    assert_eq!(tree.count().await.restarting, 1);
    assert_eq!(tree.children().await[0].state, ChildState::Restarting);
    // The back-off is waited for, within its jitter.
    let begun = tokio::time::Instant::now();
    assert_eq!(bench.started("a").await, 2);
    assert!(begun.elapsed() >= secs(8) && begun.elapsed() <= secs(12));
    assert_eq!((counts(&tree).await, tree.count().await.restarting), ([2, 2, 0, 2], 0));
    tree.stop(secs(60)).await;
}
