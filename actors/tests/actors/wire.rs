//! Messages that leave their node.

use std::time::Duration;

use bytes::Bytes;
use mobula_actors::carrier::{Address, Carrier};
use mobula_actors::id::Epoch;
use mobula_actors::wire::{decode, encode};
use mobula_actors::{
    Actor, ActorRef, CallError, Context, Exit, Fault, Lost, Payload, Reply, Why, protocol,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::fake_net::{FakeNode, Raw, nodes};
use crate::puppet::{down, next, soon};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Far {
    Add(u32),
    Get(Reply<u32>),
    /// Somebody else is to answer.
    Ask(ActorRef<Self>, Reply<u32>),
    Keep(Reply<u32>),
    Swap(Payload, Reply<Payload>),
    Me(Reply<ActorRef<Self>>),
    Both(Reply<u32>, Reply<u32>),
    Block(Reply<u32>),
}
protocol!(Far = "test.far/1");

struct Sum {
    sum: u32,
    kept: Vec<Reply<u32>>,
    addresses: mpsc::UnboundedSender<usize>,
}

impl Actor for Sum {
    type Args = mpsc::UnboundedSender<usize>;
    type Msg = Far;

    async fn start(addresses: Self::Args, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self { sum: 0, kept: Vec::new(), addresses })
    }

    async fn handle(&mut self, msg: Far, ctx: &mut Context<Self>) -> Result<(), Fault> {
        match msg {
            Far::Add(number) => self.sum += number,
            Far::Get(reply) => reply.send(self.sum),
            Far::Ask(other, reply) => other.cast(Far::Get(reply))?,
            Far::Keep(reply) => self.kept.push(reply),
            Far::Swap(payload, reply) => {
                let _ = self.addresses.send(payload.0.as_ptr() as usize);
                reply.send(payload);
            }
            Far::Me(reply) => reply.send(ctx.me()),
            Far::Both(first, second) => {
                first.send(1);
                second.send(2);
            }
            Far::Block(_reply) => {
                let _ = self.addresses.send(0);
                std::future::pending().await
            }
        }
        Ok(())
    }
}

pub(crate) async fn sum(node: &FakeNode) -> (ActorRef<Far>, mpsc::UnboundedReceiver<usize>) {
    let (addresses, seen) = mpsc::unbounded_channel();
    let spec = Sum::spec(addresses).mailbox(4);
    (node.engine().spawn(spec).await.unwrap(), seen)
}

/// A right to answer that nobody uses yet, and the call that waits for it.
async fn lend(node: &FakeNode) -> (Reply<u32>, tokio::task::JoinHandle<Result<u32, CallError>>) {
    crate::calls::lend(&node.engine()).await
}

#[tokio::test]
async fn the_verbs_reach_an_actor_on_another_node() {
    let [here, there] = nodes();
    let (target, _seen) = sum(&there).await;
    let target = here.refer(&there, &target);
    target.cast(Far::Add(2)).unwrap();
    target.send(Far::Add(3)).await.unwrap();
    assert_eq!(soon(target.call(Far::Get)).await, Ok(5));
    assert_eq!(here.pending_calls(), 0);
    let mut downs = down(&target);
    target.kill();
    assert_eq!(next(&mut downs).await.exit, Exit::Killed);
}

#[tokio::test]
async fn a_reference_in_a_message_works_where_it_arrives() {
    let [here, there] = nodes();
    let (asked, _seen) = sum(&there).await;
    let (local, _also_seen) = sum(&here).await;
    local.cast(Far::Add(8)).unwrap();
    let asked = here.refer(&there, &asked);
    // The actor over there asks the one here, and that answers a caller here.
    let answer = asked.call(|reply| Far::Ask(local, reply));
    assert_eq!(soon(answer).await, Ok(8));
    assert_eq!(here.pending_calls(), 0);
}

#[tokio::test]
async fn a_reply_is_answered_from_a_third_node() {
    let [here, there, third] = nodes();
    let (asked, _seen) = sum(&there).await;
    let (answers, _also_seen) = sum(&third).await;
    answers.cast(Far::Add(4)).unwrap();
    let (asked, answers) = (here.refer(&there, &asked), here.refer(&third, &answers));
    assert_eq!(soon(asked.call(|reply| Far::Ask(answers, reply))).await, Ok(4));
    assert_eq!((here.pending_calls(), there.pending_calls()), (0, 0));
}

