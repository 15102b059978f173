//! Loom models: every interleaving within the preemption bound, blocks of two slots.

use std::future::poll_fn;
use std::task::{Poll, Wake};

use loom::future::{AtomicWaker, block_on};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::mailbox::{Consumer, Pop, PushError, Pushed, Queue, Slot, Waiter};

/// A queue, and the waker its sleeping consumer is woken with.
struct Mailbox {
    queue: Queue<usize>,
    waker: AtomicWaker,
}

impl Mailbox {
    fn new(queue: Queue<usize>) -> Arc<Self> {
        Arc::new(Self { queue, waker: AtomicWaker::new() })
    }

    fn heed(&self, pushed: Pushed) {
        if pushed == Pushed::WakeConsumer {
            self.waker.wake();
        }
    }

    fn push(&self, value: usize) -> Result<(), PushError<usize>> {
        self.queue.push(value).map(|pushed| self.heed(pushed))
    }

    fn close(&self) {
        self.heed(self.queue.close());
    }

    fn push_waiting(&self, value: usize) -> Result<(), PushError<usize>> {
        let (mut value, mut waiter) = (Some(value), Waiter::default());
        block_on(poll_fn(|cx| self.queue.poll_push(cx, &mut value, &mut waiter)))
            .map(|pushed| self.heed(pushed))
    }

    /// The next value, `None` once closed and empty. Sleeps in between.
    fn next(&self, consumer: &mut Consumer<'_, usize>) -> Option<usize> {
        block_on(poll_fn(|cx| {
            loop {
                let closed = self.queue.is_closed();
                match consumer.pop() {
                    Pop::Value(value) => return Poll::Ready(Some(value)),
                    Pop::Empty if closed => return Poll::Ready(None),
                    Pop::Busy => thread::yield_now(),
                    Pop::Empty => {
                        self.waker.register_by_ref(cx.waker());
                        if consumer.sleep() {
                            return Poll::Pending;
                        }
                    }
                }
            }
        }))
    }
}

fn spawn<R: 'static>(
    mailbox: &Arc<Mailbox>,
    run: impl FnOnce(&Mailbox) -> R + 'static,
) -> thread::JoinHandle<R> {
    let mailbox = Arc::clone(mailbox);
    thread::spawn(move || run(&mailbox))
}

/// M-1, M-2: a value pushed while the consumer goes to sleep, sleeps or wakes is found.
#[test]
fn loom_a_push_at_the_edge_of_sleep_is_never_lost() {
    loom::model(|| {
        let mailbox = Mailbox::new(Queue::unbounded());
        let producer = spawn(&mailbox, |mailbox| {
            for value in 0..3 {
                mailbox.push(value).unwrap();
            }
        });
        let mut consumer = mailbox.queue.consumer().unwrap();
        for value in 0..3 {
            assert_eq!(mailbox.next(&mut consumer), Some(value));
        }
        producer.join().unwrap();
    });
}

/// M-1, M-3: two producers meet at a block's first slot; one installs it, nothing is lost.
#[test]
fn loom_two_producers_meet_at_a_block_boundary() {
    loom::model(|| {
        let mailbox = Mailbox::new(Queue::unbounded());
        mailbox.push(10).unwrap();
        let other = spawn(&mailbox, |mailbox| {
            mailbox.push(20).unwrap();
            mailbox.push(21).unwrap();
        });
        mailbox.push(11).unwrap();
        other.join().unwrap();
        let mut consumer = mailbox.queue.consumer().unwrap();
        let found: Vec<_> = (0..4).map(|_| mailbox.next(&mut consumer).unwrap()).collect();
        let of =
            |tens| found.iter().copied().filter(|value| value / 10 == tens).collect::<Vec<_>>();
        assert_eq!((of(1), of(2)), (vec![10, 11], vec![20, 21]));
    });
}

