//! Placement at scale, by command: tasks at 85 % load with an old view, and gangs.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use mobula::sim::{GangLoad, Load};
use serde::Serialize;

use crate::flags::Flags;
use crate::{NOT_HEALED, output, refuse};

/// Twice the wait of the best policy of the model, 9.4 ms.
const MEAN_MAX: Duration = Duration::from_micros(18_800);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Tasks {
    nodes: u32,
    seed: u64,
    trace: String,
    tasks: u64,
    failed: u64,
    mean_ms: f64,
    p99_ms: f64,
    refusals_per_task: f64,
    oversubscribed: u64,
    wall_s: f64,
}

#[derive(Serialize)]
struct Gangs {
    nodes: u32,
    seed: u64,
    trace: String,
    placed: u64,
    failed: u64,
    deadlocked: u64,
    left: usize,
    rounds_given_up: f64,
    mean_ms: f64,
    oversubscribed: u64,
    wall_s: f64,
}

/// Tasks of 1 s on average, for as long as `--minutes` says.
pub fn tasks(flags: &Flags) -> ExitCode {
    let begun = Instant::now();
    let lasts = Duration::from_secs_f64(flags.minutes * 60.0);
    let load = Load {
        nodes: flags.nodes,
        share: 0.85,
        task: SECOND,
        view_age: SECOND,
        lasts,
        faults: 0.0,
    };
    let waits = load.run(flags.seed);
    let books = waits.oversubscribed == 0 && say(waits.broken.as_deref());
    let good = waits.mean <= MEAN_MAX && waits.failed == 0 && books;
    let figures = Tasks {
        nodes: flags.nodes,
        seed: flags.seed,
        trace: format!("{:016x}", waits.trace),
        tasks: waits.tasks,
        failed: waits.failed,
        mean_ms: ms(waits.mean),
        p99_ms: ms(waits.p99),
        refusals_per_task: waits.refusals,
        oversubscribed: waits.oversubscribed,
        wall_s: begun.elapsed().as_secs_f64(),
    };
    let table = format!(
        "{} tasks on {} nodes at 85 % load, view of 1 s: mean wait {:.1} ms, p99 {:.1} ms, {:.2} \
         refusals a task, {} without a place, {} oversubscribed; {:.0} s\n",
        figures.tasks,
        figures.nodes,
        figures.mean_ms,
        figures.p99_ms,
        figures.refusals_per_task,
        figures.failed,
        figures.oversubscribed,
        figures.wall_s
    );
    finish(flags, &figures, &table, good)
}

/// Gangs at 60 % load, eight at a time.
pub fn gangs(flags: &Flags, gangs: u64) -> ExitCode {
    let begun = Instant::now();
    let load = GangLoad {
        nodes: flags.nodes,
        gangs,
        share: 0.6,
        runs: SECOND,
        view_age: SECOND,
        placed_within: 30 * SECOND,
        faults: 0.0,
    };
    let waits = load.run(flags.seed);
    let books = waits.oversubscribed == 0 && say(waits.broken.as_deref());
    let good = waits.stuck == 0 && waits.left == 0 && books;
    let figures = Gangs {
        nodes: flags.nodes,
        seed: flags.seed,
        trace: format!("{:016x}", waits.trace),
        placed: waits.placed,
        failed: waits.failed,
        deadlocked: waits.stuck,
        left: waits.left,
        rounds_given_up: waits.given_up,
        mean_ms: ms(waits.mean),
        oversubscribed: waits.oversubscribed,
        wall_s: begun.elapsed().as_secs_f64(),
    };
    let table = format!(
        "{gangs} gangs on {} nodes at 60 % load: {} placed after {:.0} ms on average, {} found no \
         room in 30 s, {} deadlocked, {} reservations left, {:.2} rounds given up a gang, {} \
         oversubscribed; {:.0} s\n",
        figures.nodes,
        figures.placed,
        figures.mean_ms,
        figures.failed,
        figures.deadlocked,
        figures.left,
        figures.rounds_given_up,
        figures.oversubscribed,
        figures.wall_s
    );
    finish(flags, &figures, &table, good)
}

/// Says on standard error what did not hold; whether nothing did not.
fn say(broken: Option<&str>) -> bool {
    if let Some(broken) = broken {
        eprintln!("the books: {broken}");
    }
    broken.is_none()
}

fn finish(flags: &Flags, figures: &impl Serialize, table: &String, good: bool) -> ExitCode {
    let json = flags.json.then(|| serde_json::to_string(figures));
    if let Err(error) = output::print(json, table) {
        return refuse(&format!("standard output: {error}"));
    }
    if good { ExitCode::SUCCESS } else { ExitCode::from(NOT_HEALED) }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
