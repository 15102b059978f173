//! Rounds: every side's turn at a bench, again and again, and the medians of what they say.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use clap::ValueEnum;
use serde::Serialize;

use crate::bench::{Bench, Sample, Scale, Unit, median};
use crate::side::Outcome;
use crate::sides::erlang::Erlang;

/// A side. Its name is what the lines say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Who {
    Mobula,
    Tokio,
    Ractor,
    Kameo,
    Actix,
    Erlang,
}

impl Who {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mobula => "mobula",
            Self::Tokio => "tokio",
            Self::Ractor => "ractor",
            Self::Kameo => "kameo",
            Self::Actix => "actix",
            Self::Erlang => "erlang",
        }
    }
}

/// What is run, how often, and by whom.
pub(crate) struct Rounds {
    pub(crate) benches: Vec<Bench>,
    pub(crate) sides: Vec<Who>,
    pub(crate) rounds: usize,
    pub(crate) tiny: bool,
    pub(crate) scale: Scale,
}

/// One line of the output.
#[derive(Serialize)]
struct Line {
    bench: String,
    who: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    actors: Option<u64>,
    value: f64,
    unit: Unit,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    ratio_to: BTreeMap<&'static str, f64>,
}

impl Rounds {
    /// Prints the lines of each bench when its last round is over.
    pub(crate) fn run(mut self) -> Outcome<()> {
        let erlang = if self.sides.contains(&Who::Erlang) { Erlang::compiled()? } else { None };
        if erlang.is_none() {
            self.sides.retain(|&who| who != Who::Erlang);
            eprintln!("erlang: not measured (not asked for, or no `erl` on the PATH)");
        }
        for &bench in &self.benches {
            let mut samples: Vec<(Who, Sample)> = Vec::new();
            for round in 0..self.rounds {
                let mut order = self.sides.clone();
                // Nobody always goes first.
                order.rotate_left(round % self.sides.len());
                for who in order {
                    let said = self.measure(who, bench, erlang.as_ref());
                    let said =
                        said.map_err(|error| format!("{} {bench:?}: {error}", who.name()))?;
                    samples.extend(said.into_iter().map(|sample| (who, sample)));
                }
            }
            for line in self.lines(bench, &samples) {
                println!("{}", serde_json::to_string(&line)?);
            }
        }
        Ok(())
    }

    fn measure(&self, who: Who, bench: Bench, erlang: Option<&Erlang>) -> Outcome<Vec<Sample>> {
        match erlang {
            Some(erlang) if who == Who::Erlang => erlang.measure(bench, &self.scale),
            _ => in_own_process(who, bench, self.tiny),
        }
    }

    fn lines(&self, bench: Bench, samples: &[(Who, Sample)]) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        let mut figures: Vec<(Option<u64>, Unit)> = Vec::new();
        for (_, sample) in samples {
            if !figures.contains(&(sample.actors, sample.unit)) {
                figures.push((sample.actors, sample.unit));
            }
        }
        for (actors, unit) in figures {
            let first = lines.len();
            for &who in &self.sides {
                let is_it =
                    |other: &Who, s: &Sample| *other == who && (s.actors, s.unit) == (actors, unit);
                let ours = samples.iter().filter(|(other, sample)| is_it(other, sample));
                let mut values: Vec<f64> = ours.map(|(_, sample)| sample.value).collect();
                if !values.is_empty() {
                    let (bench, value) = (name(bench), rounded(median(&mut values)));
                    let (who, ratio_to) = (who.name(), BTreeMap::new());
                    lines.push(Line { bench, who, actors, value, unit, ratio_to });
                }
            }
            compare(&mut lines[first..]);
        }
        lines
    }
}

/// Writes our ratio to each of the others on our line.
fn compare(lines: &mut [Line]) {
    let others: Vec<_> = lines.iter().map(|line| (line.who, line.value)).collect();
    if let Some(ours) = lines.iter_mut().find(|line| line.who == Who::Mobula.name()) {
        let others = others.into_iter().filter(|(who, value)| *who != ours.who && *value > 0.0);
        ours.ratio_to = others.map(|(who, value)| (who, rounded(ours.value / value))).collect();
    }
}

/// Three digits behind the point are more than a noisy machine can tell.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

pub(crate) fn name(bench: Bench) -> String {
    bench.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn in_own_process(who: Who, bench: Bench, tiny: bool) -> Outcome<Vec<Sample>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["measure", who.name(), &name(bench)]).args(tiny.then_some("--tiny"));
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("ended with {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(sides: &[Who]) -> Rounds {
        let scale = crate::bench::TINY;
        Rounds { benches: Vec::new(), sides: sides.to_vec(), rounds: 3, tiny: true, scale }
    }

    fn said(who: Who, values: [f64; 3]) -> impl Iterator<Item = (Who, Sample)> {
        let sample = |value| Sample { value, unit: Unit::Nanoseconds, actors: None };
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
}
