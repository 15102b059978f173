//! What will happen, in order of time, and of making where times are equal.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::network::Transit;
use crate::machine::Time;

#[derive(Debug)]
pub(super) enum Happening {
    Arrival(Transit),
    /// `node`'s dial, made in its life `boot`, reaches `to`.
    Dial {
        node: u32,
        boot: u64,
        to: u32,
    },
    DialFailed {
        node: u32,
        boot: u64,
        to: u32,
    },
    /// A timer of the machine, set when it wanted to be stepped at this time.
    Wake {
        node: u32,
    },
    Seed {
        node: u32,
        boot: u64,
    },
    /// A starved process gets the processor, or loses it.
    Slice {
        node: u32,
        boot: u64,
    },
}

/// A place in the heap: small, since heaps move their entries often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Time,
    id: u64,
    slot: u32,
}

/// The heap of happenings.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    heap: BinaryHeap<Reverse<Entry>>,
    /// The happenings that the heap points to.
    slots: Vec<Option<Happening>>,
    free: Vec<u32>,
    made: u64,
}

impl Schedule {
    pub(super) fn push(&mut self, at: Time, happening: Happening) {
        self.made += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some(happening);
        self.heap.push(Reverse(Entry { at, id: self.made, slot }));
    }

    /// The next happening not after `end`.
    pub(super) fn pop_until(&mut self, end: Time) -> Option<(Time, Happening)> {
        if self.heap.peek()?.0.at > end {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        self.free.push(entry.slot);
        let happening = self.slots.get_mut(entry.slot as usize)?.take()?;
        Some((entry.at, happening))
    }
}
