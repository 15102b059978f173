//! Children that come and go.

use mobula_actors::{Exit, Restart, SpawnError};
use mobula_supervision::{AutoShutdown, SpecError, Supervisor, SupervisorSpec, Tree, TreeError};
use tokio::time::Instant;

use crate::probe::{Begin, Bench, Finish, Part, Probe, ProbeMsg, secs};
use mobula_actors::Actor;

/// Children of this type, which finish as their part says.
fn dynamic(restart: Restart) -> SupervisorSpec {
    let spec = Supervisor::dynamic(move |part: Part| Probe::spec(part).restart(restart));
    spec.intensity(2, secs(5))
}

async fn supervise(bench: &Bench, restart: Restart) -> Tree {
    let tree = bench.supervise(bench.hooked(dynamic(restart))).await.unwrap();
    bench.log.take();
    tree
}

// simple_one_for_one_scale_many_temporary_children, scale_start_stop_many_children DY-1
#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_many_temporary_children() {
    let bench = Bench::new();
    let once = Supervisor::dynamic(|part: Part| Probe::spec(part).temporary());
    let tree = bench.supervise(once).await.unwrap();
    for _ in 0..10_000 {
        let child = tree.start_child::<Probe>(bench.part("a")).await.unwrap();
        child.cast(ProbeMsg::End(Exit::Normal)).unwrap();
    }
    while tree.count().await.active > 0 {
        tokio::task::yield_now().await;
    }
    assert!(tree.children().await.is_empty());
    assert!(tree.print().await.is_empty());
    // Each part held one more count of the log; all are gone with their runs.
    bench.log.take();
    assert_eq!(bench.log.holders(), 1);
    tree.stop(secs(60)).await;
}

// sup_stop_timeout_dynamic, simple_one_for_one_shutdown DY-2
#[tokio::test(start_paused = true)]
async fn dynamic_children_stop_together_under_one_timer() {
    let mut bench = Bench::new();
    let tree = supervise(&bench, Restart::Permanent).await;
    let finishes = [Finish::Slow(secs(3)), Finish::Hang, Finish::Slow(secs(3)), Finish::Orderly];
    for (number, finish) in finishes.into_iter().enumerate() {
        let part = Part { finish, ..bench.part(&number.to_string()) };
        tree.start_child::<Probe>(part).await.unwrap();
    }
    bench.log.take();
    let begun = Instant::now();
    tree.stop(secs(60)).await;
    assert_eq!(begun.elapsed().as_secs(), 5);
    let mut exits = Vec::new();
    for _ in 0..4 {
        exits.push(bench.any_end().await);
    }
    assert_eq!(exits, [Exit::Shutdown, Exit::Shutdown, Exit::Shutdown, Exit::Killed]);
    let stopped = bench.log.take().into_iter().filter(|line| line.ends_with("stopped")).count();
    assert_eq!(stopped, 3);
}

// sup_stop_brutal_kill_dynamic DY-2
#[tokio::test(start_paused = true)]
async fn brutal_dynamic_children_are_killed_at_once() {
    let mut bench = Bench::new();
    let spec = Supervisor::dynamic(|part: Part| Probe::spec(part).shutdown_brutal());
    let tree = bench.supervise(bench.hooked(spec)).await.unwrap();
    for name in ["a", "b"] {
        tree.start_child::<Probe>(bench.part(name)).await.unwrap();
    }
    bench.log.take();
    let begun = Instant::now();
    tree.stop(secs(60)).await;
    assert!(begun.elapsed() < secs(1));
    assert_eq!((bench.any_end().await, bench.any_end().await), (Exit::Killed, Exit::Killed));
    let mut log = bench.log.take();
    log.sort();
    assert_eq!(log, ["a gone", "b gone"]);
}

// sup_stop_non_shutdown_exit_dynamic
#[tokio::test(start_paused = true)]
async fn a_dynamic_child_that_ends_otherwise_while_it_is_stopped_changes_nothing() {
    let bench = Bench::new();
    let tree = supervise(&bench, Restart::Permanent).await;
    let child = tree.start_child::<Probe>(bench.part("a")).await.unwrap();
    let other = tree.start_child::<Probe>(bench.part("b")).await.unwrap();
    child.cast(ProbeMsg::Panic).unwrap();
    tree.stop(secs(60)).await;
    assert!(other.cast(ProbeMsg::Save).is_err());
}

// simple_one_for_one
#[tokio::test(start_paused = true)]
async fn a_dynamic_child_is_started_again_with_its_own_arguments() {
    let bench = Bench::new();
    let tree = supervise(&bench, Restart::Permanent).await;
    let a = tree.start_child::<Probe>(bench.part("a")).await.unwrap();
    let b = tree.start_child::<Probe>(bench.part("b")).await.unwrap();
    a.cast(ProbeMsg::Fail).unwrap();
    assert_eq!(a.call(ProbeMsg::Get).await.unwrap().0, 2);
    assert_eq!(b.call(ProbeMsg::Get).await.unwrap().0, 1);
    let log = bench.log.take();
    assert_eq!(log[4..], ["a gone", "a begins", "a up"]);
    tree.stop(secs(60)).await;
}

// simple_one_for_one_escalation
#[tokio::test(start_paused = true)]
async fn dynamic_children_that_end_too_often_end_the_tree() {
    let bench = Bench::new();
    let tree = supervise(&bench, Restart::Permanent).await;
    let a = tree.start_child::<Probe>(bench.part("a")).await.unwrap();
    let b = tree.start_child::<Probe>(bench.part("b")).await.unwrap();
    for _ in 0..3 {
        a.cast(ProbeMsg::Fail).unwrap();
    }
    assert_eq!(tree.wait().await, Exit::MaxIntensity);
    assert!(b.cast(ProbeMsg::Save).is_err());
    assert!(bench.log.take().ends_with(&["b stopped".into(), "b gone".into()]));
}

