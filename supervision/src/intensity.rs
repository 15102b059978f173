//! How many restarts are too many: a window that slides over the caller's clock.
//!
//! Pure. Time is the `Duration` since a start that the caller chooses.
//!
//! Invariants (OTP's `add_restart`, with finer stamps):
//! - **RI-1** A restart counts while its age is at most `period`, inclusive.
//! - **RI-2** More than `max` restarts that count trip the limit; `max` of them do not.
//! - **RI-3** At most `max + 1` stamps are kept.

use std::collections::VecDeque;
use std::time::Duration;

/// At most `max` restarts within `period`.
#[derive(Clone, Debug)]
pub struct Intensity {
    max: u32,
    period: Duration,
    stamps: VecDeque<Duration>,
}

impl Intensity {
    /// Trips on more than `max` restarts within `period`. With `max` 0 the first one trips.
    #[must_use]
    pub fn new(max: u32, period: Duration) -> Self {
        Self { max, period, stamps: VecDeque::new() }
    }

    /// Counts a restart at `now`, and says whether it is still within the limit.
    pub fn add(&mut self, now: Duration) -> bool {
        // The clock only goes forward, so the oldest stamps stand first.
        let is_old = |stamp: &Duration| now.saturating_sub(*stamp) > self.period;
        while self.stamps.front().is_some_and(is_old) {
            self.stamps.pop_front();
        }
        self.stamps.push_back(now);
        let within = self.stamps.len() <= self.max as usize;
        if !within {
            // Only the newest can decide what comes next.
            self.stamps.pop_front();
        }
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trips(max: u32, period_ms: u64, at_ms: &[u64]) -> Vec<bool> {
        let mut intensity = Intensity::new(max, Duration::from_millis(period_ms));
        at_ms.iter().map(|at| !intensity.add(Duration::from_millis(*at))).collect()
    }

    #[test]
    fn more_than_max_within_the_period_trips_and_the_edge_counts() {
        let table: &[(u32, u64, &[u64], &[bool])] = &[
            (0, 5_000, &[0], &[true]),
            (1, 5_000, &[0, 5_000], &[false, true]), // RI-1, RI-2
            (1, 5_000, &[0, 5_001], &[false, false]), // RI-1
            (2, 1_000, &[0, 0, 0], &[false, false, true]),
            (2, 1_000, &[0, 500, 1_001, 1_500], &[false, false, false, true]),
        ];
        for (max, period, at, expected) in table {
            assert_eq!(&trips(*max, *period, at), expected, "{max} in {period} ms at {at:?}");
        }
    }

    proptest! {
        // RI-1, RI-2, RI-3 against a model that keeps every stamp.
        #[test]
        fn the_window_agrees_with_a_count_of_all_stamps(
            max in 0u32..5, period in 0u64..50, steps in prop::collection::vec(0u64..20, 1..60),
        ) {
            let mut intensity = Intensity::new(max, Duration::from_millis(period));
            let (mut now, mut all) = (0, Vec::new());
            for step in steps {
                now += step;
                all.push(now);
                let counted = all.iter().filter(|stamp| now - **stamp <= period).count();
                let within = intensity.add(Duration::from_millis(now));
                prop_assert_eq!(within, counted <= max as usize);
                prop_assert!(intensity.stamps.len() <= max as usize + 1);
                if !within { break; }
            }
        }
    }
}
