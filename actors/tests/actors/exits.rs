//! How runs end: each with exactly one notice, after its state is gone.

use std::time::Duration;

use mobula_actors::{Actor, ActorRef, Down, Engine, Exit, Fault, SpawnError, Why};
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc;

use crate::puppet::{Event, Events, Msg, Puppet, Script, busy, down, engine, next, puppet, soon};

/// Asserts that `events` are followed by the state's end, and that by one notice with `exit`.
async fn ends(target: &ActorRef<Msg>, events: &mut Events, mut downs: Downs, exit: Exit) {
    let down = next(&mut downs).await;
    assert_eq!(down.exit, exit);
    assert_eq!(down.actor, target.id());
    assert!(!down.restarting);
    // K-2: what the state reported when it was dropped is there before the notice.
    let mut dropped = false;
    while let Ok(event) = events.try_recv() {
        assert!(!dropped, "{event:?} after the state was dropped");
        dropped = event == Event::Dropped;
    }
    assert!(dropped, "the state outlived the notice");
    // E-1: the one who would send another notice is gone with the first.
    assert_eq!(soon(downs.recv()).await, None);
    // K-3
    assert_eq!(target.cast(Msg::Note(1)).unwrap_err().why, Why::Stopped);
}

type Downs = mpsc::UnboundedReceiver<Down>;

/// A puppet that a deed brings to its end.
async fn ends_by(
    script: Script,
    mut events: Events,
    deed: impl FnOnce(&mut mobula_actors::Context<Puppet>) -> Result<(), Fault> + Send + 'static,
    exit: Exit,
) {
    let target = engine().spawn(Puppet::spec(script)).await.unwrap();
    let downs = down(&target);
    target.cast(Msg::act(move |_, ctx| deed(ctx))).unwrap();
    ends(&target, &mut events, downs, exit).await;
}

#[tokio::test]
async fn an_actor_that_stops_itself_ends_normally() {
    let (script, events) = Script::new();
    ends_by(
        script,
        events,
        |ctx| {
            ctx.stop();
            Ok(())
        },
        Exit::Normal,
    )
    .await;
}

#[tokio::test]
async fn an_actor_may_say_how_it_ends_and_the_first_word_counts() {
    let (script, events) = Script::new();
    ends_by(
        script,
        events,
        |ctx| {
            ctx.stop_with(Exit::ShutdownWith("moved".into()));
            ctx.stop();
            Ok(())
        },
        Exit::ShutdownWith("moved".into()),
    )
    .await;
}

#[tokio::test]
async fn a_fault_ends_the_run() {
    let (script, events) = Script::new();
    let fault = Fault::new("no disk");
    ends_by(script, events, |_| Err(Fault::new("no disk")), Exit::Failed(fault)).await;
}

//
#[tokio::test]
async fn a_panic_in_a_handler_ends_the_run() {
    let (script, events) = Script::new();
    ends_by(script, events, |_| panic!("boom"), Exit::Panicked("boom".into())).await;
}

//
#[tokio::test]
async fn a_panic_in_stop_ends_the_run() {
    let (mut script, events) = Script::new();
    script.stop = Some(std::sync::Arc::new(|_| Ok(())));
    ends_by(
        script,
        events,
        |ctx| {
            ctx.stop();
            Ok(())
        },
        Exit::Panicked("panic in stop".into()),
    )
    .await;
}

//
#[tokio::test]
async fn a_panic_in_drop_ends_the_run() {
    let (mut script, events) = Script::new();
    script.panics_in_drop = true;
    ends_by(
        script,
        events,
        |ctx| {
            ctx.stop();
            Ok(())
        },
        Exit::Panicked("panic in drop".into()),
    )
    .await;
}

//
#[tokio::test]
async fn a_panic_in_drop_after_a_panic_ends_neither_the_node_nor_hides_the_cause() {
    let (mut script, events) = Script::new();
    script.panics_in_drop = true;
    ends_by(script, events, |_| panic!("cause"), Exit::Panicked("cause".into())).await;
}

#[tokio::test]
async fn a_stop_from_outside_lets_the_actor_say_its_last_word() {
    let (target, mut events) = puppet(&engine(), 4).await;
    let downs = down(&target);
    target.stop();
    assert_eq!(next(&mut events).await, Event::Stopping(Exit::Shutdown));
    ends(&target, &mut events, downs, Exit::Shutdown).await;
}

// K-1
#[tokio::test]
async fn a_stop_overtakes_a_full_mailbox() {
    let (target, mut events) = puppet(&engine(), 2).await;
    let over = busy(&target).await;
    target.cast(Msg::Note(1)).unwrap();
    target.cast(Msg::Note(2)).unwrap();
    let downs = down(&target);
    target.stop();
    drop(over);
    assert_eq!(next(&mut events).await, Event::Stopping(Exit::Shutdown));
    ends(&target, &mut events, downs, Exit::Shutdown).await;
}

