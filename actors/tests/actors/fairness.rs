//! No actor keeps the others of its thread from running.

use std::future::{Future, IntoFuture};
use std::task::{Context as TaskContext, Waker};
use std::time::Duration;

use mobula_actors::Actor;

use crate::puppet::{Event, Msg, Puppet, Script, busy, engine, next, puppet};

/// Handles a message, and sends itself the next, for ever.
fn flood() -> Msg {
    Msg::act(|puppet, ctx| {
        puppet.sum += 1;
        ctx.me().cast(flood())?;
        Ok(())
    })
}

#[tokio::test]
async fn an_actor_that_floods_itself_lets_others_run() {
    let engine = engine();
    let (flooded, _events) = puppet(&engine, 4).await;
    flooded.cast(flood()).unwrap();
    let (other, mut events) = puppet(&engine, 4).await;
    other.cast(Msg::Note(1)).unwrap();
    assert_eq!(next(&mut events).await, Event::Note(1));
    flooded.kill();
}

#[tokio::test]
async fn two_busy_actors_of_one_thread_both_go_on() {
    let engine = engine();
    let (left, _left_events) = puppet(&engine, 4).await;
    let (right, _right_events) = puppet(&engine, 4).await;
    left.cast(flood()).unwrap();
    right.cast(flood()).unwrap();
    let mut before = (0, 0);
    for _ in 0..3 {
        let now = (left.call(Msg::Ask).await.unwrap(), right.call(Msg::Ask).await.unwrap());
        assert!(now.0 > before.0 && now.1 > before.1, "{before:?} then {now:?}");
        before = now;
    }
    left.kill();
    right.kill();
}

// Messages that are dropped, not run, count too.
#[tokio::test(start_paused = true)]
async fn an_actor_that_drops_expired_calls_lets_others_run() {
    let (engine, (script, mut events)) = (engine(), Script::new());
    let target = engine.spawn(Puppet::spec(script.clone())).await.unwrap();
    let other = engine.spawn(Puppet::spec(script)).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(next(&mut events).await, Event::Started(..)));
    }
    let over = busy(&target).await;
    let mut cx = TaskContext::from_waker(Waker::noop());
    let mut calls = Vec::new();
    for _ in 0..500 {
        let call = target.call(Msg::Ask).within(Duration::from_millis(10)).into_future();
        let mut call = Box::pin(call);
        assert!(call.as_mut().poll(&mut cx).is_pending());
        calls.push(call);
    }
    target.cast(Msg::Note(2)).unwrap();
    tokio::time::advance(Duration::from_millis(20)).await;
    // First in line for the thread is the one with much to drop.
    drop(over);
    other.cast(Msg::Note(1)).unwrap();
    assert_eq!(next(&mut events).await, Event::Note(1));
    assert_eq!(next(&mut events).await, Event::Note(2));
}
