//! Who is started again, when, with what, and how often.

use mobula_actors::Exit;
use mobula_supervision::Strategy;
use tokio::time::Instant;

use crate::probe::{Begin, Bench, Finish, ProbeMsg, child, secs};

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

// A child's own waits go before those of its supervisor, which go before none.
#[tokio::test(start_paused = true)]
async fn the_back_off_of_a_supervisor_is_that_of_its_children() {
    let mut bench = Bench::new();
    let spec = bench.spec().backoff(secs(10), secs(10)).child("a", bench.probe("a"));
    let spec = spec.child("b", bench.probe("b").backoff(secs(1), secs(1)));
    let tree = bench.supervise(spec).await.unwrap();
    for (id, waits) in [("a", secs(10)), ("b", secs(1))] {
        child(&tree, id).cast(ProbeMsg::Fail).unwrap();
        bench.ended(id).await;
        let begun = Instant::now();
        assert_eq!(bench.started(id).await, 2);
        let waited = begun.elapsed().as_secs_f64() / waits.as_secs_f64();
        assert!((0.79..1.21).contains(&waited), "{id}: {waited} of {waits:?}");
    }
    tree.stop(secs(60)).await;
}

// SG-1
#[tokio::test(start_paused = true)]
async fn a_child_that_ends_while_its_group_is_being_stopped_does_not_count_again() {
    let mut bench = Bench::new();
    let spec = bench.spec_of(Strategy::OneForAll).intensity(1, secs(5));
    let spec = spec.child("a", bench.probe("a")).child("b", bench.probe("b"));
    let tree = bench.supervise(spec.child("c", bench.finishing("c", Finish::Slow(secs(2)))));
    let tree = tree.await.unwrap();
    let b = child(&tree, "b");
    child(&tree, "a").cast(ProbeMsg::Fail).unwrap();
    bench.ended("a").await;
    // `c` takes its time to stop, and it is not the turn of `b` yet.
    b.cast(ProbeMsg::Fail).unwrap();
    bench.ended("b").await;
    assert_eq!(bench.ended("c").await, Exit::Shutdown);
    for id in ["a", "b", "c"] {
        assert_eq!(child(&tree, id).call(ProbeMsg::Get).await.unwrap().0, 2);
    }
    tree.stop(secs(60)).await;
}
