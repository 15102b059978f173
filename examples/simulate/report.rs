//! The result of a run, as a table or as JSON.

use std::fmt;

use serde::Serialize;

use crate::flags::{Fault, Flags, Profile};
use crate::scenario::Outcome;

/// The figures of one run.
#[derive(Debug, Serialize)]
pub struct Figures {
    pub nodes: u32,
    pub seed: u64,
    pub profile: &'static str,
    pub fault: String,
    pub trace: String,
    pub agreed_s: Option<f64>,
    pub false_dead: u64,
    pub detection_p99_s: Option<f64>,
    pub view_age_p99_rounds: f64,
    pub bytes_per_node_s: f64,
    pub peak_mib: Option<f64>,
    pub wall_s: f64,
}

/// The figures, and what only the table shows.
#[derive(Debug)]
pub struct Report<'a> {
    pub figures: Figures,
    outcome: &'a Outcome,
    minutes: f64,
}

impl<'a> Report<'a> {
    pub fn new(flags: &Flags, outcome: &'a Outcome) -> Self {
        let profile = match flags.profile {
            Profile::Default => "default",
            Profile::Fast => "fast",
        };
        let fault = match flags.fault() {
            Fault::None => "none".to_owned(),
            Fault::Kill(nodes) => format!("kill {nodes}"),
            Fault::Cut(nodes) => format!("cut {nodes}"),
            Fault::Starve(nodes) => format!("starve {nodes}"),
        };
        let figures = Figures {
            nodes: flags.nodes,
            seed: flags.seed,
            profile,
            fault,
            trace: format!("{:016x}", outcome.trace),
            agreed_s: outcome.agreed_s,
            false_dead: outcome.false_dead,
            detection_p99_s: outcome.detection_p99_s,
            view_age_p99_rounds: outcome.staleness.p99_rounds(),
            bytes_per_node_s: outcome.bytes_per_node_s,
            peak_mib: peak_mib(),
            wall_s: outcome.wall_s,
        };
        Self { figures, outcome, minutes: flags.minutes }
    }

    /// Whether the survivors agreed, and held nobody dead who was not.
    pub fn is_good(&self) -> bool {
        let silent =
            self.figures.fault.starts_with("kill") || self.figures.fault.starts_with("cut");
        self.figures.false_dead == 0 && (self.figures.agreed_s.is_some() || !silent)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        let balance = &self.outcome.balance;
        let most = balance.nodes_with.len().saturating_sub(1);
        let least = balance.nodes_with.iter().position(|&nodes| nodes > 0).unwrap_or(0);
        let rows = [
            (
                "nodes, profile, seed",
                format!("{}, {}, {}", figures.nodes, figures.profile, figures.seed),
            ),
            ("fault", figures.fault.clone()),
            ("settled after", format!("{:.1} s", self.outcome.settled_s)),
            ("survivors agree after", seconds(figures.agreed_s)),
            ("detection, p99", seconds(figures.detection_p99_s)),
            ("healthy nodes declared dead", figures.false_dead.to_string()),
            ("age of records, p99", format!("{:.2} rounds", figures.view_age_p99_rounds)),
            ("bytes sent per node", format!("{:.1} kB/s", figures.bytes_per_node_s / 1e3)),
            ("actors placed, not placed", format!("{}, {}", balance.placed, balance.not_placed)),
            ("refusals by targets", balance.refusals.to_string()),
            ("actors per node", format!("{least} to {most}")),
            ("peak memory", figures.peak_mib.map_or_else(unknown, |mib| format!("{mib:.0} MiB"))),
            ("wall time", format!("{:.1} s for {} simulated min", figures.wall_s, self.minutes)),
            ("trace", figures.trace.clone()),
        ];
        for (name, value) in rows {
            writeln!(f, "{name:<28} {value}")?;
        }
        Ok(())
    }
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(unknown, |seconds| format!("{seconds:.2} s"))
}

fn unknown() -> String {
    "-".to_owned()
}

/// The most memory this process ever had; nothing where the system does not tell.
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1_024.0)
}
