//! How supervisors stop their children.

use mobula_actors::{Actor, Exit};
use mobula_supervision::{Strategy, Supervisor};
use tokio::time::Instant;

use crate::probe::{Bench, Finish, Part, Probe, ProbeMsg, child, secs, stop};

// A supervisor has as long as its children need.
#[tokio::test(start_paused = true)]
async fn sup_stop_infinity() {
    let mut bench = Bench::new();
    let slow = |name| bench.finishing(name, Finish::Slow(secs(3_600))).shutdown_infinity();
    let spec = bench.spec().child("a", slow("a"));
    let spec = spec.supervisor("s", bench.spec().child("b", slow("b")));
    let tree = bench.supervise(spec).await.unwrap();
    let begun = Instant::now();
    assert_eq!(stop(&tree).await, Exit::Shutdown);
    assert_eq!(begun.elapsed().as_secs(), 7_200);
    for id in ["s/b", "s", "a"] {
        assert_eq!(bench.ended(id).await, Exit::Shutdown, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn sup_stop_timeout() {
    let mut bench = Bench::new();
    let stuck = bench.finishing("b", Finish::Hang).shutdown(secs(3));
    let spec = bench.spec().child("a", bench.probe("a")).child("b", stuck);
    let tree = bench.supervise(spec).await.unwrap();
    bench.log.take();
    let begun = Instant::now();
    assert_eq!(stop(&tree).await, Exit::Shutdown);
    assert_eq!(begun.elapsed().as_secs(), 3);
    assert_eq!(bench.ended("b").await, Exit::Killed);
    assert_eq!(bench.ended("a").await, Exit::Shutdown);
    assert_eq!(bench.log.take(), ["b gone", "a stopped", "a gone"]);
}

// DY-2
#[tokio::test(start_paused = true)]
async fn sup_stop_timeout_dynamic() {
    let mut bench = Bench::new();
    let spec = Supervisor::dynamic(|part: Part| Probe::spec(part).shutdown(secs(5)));
    let tree = bench.supervise(bench.hooked(spec)).await.unwrap();
    let finishes = [Finish::Slow(secs(3)), Finish::Hang, Finish::Slow(secs(3)), Finish::Orderly];
    for (number, finish) in finishes.into_iter().enumerate() {
        let part = Part { finish, ..bench.part(&number.to_string()) };
        tree.start_child::<Probe>(part).await.unwrap();
    }
    bench.log.take();
    let begun = Instant::now();
    assert_eq!(stop(&tree).await, Exit::Shutdown);
    assert_eq!(begun.elapsed().as_secs(), 5);
    let mut exits = Vec::new();
    for _ in 0..4 {
        exits.push(bench.any_end().await);
    }
    assert_eq!(exits, [Exit::Shutdown, Exit::Shutdown, Exit::Shutdown, Exit::Killed]);
    let stopped = bench.log.take().into_iter().filter(|line| line.ends_with("stopped")).count();
    assert_eq!(stopped, 3);
}

#[tokio::test(start_paused = true)]
async fn sup_stop_brutal_kill() {
    let mut bench = Bench::new();
    let spec = bench.spec().child("a", bench.probe("a"));
    let spec = spec.child("b", bench.probe("b").shutdown_brutal());
    let tree = bench.supervise(spec).await.unwrap();
    bench.log.take();
    assert_eq!(stop(&tree).await, Exit::Shutdown);
    assert_eq!(bench.ended("b").await, Exit::Killed);
    assert_eq!(bench.ended("a").await, Exit::Shutdown);
    // It is not asked.
    assert_eq!(bench.log.take(), ["b gone", "a stopped", "a gone"]);
}

// DY-2
#[tokio::test(start_paused = true)]
async fn sup_stop_brutal_kill_dynamic() {
    let mut bench = Bench::new();
    let spec = Supervisor::dynamic(|part: Part| Probe::spec(part).shutdown_brutal());
    let tree = bench.supervise(bench.hooked(spec)).await.unwrap();
    for name in ["a", "b"] {
        tree.start_child::<Probe>(bench.part(name)).await.unwrap();
    }
    bench.log.take();
    let begun = Instant::now();
    assert_eq!(stop(&tree).await, Exit::Shutdown);
    assert!(begun.elapsed() < secs(1));
    assert_eq!((bench.any_end().await, bench.any_end().await), (Exit::Killed, Exit::Killed));
    let mut log = bench.log.take();
    log.sort();
    assert_eq!(log, ["a gone", "b gone"]);
}

#[tokio::test(start_paused = true)]
async fn sup_stop_race() {
    let mut bench = Bench::new();
    let spec = bench.spec().intensity(0, secs(5)).child("a", bench.probe("a"));
    let spec = spec.child("b", bench.finishing("b", Finish::Slow(secs(2))));
    let tree = bench.supervise(spec).await.unwrap();
    let a = child(&tree, "a");
    let fails = async {
        tokio::time::sleep(secs(1)).await;
        // `b` is being stopped: the end of `a` is seen before its turn.
        a.cast(ProbeMsg::Fail).unwrap();
    };
    let (exit, ()) = tokio::join!(stop(&tree), fails);
    assert_eq!(exit, Exit::Shutdown);
    assert!(matches!(bench.ended("a").await, Exit::Failed(_)));
    assert_eq!(bench.ended("b").await, Exit::Shutdown);
}

#[tokio::test(start_paused = true)]
async fn sup_stop_non_shutdown_exit_dynamic() {
    let mut bench = Bench::new();
    let spec = Supervisor::dynamic(|part: Part| Probe::spec(part)).intensity(0, secs(5));
    let tree = bench.supervise(bench.hooked(spec)).await.unwrap();
    let slow = Part { finish: Finish::Slow(secs(2)), ..bench.part("a") };
    let a = tree.start_child::<Probe>(slow).await.unwrap();
    let b = tree.start_child::<Probe>(bench.part("b")).await.unwrap();
    let kills = async {
        tokio::time::sleep(secs(1)).await;
        a.kill();
    };
    let (exit, ()) = tokio::join!(stop(&tree), kills);
    assert_eq!(exit, Exit::Shutdown);
    assert_eq!((bench.any_end().await, bench.any_end().await), (Exit::Shutdown, Exit::Killed));
    assert!(b.cast(ProbeMsg::Save).is_err());
}

// All are waited for, beside each other. DY-2
#[tokio::test(start_paused = true)]
async fn simple_one_for_one_shutdown() {
    let mut bench = Bench::new();
    let spec = Supervisor::dynamic(|part: Part| Probe::spec(part).shutdown_infinity());
    let tree = bench.supervise(bench.hooked(spec)).await.unwrap();
    for number in 0..5 {
        let finish = Finish::Slow(secs(number * 1_000));
        let part = Part { finish, ..bench.part("a") };
        tree.start_child::<Probe>(part).await.unwrap();
    }
    let begun = Instant::now();
    assert_eq!(stop(&tree).await, Exit::Shutdown);
    assert_eq!(begun.elapsed().as_secs(), 4_000);
    for _ in 0..5 {
        assert_eq!(bench.any_end().await, Exit::Shutdown);
    }
}

// S-2, SV-2
#[tokio::test(start_paused = true)]
async fn order_of_children() {
    let names = ["seven", "three", "ten", "two", "five"];
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let bench = Bench::new();
        // The first is slow: the others wait for it.
        let begin = |_| crate::probe::Begin::Slow(secs(1));
        let spec = bench.spec_of(strategy).child(names[0], bench.beginning(names[0], begin));
        let spec = names[1..].iter().fold(spec, |spec, name| spec.child(*name, bench.probe(name)));
        let tree = bench.supervise(spec).await.unwrap();
        let starts = names.map(|name| [format!("{name} begins"), format!("{name} up")]);
        assert_eq!(bench.log.take(), starts.concat());
        let ids: Vec<_> = tree.children().await.into_iter().map(|child| child.id).collect();
        assert_eq!(ids, names);
        assert_eq!(stop(&tree).await, Exit::Shutdown);
        let mut stops = names.map(|name| [format!("{name} stopped"), format!("{name} gone")]);
        stops.reverse();
        assert_eq!(bench.log.take(), stops.concat());
        assert!(tree.children().await.is_empty());
        assert!(tree.child::<ProbeMsg>("two").is_none());
    }
}
