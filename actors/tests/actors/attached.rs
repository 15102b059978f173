//! Streams whose items are messages.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context as TaskContext, Poll};

use futures_core::Stream;
use mobula_actors::Exit;

use crate::puppet::{Event, Msg, busy, down, engine, next, puppet};

/// Counts up to `last`, and how often it was asked.
struct Counting {
    last: u32,
    pulled: Arc<AtomicU32>,
}

impl Stream for Counting {
    type Item = u32;

    fn poll_next(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<Option<u32>> {
        let number = self.pulled.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(number != 666, "beast");
        Poll::Ready((number <= self.last).then_some(number))
    }
}

fn attach(last: u32, first: u32) -> (Msg, Arc<AtomicU32>) {
    let pulled = Arc::new(AtomicU32::new(first));
    let stream = Counting { last, pulled: pulled.clone() };
    let message = Msg::act(move |_, ctx| {
        ctx.attach(stream, |item| Msg::Note(item.unwrap_or(1_000)));
        Ok(())
    });
    (message, pulled)
}

#[tokio::test]
async fn the_items_of_a_stream_arrive_in_order_and_then_its_end() {
    let (target, mut events) = puppet(&engine(), 4).await;
    target.cast(attach(50, 0).0).unwrap();
    for number in (1..=50).chain([1_000]) {
        assert_eq!(next(&mut events).await, Event::Note(number));
    }
}

#[tokio::test]
async fn a_stream_is_pulled_only_while_there_is_room() {
    let (target, mut events) = puppet(&engine(), 4).await;
    let (attach, pulled) = attach(50, 0);
    target.cast(attach).unwrap();
    let over = busy(&target).await;
    assert_eq!(
        target
            .send(Msg::Note(0))
            .within(std::time::Duration::from_millis(20))
            .await
            .unwrap_err()
            .why,
        mobula_actors::Why::Full
    );
    // Four fill the mailbox, and one waits at its door.
    assert_eq!(pulled.load(Ordering::SeqCst), 5);
    drop(over);
    for number in (1..=50).chain([1_000]) {
        assert_eq!(next(&mut events).await, Event::Note(number));
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_run() {
    let (target, _events) = puppet(&engine(), 4).await;
    let (attach, pulled) = attach(u32::MAX, 1_000);
    target.cast(attach).unwrap();
    let mut downs = down(&target);
    target.stop();
    next(&mut downs).await;
    assert_eq!(Arc::strong_count(&pulled), 1);
}

#[tokio::test]
async fn a_stream_that_panics_ends_the_run() {
    let (target, _events) = puppet(&engine(), 4).await;
    let mut downs = down(&target);
    target.cast(attach(u32::MAX, 660).0).unwrap();
    assert_eq!(next(&mut downs).await.exit, Exit::Panicked("beast".into()));
}