// W-3
#[tokio::test]
async fn a_reply_handed_on_to_a_third_node_that_refuses_it_is_unknown() {
    let [here, there, third] = nodes();
    let (asked, _seen) = sum(&there).await;
    let (gone, _also_seen) = sum(&third).await;
    let (asked, away) = (here.refer(&there, &asked), here.refer(&third, &gone));
    let mut downs = down(&gone);
    gone.stop();
    next(&mut downs).await;
    let answer = soon(asked.call(|reply| Far::Ask(away, reply))).await;
    assert_eq!(answer, Err(CallError::Unknown(Lost::Dropped)));
    assert_eq!((here.pending_calls(), there.pending_calls()), (0, 0));
}

#[tokio::test]
async fn an_answer_may_hold_a_reference() {
    let [here, there] = nodes();
    let (target, _seen) = sum(&there).await;
    let me = soon(here.refer(&there, &target).call(Far::Me)).await.unwrap();
    assert_eq!(me.id(), target.id());
    me.cast(Far::Add(6)).unwrap();
    assert_eq!(target.call(Far::Get).await, Ok(6));
}

#[tokio::test]
async fn a_reference_that_comes_home_needs_no_carrier() {
    let [here, there] = nodes();
    let (target, _seen) = sum(&here).await;
    let outgoing = encode(&here.carrier(), &target).unwrap();
    let away = decode::<ActorRef<Far>>(&there.carrier(), here.node(), &outgoing.head, Vec::new());
    let outgoing = encode(&there.carrier(), &away.unwrap()).unwrap();
    let home = decode::<ActorRef<Far>>(&here.carrier(), there.node(), &outgoing.head, Vec::new());
    here.refusal.send_replace(Some(Why::Unreachable));
    home.unwrap().cast(Far::Add(1)).unwrap();
    assert_eq!(target.call(Far::Get).await, Ok(1));
}

#[tokio::test]
async fn payloads_travel_uncopied() {
    let [here, there] = nodes();
    let (target, mut seen) = sum(&there).await;
    let target = here.refer(&there, &target);
    let bytes = Bytes::from(vec![7; 10_000]);
    let payload = Payload(bytes.clone());
    let back = soon(target.call(|reply| Far::Swap(payload, reply))).await.unwrap();
    assert_eq!(next(&mut seen).await, bytes.as_ptr() as usize);
    assert_eq!((back.0.as_ptr(), back.0.len()), (bytes.as_ptr(), bytes.len()));
}

// W-1
#[tokio::test]
async fn a_refused_cast_gives_the_right_to_answer_back() {
    let [here, there] = nodes();
    let (target, _seen) = sum(&there).await;
    let target = here.refer(&there, &target);
    here.refusal.send_replace(Some(Why::NoCredit));
    let (reply, waiting) = lend(&here).await;
    let refused = target.cast(Far::Get(reply)).unwrap_err();
    assert_eq!((refused.why, here.pending_calls()), (Why::NoCredit, 0));
    let Far::Get(reply) = refused.message else { panic!("another message came back") };
    reply.send(11);
    assert_eq!(soon(waiting).await.unwrap(), Ok(11));
}

// W-1
#[tokio::test]
async fn a_message_that_cannot_be_encoded_gives_its_replies_back() {
    let [here, there] = nodes();
    #[derive(Serialize)]
    struct Bad(Reply<u32>, NotSerializable);
    struct NotSerializable;
    impl Serialize for NotSerializable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    let (reply, waiting) = lend(&there).await;
    let bad = Bad(reply, NotSerializable);
    assert!(matches!(encode(&here.carrier(), &bad), Err(Why::Incompatible(_))));
    assert_eq!(here.pending_calls(), 0);
    bad.0.send(3);
    assert_eq!(soon(waiting).await.unwrap(), Ok(3));
}

// W-1
#[tokio::test]
async fn a_type_that_panics_while_it_is_encoded_leaves_nothing_registered() {
    let [here, _there] = nodes::<2>();
    #[derive(Serialize)]
    struct Bad(Reply<u32>, Panics);
    struct Panics;
    impl Serialize for Panics {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("no")
        }
    }
    let (reply, waiting) = lend(&here).await;
    let (bad, carrier) = (Bad(reply, Panics), here.carrier());
    let encoding = std::panic::AssertUnwindSafe(|| encode(&carrier, &bad).map(drop));
    assert!(std::panic::catch_unwind(encoding).is_err());
    assert_eq!(here.pending_calls(), 0);
    // Outside of a message, nothing can be encoded any more.
    assert!(postcard::to_allocvec(&bad.0).is_err());
    bad.0.send(3);
    assert_eq!(soon(waiting).await.unwrap(), Ok(3));
}

