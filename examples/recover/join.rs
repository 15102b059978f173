//! 16 nodes in 16 processes join one after another, and then have nothing to do.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::crew::{Crew, CrewError};
use crate::row::{Row, quantile};

const NODES: usize = 16;
const BAR: &str = "last join to agreed view <= 2 s; idle CPU <= 0.5 % of a core a node";
const AGREED_S: f64 = 2.0;
const IDLE_PERCENT: f64 = 0.5;
/// Until what a join set off is over.
const SETTLE: Duration = Duration::from_secs(5);
/// How long the idle nodes are watched.
const WATCH: Duration = Duration::from_secs(20);
/// The clock ticks of a second in `/proc`, on every Linux of today.
const TICKS_PER_S: f64 = 100.0;

pub async fn run() -> Result<Row, CrewError> {
    let mut crew = Crew::gather(NODES).await?;
    let mut agreed = Duration::ZERO;
    for at in 0..NODES - 1 {
        let began = Instant::now();
        crew.launch(at).await?;
        crew.agree(at + 2).await?;
        agreed = began.elapsed();
    }
    let agreed_s = agreed.as_secs_f64();
    tokio::time::sleep(SETTLE).await;
    let before = ticks(&crew)?;
    tokio::time::sleep(WATCH).await;
    let after = ticks(&crew)?;
    crew.dismiss().await;
    let share = |(before, after): (f64, f64)| (after - before) / TICKS_PER_S / WATCH.as_secs_f64();
    let mut idle: Vec<f64> = before.into_iter().zip(after).map(share).map(|s| s * 100.0).collect();
    idle.sort_by(f64::total_cmp);
    let mean = idle.iter().sum::<f64>() / idle.len().max(1) as f64;
    let figures = vec![
        ("nodes", json!(NODES)),
        ("last_join_agreed_s", json!((agreed_s * 1e3).round() / 1e3)),
        ("idle_cpu_percent", json!((mean * 100.0).round() / 100.0)),
        ("idle_cpu_percent_worst", json!(quantile(&idle, 1_000))),
    ];
    let reached = agreed_s <= AGREED_S && mean <= IDLE_PERCENT;
    Ok(Row::new("join", BAR, figures, reached))
}

/// What each process has taken of the processors, in clock ticks.
fn ticks(crew: &Crew) -> Result<Vec<f64>, CrewError> {
    let of = |pid: u32| -> Option<f64> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // After the name, which may hold anything, in parentheses.
        let rest = stat.rsplit_once(')')?.1;
        let mut fields = rest.split_whitespace().skip(11).map(str::parse::<f64>);
        Some(fields.next()?.ok()? + fields.next()?.ok()?)
    };
    let all: Option<Vec<f64>> = crew.pids().into_iter().map(of).collect();
    all.ok_or_else(|| CrewError::Other("the processors' time needs /proc, as Linux has it".into()))
}