/// M-1, M-2, M-3: two producers while the consumer pops one value, frees the block and sleeps. It
/// does not wait here: each sleep ended is one wake, and the rest is found afterwards.
#[test]
fn loom_two_producers_install_while_the_consumer_goes_to_sleep() {
    loom::model(|| {
        let mailbox = Mailbox::new(Queue::unbounded());
        let push = |value| spawn(&mailbox, move |mailbox| mailbox.queue.push(value).unwrap());
        let pushes = [push(1), push(2)];
        let mut consumer = mailbox.queue.consumer().unwrap();
        let early = match consumer.pop() {
            Pop::Value(value) => value,
            Pop::Empty | Pop::Busy => 0,
        };
        let slept = consumer.sleep();
        let pushed = pushes.map(|push| push.join().unwrap());
        let wakes = pushed.iter().filter(|pushed| **pushed == Pushed::WakeConsumer).count();
        let slept_between = slept && early != 0;
        assert_eq!(wakes, 1 + usize::from(slept_between));
        let mut sum = early;
        while let Pop::Value(value) = consumer.pop() {
            sum += value;
        }
        assert_eq!(sum, 3);
    });
}

/// M-5: what was accepted before the close is queued, what was not comes back, then it is over.
#[test]
fn loom_two_producers_and_close() {
    loom::model(|| {
        let mailbox = Mailbox::new(Queue::unbounded());
        let one = spawn(&mailbox, |mailbox| mailbox.push(1));
        let two = spawn(&mailbox, |mailbox| mailbox.push(2));
        mailbox.close();
        let accepted = [one.join().unwrap(), two.join().unwrap()].map(|pushed| pushed.is_ok());
        let mut consumer = mailbox.queue.consumer().unwrap();
        let mut found = [false; 2];
        while let Some(value) = mailbox.next(&mut consumer) {
            found[value - 1] = true;
        }
        assert_eq!(found, accepted);
    });
}

/// M-2, M-5: a close at the edge of sleep ends the consumer, after the values before it.
#[test]
fn loom_a_close_at_the_edge_of_sleep_is_never_lost() {
    loom::model(|| {
        let mailbox = Mailbox::new(Queue::unbounded());
        let producer = spawn(&mailbox, |mailbox| {
            mailbox.push(1).unwrap();
            mailbox.close();
        });
        let mut consumer = mailbox.queue.consumer().unwrap();
        assert_eq!(mailbox.next(&mut consumer), Some(1));
        assert_eq!(mailbox.next(&mut consumer), None);
        producer.join().unwrap();
    });
}

/// M-6, M-7: with room for one, a waiting push gets in as soon as the consumer made room.
#[test]
fn loom_a_waiting_push_gets_the_room_of_a_pop() {
    loom::model(|| {
        let mailbox = Mailbox::new(Queue::bounded(1));
        mailbox.push(1).unwrap();
        let producer = spawn(&mailbox, |mailbox| mailbox.push_waiting(2).unwrap());
        let mut consumer = mailbox.queue.consumer().unwrap();
        assert_eq!(mailbox.next(&mut consumer), Some(1));
        assert_eq!(mailbox.next(&mut consumer), Some(2));
        producer.join().unwrap();
    });
}

/// M-7: a push that waits for a stepped queue, whose consumer may leave it waiting while it pops,
/// gets in before that sleeps.
#[test]
fn loom_a_push_that_waits_for_a_stepped_queue_is_not_left_behind() {
    loom::model(|| {
        let mailbox = Mailbox::new(Queue::bounded(4));
        for value in 1..=4 {
            mailbox.push(value).unwrap();
        }
        let producer = spawn(&mailbox, |mailbox| mailbox.push_waiting(5).unwrap());
        let mut consumer = mailbox.queue.consumer().unwrap();
        for value in 1..=5 {
            assert_eq!(mailbox.next(&mut consumer), Some(value));
        }
        producer.join().unwrap();
    });
}

/// M-6: the capacity holds at every moment, also across sleeps, and an empty queue is never full.
#[test]
fn loom_an_empty_queue_has_room_while_the_consumer_sleeps() {
    loom::model(|| {
        let mailbox = Mailbox::new(Queue::bounded(1));
        let producer = spawn(&mailbox, |mailbox| {
            mailbox.push_waiting(1).unwrap();
            mailbox.push_waiting(2).unwrap();
        });
        let mut consumer = mailbox.queue.consumer().unwrap();
        assert_eq!(mailbox.next(&mut consumer), Some(1));
        assert!(mailbox.queue.len() <= 1);
        assert_eq!(mailbox.next(&mut consumer), Some(2));
        producer.join().unwrap();
    });
}