#[tokio::test]
async fn a_call_waits_for_its_lane_and_is_rejected_at_its_deadline() {
    let [here, there] = nodes();
    let (target, _seen) = sum(&there).await;
    let target = here.refer(&there, &target);
    here.refusal.send_replace(Some(Why::NoCredit));
    let answer = target.call(Far::Get).within(Duration::from_millis(5)).await;
    assert!(matches!(answer, Err(CallError::Rejected(_))), "{answer:?}");
    assert_eq!(here.pending_calls(), 0);
    let waiting = tokio::spawn({
        let target = target.clone();
        async move { target.call(Far::Get).within(Duration::from_secs(60)).await }
    });
    while here.pending_calls() == 0 {
        tokio::task::yield_now().await;
    }
    here.refusal.send_replace(None);
    assert_eq!(soon(waiting).await.unwrap(), Ok(0));
}

//
#[tokio::test]
async fn a_send_that_is_dropped_while_it_waits_for_its_lane_has_not_sent() {
    use std::future::{Future, IntoFuture};
    let [here, there] = nodes();
    let (target, _seen) = sum(&there).await;
    let remote = here.refer(&there, &target);
    here.refusal.send_replace(Some(Why::NoCredit));
    {
        let mut call = std::pin::pin!(remote.call(Far::Get).into_future());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        assert_eq!(here.pending_calls(), 1);
    }
    assert_eq!(here.pending_calls(), 0);
    here.refusal.send_replace(None);
    assert_eq!(target.call(Far::Get).await, Ok(0));
}

#[tokio::test]
async fn a_call_given_up_is_forgotten_also_when_its_reply_was_handed_on() {
    let [here, there] = nodes();
    let (keeper, _seen) = sum(&there).await;
    let keeper = here.refer(&there, &keeper);
    let (reply, waiting) = lend(&here).await;
    keeper.cast(Far::Keep(reply)).unwrap();
    assert_eq!(here.pending_calls(), 1);
    waiting.abort();
    assert!(soon(waiting).await.is_err());
    assert_eq!(here.pending_calls(), 0);
}

#[tokio::test]
async fn a_reply_whose_caller_has_gone_registers_nothing_that_lasts() {
    let [here, there] = nodes();
    let (keeper, _seen) = sum(&there).await;
    let keeper = here.refer(&there, &keeper);
    let (reply, waiting) = lend(&here).await;
    waiting.abort();
    assert!(soon(waiting).await.is_err());
    keeper.cast(Far::Keep(reply)).unwrap();
    assert_eq!(here.pending_calls(), 0);
}

// W-3
#[tokio::test]
async fn a_message_that_finds_a_full_mailbox_answers_rejected() {
    let [here, there] = nodes();
    let (target, mut begun) = sum(&there).await;
    let remote = here.refer(&there, &target);
    let blocked = tokio::spawn({
        let remote = remote.clone();
        async move { remote.call(Far::Block).within(Duration::from_secs(60)).await }
    });
    next(&mut begun).await;
    while target.cast(Far::Add(1)).is_ok() {}
    let answer = soon(remote.call(Far::Get)).await;
    assert_eq!(answer, Err(CallError::Rejected(Why::Full)));
    target.kill();
    assert_eq!(soon(blocked).await.unwrap(), Err(CallError::Unknown(Lost::Dropped)));
    let answer = soon(remote.call(Far::Get)).await;
    assert!(matches!(answer, Err(CallError::Rejected(_))), "{answer:?}");
}

// W-3
#[tokio::test]
async fn a_queued_message_of_another_node_answers_rejected_when_its_actor_ends() {
    let [here, there] = nodes();
    let (target, mut begun) = sum(&there).await;
    let remote = here.refer(&there, &target);
    let call = |request: fn(Reply<u32>) -> Far| {
        let remote = remote.clone();
        tokio::spawn(async move { remote.call(request).within(Duration::from_secs(60)).await })
    };
    let blocked = call(Far::Block);
    next(&mut begun).await;
    let (reply, handed_on) = lend(&here).await;
    remote.cast(Far::Get(reply)).unwrap();
    let queued = call(Far::Get);
    while here.pending_calls() < 3 {
        tokio::task::yield_now().await;
    }
    while target.cast(Far::Add(1)).is_ok() {}
    target.kill();
    assert_eq!(soon(blocked).await.unwrap(), Err(CallError::Unknown(Lost::Dropped)));
    assert_eq!(soon(queued).await.unwrap(), Err(CallError::Rejected(Why::Stopped)));
    // Its actor has run, and handed it on.
    assert_eq!(soon(handed_on).await.unwrap(), Err(CallError::Unknown(Lost::Dropped)));
}

