//! Children and links.

use std::time::Duration;

use mobula_actors::spawner::{IntoSeed, Order, Request, Spawner};
use mobula_actors::{Actor, ActorRef, Context, Engine, Exit, Fault, Reply, SpawnError, Spec};
use tokio::sync::{mpsc, oneshot};

use crate::fake_net::nodes;
use crate::puppet::{Ear, Event, Msg, Puppet, Script, busy, down, engine, next, puppet, soon};

/// Starts children when asked.
struct Parent;

enum Family {
    Have(Box<Spec<Puppet>>, Reply<Result<ActorRef<Msg>, SpawnError>>),
    Link(ActorRef<Msg>, Reply<()>),
    Trap(Reply<()>),
    Fail,
    End,
    Wait(oneshot::Sender<()>),
}

impl Actor for Parent {
    type Args = ();
    type Msg = Family;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self)
    }

    async fn handle(&mut self, msg: Family, ctx: &mut Context<Self>) -> Result<(), Fault> {
        match msg {
            Family::Have(spec, reply) => reply.send(ctx.spawn(*spec).await),
            Family::Link(other, reply) => {
                ctx.link(&other);
                ctx.link(&other);
                reply.send(());
            }
            Family::Trap(reply) => {
                ctx.trap_exits();
                reply.send(());
            }
            Family::Fail => return Err(Fault::new("told to fail")),
            Family::End => ctx.stop(),
            Family::Wait(begun) => {
                let _ = begun.send(());
                std::future::pending::<()>().await;
            }
        }
        Ok(())
    }
}

async fn parent(engine: &Engine) -> ActorRef<Family> {
    engine.spawn(Parent::spec(())).await.unwrap()
}

async fn child(parent: &ActorRef<Family>, script: &Script) -> ActorRef<Msg> {
    let spec = Box::new(Puppet::spec(script.clone()));
    parent.call(|reply| Family::Have(spec, reply)).await.unwrap().unwrap()
}

async fn link(parent: &ActorRef<Family>, other: &ActorRef<Msg>) {
    parent.call(|reply| Family::Link(other.clone(), reply)).await.unwrap();
}

