//! Finds fraudsters in a stream of marketplace ratings.
//!
//! Before a rating is used, the model predicts from the histories of both traders whether it is the
//! one for fraudsters; then it learns from it, in one pass. Three processes form a cluster; partitions keep the histories, a
//! scorer has the model. Two nodes are killed on the way (or many, with `--chaos`), and the result is
//! compared, bit for bit, with the same computation in one thread.

// An example exports nothing: `pub` marks what a module offers to the others.
#![allow(unreachable_pub)]

mod auc;
mod chaos;
#[path = "../common/child.rs"]
mod child;
mod crew;
mod csv_file;
mod digest;
mod event;
mod features;
mod flags;
mod generator;
mod history;
mod input;
mod messages;
mod model;
mod oracle;
#[path = "../common/output.rs"]
mod output;
mod partition;
mod pipeline;
mod progress;
mod report;
mod scorer;
mod sink;
mod source;
#[path = "../common/split_mix.rs"]
mod split_mix;
mod verdict;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use crew::{Crew, CrewError};
use flags::{Flags, Role};
use input::{Input, InputError};
use pipeline::{Outcome, PipelineError};
use report::{Latency, Report};

/// Exit code for input that cannot be used, the same that flags have.
const BAD_INPUT: u8 = 2;
/// Exit code of a run that did not agree with the oracle.
const NOT_EXACT: u8 = 1;
/// Exit code of a run that was interrupted, as shells have it.
const INTERRUPTED: u8 = 130;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let flags = Flags::from_command_line();
    if flags.role == Some(Role::Node) {
        return match crew::serve().await {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => refuse(BAD_INPUT, failure),
        };
    }
    let input = match input_of(&flags) {
        Ok(input) => Arc::new(input),
        Err(refusal) => return refuse(BAD_INPUT, refusal),
    };
    tokio::select! {
        code = run(&flags, input) => code,
        _ = tokio::signal::ctrl_c() => refuse(INTERRUPTED, "interrupted"),
    }
}

async fn run(flags: &Flags, input: Arc<Input>) -> ExitCode {
    let mut crew = match Crew::start(flags.nodes, flags.listen.unwrap_or(0)).await {
        Ok(crew) => crew,
        Err(failure @ CrewError::First(_)) => return refuse(BAD_INPUT, failure),
        Err(failure) => return refuse(NOT_EXACT, failure),
    };
    let outcome = pipeline::run(flags, input.clone(), &mut crew).await;
    crew.dismiss().await;
    match outcome.and_then(|outcome| judge(flags, input, outcome)) {
        Ok(report) => print(flags, &report),
        Err(failure) => refuse(NOT_EXACT, failure),
    }
}

fn print(flags: &Flags, report: &Report) -> ExitCode {
    let written = output::print(flags.json.then(|| report.json()), report);
    match written {
        Err(cause) => refuse(NOT_EXACT, format_args!("the result cannot be written: {cause}")),
        Ok(()) if report.is_exact() => ExitCode::SUCCESS,
        Ok(()) => refuse(NOT_EXACT, "the result differs from the oracle's"),
    }
}

fn refuse(code: u8, reason: impl std::fmt::Display) -> ExitCode {
    // Nobody may be there to read it; the code says it too.
    let _ = writeln!(std::io::stderr(), "error: {reason}");
    ExitCode::from(code)
}

fn input_of(flags: &Flags) -> Result<Input, InputError> {
    let input = match &flags.input {
        Some(file) => Input::from_csv(file, flags.repeat),
        None => Input::generated(flags.seed, flags.events, flags.repeat),
    }?;
    match flags.chaos_events() {
        Some(events) => input.lasting(events),
        None => Ok(input),
    }
}

/// Compares with the oracle, which shares the feature and model functions and nothing else.
fn judge(flags: &Flags, input: Arc<Input>, outcome: Outcome) -> Result<Report, PipelineError> {
    let oracle = oracle::run(&input);
    let Outcome { counted, took, applied, killed, chaos, placement } = outcome;
    let halves = 2 * input.len();
    Ok(Report {
        events: counted.events,
        events_per_s: Some(counted.events as f64 / took.as_secs_f64()),
        latency_us: Latency::of(&counted.latency),
        auc: counted.auc,
        digest: Some(counted.digest),
        oracle_auc: oracle.auc,
        oracle_events_per_s: oracle.events as f64 / oracle.took.as_secs_f64(),
        oracle_digest: Some(oracle.digest),
        nodes: flags.nodes,
        killed,
        chaos,
        lost: input.len().saturating_sub(counted.events).max(halves.saturating_sub(applied) / 2),
        duplicated: applied.saturating_sub(halves),
        input: input.name(),
        placement,
    })
}
