//! Order, credit, and a slow actor that slows its senders and nobody else.

use std::future::IntoFuture;

use futures::FutureExt;
use mobula::node::limits::{CREDIT_START, CREDIT_WINDOW_MAX};
use mobula::prelude::*;

use crate::puppet::{GateMsg, Msg, Puppet, notes, puppet, shut_in};
use crate::support::{PATIENCE, cluster};

/// N-4 of net, Q-1: one sender's casts and sends arrive in order, each once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_messages_of_one_sender_arrive_in_order() {
    let nodes = cluster(2, |_, builder| builder.host::<Puppet>()).await;
    let target = puppet(&nodes[0], &nodes[1]).await;
    const MESSAGES: u64 = 50_000;
    let mut refused = 0;
    for number in 0..MESSAGES {
        if let Err(back) = target.cast(Msg::Note(number)) {
            assert!(matches!(back.why, Why::NoCredit | Why::Full), "{}", back.why);
            refused += 1;
            target.send(back.message).within(PATIENCE).await.unwrap();
        }
    }
    assert!(notes(&target).await.into_iter().eq(0..MESSAGES));
    assert!(refused > 0, "nothing was ever held back");
}

///
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_actor_holds_back_its_sender_and_nobody_else() {
    let nodes = cluster(2, |_, builder| builder.host::<Puppet>()).await;
    let slow = puppet(&nodes[0], &nodes[1]).await;
    let quick = puppet(&nodes[0], &nodes[1]).await;
    let gate = shut_in(&nodes[0], &slow).await;
    let mut next = 0;
    let refused = loop {
        match slow.cast(Msg::Note(next)) {
            Ok(()) => next += 1,
            Err(refused) => break refused,
        }
        assert!(next <= u64::from(CREDIT_WINDOW_MAX), "nothing bounds its mailbox");
    };
    assert_eq!(refused.why, Why::NoCredit);
    assert!(matches!(refused.message, Msg::Note(number) if number == next), "it came back changed");
    // One credit is with the message it handles.
    assert_eq!(next, u64::from(CREDIT_START) - 1);
    let mut waiting = slow.send(refused.message).within(PATIENCE).into_future();
    assert!((&mut waiting).now_or_never().is_none(), "it did not wait");
    for number in 0..1_000 {
        quick.call(|reply| Msg::NoteAsk(number, reply)).within(PATIENCE).await.unwrap();
    }
    assert!((&mut waiting).now_or_never().is_none(), "it did not wait");

    gate.cast(GateMsg::Open).unwrap();
    waiting.await.unwrap();
    for number in next + 1..5_000 {
        slow.send(Msg::Note(number)).within(PATIENCE).await.unwrap();
    }
    assert!(notes(&slow).await.into_iter().eq(0..5_000));
}

/// What was spent on messages that found nobody comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_to_an_actor_that_ended_are_refused_and_never_stuck() {
    let nodes = cluster(2, |_, builder| builder.host::<Puppet>()).await;
    let target = puppet(&nodes[0], &nodes[1]).await;
    target.send(Msg::End).await.unwrap();
    let (told, down) = tokio::sync::oneshot::channel();
    target.on_down(Box::new(move |down| drop(told.send(down))));
    tokio::time::timeout(PATIENCE, down).await.unwrap().unwrap();
    for _ in 0..2 * CREDIT_START {
        let refused = target.call(Msg::Notes).within(PATIENCE).await.unwrap_err();
        let refused = matches!(refused, CallError::Rejected(Why::Stopped | Why::NoRoute));
        assert!(refused);
    }
}

/// A message that waits for credit and is given up has not been sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_is_dropped_while_it_waits_has_not_sent() {
    let nodes = cluster(2, |_, builder| builder.host::<Puppet>()).await;
    let slow = puppet(&nodes[0], &nodes[1]).await;
    let gate = shut_in(&nodes[0], &slow).await;
    let mut next = 0;
    while slow.cast(Msg::Note(next)).is_ok() {
        next += 1;
    }
    let mut given_up = slow.send(Msg::Note(u64::MAX)).within(PATIENCE).into_future();
    assert!((&mut given_up).now_or_never().is_none());
    drop(given_up);
    gate.cast(GateMsg::Open).unwrap();
    slow.send(Msg::Note(next)).within(PATIENCE).await.unwrap();
    assert!(notes(&slow).await.into_iter().eq(0..=next));
}
