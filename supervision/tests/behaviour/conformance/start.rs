//! How supervisors and children start, or do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mobula_actors::{Exit, NameError, Restart, SpawnError};
use mobula_supervision::{ChildState, SuperviseError, Supervisor, Tree, TreeError};

use crate::probe::{
    Begin, Bench, Part, Probe, ProbeMsg, child, counts, get, secs, states, stop, until,
};
use mobula_actors::Actor;

#[tokio::test(start_paused = true)]
async fn sup_start_normal() {
    let bench = Bench::new();
    let tree = bench.supervise(bench.spec()).await.unwrap();
    assert_eq!(counts(&tree).await, [0, 0, 0, 0]);
    assert_eq!(stop(&tree).await, Exit::Shutdown);
}

// For us a supervisor is a spec and has no code of its own that could ignore its start: `only_if`
// is where it says that it is not needed.
#[tokio::test(start_paused = true)]
async fn sup_start_ignore_init() {
    let bench = Bench::new();
    let spec = bench.spec().child("a", bench.probe("a"));
    let error = bench.supervise(spec.clone().only_if(|| false)).await.unwrap_err();
    assert_eq!(error, SuperviseError::Ignored);
    let needed = Arc::new(AtomicBool::new(false));
    let asked = needed.clone();
    let below = spec.intensity(0, secs(5)).only_if(move || asked.load(Ordering::Relaxed));
    let top = bench.spec().supervisor("s", below.clone()).supervisor("t", below.temporary());
    let tree = bench.supervise(top).await.unwrap();
    let kept = |state| vec![("s".to_owned(), state)];
    assert_eq!(states(&tree).await, kept(ChildState::Stopped));
    assert!(bench.log.take().is_empty(), "nothing of it was started");
    assert_eq!(tree.restart("s").await, Err(TreeError::Ignored("s".into())));
    needed.store(true, Ordering::Relaxed);
    tree.restart("s").await.unwrap();
    assert_eq!(get(&tree, "s/a").await.0, 1);
    // It is asked again before a restart.
    needed.store(false, Ordering::Relaxed);
    child(&tree, "s/a").cast(ProbeMsg::Fail).unwrap();
    until(async || states(&tree).await == kept(ChildState::Stopped)).await;
    assert_eq!(stop(&tree).await, Exit::Shutdown);
}

#[tokio::test(start_paused = true)]
async fn sup_start_ignore_child() {
    let bench = Bench::new();
    let ignores = || bench.beginning("i", |_| Begin::Ignore);
    let spec = bench.spec().child("a", ignores()).child("b", ignores().transient());
    let tree = bench.supervise(spec.child("c", bench.probe("c"))).await.unwrap();
    // Added later it is kept as well.
    assert_eq!(tree.spawn("d", ignores()).await.unwrap_err(), TreeError::Ignored("d".into()));
    let [stopped, runs] = [ChildState::Stopped, ChildState::Running];
    let kept = [("a", stopped), ("b", stopped), ("c", runs), ("d", stopped)];
    assert_eq!(states(&tree).await, kept.map(|(id, state)| (id.to_owned(), state)));
    assert_eq!(counts(&tree).await, [4, 1, 0, 4]);
    assert_eq!(tree.restart("a").await, Err(TreeError::Ignored("a".into())));
    tree.delete("a").await.unwrap();
    assert_eq!(stop(&tree).await, Exit::Shutdown);
}

