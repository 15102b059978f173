//! `call`, and the right to answer.

use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::task::{Context as TaskContext, Waker};
use std::time::Duration;

use mobula_actors::{Actor, CallError, Lost, Reply, Why};
use tokio::sync::{mpsc, oneshot};

use crate::puppet::{Event, Msg, Puppet, Script, busy, engine, next, puppet, soon};

const DROPPED: CallError = CallError::Unknown(Lost::Dropped);
const STOPPED: CallError = CallError::Rejected(Why::Stopped);

#[tokio::test]
async fn a_call_is_answered() {
    let (target, _events) = puppet(&engine(), 4).await;
    target.cast(Msg::Note(7)).unwrap();
    assert_eq!(target.call(Msg::Ask).await, Ok(7));
}

//
#[tokio::test]
async fn a_call_that_is_run_and_not_answered_ends_unknown_at_its_deadline() {
    let (target, _events) = puppet(&engine(), 4).await;
    let answer = target.call(Msg::Keep).within(Duration::from_millis(1)).await;
    assert_eq!(answer, Err(CallError::Unknown(Lost::Deadline)));
}

//
#[tokio::test]
async fn a_call_that_finds_no_room_by_its_deadline_is_rejected() {
    let (target, _events) = puppet(&engine(), 1).await;
    let _over = busy(&target).await;
    target.cast(Msg::Note(1)).unwrap();
    let answer = target.call(Msg::Ask).within(Duration::from_millis(1)).await;
    assert_eq!(answer, Err(CallError::Rejected(Why::Expired)));
}

#[tokio::test]
async fn a_dropped_reply_answers_at_once() {
    let (target, _events) = puppet(&engine(), 4).await;
    let answer = target.call(|reply| {
        Msg::act(|_, _| {
            drop::<Reply<u32>>(reply);
            Ok(())
        })
    });
    assert_eq!(soon(answer.within(Duration::MAX)).await, Err(DROPPED));
}

// E-2, K-3
#[tokio::test]
async fn a_call_whose_callee_ends_before_it_is_run_is_rejected() {
    let (target, _events) = puppet(&engine(), 4).await;
    let over = busy(&target).await;
    let mut call = pin!(target.call(Msg::Ask).into_future());
    assert!(call.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_pending());
    target.stop();
    drop(over);
    assert_eq!(soon(call).await, Err(STOPPED));
    assert_eq!(target.call(Msg::Ask).await, Err(STOPPED));
}

// E-2
#[tokio::test]
async fn a_call_whose_callee_ends_while_it_holds_the_reply_is_unknown() {
    let (target, _events) = puppet(&engine(), 4).await;
    let mut call = pin!(target.call(Msg::Keep).into_future());
    assert!(call.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_pending());
    target
        .cast(Msg::act(|_, ctx| {
            ctx.stop();
            Ok(())
        }))
        .unwrap();
    assert_eq!(soon(call).await, Err(DROPPED));
}

//
#[tokio::test(start_paused = true)]
async fn an_expired_call_is_dropped_before_it_runs() {
    let (target, mut events) = puppet(&engine(), 4).await;
    let over = busy(&target).await;
    let (ran, mut has_run) = oneshot::channel();
    let call = target.call(|reply: Reply<u32>| {
        Msg::act(move |_, _| {
            let _ = (ran.send(()), reply);
            Ok(())
        })
    });
    let answer = call.within(Duration::from_millis(50)).await;
    assert_eq!(answer, Err(CallError::Unknown(Lost::Deadline)));
    tokio::time::advance(Duration::from_millis(50)).await;
    target.cast(Msg::Note(1)).unwrap();
    drop(over);
    assert_eq!(next(&mut events).await, Event::Note(1));
    assert_eq!(has_run.try_recv(), Err(oneshot::error::TryRecvError::Closed));
}

// W-3
#[tokio::test]
async fn a_reply_handed_on_to_an_actor_that_does_not_run_it_is_unknown_not_rejected() {
    let engine = engine();
    let (back, _events) = puppet(&engine, 4).await;
    let over = busy(&back).await;
    let (reply, waiting) = lend(&engine).await;
    back.cast(Msg::Keep(reply)).unwrap();
    back.stop();
    drop(over);
    // The actor that lent it has run.
    assert_eq!(soon(waiting).await.unwrap(), Err(DROPPED));
}

