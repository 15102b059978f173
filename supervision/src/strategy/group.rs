//! Restarts of several children for the end of one: those that run are stopped in reverse order,
//! then all are started in order, one after the other.
//!
//! Invariants:
//! - **SG-1** A group restart counts once, whatever ends while it stops.
//! - **SG-2** A start that fails within it counts again, and begins a new group: under `OneForAll`
//!   what has been started is stopped again, under `RestForOne` it stays.
//! - **SG-3** A child that somebody terminates meanwhile leaves the group. One that had been
//!   stopped before is started with it, as in OTP.

use std::collections::BTreeSet;
use std::time::Duration;

use mobula_actors::{Exit, Restart};

use super::{ChildState, Decision, Key, Next, Plan};

#[derive(Debug, Default)]
pub(super) struct Group {
    to_stop: BTreeSet<Key>,
    to_start: BTreeSet<Key>,
    /// The child whose stop or start is waited for.
    current: Option<Key>,
    /// The wait before the first start.
    after: Duration,
}

impl Group {
    /// The child is neither stopped nor started with the group; if it is waited for, it still is.
    pub(super) fn leave(&mut self, key: Key) {
        self.to_stop.remove(&key);
        self.to_start.remove(&key);
    }

    fn first(&self) -> Option<Key> {
        let first = [self.to_stop.first(), self.to_start.first(), self.current.as_ref()];
        first.into_iter().flatten().min().copied()
    }
}

impl Plan {
    /// Restarts `cause` and, from `from` on, the others.
    pub(super) fn restart_from(
        &mut self,
        from: Key,
        cause: Key,
        exit: &Exit,
        now: Duration,
        chance: f64,
    ) -> Vec<Decision> {
        let Some(child) = self.children.get_mut(&cause) else { return Vec::new() };
        // What a group before this one has not done yet becomes part of it.
        let from = self.group.as_ref().and_then(Group::first).map_or(from, |first| first.min(from));
        child.next = Next::after(exit);
        child.state = ChildState::Restarting;
        let mut group = Group { after: child.wait_after(exit, now, chance), ..Group::default() };
        for (key, child) in self.children.range_mut(from..) {
            let runs = child.state == ChildState::Running || child.ordered;
            match child.state {
                // Whoever asked for a start waits for this one; a terminated child stays so.
                ChildState::Starting => continue,
                ChildState::Stopping if !child.again => continue,
                // The stop of a group before this one is still under way.
                ChildState::Stopping => group.current = Some(*key),
                ChildState::Running | ChildState::Restarting if runs => {
                    group.to_stop.insert(*key);
                }
                _ => child.state = ChildState::Restarting,
            }
            group.to_start.insert(*key);
        }
        let waits = group.current.is_some();
        self.group = Some(group);
        if waits { Vec::new() } else { self.step_group() }
    }

    /// Whether the group of the child is being stopped, and it is not its turn yet.
    pub(super) fn is_about_to_stop(&self, key: Key) -> bool {
        self.group.as_ref().is_some_and(|group| group.to_stop.contains(&key))
    }

    /// The child of a group ended before it was asked to (SG-1).
    pub(super) fn stopped_early(&mut self, key: Key, exit: &Exit) -> Vec<Decision> {
        let Some(child) = self.children.get_mut(&key) else { return Vec::new() };
        child.again = child.rules.restart != Restart::Temporary;
        self.stopped(key, exit)
    }

    /// The child has ended because it was asked to.
    pub(super) fn stopped(&mut self, key: Key, exit: &Exit) -> Vec<Decision> {
        let child = self.children.get_mut(&key);
        let Some(child) = child.filter(|child| child.again && self.ending.is_none()) else {
            return self.finish(key);
        };
        child.again = false;
        child.next = Next::after(exit);
        child.state = ChildState::Restarting;
        self.advance(key)
    }

    /// What the group waited for has come.
    pub(super) fn advance(&mut self, key: Key) -> Vec<Decision> {
        match &mut self.group {
            Some(group) if group.current == Some(key) => {
                group.current = None;
                self.step_group()
            }
            _ => Vec::new(),
        }
    }

    fn step_group(&mut self) -> Vec<Decision> {
        let Some(group) = &mut self.group else { return Vec::new() };
        while let Some(key) = group.to_stop.pop_last() {
            let Some(child) = self.children.get_mut(&key) else { continue };
            if child.state == ChildState::Running || child.ordered {
                child.state = ChildState::Stopping;
                child.again = child.rules.restart != Restart::Temporary;
                group.current = Some(key);
                return vec![Decision::Stop { child: key }];
            }
        }
        while let Some(key) = group.to_start.pop_first() {
            let Some(child) = self.children.get_mut(&key) else { continue };
            if child.state == ChildState::Restarting && !child.ordered {
                group.current = Some(key);
                return vec![child.order_again(key, std::mem::take(&mut group.after))];
            }
        }
        self.group = None;
        Vec::new()
    }
}
