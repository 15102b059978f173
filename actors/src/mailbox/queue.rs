//! The producers' side of the queue; see [the room's documentation](super) for the protocol.

use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::sync::OnceLock;
use std::task::Waker;

use crate::mailbox::block::{Block, OwnedBlock};
use crate::mailbox::consumer::{Consumer, Pop};
use crate::mailbox::push::{PushError, Pushed};
use crate::mailbox::sync::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Backoff, Ordering, fence};
use crate::mailbox::waiters::Waiters;

/// The consumer sleeps, no block exists, and the next index is the first of a block.
pub(super) const ASLEEP: u64 = 1;
/// The claimer of a block's first slot is linking that block.
const INSTALLING: u64 = 2;
/// No claim succeeds any more.
pub(super) const CLOSED: u64 = 4;
/// The index sits above the flags.
pub(super) const INDEX_SHIFT: u32 = 3;
const ONE: u64 = 1 << INDEX_SHIFT;

/// From this capacity on the head is published in steps. Loom gets the smallest that has any.
const STEPPED_CAPACITY: u64 = if cfg!(mobula_loom) { 4 } else { 128 };
const STEP: u32 = if cfg!(mobula_loom) { 2 } else { 32 };

/// What producers write.
#[repr(C)]
pub(super) struct Tail<T> {
    /// `index << INDEX_SHIFT | flags`.
    pub(super) state: AtomicU64,
    /// The block of the index; dangling while asleep and at a block's first slot.
    block: AtomicPtr<Block<T>>,
    /// The largest head a producer has seen; never decreases.
    seen_head: AtomicU64,
    capacity: u64,
    /// Null until a push waits for the first time. Every `poll_push` looks at it.
    pub(super) waiters: AtomicPtr<Waiters>,
}

/// What the consumer writes. Only the owner of `claimed` touches `position`, `taken` and `owed`.
///
/// In this order: what changes with every message lies 64 bytes from what producers touch with
/// every message, so that they never share a cache line. Aligned lines would cost an idle queue
/// twice the memory.
#[repr(C)]
pub(super) struct Head<T> {
    /// An empty block kept for the next installer; null while asleep.
    pub(super) spare: AtomicPtr<Block<T>>,
    /// The position as producers may know it.
    pub(super) published: AtomicU64,
    /// The block of the position; null while asleep.
    pub(super) block: AtomicPtr<Block<T>>,
    /// How far the position may run ahead of what is published.
    pub(super) step: u32,
    /// Whether pushes may wait. Here and not read from the capacity, which is on the other line.
    pub(super) bounded: bool,
    pub(super) claimed: AtomicBool,
    /// Room was published and those that wait for it were not woken yet.
    pub(super) owed: AtomicBool,
    /// Who the consumer is to the runtime: the queue only keeps it, here, where it keeps the two
    /// ends apart.
    waker: OnceLock<Waker>,
    /// The index of the next value to pop.
    pub(super) position: AtomicU64,
    /// How many slots of `block` were popped.
    pub(super) taken: AtomicU32,
}

/// A bounded queue of many producers and one consumer that owns no slot memory while idle.
///
/// It knows no waker: a push that finds the consumer asleep says so ([`Pushed::WakeConsumer`]). A
/// new queue is asleep. Dropping it drops what is queued.
#[repr(C)]
pub struct Queue<T> {
    tail: Tail<T>,
    head: Head<T>,
    /// Owns values of `T`, and is not shared by default: see the impls below.
    owns: PhantomData<*mut T>,
}

// SAFETY: values move from producers to the consumer by the ready flags (Release, Acquire) and no
// reference to a queued value is ever handed out, so sharing the queue needs `Send` only.
unsafe impl<T: Send> Send for Queue<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Queue<T> {}

impl<T> Queue<T> {
    /// Bytes from the last word that every push touches to the first that every pop changes; 64
    /// keep two words off the same cache line, wherever it begins.
    #[cfg(all(test, not(mobula_loom)))]
    pub(super) const ENDS_APART: usize = std::mem::offset_of!(Self, head)
        + std::mem::offset_of!(Head<T>, position)
        - std::mem::offset_of!(Tail<T>, waiters);

    /// A queue with room for `capacity` values, at least 1 (0 counts as 1).
    pub fn bounded(capacity: usize) -> Self {
        Self::with_capacity(capacity.max(1) as u64)
    }

    /// A queue that is never full. The caller bounds it by other means.
    pub fn unbounded() -> Self {
        Self::with_capacity(u64::MAX)
    }

    /// The same queue for a consumer that takes long over each value: the room of every pop is seen,
    /// and given to those who wait, at once. Otherwise, from a capacity of 128 on, it shows up in
    /// steps of 32, and those who wait get it in steps of 128 (M-7).
    #[must_use]
    pub fn prompt(mut self) -> Self {
        self.head.step = 1;
        self
    }

