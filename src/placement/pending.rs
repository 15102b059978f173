//! Demand that found no room, in groups by kind and demand: what waits for room, and what no node
//! could ever hold. Whoever adds nodes reads it.
//!
//! Invariants:
//! - **PD-1** An attempt is counted from its first wait until it ends, and never twice.
//! - **PD-2** At most [`PENDING_MAX`] attempts wait; who comes then is refused, and those who wait go
//!   on.
//! - **PD-3** What no node could hold is counted for [`IMPOSSIBLE_FOR`].

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::time::Duration;

use mobula_actors::demand::Demand;

use super::filter::NoCapacity;
use crate::machine::Time;

/// Attempts of one node that wait for room at the same time.
pub const PENDING_MAX: usize = 16_384;

/// How long a demand that no node could hold is counted.
pub const IMPOSSIBLE_FOR: Duration = Duration::from_secs(60);

/// Refusals of that sort that are counted; the oldest are forgotten first.
pub const IMPOSSIBLE_MAX: usize = 4_096;

/// Demand of one sort that has found no room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingDemand {
    /// The kind of the actors.
    pub kind: String,
    /// What each of them needs.
    pub demand: Demand,
    /// How many wait until a node has room.
    pub waiting: usize,
    /// How many were refused in the last [`IMPOSSIBLE_FOR`], since no node could hold one.
    pub impossible: usize,
    /// The time since the oldest of them began to wait or was refused.
    pub oldest: Duration,
    /// What was missing when one of them was looked at last.
    pub missing: String,
}

/// Names one attempt that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiting(u64);

type Sort = (String, Demand);

/// The pending demand of one node.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    next: u64,
    waiting: BTreeMap<Waiting, (Sort, Time)>,
    /// In the order of their time.
    impossible: VecDeque<(Sort, Time)>,
    /// Of each sort of which anything is pending: how many, and what was missing last.
    sorts: BTreeMap<Sort, (usize, String)>,
}

impl Pending {
    /// An attempt begins to wait (PD-1); `None` if too many do (PD-2).
    pub fn enter(
        &mut self,
        now: Time,
        kind: &str,
        demand: &Demand,
        missing: String,
    ) -> Option<Waiting> {
        if self.waiting.len() >= PENDING_MAX {
            return None;
        }
        let (number, sort) = (Waiting(self.next), (kind.to_owned(), demand.clone()));
        self.next = self.next.saturating_add(1);
        self.count(&sort, missing);
        self.waiting.insert(number, (sort, now));
        Some(number)
    }

    /// It was looked at again, in vain.
    pub fn still_waits(&mut self, number: Waiting, missing: String) {
        let known = self.waiting.get(&number).and_then(|(sort, _)| self.sorts.get_mut(sort));
        if let Some((_, last)) = known {
            *last = missing;
        }
    }

    /// It has ended, with room or without.
    pub fn leave(&mut self, number: Waiting) {
        if let Some((sort, _)) = self.waiting.remove(&number) {
            self.forget(&sort);
        }
    }

    /// A placement has failed. It is counted if no node could ever hold it (PD-3).
    pub fn failed<N: Debug>(&mut self, now: Time, why: &NoCapacity<N>) {
        if why.missing.needs_a_node() {
            self.refused(now, &why.kind, &why.demand, why.missing.to_string());
        }
    }

    fn refused(&mut self, now: Time, kind: &str, demand: &Demand, missing: String) {
        self.expire(now);
        if self.impossible.len() >= IMPOSSIBLE_MAX
            && let Some((sort, _)) = self.impossible.pop_front()
        {
            self.forget(&sort);
        }
        let sort = (kind.to_owned(), demand.clone());
        self.count(&sort, missing);
        self.impossible.push_back((sort, now));
    }

    /// All that is pending, by kind and demand.
    pub fn groups(&mut self, now: Time) -> Vec<PendingDemand> {
        self.expire(now);
        let mut groups: BTreeMap<&Sort, PendingDemand> = BTreeMap::new();
        let waiting = self.waiting.values().map(|(sort, since)| (sort, since, true));
        let impossible = self.impossible.iter().map(|(sort, since)| (sort, since, false));
        for (sort, since, waits) in waiting.chain(impossible) {
            let group = groups.entry(sort).or_insert_with(|| self.group(sort));
            group.waiting += usize::from(waits);
            group.impossible += usize::from(!waits);
            group.oldest = group.oldest.max(now.since(*since));
        }
        groups.into_values().collect()
    }

    fn group(&self, sort: &Sort) -> PendingDemand {
        let (kind, demand) = sort.clone();
        let missing = self.sorts.get(sort).map(|(_, missing)| missing.clone()).unwrap_or_default();
        let oldest = Duration::ZERO;
        PendingDemand { kind, demand, waiting: 0, impossible: 0, oldest, missing }
    }

    fn expire(&mut self, now: Time) {
        while let Some((_, since)) = self.impossible.front()
            && now.since(*since) >= IMPOSSIBLE_FOR
            && let Some((sort, _)) = self.impossible.pop_front()
        {
            self.forget(&sort);
        }
    }

    fn count(&mut self, sort: &Sort, missing: String) {
        let (pending, last) = self.sorts.entry(sort.clone()).or_default();
        *pending += 1;
        *last = missing;
    }

    /// Nothing is kept of a sort of which nothing is pending.
    fn forget(&mut self, sort: &Sort) {
        let Some((pending, _)) = self.sorts.get_mut(sort) else { return };
        *pending = pending.saturating_sub(1);
        if *pending == 0 {
            self.sorts.remove(sort);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time(0).after(Duration::from_secs(seconds))
    }

    fn missing() -> String {
        "room".to_owned()
    }

    // PD-1, PD-3
    #[test]
    fn waiting_demand_is_counted_until_it_ends_and_impossible_demand_for_a_minute() {
        let (mut pending, one, ten) = (Pending::default(), Demand::cpu(1.0), Demand::cpu(10.0));
        let first = pending.enter(at(0), "task", &one, missing()).unwrap();
        let second = pending.enter(at(2), "task", &one, missing()).unwrap();
        pending.refused(at(3), "task", &ten, missing());
        let counts = |pending: &mut Pending, now| -> Vec<(usize, usize, u64)> {
            let groups = pending.groups(at(now));
            groups.iter().map(|g| (g.waiting, g.impossible, g.oldest.as_secs())).collect()
        };
        assert_eq!(counts(&mut pending, 10), [(2, 0, 10), (0, 1, 7)]);
        pending.leave(first);
        pending.leave(first);
        assert_eq!(counts(&mut pending, 62), [(1, 0, 60), (0, 1, 59)]);
        pending.leave(second);
        assert_eq!(counts(&mut pending, 63), []);
        assert!(pending.sorts.is_empty());
    }

    // PD-2
    #[test]
    fn both_tables_are_bounded() {
        let (mut pending, demand) = (Pending::default(), Demand::cpu(1.0));
        let entered =
            (0..=PENDING_MAX).filter_map(|_| pending.enter(at(0), "a", &demand, missing()));
        assert_eq!(entered.count(), PENDING_MAX);
        (0..=IMPOSSIBLE_MAX).for_each(|_| pending.refused(at(0), "b", &demand, missing()));
        let groups = pending.groups(at(1));
        assert_eq!((groups[0].waiting, groups[1].impossible), (PENDING_MAX, IMPOSSIBLE_MAX));
    }
}