/// Hears of the ends of all, in order.
fn ends(of: &[(&'static str, &dyn Fn(mobula_actors::carrier::OnDown))]) -> Ends {
    let (told, heard) = mpsc::unbounded_channel();
    for (name, watch) in of {
        let (told, name) = (told.clone(), *name);
        watch(Box::new(move |down| {
            let _ = told.send((name, down.exit));
        }));
    }
    heard
}

type Ends = mpsc::UnboundedReceiver<(&'static str, Exit)>;

// Y-1
#[tokio::test]
async fn children_end_before_their_parent_the_youngest_first() {
    for cause in [|| Family::End, || Family::Fail] {
        let engine = engine();
        let parent = parent(&engine).await;
        let (script, _events) = Script::new();
        let (first, second) = (child(&parent, &script).await, child(&parent, &script).await);
        assert_eq!(engine.inspect(&second).unwrap().parent, Some(parent.id()));
        let mut heard = ends(&[
            ("parent", &|told| parent.on_down(told)),
            ("first", &|told| first.on_down(told)),
            ("second", &|told| second.on_down(told)),
        ]);
        parent.cast(cause()).unwrap();
        assert_eq!(next(&mut heard).await, ("second", Exit::Shutdown));
        assert_eq!(next(&mut heard).await, ("first", Exit::Shutdown));
        assert_eq!(next(&mut heard).await.0, "parent");
    }
}

// Y-1
#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_stop_in_time_is_killed() {
    let engine = engine();
    let parent = parent(&engine).await;
    let (script, _events) = Script::new();
    let spec = Box::new(Puppet::spec(script).shutdown(Duration::from_millis(50)));
    let child = parent.call(|reply| Family::Have(spec, reply)).await.unwrap().unwrap();
    let _never_over = busy(&child).await;
    let (mut child_ends, mut parent_ends) = (down(&child), down(&parent));
    parent.kill();
    assert_eq!(next(&mut child_ends).await.exit, Exit::Killed);
    assert_eq!(next(&mut parent_ends).await.exit, Exit::Killed);
}

#[tokio::test]
async fn the_end_of_a_child_is_nothing_to_its_parent() {
    let engine = engine();
    let parent = parent(&engine).await;
    let (script, _events) = Script::new();
    let first = child(&parent, &script).await;
    let mut downs = down(&first);
    first.cast(Msg::act(|_, _| panic!("child"))).unwrap();
    next(&mut downs).await;
    child(&parent, &script).await.cast(Msg::Note(1)).unwrap();
}

#[tokio::test]
async fn a_child_that_does_not_start_is_told_to_its_parent() {
    let parent = parent(&engine()).await;
    let (script, _events) = Script::new();
    let script = script.opening(|_| Err(Fault::new("no bed")));
    let spec = Box::new(Puppet::spec(script));
    let refused = parent.call(|reply| Family::Have(spec, reply)).await.unwrap();
    assert_eq!(refused.unwrap_err(), SpawnError::Start(Exit::InitFailed(Fault::new("no bed"))));
}

// Y-2
#[tokio::test]
async fn of_two_linked_actors_each_ends_with_the_other() {
    let engine = engine();
    for linked_ends_first in [true, false] {
        let parent = parent(&engine).await;
        let (other, _events) = puppet(&engine, 4).await;
        link(&parent, &other).await;
        let (mut parent_ends, mut other_ends) = (down(&parent), down(&other));
        let exit = match linked_ends_first {
            true => {
                other.cast(Msg::act(|_, _| panic!("apart"))).unwrap();
                Exit::Panicked("apart".into())
            }
            false => {
                parent.cast(Family::Fail).unwrap();
                Exit::Failed(Fault::new("told to fail"))
            }
        };
        assert_eq!(next(&mut parent_ends).await.exit, exit);
        assert_eq!(next(&mut other_ends).await.exit, exit);
    }
}

#[tokio::test]
async fn a_link_ends_even_an_actor_whose_handler_waits() {
    let engine = engine();
    let parent = parent(&engine).await;
    let (other, _events) = puppet(&engine, 4).await;
    link(&parent, &other).await;
    let (begun, has_begun) = oneshot::channel();
    parent.cast(Family::Wait(begun)).unwrap();
    soon(has_begun).await.unwrap();
    let mut ends = down(&parent);
    other.stop();
    assert_eq!(next(&mut ends).await.exit, Exit::Shutdown);
}

#[tokio::test]
async fn a_normal_end_is_not_shared() {
    let engine = engine();
    let parent = parent(&engine).await;
    let (other, mut events) = puppet(&engine, 4).await;
    link(&parent, &other).await;
    let mut ends = down(&parent);
    parent.cast(Family::End).unwrap();
    assert_eq!(next(&mut ends).await.exit, Exit::Normal);
    other.cast(Msg::Note(1)).unwrap();
    assert_eq!(next(&mut events).await, Event::Note(1));
}

#[tokio::test]
async fn a_link_to_an_actor_that_has_ended_ends_at_once() {
    let engine = engine();
    let (other, _events) = puppet(&engine, 4).await;
    let mut downs = down(&other);
    other.stop();
    next(&mut downs).await;
    let parent = parent(&engine).await;
    let mut ends = down(&parent);
    // The answer and the end race; the end is what counts.
    let _ = parent.call(|reply| Family::Link(other, reply)).await;
    assert_eq!(next(&mut ends).await.exit, Exit::NoProc);
}

#[tokio::test]
async fn who_traps_exits_outlives_its_links() {
    let engine = engine();
    let parent = parent(&engine).await;
    let (other, _events) = puppet(&engine, 4).await;
    parent.call(Family::Trap).await.unwrap();
    link(&parent, &other).await;
    let mut ends = down(&other);
    other.kill();
    next(&mut ends).await;
    parent.call(Family::Trap).await.unwrap();
}

// Y-2, K-5
#[tokio::test]
async fn a_link_reaches_no_later_run() {
    let engine = engine();
    let (script, _events) = Script::new();
    let (seed, settings) = Puppet::spec(script).into_seed();
    let (ear, mut heard) = Ear::new();
    let order = Order { id: Spawner::next_id(&engine), watch: Some(ear), ..Order::new(&settings) };
    let mut request = Request { seed, settings, order, previous: None, avoid: Vec::new() };
    let first = Spawner::start(&engine, request.clone()).await.unwrap();
    let target = *first.reference.unwrap().downcast::<ActorRef<Msg>>().unwrap();
    let parent = parent(&engine).await;
    link(&parent, &target).await;
    target
        .cast(Msg::act(|_, ctx| {
            ctx.stop();
            Ok(())
        }))
        .unwrap();
    next(&mut heard).await;
    request.previous = Some(first.child);
    request.order.epoch = request.order.epoch.next();
    Spawner::start(&engine, request).await.unwrap();
    let mut ends = down(&parent);
    parent.kill();
    next(&mut ends).await;
    assert_eq!(target.call(Msg::Ask).await, Ok(0));
    assert!(heard.try_recv().is_err(), "the second run has not ended");
}

// Y-2
#[tokio::test]
async fn a_link_joins_actors_of_two_nodes() {
    use serde::{Deserialize, Serialize};
    #[derive(Serialize, Deserialize)]
    enum Far {}
    mobula_actors::protocol!(Far = "test.linked/1");
    struct There;
    impl Actor for There {
        type Args = ();
        type Msg = Far;
        async fn start((): (), _: &mut Context<Self>) -> Result<Self, Fault> {
            Ok(Self)
        }
        async fn handle(&mut self, msg: Far, _: &mut Context<Self>) -> Result<(), Fault> {
            match msg {}
        }
    }
    struct Bound;
    impl Actor for Bound {
        type Args = ActorRef<Far>;
        type Msg = ();
        async fn start(other: Self::Args, ctx: &mut Context<Self>) -> Result<Self, Fault> {
            ctx.link(&other);
            Ok(Self)
        }
        async fn handle(&mut self, (): (), _: &mut Context<Self>) -> Result<(), Fault> {
            Err(Fault::new("asked"))
        }
    }
    let [here, there] = nodes();
    for far_ends_first in [true, false] {
        let far = there.carrier().engine().spawn(There::spec(())).await.unwrap();
        let seen = here.refer(&there, &far);
        let near = here.carrier().engine().spawn(Bound::spec(seen)).await.unwrap();
        let (mut near_ends, mut far_ends) = (down(&near), down(&far));
        match far_ends_first {
            true => far.kill(),
            false => near.cast(()).unwrap(),
        }
        assert_eq!(next(&mut near_ends).await.exit, next(&mut far_ends).await.exit);
    }
}
