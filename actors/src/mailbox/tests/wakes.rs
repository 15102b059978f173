//! Waiting pushes on one thread, with wakers that count.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::mailbox::sync::{AtomicUsize, Ordering};
use crate::mailbox::{Pop, PushError, Pushed, Queue, Waiter};

/// A waker that counts its wakes.
pub(super) struct Wakes(AtomicUsize);

impl Wakes {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(0)))
    }

    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        Arc::clone(self).into()
    }

    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// One push that waits.
struct Push {
    value: Option<u32>,
    waiter: Waiter,
    wakes: Arc<Wakes>,
}

impl Push {
    fn new(value: u32) -> Self {
        Self { value: Some(value), waiter: Waiter::default(), wakes: Wakes::new() }
    }

    fn poll(&mut self, queue: &Queue<u32>) -> Poll<Result<Pushed, PushError<u32>>> {
        let waker = self.wakes.waker();
        queue.poll_push(&mut Context::from_waker(&waker), &mut self.value, &mut self.waiter)
    }
}

/// A queue with room for two, full, and three pushes that wait.
fn full() -> (Queue<u32>, [Push; 3]) {
    let queue = Queue::bounded(2);
    let _ = queue.push(1).unwrap();
    let _ = queue.push(2).unwrap();
    let mut pushes = [Push::new(3), Push::new(4), Push::new(5)];
    for push in &mut pushes {
        assert!(push.poll(&queue).is_pending());
    }
    (queue, pushes)
}

fn woken(pushes: &[Push; 3]) -> [usize; 3] {
    pushes.each_ref().map(|push| push.wakes.count())
}

/// M-7: as many as there is room, in the order they came.
#[test]
fn room_wakes_the_longest_waiting_first() {
    let (queue, mut pushes) = full();
    let mut consumer = queue.consumer().unwrap();
    assert_eq!(consumer.pop(), Pop::Value(1));
    assert_eq!(woken(&pushes), [1, 0, 0]);
    assert!(pushes[1].poll(&queue).is_pending(), "the second does not overtake");
    assert!(pushes[0].poll(&queue).is_ready());
    assert_eq!(consumer.pop(), Pop::Value(2));
    assert_eq!(consumer.pop(), Pop::Value(3));
    assert_eq!(woken(&pushes), [1, 1, 1]);
}

/// How many of 1,024 values are popped before a waiting push is woken.
fn popped_before_the_wake(queue: Queue<u32>) -> usize {
    for value in 0..1_024 {
        let _ = queue.push(value).unwrap();
    }
    let mut push = Push::new(9);
    assert!(push.poll(&queue).is_pending());
    let mut consumer = queue.consumer().unwrap();
    (1..=1_024)
        .find(|_| {
            assert!(matches!(consumer.pop(), Pop::Value(_)));
            push.wakes.count() > 0
        })
        .unwrap()
}

/// M-7: a large queue wakes for many at a time, a prompt one for each.
#[test]
fn a_large_queue_wakes_who_waits_once_there_is_room_for_many() {
    assert_eq!(popped_before_the_wake(Queue::bounded(1_024)), 128);
    assert_eq!(popped_before_the_wake(Queue::bounded(1_024).prompt()), 1);
}

/// M-7: a consumer that rests wakes whom it let wait.
#[test]
fn a_large_queue_leaves_nobody_waiting_when_its_consumer_pauses() {
    let queue = Queue::bounded(1_024);
    for value in 0..1_024 {
        let _ = queue.push(value).unwrap();
    }
    let mut push = Push::new(9);
    assert!(push.poll(&queue).is_pending());
    let mut consumer = queue.consumer().unwrap();
    (0..64).for_each(|_| assert!(matches!(consumer.pop(), Pop::Value(_))));
    assert_eq!(push.wakes.count(), 0);
    drop(consumer);
    assert_eq!(push.wakes.count(), 1);
}

/// M-7: a newcomer stands in line behind the others.
#[test]
fn a_newcomer_waits_behind_those_in_line() {
    let (queue, mut pushes) = full();
    let mut consumer = queue.consumer().unwrap();
    assert_eq!((consumer.pop(), consumer.pop()), (Pop::Value(1), Pop::Value(2)));
    let mut newcomer = Push::new(6);
    assert!(newcomer.poll(&queue).is_pending(), "the third is still in line");
    assert!(pushes[0].poll(&queue).is_ready());
    assert!(pushes[1].poll(&queue).is_ready());
}

/// M-7: a wake that comes to nothing goes to the next, and only once.
#[test]
fn a_push_given_up_after_its_wake_passes_it_on() {
    let (queue, mut pushes) = full();
    assert_eq!(queue.consumer().unwrap().pop(), Pop::Value(1));
    queue.cancel(&mut pushes[0].waiter);
    assert_eq!(woken(&pushes), [1, 1, 0]);
    queue.cancel(&mut pushes[0].waiter);
    assert_eq!(woken(&pushes), [1, 1, 0]);
    assert_eq!(pushes[0].value, Some(3), "the value is still the caller's");
}

/// M-7: a push given up before its wake just leaves the line.
#[test]
fn a_push_given_up_before_its_wake_is_skipped() {
    let (queue, mut pushes) = full();
    queue.cancel(&mut pushes[0].waiter);
    assert_eq!(queue.consumer().unwrap().pop(), Pop::Value(1));
    assert_eq!(woken(&pushes), [0, 1, 0]);
}

/// M-7: room taken by a plain push costs a woken waiter its turn, not its place.
#[test]
fn a_waiter_woken_in_vain_keeps_its_place() {
    let (queue, mut pushes) = full();
    let mut consumer = queue.consumer().unwrap();
    assert_eq!(consumer.pop(), Pop::Value(1));
    let _ = queue.push(9).unwrap();
    assert!(pushes[0].poll(&queue).is_pending());
    assert_eq!(consumer.pop(), Pop::Value(2));
    assert_eq!(woken(&pushes), [2, 0, 0]);
}

/// M-5, M-7: everybody is woken and gets the value back.
#[test]
fn a_close_wakes_all_who_wait() {
    let (queue, mut pushes) = full();
    assert_eq!(queue.close(), Pushed::Awake);
    assert_eq!(woken(&pushes), [1, 1, 1]);
    for (push, value) in pushes.iter_mut().zip(3..) {
        assert_eq!(push.poll(&queue), Poll::Ready(Err(PushError::Closed(value))));
    }
}

#[test]
fn a_waiting_push_of_nothing_is_done() {
    let queue = Queue::bounded(1);
    let mut push = Push::new(1);
    assert_eq!(push.poll(&queue), Poll::Ready(Ok(Pushed::WakeConsumer)));
    assert_eq!(push.poll(&queue), Poll::Ready(Ok(Pushed::Awake)));
    assert_eq!(queue.len(), 1);
}
