//! What callers hear when a process dies, before and after their message left.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use mobula::prelude::*;

use crate::process::Process;
use crate::puppet::{Make, Msg, Puppet, puppet};
use crate::support::{AT_ONCE, PATIENCE, all_see, cluster, member, members};

/// Far longer than any test may take: nothing here waits for a deadline.
const NEVER: Duration = Duration::from_secs(600);

async fn node_and_process() -> (Node, Process) {
    let (keys, list) = members(2);
    let node = member(keys[0].clone(), &list, None).host::<Puppet>().start().await.unwrap();
    let process = Process::start(keys[1].clone(), &keys, &node).await;
    all_see(std::slice::from_ref(&node), 2).await;
    (node, process)
}

/// I-3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_to_a_killed_process_is_unknown_if_it_had_left_and_rejected_if_not() {
    let (node, mut process) = node_and_process().await;
    let there = node.spawn(Puppet::spec(Make::Plain).on(process.id)).await.unwrap();
    let (started, begun) = tokio::sync::oneshot::channel();
    let in_flight = tokio::spawn({
        let there = there.clone();
        async move {
            let call = there.call(Msg::Keep).within(NEVER);
            // The first poll sends it; then this task says so.
            let mut call = std::pin::pin!(call.into_future());
            let first = futures::FutureExt::now_or_never(&mut call);
            assert!(first.is_none());
            started.send(()).unwrap();
            call.await
        }
    });
    begun.await.unwrap();
    // Order: when this is answered, the other is there.
    there.call(Msg::Notes).within(PATIENCE).await.unwrap();
    let killed = Instant::now();
    process.kill();
    assert_eq!(in_flight.await.unwrap(), Err(CallError::Unknown(Lost::Disconnected)));
    let after = there.call(Msg::Notes).within(NEVER).await;
    let refused = matches!(after, Err(CallError::Rejected(Why::NoRoute | Why::Stopped)));
    assert!(refused, "{after:?}");
    assert!(killed.elapsed() < AT_ONCE, "{:?}", killed.elapsed());
}

/// I-3, N-5 of net: what is queued when the process dies has certainly not run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_calls_to_a_frozen_process_those_not_written_are_rejected_when_it_dies() {
    let (node, mut process) = node_and_process().await;
    let there = node.spawn(Puppet::spec(Make::Plain).on(process.id)).await.unwrap();
    // Widens the window of credit, so that the lane is what fills up.
    for number in 0..2_000 {
        there.send(Msg::Note(number)).within(PATIENCE).await.unwrap();
    }
    there.call(Msg::Notes).within(PATIENCE).await.unwrap();
    process.freeze();
    let payload = Payload(Bytes::from(vec![0; 512 << 10]));
    let calls =
        (0..96).map(|_| there.call(|reply| Msg::Echo(payload.clone(), reply)).within(NEVER));
    let mut calls = std::pin::pin!(join_all(calls.map(IntoFuture::into_future)));
    // All are under way: on the socket, in the lane, or waiting for it.
    assert!(futures::FutureExt::now_or_never(&mut calls).is_none());
    // The write of the first is over when the connection's task has run.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    process.kill();
    let outcomes = tokio::time::timeout(PATIENCE, calls).await.unwrap();
    let count = |wanted: fn(&CallError) -> bool| {
        outcomes.iter().filter(|o| o.as_ref().is_err_and(wanted)).count()
    };
    let unknown = count(|error| *error == CallError::Unknown(Lost::Disconnected));
    let rejected = count(|error| {
        matches!(error, CallError::Rejected(Why::Unreachable | Why::NoRoute | Why::Stopped))
    });
    assert_eq!(unknown + rejected, outcomes.len(), "{outcomes:?}");
    assert!(rejected > 0 && unknown > 0, "{unknown} unknown, {rejected} rejected");
}

/// Section 1 of the design: the right to answer travels, and outlives who handed it on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_from_a_third_node_outlives_the_second_and_not_the_third() {
    let (keys, list) = members(3);
    let node = member(keys[0].clone(), &list, None).host::<Puppet>().start().await.unwrap();
    let mut second = Process::start(keys[1].clone(), &keys, &node).await;
    let mut third = Process::start(keys[2].clone(), &keys, &node).await;
    all_see(std::slice::from_ref(&node), 3).await;
    let on_second = node.spawn(Puppet::spec(Make::Plain).on(second.id)).await.unwrap();
    let on_third = node.spawn(Puppet::spec(Make::Plain).on(third.id)).await.unwrap();
    let ask = |handing: ActorRef<Msg>| {
        let to = on_third.clone();
        tokio::spawn(async move {
            handing.call(|reply| Msg::HandOn(to.clone(), reply)).within(NEVER).await
        })
    };
    let first = ask(on_second.clone());
    // It has been handed on, and this node knows: the second's frames come in order.
    while on_second.call(Msg::Notes).within(PATIENCE).await.is_ok() {
        on_third.call(|done| Msg::Answer(7, done)).within(PATIENCE).await.unwrap();
        if first.is_finished() {
            break;
        }
    }
    assert_eq!(first.await.unwrap(), Ok(7));

    let kept = ask(on_second.clone());
    wait_until_it_keeps(&on_second, &on_third).await;
    second.kill();
    assert!(node.until(PATIENCE, |all| gone(all, second.id)).await);
    on_third.call(|done| Msg::Answer(8, done)).within(PATIENCE).await.unwrap();
    assert_eq!(kept.await.unwrap(), Ok(8));

    // And the death of the third is the end of what it had to answer.
    let here = puppet(&node, &node).await;
    let lost = ask(here.clone());
    wait_until_it_keeps(&here, &on_third).await;
    let killed = Instant::now();
    third.kill();
    assert_eq!(lost.await.unwrap(), Err(CallError::Unknown(Lost::Disconnected)));
    assert!(killed.elapsed() < AT_ONCE);
}

async fn wait_until_it_keeps(handing: &ActorRef<Msg>, keeping: &ActorRef<Msg>) {
    let holds = async { while !keeping.call(Msg::Keeps).within(PATIENCE).await.unwrap() {} };
    tokio::time::timeout(PATIENCE, holds).await.unwrap();
    // What the one who handed it on has to say about it comes before this.
    handing.call(Msg::Notes).within(PATIENCE).await.unwrap();
}

fn gone(members: &[mobula::node::Member], node: NodeId) -> bool {
    members.iter().any(|m| m.node == node && m.standing == mobula::node::Standing::Gone)
}

/// A node that is dropped without a stop is as dead as a killed one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_node_is_noticed_at_once() {
    let mut nodes = cluster(2, |_, builder| builder.host::<Puppet>()).await;
    let there = puppet(&nodes[0], &nodes[1]).await;
    let id = nodes[1].id().unwrap();
    drop(nodes.pop());
    let dropped = Instant::now();
    assert!(nodes[0].until(PATIENCE, |all| gone(all, id)).await);
    assert!(there.call(Msg::Notes).within(NEVER).await.is_err());
    assert!(dropped.elapsed() < AT_ONCE, "{:?}", dropped.elapsed());
}
