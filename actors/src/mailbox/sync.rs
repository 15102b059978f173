//! The loom seam: every atomic, lock, cell and yield of the lock-free code comes from here, so that
//! `--cfg mobula_loom` swaps them for loom's model. No other file names `std::sync::atomic`.

#[cfg(mobula_loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence},
    },
};
pub(crate) use std::sync::atomic::Ordering;
#[cfg(not(mobula_loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence},
};

/// The shape of loom's cell over the standard one.
#[cfg(not(mobula_loom))]
pub(crate) struct UnsafeCell<V>(std::cell::UnsafeCell<V>);

#[cfg(not(mobula_loom))]
impl<V> UnsafeCell<V> {
    pub(crate) const fn new(value: V) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut V) -> R) -> R {
        access(self.0.get())
    }
}

/// Waiting for another thread to finish a few instructions: spins first, then yields, since that
/// thread may have lost its core.
#[derive(Default)]
pub(crate) struct Backoff {
    #[cfg(not(mobula_loom))]
    spins: u32,
}

impl Backoff {
    #[cfg(not(mobula_loom))]
    pub(crate) fn pause(&mut self) {
        const SPINS_MAX: u32 = 64;
        if self.spins < SPINS_MAX {
            self.spins += 1;
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }

    #[cfg(mobula_loom)]
    pub(crate) fn pause(&mut self) {
        loom::thread::yield_now();
    }
}
