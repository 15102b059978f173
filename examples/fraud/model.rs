//! One-pass logistic regression over windows cut by event index.
//!
//! The learning rate of each weight follows AdaGrad (J. Duchi, E. Hazan, Y. Singer, "Adaptive
//! subgradient methods for online learning and stochastic optimization", 2011). Besides the
//! features themselves the model sees the product of each sign of a harsh giver with each sign of a
//! suspected receiver.
//!
//! - M-1: a window is predicted with the weights before it, then learned in order; no prediction
//!   depends on a label of its own window or of a later one.
//! - M-2: sums run over the inputs in one fixed order and nothing is summed over rows, so the bits
//!   of the predictions depend only on how the stream is cut into windows, which is by index.
//! - M-3: a model restored from its encoding goes on exactly like the one that was encoded.

use serde::{Deserialize, Serialize};

use crate::features::{Features, GIVER_FEATURES, HARSHNESS, RECEIVER_FEATURES, SUSPICION};

/// Events in a window. The last window of a stream may be shorter.
pub const WINDOW: usize = 16;

const CROSSED: usize = (HARSHNESS.end - HARSHNESS.start) * (SUSPICION.end - SUSPICION.start);
const INPUTS: usize = 1 + GIVER_FEATURES + RECEIVER_FEATURES + CROSSED;
const LEARNING_RATE: f64 = 0.3;

/// The weights and, for each, the sum of its squared gradients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    weights: Vec<f64>,
    squares: Vec<f64>,
}

impl Default for Model {
    fn default() -> Self {
        Self { weights: vec![0.0; INPUTS], squares: vec![1.0; INPUTS] }
    }
}

impl Model {
    /// Predicts every row of one window, then learns the rows in order. Each row is the features of
    /// an event and whether it was a fraud; the predictions come in the order of the rows.
    pub fn score_window(&mut self, rows: &[(Features, bool)]) -> Vec<f64> {
        debug_assert!(rows.len() <= WINDOW, "a window has at most {WINDOW} rows");
        let inputs: Vec<_> = rows.iter().map(|(features, _)| inputs(features)).collect();
        let predictions = inputs.iter().map(|inputs| self.predict(inputs)).collect();
        for (inputs, (_, label)) in inputs.iter().zip(rows) {
            self.learn(inputs, *label);
        }
        predictions
    }

    fn predict(&self, inputs: &[f64; INPUTS]) -> f64 {
        let mut logit = 0.0;
        for (weight, input) in self.weights.iter().zip(inputs) {
            logit += weight * input;
        }
        1.0 / (1.0 + (-logit).exp())
    }

    fn learn(&mut self, inputs: &[f64; INPUTS], label: bool) {
        let error = self.predict(inputs) - f64::from(u8::from(label));
        let state = self.weights.iter_mut().zip(&mut self.squares);
        for ((weight, squares), input) in state.zip(inputs) {
            let gradient = error * input;
            *squares += gradient * gradient;
            *weight -= LEARNING_RATE * gradient / squares.sqrt();
        }
    }
}

/// The constant, both halves, and the products.
fn inputs(features: &Features) -> [f64; INPUTS] {
    let mut inputs = [1.0; INPUTS];
    let (halves, crossed) = inputs[1..].split_at_mut(GIVER_FEATURES + RECEIVER_FEATURES);
    halves[..GIVER_FEATURES].copy_from_slice(&features.giver);
    halves[GIVER_FEATURES..].copy_from_slice(&features.receiver);
    let suspicion = &features.receiver[SUSPICION];
    for (row, harsh) in crossed.chunks_mut(suspicion.len()).zip(&features.giver[HARSHNESS]) {
        for (cross, suspected) in row.iter_mut().zip(suspicion) {
            *cross = harsh * suspected;
        }
    }
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows whose label is told by one feature.
    fn rows(count: usize) -> Vec<(Features, bool)> {
        let row = |at: usize| {
            let label = at.is_multiple_of(3);
            let mut features = Features::default();
            features.giver[1] = if label { 0.9 } else { 0.1 };
            features.receiver[6] = (at % 7) as f64 / 7.0;
            (features, label)
        };
        (0..count).map(row).collect()
    }

    #[test]
    fn the_model_learns_what_tells_frauds_apart() {
        let (mut model, rows) = (Model::default(), rows(1_600));
        let mut last = Vec::new();
        for window in rows.chunks(WINDOW) {
            last = model.score_window(window);
        }
        for (prediction, (_, label)) in last.iter().zip(&rows[1_600 - WINDOW..]) {
            assert_eq!(*prediction > 0.5, *label, "predicted {prediction}");
        }
    }

    // M-1
    #[test]
    fn labels_of_a_window_reach_only_the_predictions_after_it() {
        let rows = rows(2 * WINDOW);
        let mut flipped = rows.clone();
        flipped[0].1 = !flipped[0].1;
        let (mut model, mut other) = (Model::default(), Model::default());
        assert_eq!(model.score_window(&rows[..WINDOW]), other.score_window(&flipped[..WINDOW]));
        assert_ne!(model.score_window(&rows[WINDOW..]), other.score_window(&rows[WINDOW..]));
    }

    // M-2
    #[test]
    fn a_row_is_predicted_alike_alone_and_in_its_window() {
        let rows = rows(WINDOW + 3);
        let mut model = Model::default();
        model.score_window(&rows[..WINDOW]);
        let together = model.clone().score_window(&rows[WINDOW..]);
        for (row, prediction) in rows[WINDOW..].iter().zip(together) {
            assert_eq!(model.clone().score_window(&[*row]), [prediction]);
        }
    }

    // M-3
    #[test]
    fn a_restored_model_goes_on_bit_for_bit() {
        let (mut model, rows) = (Model::default(), rows(10 * WINDOW));
        rows[..5 * WINDOW].chunks(WINDOW).for_each(|window| drop(model.score_window(window)));
        let bytes = postcard::to_allocvec(&model).unwrap();
        let mut restored: Model = postcard::from_bytes(&bytes).unwrap();
        for window in rows[5 * WINDOW..].chunks(WINDOW) {
            assert_eq!(model.score_window(window), restored.score_window(window));
        }
        assert_eq!(model, restored);
    }
}
