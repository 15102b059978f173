//! Supervisors below supervisors, children that misbehave, and names.

use mobula_actors::{ActorRef, Exit, Restart};
use mobula_supervision::{Strategy, Tree};
use tokio::time::Instant;

use crate::probe::{Begin, Bench, Finish, ProbeMsg, child, counts, get, secs, states, until};

#[tokio::test(start_paused = true)]
async fn tree() {
    let mut bench = Bench::new();
    let first = bench.spec().child("a", bench.probe("a")).child("b", bench.probe("b"));
    // A temporary child that is part of the spec comes back with it too.
    let second = bench.spec().intensity(1, secs(3_600));
    let second = second.child("e", bench.probe("e").restart(Restart::Temporary));
    let spec = bench.spec_of(Strategy::OneForAll).supervisor("first", first);
    let top = bench.supervise(spec.supervisor("second", second)).await.unwrap();
    assert_eq!(counts(&top).await, [2, 2, 2, 0]);
    let (first, second) = (top.below("first").unwrap(), top.below("second").unwrap());
    // Children added at run time.
    second.spawn("c", bench.probe("c")).await.unwrap();
    second.spawn("d", bench.probe("d")).await.unwrap();
    assert_eq!((counts(&first).await, counts(&second).await), ([2, 2, 0, 2], [3, 3, 0, 3]));
    // Only the one that ends is started again.
    child(&second, "d").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(get(&second, "d").await.0, 2);
    assert_eq!((get(&first, "a").await.0, get(&second, "c").await.0), (1, 1));
    // The tree is started again, but not those children.
    bench.log.take();
    child(&second, "c").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(bench.ended("second").await, Exit::MaxIntensity);
    bench.log.until("e up").await;
    until(async || counts(&top).await == [2, 2, 2, 0]).await;
    assert_eq!((counts(&first).await, counts(&second).await), ([2, 2, 0, 2], [1, 1, 0, 1]));
    assert!(second.child::<ProbeMsg>("d").is_none());
    let ups: Vec<_> = bench.log.take().into_iter().filter(|line| line.ends_with(" up")).collect();
    assert_eq!(ups, ["a up", "b up", "e up"]);
    top.stop(secs(60)).await;
}

// A child cannot cut the monitor by which its supervisor waits for it: however it behaves, its stop
// ends, and the supervisor answers meanwhile.
#[tokio::test(start_paused = true)]
async fn child_unlink() {
    let mut bench = Bench::new();
    let naughty = bench.finishing("naughty", Finish::Hang).shutdown(secs(1));
    let tree = bench.supervise(bench.spec().child("naughty", naughty)).await.unwrap();
    let begun = Instant::now();
    let ask = async {
        tokio::task::yield_now().await;
        let states = states(&tree).await;
        assert_eq!(states, [("naughty".into(), mobula_supervision::ChildState::Stopping)]);
        assert!(begun.elapsed() < secs(1));
    };
    let (terminated, ()) = tokio::join!(tree.terminate("naughty"), ask);
    terminated.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 1);
    assert_eq!(bench.ended("naughty").await, Exit::Killed);
    tree.stop(secs(60)).await;
}

/// A supervisor with a name over a child with a name, under another supervisor.
struct Desk {
    bench: Bench,
    top: Tree,
}

impl Desk {
    async fn new() -> Self {
        let bench = Bench::new();
        let server = bench.beginning("server", |_| Begin::Named("server"));
        let desk = bench.spec().intensity(2, secs(3_600)).named("desk").child("server", server);
        let top = bench.supervise(bench.spec().supervisor("desk", desk)).await.unwrap();
        Self { bench, top }
    }

    /// The child with its name, once it is the run `epoch`.
    async fn server(&self, epoch: u64) -> ActorRef<ProbeMsg> {
        let find = async || {
            let server = self.bench.engine.lookup::<ProbeMsg>("server").ok()?;
            let (run, _) = server.call(ProbeMsg::Get).await.ok()?;
            (run == epoch).then_some(server)
        };
        until(async || find().await.is_some()).await;
        find().await.unwrap()
    }

    /// How often the supervisor was started again.
    async fn restarts(&self) -> u64 {
        self.top.children().await[0].restarts
    }
}

// With names of this node; those of a cluster come later. OR-1
#[tokio::test(start_paused = true)]
async fn simple_global_supervisor() {
    // A supervisor that is killed comes back under its name, and so does its child: a new actor.
    let mut desk = Desk::new().await;
    let first = desk.server(1).await;
    let named = Tree::named(&desk.bench.engine, "desk").await.unwrap();
    assert_eq!(named.children().await[0].id, "desk/server");
    named.stop(secs(0)).await;
    assert_eq!(desk.bench.ended("desk").await, Exit::Killed);
    desk.bench.started("desk").await;
    let second = desk.server(1).await;
    assert_ne!(first.id(), second.id());
    assert_eq!(desk.restarts().await, 1, "its children found their names free");
    let again = Tree::named(&desk.bench.engine, "desk").await.unwrap();
    assert_eq!(again.children().await[0].actor, second.id());
    // A child that is killed, or ends, keeps its actor, and its supervisor stays.
    for (epoch, exit) in [(1, Exit::Killed), (2, Exit::Normal)] {
        super::types::end(&desk.server(epoch).await, &exit);
        assert_eq!(desk.server(epoch + 1).await.id(), second.id());
        assert_eq!(desk.restarts().await, 1);
    }
    // One more is too many: the supervisor gives up and is started again.
    desk.server(3).await.kill();
    assert_ne!(desk.server(1).await.id(), second.id());
    assert_eq!(desk.restarts().await, 2);
    desk.top.stop(secs(60)).await;
}
