//! The area under the ROC curve, exact, also with ties.
//!
//! The AUC is the chance that a fraud drawn at random has a higher prediction than an honest rating
//! drawn at random, ties counting one half (the rank statistic of Mann and Whitney; see T. Fawcett,
//! "An introduction to ROC analysis", 2006). Pairs are counted in integers, so the order in which
//! verdicts come cannot change a bit of the result.
//!
//! - verdicts with an index below `WARMUP` do not count.
//! - 16 bytes are kept for each verdict that counts.

use crate::verdict::Verdict;

/// Events at the start of the stream that are learned from but not judged.
pub const WARMUP: u64 = 2_000;

/// Collects verdicts; see the module.
#[derive(Clone, Debug, Default)]
pub struct Auc {
    scored: Vec<(f64, bool)>,
}

impl Auc {
    /// Counts one verdict, once.
    pub fn record(&mut self, verdict: &Verdict) {
        if verdict.index >= WARMUP {
            self.scored.push((verdict.prediction, verdict.label));
        }
    }

    /// The area, from 0 to 1; none while frauds or honest ratings are missing.
    pub fn area(mut self) -> Option<f64> {
        self.scored.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let (mut honest, mut frauds, mut half_wins) = (0_u128, 0_u128, 0_u128);
        for tied in self.scored.chunk_by(|a, b| a.0 == b.0) {
            let tied_frauds = tied.iter().filter(|(_, fraud)| *fraud).count() as u128;
            let tied_honest = tied.len() as u128 - tied_frauds;
            half_wins += tied_frauds * (2 * honest + tied_honest);
            honest += tied_honest;
            frauds += tied_frauds;
        }
        let pairs = honest * frauds;
        (pairs > 0).then(|| half_wins as f64 / (2 * pairs) as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn auc_of(scored: &[(f64, bool)]) -> Option<f64> {
        let mut auc = Auc::default();
        for (at, &(prediction, label)) in (WARMUP..).zip(scored) {
            auc.record(&Verdict { index: at, prediction, label });
        }
        auc.area()
    }

    #[test]
    fn perfect_reversed_and_constant_predictions_have_the_known_areas() {
        assert_eq!(auc_of(&[(0.1, false), (0.9, true)]), Some(1.0));
        assert_eq!(auc_of(&[(0.9, false), (0.1, true)]), Some(0.0));
        assert_eq!(auc_of(&[(0.5, false), (0.5, true), (0.5, false)]), Some(0.5));
        assert_eq!(auc_of(&[(0.0, false), (-0.0, true)]), Some(0.5));
    }

    #[test]
    fn one_class_alone_has_no_area() {
        assert_eq!(auc_of(&[]), None);
        assert_eq!(auc_of(&[(0.3, true), (0.4, true)]), None);
        assert_eq!(auc_of(&[(0.3, false)]), None);
    }

    //
    #[test]
    fn the_warm_up_does_not_count() {
        let mut auc = Auc::default();
        auc.record(&Verdict { index: WARMUP - 1, prediction: 0.9, label: false });
        auc.record(&Verdict { index: WARMUP, prediction: 0.5, label: true });
        auc.record(&Verdict { index: WARMUP + 1, prediction: 0.4, label: false });
        assert_eq!(auc.area(), Some(1.0));
    }

    proptest! {
        #[test]
        fn the_area_is_the_share_of_pairs_in_the_right_order(
            scored in proptest::collection::vec((0_u8..8, any::<bool>()), 0..60)
        ) {
            let scored: Vec<_> = scored.into_iter().map(|(p, l)| (f64::from(p) / 8.0, l)).collect();
            let (mut half_wins, mut pairs) = (0_u32, 0_u32);
            for fraud in scored.iter().filter(|s| s.1) {
                for honest in scored.iter().filter(|s| !s.1) {
                    pairs += 1;
                    half_wins += 2 * u32::from(fraud.0 > honest.0) + u32::from(fraud.0 == honest.0);
                }
            }
            let expected = (pairs > 0).then(|| f64::from(half_wins) / f64::from(2 * pairs));
            prop_assert_eq!(auc_of(&scored), expected);
        }
    }
}