#[tokio::test(start_paused = true)]
async fn sup_start_ignore_temporary_child() {
    let bench = Bench::new();
    let ignores = bench.beginning("a", |_| Begin::Ignore).temporary();
    let spec = bench.spec().child("a", ignores).child("b", bench.probe("b").temporary());
    let tree = bench.supervise(spec).await.unwrap();
    assert_eq!(states(&tree).await, [("b".into(), ChildState::Running)]);
    assert_eq!(counts(&tree).await, [1, 1, 0, 1]);
    tree.stop(secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn sup_start_ignore_temporary_child_start_child() {
    let bench = Bench::new();
    let tree = bench.supervise(bench.spec()).await.unwrap();
    let ignores = bench.beginning("a", |_| Begin::Ignore).temporary();
    assert_eq!(tree.spawn("a", ignores).await.unwrap_err(), TreeError::Ignored("a".into()));
    tree.spawn("b", bench.probe("b").temporary()).await.unwrap();
    assert_eq!(states(&tree).await, [("b".into(), ChildState::Running)]);
    assert_eq!(counts(&tree).await, [1, 1, 0, 1]);
    tree.stop(secs(60)).await;
}

async fn dynamic(bench: &Bench, restart: Restart) -> Tree {
    let spec = Supervisor::dynamic(move |part: Part| Probe::spec(part).restart(restart));
    bench.supervise(bench.hooked(spec)).await.unwrap()
}

async fn refused(bench: &Bench, tree: &Tree, begin: Begin) -> TreeError {
    let part = Part { begin: Arc::new(move |_| begin), ..bench.part("a") };
    tree.start_child::<Probe>(part).await.unwrap_err()
}

async fn ignore_simple(restart: Restart) {
    let bench = Bench::new();
    let tree = dynamic(&bench, restart).await;
    assert!(matches!(refused(&bench, &tree, Begin::Ignore).await, TreeError::Ignored(_)));
    assert_eq!(counts(&tree).await, [1, 0, 0, 0]);
    tree.start_child::<Probe>(bench.part("b")).await.unwrap();
    assert_eq!(counts(&tree).await, [1, 1, 0, 1]);
    assert_eq!(stop(&tree).await, Exit::Shutdown);
}

// DY-1
#[tokio::test(start_paused = true)]
async fn sup_start_ignore_temporary_child_start_child_simple() {
    ignore_simple(Restart::Temporary).await;
}

// DY-1
#[tokio::test(start_paused = true)]
async fn sup_start_ignore_permanent_child_start_child_simple() {
    ignore_simple(Restart::Permanent).await;
}

// OTP's `init` crashes; ours is where a supervisor says whether it is needed.
#[tokio::test(start_paused = true)]
async fn sup_start_fail() {
    let bench = Bench::new();
    let faulty = || bench.spec().child("a", bench.probe("a")).only_if(|| panic!("no such flag"));
    let panicked = SpawnError::Start(Exit::Panicked("no such flag".into()));
    let error = bench.supervise(faulty()).await.unwrap_err();
    assert_eq!(error, SuperviseError::Spawn(panicked.clone()));
    let error = bench.supervise(bench.spec().supervisor("s", faulty())).await.unwrap_err();
    assert_eq!(error, SuperviseError::FailedToStartChild { id: "s".into(), reason: panicked });
    assert!(bench.log.take().is_empty());
}

// S-2
#[tokio::test(start_paused = true)]
async fn sup_start_child_returns_error() {
    let bench = Bench::new();
    let spec = bench.spec().child("a", bench.probe("a")).child("b", bench.probe("b"));
    let spec = spec.child("c", bench.beginning("c", |_| Begin::Fail)).child("d", bench.probe("d"));
    let error = bench.supervise(spec).await.unwrap_err();
    let SuperviseError::FailedToStartChild { id, reason } = error else { panic!("{error}") };
    assert_eq!(id, "c");
    assert!(matches!(reason, SpawnError::Start(Exit::InitFailed(_))), "{reason}");
    let starts = ["a begins", "a up", "b begins", "b up", "c begins"];
    let stops = ["b stopped", "b gone", "a stopped", "a gone"];
    assert_eq!(bench.log.take(), [&starts[..], &stops[..]].concat());
}

#[tokio::test(start_paused = true)]
async fn sup_start_restart_child_returns_error() {
    let mut bench = Bench::new();
    let begin = |epoch| if (2..5).contains(&epoch) { Begin::Fail } else { Begin::Up };
    let spec = bench.spec().intensity(4, secs(5)).child("a", bench.beginning("a", begin));
    let tree = bench.supervise(spec).await.unwrap();
    assert_eq!(bench.started("a").await, 1);
    // The end and three failed starts count.
    child(&tree, "a").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(bench.started("a").await, 5);
    child(&tree, "a").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(tree.wait().await, Exit::MaxIntensity);
}

// DY-1
#[tokio::test(start_paused = true)]
async fn sup_start_child_returns_error_simple() {
    for restart in [Restart::Permanent, Restart::Temporary] {
        let bench = Bench::new();
        let tree = dynamic(&bench, restart).await;
        let error = refused(&bench, &tree, Begin::Fail).await;
        assert!(matches!(error, TreeError::Start(SpawnError::Start(_))), "{error}");
        assert_eq!(counts(&tree).await, [1, 0, 0, 0]);
        tree.stop(secs(60)).await;
    }
}

// For us nobody but its supervisor starts a child. What may be there already is an actor with the
// name that the child takes in its `start`: the start fails and says so, and the other is left alone.
#[tokio::test(start_paused = true)]
async fn already_started_outside_supervisor() {
    let bench = Bench::new();
    let outside = bench.engine.spawn(bench.probe("outside")).await.unwrap();
    bench.engine.register("desk", &outside).unwrap();
    let desk = || bench.beginning("a", |_| Begin::Named("desk"));
    let error = bench.supervise(bench.spec().child("a", desk())).await.unwrap_err();
    assert!(error.to_string().ends_with(r#"the name "desk" is taken"#), "{error}");
    let tree = bench.supervise(bench.spec()).await.unwrap();
    let error = tree.spawn("a", desk()).await.unwrap_err();
    assert!(error.to_string().ends_with(r#"the name "desk" is taken"#), "{error}");
    assert_eq!(counts(&tree).await, [0, 0, 0, 0]);
    // The same for a supervisor with a name.
    let named = bench.spec().named("desk");
    let error = bench.supervise(named).await.unwrap_err();
    assert_eq!(error, SuperviseError::Name(NameError::Taken("desk".into())));
    assert_eq!(outside.call(ProbeMsg::Get).await.unwrap().0, 1);
    outside.stop();
    until(async || bench.engine.lookup::<ProbeMsg>("desk").is_err()).await;
    tree.spawn("a", desk()).await.unwrap();
    tree.stop(secs(60)).await;
}

// An application is a tree: one that cannot start says what went wrong at the bottom, through all
// levels, and leaves nothing behind.
#[tokio::test(start_paused = true)]
async fn faulty_application_shutdown() {
    let bench = Bench::new();
    let faulty = bench.spec().child("b", bench.probe("b"));
    let faulty = faulty.child("server", bench.beginning("server", |_| Begin::Panic));
    let names = |_| Begin::Named("application");
    let spec = bench.spec().named("top").child("a", bench.beginning("a", names));
    let error = bench.supervise(spec.supervisor("inner", faulty)).await.unwrap_err();
    let SuperviseError::FailedToStartChild { id, .. } = &error else { panic!("{error}") };
    assert_eq!(id, "inner");
    let text = error.to_string();
    assert!(text.contains(r#"the child "server""#) && text.contains("told to panic"), "{text}");
    let stops = ["b stopped", "b gone", "a stopped", "a gone"];
    assert!(bench.log.take().ends_with(&stops.map(String::from)));
    let gone = NameError::Unknown("application".into());
    assert_eq!(bench.engine.lookup::<ProbeMsg>("application").unwrap_err(), gone);
    assert!(matches!(Tree::named(&bench.engine, "top").await, Err(NameError::Unknown(_))));
}
