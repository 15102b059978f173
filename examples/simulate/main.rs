//! Simulates a cluster in one process: the machines that run in production, under virtual time.
//!
//! `cargo run --release --example simulate -- --nodes 1000 --kill 10% --minutes 5 --seed 7`
//!
//! A run settles a cluster, leaves it alone for a while, kills or cuts off some of its nodes, and
//! measures what the others make of it. Same flags, same trace.

// An example exports nothing: `pub` marks what a module offers to the others.
#![allow(unreachable_pub)]

mod balance;
mod chaos;
mod flags;
#[path = "../../tests/sim/invariants/mod.rs"]
mod invariants;
mod measure;
#[path = "../common/output.rs"]
mod output;
mod placement;
mod plot;
mod report;
mod scenario;

use std::process::ExitCode;

use flags::Flags;
use report::Report;

/// Exit code of a run whose survivors did not agree, or that declared a healthy node dead.
const NOT_HEALED: u8 = 1;
/// Exit code of a run that never started: the cluster did not settle, or a file was not written.
const NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let flags = Flags::from_command_line();
    if flags.placement {
        return placement::tasks(&flags);
    }
    if let Some(gangs) = flags.gangs {
        return placement::gangs(&flags, gangs);
    }
    if let Some(seeds) = flags.chaos {
        return all_seeds(&flags, seeds);
    }
    let outcome = match scenario::run(&flags) {
        Ok(outcome) => outcome,
        Err(failure) => return refuse(&failure),
    };
    if let Err(error) = plot::write(&flags.plots, &outcome) {
        return refuse(&format!("the plots in {}: {error}", flags.plots.display()));
    }
    let report = Report::new(&flags, &outcome);
    let json = flags.json.then(|| serde_json::to_string(&report.figures));
    if flags.json {
        eprint!("{report}");
    }
    if let Err(error) = output::print(json, &report) {
        return refuse(&format!("standard output: {error}"));
    }
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::from(NOT_HEALED) }
}

fn all_seeds(flags: &Flags, seeds: u64) -> ExitCode {
    let figures = chaos::run(flags, seeds);
    let table = format!(
        "{seeds} seeds, {} nodes, {} min: {} violated an invariant; views agreed after {:.1} s of \
         quiet at worst; {:.0} s\n",
        flags.nodes, flags.minutes, figures.violations, figures.agreed_s, figures.wall_s
    );
    let json = flags.json.then(|| serde_json::to_string(&figures));
    if let Err(error) = output::print(json, &table) {
        return refuse(&format!("standard output: {error}"));
    }
    if figures.violations == 0 { ExitCode::SUCCESS } else { ExitCode::from(NOT_HEALED) }
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("simulate: {why}");
    ExitCode::from(NOT_RUN)
}
