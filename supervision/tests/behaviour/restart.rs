//! Who is started again, when, with what, and how often.

use mobula_actors::{Exit, Fault};
use mobula_supervision::{ChildState, Event, TreeError};
use tokio::time::Instant;

use crate::probe::{Begin, Bench, ProbeMsg, child, get, secs};

async fn state(tree: &mobula_supervision::Tree, id: &str) -> Option<ChildState> {
    let children = tree.children().await;
    children.into_iter().find(|child| child.id == id).map(|child| child.state)
}

/// Ends a child's first run and says what follows: its next epoch, or that it is kept or not.
async fn after(exit: &Exit, restart: &str) -> (Option<u64>, Option<ChildState>) {
    let mut bench = Bench::new();
    let probe = bench.probe("a");
    let spec = match restart {
        "permanent" => bench.spec().child("a", probe),
        "transient" => bench.spec().child("a", probe.transient()),
        _ => bench.spec().child("a", probe.temporary()),
    };
    let tree = bench.supervise(spec).await.unwrap();
    let a = child(&tree, "a");
    match exit {
        Exit::Killed => a.kill(),
        Exit::Panicked(_) => a.cast(ProbeMsg::Panic).unwrap(),
        Exit::Failed(_) => a.cast(ProbeMsg::Fail).unwrap(),
        other => a.cast(ProbeMsg::End(other.clone())).unwrap(),
    }
    let ended = bench.ended("a").await;
    assert_eq!(&ended, exit);
    let kept = state(&tree, "a").await;
    let again = matches!(kept, Some(ChildState::Restarting | ChildState::Running));
    let epoch = if again { Some(get(&tree, "a").await.0) } else { None };
    tree.stop(secs(60)).await;
    (epoch, kept)
}

// [permanent_*, transient_*, temporary_*]
#[tokio::test(start_paused = true)]
async fn a_child_is_started_again_as_its_type_and_its_exit_say() {
    let orderly = [Exit::Normal, Exit::Shutdown, Exit::ShutdownWith("done".into())];
    let abnormal = [
        Exit::Panicked("told to panic".into()),
        Exit::Failed(Fault::new("told to fail")),
        Exit::Killed,
    ];
    for exit in orderly.iter().chain(&abnormal) {
        let (epoch, _) = after(exit, "permanent").await;
        assert_eq!(epoch, Some(2), "permanent after {exit}");
        let (epoch, kept) = after(exit, "transient").await;
        if exit.is_abnormal() {
            assert_eq!(epoch, Some(2), "transient after {exit}");
        } else {
            assert_eq!((epoch, kept), (None, Some(ChildState::Stopped)), "transient after {exit}");
        }
        assert_eq!(after(exit, "temporary").await, (None, None), "temporary after {exit}");
    }
}

// [one_for_one] S-1, SV-3
#[tokio::test]
async fn only_the_child_that_ended_is_started_again_each_time_with_a_larger_epoch() {
    let mut bench = Bench::new();
    let spec = bench.spec().child("a", bench.probe("a")).child("b", bench.probe("b"));
    let tree = bench.supervise(spec).await.unwrap();
    let a = child(&tree, "a");
    assert_eq!(bench.started("a").await, 1);
    for epoch in 2..6 {
        a.cast(ProbeMsg::Fail).unwrap();
        assert_eq!(bench.started("a").await, epoch);
    }
    // The old reference reaches the new run.
    assert_eq!(a.call(ProbeMsg::Get).await.unwrap().0, 5);
    assert_eq!(get(&tree, "b").await.0, 1);
    let infos = tree.children().await;
    assert_eq!((infos[0].restarts, infos[1].restarts), (4, 0));
    tree.stop(secs(60)).await;
}

// [one_for_one_escalation] S-3, deviation b
#[tokio::test(start_paused = true)]
async fn more_restarts_than_the_intensity_allows_end_the_tree_with_max_intensity() {
    let mut bench = Bench::new();
    let spec = bench.spec().intensity(2, secs(5));
    let spec = spec.child("a", bench.probe("a")).child("b", bench.probe("b"));
    let tree = bench.supervise(spec).await.unwrap();
    let (b, wait) = (
        child(&tree, "b"),
        tokio::spawn({
            let tree = tree.clone();
            async move { tree.wait().await }
        }),
    );
    tokio::task::yield_now().await;
    for epoch in 1..=2 {
        b.cast(ProbeMsg::Fail).unwrap();
        assert_eq!(bench.started("b").await, epoch);
    }
    bench.started("b").await;
    bench.log.take();
    b.cast(ProbeMsg::Fail).unwrap();
    let gave_up = |event: &Event| matches!(event, Event::GaveUp { .. }).then(|| event.clone());
    assert_eq!(bench.event(gave_up).await, Event::GaveUp { id: String::new(), exit: Exit::MaxIntensity });
    assert_eq!(wait.await.unwrap(), Exit::MaxIntensity);
    assert_eq!(bench.log.take(), ["b gone", "a stopped", "a gone"]);
    let refused = b.cast(ProbeMsg::Fail).unwrap_err();
    assert_eq!(refused.why, mobula_actors::Why::Stopped);
}

#[tokio::test(start_paused = true)]
async fn restarts_further_apart_than_the_period_do_not_add_up() {
    let mut bench = Bench::new();
    let spec = bench.spec().intensity(1, secs(5)).child("a", bench.probe("a"));
    let tree = bench.supervise(spec).await.unwrap();
    for epoch in 1..10 {
        assert_eq!(bench.started("a").await, epoch);
        child(&tree, "a").cast(ProbeMsg::Fail).unwrap();
        tokio::time::advance(secs(6)).await;
    }
    tree.stop(secs(60)).await;
}

