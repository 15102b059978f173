//! How soon a cluster of real processes on loopback recovers, joins and starts actors.
//!
//! One row a bar: what was done, what was measured, and whether it is within the bar.

// An example exports nothing: `pub` marks what a module offers to the others.
#![allow(unreachable_pub)]

#[path = "../common/child.rs"]
mod child;
mod crew;
mod echo;
mod join;
mod kill;
mod row;
mod spawn;
mod storm;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crew::CrewError;
use row::Row;

/// Exit code when a bar was missed.
const MISSED: u8 = 1;
/// Exit code of a run that could not be made.
const FAILED: u8 = 2;
/// Exit code of a run that was interrupted, as shells have it.
const INTERRUPTED: u8 = 130;

/// Measures recovery, joining and remote starts with real processes on loopback.
#[derive(Debug, Parser)]
#[command(name = "recover")]
struct Flags {
    /// Measure these only, as `kill,join`
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Bar>,
    /// How often a node is killed
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    repeats: u32,
    /// Print each row as a JSON object on a line
    #[arg(long)]
    json: bool,
    /// What this process is; the example itself when it is not told
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Bar {
    /// One of 5 nodes, which has 100 actors, is killed
    Kill,
    /// 16 nodes join one after another
    Join,
    /// Actors are started over 3 nodes
    Spawn,
    /// A node with 10,000 children is killed
    Storm,
}

const ALL: [Bar; 4] = [Bar::Kill, Bar::Join, Bar::Spawn, Bar::Storm];

#[derive(Clone, Copy, Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
enum Role {
    /// One more node of the cluster.
    #[command(hide = true)]
    Node,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let flags = Flags::parse();
    if flags.role.is_some() {
        return match crew::serve().await {
            Ok(()) => ExitCode::SUCCESS,
            Err(failed) => failure(&*failed),
        };
    }
    tokio::select! {
        code = run(&flags) => code,
        // Children end with this process.
        _ = tokio::signal::ctrl_c() => ExitCode::from(INTERRUPTED),
    }
}

async fn run(flags: &Flags) -> ExitCode {
    let bars = if flags.only.is_empty() { &ALL[..] } else { &flags.only[..] };
    let mut reached = true;
    for bar in bars {
        match measured(*bar, flags.repeats).await {
            Ok(row) => {
                reached &= row.reached;
                println!("{}", if flags.json { row.json() } else { row.to_string() });
            }
            Err(failed) => return failure(&failed),
        }
    }
    if reached { ExitCode::SUCCESS } else { ExitCode::from(MISSED) }
}

async fn measured(bar: Bar, repeats: u32) -> Result<Row, CrewError> {
    match bar {
        Bar::Kill => kill::run(repeats).await,
        Bar::Join => join::run().await,
        Bar::Spawn => spawn::run().await,
        Bar::Storm => storm::run().await,
    }
}

fn failure(failed: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {failed}");
    ExitCode::from(FAILED)
}
