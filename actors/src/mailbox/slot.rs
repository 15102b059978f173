//! The single-answer cell behind a call.
//!
//! One word decides everything. A completer owns the value cell once it set `CLAIMED`, until it sets
//! `VALUE`; then the waiting side owns it. The waiting side owns the waker cell while `WAITING` is
//! not set; from `VALUE` on, a waker that was left there is the completer's. Any number of threads
//! may complete; there is one waiting side, a value that cannot be cloned and polls by `&mut`.
//!
//! - MS-1 At most one value is accepted.
//! - MS-2 A value accepted is polled, or dropped by `abandon` or with the slot; never twice.
//! - MS-3 A poll that answered `Pending` is woken by the completion.
//! - MS-4 A value that comes after `abandon` is given back.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::mailbox::sync::{AtomicU8, Ordering, UnsafeCell};
use crate::wakes::wake;

const CLAIMED: u8 = 1;
const VALUE: u8 = 2;
const WAITING: u8 = 4;
const ABANDONED: u8 = 8;

/// A cell for one value between a side that completes it and a [`Waiting`] side.
pub struct Slot<T, X = ()> {
    state: AtomicU8,
    value: UnsafeCell<Option<T>>,
    waker: UnsafeCell<Option<Waker>>,
    about: X,
}

// SAFETY: the state word gives each cell one owner at a time (see the module), and the value only
// moves through, so `Send` is enough for it; what stands beside it is shared.
unsafe impl<T: Send, X: Send> Send for Slot<T, X> {}
// SAFETY: as above.
unsafe impl<T: Send, X: Sync> Sync for Slot<T, X> {}

/// The only side of a [`Slot`] that waits for its value.
pub struct Waiting<T, X = ()>(Arc<Slot<T, X>>);

impl<T, X> Slot<T, X> {
    /// An empty slot with something beside it, and its waiting side.
    pub fn pair(about: X) -> (Arc<Self>, Waiting<T, X>) {
        let slot = Arc::new(Self {
            state: AtomicU8::new(0),
            value: UnsafeCell::new(None),
            waker: UnsafeCell::new(None),
            about,
        });
        (slot.clone(), Waiting(slot))
    }

    /// What both sides know.
    pub fn about(&self) -> &X {
        &self.about
    }

    /// Puts the value in and wakes the waiting side. The first completion wins: the value comes back
    /// if another was accepted, is being put in, or the slot is abandoned; nothing changes then.
    pub fn complete(&self, value: T) -> Result<(), T> {
        if !self.claim() {
            return Err(value);
        }
        // SAFETY: `CLAIMED` is ours, and nobody else touches the value before `VALUE`.
        self.value.with_mut(|cell| unsafe { *cell = Some(value) });
        let before = self.state.fetch_or(VALUE, Ordering::AcqRel);
        if before & ABANDONED != 0 {
            // SAFETY: the waiting side has gone before `VALUE`, so the value is still ours alone.
            let value = self.value.with_mut(|cell| unsafe { (*cell).take() });
            return value.map_or(Ok(()), Err);
        }
        if before & WAITING != 0 {
            self.wake();
        }
        Ok(())
    }

    fn claim(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & (CLAIMED | ABANDONED) == 0 {
            let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
            match self.state.compare_exchange_weak(state, state | CLAIMED, success, failure) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    fn wake(&self) {
        // SAFETY: `VALUE` was set while `WAITING` was, so no poll gets at the cell again.
        if let Some(waker) = self.waker.with_mut(|cell| unsafe { (*cell).take() }) {
            wake(waker);
        }
    }

    /// Whether the waiting side is gone.
    pub fn is_abandoned(&self) -> bool {
        self.state.load(Ordering::Acquire) & ABANDONED != 0
    }
}

impl<T, X> Waiting<T, X> {
    /// The slot that it waits for.
    pub fn slot(&self) -> &Slot<T, X> {
        &self.0
    }

    /// Takes the value, or registers the waker of `cx` in place of the one before. `Pending` for
    /// ever once the value was taken or the slot abandoned. Cancel safe.
    #[inline]
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        let state = self.0.state.load(Ordering::Acquire);
        if state & (VALUE | ABANDONED) == 0 && !self.wait(state, cx.waker()) {
            return Poll::Pending;
        }
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// Leaves a waker; says whether the value has come meanwhile.
    #[inline]
    fn wait(&mut self, state: u8, waker: &Waker) -> bool {
        let slot = &*self.0;
        // One that was left before is taken back first.
        let is_value = |before: u8| before & VALUE != 0;
        if state & WAITING != 0 && is_value(slot.state.fetch_and(!WAITING, Ordering::AcqRel)) {
            return true;
        }
        let old = slot.waker.with_mut(|cell| {
            // SAFETY: `WAITING` is not set and was not when `VALUE` was, so the cell is ours.
            let cell = unsafe { &mut *cell };
            match cell {
                Some(old) if old.will_wake(waker) => None,
                _ => cell.replace(waker.clone()),
            }
        });
        let before = slot.state.fetch_or(WAITING, Ordering::AcqRel);
        // It may run anything when it is dropped.
        drop(old);
        is_value(before)
    }

    /// Takes the value if it is there.
    #[inline]
    fn take(&mut self) -> Option<T> {
        if self.0.state.load(Ordering::Acquire) & (VALUE | ABANDONED) != VALUE {
            return None;
        }
        // SAFETY: `VALUE` is set and the slot was not abandoned before, so the value is ours.
        self.0.value.with_mut(|cell| unsafe { (*cell).take() })
    }

    /// Waits no more: a value that is here is dropped, a later one is given back.
    pub fn abandon(&mut self) {
        let before = self.0.state.fetch_or(ABANDONED, Ordering::AcqRel);
        if before & (VALUE | ABANDONED) == VALUE {
            // SAFETY: as in `take`; no completer finds `ABANDONED` after its `VALUE`.
            drop(self.0.value.with_mut(|cell| unsafe { (*cell).take() }));
        }
    }
}

impl<T, X> fmt::Debug for Slot<T, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("abandoned", &self.is_abandoned()).finish_non_exhaustive()
    }
}

impl<T, X> fmt::Debug for Waiting<T, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Waiting").field(self.slot()).finish()
    }
}
