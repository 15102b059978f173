//! Wakes that wait for the end of a batch.
//!
//! Who delivers many messages at once would otherwise wake their receivers for the first, lose the
//! core to them, and wake them again for the next.
//!
//! Invariants:
//! - **WK-1** A wake that is put off happens when the batch ends, also when it ends by a panic.

use std::cell::RefCell;
use std::task::Waker;

/// What was put off on this thread; `None` outside of a batch.
type Held = Option<Vec<Waker>>;

thread_local! {
    static HELD: RefCell<Held> = const { RefCell::new(None) };
}

/// Runs `body`; whoever it delivers to is woken when it has ended. For code that does not wait:
/// what was delivered may not be seen before.
pub fn together<R>(body: impl FnOnce() -> R) -> R {
    struct Batch(Held);
    impl Drop for Batch {
        fn drop(&mut self) {
            let held = HELD.replace(self.0.take());
            held.into_iter().flatten().for_each(Waker::wake);
        }
    }
    let _batch = Batch(HELD.replace(Some(Vec::new())));
    body()
}

/// Wakes at once, or at the end of the batch.
#[inline]
pub(crate) fn wake(waker: Waker) {
    if is_batch() {
        HELD.with_borrow_mut(|held| held.get_or_insert_default().push(waker));
    } else {
        waker.wake();
    }
}

/// [`wake`], by whoever keeps the waker.
#[inline]
pub(crate) fn wake_by_ref(waker: &Waker) {
    if is_batch() {
        wake(waker.clone());
    } else {
        waker.wake_by_ref();
    }
}

#[inline]
fn is_batch() -> bool {
    // The thread ends if there is no list any more.
    HELD.try_with(|held| held.borrow().is_some()).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// WK-1.
    #[test]
    fn a_wake_happens_at_once_or_when_its_batch_ends() {
        let count = Arc::<Count>::default();
        let (waker, woken) = (Waker::from(count.clone()), || count.0.load(Ordering::Relaxed));
        wake_by_ref(&waker);
        assert_eq!(woken(), 1);
        together(|| {
            wake(waker.clone());
            together(|| wake_by_ref(&waker));
            assert_eq!(woken(), 2, "the inner batch has ended, the outer has not");
        });
        assert_eq!(woken(), 3);
        let panicking = AssertUnwindSafe(|| {
            together(|| {
                wake_by_ref(&waker);
                panic!("a test")
            })
        });
        assert!(catch_unwind(panicking).is_err());
        assert_eq!(woken(), 4);
        wake_by_ref(&waker);
        assert_eq!(woken(), 5);
    }
}
