//! What the scorer says of one event, and what was true: the input of the sink.

use serde::{Deserialize, Serialize};

/// The prediction for the event at `index`, and its label.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Position of the event in the stream, from zero.
    pub index: u64,
    /// The chance that the rating is the one for fraudsters, as predicted before it was seen.
    pub prediction: f64,
    /// Whether it was.
    pub label: bool,
}