    fn with_capacity(capacity: u64) -> Self {
        Self {
            tail: Tail {
                state: AtomicU64::new(ASLEEP),
                block: AtomicPtr::new(ptr::null_mut()),
                seen_head: AtomicU64::new(0),
                capacity,
                waiters: AtomicPtr::new(ptr::null_mut()),
            },
            head: Head {
                published: AtomicU64::new(0),
                position: AtomicU64::new(0),
                block: AtomicPtr::new(ptr::null_mut()),
                spare: AtomicPtr::new(ptr::null_mut()),
                bounded: capacity != u64::MAX,
                step: if capacity < STEPPED_CAPACITY { 1 } else { STEP },
                taken: AtomicU32::new(0),
                claimed: AtomicBool::new(false),
                owed: AtomicBool::new(false),
                waker: OnceLock::new(),
            },
            owns: PhantomData,
        }
    }

    /// Queues a value. Never waits for room; it may wait a few instructions for another producer
    /// that links a block. From a capacity of 128 on, room that the consumer made shows up late, in
    /// steps of up to 32 values.
    #[inline(always)]
    pub fn push(&self, value: T) -> Result<Pushed, PushError<T>> {
        match self.claim_inside() {
            Some((block, slot)) => {
                // SAFETY: the claim is ours, and the block lives until the slot was popped.
                unsafe { Block::write(block, slot, value) };
                Ok(Pushed::Awake)
            }
            None => self.push_beyond(value, 0),
        }
    }

    /// Claims the next index in the common case: the consumer is awake, nobody else is claiming,
    /// the block is there and room is known.
    #[inline(always)]
    fn claim_inside(&self) -> Option<(*mut Block<T>, usize)> {
        let state = self.tail.state.load(Ordering::Acquire);
        let slot = (state >> INDEX_SHIFT) as usize % Block::<T>::SLOTS;
        let seen = self.tail.seen_head.load(Ordering::Relaxed);
        let has_room = (state >> INDEX_SHIFT).saturating_sub(seen) < self.tail.capacity;
        if state & (ASLEEP | INSTALLING | CLOSED) != 0 || slot == 0 || !has_room {
            return None;
        }
        // The right block if the claim succeeds: it changes only with the index.
        let block = self.tail.block.load(Ordering::Relaxed);
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        let claimed = self.tail.state.compare_exchange(state, state + ONE, success, failure);
        claimed.is_ok().then_some((block, slot))
    }

    /// [`Queue::push`] with `extra` room on top of the capacity, for values whose room was promised
    /// beforehand.
    #[inline(never)]
    pub fn push_beyond(&self, value: T, extra: usize) -> Result<Pushed, PushError<T>> {
        let room = self.tail.capacity.saturating_add(extra as u64);
        let mut fresh = None;
        let mut state = self.settled();
        loop {
            if state & CLOSED != 0 {
                return Err(PushError::Closed(value));
            }
            if state & ASLEEP == 0 && !self.has_room(state >> INDEX_SHIFT, room) {
                return Err(PushError::Full(value));
            }
            match self.claim(state, &mut fresh) {
                Ok((block, slot)) => {
                    self.keep_spare(fresh);
                    // SAFETY: as in `push`.
                    unsafe { Block::write(block, slot, value) };
                    return Ok(Pushed::from_state(state));
                }
                Err(now) if now & INSTALLING == 0 => state = now,
                Err(_) => state = self.settled(),
            }
        }
    }

    /// Claims the index of `state`, and installs a block if the index is the first of one.
    #[inline]
    fn claim(
        &self,
        state: u64,
        fresh: &mut Option<OwnedBlock<T>>,
    ) -> Result<(*mut Block<T>, usize), u64> {
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        let slot = (state >> INDEX_SHIFT) as usize % Block::<T>::SLOTS;
        if slot != 0 {
            // The right block if the claim succeeds: it changes only with the index.
            let block = self.tail.block.load(Ordering::Relaxed);
            self.tail.state.compare_exchange_weak(state, state + ONE, success, failure)?;
            return Ok((block, slot));
        }
        // Allocated before the claim, so that the others wait for a few stores only.
        let block = fresh.take().unwrap_or_else(|| self.take_spare());
        let next = ((state & !ASLEEP) + ONE) | INSTALLING;
        match self.tail.state.compare_exchange_weak(state, next, success, failure) {
            Ok(_) => Ok((self.install(block, state), slot)),
            Err(now) => {
                *fresh = Some(block);
                Err(now)
            }
        }
    }

    /// Links the block whose first slot was claimed by the change from `state`.
    #[inline(never)]
    fn install(&self, block: OwnedBlock<T>, state: u64) -> *mut Block<T> {
        let block = block.into_raw();
        if state & ASLEEP != 0 {
            // The queue is empty at this index; the consumer may not have published that yet. Nobody
            // has seen more than that, and nobody else installs now, so that a store is enough.
            self.tail.seen_head.store(state >> INDEX_SHIFT, Ordering::Relaxed);
            self.head.block.store(block, Ordering::Release);
        } else {
            let last = self.tail.block.load(Ordering::Relaxed);
            // SAFETY: the consumer keeps the last block until it has a successor or sleeps, and it
            // cannot sleep before the value we claimed a slot for was popped.
            unsafe { &(*last).next }.store(block, Ordering::Release);
        }
        self.tail.block.store(block, Ordering::Relaxed);
        self.tail.state.fetch_and(!INSTALLING, Ordering::Release);
        block
    }

