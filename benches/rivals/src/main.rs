//! Mobula measured beside bare tokio, ractor, kameo, actix and Erlang in one run: actors on one node,
//! and messages between two.

mod bench;
mod memory;
mod rounds;
mod side;
mod sides;
mod wire;

use std::process::{Command as Process, ExitCode, Stdio};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use bench::{Bench, FULL, Sample, Scale, TINY, measure};
use rounds::{Rounds, name};
use side::{Outcome, Who};
use sides::erlang::Erlang;

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
    Actors(Wanted<Bench, Who>),
    /// Two processes on loopback: calls, casts, bulk, and what a node and a reference cost.
    Wire(Wanted<wire::Bench, wire::Who>),
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
    /// Plays one of the two parts in a bench between processes.
    #[command(hide = true)]
    Play {
        role: wire::Role,
        #[command(flatten)]
        turn: wire::Turn,
    },
}

#[derive(Args)]
struct Wanted<B: ValueEnum + Send + Sync + 'static, W: ValueEnum + Send + Sync + 'static> {
    /// Run this bench only. May be given more than once.
    #[arg(long, value_name = "NAME")]
    only: Vec<B>,
    /// Run this side only. May be given more than once.
    #[arg(long, value_name = "SIDE")]
    who: Vec<W>,
    /// How often each side has its turn; the medians are printed.
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
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
        Command::Actors(wanted) => actors(wanted, false),
        Command::Wire(wanted) => between(wanted, false),
        Command::Check => {
            actors(Wanted { only: Vec::new(), who: Vec::new(), rounds: 1 }, true)?;
            between(Wanted { only: Vec::new(), who: Vec::new(), rounds: 1 }, true)
        }
        Command::Measure { who, bench, tiny } => {
            give_up_late();
            let samples = measured(who, bench, if tiny { TINY } else { FULL })?;
            println!("{}", serde_json::to_string(&samples)?);
            // Millions of actors need not be taken down one by one.
            std::process::exit(0);
        }
        Command::Play { role, turn } => {
            give_up_late();
            turn.play(role)
        }
    }
}

/// The benches on one node.
fn actors(wanted: Wanted<Bench, Who>, tiny: bool) -> Outcome<()> {
    let scale = if tiny { TINY } else { FULL };
    let (sides, erlang) = sides(wanted.who, Who::Erlang)?;
    let (benches, rounds) = (all_unless_named(wanted.only), wanted.rounds.into());
    Rounds { benches, sides, ours: &[Who::Mobula], rounds }.run(|who, bench| match &erlang {
        Some(erlang) if who == Who::Erlang => erlang.measure(bench, &scale),
        _ => in_own_process(who, bench, tiny),
    })
}

/// The benches between two processes.
fn between(wanted: Wanted<wire::Bench, wire::Who>, tiny: bool) -> Outcome<()> {
    let (sides, erlang) = sides(wanted.who, wire::Who::Erlang)?;
    let (benches, rounds) = (all_unless_named(wanted.only), wanted.rounds.into());
    let ours = &[wire::Who::Mobula, wire::Who::Lanes];
    Rounds { benches, sides, ours, rounds }
        .run(|who, bench| wire::Turn { who, bench, tiny }.take(erlang.as_ref()))
}

/// The sides that are asked for and can be measured here.
fn sides<W: ValueEnum + PartialEq>(named: Vec<W>, erlang: W) -> Outcome<(Vec<W>, Option<Erlang>)> {
    let mut sides = all_unless_named(named);
    let compiled = if sides.contains(&erlang) { Erlang::compiled()? } else { None };
    if compiled.is_none() {
        sides.retain(|who| *who != erlang);
        eprintln!("erlang: not measured (not asked for, or no `erl` on the PATH)");
    }
    Ok((sides, compiled))
}

fn in_own_process(who: Who, bench: Bench, tiny: bool) -> Outcome<Vec<Sample>> {
    let mut command = Process::new(std::env::current_exe()?);
    command.args(["measure", &name(who), &name(bench)]).args(tiny.then_some("--tiny"));
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("ended with {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Ends this process when a bench hangs.
fn give_up_late() {
    std::thread::spawn(|| {
        std::thread::sleep(BENCH_TIMEOUT);
        eprintln!("rivals: gave up after {} s", BENCH_TIMEOUT.as_secs());
        std::process::exit(1);
    });
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
