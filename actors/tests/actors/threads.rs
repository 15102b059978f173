//! Actors that run elsewhere than in a task, and the watchdog over those that do not.

use std::sync::mpsc as blocking;
use std::thread::{self, ThreadId};
use std::time::Duration;

use mobula_actors::{Actor, Context, Engine, Exit, Fault, Reply, Run};
use tokio::sync::mpsc;

use crate::puppet::{
    Event, Msg, Puppet, Script, busy, down, engine, next, puppet, soon, stuck_for,
};

/// Where it was polled and dropped.
struct Bound {
    seen: mpsc::UnboundedSender<ThreadId>,
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = self.seen.send(thread::current().id());
    }
}

impl Actor for Bound {
    type Args = mpsc::UnboundedSender<ThreadId>;
    type Msg = Reply<()>;
    const RUN: Run = Run::Thread;

    async fn start(seen: Self::Args, _: &mut Context<Self>) -> Result<Self, Fault> {
        let _ = seen.send(thread::current().id());
        Ok(Self { seen })
    }

    async fn handle(&mut self, reply: Reply<()>, _: &mut Context<Self>) -> Result<(), Fault> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let _ = self.seen.send(thread::current().id());
        reply.send(());
        Ok(())
    }
}

// TH-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_on_a_thread_lives_and_ends_there() {
    let (told, mut seen) = mpsc::unbounded_channel();
    let target = engine().spawn(Bound::spec(told)).await.unwrap();
    for _ in 0..20 {
        soon(target.call(|reply| reply)).await.unwrap();
    }
    let mut ends = down(&target);
    target.stop();
    assert_eq!(next(&mut ends).await.exit, Exit::Shutdown);
    let first = next(&mut seen).await;
    let mut count = 1;
    while let Some(thread) = soon(seen.recv()).await {
        assert_eq!(thread, first);
        count += 1;
    }
    assert_eq!(count, 22);
}

/// Blocks the thread it is handled on until the sender is used or dropped.
fn block(begun: mpsc::UnboundedSender<()>, over: blocking::Receiver<()>) -> Msg {
    Msg::act(move |_, _| {
        let _ = begun.send(());
        let _ = over.recv();
        Ok(())
    })
}

// TH-2
#[tokio::test]
async fn what_blocks_off_the_tasks_stalls_none() {
    for run in [Run::Thread, Run::Blocking] {
        let engine = engine();
        let (script, _script_events) = Script::new();
        let spec = match run {
            Run::Thread => Puppet::spec(script).on_thread(),
            _ => Puppet::spec(script).blocking(),
        };
        let target = engine.spawn(spec).await.unwrap();
        let ((begun, mut has_begun), (over, is_over)) =
            (mpsc::unbounded_channel(), blocking::channel());
        target.cast(block(begun, is_over)).unwrap();
        next(&mut has_begun).await;
        // This runtime has one thread, and it is free.
        let (other, mut events) = puppet(&engine, 4).await;
        other.cast(Msg::Note(1)).unwrap();
        assert_eq!(next(&mut events).await, Event::Note(1));
        target.cast(Msg::Note(5)).unwrap();
        drop(over);
        assert_eq!(soon(target.call(Msg::Ask)).await, Ok(5));
    }
}

#[tokio::test]
async fn exits_are_the_same_wherever_an_actor_runs() {
    for on_thread in [true, false] {
        for exit in [Exit::Panicked("boom".into()), Exit::Killed, Exit::Shutdown] {
            let (script, mut events) = Script::new();
            let spec = Puppet::spec(script);
            let spec = if on_thread { spec.on_thread() } else { spec.blocking() };
            let target = engine().spawn(spec).await.unwrap();
            let mut ends = down(&target);
            match &exit {
                Exit::Panicked(_) => target.cast(Msg::act(|_, _| panic!("boom"))).unwrap(),
                Exit::Killed => {
                    let over = busy(&target).await;
                    target.kill();
                    std::mem::forget(over);
                }
                _ => target.stop(),
            }
            assert_eq!(next(&mut ends).await.exit, exit);
            let mut seen = Vec::new();
            while let Some(event) = soon(events.recv()).await {
                seen.push(event);
            }
            assert_eq!(seen.last(), Some(&Event::Dropped));
        }
    }
}

// more messages than one turn has.
#[tokio::test]
async fn an_actor_off_the_tasks_handles_long_queues() {
    for on_thread in [true, false] {
        let (script, _events) = Script::new();
        let spec = Puppet::spec(script);
        let spec = if on_thread { spec.on_thread() } else { spec.blocking() };
        let target = engine().spawn(spec).await.unwrap();
        for _ in 0..2_000 {
            target.send(Msg::Note(1)).await.unwrap();
        }
        assert_eq!(soon(target.call(Msg::Ask)).await, Ok(2_000));
    }
}

// TH-3
#[test]
fn an_actor_off_the_tasks_ends_with_its_runtime() {
    for on_thread in [true, false] {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let engine = Engine::new(1, runtime.handle().clone());
        let (script, mut events) = Script::new();
        let spec = Puppet::spec(script);
        let spec = if on_thread { spec.on_thread() } else { spec.blocking() };
        let target = runtime.block_on(engine.spawn(spec)).unwrap();
        let mut ends = down(&target);
        drop(runtime);
        assert_eq!(ends.blocking_recv().unwrap().exit, Exit::Killed);
        assert!(matches!(events.blocking_recv(), Some(Event::Started(..))));
        assert_eq!(events.blocking_recv(), Some(Event::Dropped));
    }
}

// WD-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_never_yields_is_reported_again_and_again() {
    let engine = engine();
    let limit = Duration::from_millis(20);
    let mut stuck = stuck_for(&engine, limit);
    let (target, _events) = puppet(&engine, 4).await;
    let (quiet, _quiet_events) = puppet(&engine, 4).await;
    let _waits = busy(&quiet).await;
    let ((begun, mut has_begun), (over, is_over)) =
        (mpsc::unbounded_channel(), blocking::channel());
    target.cast(block(begun, is_over)).unwrap();
    next(&mut has_begun).await;
    let first = next(&mut stuck).await;
    assert_eq!(first.actor, target.id());
    assert!(first.kind.ends_with("Puppet"), "{}", first.kind);
    assert!(first.running >= limit);
    let second = next(&mut stuck).await;
    assert_eq!(second.actor, target.id());
    assert!(second.running >= first.running * 2);
    drop(over);
    assert_eq!(soon(target.call(Msg::Ask)).await, Ok(0));
}
