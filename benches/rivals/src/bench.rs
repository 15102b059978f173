//! The benches, written once over [`Side`]. Each runs in a process of its own.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::memory::{available_bytes, resident_bytes};
use crate::side::{Fault, Outcome, Side};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Bench {
    #[value(name = "cast_1_to_1")]
    Cast1To1,
    #[value(name = "cast_4_to_1")]
    Cast4To1,
    CallRoundTrip,
    Spawn,
    MemoryPerActor,
    RingHop,
    Restart,
    RestartPanic,
    Growth,
}

/// How much of it.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    pub(crate) messages: u64,
    pub(crate) calls: u64,
    pub(crate) actors: u64,
    pub(crate) ring_members: u64,
    pub(crate) hops: u64,
    pub(crate) restarts: u32,
    pub(crate) growth_active: u64,
    pub(crate) growth_idle: &'static [u64],
}

/// What the figures in the table are measured with.
pub(crate) const FULL: Scale = Scale {
    messages: 1_000_000,
    calls: 300_000,
    actors: 200_000,
    ring_members: 1_000,
    hops: 1_000_000,
    restarts: 200,
    growth_active: 10_000,
    growth_idle: &[1_000, 10_000, 100_000, 1_000_000, 5_000_000],
};

/// Enough to see that every side runs.
pub(crate) const TINY: Scale = Scale {
    messages: 4_000,
    calls: 100,
    actors: 2_000,
    ring_members: 10,
    hops: 100,
    restarts: 5,
    growth_active: 100,
    growth_idle: &[100, 1_000],
};

/// One figure of one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) value: f64,
    pub(crate) unit: Unit,
    #[serde(flatten)]
    pub(crate) of: Option<Of>,
    /// The same without what the bench adds to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) alone: Option<f64>,
}

/// How many there were, where that is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Of {
    /// Idle actors.
    Actors(u64),
    /// References to remote actors.
    Refs(u64),
    /// Nodes in one process.
    Nodes(u64),
}

