//! One rating of one trader by another: what flows through the pipeline.

use serde::{Deserialize, Serialize};

/// The rating that the marketplace reserves for fraudsters; what the model predicts.
pub const FRAUD_RATING: i8 = -10;

/// `source` gave `target` the rating `rating` (-10 to 10) at `time_s` (seconds since the Unix
/// epoch).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The trader who rates.
    pub source: u64,
    /// The trader who is rated.
    pub target: u64,
    /// From -10 to 10.
    pub rating: i8,
    /// Seconds since the Unix epoch, finite, never smaller than the event's before it.
    pub time_s: f64,
}

impl Event {
    /// What the model is asked: is this rating the one for fraudsters?
    pub fn is_fraud(&self) -> bool {
        self.rating == FRAUD_RATING
    }
}
