//! Runs that follow one another on one cell, as a supervisor makes them.

use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Waker};
use std::time::Duration;

use mobula_actors::id::Epoch;
use mobula_actors::spawner::{Child, IntoSeed, Notice, Order, Request, Spawner, Watch};
use mobula_actors::{Actor, ActorRef, CallError, Engine, Exit, Fault, OnRestart, SpawnError, Why};
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use crate::puppet::{Ear, Event, Events, Msg, Puppet, Script, busy, down, engine, next, soon};

/// A child that the test supervises by hand.
pub(crate) struct Nursery {
    pub(crate) engine: Engine,
    pub(crate) request: Request,
    pub(crate) notices: mpsc::UnboundedReceiver<Notice>,
    pub(crate) events: Events,
    pub(crate) child: Arc<dyn Child>,
    pub(crate) target: ActorRef<Msg>,
}

fn request(engine: &Engine, script: Script, watch: Arc<dyn Watch>) -> Request {
    let (seed, settings) = Puppet::spec(script).mailbox(8).into_seed();
    let order = Order { id: Spawner::next_id(engine), watch: Some(watch), ..Order::new(&settings) };
    Request { seed, settings, order, previous: None, avoid: Vec::new() }
}

impl Nursery {
    pub(crate) async fn new(script: Script, mut events: Events) -> Self {
        let (engine, (ear, notices)) = (engine(), Ear::new());
        let request = request(&engine, script, ear);
        let started = engine.start(request.clone()).await.unwrap();
        let target = started.reference.unwrap().downcast::<ActorRef<Msg>>().unwrap();
        assert_eq!(next(&mut events).await, Event::Started(Epoch(1), None));
        Self { engine, request, notices, events, child: started.child, target: *target }
    }

    pub(crate) async fn ended(&mut self) -> (Epoch, Exit) {
        match next(&mut self.notices).await {
            Notice::Ended { actor, epoch, exit } => {
                assert_eq!(actor, self.target.id());
                (epoch, exit)
            }
            other => panic!("{other:?} came before the end"),
        }
    }

    /// The request for the next run.
    pub(crate) fn again(&mut self) -> Request {
        self.request.order.epoch = self.request.order.epoch.next();
        self.request.previous = Some(self.child.clone());
        self.request.clone()
    }

    pub(crate) async fn start_again(&mut self) {
        let request = self.again();
        self.child = self.engine.start(request).await.unwrap().child;
    }
}

async fn nursery() -> Nursery {
    let (script, events) = Script::new();
    Nursery::new(script, events).await
}

#[tokio::test]
async fn the_end_of_a_run_is_told_to_its_supervisor() {
    let mut nursery = nursery().await;
    nursery.target.cast(Msg::act(|_, _| Err(Fault::new("no disk")))).unwrap();
    assert_eq!(nursery.ended().await, (Epoch(1), Exit::Failed(Fault::new("no disk"))));
    assert_eq!(next(&mut nursery.events).await, Event::Dropped);
}

// R-1, K-4
#[tokio::test]
async fn the_next_run_goes_on_with_the_mailbox_of_the_last() {
    let mut nursery = nursery().await;
    let over = busy(&nursery.target).await;
    let mut downs = down(&nursery.target);
    nursery.target.cast(Msg::act(|_, _| panic!("boom"))).unwrap();
    nursery.target.cast(Msg::Note(1)).unwrap();
    drop(over);
    assert_eq!(nursery.ended().await.0, Epoch(1));
    assert!(next(&mut downs).await.restarting);
    nursery.target.cast(Msg::Note(2)).unwrap();
    nursery.start_again().await;
    for event in [Event::Dropped, Event::Started(Epoch(2), None), Event::Note(1), Event::Note(2)] {
        assert_eq!(next(&mut nursery.events).await, event);
    }
    nursery.child.stop(Exit::Shutdown);
    assert_eq!(nursery.ended().await, (Epoch(2), Exit::Shutdown));
}