// child_adm_simple, which_children_simple_one_for_one
#[tokio::test(start_paused = true)]
async fn a_dynamic_supervisor_is_asked_by_reference_and_not_by_id() {
    let bench = Bench::new();
    let tree = supervise(&bench, Restart::Permanent).await;
    assert_eq!(tree.spawn("a", bench.probe("a")).await.unwrap_err(), TreeError::Dynamic);
    let (end, again) = (tree.terminate("a").await, tree.restart("a").await);
    assert_eq!((end, again), (Err(TreeError::Dynamic), Err(TreeError::Dynamic)));
    assert_eq!(tree.delete("a").await, Err(TreeError::Dynamic));
    let a = tree.start_child::<Probe>(bench.part("a")).await.unwrap();
    let infos = tree.children().await;
    assert_eq!((infos[0].actor, infos[0].id.as_str()), (a.id(), &*a.id().to_string()));
    let counts = tree.count().await;
    assert_eq!((counts.specs, counts.active, counts.workers), (1, 1, 1));
    tree.end_child(&a).await.unwrap();
    assert_eq!(bench.log.take().last().unwrap(), "a gone");
    assert_eq!(tree.end_child(&a).await, Err(TreeError::Unknown(a.id().to_string())));
    tree.stop(secs(60)).await;
    let plain = bench.supervise(bench.spec()).await.unwrap();
    let refused = plain.start_child::<Probe>(bench.part("a")).await.unwrap_err();
    assert_eq!(refused, TreeError::NoTemplate);
    assert_eq!(plain.end_child(&a).await, Err(TreeError::NoTemplate));
}

// sup_start_child_returns_error_simple, sup_start_ignore_temporary_child_start_child_simple,
// sup_start_ignore_permanent_child_start_child_simple DY-1
#[tokio::test(start_paused = true)]
async fn a_dynamic_child_that_does_not_start_is_not_kept() {
    let bench = Bench::new();
    for restart in [Restart::Permanent, Restart::Temporary] {
        let tree = supervise(&bench, restart).await;
        for begin in [Begin::Fail, Begin::Ignore] {
            let part = Part { begin: std::sync::Arc::new(move |_| begin), ..bench.part("a") };
            let error = tree.start_child::<Probe>(part).await.unwrap_err();
            match begin {
                Begin::Ignore => assert!(matches!(error, TreeError::Ignored(_)), "{error}"),
                _ => assert!(matches!(error, TreeError::Start(SpawnError::Start(_))), "{error}"),
            }
            assert!(tree.children().await.is_empty());
        }
        tree.stop(secs(60)).await;
    }
}

// simple_one_for_one_restart_ignore DY-1
#[tokio::test(start_paused = true)]
async fn a_dynamic_child_that_is_not_needed_at_its_restart_is_not_kept() {
    let bench = Bench::new();
    let tree = supervise(&bench, Restart::Permanent).await;
    let begin = |epoch| if epoch == 1 { Begin::Up } else { Begin::Ignore };
    let part = Part { begin: std::sync::Arc::new(begin), ..bench.part("a") };
    let a = tree.start_child::<Probe>(part).await.unwrap();
    a.cast(ProbeMsg::Fail).unwrap();
    while tree.count().await.workers > 0 {
        tokio::task::yield_now().await;
    }
    tree.stop(secs(60)).await;
}

// hanging_restart_loop_simple SV-1
#[tokio::test(start_paused = true)]
async fn a_dynamic_child_whose_restart_hangs_can_be_ended() {
    let mut bench = Bench::new();
    let spec = Supervisor::dynamic(|part: Part| Probe::spec(part).start_within(secs(3_600)));
    let tree = bench.supervise(bench.hooked(spec)).await.unwrap();
    let begin = |epoch| if epoch == 1 { Begin::Up } else { Begin::Hang };
    let part = || Part { begin: std::sync::Arc::new(begin), ..bench.part("a") };
    let (part, again) = (part(), part());
    let a = tree.start_child::<Probe>(part).await.unwrap();
    a.cast(ProbeMsg::Fail).unwrap();
    bench.any_end().await;
    assert_eq!(tree.count().await.active, 0);
    tree.end_child(&a).await.unwrap();
    let again = tree.start_child::<Probe>(again).await.unwrap();
    again.cast(ProbeMsg::Fail).unwrap();
    let begun = Instant::now();
    tree.stop(secs(60)).await;
    assert!(begun.elapsed() < secs(1));
}

// sup_start_map_simple, significant_simple
#[tokio::test]
async fn a_dynamic_spec_that_contradicts_itself_is_refused() {
    let bench = Bench::new();
    let with_child = dynamic(Restart::Permanent).child("a", bench.probe("a"));
    let bare = Supervisor::spec(mobula_supervision::Strategy::Dynamic);
    let table = [
        (with_child, SpecError::DynamicChild("a".into())),
        (
            dynamic(Restart::Temporary).auto_shutdown(AutoShutdown::AnySignificant),
            SpecError::DynamicAutoShutdown,
        ),
        (bare, SpecError::NoTemplate),
    ];
    for (spec, why) in table {
        assert_eq!(bench.supervise(spec).await.unwrap_err(), why.into());
    }
    let spec = Supervisor::dynamic(|part: Part| Probe::spec(part).temporary().significant());
    let tree = bench.supervise(spec).await.unwrap();
    let error = tree.start_child::<Probe>(bench.part("a")).await.unwrap_err();
    assert!(matches!(error, TreeError::Spec(SpecError::SignificantForNothing(_))), "{error}");
}
