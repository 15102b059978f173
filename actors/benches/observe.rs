//! What it costs that actors can be looked at, measured and traced: most of all while nobody does.
//!
//! `cargo bench -p mobula-actors --bench observe` prints one JSON object per line:
//! `{"bench","who","value","unit","ratio_to"}`, medians of rounds in which every side has its turn,
//! each in a process of its own. The sides:
//!
//! - `bare`: a build of the same sources with `--cfg mobula_unobserved`, from which all hooks that
//!   messages pass are compiled out. It is built first. The others are divided by it.
//! - `nobody`: the build as it ships, and nobody listens.
//! - `deaf`: a subscriber of `tracing` that is interested in nothing, yet names no level.
//! - `metered`: a recorder of `metrics`.
//! - `traced`: the registry of `tracing-subscriber`, which keeps every span; the first message is
//!   sent from inside one, so that a span is made for every message.

use std::env;
use std::error::Error;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use metrics::{Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName};
use mobula_actors::{Actor, ActorRef, Context, Engine, Fault, Reply};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Instrument, Metadata, Subscriber, info_span};

const ROUNDS: usize = 15;
const MESSAGES: u64 = 1_000_000;
const CALLS: u64 = 200_000;
const SIDES: [&str; 5] = ["bare", "nobody", "deaf", "metered", "traced"];
const BENCHES: [(&str, &str); 2] = [("cast_1_to_1", "msg/s"), ("call_round_trip", "ns")];

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["measure", side, bench] => measure(side, bench).map(|value| println!("{value}")),
        [] => rounds(),
        _ => Err("it takes no arguments".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("observe: {error}");
            ExitCode::FAILURE
        }
    }
}

fn rounds() -> Outcome<()> {
    let (ours, bare) = (env::current_exe()?.display().to_string(), built_bare()?);
    for (bench, unit) in BENCHES {
        let mut values = SIDES.map(|_| Vec::new());
        for round in 0..ROUNDS {
            for turn in 0..SIDES.len() {
                // Nobody always goes first.
                let side = (round + turn) % SIDES.len();
                let binary = if SIDES[side] == "bare" { &bare } else { &ours };
                values[side].push(in_own_process(binary, SIDES[side], bench)?);
            }
        }
        let medians = values.map(|mut values| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        });
        for (who, value) in SIDES.iter().zip(medians) {
            let ratio = value / medians[0];
            println!(
                r#"{{"bench":"{bench}","who":"{who}","value":{value:.1},"unit":"{unit}","ratio_to":{{"bare":{ratio:.3}}}}}"#
            );
        }
    }
    Ok(())
}

/// Builds this bench without the hooks, and says where it is.
fn built_bare() -> Outcome<String> {
    let cargo = env::var("CARGO").map_err(|_| "run it with `cargo bench`")?;
    let mut flags = env::var("RUSTFLAGS").unwrap_or_default();
    flags.push_str(" --cfg mobula_unobserved");
    let target = env::current_exe()?;
    let target = target.ancestors().nth(3).ok_or("the bench is not in a target directory")?;
    let built = Command::new(cargo)
        .args(["bench", "--bench", "observe", "--no-run", "--message-format", "json"])
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .arg("--target-dir")
        .arg(target.join("unobserved"))
        .env("RUSTFLAGS", flags.trim())
        .stderr(Stdio::inherit())
        .output()?;
    let told = String::from_utf8(built.stdout)?;
    let binary = told.lines().rev().find_map(|line| {
        let binary = line.split_once("\"executable\":\"")?.1;
        line.contains("\"name\":\"observe\"").then(|| binary.split('"').next())?
    });
    binary.map(str::to_owned).ok_or_else(|| "the build without hooks failed".into())
}

