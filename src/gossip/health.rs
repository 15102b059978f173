//! How well this node itself does: whoever is slow doubts itself before it accuses others.
//!
//! Source: A. Dadgar, J. Phillips, J. Currey, "Lifeguard: Local Health Awareness for More Accurate
//! Failure Detection", 2018, section IV-A.

use std::time::Duration;

/// The worst score.
const SCORE_MAX: u32 = 7;

/// A score from 0, well, to [`SCORE_MAX`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Health(u32);

impl Health {
    /// Something went as it should.
    pub(super) fn better(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }

    /// Signs that this node is slow or cut off.
    pub(super) fn worse(&mut self, signs: u32) {
        self.0 = self.0.saturating_add(signs).min(SCORE_MAX);
    }

    pub(super) fn score(self) -> u32 {
        self.0
    }

    /// A period or a deadline of this node, as its health allows.
    pub(super) fn stretch(self, time: Duration) -> Duration {
        time * (self.0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn score_stays_between_its_ends_and_stretches_up_to_eight_times() {
        let mut health = Health::default();
        health.better();
        assert_eq!(health.stretch(Duration::from_secs(1)), Duration::from_secs(1));
        health.worse(3);
        health.worse(u32::MAX);
        assert_eq!(health.stretch(Duration::from_secs(1)), Duration::from_secs(8));
        health.better();
        assert_eq!(health.score(), SCORE_MAX - 1);
    }
}
