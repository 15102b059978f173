//! What will happen, in order of time, and of making where times are equal.

use std::cmp::Ordering;
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
}

#[derive(Debug)]
struct Entry {
    at: Time,
    id: u64,
    happening: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    /// The heap gives the greatest first: the earliest, and of those the first that was made.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.id).cmp(&(self.at, self.id))
    }
}

/// The heap of happenings.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    heap: BinaryHeap<Entry>,
    made: u64,
}

impl Schedule {
    pub(super) fn push(&mut self, at: Time, happening: Happening) {
        self.made += 1;
        self.heap.push(Entry { at, id: self.made, happening });
    }

    /// The next happening not after `end`.
    pub(super) fn pop_until(&mut self, end: Time) -> Option<(Time, Happening)> {
        if self.heap.peek()?.at > end {
            return None;
        }
        self.heap.pop().map(|entry| (entry.at, entry.happening))
    }
}
