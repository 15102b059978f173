//! The single-answer cell behind a call.
//!
//! One word decides everything. A completer owns the value cell once it set `CLAIMED`, until it sets
//! `VALUE`; then whoever sets `TAKEN` owns it. The poller owns the waker cell while it holds
//! `REGISTERING`, which it can get only before `VALUE`; at `VALUE` the waker cell passes to the
//! completer, unless the poller holds it: then the poller finds `VALUE` when it lets go.
//!
//! - MS-1 At most one value is accepted.
//! - MS-2 A value accepted is polled, or dropped by `abandon` or with the slot; never twice.
//! - MS-3 A poll that answered `Pending` is woken by the completion.
//! - MS-4 A value that comes after `abandon` is given back.

use std::fmt;
use std::task::{Context, Poll, Waker};

use crate::mailbox::sync::{AtomicU8, Ordering, UnsafeCell};

const CLAIMED: u8 = 1;
const VALUE: u8 = 2;
const REGISTERING: u8 = 4;
const ABANDONED: u8 = 8;
const TAKEN: u8 = 16;

/// A cell for one value between a side that completes it and a side that waits, usually in an `Arc`.
pub struct Slot<T> {
    state: AtomicU8,
    value: UnsafeCell<Option<T>>,
    waker: UnsafeCell<Option<Waker>>,
}

// SAFETY: the state word gives each cell one owner at a time (see the module), and the value only
// moves through, so `Send` is enough.
unsafe impl<T: Send> Send for Slot<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Slot<T> {}

impl<T> Slot<T> {
    /// An empty slot.
    pub fn new() -> Self {
        Self { state: AtomicU8::new(0), value: UnsafeCell::new(None), waker: UnsafeCell::new(None) }
    }

    /// Puts the value in and wakes the waiting side. The first completion wins: the value comes back
    /// if another was accepted, is being put in, or the slot is abandoned; nothing changes then.
    pub fn complete(&self, value: T) -> Result<(), T> {
        if self.set_unless(CLAIMED, CLAIMED | ABANDONED).is_none() {
            return Err(value);
        }
        // SAFETY: `CLAIMED` is ours, and nobody else touches the value before `VALUE`.
        self.value.with_mut(|cell| unsafe { *cell = Some(value) });
        let Some(before) = self.set_unless(VALUE, ABANDONED) else {
            // SAFETY: `VALUE` stays unset, so the value is still ours alone.
            let value = self.value.with_mut(|cell| unsafe { (*cell).take() });
            return value.map_or(Ok(()), Err);
        };
        if before & REGISTERING == 0 {
            self.wake();
        }
        Ok(())
    }

    fn wake(&self) {
        // SAFETY: `VALUE` was set while nobody was registering, so no poll gets at the cell again.
        if let Some(waker) = self.waker.with_mut(|cell| unsafe { (*cell).take() }) {
            waker.wake();
        }
    }

    /// Sets a flag unless one of `stop` is set; the state before, or `None`.
    fn set_unless(&self, flag: u8, stop: u8) -> Option<u8> {
        let mut state = self.state.load(Ordering::Acquire);
        while state & stop == 0 {
            let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
            match self.state.compare_exchange_weak(state, state | flag, success, failure) {
                Ok(_) => return Some(state),
                Err(now) => state = now,
            }
        }
        None
    }

    /// Takes the value, or registers the waker of `cx` in place of the one before. One side waits:
    /// of two polls at once only one registers, and the other is woken to try again. `Pending`
    /// for ever once the value was taken or the slot abandoned. Cancel safe.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<T> {
        self.wait(cx);
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// Registers the waker of `cx` in place of the one before; says whether the value has come.
    pub(crate) fn wait(&self, cx: &mut Context<'_>) -> bool {
        let stop = VALUE | ABANDONED | REGISTERING;
        let mut state = VALUE;
        if self.set_unless(REGISTERING, stop).is_some() {
            let old = self.register(cx.waker());
            state = self.state.fetch_and(!REGISTERING, Ordering::AcqRel);
            drop(old);
        } else if self.state.load(Ordering::Acquire) & (VALUE | ABANDONED) == 0 {
            cx.waker().wake_by_ref();
        }
        state & VALUE != 0
    }

    /// Stores the waker; the one it replaces is dropped later, since that may run anything.
    fn register(&self, waker: &Waker) -> Option<Waker> {
        self.waker.with_mut(|cell| {
            // SAFETY: the caller holds `REGISTERING`.
            let cell = unsafe { &mut *cell };
            match cell {
                Some(old) if old.will_wake(waker) => None,
                _ => cell.replace(waker.clone()),
            }
        })
    }

    /// Takes the value if it is there.
    #[inline(always)]
    pub(crate) fn take(&self) -> Option<T> {
        if self.state.load(Ordering::Acquire) & (VALUE | TAKEN) != VALUE {
            return None;
        }
        self.set_unless(TAKEN, TAKEN)?;
        // SAFETY: `VALUE` is set and `TAKEN` was set by us.
        self.value.with_mut(|cell| unsafe { (*cell).take() })
    }

    /// The waiting side is gone: a value that is here is dropped, a later one is given back.
    pub fn abandon(&self) {
        self.state.fetch_or(ABANDONED, Ordering::AcqRel);
        drop(self.take());
    }

    /// Whether the waiting side is gone.
    pub fn is_abandoned(&self) -> bool {
        self.state.load(Ordering::Acquire) & ABANDONED != 0
    }

    /// Whether a value was accepted, taken since or not.
    pub fn is_complete(&self) -> bool {
        self.state.load(Ordering::Acquire) & VALUE != 0
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("complete", &self.is_complete())
            .field("abandoned", &self.is_abandoned())
            .finish()
    }
}
