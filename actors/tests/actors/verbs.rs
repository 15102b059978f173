//! `cast` and `send`.

use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::task::{Context as TaskContext, Waker};
use std::time::Duration;

use mobula_actors::{Actor, Context, Fault, Reply, Why};

use crate::puppet::{Event, Msg, Puppet, Script, busy, engine, next, puppet, soon};

#[tokio::test]
async fn a_counter_takes_fourteen_lines() {
    enum CounterMsg {
        Add(i64),
        Get(Reply<i64>),
    }
    struct Counter(i64);
    impl Actor for Counter {
        type Args = i64;
        type Msg = CounterMsg;
        async fn start(n: i64, _: &mut Context<Self>) -> Result<Self, Fault> {
            Ok(Self(n))
        }
        async fn handle(&mut self, msg: CounterMsg, _: &mut Context<Self>) -> Result<(), Fault> {
            match msg {
                CounterMsg::Add(n) => self.0 += n,
                CounterMsg::Get(reply) => reply.send(self.0),
            }
            Ok(())
        }
    }
    let counter = engine().spawn(Counter::spec(1)).await.unwrap();
    counter.cast(CounterMsg::Add(5)).unwrap();
    counter.send(CounterMsg::Add(5)).await.unwrap();
    assert_eq!(counter.call(CounterMsg::Get).await, Ok(11));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_each_sender_arrive_in_the_order_sent() {
    const EACH: u32 = 2_000;
    let (target, mut events) = puppet(&engine(), 16).await;
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let target = target.clone();
            tokio::spawn(async move {
                for number in 0..EACH {
                    target.send(Msg::Note(sender * EACH + number)).await.unwrap();
                }
            })
        })
        .collect();
    let mut expected = [0; 4];
    for _ in 0..4 * EACH {
        let Event::Note(note) = next(&mut events).await else { panic!("a note was due") };
        let sender = (note / EACH) as usize;
        assert_eq!(note % EACH, expected[sender], "sender {sender}");
        expected[sender] += 1;
    }
    for sender in senders {
        soon(sender).await.unwrap();
    }
}

//
#[tokio::test]
async fn a_cast_on_a_full_mailbox_gives_the_message_back() {
    let (target, mut events) = puppet(&engine(), 2).await;
    let over = busy(&target).await;
    target.cast(Msg::Note(1)).unwrap();
    target.cast(Msg::Note(2)).unwrap();
    let refused = target.cast(Msg::Note(3)).unwrap_err();
    assert_eq!(refused.why, Why::Full);
    assert!(matches!(refused.message, Msg::Note(3)));
    drop(over);
    assert_eq!(next(&mut events).await, Event::Note(1));
    assert_eq!(next(&mut events).await, Event::Note(2));
    target.cast(Msg::Note(4)).unwrap();
    assert_eq!(next(&mut events).await, Event::Note(4));
}

#[tokio::test]
async fn a_send_waits_for_room() {
    let (target, mut events) = puppet(&engine(), 1).await;
    let over = busy(&target).await;
    target.cast(Msg::Note(1)).unwrap();
    let mut sending = pin!(target.send(Msg::Note(2)).into_future());
    let mut cx = TaskContext::from_waker(Waker::noop());
    assert!(sending.as_mut().poll(&mut cx).is_pending());
    drop(over);
    soon(sending).await.unwrap();
    assert_eq!(next(&mut events).await, Event::Note(1));
    assert_eq!(next(&mut events).await, Event::Note(2));
}

//
#[tokio::test]
async fn a_send_gives_the_message_back_at_its_deadline() {
    let (target, _events) = puppet(&engine(), 1).await;
    let _over = busy(&target).await;
    target.cast(Msg::Note(1)).unwrap();
    let refused = target.send(Msg::Note(2)).within(Duration::from_millis(1)).await.unwrap_err();
    assert_eq!(refused.why, Why::Full);
    assert!(matches!(refused.message, Msg::Note(2)));
}

// A-2, SD-1
#[tokio::test]
async fn a_send_dropped_while_it_waits_leaves_nothing() {
    let (target, mut events) = puppet(&engine(), 1).await;
    let over = busy(&target).await;
    target.cast(Msg::Note(1)).unwrap();
    let mut cx = TaskContext::from_waker(Waker::noop());
    {
        let mut sending = pin!(target.send(Msg::Note(2)).into_future());
        assert!(sending.as_mut().poll(&mut cx).is_pending());
    }
    let mut later = pin!(target.send(Msg::Note(3)).into_future());
    assert!(later.as_mut().poll(&mut cx).is_pending());
    drop(over);
    soon(later).await.unwrap();
    assert_eq!(next(&mut events).await, Event::Note(1));
    assert_eq!(next(&mut events).await, Event::Note(3));
}

#[tokio::test]
async fn the_longest_wait_is_a_wait_and_not_a_panic() {
    let (target, mut events) = puppet(&engine(), 1).await;
    target.send(Msg::Note(1)).within(Duration::MAX).await.unwrap();
    assert_eq!(next(&mut events).await, Event::Note(1));
    assert_eq!(target.call(Msg::Ask).within(Duration::MAX).await, Ok(1));
}

#[tokio::test]
async fn an_actor_may_send_to_itself_while_it_starts() {
    let (script, mut events) = Script::new();
    let script = script.opening(|ctx| {
        ctx.me().cast(Msg::Note(1)).map_err(Fault::from)?;
        ctx.me().cast(Msg::Note(2)).map_err(Fault::from)
    });
    engine().spawn(Puppet::spec(script)).await.unwrap();
    assert!(matches!(next(&mut events).await, Event::Started(..)));
    assert_eq!(next(&mut events).await, Event::Note(1));
    assert_eq!(next(&mut events).await, Event::Note(2));
}

//
#[tokio::test]
async fn an_actor_outlives_its_references() {
    let engine = engine();
    let (target, mut events) = puppet(&engine, 4).await;
    engine.register("kept", &target).unwrap();
    drop(target);
    engine.lookup::<Msg>("kept").unwrap().cast(Msg::Note(1)).unwrap();
    assert_eq!(next(&mut events).await, Event::Note(1));
}
