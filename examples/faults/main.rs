//! What becomes of the promises while the network between nodes fails silently, while a node is
//! stopped, and when it is killed.
//!
//! Each node is a process in a network namespace of its own, and calls and watches an actor on each
//! other node all the time. A router between them drops packets without a word.

// An example exports nothing: `pub` marks what a module offers to the others.
#![allow(unreachable_pub)]

mod counts;
mod crew;
mod echo;
mod life;
mod load;
#[path = "../common/memory.rs"]
mod memory;
mod pulse;
mod row;
mod site;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use row::{Fault, Row};
use site::Site;

/// Exit code when a promise was broken.
const BROKEN: u8 = 1;
/// Exit code of a run that could not be made.
const FAILED: u8 = 2;
/// Exit code of a run that was interrupted, as shells have it.
const INTERRUPTED: u8 = 130;

/// Cuts the network between nodes, and stops and kills them, and counts what is promised. Needs the
/// command `ip` and the right to make network namespaces; prints SKIPPED without.
#[derive(Debug, Parser)]
#[command(name = "faults")]
struct Flags {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All cuts, a stop and a kill: half an hour
    Matrix,
    /// 3 nodes, 5 seconds, once each way
    Brief,
    /// One row: a fault, some times over
    Row {
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=16))]
        nodes: u8,
        #[arg(long, value_enum, default_value = "two-way")]
        fault: Chosen,
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
        #[arg(long, default_value_t = 1)]
        rounds: usize,
    },
    #[command(hide = true)]
    Node,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Chosen {
    OneWay,
    TwoWay,
    Freeze,
    Kill,
}

impl From<Chosen> for Fault {
    fn from(chosen: Chosen) -> Self {
        match chosen {
            Chosen::OneWay => Self::OneWay,
            Chosen::TwoWay => Self::TwoWay,
            Chosen::Freeze => Self::Freeze,
            Chosen::Kill => Self::Kill,
        }
    }
}

fn matrix() -> Vec<Row> {
    let mut rows = Vec::new();
    for fault in [Fault::OneWay, Fault::TwoWay] {
        for (nodes, seconds, rounds) in [(3, 5, 10), (3, 30, 5), (3, 90, 1), (2, 30, 3), (5, 30, 3)]
        {
            rows.push(Row::of(nodes, fault, seconds, rounds));
        }
    }
    rows.push(Row::of(3, Fault::Freeze, 10, 3));
    rows.push(Row::of(3, Fault::Kill, 5, 3));
    rows
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let rows = match Flags::parse().what {
        What::Node => return serve().await,
        What::Matrix => matrix(),
        What::Brief => vec![Row::of(3, Fault::OneWay, 5, 1), Row::of(3, Fault::TwoWay, 5, 1)],
        What::Row { nodes, fault, seconds, rounds } => {
            vec![Row::of(nodes.into(), fault.into(), seconds, rounds)]
        }
    };
    if let Err(why) = rehearse().await {
        println!("SKIPPED: no network namespaces here: {why}");
        return ExitCode::SUCCESS;
    }
    tokio::select! {
        code = run(rows) => code,
        // What was made is taken away as this future is dropped.
        _ = tokio::signal::ctrl_c() => ExitCode::from(INTERRUPTED),
    }
}

/// Whether everything can be done here that a row needs.
async fn rehearse() -> std::io::Result<()> {
    let mut site = Site::make(2).await?;
    site.cut(&[0], &[1]).await?;
    site.heal().await
}

async fn run(rows: Vec<Row>) -> ExitCode {
    let mut broken = false;
    for row in rows {
        match row.run().await {
            Ok(outcome) => {
                println!("{outcome}");
                broken |= !outcome.broken().is_empty();
            }
            Err(failed) => {
                eprintln!("{row:?}: {failed}");
                return ExitCode::from(FAILED);
            }
        }
    }
    if broken { ExitCode::from(BROKEN) } else { ExitCode::SUCCESS }
}

async fn serve() -> ExitCode {
    match life::serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("{failed}");
            ExitCode::from(FAILED)
        }
    }
}
