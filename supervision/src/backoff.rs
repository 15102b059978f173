//! How long to wait before a child is started again: doubling, with jitter, forgotten after a
//! quiet minute.
//!
//! Pure: time and chance are passed in.
//!
//! Invariants:
//! - **B-1** A wait lies within `JITTER` of `min * 2^n`, capped at `max`, where `n` counts the
//!   restarts before it.
//! - **B-2** After [`RESET_AFTER`] without a restart the count begins again.

use std::time::Duration;

/// The first wait unless a spec says otherwise.
pub const BACKOFF_MIN_DEFAULT: Duration = Duration::from_millis(200);
/// The longest wait unless a spec says otherwise.
pub const BACKOFF_MAX_DEFAULT: Duration = Duration::from_secs(30);
/// The part of a wait that chance decides, to either side.
pub const JITTER: f64 = 0.2;
/// A child that was not started again for this long begins with short waits again.
pub const RESET_AFTER: Duration = Duration::from_secs(60);

/// The waits of one child.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    first_is_free: bool,
    restarts: u32,
    /// When the last restart was due.
    last: Duration,
}

impl Backoff {
    /// Waits from `min` up to `max`.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min), first_is_free: false, restarts: 0, last: Duration::ZERO }
    }

    /// The same, with no wait before the first restart.
    #[must_use]
    pub fn first_at_once(mut self) -> Self {
        self.first_is_free = true;
        self
    }

    /// How long to wait at `now` before the next restart. `chance` is in `0.0..1.0`.
    pub fn wait(&mut self, now: Duration, chance: f64) -> Duration {
        if now.saturating_sub(self.last) > RESET_AFTER {
            self.restarts = 0;
        }
        let doublings =
            if self.first_is_free { self.restarts.checked_sub(1) } else { Some(self.restarts) };
        self.restarts = self.restarts.saturating_add(1);
        let wait = doublings.map_or(Duration::ZERO, |doublings| self.jittered(doublings, chance));
        self.last = now.saturating_add(wait);
        wait
    }

    fn jittered(&self, doublings: u32, chance: f64) -> Duration {
        let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let wait = self.min.saturating_mul(factor).min(self.max);
        // A day is past any sensible wait and safely within a float.
        let wait = wait.min(Duration::from_secs(86_400));
        wait.mul_f64(1.0 + JITTER * (2.0 * chance.clamp(0.0, 1.0) - 1.0))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(BACKOFF_MIN_DEFAULT, BACKOFF_MAX_DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn waits_double_up_to_the_longest_and_begin_again_after_a_quiet_minute() {
        let mut backoff = Backoff::new(ms(200), ms(1_000));
        let waits: Vec<_> = (0..4).map(|_| backoff.wait(ms(10), 0.5)).collect();
        assert_eq!(waits, [ms(200), ms(400), ms(800), ms(1_000)]);
        let due = ms(1_010);
        assert_eq!(backoff.wait(due + RESET_AFTER, 0.5), ms(1_000)); // B-2: not yet
        let due = due + RESET_AFTER + ms(1_000);
        assert_eq!(backoff.wait(due + RESET_AFTER + ms(1), 0.5), ms(200)); // B-2
    }

    #[test]
    fn the_first_restart_after_a_node_loss_does_not_wait() {
        let mut backoff = Backoff::default().first_at_once();
        let waits: Vec<_> = (0..3).map(|_| backoff.wait(ms(0), 0.5)).collect();
        assert_eq!(waits, [ms(0), ms(200), ms(400)]);
    }

    proptest! {
        // B-1
        #[test]
        fn a_wait_stays_within_its_jitter(
            min in 1u64..10_000, extra in 0u64..100_000, n in 0u32..80, chance in 0.0f64..1.0,
        ) {
            let mut backoff = Backoff::new(ms(min), ms(min + extra));
            let mut wait = ms(0);
            for _ in 0..=n { wait = backoff.wait(ms(0), chance); }
            let plain = ms(min).saturating_mul(1u32.checked_shl(n).unwrap_or(u32::MAX)).min(ms(min + extra));
            prop_assert!(wait >= plain.mul_f64(1.0 - JITTER - 1e-6));
            prop_assert!(wait <= plain.mul_f64(1.0 + JITTER + 1e-6));
        }
    }
}
