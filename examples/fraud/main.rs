//! Finds fraudsters in a stream of marketplace ratings.
//!
//! Before a rating is used, the model predicts from the histories of both traders whether it is the
//! one for fraudsters; then it learns from it, in one pass. This runs the computation in one thread.

// An example exports nothing: `pub` marks what a module offers to the others.
#![allow(unreachable_pub)]

mod auc;
mod csv_file;
mod digest;
mod event;
mod features;
mod flags;
mod generator;
mod history;
mod input;
mod model;
mod oracle;
mod report;
mod verdict;

use std::process::ExitCode;

use flags::{Flags, Role};
use input::{Input, InputError};
use report::Report;

/// Exit code for input that cannot be used, the same that flags have.
const BAD_INPUT: u8 = 2;

fn main() -> ExitCode {
    let flags = Flags::from_command_line();
    if flags.role == Some(Role::Node) {
        return refuse("this build has no cluster yet; run it without a role");
    }
    let input = match input_of(&flags) {
        Ok(input) => input,
        Err(refusal) => return refuse(refusal),
    };
    let report = report_of(&input, &oracle::run(&input));
    if !flags.json {
        print!("{report}");
        return ExitCode::SUCCESS;
    }
    match report.json() {
        Ok(line) => println!("{line}"),
        Err(cause) => return refuse(cause),
    }
    ExitCode::SUCCESS
}

fn refuse(reason: impl std::fmt::Display) -> ExitCode {
    eprintln!("error: {reason}");
    ExitCode::from(BAD_INPUT)
}

fn input_of(flags: &Flags) -> Result<Input, InputError> {
    match &flags.input {
        Some(file) => Input::from_csv(file, flags.repeat),
        None => Input::generated(flags.seed, flags.events, flags.repeat),
    }
}

fn report_of(input: &Input, outcome: &oracle::Outcome) -> Report {
    Report {
        events: outcome.events,
        events_per_s: Some(outcome.events as f64 / outcome.took.as_secs_f64()),
        latency_us: None,
        auc: outcome.auc,
        digest: None,
        oracle_digest: Some(outcome.digest.clone()),
        nodes: 0,
        killed: Vec::new(),
        lost: 0,
        duplicated: 0,
        input: input.name(),
        placement: Vec::new(),
    }
}