impl Sample {
    pub(crate) fn new(value: f64, unit: Unit) -> Self {
        Self { value, unit, of: None, alone: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    #[serde(rename = "msg/s")]
    MessagesPerSecond,
    #[serde(rename = "call/s")]
    CallsPerSecond,
    #[serde(rename = "GB/s")]
    GigabytesPerSecond,
    #[serde(rename = "ns")]
    Nanoseconds,
    #[serde(rename = "us")]
    Microseconds,
    #[serde(rename = "B")]
    Bytes,
}

/// Runs one bench on one side. No samples: the side has no such thing.
pub(crate) fn measure<S: Side + 'static>(bench: Bench, scale: Scale) -> Outcome<Vec<Sample>> {
    S::run(async move {
        let sample = match bench {
            Bench::Cast1To1 => casts::<S>(1, &scale).await?,
            Bench::Cast4To1 => casts::<S>(4, &scale).await?,
            Bench::CallRoundTrip => call_round_trip::<S>(&scale).await?,
            Bench::Spawn => spawn::<S>(&scale).await?,
            Bench::MemoryPerActor => memory_per_actor::<S>(&scale).await?,
            Bench::RingHop => ring_hop::<S>(&scale).await?,
            Bench::Restart => return restart::<S>(Fault::Error, &scale).await,
            Bench::RestartPanic => return restart::<S>(Fault::Panic, &scale).await,
            Bench::Growth => return growth::<S>(&scale).await,
        };
        Ok(vec![sample])
    })
}

async fn casts<S: Side>(sources: u64, scale: &Scale) -> Outcome<Sample> {
    let sink = S::counter().await?;
    let each = scale.messages / sources;
    S::source(vec![sink.clone()], each / 10).await?;
    let before = S::get(&sink).await?;
    let clock = Instant::now();
    let targets = || vec![sink.clone()];
    if sources == 1 {
        S::source(targets(), each).await?;
    } else {
        let all = [(); 4].map(|()| Box::pin(S::source(targets(), each)));
        together(all.into()).await?;
    }
    let sum = S::get(&sink).await?;
    let time = clock.elapsed();
    if sum - before != sources * each {
        return Err(format!("{} of {} messages arrived", sum - before, sources * each).into());
    }
    Ok(Sample::new((sources * each) as f64 / time.as_secs_f64(), Unit::MessagesPerSecond))
}

async fn call_round_trip<S: Side>(scale: &Scale) -> Outcome<Sample> {
    let target = S::counter().await?;
    S::caller(target.clone(), scale.calls / 10).await?;
    let clock = Instant::now();
    S::caller(target, scale.calls).await?;
    Ok(per(clock.elapsed(), scale.calls))
}

async fn spawn<S: Side>(scale: &Scale) -> Outcome<Sample> {
    let clock = Instant::now();
    let _alive = idle::<S>(scale.actors).await?;
    Ok(per(clock.elapsed(), scale.actors))
}

async fn memory_per_actor<S: Side>(scale: &Scale) -> Outcome<Sample> {
    let before = resident_bytes()?;
    let _alive = idle::<S>(scale.actors).await?;
    let bytes = resident_bytes()?.saturating_sub(before);
    Ok(Sample::new(bytes as f64 / scale.actors as f64, Unit::Bytes))
}

async fn ring_hop<S: Side>(scale: &Scale) -> Outcome<Sample> {
    let ring = S::ring(scale.ring_members).await?;
    S::pass(&ring, scale.hops / 10).await?;
    let clock = Instant::now();
    S::pass(&ring, scale.hops).await?;
    Ok(per(clock.elapsed(), scale.hops))
}

async fn restart<S: Side>(fault: Fault, scale: &Scale) -> Outcome<Vec<Sample>> {
    // What a panic prints is not what is measured.
    std::panic::set_hook(Box::new(|_| ()));
    let Some(mut supervised) = S::supervised(fault, scale.restarts + 1).await? else {
        return Ok(Vec::new());
    };
    let mut times = Vec::new();
    for _ in 0..scale.restarts {
        let clock = Instant::now();
        S::fail(&mut supervised, fault).await?;
        times.push(clock.elapsed().as_secs_f64() * 1e6);
    }
    Ok(vec![Sample::new(median(&mut times), Unit::Microseconds)])
}

async fn growth<S: Side>(scale: &Scale) -> Outcome<Vec<Sample>> {
    let active = idle::<S>(scale.growth_active).await?;
    busy::<S>(&active, scale).await?;
    let before = resident_bytes()?;
    let (mut crowd, mut samples, mut bytes_per_actor) = (Vec::new(), Vec::new(), 10_000.0);
    for &actors in scale.growth_idle {
        let more = actors - crowd.len() as u64;
        if more as f64 * bytes_per_actor * 1.2 > available_bytes()? as f64 {
            eprintln!("growth: {actors} idle actors skipped, they do not fit the memory");
            break;
        }
        crowd.extend(idle::<S>(more).await?);
        let bytes = resident_bytes()?.saturating_sub(before) as f64 / actors as f64;
        if actors >= 10_000 {
            bytes_per_actor = bytes;
        }
        let cost = busy::<S>(&active, scale).await?;
        let of = Some(Of::Actors(actors));
        samples.push(Sample { of, ..cost });
        samples.push(Sample { of, ..Sample::new(bytes, Unit::Bytes) });
    }
    Ok(samples)
}

async fn busy<S: Side>(active: &[S::Counter], scale: &Scale) -> Outcome<Sample> {
    let clock = Instant::now();
    S::source(active.to_vec(), scale.messages).await?;
    answers::<S>(active).await?;
    Ok(per(clock.elapsed(), scale.messages))
}

/// Started one after the other; then all have answered.
async fn idle<S: Side>(actors: u64) -> Outcome<Vec<S::Counter>> {
    let mut counters = Vec::with_capacity(actors as usize);
    for _ in 0..actors {
        counters.push(S::counter().await?);
    }
    answers::<S>(&counters).await?;
    Ok(counters)
}

/// Asks a thousand at a time, so that the questions themselves take no memory to speak of.
async fn answers<S: Side>(counters: &[S::Counter]) -> Outcome<()> {
    for counters in counters.chunks(1_000) {
        together(counters.iter().map(S::get).collect()).await?;
    }
    Ok(())
}

/// Starts all of them before it waits for the first.
async fn together<F, T>(mut futures: Vec<F>) -> Outcome<()>
where
    F: Future<Output = Outcome<T>> + Unpin,
{
    let mut failed = None;
    poll_fn(|cx| {
        futures.retain_mut(|future| match Pin::new(future).poll(cx) {
            Poll::Ready(Ok(_)) => false,
            Poll::Ready(Err(error)) => {
                failed = Some(error);
                false
            }
            Poll::Pending => true,
        });
        Poll::Ready(())
    })
    .await;
    for future in futures {
        future.await?;
    }
    failed.map_or(Ok(()), Err)
}

fn per(time: Duration, count: u64) -> Sample {
    Sample::new(time.as_secs_f64() * 1e9 / count as f64, Unit::Nanoseconds)
}

/// The middle of `values`, which must not be empty.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