// K-4
#[tokio::test]
async fn a_run_with_an_epoch_that_is_not_larger_is_refused() {
    let mut nursery = nursery().await;
    nursery.child.kill();
    nursery.ended().await;
    let mut request = nursery.again();
    request.order.epoch = Epoch(1);
    let refused = nursery.engine.start(request).await.unwrap_err();
    assert!(matches!(refused, SpawnError::Refused(_)), "{refused}");
    nursery.start_again().await;
}

#[tokio::test]
async fn a_failed_start_is_told_to_the_spawner_and_not_to_the_supervisor() {
    let (engine, (ear, mut notices)) = (engine(), Ear::new());
    let (script, mut events) = Script::new();
    let request = request(&engine, script.opening(|_| Err(Fault::new("no model"))), ear);
    let refused = engine.start(request).await.unwrap_err();
    assert_eq!(refused, SpawnError::Start(Exit::InitFailed(Fault::new("no model"))));
    assert!(matches!(next(&mut events).await, Event::Started(..)));
    // The cell goes too, and with it the last that could tell anybody anything.
    assert!(soon(notices.recv()).await.is_none());
}

// K-5
#[tokio::test]
async fn a_start_that_is_dropped_leaves_nothing_running() {
    // Nobody drives its runtime yet.
    let elsewhere = Builder::new_current_thread().enable_all().build().unwrap();
    let engine = Engine::new(1, elsewhere.handle().clone());
    let (ear, mut notices) = Ear::new();
    let (script, mut events) = Script::new();
    let starting = engine.start(request(&engine, script, ear));
    {
        let mut starting = pin!(starting);
        assert!(starting.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_pending());
    }
    let heard = std::thread::spawn(move || {
        elsewhere.block_on(async {
            assert_eq!(soon(events.recv()).await, None);
            assert!(soon(notices.recv()).await.is_none());
        });
    });
    heard.join().unwrap();
}

// K-5
#[tokio::test]
async fn a_restart_that_is_dropped_leaves_the_child_between_runs() {
    let mut nursery = nursery().await;
    nursery.child.kill();
    nursery.ended().await;
    assert_eq!(next(&mut nursery.events).await, Event::Dropped);
    let starting = nursery.again();
    {
        let mut starting = pin!(nursery.engine.start(starting));
        assert!(starting.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_pending());
    }
    let mut downs = down(&nursery.target);
    assert_eq!(next(&mut downs).await.exit, Exit::Killed);
    nursery.target.cast(Msg::Note(1)).unwrap();
    nursery.start_again().await;
    assert_eq!(next(&mut nursery.events).await, Event::Started(Epoch(3), None));
    assert_eq!(next(&mut nursery.events).await, Event::Note(1));
}

// K-5
#[tokio::test]
async fn a_kill_and_a_stop_between_runs_do_not_reach_the_next() {
    let mut nursery = nursery().await;
    nursery.child.kill();
    nursery.ended().await;
    nursery.child.kill();
    nursery.child.stop(Exit::Shutdown);
    nursery.start_again().await;
    nursery.target.cast(Msg::Note(1)).unwrap();
    for event in [Event::Dropped, Event::Started(Epoch(2), None), Event::Note(1)] {
        assert_eq!(next(&mut nursery.events).await, event);
    }
}

#[tokio::test]
async fn a_monitor_set_between_two_runs_answers_at_once() {
    let mut nursery = nursery().await;
    nursery.child.kill();
    nursery.ended().await;
    let seen = next(&mut down(&nursery.target)).await;
    assert_eq!((seen.exit, seen.restarting), (Exit::NoProc, true));
    nursery.start_again().await;
    let mut downs = down(&nursery.target);
    nursery.child.kill();
    let seen = next(&mut downs).await;
    assert_eq!((seen.epoch, seen.exit), (Epoch(2), Exit::Killed));
}

// K-3
#[tokio::test]
async fn a_child_that_is_retired_refuses_messages_and_answers_queued_calls() {
    let mut nursery = nursery().await;
    nursery.child.kill();
    nursery.ended().await;
    let mut call = pin!(nursery.target.call(Msg::Ask).into_future());
    assert!(call.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_pending());
    nursery.child.retire();
    assert_eq!(soon(call).await, Err(CallError::Rejected(Why::Stopped)));
    assert_eq!(nursery.target.cast(Msg::Note(1)).unwrap_err().why, Why::Stopped);
    assert!(nursery.child.control().unwrap().has_ended());
}

