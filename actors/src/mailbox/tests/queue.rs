//! The queue on one thread: edges, errors, memory and drops.

use std::sync::Arc;

use crate::mailbox::{Pop, PushError, Pushed, Queue};

/// The memory of millions of idle mailboxes: two cache lines each.
#[test]
fn an_idle_queue_is_small_and_its_ends_lie_a_cache_line_apart() {
    assert_eq!(size_of::<Queue<u64>>(), 112);
    assert_eq!(Queue::<u64>::ENDS_APART, 64);
}

/// M-2: only the push that ends the sleep says so.
#[test]
fn the_first_push_alone_wakes_the_consumer() {
    let queue = Queue::unbounded();
    assert_eq!(queue.push(1), Ok(Pushed::WakeConsumer));
    assert_eq!(queue.push(2), Ok(Pushed::Awake));
    let mut consumer = queue.consumer().unwrap();
    assert!(!consumer.sleep(), "two values are queued");
    assert_eq!((consumer.pop(), consumer.pop()), (Pop::Value(1), Pop::Value(2)));
    assert_eq!(consumer.pop(), Pop::Empty);
    assert!(consumer.sleep());
    assert_eq!(queue.push(3), Ok(Pushed::WakeConsumer));
}

/// M-2: a consumer that is polled without a push keeps sleeping.
#[test]
fn a_sleeping_consumer_may_pop_and_sleep_again() {
    let queue = Queue::<u8>::bounded(1);
    let mut consumer = queue.consumer().unwrap();
    for _ in 0..3 {
        assert_eq!(consumer.pop(), Pop::Empty);
        assert!(consumer.sleep());
    }
    assert_eq!(queue.push(1), Ok(Pushed::WakeConsumer));
    assert_eq!(consumer.pop(), Pop::Value(1));
}

/// M-8: blocks come and go with the values.
#[test]
fn an_idle_queue_owns_no_block() {
    let queue = Queue::unbounded();
    assert!(queue.owns_no_block());
    for value in 0..1_000 {
        let _ = queue.push(value).unwrap();
    }
    let mut consumer = queue.consumer().unwrap();
    for value in 0..1_000 {
        assert_eq!(consumer.pop(), Pop::Value(value));
    }
    assert!(!queue.owns_no_block());
    assert!(consumer.sleep());
    assert!(queue.owns_no_block());
}

/// M-8: a closed queue, too, gives its memory back once it is empty.
#[test]
fn a_closed_queue_gives_its_block_back_after_the_last_pop() {
    let queue = Queue::unbounded();
    let _ = queue.push(1).unwrap();
    assert_eq!(queue.close(), Pushed::Awake);
    let mut consumer = queue.consumer().unwrap();
    assert_eq!(consumer.pop(), Pop::Value(1));
    assert!(!consumer.sleep(), "nobody would wake it");
    assert!(queue.owns_no_block());
    assert_eq!(consumer.pop(), Pop::Empty);
}

/// M-5: values come back, and what was queued stays poppable.
#[test]
fn a_closed_queue_gives_values_back_and_keeps_what_it_has() {
    let queue = Queue::bounded(1);
    let _ = queue.push(1).unwrap();
    assert_eq!(queue.push(2), Err(PushError::Full(2)));
    assert_eq!(queue.close(), Pushed::Awake);
    assert_eq!(queue.close(), Pushed::Awake);
    assert_eq!(queue.push(2).unwrap_err().into_inner(), 2);
    assert_eq!(queue.push_beyond(3, 9), Err(PushError::Closed(3)));
    assert_eq!(queue.consumer().unwrap().pop(), Pop::Value(1));
}

#[test]
fn closing_a_sleeping_queue_wakes_its_consumer_once() {
    let queue = Queue::<u8>::unbounded();
    assert_eq!(queue.close(), Pushed::WakeConsumer);
    assert_eq!(queue.close(), Pushed::Awake);
}

/// M-6: credited values go beyond the capacity, by exactly their credit.
#[test]
fn extra_room_is_on_top_of_the_capacity() {
    let queue = Queue::bounded(0);
    assert_eq!(queue.capacity(), 1);
    let _ = queue.push(1).unwrap();
    let _ = queue.push_beyond(2, 1).unwrap();
    assert_eq!(queue.push_beyond(3, 1), Err(PushError::Full(3)));
    assert_eq!(queue.len(), 2);
}

/// M-6: a large queue shows room late, but an empty or published one shows all of it.
#[test]
fn a_large_queue_shows_room_when_published_or_empty() {
    let queue = Queue::bounded(128);
    for value in 0..128 {
        let _ = queue.push(value).unwrap();
    }
    let mut consumer = queue.consumer().unwrap();
    assert_eq!(consumer.pop(), Pop::Value(0));
    assert!(queue.push(0).is_err());
    consumer.publish();
    assert!(queue.push(128).is_ok());
    while consumer.pop() != Pop::Empty {}
    assert!(queue.is_empty());
}

/// M-4: one consumer at a time, one after the other.
#[test]
fn the_next_consumer_goes_on_where_the_last_one_stopped() {
    let queue = Queue::unbounded();
    for value in 0..70 {
        let _ = queue.push(value).unwrap();
    }
    for value in 0..70 {
        let mut consumer = queue.consumer().unwrap();
        assert!(queue.consumer().is_none());
        assert_eq!(consumer.pop(), Pop::Value(value));
    }
}

/// M-1: dropping the queue drops what is in it, also when the consumer was leaked.
#[test]
fn a_dropped_queue_drops_what_is_queued_once() {
    let value = Arc::new(());
    let queue = Queue::unbounded();
    for _ in 0..100 {
        let _ = queue.push(Arc::clone(&value)).unwrap();
    }
    let mut consumer = queue.consumer().unwrap();
    for _ in 0..40 {
        assert!(matches!(consumer.pop(), Pop::Value(_)));
    }
    assert_eq!(Arc::strong_count(&value), 61);
    std::mem::forget(consumer);
    drop(queue);
    assert_eq!(Arc::strong_count(&value), 1);
}
