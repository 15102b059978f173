//! An actor for each account, and random payments between them.
//!
//! Twice: first plainly, to see what an actor costs and what a message costs; then under a
//! supervisor while one account in a hundred panics. Each time every account is compared with what
//! those who paid were told: no money may have appeared or vanished, to the unit.

// An example exports nothing: `pub` marks what a module offers to the others.
#![allow(unreachable_pub)]

mod audit;
mod bank;
mod book;
mod flags;
mod half;
mod kept;
#[path = "../common/memory.rs"]
mod memory;
#[path = "../common/output.rs"]
mod output;
mod payer;
mod payment;
mod plain;
mod random;
mod report;
#[path = "../common/split_mix.rs"]
mod split_mix;

use std::io::Write;
use std::panic;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mobula::prelude::*;
use mobula::supervision::Event;

use flags::Flags;
use half::{Half, HalfError, Opened};
use report::Report;

/// Exit code of a run whose money is not all there, or that did not come to its end.
const NOT_EXACT: u8 = 1;
/// Exit code of a run that was interrupted, as shells have it.
const INTERRUPTED: u8 = 130;
/// How long the accounts of the second half may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(120);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let flags = Flags::from_command_line();
    say_nothing_of_planned_panics();
    // In a task: the thread of `main` is none of those that actors run on.
    let run = tokio::spawn(run(flags.clone()));
    tokio::select! {
        outcome = run => match outcome.map_err(HalfError::from).flatten() {
            Ok(report) => print(&flags, &report),
            Err(failure) => refuse(NOT_EXACT, failure),
        },
        _ = tokio::signal::ctrl_c() => refuse(INTERRUPTED, "interrupted"),
    }
}

async fn run(flags: Flags) -> Result<Report, HalfError> {
    // The accounts of the first half stay until the end, so that those of the second do not get
    // their memory: it is measured once more.
    let node = Node::local();
    let plain = plain_half(&node, &flags).await?;
    let kept = kept_half(&node, &flags).await?;
    node.stop().await;
    let halves = vec![plain, kept];
    Ok(Report {
        actors: flags.actors,
        payments: flags.payments(),
        payers: flags.payers,
        seed: flags.seed,
        exact: halves.iter().all(|half| half.exact),
        halves,
    })
}

async fn plain_half(node: &Node, flags: &Flags) -> Result<Half, HalfError> {
    let scale = Scale::begin();
    let accounts = plain::open(node, flags.actors).await?;
    let opened = scale.opened("plain accounts", accounts, flags.actors);
    opened.run(node, orders(flags, 0)).await
}

async fn kept_half(node: &Node, flags: &Flags) -> Result<Half, HalfError> {
    let scale = Scale::begin();
    let (panics, restarts) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (panicked, restarted) = (panics.clone(), restarts.clone());
    let hook = move |event: &Event| match event {
        Event::Ended { exit: Exit::Panicked(_), .. } => {
            panicked.fetch_add(1, Ordering::Relaxed);
        }
        Event::Started { epoch, .. } if *epoch > Epoch(1) => {
            restarted.fetch_add(1, Ordering::Relaxed);
        }
        _ => {}
    };
    let (accounts, tree) = kept::open(node, flags.actors, flags.victims(), Arc::new(hook)).await?;
    let opened =
        scale.opened("supervised accounts, one in a hundred panics", accounts, flags.actors);
    let half = opened.run(node, orders(flags, flags.victims())).await?;
    // Once the tree has stopped, its supervisor has told everything.
    tree.stop(STOP_WITHIN).await;
    let (panics, restarts) = (panics.load(Ordering::Relaxed), restarts.load(Ordering::Relaxed));
    Ok(Half { panics, restarts, ..half })
}

fn orders(flags: &Flags, victims: u32) -> Vec<payment::Orders> {
    payment::shared(flags.seed, flags.actors, flags.payments(), flags.payers, victims)
}

/// What starting accounts takes.
struct Scale {
    began: Instant,
    resident_kib: Option<u64>,
}

impl Scale {
    fn begin() -> Self {
        Self { resident_kib: memory::kibibytes("VmRSS"), began: Instant::now() }
    }

    fn opened<M>(
        &self,
        name: &'static str,
        accounts: Arc<bank::Directory<M>>,
        actors: u32,
    ) -> Opened<M> {
        let start_s = self.began.elapsed().as_secs_f64();
        let resident_kib = memory::kibibytes("VmRSS").zip(self.resident_kib);
        let grown_kib = resident_kib.map(|(now, then)| now.saturating_sub(then));
        let bytes_per_actor = grown_kib.map(|kib| (kib << 10) / u64::from(actors));
        Opened { name, accounts, start_s, bytes_per_actor }
    }
}

/// The panics of accounts are caught, counted and repaired; ten thousand reports of them on the
/// terminal would only hide any other.
fn say_nothing_of_planned_panics() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if info.payload_as_str() != Some(kept::PLANNED) {
            report(info);
        }
    }));
}

fn print(flags: &Flags, report: &Report) -> ExitCode {
    let written = output::print(flags.json.then(|| report.json()), report);
    match written {
        Err(cause) => refuse(NOT_EXACT, format_args!("the result cannot be written: {cause}")),
        Ok(()) if report.exact => ExitCode::SUCCESS,
        Ok(()) => refuse(NOT_EXACT, "accounts do not have what they should"),
    }
}

fn refuse(code: u8, reason: impl std::fmt::Display) -> ExitCode {
    // Nobody may be there to read it; the code says it too.
    let _ = writeln!(std::io::stderr(), "error: {reason}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn small(line: &str) -> Report {
        let args = std::iter::once("accounts").chain(line.split_whitespace());
        run(Flags::parsed(args).unwrap()).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn money_is_exact_in_both_halves_while_accounts_panic() {
        say_nothing_of_planned_panics();
        let report = small("--actors 2000 --payments 4000 --payers 8").await;
        let [plain, kept] = report.halves.as_slice() else { panic!("two halves") };
        assert!(plain.exact && kept.exact && report.exact, "{report}");
        assert_eq!((plain.paid + plain.refused, plain.messages), (4_000, 8_000 - plain.refused));
        assert_eq!(kept.paid + kept.refused + kept.unknown, 4_000, "{report}");
        // Victims panicked and were started again, and some payers were left without an answer. One
        // is missing when the account that was to bring it its payment panicked just then.
        assert!((15..=20).contains(&kept.panics), "{report}");
        assert_eq!(kept.panics, kept.restarts, "{report}");
        assert!(kept.unknown > 0 && kept.audit.unknown_made > 0, "{report}");
        assert!(kept.audit.unknown_made < kept.unknown, "{report}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_accounts_that_pay_each_other_all_the_time_are_exact() {
        say_nothing_of_planned_panics();
        let report = small("--actors 2 --payments 3000 --payers 16").await;
        assert!(report.exact, "{report}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_json_has_what_the_table_has() {
        let report = small("--actors 10 --payments 50 --payers 1").await;
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(json["exact"], true);
        assert_eq!(json["halves"][0]["audit"]["closing"], 10_000);
        assert!(report.to_string().contains("10000 before, 10000 after"), "{report}");
    }
}
