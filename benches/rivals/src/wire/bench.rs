//! The benches between two processes, written once over [`Peer`].

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::peer::{Caller, Peer, Road, Sender};
use crate::bench::{Of, Sample, Unit, median};
use crate::memory::resident_bytes;
use crate::side::Outcome;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Bench {
    RemoteCallRoundTrip,
    RemoteCallRoundTripUnpinned,
    #[value(name = "remote_cast_1_to_1")]
    RemoteCast1To1,
    #[value(name = "remote_call_64")]
    RemoteCall64,
    #[value(name = "remote_bulk_1MiB")]
    RemoteBulk1MiB,
    BulkLane,
    #[value(name = "call_beside_bulk_p99")]
    CallBesideBulkP99,
    RemoteRefs,
    NodesInProcess,
}

/// How much of it.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    pub(crate) calls: u64,
    pub(crate) casts: u64,
    /// Calls of each of the concurrent callers.
    pub(crate) calls_each: u64,
    /// Messages of 1 MiB.
    pub(crate) bulk: u64,
    pub(crate) refs: &'static [u64],
    pub(crate) nodes: &'static [u64],
}

/// What the figures in the table are measured with.
pub(crate) const FULL: Scale = Scale {
    calls: 10_000,
    casts: 500_000,
    calls_each: 1_000,
    bulk: 1_024,
    refs: &[1, 10, 100, 1_000],
    nodes: &[2, 4, 8, 16],
};

/// Enough to see that every side runs.
pub(crate) const TINY: Scale =
    Scale { calls: 50, casts: 1_000, calls_each: 5, bulk: 8, refs: &[1, 10], nodes: &[2] };

/// Callers at the same time.
pub(super) const CALLERS: u64 = 64;
pub(super) const SMALL_BYTES: usize = 64;
pub(super) const BULK_BYTES: usize = 1 << 20;

impl Bench {
    /// Whether each process has a core of its own.
    pub(super) fn is_pinned(self) -> bool {
        self == Self::RemoteCallRoundTrip
    }
}

/// Runs one bench against the process that serves at `address`. No samples: the side has no such
/// thing.
pub(super) async fn measure<P: Peer>(
    bench: Bench,
    address: &str,
    scale: &Scale,
) -> Outcome<Vec<Sample>> {
    let peer = P::connect(address).await?;
    let sample = match bench {
        Bench::RemoteCallRoundTrip | Bench::RemoteCallRoundTripUnpinned => {
            round_trip(peer, scale.calls).await?
        }
        Bench::RemoteCast1To1 => {
            let time = casts(peer, Road::Call, SMALL_BYTES, scale.casts).await?;
            Sample::new(scale.casts as f64 / time.as_secs_f64(), Unit::MessagesPerSecond)
        }
        Bench::RemoteCall64 => concurrent(peer, scale.calls_each).await?,
        Bench::RemoteBulk1MiB => bulk(peer, Road::Call, scale.bulk).await?,
        Bench::BulkLane => bulk(peer, Road::Bulk, scale.bulk).await?,
        Bench::CallBesideBulkP99 => beside_bulk(peer, scale).await?,
        Bench::RemoteRefs => return refs(peer, scale).await,
        Bench::NodesInProcess => return Ok(Vec::new()),
    };
    Ok(vec![sample])
}

async fn round_trip<P: Peer>(mut peer: P, calls: u64) -> Outcome<Sample> {
    let mut caller = peer.caller().await?;
    for _ in 0..calls / 10 {
        caller.call().await?;
    }
    let clock = Instant::now();
    for _ in 0..calls {
        caller.call().await?;
    }
    Ok(Sample::new(micros(clock.elapsed()) / calls as f64, Unit::Microseconds))
}

async fn concurrent<P: Peer>(mut peer: P, calls_each: u64) -> Outcome<Sample> {
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let mut caller = peer.caller().await?;
        caller.call().await?;
        callers.push(caller);
    }
    let clock = Instant::now();
    let calling = callers.into_iter().map(|mut caller| {
        tokio::spawn(async move {
            for _ in 0..calls_each {
                caller.call().await?;
            }
            Outcome::Ok(())
        })
    });
    for called in calling.collect::<Vec<_>>() {
        called.await??;
    }
    let calls = (CALLERS * calls_each) as f64;
    Ok(Sample::new(calls / clock.elapsed().as_secs_f64(), Unit::CallsPerSecond))
}

async fn bulk<P: Peer>(peer: P, road: Road, messages: u64) -> Outcome<Sample> {
    let time = casts(peer, road, BULK_BYTES, messages).await?;
    let bytes = messages as f64 * BULK_BYTES as f64;
    Ok(Sample::new(bytes / 1e9 / time.as_secs_f64(), Unit::GigabytesPerSecond))
}

async fn casts<P: Peer>(mut peer: P, road: Road, bytes: usize, messages: u64) -> Outcome<Duration> {
    let mut sender = peer.sender(road, bytes).await?;
    cast(&mut sender, messages / 10).await?;
    let clock = Instant::now();
    cast(&mut sender, messages).await?;
    Ok(clock.elapsed())
}

async fn cast(sender: &mut impl Sender, messages: u64) -> Outcome<()> {
    for _ in 0..messages {
        sender.cast().await?;
    }
    match sender.arrived().await? {
        arrived if arrived == messages => Ok(()),
        arrived => Err(format!("{arrived} of {messages} messages arrived").into()),
    }
}

async fn beside_bulk<P: Peer>(mut peer: P, scale: &Scale) -> Outcome<Sample> {
    let mut caller = peer.caller().await?;
    let mut sender = peer.sender(Road::Bulk, BULK_BYTES).await?;
    cast(&mut sender, scale.bulk / 10 + 1).await?;
    let mut alone = Vec::new();
    for _ in 0..scale.calls {
        alone.push(timed(&mut caller).await?);
    }
    let messages = scale.bulk;
    let (done, mut ended) = oneshot::channel::<()>();
    let transfer = tokio::spawn(async move {
        cast(&mut sender, messages).await?;
        drop(done);
        Outcome::Ok(())
    });
    let mut beside = Vec::new();
    while matches!(ended.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
        beside.push(timed(&mut caller).await?);
    }
    transfer.await??;
    let (alone, beside) = (percentile_99(&mut alone), percentile_99(&mut beside));
    Ok(Sample { alone: Some(alone), ..Sample::new(beside, Unit::Microseconds) })
}

async fn timed(caller: &mut impl Caller) -> Outcome<f64> {
    let clock = Instant::now();
    caller.call().await?;
    Ok(micros(clock.elapsed()))
}

async fn refs<P: Peer>(mut peer: P, scale: &Scale) -> Outcome<Vec<Sample>> {
    let mut samples = Vec::new();
    for &actors in scale.refs {
        let before = resident_bytes()?;
        let Some(mut callers) = peer.references(actors).await? else { return Ok(Vec::new()) };
        let mut times = Vec::new();
        // Every reference has been used, and every one equally often.
        for _ in 0..(scale.calls / 10 / actors).max(2) {
            for caller in &mut callers {
                times.push(timed(caller).await?);
            }
        }
        let bytes = resident_bytes()?.saturating_sub(before) as f64;
        let of = Some(Of::Refs(actors));
        samples.push(Sample { of, ..Sample::new(median(&mut times), Unit::Microseconds) });
        samples.push(Sample { of, ..Sample::new(bytes / actors as f64, Unit::Bytes) });
    }
    Ok(samples)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The value that one in a hundred exceeds. `values` must not be empty.
fn percentile_99(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * 99 / 100).min(values.len() - 1)]
}