fn in_own_process(binary: &str, side: &str, bench: &str) -> Outcome<f64> {
    let output =
        Command::new(binary).args(["measure", side, bench]).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{side} {bench} ended with {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

fn measure(side: &str, bench: &str) -> Outcome<f64> {
    match side {
        "deaf" => tracing::subscriber::set_global_default(Deaf)?,
        "traced" => tracing::subscriber::set_global_default(tracing_subscriber::registry())?,
        "metered" => {
            metrics::set_global_recorder(Meters).map_err(|_| "there is a recorder already")?;
        }
        _ => {}
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_time().build()?;
    let (span, bench) = (info_span!("bench"), bench_of(bench)?);
    let work = runtime.spawn(async move {
        let engine = Engine::new(1, tokio::runtime::Handle::current());
        let target = engine.spawn(Worker::spec(None)).await?;
        match bench {
            Of::Casts => {
                run(&engine, &target, Msg::Cast, MESSAGES / 10, span.clone()).await?;
                let time = run(&engine, &target, Msg::Cast, MESSAGES, span).await?;
                Ok(MESSAGES as f64 / time.as_secs_f64())
            }
            Of::Calls => {
                run(&engine, &target, Msg::Call, CALLS / 10, span.clone()).await?;
                let time = run(&engine, &target, Msg::Call, CALLS, span).await?;
                Ok(time.as_secs_f64() * 1e9 / CALLS as f64)
            }
        }
    });
    runtime.block_on(work)?
}

enum Of {
    Casts,
    Calls,
}

fn bench_of(name: &str) -> Outcome<Of> {
    match name {
        "cast_1_to_1" => Ok(Of::Casts),
        "call_round_trip" => Ok(Of::Calls),
        _ => Err(format!("no bench is called {name:?}").into()),
    }
}

/// Has an actor of its own send to `target`, and waits until all of it has been handled.
async fn run(
    engine: &Engine,
    target: &ActorRef<Msg>,
    order: fn(u64) -> Msg,
    n: u64,
    span: tracing::Span,
) -> Outcome<Duration> {
    let source = engine.spawn(Worker::spec(Some(target.clone()))).await?;
    let before = target.call(Msg::Get).await?;
    let clock = Instant::now();
    async {
        source.send(order(n)).await.map_err(|_| "the source takes no orders")?;
        source.call(Msg::Get).within(Duration::from_secs(600)).await?;
        Ok::<_, Box<dyn Error + Send + Sync>>(())
    }
    .instrument(span)
    .await?;
    let after = target.call(Msg::Get).await?;
    let time = clock.elapsed();
    source.stop();
    if after - before != n { Err("messages were lost".into()) } else { Ok(time) }
}

enum Msg {
    Add(u64),
    AddAsk(u64, Reply<u64>),
    Get(Reply<u64>),
    Cast(u64),
    Call(u64),
}

/// Adds up, or makes another one do so.
struct Worker {
    sum: u64,
    target: Option<ActorRef<Msg>>,
}

impl Actor for Worker {
    type Args = Option<ActorRef<Msg>>;
    type Msg = Msg;

    async fn start(target: Self::Args, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self { sum: 0, target })
    }

    async fn handle(&mut self, msg: Msg, _: &mut Context<Self>) -> Result<(), Fault> {
        match (msg, &self.target) {
            (Msg::Add(n), _) => self.sum += n,
            (Msg::AddAsk(n, reply), _) => {
                self.sum += n;
                reply.send(self.sum);
            }
            (Msg::Get(reply), _) => reply.send(self.sum),
            (Msg::Cast(messages), Some(target)) => {
                for _ in 0..messages {
                    target.send(Msg::Add(1)).await?;
                }
            }
            (Msg::Call(calls), Some(target)) => {
                for _ in 0..calls {
                    target.call(|reply| Msg::AddAsk(1, reply)).await?;
                }
            }
            (Msg::Cast(_) | Msg::Call(_), None) => return Err(Fault::new("there is no target")),
        }
        Ok(())
    }
}

/// A recorder that keeps one number for each metric.
struct Meters;

#[derive(Default)]
struct Number(AtomicU64);

impl CounterFn for Number {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }
}

impl GaugeFn for Number {
    fn increment(&self, value: f64) {
        self.0.fetch_add(value as u64, Ordering::Relaxed);
    }

    fn decrement(&self, value: f64) {
        self.0.fetch_sub(value as u64, Ordering::Relaxed);
    }

    fn set(&self, value: f64) {
        self.0.store(value as u64, Ordering::Relaxed);
    }
}

impl HistogramFn for Number {
    fn record(&self, value: f64) {
        self.0.fetch_add(value.to_bits(), Ordering::Relaxed);
    }
}

type Text = metrics::SharedString;

impl metrics::Recorder for Meters {
    fn describe_counter(&self, _: KeyName, _: Option<metrics::Unit>, _: Text) {}
    fn describe_gauge(&self, _: KeyName, _: Option<metrics::Unit>, _: Text) {}
    fn describe_histogram(&self, _: KeyName, _: Option<metrics::Unit>, _: Text) {}

    fn register_counter(&self, _: &Key, _: &metrics::Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::<Number>::default())
    }

    fn register_gauge(&self, _: &Key, _: &metrics::Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::<Number>::default())
    }

    fn register_histogram(&self, _: &Key, _: &metrics::Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::<Number>::default())
    }
}

/// A subscriber that is interested in nothing.
struct Deaf;

impl Subscriber for Deaf {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::never()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