// [sup_start_restart_child_returns_error]
#[tokio::test(start_paused = true)]
async fn a_restart_that_fails_counts_and_is_tried_again() {
    let mut bench = Bench::new();
    let begin = |epoch| if (2..5).contains(&epoch) { Begin::Fail } else { Begin::Up };
    let spec = bench.spec().intensity(4, secs(5)).child("a", bench.beginning("a", begin));
    let tree = bench.supervise(spec).await.unwrap();
    assert_eq!(bench.started("a").await, 1);
    child(&tree, "a").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(bench.started("a").await, 5);
    child(&tree, "a").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(tree.wait().await, Exit::MaxIntensity);
}

// [hanging_restart_loop, count_restarting_children] SV-1
#[tokio::test(start_paused = true)]
async fn a_hanging_restart_leaves_the_supervisor_answering() {
    let mut bench = Bench::new();
    let begin = |epoch| if epoch == 1 { Begin::Up } else { Begin::Hang };
    let hangs = |name| bench.beginning(name, begin).start_within(secs(3_600));
    let spec = bench.spec().child("a", hangs("a")).child("b", hangs("b"));
    let tree = bench.supervise(spec).await.unwrap();
    for id in ["a", "b"] {
        child(&tree, id).cast(ProbeMsg::Fail).unwrap();
        bench.ended(id).await;
        assert_eq!(state(&tree, id).await, Some(ChildState::Restarting));
    }
    assert_eq!(tree.restart("a").await, Err(TreeError::Busy("a".into())));
    tree.terminate("a").await.unwrap();
    assert_eq!(state(&tree, "a").await, Some(ChildState::Stopped));
    let begun = Instant::now();
    tree.stop(secs(60)).await;
    assert!(begun.elapsed() < secs(1));
}

// deviation e
#[tokio::test(start_paused = true)]
async fn the_mailbox_survives_a_restart_and_the_message_that_ended_the_run_is_not_redelivered() {
    let mut bench = Bench::new();
    let begin = |epoch| if epoch == 1 { Begin::Up } else { Begin::Slow(secs(1)) };
    let spec = bench.spec().child("a", bench.beginning("a", begin));
    let tree = bench.supervise(spec).await.unwrap();
    let a = child(&tree, "a");
    a.cast(ProbeMsg::Add(1)).unwrap();
    a.cast(ProbeMsg::Panic).unwrap();
    a.cast(ProbeMsg::Add(10)).unwrap();
    bench.ended("a").await;
    a.cast(ProbeMsg::Add(20)).unwrap();
    // The state began anew, the messages behind the fault are there, and it is the second run.
    assert_eq!(a.call(ProbeMsg::Get).await.unwrap(), (2, 30));
    tree.stop(secs(60)).await;
}

// A restart that was killed half-way, because it took too long, is followed by the next.
#[tokio::test(start_paused = true)]
async fn a_restart_that_takes_too_long_is_killed_and_the_mailbox_waits_for_the_next() {
    let mut bench = Bench::new();
    let begin = |epoch| if epoch == 2 { Begin::Hang } else { Begin::Up };
    let spec = bench.spec().child("a", bench.beginning("a", begin).start_within(secs(2)));
    let tree = bench.supervise(spec).await.unwrap();
    let a = child(&tree, "a");
    assert_eq!(bench.started("a").await, 1);
    a.cast(ProbeMsg::Fail).unwrap();
    a.cast(ProbeMsg::Add(7)).unwrap();
    assert_eq!(bench.started("a").await, 3);
    assert_eq!(a.call(ProbeMsg::Get).await.unwrap(), (3, 7));
    tree.stop(secs(60)).await;
}

// CP-1, CP-3
#[tokio::test]
async fn the_next_run_starts_from_the_latest_checkpoint() {
    let mut bench = Bench::new();
    let spec = bench.spec().child("a", bench.probe("a"));
    let tree = bench.supervise(spec).await.unwrap();
    let a = child(&tree, "a");
    for message in [ProbeMsg::Add(3), ProbeMsg::Save, ProbeMsg::Add(4), ProbeMsg::Fail] {
        a.cast(message).unwrap();
    }
    bench.ended("a").await;
    assert_eq!(a.call(ProbeMsg::Get).await.unwrap(), (2, 3));
    // A run that saves nothing hands on what it was given.
    a.cast(ProbeMsg::Fail).unwrap();
    bench.ended("a").await;
    assert_eq!(a.call(ProbeMsg::Get).await.unwrap(), (3, 3));
    tree.stop(secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn a_child_with_back_off_waits_longer_each_time() {
    let mut bench = Bench::new();
    let spec = bench.spec().child("a", bench.probe("a").backoff(secs(1), secs(10)));
    let tree = bench.supervise(spec).await.unwrap();
    bench.started("a").await;
    for wait in [1.0, 2.0, 4.0, 8.0, 10.0, 10.0] {
        child(&tree, "a").cast(ProbeMsg::Fail).unwrap();
        bench.ended("a").await;
        let begun = Instant::now();
        bench.started("a").await;
        let waited = begun.elapsed().as_secs_f64() / wait;
        assert!((0.79..1.21).contains(&waited), "{waited} of {wait} s");
    }
    tree.stop(secs(60)).await;
}
