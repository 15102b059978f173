//! The same computation in one thread and plain maps, to compare a run with. It shares with the
//! pipeline the features and the model, and nothing else.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{
    auc::Auc,
    digest::Digest,
    event::Event,
    features::{Features, giver_features, receiver_features},
    history::{History, apply_given, apply_received},
    input::Input,
    model::{Model, WINDOW},
    verdict::Verdict,
};

/// What the oracle found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The area over the events after the warm-up; none when one class is missing there.
    pub auc: Option<f64>,
    /// The digest of every verdict.
    pub digest: String,
    /// How many events there were.
    pub events: u64,
    /// How long it took.
    pub took: Duration,
}

/// Runs all of `input`.
pub fn run(input: &Input) -> Outcome {
    let started = Instant::now();
    let mut oracle = Oracle::default();
    for index in 0..input.len() {
        if let Some(event) = input.event(index) {
            oracle.take(&event);
        }
    }
    oracle.finish(started)
}

#[derive(Default)]
struct Oracle {
    histories: HashMap<u64, History>,
    model: Model,
    window: Vec<(Features, bool)>,
    events: u64,
    auc: Auc,
    digest: Digest,
}

impl Oracle {
    /// The source's half is computed and applied before the target's, also when both are one.
    fn take(&mut self, event: &Event) {
        let source = self.histories.entry(event.source).or_default();
        let giver = giver_features(source, event.time_s);
        apply_given(source, event);
        let target = self.histories.entry(event.target).or_default();
        let receiver = receiver_features(target, event.time_s);
        apply_received(target, event);
        self.window.push((Features { giver, receiver }, event.is_fraud()));
        if self.window.len() == WINDOW {
            self.score();
        }
    }

    fn score(&mut self) {
        let predictions = self.model.score_window(&self.window);
        for (prediction, (_, label)) in predictions.into_iter().zip(self.window.drain(..)) {
            let verdict = Verdict { index: self.events, prediction, label };
            self.auc.record(&verdict);
            self.digest.record(&verdict);
            self.events += 1;
        }
    }

    fn finish(mut self, started: Instant) -> Outcome {
        self.score();
        Outcome {
            auc: self.auc.area(),
            digest: self.digest.hex(),
            events: self.events,
            took: started.elapsed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(events: u64) -> Input {
        Input::generated(7, events, 1).unwrap()
    }

    /// The oracle, with something done to it after one event.
    fn run_breaking(input: &Input, at: u64, harm: impl Fn(&mut Oracle, &Event)) -> String {
        let mut oracle = Oracle::default();
        for index in 0..input.len() {
            let event = input.event(index).unwrap();
            oracle.take(&event);
            if index == at {
                harm(&mut oracle, &event);
            }
        }
        oracle.finish(Instant::now()).digest
    }

    #[test]
    fn the_oracle_judges_every_event_also_those_of_a_short_last_window() {
        for events in [1, 15, 16, 17, 1_000] {
            assert_eq!(run(&generated(events)).events, events);
        }
    }

    #[test]
    fn two_runs_agree_and_one_update_broken_on_purpose_changes_the_digest() {
        let input = generated(5_000);
        let right = run(&input).digest;
        assert_eq!(run_breaking(&input, 1_000, |_, _| ()), right);
        let twice = run_breaking(&input, 1_000, |oracle, event| {
            apply_received(oracle.histories.get_mut(&event.target).unwrap(), event);
        });
        assert_ne!(twice, right);
        let lost = run_breaking(&input, 1_000, |oracle, event| {
            oracle.histories.remove(&event.source);
        });
        assert_ne!(lost, right);
        let unlearned = run_breaking(&input, 1_007, |oracle, _| oracle.model = Model::default());
        assert_ne!(unlearned, right);
    }

    #[test]
    fn a_trader_who_rates_himself_is_judged_after_his_own_rating_was_applied() {
        let event = Event { source: 4, target: 4, rating: -10, time_s: 100.0 };
        let mut oracle = Oracle::default();
        oracle.take(&event);
        let (features, _) = oracle.window[0];
        assert_eq!(features.giver[0], 0.0);
        assert!(features.receiver[0] > 0.0);
    }

    #[test]
    fn the_generated_market_can_be_learned_and_not_too_well() {
        let auc = run(&generated(30_000)).auc.unwrap();
        assert!((0.85..0.97).contains(&auc), "{auc}");
    }
}
