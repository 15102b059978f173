//! What is out of the ordinary about trees has a defined outcome. Specs that contradict themselves
//! stand in `conformance::specs`; what concerns single actors stands with the actors' tests.

use mobula_actors::{Actor, Exit, Fault, SpawnError, Why};
use mobula_supervision::{SpecError, SuperviseError, Supervisor, SupervisorSpec, TreeError};

use crate::probe::{Begin, Bench, Finish, ProbeMsg, child, get, secs, stop};

#[tokio::test(start_paused = true)]
async fn an_engine_that_stops_ends_its_trees_and_starts_neither_trees_nor_children() {
    let bench = Bench::new();
    let tree = bench.supervise(bench.spec().child("a", bench.probe("a"))).await.unwrap();
    let a = child(&tree, "a");
    bench.engine.stop();
    assert_eq!(tree.wait().await, Exit::Shutdown);
    assert_eq!(a.cast(ProbeMsg::Save).unwrap_err().why, Why::Stopped);
    let error = tree.spawn("b", bench.probe("b")).await.unwrap_err();
    assert_eq!(error, TreeError::Stopped);
    let spec = bench.spec().child("a", bench.probe("a"));
    let error = bench.supervise(spec).await.unwrap_err();
    assert_eq!(error, SuperviseError::Spawn(SpawnError::Stopping));
}

// Legal: the first restart trips it. RI-2
#[tokio::test(start_paused = true)]
async fn an_intensity_of_zero_gives_up_at_the_first_restart() {
    for exit in [Exit::Normal, Exit::Killed] {
        let bench = Bench::new();
        let spec = bench.spec().intensity(0, secs(5)).child("a", bench.probe("a"));
        let tree = bench.supervise(spec).await.unwrap();
        let a = child(&tree, "a");
        match exit {
            Exit::Killed => a.kill(),
            other => a.cast(ProbeMsg::End(other)).unwrap(),
        }
        assert_eq!(tree.wait().await, Exit::MaxIntensity);
        assert_eq!(a.cast(ProbeMsg::Save).unwrap_err().why, Why::Stopped);
    }
}

// A spec owns what is below it, so one that is put into itself is another supervisor.
#[tokio::test(start_paused = true)]
async fn a_supervisor_in_its_own_subtree_is_another_one_of_the_same_spec() {
    let bench = Bench::new();
    let spec = bench.spec().child("a", bench.probe("a"));
    let tree = bench.supervise(spec.clone().supervisor("self", spec.clone())).await.unwrap();
    let (outer, inner) = (child(&tree, "a"), child(&tree, "self/a"));
    assert_ne!(outer.id(), inner.id());
    let again = tree.below("self").unwrap().spawn_supervisor("self", spec).await.unwrap();
    assert_eq!(get(&again, "a").await.0, 1);
    assert_eq!(stop(&tree).await, Exit::Shutdown);
}

// Each level is walked through by recursion, so there is a bound.
#[tokio::test(start_paused = true)]
async fn a_tree_of_too_many_levels_is_refused_before_anything_starts() {
    let bench = Bench::new();
    let nest = |levels: usize| {
        let bottom = bench.spec().child("a", bench.probe("a"));
        (1..levels).fold(bottom, |below: SupervisorSpec, _| bench.spec().supervisor("s", below))
    };
    let tree = bench.supervise(nest(64)).await.unwrap();
    assert_eq!(get(&tree, &format!("{}a", "s/".repeat(63))).await.0, 1);
    assert_eq!(tree.print().await.lines().count(), 65);
    tree.stop(secs(60)).await;
    bench.log.take();
    for levels in [65, 100_000] {
        let error = bench.supervise(nest(levels)).await.unwrap_err();
        assert_eq!(error, SpecError::TooDeep { id: "s".into(), max: 64 }.into());
    }
    let tree = bench.supervise(bench.spec()).await.unwrap();
    let error = tree.spawn_supervisor("t", nest(65)).await.unwrap_err();
    assert_eq!(error, SpecError::TooDeep { id: "s".into(), max: 64 }.into());
    assert!(bench.log.take().is_empty());
    tree.stop(secs(60)).await;
}

