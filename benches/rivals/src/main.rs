//! Mobula's actors measured beside bare tokio, ractor, kameo, actix and Erlang in one run.

mod bench;
mod memory;
mod rounds;
mod side;
mod sides;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use bench::{Bench, FULL, Sample, Scale, TINY, measure};
use rounds::{Rounds, Who};
use side::Outcome;

/// No bench takes longer in one process, unless it hangs.
const BENCH_TIMEOUT: Duration = Duration::from_secs(600);

/// Measures Mobula beside its rivals. Prints one JSON object per line.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Actors on one node: casts, calls, starts, memory, restarts.
    Actors {
        /// Run this bench only. May be given more than once.
        #[arg(long, value_name = "NAME")]
        only: Vec<Bench>,
        /// Run this side only. May be given more than once.
        #[arg(long, value_name = "SIDE")]
        who: Vec<Who>,
        /// How often each side has its turn; the medians are printed.
        #[arg(long, value_name = "N", default_value_t = 5,
              value_parser = clap::value_parser!(u16).range(1..))]
        rounds: u16,
    },
    /// Runs every bench on every side once with tiny counts; fails if one of them does.
    Check,
    /// Runs one bench on one side in this process and prints its samples.
    #[command(hide = true)]
    Measure {
        who: Who,
        bench: Bench,
        #[arg(long)]
        tiny: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rivals: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Outcome<()> {
    match command {
        Command::Actors { only, who, rounds } => Rounds {
            benches: all_unless_named(only),
            sides: all_unless_named(who),
            rounds: rounds.into(),
            tiny: false,
            scale: FULL,
        }
        .run(),
        Command::Check => Rounds {
            benches: all_unless_named(Vec::new()),
            sides: all_unless_named(Vec::new()),
            rounds: 1,
            tiny: true,
            scale: TINY,
        }
        .run(),
        Command::Measure { who, bench, tiny } => {
            std::thread::spawn(|| {
                std::thread::sleep(BENCH_TIMEOUT);
                eprintln!("rivals: gave up after {} s", BENCH_TIMEOUT.as_secs());
                std::process::exit(1);
            });
            let samples = measured(who, bench, if tiny { TINY } else { FULL })?;
            println!("{}", serde_json::to_string(&samples)?);
            // Millions of actors need not be taken down one by one.
            std::process::exit(0);
        }
    }
}

fn measured(who: Who, bench: Bench, scale: Scale) -> Outcome<Vec<Sample>> {
    match who {
        Who::Mobula => measure::<sides::mobula::Mobula>(bench, scale),
        Who::Tokio => measure::<sides::tokio::Tokio>(bench, scale),
        Who::Ractor => measure::<sides::ractor::Ractor>(bench, scale),
        Who::Kameo => measure::<sides::kameo::Kameo>(bench, scale),
        Who::Actix => measure::<sides::actix::Actix>(bench, scale),
        Who::Erlang => Err("Erlang measures in its own virtual machine".into()),
    }
}

fn all_unless_named<T: ValueEnum + Clone>(named: Vec<T>) -> Vec<T> {
    if named.is_empty() { T::value_variants().to_vec() } else { named }
}
