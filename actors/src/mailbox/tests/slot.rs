//! The answer slot on one thread.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::wakes::Wakes;
use crate::mailbox::Slot;

/// MS-1.
#[test]
fn the_first_completion_wins() {
    let (slot, mut waiting) = Slot::pair(());
    assert_eq!(slot.complete(1), Ok(()));
    assert_eq!(slot.complete(2), Err(2));
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(waiting.poll(&mut cx), Poll::Ready(1));
    assert_eq!(waiting.poll(&mut cx), Poll::Pending);
    assert_eq!(slot.complete(3), Err(3));
}

/// MS-3: the waker of the latest poll is woken, and only that one.
#[test]
fn a_completion_wakes_the_latest_waker() {
    let (slot, mut waiting) = Slot::pair(());
    let (old, new) = (Wakes::new(), Wakes::new());
    for wakes in [&old, &new, &new] {
        assert!(waiting.poll(&mut Context::from_waker(&wakes.waker())).is_pending());
    }
    slot.complete(1).unwrap();
    assert_eq!((old.count(), new.count()), (0, 1));
}

/// MS-4.
#[test]
fn an_abandoned_slot_gives_the_value_back() {
    let (slot, mut waiting) = Slot::pair(());
    waiting.abandon();
    assert!(slot.is_abandoned());
    assert_eq!(slot.complete(1), Err(1));
}

/// MS-2.
#[test]
fn a_value_is_dropped_with_the_waiting_side_or_with_the_slot() {
    let value = Arc::new(());
    let (slot, mut waiting) = Slot::pair(());
    slot.complete(Arc::clone(&value)).unwrap();
    waiting.abandon();
    assert_eq!(Arc::strong_count(&value), 1);
    assert!(waiting.poll(&mut Context::from_waker(Waker::noop())).is_pending());

    let (slot, waiting) = Slot::pair(());
    slot.complete(Arc::clone(&value)).unwrap();
    drop((slot, waiting));
    assert_eq!(Arc::strong_count(&value), 1);
}