// NA-2
#[tokio::test]
async fn a_message_to_an_actor_that_is_not_listed_is_rejected() {
    let [here, there] = nodes();
    let (target, _seen) = sum(&there).await;
    let remote = here.refer(&there, &target);
    there.engine().stop();
    let answer = soon(remote.call(Far::Get)).await;
    assert_eq!(answer, Err(CallError::Rejected(Why::NoRoute)));
}

// W-2, W-3
#[tokio::test]
async fn a_message_cut_short_is_refused_and_answers_for_what_it_carried() {
    let [here, there] = nodes();
    let (first, waiting) = lend(&here).await;
    let (second, _also_waiting) = lend(&here).await;
    let mut outgoing = encode(&here.carrier(), &Far::Both(first, second)).unwrap();
    outgoing.sent();
    for length in 0..outgoing.head.len() {
        let cut = &outgoing.head[..length];
        assert!(decode::<Far>(&there.carrier(), here.node(), cut, Vec::new()).is_err());
    }
    assert_eq!(soon(waiting).await.unwrap(), Err(CallError::Unknown(Lost::Dropped)));
}

// W-3
#[tokio::test]
async fn a_call_that_is_not_understood_is_rejected() {
    #[derive(Serialize, Deserialize)]
    enum Newer {
        Get(Option<u8>, Reply<u32>, Vec<u8>),
    }
    protocol!(Newer = "test.far/2");
    let [here, there] = nodes();
    let (target, _seen) = sum(&there).await;
    here.refer(&there, &target);
    let address =
        Address { actor: target.id(), epoch: Epoch(1), node: there.node(), home: there.node() };
    let newer = ActorRef::<Newer>::at(&here.engine(), here.carrier(), address);
    let answer = soon(newer.call(|reply| Newer::Get(None, reply, vec![1]))).await;
    assert!(matches!(answer, Err(CallError::Rejected(Why::Incompatible(_)))), "{answer:?}");
    assert_eq!(here.pending_calls(), 0);
}

// W-2
#[tokio::test]
async fn bytes_left_over_after_a_message_are_refused() {
    let [here, there] = nodes();
    let mut head = encode(&here.carrier(), &Far::Add(1)).unwrap().head;
    assert!(decode::<Far>(&there.carrier(), here.node(), &head, Vec::new()).is_ok());
    head.push(0);
    assert!(decode::<Far>(&there.carrier(), here.node(), &head, Vec::new()).is_err());
}

// W-2
#[tokio::test]
async fn a_reference_to_an_actor_of_another_protocol_is_refused() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Other;
    protocol!(Other = "test.other/1");
    let [here, there] = nodes();
    let (target, _seen) = sum(&here).await;
    let head = encode(&here.carrier(), &target).unwrap().head;
    let away = decode::<ActorRef<Other>>(&there.carrier(), here.node(), &head, Vec::new());
    let back = encode(&there.carrier(), &away.unwrap()).unwrap().head;
    let home = decode::<ActorRef<Other>>(&here.carrier(), there.node(), &back, Vec::new());
    assert_eq!(home.unwrap_err(), "the actor takes other messages");
}

// W-2
#[test]
fn bytes_from_outside_never_panic() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let [here, there] = nodes();
    let payloads = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..3);
    // Small first bytes reach the variants.
    let head = (0u8..10, prop::collection::vec(any::<u8>(), 0..160));
    let raw = (head, payloads).prop_map(|((variant, mut rest), payloads)| {
        rest.insert(0, variant);
        Raw(rest, payloads.into_iter().map(Bytes::from).collect())
    });
    let mut runner = proptest::test_runner::TestRunner::default();
    runner
        .run(&raw, |Raw(head, payloads)| {
            // A value or a text; what was decoded is dropped, and its replies go nowhere.
            if let Ok(message) =
                decode::<Far>(&there.carrier(), here.node(), &head, payloads.clone())
            {
                drop(message);
            }
            let _ = decode::<(ActorRef<Far>, Payload, Reply<Payload>)>(
                &there.carrier(),
                here.node(),
                &head,
                payloads,
            );
            Ok(())
        })
        .unwrap();
}