// W-3
#[tokio::test]
async fn a_reply_handed_on_in_a_call_that_is_refused_is_unknown() {
    let engine = engine();
    let (back, _events) = puppet(&engine, 4).await;
    let mut downs = crate::puppet::down(&back);
    back.stop();
    next(&mut downs).await;
    let (reply, waiting) = lend(&engine).await;
    let refused = back.call(|_: Reply<u32>| Msg::Keep(reply)).await;
    assert_eq!(refused, Err(STOPPED));
    assert_eq!(soon(waiting).await.unwrap(), Err(DROPPED));
}

#[tokio::test]
async fn a_late_answer_is_dropped() {
    let engine = engine();
    let (target, mut events) = puppet(&engine, 4).await;
    let _ = target.call(Msg::Keep).within(Duration::from_millis(1)).await;
    target
        .cast(Msg::act(|puppet, _| {
            let late = puppet.kept.pop().unwrap();
            assert!(late.is_abandoned());
            late.send(1);
            puppet.report(Event::Note(1));
            Ok(())
        }))
        .unwrap();
    assert_eq!(next(&mut events).await, Event::Note(1));
}

#[tokio::test]
async fn an_answerer_sees_that_its_caller_has_gone() {
    let (reply, waiting) = lend(&engine()).await;
    assert!(!reply.is_abandoned());
    waiting.abort();
    assert!(soon(waiting).await.unwrap_err().is_cancelled());
    assert!(reply.is_abandoned());
}

#[tokio::test]
async fn the_right_to_answer_can_be_given_to_another_actor() {
    let engine = engine();
    let (front, _front_events) = puppet(&engine, 4).await;
    let (back, _back_events) = puppet(&engine, 4).await;
    back.cast(Msg::Note(9)).unwrap();
    let answer = front.call(|reply| {
        Msg::act(move |_, _| {
            back.cast(Msg::Ask(reply))?;
            Ok(())
        })
    });
    assert_eq!(soon(answer).await, Ok(9));
}

#[tokio::test]
async fn a_call_is_not_sent_before_it_is_awaited() {
    let (target, mut events) = puppet(&engine(), 4).await;
    let call = target.call(|reply: Reply<u32>| {
        Msg::act(|puppet, _| {
            puppet.report(Event::Note(2));
            reply.send(0);
            Ok(())
        })
    });
    target.cast(Msg::Note(1)).unwrap();
    call.await.unwrap();
    assert_eq!(next(&mut events).await, Event::Note(1));
    assert_eq!(next(&mut events).await, Event::Note(2));
}

// W-3
#[tokio::test]
async fn a_call_dropped_while_it_waits_for_room_never_runs() {
    let (target, mut events) = puppet(&engine(), 1).await;
    let over = busy(&target).await;
    target.cast(Msg::Note(1)).unwrap();
    {
        let mut call = pin!(target.call(Msg::Keep).into_future());
        assert!(call.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_pending());
    }
    drop(over);
    assert_eq!(next(&mut events).await, Event::Note(1));
    let kept = target.call(|reply| {
        Msg::act(|puppet, _| {
            reply.send(puppet.kept.len());
            Ok(())
        })
    });
    assert_eq!(kept.await, Ok(0));
}

/// A right to answer outside of any actor, and the call that waits for it.
pub(crate) async fn lend(
    engine: &mobula_actors::Engine,
) -> (Reply<u32>, tokio::task::JoinHandle<Result<u32, CallError>>) {
    let (script, _events) = Script::new();
    let lender = engine.spawn(Puppet::spec(script)).await.unwrap();
    let (out, mut lent) = mpsc::unbounded_channel();
    let waiting = tokio::spawn(async move {
        let call = lender.call(|reply| {
            Msg::act(move |_, _| {
                let _ = out.send(reply);
                Ok(())
            })
        });
        call.within(Duration::from_secs(60)).await
    });
    (next(&mut lent).await, waiting)
}
