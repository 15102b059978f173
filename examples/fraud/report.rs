//! What a run found, for programs (one JSON object) and for people (a table).
//!
//! What did not run, or cannot be measured, is `null` in the one and `-` in the other; it is never
//! a number.

use std::fmt::{self, Display, Formatter};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::chaos::Tally;

/// The result of a run; the fields are the keys of the JSON object, in its order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Events that reached the sink.
    pub events: u64,
    /// Events that reached the sink in a second.
    pub events_per_s: Option<f64>,
    /// From the source's send to the sink's count.
    pub latency_us: Option<Latency>,
    /// The area over the events after the warm-up; none when one class is missing there.
    pub auc: Option<f64>,
    /// The digest of the run.
    pub digest: Option<String>,
    /// The area that the oracle found; for people only.
    #[serde(skip)]
    pub oracle_auc: Option<f64>,
    /// How many events the oracle, one thread without the runtime, does in a second; for people
    /// only.
    #[serde(skip)]
    pub oracle_events_per_s: f64,
    /// The digest of the oracle.
    pub oracle_digest: Option<String>,
    /// Node processes.
    pub nodes: u16,
    /// The nodes that were killed, in order.
    pub killed: Vec<Killed>,
    /// What was done to nodes at random, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chaos: Option<Tally>,
    /// Events that never reached the sink.
    pub lost: u64,
    /// Events that the sink counted twice.
    pub duplicated: u64,
    /// What ran: the file, or the generator and its seed.
    pub input: String,
    /// What went where; for people only.
    #[serde(skip)]
    pub placement: Vec<Placed>,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// The median.
    pub p50: u64,
    /// Of a hundred events one took longer.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

impl Latency {
    /// From a histogram of microseconds; none when it is empty.
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        (!histogram.is_empty()).then(|| Self {
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
            max: histogram.max(),
        })
    }
}

/// One node that was killed, and what it cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Killed {
    /// The node's name.
    pub node: String,
    /// The actors it had.
    pub actors: Vec<String>,
    /// From the kill until the last of these actors had processed an event again.
    pub recovery_ms: f64,
    /// Events that the source sent again.
    pub replayed: u64,
}

/// The actors that one node hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The node's name.
    pub node: String,
    /// The names of its actors.
    pub actors: Vec<String>,
}

impl Report {
    /// The object on one line.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// Whether the run agrees with the oracle bit for bit, with nothing lost and nothing counted
    /// twice.
    pub fn is_exact(&self) -> bool {
        let agrees = self.digest.is_some()
            && self.digest == self.oracle_digest
            && self.auc == self.oracle_auc;
        agrees && self.lost == 0 && self.duplicated == 0
    }
}

/// The table for people.
impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        line(f, "input", format_args!("{}, {} events", self.input, self.events))?;
        line(f, "nodes", self.nodes)?;
        for placed in &self.placement {
            let actors = placed.actors.join(" ");
            line(f, "placement", format_args!("{}: {actors}", placed.node))?;
        }
        let rate = self.events_per_s.map(|rate| format!("{rate:.0} events/s"));
        line(f, "throughput", known(rate))?;
        line(f, "latency", known(self.latency_us))?;
        for killed in &self.killed {
            line(f, "killed", killed)?;
        }
        if let Some(Tally { kills, pauses, rejoins }) = self.chaos {
            let said = format_args!("{kills} kills, {pauses} pauses, {rejoins} rejoins");
            line(f, "chaos", said)?;
        }
        line(f, "lost", self.lost)?;
        line(f, "counted twice", self.duplicated)?;
        line(f, "auc", area(self.auc))?;
        line(f, "oracle auc", area(self.oracle_auc))?;
        line(f, "digest", known(self.digest.as_ref()))?;
        line(f, "oracle digest", known(self.oracle_digest.as_ref()))?;
        line(f, "oracle", format_args!("{:.0} events/s on one thread", self.oracle_events_per_s))
    }
}

impl Display for Latency {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {} us, p99 {} us, max {} us", self.p50, self.p99, self.max)
    }
}

impl Display for Killed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { node, actors, recovery_ms, replayed } = self;
        let actors = actors.join(" ");
        write!(f, "{node} ({actors}): back in {recovery_ms:.0} ms, {replayed} events replayed")
    }
}

fn line(f: &mut Formatter<'_>, name: &str, value: impl Display) -> fmt::Result {
    writeln!(f, "{name:<15}{value}")
}

fn area(auc: Option<f64>) -> String {
    known(auc.map(|auc| format!("{auc:.4}")))
}

fn known(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            events: 10,
            events_per_s: Some(2.5),
            latency_us: Some(Latency { p50: 1, p99: 2, max: 3 }),
            auc: Some(0.5),
            digest: Some("ab".into()),
            oracle_auc: Some(0.5),
            oracle_events_per_s: 1e6,
            oracle_digest: Some("ab".into()),
            nodes: 3,
            killed: vec![Killed {
                node: "n2".into(),
                actors: vec!["p4".into(), "p7".into()],
                recovery_ms: 310.5,
                replayed: 6,
            }],
            chaos: None,
            lost: 0,
            duplicated: 0,
            input: "generator(seed=7)".into(),
            placement: vec![Placed { node: "n1".into(), actors: vec!["source".into()] }],
        }
    }

    #[test]
    fn the_json_has_exactly_the_documented_keys() {
        let expected = concat!(
            r#"{"events":10,"events_per_s":2.5,"latency_us":{"p50":1,"p99":2,"max":3},"#,
            r#""auc":0.5,"digest":"ab","oracle_digest":"ab","nodes":3,"#,
            r#""killed":[{"node":"n2","actors":["p4","p7"],"recovery_ms":310.5,"replayed":6}],"#,
            r#""lost":0,"duplicated":0,"input":"generator(seed=7)"}"#
        );
        assert_eq!(report().json().unwrap(), expected);
        let chaos = Some(Tally { kills: 3, pauses: 2, rejoins: 1 });
        let chaotic = Report { chaos, ..report() };
        let said = r#","chaos":{"kills":3,"pauses":2,"rejoins":1},"lost":0"#;
        assert!(chaotic.json().unwrap().contains(said));
    }

    #[test]
    fn the_table_shows_placement_kills_and_both_digests() {
        let table = report().to_string();
        for line in [
            "placement      n1: source",
            "killed         n2 (p4 p7): back in 310 ms, 6 events replayed",
            "latency        p50 1 us, p99 2 us, max 3 us",
            "oracle digest  ab",
        ] {
            assert!(table.lines().any(|shown| shown == line), "{line} is not in\n{table}");
        }
    }

    #[test]
    fn a_run_is_exact_only_with_both_digests_equal_and_nothing_lost_or_twice() {
        assert!(report().is_exact());
        assert!(!Report { lost: 1, ..report() }.is_exact());
        assert!(!Report { duplicated: 1, ..report() }.is_exact());
        assert!(!Report { digest: Some("cd".into()), ..report() }.is_exact());
        assert!(!Report { digest: None, oracle_digest: None, ..report() }.is_exact());
        assert!(!Report { oracle_auc: Some(0.6), ..report() }.is_exact());
    }

    #[test]
    fn latencies_come_from_the_histogram_and_an_empty_one_has_none() {
        let mut histogram = Histogram::new(3).unwrap();
        assert_eq!(Latency::of(&histogram), None);
        (1..=100).for_each(|us| histogram.record(us).unwrap());
        assert_eq!(Latency::of(&histogram), Some(Latency { p50: 50, p99: 99, max: 100 }));
    }
}
