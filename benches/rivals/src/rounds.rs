//! Rounds: every side's turn at a bench, again and again, and the medians of what they say.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::Serialize;

use crate::bench::{Of, Sample, Unit, median};
use crate::side::Outcome;

/// What is run, how often, and by whom.
pub(crate) struct Rounds<B, W: 'static> {
    pub(crate) benches: Vec<B>,
    pub(crate) sides: Vec<W>,
    /// Whose lines tell the ratios: the first of these that a figure has.
    pub(crate) ours: &'static [W],
    pub(crate) rounds: usize,
}

/// One line of the output.
#[derive(Serialize)]
struct Line {
    bench: String,
    who: String,
    #[serde(flatten)]
    of: Option<Of>,
    value: f64,
    unit: Unit,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    ratio_to: BTreeMap<String, f64>,
}

impl<B: ValueEnum, W: ValueEnum + PartialEq> Rounds<B, W> {
    /// Prints the lines of each bench when its last round is over. `turn` gives a side its turn.
    pub(crate) fn run(&self, turn: impl Fn(W, B) -> Outcome<Vec<Sample>>) -> Outcome<()> {
        for bench in &self.benches {
            let mut samples: Vec<(W, Sample)> = Vec::new();
            for round in 0..self.rounds {
                let mut order = self.sides.clone();
                // Nobody always goes first.
                order.rotate_left(round % self.sides.len().max(1));
                for who in order {
                    let said = turn(who.clone(), bench.clone()).map_err(|error| {
                        format!("{} {}: {error}", name(who.clone()), name(bench.clone()))
                    })?;
                    samples.extend(said.into_iter().map(|sample| (who.clone(), sample)));
                }
            }
            for line in self.lines(bench.clone(), &samples) {
                println!("{}", serde_json::to_string(&line)?);
            }
        }
        Ok(())
    }

    fn lines(&self, bench: B, samples: &[(W, Sample)]) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        let mut figures: Vec<(Option<Of>, Unit)> = Vec::new();
        for (_, sample) in samples {
            if !figures.contains(&(sample.of, sample.unit)) {
                figures.push((sample.of, sample.unit));
            }
        }
        for (of, unit) in figures {
            let first = lines.len();
            for who in &self.sides {
                let is_it =
                    |(other, s): &&(W, Sample)| other == who && (s.of, s.unit) == (of, unit);
                let theirs: Vec<&Sample> = samples.iter().filter(is_it).map(|(_, s)| s).collect();
                let mut values: Vec<f64> = theirs.iter().map(|sample| sample.value).collect();
                if values.is_empty() {
                    continue;
                }
                let value = median(&mut values);
                let mut alone: Vec<f64> = theirs.iter().filter_map(|sample| sample.alone).collect();
                let ratio_to = if alone.is_empty() {
                    BTreeMap::new()
                } else {
                    BTreeMap::from([("alone".into(), rounded(value / median(&mut alone)))])
                };
                let (bench, who) = (name(bench.clone()), name(who.clone()));
                lines.push(Line { bench, who, of, value: rounded(value), unit, ratio_to });
            }
            self.compare(&mut lines[first..]);
        }
        lines
    }

    /// Writes our ratio to each of the others on our line.
    fn compare(&self, lines: &mut [Line]) {
        let others: Vec<_> = lines.iter().map(|line| (line.who.clone(), line.value)).collect();
        let ours = self.ours.iter().find_map(|ours| {
            let ours = name(ours.clone());
            lines.iter().position(|line| line.who == ours)
        });
        let Some(ours) = ours.and_then(|at| lines.get_mut(at)) else { return };
        if !ours.ratio_to.is_empty() {
            return;
        }
        let others = others.into_iter().filter(|(who, value)| *who != ours.who && *value > 0.0);
        ours.ratio_to = others.map(|(who, value)| (who, rounded(ours.value / value))).collect();
    }
}

/// Three digits behind the point are more than a noisy machine can tell.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// What it is called on the command line and in the lines.
pub(crate) fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Bench;
    use crate::side::Who;

    fn rounds(sides: &[Who]) -> Rounds<Bench, Who> {
        Rounds { benches: Vec::new(), sides: sides.to_vec(), ours: &[Who::Mobula], rounds: 3 }
    }

    fn said(who: Who, values: [f64; 3]) -> impl Iterator<Item = (Who, Sample)> {
        let sample = |value| Sample::new(value, Unit::Nanoseconds);
        values.into_iter().map(move |value| (who, sample(value)))
    }

    #[test]
    fn our_line_holds_our_median_divided_by_theirs() {
        let samples: Vec<_> = said(Who::Mobula, [9.0, 2.0, 3.0])
            .chain(said(Who::Erlang, [12.0, 1.0, 90.0]))
            .collect();
        let lines = rounds(&[Who::Mobula, Who::Erlang]).lines(Bench::RingHop, &samples);
        let lines: Vec<_> = lines.iter().map(|line| serde_json::to_string(line).unwrap()).collect();
        assert_eq!(
            lines,
            [
                r#"{"bench":"ring_hop","who":"mobula","value":3.0,"unit":"ns","ratio_to":{"erlang":0.25}}"#,
                r#"{"bench":"ring_hop","who":"erlang","value":12.0,"unit":"ns"}"#,
            ]
        );
    }

    #[test]
    fn a_side_that_cannot_do_a_bench_has_no_line_and_no_ratio() {
        let samples: Vec<_> = said(Who::Mobula, [1.0, 2.0, 3.0]).collect();
        let lines = rounds(&[Who::Mobula, Who::Actix]).lines(Bench::RestartPanic, &samples);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].ratio_to.is_empty());
    }

    #[test]
    fn what_a_bench_adds_is_told_by_the_ratio_to_what_was_without_it() {
        let beside = Sample { alone: Some(2.0), ..Sample::new(9.0, Unit::Microseconds) };
        let rounds = rounds(&[Who::Mobula, Who::Tokio]);
        let samples = [(Who::Mobula, beside.clone()), (Who::Tokio, beside)];
        let lines = rounds.lines(Bench::RingHop, &samples);
        assert!(lines.iter().all(|line| line.ratio_to == BTreeMap::from([("alone".into(), 4.5)])));
    }
}