// Nobody waits for ever: the child is killed when its time is over.
#[tokio::test(start_paused = true)]
async fn a_child_that_stops_its_own_tree_and_waits_for_it_is_killed_in_its_time() {
    struct Suicidal;
    impl Actor for Suicidal {
        type Args = ();
        type Msg = mobula_supervision::Tree;
        async fn start((): (), _: &mut mobula_actors::Context<Self>) -> Result<Self, Fault> {
            Ok(Self)
        }
        async fn handle(
            &mut self,
            tree: Self::Msg,
            _: &mut mobula_actors::Context<Self>,
        ) -> Result<(), Fault> {
            tree.terminate("suicidal").await?;
            tree.stop(secs(3_600)).await;
            Ok(())
        }
    }
    let mut bench = Bench::new();
    let tree = bench.supervise(bench.spec().child("suicidal", Suicidal::spec(()))).await.unwrap();
    let suicidal = tree.child::<mobula_supervision::Tree>("suicidal").unwrap();
    let begun = tokio::time::Instant::now();
    suicidal.cast(tree.clone()).unwrap();
    assert_eq!(bench.ended("suicidal").await, Exit::Killed);
    assert_eq!(begun.elapsed().as_secs(), 5);
    assert_eq!(stop(&tree).await, Exit::Shutdown);
}

// It is kept for the run that comes of the start; if none does it goes, and is no fault.
#[tokio::test(start_paused = true)]
async fn a_panic_in_a_start_a_stop_or_a_template_costs_one_child() {
    let mut bench = Bench::new();
    let begin = |epoch| if epoch == 2 { Begin::Panic } else { Begin::Up };
    let spec = bench.spec().child("a", bench.beginning("a", begin)).child("b", bench.probe("b"));
    let tree = bench.supervise(spec).await.unwrap();
    child(&tree, "a").cast(ProbeMsg::Panic).unwrap();
    assert_eq!(child(&tree, "a").call(ProbeMsg::Get).await.unwrap().0, 3);
    assert_eq!(get(&tree, "b").await.0, 1);
    let panics = bench.finishing("c", Finish::Panic).transient();
    tree.spawn("c", panics).await.unwrap();
    tree.terminate("c").await.unwrap();
    assert_eq!(bench.ended("c").await, Exit::Panicked("told to panic".into()));
    assert_eq!(tree.count().await.active, 2);
    assert_eq!(stop(&tree).await, Exit::Shutdown);
    // A template is called by whoever asks for the child.
    let faulty = Supervisor::dynamic(|(): ()| -> mobula_actors::Spec<crate::probe::Probe> {
        panic!("no such child")
    });
    let tree = bench.supervise(faulty).await.unwrap();
    let asking = tree.clone();
    let ask = tokio::spawn(async move { asking.start_child::<Never>(()).await.map(drop) });
    assert!(ask.await.unwrap_err().is_panic());
    assert_eq!(tree.count().await.active, 0);
    tree.stop(secs(60)).await;
}

/// Takes what a probe takes, and is never started.
struct Never;

impl Actor for Never {
    type Args = ();
    type Msg = ProbeMsg;
    async fn start((): (), _: &mut mobula_actors::Context<Self>) -> Result<Self, Fault> {
        Err(Fault::new("never"))
    }
    async fn handle(
        &mut self,
        _: ProbeMsg,
        _: &mut mobula_actors::Context<Self>,
    ) -> Result<(), Fault> {
        Ok(())
    }
}

// A hook is the user's code in the supervisor's task. The supervisor ends as after any panic, its
// children with it, and the one above starts it again.
#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_costs_its_supervisor_and_not_the_tree() {
    let mut bench = Bench::new();
    let panics = std::sync::Arc::new(|event: &mobula_supervision::Event| {
        if matches!(event, mobula_supervision::Event::Restarting { .. }) {
            panic!("told to panic");
        }
    });
    let below = bench.spec().child("a", bench.probe("a")).on_event(panics);
    let tree = bench.supervise(bench.spec().supervisor("s", below)).await.unwrap();
    child(&tree, "s/a").cast(ProbeMsg::Fail).unwrap();
    assert_eq!(bench.ended("s").await, Exit::Panicked("told to panic".into()));
    bench.started("s").await;
    assert_eq!(get(&tree, "s/a").await, (1, 0));
    assert_eq!(stop(&tree).await, Exit::Shutdown);
}