/// M-6: the room of a sleeping queue is whole, although its index jumped to the next block before
/// the consumer could publish that.
#[test]
fn loom_the_push_that_wakes_leaves_the_rest_of_the_room() {
    loom::model(|| {
        let mailbox = Mailbox::new(Queue::bounded(2));
        mailbox.push(1).unwrap();
        let consumer = spawn(&mailbox, |mailbox| {
            let mut consumer = mailbox.queue.consumer().unwrap();
            assert_eq!(consumer.pop(), Pop::Value(1));
            consumer.sleep();
        });
        if mailbox.queue.push(2).unwrap() == Pushed::WakeConsumer {
            assert_eq!(mailbox.queue.push(3), Ok(Pushed::Awake));
        }
        consumer.join().unwrap();
    });
}

/// M-5, M-7: a close wakes a waiting push, which gets its value back.
#[test]
fn loom_a_close_ends_a_waiting_push() {
    loom::model(|| {
        let mailbox = Mailbox::new(Queue::bounded(1));
        mailbox.push(1).unwrap();
        let producer = spawn(&mailbox, |mailbox| mailbox.push_waiting(2));
        mailbox.close();
        assert_eq!(producer.join().unwrap(), Err(PushError::Closed(2)));
    });
}

/// M-7: two wait, room for one appears, the first gives up: the second gets in, wherever the first
/// was at that moment.
#[test]
fn loom_a_cancelled_waiter_passes_its_wake_on() {
    loom::model(|| {
        let mailbox = Mailbox::new(Queue::bounded(1));
        mailbox.push(1).unwrap();
        let (mut value, mut first) = (Some(9), Waiter::default());
        let unheard = std::sync::Arc::new(Unheard).into();
        let mut cx = std::task::Context::from_waker(&unheard);
        assert!(mailbox.queue.poll_push(&mut cx, &mut value, &mut first).is_pending());
        let second = spawn(&mailbox, |mailbox| mailbox.push_waiting(2).unwrap());
        let pops = spawn(&mailbox, |mailbox| {
            let mut consumer = mailbox.queue.consumer().unwrap();
            assert_eq!(mailbox.next(&mut consumer), Some(1));
            assert_eq!(mailbox.next(&mut consumer), Some(2));
        });
        mailbox.queue.cancel(&mut first);
        second.join().unwrap();
        pops.join().unwrap();
    });
}

/// The waker of a push that is about to be given up.
struct Unheard;

impl Wake for Unheard {
    fn wake(self: std::sync::Arc<Self>) {}
}

/// MS-1, MS-3: a completion during or after the poll wakes it.
#[test]
fn loom_slot_complete_against_poll() {
    loom::model(|| {
        let (slot, mut waiting) = Slot::pair(());
        let completer = {
            let slot = std::sync::Arc::clone(&slot);
            thread::spawn(move || slot.complete(7).unwrap())
        };
        assert_eq!(block_on(poll_fn(|cx| waiting.poll(cx))), 7);
        completer.join().unwrap();
    });
}

/// Counts its drops, to see that a value is dropped exactly once.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// MS-2, MS-4: the value is given back or dropped by the slot, once.
#[test]
fn loom_slot_complete_against_abandon() {
    loom::model(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let (slot, mut waiting) = Slot::pair(());
        let completer = {
            let (slot, value) = (std::sync::Arc::clone(&slot), Dropped(Arc::clone(&drops)));
            thread::spawn(move || slot.complete(value).is_ok())
        };
        waiting.abandon();
        completer.join().unwrap();
        // Given back or dropped by `abandon`, and not with the slot.
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        drop((slot, waiting));
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    });
}

/// MS-1: of two completers one wins, and the poll finds its value.
#[test]
fn loom_slot_two_completers() {
    loom::model(|| {
        let (slot, mut waiting) = Slot::pair(());
        let complete = |value| {
            let slot = std::sync::Arc::clone(&slot);
            thread::spawn(move || slot.complete(value).is_ok())
        };
        let (one, two) = (complete(1), complete(2));
        let found = block_on(poll_fn(|cx| waiting.poll(cx)));
        let won = (one.join().unwrap(), two.join().unwrap());
        assert_eq!(won, (found == 1, found == 2));
    });
}
