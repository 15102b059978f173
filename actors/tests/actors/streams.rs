//! Streams of replies, on one node and across two.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use mobula_actors::limits::STREAM_ITEMS;
use mobula_actors::{
    Actor, ActorRef, CallError, Context, Fault, Lost, ReplyStream, StreamError, StreamSender,
    Unsent, Why, protocol,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::fake_net::nodes;
use crate::puppet::{down, engine, next, soon};

#[derive(Serialize, Deserialize)]
enum Scan {
    /// Sends the numbers below, then finishes.
    Rows(u32, StreamSender<u32>),
    /// Sends three, then fails.
    Fail(StreamSender<u32>),
    /// Sends three, then drops the sender.
    Lose(StreamSender<u32>),
    /// Never answers.
    Keep(StreamSender<u32>),
    /// Has somebody else send.
    Hand(ActorRef<Self>, u32, StreamSender<u32>),
    /// Sends one, then tries to hand the rest on.
    HandLate(ActorRef<Self>, StreamSender<u32>),
}
protocol!(Scan = "test.scan/1");

#[derive(Debug, PartialEq)]
enum Seen {
    Sent(u32),
    Slow(u32),
    Abandoned(u32),
    Refused(Why),
}

struct Scanner {
    seen: mpsc::UnboundedSender<Seen>,
    kept: Vec<StreamSender<u32>>,
}

impl Actor for Scanner {
    type Args = mpsc::UnboundedSender<Seen>;
    type Msg = Scan;

    async fn start(seen: Self::Args, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self { seen, kept: Vec::new() })
    }

    async fn handle(&mut self, msg: Scan, _: &mut Context<Self>) -> Result<(), Fault> {
        match msg {
            Scan::Rows(rows, out) => {
                if let Some(out) = self.send(rows, out).await {
                    out.finish();
                }
            }
            Scan::Fail(out) => {
                if let Some(out) = self.send(3, out).await {
                    out.fail(Fault::new("no disk"));
                }
            }
            Scan::Lose(out) => drop(self.send(3, out).await),
            Scan::Keep(out) => self.kept.push(out),
            Scan::Hand(other, rows, out) => other.cast(Scan::Rows(rows, out))?,
            Scan::HandLate(other, out) => {
                if let Some(out) = self.send(1, out).await
                    && let Err(refused) = other.cast(Scan::Rows(1, out))
                {
                    let _ = self.seen.send(Seen::Refused(refused.why));
                }
            }
        }
        Ok(())
    }
}

