//! Which children are started again after which end.

use mobula_actors::{Actor, Exit, Fault, Restart};
use mobula_supervision::{ChildState, Strategy, Supervisor, Tree};

use crate::probe::{Bench, Part, Probe, ProbeMsg, child, counts, get, secs, states};

/// What became of a child after an end.
#[derive(Debug, PartialEq)]
enum Fate {
    Restarted,
    Kept,
    Forgotten,
}

pub(super) fn end(child: &mobula_actors::ActorRef<ProbeMsg>, exit: &Exit) {
    match exit {
        Exit::Killed => child.kill(),
        Exit::Panicked(_) => child.cast(ProbeMsg::Panic).unwrap(),
        Exit::Failed(_) => child.cast(ProbeMsg::Fail).unwrap(),
        other => child.cast(ProbeMsg::End(other.clone())).unwrap(),
    }
}

async fn fate(tree: &Tree) -> Fate {
    match states(tree).await.as_slice() {
        [] => {
            assert_eq!(counts(tree).await, [0, 0, 0, 0]);
            Fate::Forgotten
        }
        [(_, ChildState::Stopped)] => {
            assert_eq!(counts(tree).await, [1, 0, 0, 1]);
            Fate::Kept
        }
        _ => {
            assert_eq!(get(tree, "a").await.0, 2);
            assert_eq!(counts(tree).await, [1, 1, 0, 1]);
            Fate::Restarted
        }
    }
}

async fn check(restart: Restart, exits: &[Exit], expected: Fate) {
    for exit in exits {
        let mut bench = Bench::new();
        let spec = bench.spec().child("a", bench.probe("a").restart(restart));
        let tree = bench.supervise(spec).await.unwrap();
        end(&child(&tree, "a"), exit);
        assert_eq!(&bench.ended("a").await, exit);
        assert_eq!(fate(&tree).await, expected, "{restart:?} after {exit}");
        tree.stop(secs(60)).await;
    }
}

const NORMAL: [Exit; 1] = [Exit::Normal];

fn shutdown() -> [Exit; 2] {
    [Exit::Shutdown, Exit::ShutdownWith("done".into())]
}

pub(super) fn abnormal() -> [Exit; 3] {
    [Exit::Panicked("told to panic".into()), Exit::Failed(Fault::new("told to fail")), Exit::Killed]
}

#[tokio::test(start_paused = true)]
async fn permanent_normal() {
    check(Restart::Permanent, &NORMAL, Fate::Restarted).await;
}

#[tokio::test(start_paused = true)]
async fn transient_normal() {
    check(Restart::Transient, &NORMAL, Fate::Kept).await;
}

#[tokio::test(start_paused = true)]
async fn temporary_normal() {
    check(Restart::Temporary, &NORMAL, Fate::Forgotten).await;
}

#[tokio::test(start_paused = true)]
async fn permanent_shutdown() {
    check(Restart::Permanent, &shutdown(), Fate::Restarted).await;
}

#[tokio::test(start_paused = true)]
async fn transient_shutdown() {
    check(Restart::Transient, &shutdown(), Fate::Kept).await;
}

#[tokio::test(start_paused = true)]
async fn temporary_shutdown() {
    check(Restart::Temporary, &shutdown(), Fate::Forgotten).await;
}

#[tokio::test(start_paused = true)]
async fn permanent_abnormal() {
    check(Restart::Permanent, &abnormal(), Fate::Restarted).await;
}

#[tokio::test(start_paused = true)]
async fn transient_abnormal() {
    check(Restart::Transient, &abnormal(), Fate::Restarted).await;
}

#[tokio::test(start_paused = true)]
async fn temporary_abnormal() {
    check(Restart::Temporary, &abnormal(), Fate::Forgotten).await;
}

#[tokio::test(start_paused = true)]
async fn temporary_bystander() {
    // Stopped with its group, it does not come back with it.
    for (strategy, temporary) in [(Strategy::OneForAll, "a"), (Strategy::RestForOne, "b")] {
        let bench = Bench::new();
        let restart = |id| if id == temporary { Restart::Temporary } else { Restart::Permanent };
        let probe = |id: &'static str| bench.probe(id).restart(restart(id));
        let other = if temporary == "a" { "b" } else { "a" };
        let spec = bench.spec_of(strategy).child("a", probe("a")).child("b", probe("b"));
        let tree = bench.supervise(spec.child("c", probe("c"))).await.unwrap();
        bench.log.take();
        child(&tree, other).cast(ProbeMsg::Fail).unwrap();
        bench.log.until("c up").await;
        let runs = |id: &str| (id.to_owned(), ChildState::Running);
        assert_eq!(get(&tree, "c").await.0, 2);
        assert_eq!(states(&tree).await, [runs(other), runs("c")], "{strategy:?}");
        tree.stop(secs(60)).await;
    }
    // The end of one of several dynamic children is its own.
    let bench = Bench::new();
    let spec = Supervisor::dynamic(|part: Part| Probe::spec(part).temporary());
    let tree = bench.supervise(spec).await.unwrap();
    let a = tree.start_child::<Probe>(bench.part("a")).await.unwrap();
    let b = tree.start_child::<Probe>(bench.part("b")).await.unwrap();
    a.kill();
    bench.log.until("a gone").await;
    assert_eq!(b.call(ProbeMsg::Get).await.unwrap().0, 1);
    assert_eq!(counts(&tree).await, [1, 1, 0, 1]);
    tree.stop(secs(60)).await;
}
