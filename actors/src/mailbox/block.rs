//! Blocks: the memory of a queue, a link and a power-of-two row of slots in one allocation.
//!
//! The row is as long as fits [`BLOCK_BYTES_MAX`], at most [`SLOTS_MAX`]; its length is a constant
//! of `T`, which an array type cannot express on stable Rust, hence the trailing row by hand.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::ptr::{self, NonNull};

use crate::mailbox::sync::{AtomicBool, AtomicPtr, Ordering, UnsafeCell};

/// The largest size that common allocators still serve from their per-thread cache.
const BLOCK_BYTES_MAX: usize = 1_032;

/// Loom gets the smallest block that has an inside and an edge.
const SLOTS_MAX: usize = if cfg!(mobula_loom) { 2 } else { 32 };

const fn slots_for(head_bytes: usize, slot_bytes: usize) -> usize {
    let mut slots = SLOTS_MAX;
    while slots > 1 && head_bytes + slots * slot_bytes > BLOCK_BYTES_MAX {
        slots /= 2;
    }
    slots
}

struct Slot<T> {
    ready: AtomicBool,
    value: UnsafeCell<MaybeUninit<T>>,
}

/// The head of a block; [`Block::SLOTS`] slots follow it in the same allocation.
#[repr(C)]
pub(super) struct Block<T> {
    /// The block after this one, null until its installer links it.
    pub(super) next: AtomicPtr<Self>,
    row: [Slot<T>; 0],
}

impl<T> Block<T> {
    pub(super) const SLOTS: usize = slots_for(size_of::<Self>(), size_of::<Slot<T>>());

    fn layout() -> Layout {
        let bytes = size_of::<Self>() + Self::SLOTS * size_of::<Slot<T>>();
        // The row needs no padding: `Self` holds an empty row, so it has the alignment of a slot.
        Layout::from_size_align(bytes, align_of::<Self>()).expect("one slot of T is a valid layout")
    }

    /// # Safety
    /// `block` is alive and `slot < SLOTS`.
    unsafe fn slot(block: *mut Self, slot: usize) -> *mut Slot<T> {
        debug_assert!(slot < Self::SLOTS);
        // SAFETY: the block is alive, and `layout` has room for `SLOTS` slots from `row` on.
        unsafe { (&raw mut (*block).row).cast::<Slot<T>>().add(slot) }
    }

    /// Fills a slot and tells the consumer.
    ///
    /// # Safety
    /// `block` is alive and the caller alone has claimed `slot < SLOTS`, which is empty. The block
    /// may be gone when this returns.
    #[inline(always)]
    pub(super) unsafe fn write(block: *mut Self, slot: usize, value: T) {
        // SAFETY: alive until the consumer sees `ready`, the last access here.
        let slot = unsafe { &*Self::slot(block, slot) };
        slot.value.with_mut(|cell| {
            // SAFETY: the claim makes this the only access until `ready` is set.
            unsafe { (*cell).write(value) };
        });
        slot.ready.store(true, Ordering::Release);
    }

    /// Whether a slot holds a value that was not read.
    ///
    /// # Safety
    /// As for [`Block::read`].
    #[inline]
    pub(super) unsafe fn is_ready(block: *mut Self, slot: usize) -> bool {
        // SAFETY: the consumer alone frees blocks that are linked.
        unsafe { &*Self::slot(block, slot) }.ready.load(Ordering::Acquire)
    }

    /// Moves the value out of a slot, `None` if it is not written yet.
    ///
    /// # Safety
    /// `block` is alive, the caller is the consumer, `slot < SLOTS`, and the slot was not read since
    /// the block was installed.
    #[inline(always)]
    pub(super) unsafe fn read(block: *mut Self, slot: usize) -> Option<T> {
        // SAFETY: the consumer alone frees blocks that are linked.
        let slot = unsafe { &*Self::slot(block, slot) };
        if !slot.ready.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: `ready` was set after the value was written, nobody writes again, and the consumer
        // reads each slot once.
        Some(slot.value.with_mut(|cell| unsafe { (*cell).assume_init_read() }))
    }
}

/// A block that nobody else can reach. Its slots hold no values that are still to be dropped.
pub(super) struct OwnedBlock<T>(NonNull<Block<T>>);

impl<T> OwnedBlock<T> {
    pub(super) fn new() -> Self {
        let layout = Block::<T>::layout();
        // SAFETY: the layout holds at least the link, so it is not of size zero.
        let Some(block) = NonNull::new(unsafe { alloc(layout) }.cast::<Block<T>>()) else {
            handle_alloc_error(layout)
        };
        // SAFETY: fresh memory of `layout`; link and slots are initialised before anyone sees them.
        unsafe {
            (&raw mut (*block.as_ptr()).next).write(AtomicPtr::new(ptr::null_mut()));
            for slot in 0..Block::<T>::SLOTS {
                Block::slot(block.as_ptr(), slot).write(Slot {
                    ready: AtomicBool::new(false),
                    value: UnsafeCell::new(MaybeUninit::uninit()),
                });
            }
        }
        Self(block)
    }

    /// Takes a block over, `None` for null.
    ///
    /// # Safety
    /// `block` is null or came from [`OwnedBlock::into_raw`], nobody else can reach it any more, and
    /// every value written to it was read.
    pub(super) unsafe fn from_raw(block: *mut Block<T>) -> Option<Self> {
        NonNull::new(block).map(Self)
    }

    pub(super) fn into_raw(self) -> *mut Block<T> {
        let block = self.0.as_ptr();
        std::mem::forget(self);
        block
    }

    /// Makes a used block as good as new.
    pub(super) fn reset(&mut self) {
        self.next.store(ptr::null_mut(), Ordering::Relaxed);
        for slot in 0..Block::<T>::SLOTS {
            // SAFETY: the block is alive and owned.
            unsafe { &*Block::slot(self.0.as_ptr(), slot) }.ready.store(false, Ordering::Relaxed);
        }
    }
}

impl<T> Deref for OwnedBlock<T> {
    type Target = Block<T>;

    fn deref(&self) -> &Block<T> {
        // SAFETY: an owned block is alive.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Drop for OwnedBlock<T> {
    fn drop(&mut self) {
        let block = self.0.as_ptr();
        // SAFETY: nobody else reaches an owned block; it was allocated with this layout. The slots'
        // values are `MaybeUninit`, so only the atomics drop (loom's have something to drop).
        unsafe {
            for slot in 0..Block::<T>::SLOTS {
                ptr::drop_in_place(Block::slot(block, slot));
            }
            ptr::drop_in_place(block);
            dealloc(block.cast(), Block::<T>::layout());
        }
    }
}

#[cfg(all(test, not(mobula_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_block_stays_within_its_bytes_unless_one_value_is_larger() {
        assert_eq!(Block::<[u64; 3]>::SLOTS, 32);
        assert_eq!(Block::<[u64; 4]>::SLOTS, 16);
        assert_eq!(Block::<[u64; 500]>::SLOTS, 1);
        assert!(Block::<[u64; 3]>::layout().size() <= BLOCK_BYTES_MAX);
    }
}