impl Scanner {
    async fn send(&self, rows: u32, mut out: StreamSender<u32>) -> Option<StreamSender<u32>> {
        for row in 0..rows {
            let mut item = row;
            loop {
                match out.send(item).within(Duration::from_millis(100)).await {
                    Ok(()) => break self.seen.send(Seen::Sent(row)).ok()?,
                    Err(Unsent::Slow(back)) => {
                        item = back;
                        self.seen.send(Seen::Slow(back)).ok()?;
                    }
                    Err(Unsent::Abandoned(back)) => {
                        let _ = self.seen.send(Seen::Abandoned(back));
                        return None;
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
        Some(out)
    }
}

type Sightings = mpsc::UnboundedReceiver<Seen>;

async fn scanner(engine: &mobula_actors::Engine) -> (ActorRef<Scan>, Sightings) {
    let (told, seen) = mpsc::unbounded_channel();
    (engine.spawn(Scanner::spec(told)).await.unwrap(), seen)
}

async fn all(mut stream: ReplyStream<u32>) -> (Vec<u32>, Option<StreamError>) {
    let mut items = Vec::new();
    loop {
        match soon(stream.next()).await {
            Some(Ok(item)) => items.push(item),
            Some(Err(error)) => {
                assert_eq!(stream.next().await, None, "an error ends the stream");
                return (items, Some(error));
            }
            None => return (items, None),
        }
    }
}

fn below(end: u32) -> Vec<u32> {
    (0..end).collect()
}

/// A scanner of this node, one of another node, and what to keep alive for it.
async fn here_and_there() -> (Vec<(ActorRef<Scan>, Sightings)>, impl Sized) {
    let [here, there] = nodes();
    let near = scanner(&engine()).await;
    let (far, seen) = scanner(&there.carrier().engine()).await;
    (vec![near, (here.refer(&there, &far), seen)], (here, there))
}

// RS-2
#[tokio::test]
async fn the_items_come_in_order_and_then_the_end() {
    let (scanners, _nodes) = here_and_there().await;
    for (target, _seen) in scanners {
        for rows in [0, 1, 15, 16, 17, 500] {
            let stream = target.stream(|out| Scan::Rows(rows, out));
            assert_eq!(all(stream).await, (below(rows), None));
        }
    }
}

// RS-2
#[tokio::test]
async fn end_failure_and_loss_are_told_apart() {
    let (scanners, _nodes) = here_and_there().await;
    for (target, _seen) in scanners {
        let failed = StreamError::Failed(Fault::new("no disk"));
        assert_eq!(all(target.stream(Scan::Fail)).await, (below(3), Some(failed)));
        let lost = StreamError::Lost(CallError::Unknown(Lost::Dropped));
        assert_eq!(all(target.stream(Scan::Lose)).await, (below(3), Some(lost)));
    }
}

// RS-1
#[tokio::test(start_paused = true)]
async fn a_caller_that_takes_nothing_holds_the_sender_up() {
    let (scanners, _nodes) = here_and_there().await;
    for (target, mut seen) in scanners {
        let mut stream = target.stream(|out| Scan::Rows(100, out));
        assert_eq!(soon(stream.next()).await, Some(Ok(0)));
        for row in 0..STREAM_ITEMS as u32 {
            assert_eq!(next(&mut seen).await, Seen::Sent(row));
        }
        assert_eq!(next(&mut seen).await, Seen::Slow(STREAM_ITEMS as u32));
        let (rest, end) = all(stream).await;
        assert_eq!((rest.len(), end), (99, None));
    }
}

// RS-3
#[tokio::test(start_paused = true)]
async fn a_sender_hears_that_its_caller_has_gone() {
    let (scanners, _nodes) = here_and_there().await;
    for (target, mut seen) in scanners {
        let mut stream = target.stream(|out| Scan::Rows(100, out));
        assert_eq!(soon(stream.next()).await, Some(Ok(0)));
        drop(stream);
        loop {
            match next(&mut seen).await {
                Seen::Sent(_) => {}
                Seen::Abandoned(_) => break,
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_item_has_a_deadline() {
    let (scanners, _nodes) = here_and_there().await;
    for (target, _seen) in scanners {
        let stream = target.stream(Scan::Keep).within(Duration::from_millis(20));
        let late = StreamError::Lost(CallError::Unknown(Lost::Deadline));
        assert_eq!(all(stream).await, (vec![], Some(late)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_item_after_the_first_has_a_deadline_too() {
    let (told, mut seen) = mpsc::unbounded_channel();
    let mut stream = {
        let (target, _seen) = scanner(&engine()).await;
        target.stream(move |mut out| {
            // The first item is there before the request is.
            let waker = std::task::Waker::noop();
            let mut cx = std::task::Context::from_waker(waker);
            let sent = Pin::new(&mut out.send(1)).poll_now(&mut cx);
            told.send(sent).unwrap();
            Scan::Keep(out)
        })
    }
    .within(Duration::from_millis(20));
    assert!(next(&mut seen).await);
    assert_eq!(soon(stream.next()).await, Some(Ok(1)));
    let begun = tokio::time::Instant::now();
    let late = StreamError::Lost(CallError::Unknown(Lost::Deadline));
    assert_eq!(soon(stream.next()).await, Some(Err(late)));
    assert!(begun.elapsed() >= Duration::from_millis(20));
}

trait PollNow {
    fn poll_now(self, cx: &mut std::task::Context<'_>) -> bool;
}

impl<F: Future<Output = Result<(), Unsent<u32>>>> PollNow for Pin<&mut F> {
    fn poll_now(self, cx: &mut std::task::Context<'_>) -> bool {
        matches!(self.poll(cx), std::task::Poll::Ready(Ok(())))
    }
}

#[tokio::test]
async fn a_refused_request_is_the_error_of_the_first_item() {
    let (target, _seen) = scanner(&engine()).await;
    let mut downs = down(&target);
    target.stop();
    next(&mut downs).await;
    let refused = StreamError::Lost(CallError::Rejected(Why::Stopped));
    assert_eq!(all(target.stream(Scan::Keep)).await, (vec![], Some(refused)));
}

#[tokio::test]
async fn a_scanner_that_ends_loses_its_streams() {
    let (target, _seen) = scanner(&engine()).await;
    let mut stream = target.stream(Scan::Keep);
    let pending = poll_fn(|cx| std::task::Poll::Ready(Pin::new(&mut stream).poll_next(cx))).await;
    assert!(pending.is_pending());
    let mut downs = down(&target);
    // The second message proves that the first was taken.
    assert_eq!(all(target.stream(|out| Scan::Rows(1, out))).await, (below(1), None));
    target.kill();
    next(&mut downs).await;
    let lost = StreamError::Lost(CallError::Unknown(Lost::Dropped));
    assert_eq!(all(stream).await, (vec![], Some(lost)));
}

#[tokio::test]
async fn a_stream_is_sent_from_a_third_node() {
    let [here, there, third] = nodes();
    let (asked, _seen) = scanner(&there.carrier().engine()).await;
    let (sends, _also_seen) = scanner(&third.carrier().engine()).await;
    let (asked, sends) = (here.refer(&there, &asked), here.refer(&third, &sends));
    let stream = asked.stream(|out| Scan::Hand(sends, 50, out));
    assert_eq!(all(stream).await, (below(50), None));
    assert_eq!((here.pending_calls(), third.pending_calls()), (0, 0));
}

#[tokio::test]
async fn a_stream_that_has_begun_stays_on_its_node() {
    let [here, there] = nodes();
    let (far, _seen) = scanner(&there.carrier().engine()).await;
    let (near, mut seen) = scanner(&here.carrier().engine()).await;
    let far = here.refer(&there, &far);
    let stream = near.stream(|out| Scan::HandLate(far, out));
    let lost = StreamError::Lost(CallError::Unknown(Lost::Dropped));
    assert_eq!(all(stream).await, (below(1), Some(lost)));
    assert_eq!(next(&mut seen).await, Seen::Sent(0));
    assert!(matches!(next(&mut seen).await, Seen::Refused(Why::Incompatible(_))));
}
