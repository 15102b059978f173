//! The right to answer, from here into ractor and back.

use std::time::Duration;

use mobula_actors::guest::{self, ractor};
use mobula_actors::{CallError, Lost};
use ractor::rpc::CallResult;

use super::subject::{Message, Msg, inside, subject};
use crate::puppet::{Msg as PuppetMsg, engine, puppet, soon};

#[tokio::test]
async fn a_port_that_is_dropped_answers_at_once_that_the_call_may_have_run() {
    let (guest, _events) = subject(&engine(), 4).await;
    let kept = guest.call(Msg::Keep);
    let ended = async {
        soon(guest.call(Msg::Ask)).await.unwrap();
        guest.stop();
    };
    let (kept, ()) = tokio::join!(soon(kept), ended);
    assert_eq!(kept, Err(CallError::Unknown(Lost::Dropped)));
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_dropped() {
    let (guest, _events) = subject(&engine(), 4).await;
    let me = inside(&guest).await;
    let kept = guest.call(Msg::Keep).within(Duration::from_millis(1)).await;
    assert_eq!(kept, Err(CallError::Unknown(Lost::Deadline)));
    me.stop(None);
    soon(me.wait(None)).await.unwrap();
}

#[tokio::test]
async fn a_ractor_call_is_answered_by_an_actor_of_the_node() {
    let (target, _events) = puppet(&engine(), 4).await;
    target.cast(PuppetMsg::Note(7)).unwrap();
    let (port, answer) = ractor::concurrency::oneshot();
    target.cast(PuppetMsg::Ask(guest::reply(port.into()))).unwrap();
    assert_eq!(soon(answer).await, Ok(7));
    // And by nobody, once it has ended.
    let (port, answer) = ractor::concurrency::oneshot();
    target.cast(PuppetMsg::Keep(guest::reply(port.into()))).unwrap();
    target.stop();
    assert!(soon(answer).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_ractor_caller_whose_time_is_over_is_seen_to_have_gone() {
    let (port, answer) = ractor::concurrency::oneshot::<u32>();
    let reply = guest::reply((port, Duration::from_millis(20)).into());
    tokio::task::yield_now().await;
    assert!(!reply.is_abandoned());
    assert!(answer.await.is_err());
    assert!(reply.is_abandoned());
}

#[tokio::test]
async fn a_guest_is_called_by_other_ractor_actors_as_ever() {
    let (guest, _events) = subject(&engine(), 4).await;
    let me = inside(&guest).await;
    guest.send(Msg::Note(3)).await.unwrap();
    soon(guest.call(Msg::Ask)).await.unwrap();
    let answer = me.call(Message::Ask, Some(Duration::from_secs(10))).await.unwrap();
    assert!(matches!(answer, CallResult::Success(3)));
}