    #[inline(never)]
    fn take_spare(&self) -> OwnedBlock<T> {
        let spare = &self.head.spare;
        let block = match spare.load(Ordering::Relaxed) {
            none if none.is_null() => none,
            _ => spare.swap(ptr::null_mut(), Ordering::AcqRel),
        };
        // SAFETY: whoever swaps a spare block out owns it.
        unsafe { OwnedBlock::from_raw(block) }.unwrap_or_else(OwnedBlock::new)
    }

    /// Keeps an empty block for the next installer. Called only while a claimed or popped slot keeps
    /// the queue awake, so that a sleeping queue has none.
    pub(super) fn keep_spare(&self, block: Option<OwnedBlock<T>>) {
        let Some(block) = block else { return };
        let old = self.head.spare.swap(block.into_raw(), Ordering::AcqRel);
        // SAFETY: whoever swaps a spare block out owns it.
        drop(unsafe { OwnedBlock::from_raw(old) });
    }

    /// The state once no block is being installed.
    #[inline]
    fn settled(&self) -> u64 {
        let mut backoff = Backoff::default();
        loop {
            let state = self.tail.state.load(Ordering::Acquire);
            if state & INSTALLING == 0 {
                return state;
            }
            backoff.pause();
        }
    }

    #[inline]
    fn has_room(&self, index: u64, room: u64) -> bool {
        let seen = self.tail.seen_head.load(Ordering::Relaxed);
        if index.saturating_sub(seen) < room {
            return true;
        }
        let head = self.known_head();
        self.tail.seen_head.fetch_max(head, Ordering::Relaxed);
        index.saturating_sub(head) < room
    }

    fn known_head(&self) -> u64 {
        // Acquire: whoever uses the room also sees that the values which had it are gone.
        let head = self.head.published.load(Ordering::Acquire);
        head.max(self.tail.seen_head.load(Ordering::Relaxed))
    }

    /// How many values are queued, counting those that are being written and, up to 32, those that
    /// were popped lately.
    pub fn len(&self) -> usize {
        let state = self.settled();
        if state & ASLEEP != 0 {
            return 0;
        }
        (state >> INDEX_SHIFT).saturating_sub(self.known_head()) as usize
    }

    /// Whether [`Queue::len`] is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The capacity; `usize::MAX` if unbounded.
    pub fn capacity(&self) -> usize {
        usize::try_from(self.tail.capacity).unwrap_or(usize::MAX)
    }

    /// Whether pushes fail for good.
    pub fn is_closed(&self) -> bool {
        self.tail.state.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Makes every later push fail and wakes those that wait, which then fail. What is queued stays
    /// poppable. Says, once, whether the consumer slept and must be woken. Idempotent.
    pub fn close(&self) -> Pushed {
        let mut state = self.tail.state.load(Ordering::Relaxed);
        loop {
            let closed = (state & !ASLEEP) | CLOSED;
            let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
            match self.tail.state.compare_exchange_weak(state, closed, success, failure) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        fence(Ordering::SeqCst);
        self.wake_waiters();
        Pushed::from_state(state)
    }

    /// Claims the consumer's side, `None` while somebody has it. Dropping the consumer gives it back.
    pub fn consumer(&self) -> Option<Consumer<'_, T>> {
        let free = !self.head.claimed.swap(true, Ordering::Acquire);
        free.then(|| Consumer::new(self))
    }

    /// What wakes the consumer, once it was set.
    #[inline]
    pub fn waker(&self) -> Option<&Waker> {
        self.head.waker.get()
    }

    /// Sets what wakes the consumer; the first one stays.
    pub fn set_waker(&self, waker: &Waker) {
        self.head.waker.get_or_init(|| waker.clone());
    }

    /// Whether no slot memory is held. For tests on one thread.
    #[cfg(all(test, not(mobula_loom)))]
    pub(super) fn owns_no_block(&self) -> bool {
        let blocks = [&self.head.block, &self.head.spare];
        blocks.iter().all(|block| block.load(Ordering::Relaxed).is_null())
    }

    pub(super) fn tail(&self) -> &Tail<T> {
        &self.tail
    }

    pub(super) fn head(&self) -> &Head<T> {
        &self.head
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        // A forgotten consumer does not matter: nobody else reaches the queue any more.
        let mut consumer = Consumer::new(self);
        while let Pop::Value(value) = consumer.pop() {
            drop(value);
        }
        drop(consumer);
        let waiters = self.tail.waiters.load(Ordering::Relaxed);
        // SAFETY: all values are popped, so at most one linked block is left; nobody else reaches
        // it, the spare one or the waiters.
        unsafe {
            drop(OwnedBlock::from_raw(self.head.block.load(Ordering::Relaxed)));
            drop(OwnedBlock::from_raw(self.head.spare.load(Ordering::Relaxed)));
            if !waiters.is_null() {
                drop(Box::from_raw(waiters));
            }
        }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("closed", &self.is_closed())
            .finish()
    }
}
