//! An agentic workflow as a graph of actors, with neither model nor network.
//!
//! A planner starts steps as their turn comes. They have a slow tool write, word by word, or ask a
//! person; each carries along what it may spend and until when. A step that crashes is tried again.
//! When the planner is done its supervisor ends everything, and cancelling the root does the same.

// An example exports nothing: `pub` marks what a module offers to the others.
#![allow(unreachable_pub)]

mod flags;
mod graph;
#[path = "../common/output.rs"]
mod output;
mod person;
mod planner;
mod report;
mod screen;
mod step;
mod tool;
mod words;
mod workflow;

use std::io::Write;
use std::panic;
use std::process::ExitCode;

use flags::Flags;
use person::Voice;
use report::Report;
use screen::{Screen, Target};
use workflow::Workflow;

/// Exit code of a workflow that came to nothing.
const NOT_DONE: u8 = 1;
/// Exit code of a run that was cancelled, as shells have it.
const CANCELLED: u8 = 130;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let flags = Flags::from_command_line();
    say_nothing_of_planned_panics();
    let screen = Screen::new(if flags.json { Target::Stderr } else { Target::Stdout });
    let voice = flags.answer.clone().map_or_else(Voice::stdin, Voice::Given);
    let workflow = match Workflow::start(&flags, voice, screen).await {
        Ok(workflow) => workflow,
        Err(failure) => return refuse(NOT_DONE, failure),
    };
    print(&flags, &workflow.run(cancelled(&flags)).await)
}

/// The graph shows them: the panic is caught, the supervisor tells of the end, and the planner acts.
fn say_nothing_of_planned_panics() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if info.payload_as_str() != Some(step::PLANNED) {
            report(info);
        }
    }));
}

/// Resolves when the time to cancel has come, or with Ctrl-C.
async fn cancelled(flags: &Flags) {
    let time_is_over = async {
        match flags.cancel_after() {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    let interrupted = async {
        // Where there are no signals, none comes.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = time_is_over => {}
        () = interrupted => {}
    }
}

fn print(flags: &Flags, report: &Report) -> ExitCode {
    let written = output::print(flags.json.then(|| report.json()), report);
    let reason = report.reason.as_deref().unwrap_or("not all steps are done");
    match written {
        Err(cause) => refuse(NOT_DONE, format_args!("the result cannot be written: {cause}")),
        Ok(()) if report.ok => ExitCode::SUCCESS,
        Ok(()) if report.cancelled => refuse(CANCELLED, reason),
        Ok(()) => refuse(NOT_DONE, reason),
    }
}

fn refuse(code: u8, reason: impl std::fmt::Display) -> ExitCode {
    // Nobody may be there to read it; the code says it too.
    let _ = writeln!(std::io::stderr(), "error: {reason}");
    ExitCode::from(code)
}
