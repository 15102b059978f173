//! Calls to another node, and every way in which an answer can be missing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use mobula::node::limits::CALLS_MAX;
use mobula::prelude::*;

use crate::puppet::{GateMsg, Msg, Puppet, notes, puppet, shut_in};
use crate::support::{AT_ONCE, PATIENCE, cluster};

const MIB: usize = 1 << 20;

async fn two() -> (Vec<Node>, ActorRef<Msg>) {
    let nodes = cluster(2, |_, builder| builder.host::<Puppet>()).await;
    let there = puppet(&nodes[0], &nodes[1]).await;
    (nodes, there)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_answer_says_whether_the_message_may_have_run() {
    let (_nodes, there) = two().await;
    let short = Duration::from_millis(50);
    let kept = there.call(Msg::Keep).within(short).await;
    assert_eq!(kept, Err(CallError::Unknown(Lost::Deadline)));

    let asked = Instant::now();
    let dropped = there.call(Msg::Drop).within(PATIENCE).await;
    assert_eq!(dropped, Err(CallError::Unknown(Lost::Dropped)));
    assert!(asked.elapsed() < AT_ONCE);

    // An end takes the answers it owed with it.
    let owed = there.call(Msg::Keep).within(PATIENCE);
    let end = async {
        tokio::task::yield_now().await;
        there.send(Msg::End).await.unwrap();
    };
    let (owed, ()) = tokio::join!(owed, end);
    let ended = [CallError::Unknown(Lost::Dropped), CallError::Rejected(Why::Stopped)];
    assert!(ended.contains(&owed.unwrap_err()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_of_one_mebibyte_passes_and_one_byte_more_is_refused() {
    let (_nodes, there) = two().await;
    let most = Payload(Bytes::from(vec![7; MIB]));
    let echo = there.call(|reply| Msg::Echo(most.clone(), reply)).within(PATIENCE).await;
    assert_eq!(echo, Ok(most));
    let more = Payload(Bytes::from(vec![7; MIB + 1]));
    let refused = there.call(|reply| Msg::Echo(more, reply)).within(PATIENCE).await.unwrap_err();
    let (bytes, max) = match refused {
        CallError::Rejected(Why::TooLarge { bytes, max }) => (bytes as usize, max as usize),
        other => panic!("{other}"),
    };
    assert!(bytes > max && max == MIB);
    // The actor never heard of it.
    assert_eq!(notes(&there).await, Vec::<u64>::new());
}

/// X-3 of actors, across nodes: the deadline travels.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_deadline_passes_in_the_queue_is_not_run() {
    let (nodes, there) = two().await;
    let gate = shut_in(&nodes[0], &there).await;
    let other = puppet(&nodes[0], &nodes[1]).await;
    let deadline = Duration::from_millis(50);
    let mut late = there.call(|reply| Msg::NoteAsk(1, reply)).within(deadline).into_future();
    assert!((&mut late).now_or_never().is_none());
    // What came after it on the same road is answered: it is in the queue.
    notes(&other).await;
    assert_eq!(late.await, Err(CallError::Unknown(Lost::Deadline)));
    // Its time began there when it came, which was before this: let it pass there too.
    tokio::time::sleep(deadline + Duration::from_millis(10)).await;
    gate.cast(GateMsg::Open).unwrap();
    there.call(|reply| Msg::NoteAsk(2, reply)).within(PATIENCE).await.unwrap();
    assert_eq!(notes(&there).await, [2]);
}

/// D-1, D-2: a caller that gives up frees its number, whether its message left or waits for credit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_given_up_are_forgotten() {
    let (_nodes, there) = two().await;
    for number in 0..CALLS_MAX + 10 {
        let mut call = there.call(Msg::Keep).within(PATIENCE).into_future();
        assert!((&mut call).now_or_never().is_none(), "a call was refused");
        drop(call);
        if number % 256 == 0 {
            // In order: those that left are there.
            there.call(|done| Msg::Answer(0, done)).within(PATIENCE).await.unwrap();
        }
    }
    there.call(Msg::Notes).within(PATIENCE).await.unwrap();
}
