//! What a partition keeps about one trader: a fixed number of sums, however many ratings it saw.
//!
//! - H-1: the size of a `History` does not depend on the number of ratings applied to it.
//! - H-2: a history changes only by `apply_given` and `apply_received`, and the result depends only
//!   on the order of those calls.
//! - H-3: every number in it is finite for ratings of -10 to 10 and finite times in order.

use serde::{Deserialize, Serialize};

use crate::event::Event;

/// How much of a recency-weighted mean the newest rating is.
const RECENT: f64 = 0.3;
/// A burst forgets by the factor e in this time.
const BURST_S: f64 = 7.0 * 86_400.0;

/// The ratings of one trader in one direction: all that it gave, or all that it received.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// How many ratings.
    pub count: u32,
    /// The sum of the ratings.
    pub sum: i64,
    /// How many were below zero.
    pub negatives: u32,
    /// Recency-weighted mean of the ratings; zero before the first.
    pub recent: f64,
    /// Recency-weighted share of the rating for fraudsters.
    pub recent_frauds: f64,
    /// Ratings for fraudsters that fade with time, as of `last_s`.
    pub fraud_burst: f64,
    /// The last rating; zero before the first.
    pub last: i8,
    /// When the last rating was made; zero before the first.
    pub last_s: f64,
}

impl Side {
    /// The part of a burst that is left at `time_s`.
    pub fn fading(&self, time_s: f64) -> f64 {
        (-(time_s - self.last_s).max(0.0) / BURST_S).exp()
    }

    fn apply(&mut self, event: &Event) {
        let (rating, fraud) = (f64::from(event.rating), f64::from(u8::from(event.is_fraud())));
        let fading = self.fading(event.time_s);
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(i64::from(event.rating));
        self.negatives = self.negatives.saturating_add(u32::from(event.rating < 0));
        self.recent += RECENT * (rating - self.recent);
        self.recent_frauds += RECENT * (fraud - self.recent_frauds);
        self.fraud_burst = self.fraud_burst * fading + fraud;
        self.last = event.rating;
        self.last_s = event.time_s;
    }
}

/// Everything that is known of one trader.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The ratings that the trader gave.
    pub given: Side,
    /// The ratings that the trader received.
    pub received: Side,
    /// When the trader was first seen; none before its first event.
    pub first_s: Option<f64>,
}

/// The trader gave the rating of `event`.
pub fn apply_given(history: &mut History, event: &Event) {
    history.first_s.get_or_insert(event.time_s);
    history.given.apply(event);
}

/// The trader received the rating of `event`.
pub fn apply_received(history: &mut History, event: &Event) {
    history.first_s.get_or_insert(event.time_s);
    history.received.apply(event);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(rating: i8, time_s: f64) -> Event {
        Event { source: 1, target: 2, rating, time_s }
    }

    #[test]
    fn a_rating_changes_only_the_side_it_is_applied_to() {
        let mut history = History::default();
        apply_received(&mut history, &event(-10, 50.0));
        apply_received(&mut history, &event(4, 60.0));
        assert_eq!(history.given, Side::default());
        let received = &history.received;
        assert_eq!((received.count, received.sum, received.negatives), (2, -6, 1));
        assert_eq!((received.last, received.last_s), (4, 60.0));
        assert_eq!(history.first_s, Some(50.0));
        apply_given(&mut history, &event(1, 70.0));
        assert_eq!((history.given.count, history.received.count), (1, 2));
        assert_eq!(history.first_s, Some(50.0));
    }

    #[test]
    fn what_is_recent_follows_the_last_ratings_and_a_burst_fades_in_a_week() {
        let mut side = Side::default();
        side.apply(&event(-10, 0.0));
        assert_eq!((side.recent, side.recent_frauds, side.fraud_burst), (-3.0, 0.3, 1.0));
        side.apply(&event(1, BURST_S));
        assert!((side.fraud_burst - (-1.0_f64).exp()).abs() < 1e-12);
        assert!((side.recent_frauds - 0.21).abs() < 1e-12);
    }

    // H-1
    #[test]
    fn the_size_does_not_grow_with_the_ratings() {
        let size = |history: &History| postcard::to_allocvec(history).unwrap().len();
        let mut history = History::default();
        let at_most = size(&history) + 64;
        for at in 0..10_000 {
            apply_given(&mut history, &event(10, f64::from(at)));
            apply_received(&mut history, &event(-10, f64::from(at)));
        }
        assert!(size(&history) <= at_most);
    }

    #[test]
    fn a_history_survives_its_encoding_bit_for_bit() {
        let mut history = History::default();
        for at in 0_i8..100 {
            apply_received(&mut history, &event(at % 11, f64::from(at) * 1e5 + 0.1));
        }
        let bytes = postcard::to_allocvec(&history).unwrap();
        assert_eq!(postcard::from_bytes::<History>(&bytes).unwrap(), history);
    }
}
