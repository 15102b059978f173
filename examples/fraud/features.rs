//! The two halves of a feature vector, each from one trader's own history.
//!
//! The halves are computed where the histories live, on two partitions that need not know each
//! other; the scorer joins them. Every feature is squashed by a fixed function, so the model needs
//! no scaling of its own.
//!
//! - F-1: a half depends only on the history before the event and on the event's time; the rating
//!   of the event itself cannot reach it.
//! - F-2: every feature is finite and within -1..=1.

use serde::{Deserialize, Serialize};

use crate::{
    event::FRAUD_RATING,
    history::{History, Side},
};

/// How many features come from the history of the trader who rates.
pub const GIVER_FEATURES: usize = 10;
/// How many features come from the history of the trader who is rated.
pub const RECEIVER_FEATURES: usize = 12;

/// The half of the trader who rates.
pub type Giver = [f64; GIVER_FEATURES];
/// The half of the trader who is rated.
pub type Receiver = [f64; RECEIVER_FEATURES];

/// The two halves of one event, joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Features {
    /// From the history of the source.
    pub giver: Giver,
    /// From the history of the target.
    pub receiver: Receiver,
}

/// The positions in a `Giver` that say how readily the trader calls others fraudsters.
pub const HARSHNESS: std::ops::Range<usize> = 1..5;
/// The positions in a `Receiver` that say how often the trader was called a fraudster.
pub const SUSPICION: std::ops::Range<usize> = 6..10;

/// The half of the source of an event at `time_s`, from its history before that event.
pub fn giver_features(history: &History, time_s: f64) -> Giver {
    let History { given, received, .. } = history;
    [
        log_count(given),
        negative_share(given),
        given.recent_frauds,
        fraud_burst(given, time_s),
        last_was_fraud(given),
        log_count(received),
        mean(received),
        negative_share(received),
        last_was_fraud(received),
        age(history, time_s),
    ]
}

/// The half of the target of an event at `time_s`, from its history before that event.
pub fn receiver_features(history: &History, time_s: f64) -> Receiver {
    let History { given, received, .. } = history;
    [
        log_count(given),
        negative_share(given),
        fraud_burst(given, time_s),
        last_was_fraud(given),
        log_count(received),
        received.recent / RATING_MAX,
        negative_share(received),
        received.recent_frauds,
        fraud_burst(received, time_s),
        last_was_fraud(received),
        age(history, time_s),
        silence(given, time_s),
    ]
}

const RATING_MAX: f64 = 10.0;
/// Counts are squashed to 1 at about e to this power.
const LOG_COUNT_MAX: f64 = 7.0;
const LOG_BURST_MAX: f64 = 4.0;
/// Five years are about e to the 10.7 hours.
const LOG_HOURS_MAX: f64 = 12.0;
const HOUR_S: f64 = 3_600.0;

fn log_count(side: &Side) -> f64 {
    log(f64::from(side.count), LOG_COUNT_MAX)
}

// One is added to the count so that a single rating weighs less than many that agree.
fn mean(side: &Side) -> f64 {
    side.sum as f64 / (f64::from(side.count) + 1.0) / RATING_MAX
}

fn negative_share(side: &Side) -> f64 {
    f64::from(side.negatives) / (f64::from(side.count) + 1.0)
}

fn fraud_burst(side: &Side, time_s: f64) -> f64 {
    log(side.fraud_burst * side.fading(time_s), LOG_BURST_MAX)
}

fn last_was_fraud(side: &Side) -> f64 {
    f64::from(u8::from(side.last == FRAUD_RATING))
}

// A fraudster stops rating others long before the others stop rating it.
fn silence(side: &Side, time_s: f64) -> f64 {
    if side.count == 0 { 0.0 } else { log_hours(time_s - side.last_s) }
}

fn age(history: &History, time_s: f64) -> f64 {
    history.first_s.map_or(0.0, |first_s| log_hours(time_s - first_s))
}

fn log_hours(duration_s: f64) -> f64 {
    log(duration_s / HOUR_S, LOG_HOURS_MAX)
}

fn log(amount: f64, log_max: f64) -> f64 {
    (amount.max(0.0).ln_1p() / log_max).min(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        event::Event,
        history::{apply_given, apply_received},
    };

    fn ratings() -> impl Strategy<Value = Vec<(i8, f64, bool)>> {
        proptest::collection::vec((-10_i8..=10, 0.0..1e9, any::<bool>()), 0..80)
    }

    fn history_of(ratings: &[(i8, f64, bool)]) -> (History, f64) {
        let (mut history, mut time_s) = (History::default(), 0.0);
        for &(rating, gap_s, given) in ratings {
            time_s += gap_s;
            let event = Event { source: 1, target: 2, rating, time_s };
            if given {
                apply_given(&mut history, &event);
            } else {
                apply_received(&mut history, &event);
            }
        }
        (history, time_s)
    }

    proptest! {
        // F-2, H-3
        #[test]
        fn every_feature_stays_within_one(ratings in ratings(), later_s in 0.0..1e10) {
            let (history, time_s) = history_of(&ratings);
            let giver = giver_features(&history, time_s + later_s);
            let receiver = receiver_features(&history, time_s + later_s);
            for feature in giver.iter().chain(&receiver) {
                prop_assert!((-1.0..=1.0).contains(feature), "{feature} of {history:?}");
            }
        }
    }

    #[test]
    fn a_trader_nobody_knows_has_no_features() {
        assert_eq!(giver_features(&History::default(), 1e9), [0.0; GIVER_FEATURES]);
        assert_eq!(receiver_features(&History::default(), 1e9), [0.0; RECEIVER_FEATURES]);
    }

    // The model crosses these positions, so they must be what their names say.
    #[test]
    fn harshness_and_suspicion_grow_with_frauds_called_and_with_nothing_else() {
        let (called, now_s) = history_of(&[(-10, 1e6, true), (-10, 10.0, true)]);
        let (accused, _) = history_of(&[(-10, 1e6, false), (-10, 10.0, false)]);
        assert!(giver_features(&called, now_s)[HARSHNESS].iter().all(|x| *x > 0.0));
        assert!(giver_features(&accused, now_s)[HARSHNESS].iter().all(|x| *x == 0.0));
        assert!(receiver_features(&accused, now_s)[SUSPICION].iter().all(|x| *x > 0.0));
        assert!(receiver_features(&called, now_s)[SUSPICION].iter().all(|x| *x == 0.0));
    }

    #[test]
    fn a_burst_of_accusations_fades_and_the_count_does_not() {
        let (accused, now_s) = history_of(&[(-10, 1e6, false), (-10, 10.0, false)]);
        let fresh = receiver_features(&accused, now_s);
        let stale = receiver_features(&accused, now_s + 90.0 * 24.0 * HOUR_S);
        assert!(stale[8] < fresh[8] / 100.0);
        assert_eq!(stale[4], fresh[4]);
    }
}
