//! What will happen in a simulated placement, and the time that it is.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::machine::Time;

/// Events in order of time, and of making where times are equal.
pub(super) struct Agenda<E> {
    now: Time,
    made: u64,
    events: BTreeMap<(Time, u64), E>,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self { now: Time(0), made: 0, events: BTreeMap::new() }
    }
}

impl<E> Agenda<E> {
    pub(super) fn now(&self) -> Time {
        self.now
    }

    /// How many events were put in.
    pub(super) fn made(&self) -> u64 {
        self.made
    }

    pub(super) fn after(&mut self, wait: Duration, event: E) {
        self.made += 1;
        self.events.insert((self.now.after(wait), self.made), event);
    }

    /// Takes the next event out: its time has come.
    pub(super) fn next(&mut self) -> Option<E> {
        let ((at, _), event) = self.events.pop_first()?;
        self.now = at;
        Some(event)
    }
}