#[tokio::test]
async fn a_child_retired_while_it_runs_ends_for_good_with_its_run() {
    let mut nursery = nursery().await;
    nursery.child.retire();
    nursery.target.cast(Msg::Note(1)).unwrap();
    assert_eq!(next(&mut nursery.events).await, Event::Note(1));
    let over = busy(&nursery.target).await;
    let mut call = pin!(nursery.target.call(Msg::Ask).into_future());
    assert!(call.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_pending());
    nursery.child.stop(Exit::Shutdown);
    drop(over);
    assert_eq!(soon(call).await, Err(CallError::Rejected(Why::Stopped)));
    assert_eq!(nursery.ended().await, (Epoch(1), Exit::Shutdown));
}

#[tokio::test]
async fn a_retired_child_is_started_on_a_new_cell() {
    let mut nursery = nursery().await;
    nursery.child.kill();
    nursery.ended().await;
    nursery.child.retire();
    while !nursery.child.control().unwrap().has_ended() {
        tokio::task::yield_now().await;
    }
    nursery.start_again().await;
    assert_eq!(next(&mut nursery.events).await, Event::Dropped);
    assert_eq!(next(&mut nursery.events).await, Event::Started(Epoch(2), None));
    assert_eq!(nursery.child.control().unwrap().epoch(), Epoch(2));
}

// K-5
#[tokio::test(start_paused = true)]
async fn a_timer_does_not_reach_the_next_run() {
    let mut nursery = nursery().await;
    nursery
        .target
        .cast(Msg::act(|_, ctx| {
            ctx.after(Duration::from_millis(10), Msg::Note(13));
            Ok(())
        }))
        .unwrap();
    nursery.target.call(Msg::Ask).await.unwrap();
    nursery.child.kill();
    nursery.ended().await;
    nursery.start_again().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    nursery.target.cast(Msg::Note(1)).unwrap();
    for event in [Event::Dropped, Event::Started(Epoch(2), None), Event::Note(1)] {
        assert_eq!(next(&mut nursery.events).await, event);
    }
}

// K-5: the timer's message is in the mailbox, behind the one that ends the run.
#[tokio::test(start_paused = true)]
async fn a_timer_whose_message_waits_does_not_reach_the_next_run() {
    let mut nursery = nursery().await;
    nursery
        .target
        .cast(Msg::act(|_, ctx| {
            ctx.after(Duration::from_millis(10), Msg::Note(13));
            Ok(())
        }))
        .unwrap();
    let over = busy(&nursery.target).await;
    let control = nursery.child.control().unwrap();
    let before = control.backlog();
    tokio::time::advance(Duration::from_millis(20)).await;
    while control.backlog() == before {
        tokio::task::yield_now().await;
    }
    nursery.child.kill();
    nursery.ended().await;
    drop(over);
    nursery.start_again().await;
    nursery.target.cast(Msg::Note(1)).unwrap();
    for event in [Event::Dropped, Event::Started(Epoch(2), None), Event::Note(1)] {
        assert_eq!(next(&mut nursery.events).await, event);
    }
}

#[tokio::test]
async fn messages_that_wait_are_dropped_and_counted_when_the_order_says_so() {
    let mut nursery = nursery().await;
    nursery.request.order.on_restart = OnRestart::Drop;
    nursery.target.cast(Msg::act(|_, _| Err(Fault::new("no disk")))).unwrap();
    nursery.ended().await;
    nursery.target.cast(Msg::act(|_, _| Ok(()))).unwrap();
    let call = nursery.target.call(|reply| {
        Msg::act(move |_, _| {
            reply.send(1u8);
            Ok(())
        })
    });
    let mut call = pin!(call.into_future());
    assert!(call.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_pending());
    nursery.start_again().await;
    assert_eq!(call.await, Err(CallError::Rejected(Why::Restarted)));
    match next(&mut nursery.notices).await {
        Notice::Dropped { epoch, messages, .. } => assert_eq!((epoch, messages), (Epoch(2), 2)),
        other => panic!("{other:?} instead of the number of messages"),
    }
}
