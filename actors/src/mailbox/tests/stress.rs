//! The queue under real threads.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crate::mailbox::sync::{AtomicUsize, Ordering};
use crate::mailbox::{Consumer, Pop, PushError, Pushed, Queue, Waiter};

const PRODUCERS: usize = 4;
const EACH: usize = 20_000;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<R>(future: impl Future<Output = R>) -> R {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        thread::park();
    }
}

/// A value that counts its drops.
struct Counted {
    producer: usize,
    number: usize,
    drops: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

fn push_all(queue: &Queue<Counted>, producer: usize, drops: &Arc<AtomicUsize>, consumer: &Thread) {
    for number in 0..EACH {
        let mut value = Some(Counted { producer, number, drops: Arc::clone(drops) });
        let mut waiter = Waiter::default();
        match block_on(poll_fn(|cx| queue.poll_push(cx, &mut value, &mut waiter))) {
            Ok(Pushed::WakeConsumer) => consumer.unpark(),
            Ok(Pushed::Awake) => {}
            Err(PushError::Closed(_) | PushError::Full(_)) => return,
        }
    }
}

/// Pops until closed and empty, sleeping in between, and checks each producer's order.
fn pop_all(
    queue: &Queue<Counted>,
    consumer: &mut Consumer<'_, Counted>,
    close_after: usize,
) -> usize {
    let (mut expected, mut popped) = ([0; PRODUCERS], 0);
    loop {
        let closed = queue.is_closed();
        match consumer.pop() {
            Pop::Value(value) => {
                assert_eq!(value.number, expected[value.producer], "M-1: order per producer");
                expected[value.producer] += 1;
                popped += 1;
                if popped == close_after {
                    let _ = queue.close();
                }
            }
            Pop::Empty if closed => return popped,
            Pop::Empty if consumer.sleep() => thread::park(),
            Pop::Empty => {}
            Pop::Busy => thread::yield_now(),
        }
    }
}

/// M-1, M-2, M-6, M-7: nothing lost, nothing twice, in order; blocked producers and the sleeping
/// consumer are always woken, else this never ends.
fn four_producers_and_a_consumer(queue: &Queue<Counted>, close_after: usize) {
    let drops = Arc::new(AtomicUsize::new(0));
    let consumer_thread = thread::current();
    let popped = thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let (drops, consumer) = (&drops, &consumer_thread);
            scope.spawn(move || push_all(queue, producer, drops, consumer));
        }
        pop_all(queue, &mut queue.consumer().unwrap(), close_after)
    });
    assert!(popped >= close_after);
    assert_eq!(Arc::strong_count(&drops), 1, "M-1: no value is left");
    assert!(drops.load(Ordering::Relaxed) >= popped);
    assert!(queue.push(Counted { producer: 0, number: 0, drops }).is_err());
}

#[test]
fn four_producers_lose_nothing_without_bound() {
    four_producers_and_a_consumer(&Queue::unbounded(), PRODUCERS * EACH);
}

#[test]
fn four_producers_lose_nothing_with_little_room() {
    four_producers_and_a_consumer(&Queue::bounded(1), PRODUCERS * EACH);
    four_producers_and_a_consumer(&Queue::bounded(3), PRODUCERS * EACH);
}

#[test]
fn four_producers_lose_nothing_with_stepped_room() {
    four_producers_and_a_consumer(&Queue::bounded(128), PRODUCERS * EACH);
}

/// M-5: a close in the middle ends all producers, whether they push or wait.
#[test]
fn a_close_in_the_middle_ends_all_producers() {
    for capacity in [1, 2, 200] {
        four_producers_and_a_consumer(&Queue::bounded(capacity), EACH);
    }
}
