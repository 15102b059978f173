//! Ends that no start follows: of a child, and of the plan.

use mobula_actors::{Exit, Restart};

use super::{AutoShutdown, Child, ChildState, Decision, Key, Plan, Strategy};

impl Plan {
    /// Stops all children in reverse order, then gives up with `exit`. The first exit stays.
    pub fn end(&mut self, exit: Exit) -> Vec<Decision> {
        if self.ending.is_some() {
            return Vec::new();
        }
        self.ending = Some(exit);
        self.group = None;
        if self.strategy == Strategy::Dynamic {
            return self.stop_all();
        }
        let mut decisions = self.call_off_starts();
        decisions.extend(self.wind_down());
        decisions
    }

    /// A run ended by itself, and none follows (S-6).
    pub(super) fn ended_for_good(&mut self, key: Key) -> Vec<Decision> {
        let child = self.children.get(&key);
        let significant = child.is_some_and(|child| child.rules.significant);
        let mut decisions = self.finish(key);
        let is_active =
            |child: &Child| child.rules.significant && child.state != ChildState::Stopped;
        let shuts_down = match self.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => significant,
            AutoShutdown::AllSignificant => {
                significant && !self.children.values().any(|child| is_active(child))
            }
        };
        self.shuts_down |= shuts_down;
        if shuts_down && self.is_up {
            decisions.extend(self.end(Exit::Shutdown));
        }
        decisions
    }

    pub(super) fn finish(&mut self, key: Key) -> Vec<Decision> {
        let Some(child) = self.children.get_mut(&key) else { return Vec::new() };
        let was = std::mem::replace(&mut child.state, ChildState::Stopped);
        let mut decisions = vec![Decision::Release { child: key }];
        if child.rules.restart == Restart::Temporary || self.strategy == Strategy::Dynamic {
            self.children.remove(&key);
            decisions.push(Decision::Forget { child: key });
        }
        // While the plan ends, only the child whose stop was ordered makes way for the next.
        if self.ending.is_some() && was == ChildState::Stopping {
            decisions.extend(self.wind_down());
        }
        decisions.extend(self.advance(key));
        decisions
    }

    /// What was being stopped already still is (S-7).
    fn stop_all(&mut self) -> Vec<Decision> {
        self.children.retain(|_, child| child.state != ChildState::Stopped);
        for child in self.children.values_mut() {
            child.state = ChildState::Stopping;
        }
        if self.children.is_empty() { self.wind_down() } else { vec![Decision::StopAll] }
    }

    /// Starts have no order in which they must be undone (S-4).
    fn call_off_starts(&mut self) -> Vec<Decision> {
        let starts = self.children.iter_mut().rev().filter(|(_, child)| child.is_starting());
        starts
            .map(|(key, child)| {
                let stop = child.ordered;
                child.state = if stop { ChildState::Stopping } else { ChildState::Stopped };
                let child = *key;
                if stop { Decision::Stop { child } } else { Decision::Release { child } }
            })
            .collect()
    }

    fn wind_down(&mut self) -> Vec<Decision> {
        if self.strategy == Strategy::Dynamic && !self.children.is_empty() {
            return Vec::new();
        }
        // Children that were being terminated on their own are waited for too.
        while let Some(mut last) = self.children.last_entry() {
            match last.get().state {
                ChildState::Stopped => drop(last.remove()),
                ChildState::Stopping => return Vec::new(),
                _ => {
                    last.get_mut().state = ChildState::Stopping;
                    return vec![Decision::Stop { child: *last.key() }];
                }
            }
        }
        self.ending.clone().map(Decision::GiveUp).into_iter().collect()
    }
}
