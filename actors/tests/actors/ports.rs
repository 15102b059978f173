//! Ports: another protocol, received as mine.

use std::future::{Future, IntoFuture};
use std::task::{Context as TaskContext, Waker};
use std::time::Duration;

use mobula_actors::limits::PORT_MESSAGES;
use mobula_actors::{ActorRef, CallError, Exit, Lost, Reply, Why};
use tokio::sync::mpsc;

use crate::puppet::{Event, Msg, busy, down, engine, next, puppet, soon};

enum Other {
    Number(u32),
    Sum(Reply<u32>),
}

fn mine(other: Other) -> Msg {
    match other {
        Other::Number(13) => panic!("unlucky"),
        Other::Number(number) => Msg::Note(number),
        Other::Sum(reply) => Msg::Ask(reply),
    }
}

async fn port(target: &ActorRef<Msg>) -> ActorRef<Other> {
    let (give, mut given) = mpsc::unbounded_channel();
    target
        .cast(Msg::act(move |_, ctx| {
            let _ = give.send(ctx.port(mine));
            Ok(())
        }))
        .unwrap();
    next(&mut given).await
}

#[tokio::test]
async fn a_port_delivers_another_protocol_in_order() {
    let (target, mut events) = puppet(&engine(), 4).await;
    let port = port(&target).await;
    for number in 20..30 {
        port.send(Other::Number(number)).await.unwrap();
    }
    for number in 20..30 {
        assert_eq!(next(&mut events).await, Event::Note(number));
    }
    assert_eq!(soon(port.call(Other::Sum)).await, Ok((20..30).sum()));
}

#[tokio::test]
async fn a_port_ends_with_its_actor_and_refuses_what_it_holds() {
    let (target, _events) = puppet(&engine(), 1).await;
    let port = port(&target).await;
    let over = busy(&target).await;
    let mut calls: Vec<_> = (0..8).map(|_| Box::pin(port.call(Other::Sum).into_future())).collect();
    let mut cx = TaskContext::from_waker(Waker::noop());
    assert!(calls.iter_mut().all(|call| call.as_mut().poll(&mut cx).is_pending()));
    let mut downs = down(&port);
    target.kill();
    next(&mut downs).await;
    drop(over);
    assert_eq!(port.cast(Other::Number(1)).unwrap_err().why, Why::Stopped);
    let mut passed = 0;
    for call in calls {
        match soon(call).await {
            Err(CallError::Rejected(Why::Stopped)) => {}
            // For who called the port, what it passed on is no longer certain.
            Err(CallError::Unknown(Lost::Dropped)) => passed += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(passed <= 2, "one in its hand and one in the mailbox behind it, not {passed}");
}

#[tokio::test]
async fn a_port_is_bounded() {
    let (target, mut events) = puppet(&engine(), 1).await;
    let port = port(&target).await;
    let over = busy(&target).await;
    let mut sent = 0;
    let refused = loop {
        match port.send(Other::Number(100 + sent)).within(Duration::from_millis(20)).await {
            Ok(()) => sent += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.why, Why::Full);
    assert!(matches!(refused.message, Other::Number(_)));
    // Its own mailbox, one in its hand, and one in mine.
    assert_eq!(sent as usize, PORT_MESSAGES + 2);
    drop(over);
    for number in 0..sent {
        assert_eq!(next(&mut events).await, Event::Note(100 + number));
    }
}

#[tokio::test]
async fn a_port_whose_map_panics_ends_its_actor() {
    let (target, _events) = puppet(&engine(), 4).await;
    let port = port(&target).await;
    let mut downs = down(&target);
    port.cast(Other::Number(13)).unwrap();
    assert_eq!(next(&mut downs).await.exit, Exit::Panicked("unlucky".into()));
}
