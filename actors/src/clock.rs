//! The clock of deadlines.
//!
//! On Linux it is the kernel's coarse one: about five nanoseconds to read, where the exact clock
//! costs twenty-five. With feature `test-util`, and on other systems, it is tokio's, so that a paused
//! runtime pauses the deadlines too.
//!
//! Invariant **CC-1**: it is never ahead of the exact clock, and behind it by at most [`LAG_MAX`].

use std::ops::Add;
use std::time::Duration;

pub(crate) use reading::LAG_MAX;

/// A point in time, to be compared with others of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(reading::Reading);

impl Moment {
    #[inline]
    pub(crate) fn now() -> Self {
        Self(reading::now())
    }

    /// From `earlier` to this one; zero if it is the other way round.
    #[inline]
    pub(crate) fn since(self, earlier: Self) -> Duration {
        reading::between(earlier.0, self.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    #[inline]
    fn add(self, after: Duration) -> Self {
        Self(self.0 + after)
    }
}

#[cfg(all(target_os = "linux", not(any(test, feature = "test-util"))))]
use coarse as reading;
#[cfg(not(all(target_os = "linux", not(any(test, feature = "test-util")))))]
use exact as reading;

#[cfg(all(target_os = "linux", any(test, not(feature = "test-util"))))]
mod coarse {
    use std::time::Duration;

    use rustix::time::{ClockId, clock_gettime};

    /// Since the machine was started.
    pub(super) type Reading = Duration;

    /// One tick of a kernel that has a hundred of them a second; most have more.
    pub(crate) const LAG_MAX: Duration = Duration::from_millis(10);

    #[inline]
    pub(super) fn now() -> Reading {
        read(ClockId::MonotonicCoarse)
    }

    #[inline]
    pub(super) fn read(clock: ClockId) -> Duration {
        let now = clock_gettime(clock);
        // Neither is negative: the clock begins at zero.
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    }

    #[cfg_attr(test, expect(dead_code, reason = "tests pause the exact clock"))]
    #[inline]
    pub(super) fn between(earlier: Reading, later: Reading) -> Duration {
        later.saturating_sub(earlier)
    }
}

#[cfg(not(all(target_os = "linux", not(any(test, feature = "test-util")))))]
mod exact {
    use std::time::Duration;

    pub(super) type Reading = tokio::time::Instant;

    pub(crate) const LAG_MAX: Duration = Duration::ZERO;

    pub(super) fn now() -> Reading {
        Reading::now()
    }

    pub(super) fn between(earlier: Reading, later: Reading) -> Duration {
        later.saturating_duration_since(earlier)
    }
}

#[cfg(test)]
mod tests {
    // CC-1
    #[cfg(target_os = "linux")]
    #[test]
    fn the_coarse_clock_is_never_ahead_and_lags_by_a_tick_at_most() {
        use super::coarse::{LAG_MAX, now, read};
        use rustix::time::ClockId;

        let begun = read(ClockId::Monotonic);
        loop {
            let before = read(ClockId::Monotonic);
            let coarse = now();
            assert!(coarse <= read(ClockId::Monotonic));
            assert!(before.saturating_sub(coarse) <= LAG_MAX, "{before:?} {coarse:?}");
            if before - begun > LAG_MAX * 3 {
                return;
            }
        }
    }
}