//
#[tokio::test]
async fn a_kill_ends_a_handler_that_waits_for_ever() {
    let (target, mut events) = puppet(&engine(), 4).await;
    let _never_over = busy(&target).await;
    let downs = down(&target);
    target.kill();
    ends(&target, &mut events, downs, Exit::Killed).await;
}

#[tokio::test]
async fn a_kill_ends_an_idle_actor() {
    let (target, mut events) = puppet(&engine(), 4).await;
    let downs = down(&target);
    target.kill();
    ends(&target, &mut events, downs, Exit::Killed).await;
}

// A failed start leaves nothing, and its watchers hear of it.
async fn fails_to_start(script: Script, mut events: Events, exit: Exit) {
    let (told, mut downs) = mpsc::unbounded_channel();
    let script = {
        let inner = script.opening.clone();
        script.opening(move |ctx| {
            let told = told.clone();
            ctx.me().on_down(Box::new(move |down| {
                let _ = told.send(down);
            }));
            inner.as_ref().map_or(Ok(()), |opening| opening(ctx))
        })
    };
    let refused = engine().spawn(Puppet::spec(script)).await.unwrap_err();
    assert_eq!(refused, SpawnError::Start(exit.clone()));
    assert_eq!(next(&mut downs).await.exit, exit);
    assert!(matches!(next(&mut events).await, Event::Started(..)));
}

#[tokio::test]
async fn a_fault_in_start_is_told_to_the_spawner() {
    let (script, events) = Script::new();
    let fault = Fault::new("no model");
    let script = script.opening(|_| Err(Fault::new("no model")));
    fails_to_start(script, events, Exit::InitFailed(fault)).await;
}

//
#[tokio::test]
async fn a_panic_in_start_is_told_to_the_spawner() {
    let (script, events) = Script::new();
    let script = script.opening(|_| panic!("no card"));
    fails_to_start(script, events, Exit::Panicked("no card".into())).await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_takes_too_long_is_killed() {
    let (mut script, mut events) = Script::new();
    script.waits_in_start = true;
    let (told, mut downs) = mpsc::unbounded_channel();
    let script = script.opening(move |ctx| {
        let told = told.clone();
        ctx.me().on_down(Box::new(move |down| {
            let _ = told.send(down);
        }));
        Ok(())
    });
    let spec = Puppet::spec(script).start_within(Duration::from_millis(20));
    let refused = engine().spawn(spec).await.unwrap_err();
    assert_eq!(refused, SpawnError::Deadline { timeout_ms: 20 });
    assert_eq!(next(&mut downs).await.exit, Exit::Killed);
    assert!(matches!(next(&mut events).await, Event::Started(..)));
}

#[tokio::test]
async fn an_actor_whose_spawn_is_dropped_before_it_ran_does_not_live() {
    let (script, mut events) = Script::new();
    // Nobody drives its runtime yet.
    let elsewhere = Builder::new_current_thread().enable_all().build().unwrap();
    let engine = Engine::new(1, elsewhere.handle().clone());
    {
        let mut spawning = std::pin::pin!(engine.spawn(Puppet::spec(script)));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(std::future::Future::poll(spawning.as_mut(), &mut cx).is_pending());
    }
    // The script's senders are gone once the actor is, without its having started.
    let heard = std::thread::spawn(move || elsewhere.block_on(soon(events.recv())));
    assert_eq!(heard.join().unwrap(), None);
}

#[tokio::test]
async fn an_engine_that_stops_starts_no_more() {
    let engine = engine();
    engine.stop();
    let (script, _events) = Script::new();
    assert_eq!(engine.spawn(Puppet::spec(script)).await.unwrap_err(), SpawnError::Stopping);
}

#[test]
fn an_actor_ends_with_its_runtime() {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().unwrap();
    let engine = Engine::new(1, runtime.handle().clone());
    let (target, mut events) = runtime.block_on(puppet(&engine, 4));
    let mut downs = down(&target);
    drop(runtime);
    assert_eq!(downs.try_recv().unwrap().exit, Exit::Killed);
    assert_eq!(events.try_recv(), Ok(Event::Dropped));
    assert_eq!(target.cast(Msg::Note(1)).unwrap_err().why, Why::Stopped);
    assert!(Handle::try_current().is_err());
}

// K-6
#[tokio::test]
async fn a_message_that_panics_when_it_is_dropped_keeps_nobody_from_hearing_the_end() {
    struct Grenade;
    impl Drop for Grenade {
        fn drop(&mut self) {
            panic!("a message's destructor");
        }
    }
    let (target, mut events) = puppet(&engine(), 4).await;
    let over = busy(&target).await;
    let grenade = Grenade;
    target
        .cast(Msg::act(move |_, _| {
            std::mem::forget(grenade);
            Ok(())
        }))
        .unwrap();
    let downs = down(&target);
    target.stop();
    drop(over);
    ends(&target, &mut events, downs, Exit::Shutdown).await;
}
