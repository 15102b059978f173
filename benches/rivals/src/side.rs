//! What every side of the comparison must be able to do. The benches are written once, over this.
//!
//! The cast is the same everywhere: a *counter* adds up and tells its sum, a *source* is an actor
//! that sends to counters, a *caller* is an actor that asks one counter again and again, and a
//! *ring* is a circle of actors that pass one number on, one less each time.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::sync::Notify;

/// Whatever went wrong ends the measurement.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A side of the benches on one node. Its name is what the lines say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Who {
    Mobula,
    Tokio,
    Ractor,
    Kameo,
    Actix,
    Erlang,
}

/// How a supervised actor is made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its handler returns an error, or does what comes nearest to that.
    Error,
    /// Its handler panics.
    Panic,
}

/// A ring whose actors were started one by one: each gets the place of its next, the first one's place
/// is filled last.
pub(crate) async fn closed_ring<R, F>(
    members: u64,
    mut start: impl FnMut(Arc<OnceLock<R>>, Arc<Notify>) -> F + Send,
) -> Outcome<(R, Arc<Notify>)>
where
    R: Clone + Send + Sync,
    F: Future<Output = Outcome<R>> + Send,
{
    let (closing, done) = (Arc::new(OnceLock::new()), Arc::new(Notify::new()));
    let mut next = closing.clone();
    let mut first = None;
    for _ in 0..members {
        let hop = start(next, done.clone()).await?;
        next = Arc::new(OnceLock::from(hop.clone()));
        first = Some(hop);
    }
    let first = first.ok_or("a ring has members")?;
    closing.get_or_init(|| first.clone());
    Ok((first, done))
}

/// One Rust side. Futures run on [`Side::run`]'s runtime.
pub(crate) trait Side {
    /// A reference to an actor that adds and tells its sum.
    type Counter: Clone + Send + Sync + 'static;
    /// A sum to come.
    type Answer: Future<Output = Outcome<u64>> + Send + Unpin;
    /// A reference to the first actor of a ring.
    type Ring: Send + Sync;
    /// A counter under a supervisor.
    type Supervised: Send;

    /// Runs `main` on a tokio runtime with two workers.
    fn run<T: Send + 'static>(
        main: impl Future<Output = Outcome<T>> + Send + 'static,
    ) -> Outcome<T> {
        let runtime = two_workers()?;
        runtime.block_on(runtime.spawn(main))?
    }

    /// Starts a counter.
    fn counter() -> impl Future<Output = Outcome<Self::Counter>> + Send;

    /// Asks for the sum. It is sent by the first poll at the latest.
    fn get(counter: &Self::Counter) -> Self::Answer;

    /// Starts an actor that sends `messages` ones to `targets` in turn; returns when it has.
    fn source(
        targets: Vec<Self::Counter>,
        messages: u64,
    ) -> impl Future<Output = Outcome<()>> + Send;

    /// Starts an actor that makes `calls` calls, one after the other; returns when it has.
    fn caller(target: Self::Counter, calls: u64) -> impl Future<Output = Outcome<()>> + Send;

    /// Starts a ring.
    fn ring(members: u64) -> impl Future<Output = Outcome<Self::Ring>> + Send;

    /// Lets a number go round; returns after `hops` hops.
    fn pass(ring: &Self::Ring, hops: u64) -> impl Future<Output = Outcome<()>> + Send;

    /// Starts a counter under a supervisor, or `None` if nothing here survives `fault`.
    fn supervised(
        fault: Fault,
        restarts: u32,
    ) -> impl Future<Output = Outcome<Option<Self::Supervised>>> + Send;

    /// Makes it fail; returns when it answers again.
    fn fail(
        supervised: &mut Self::Supervised,
        fault: Fault,
    ) -> impl Future<Output = Outcome<()>> + Send;
}

/// The runtime that every Rust side runs on.
pub(crate) fn two_workers() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()
}

/// As many workers as there are cores to run on, as tokio does by default.
pub(crate) fn a_worker_per_core() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// A library's own future of an answer, with its error as ours.
pub(crate) struct Answer<F>(pub(crate) F);

impl<F, T, E> Future for Answer<F>
where
    F: Future<Output = Result<T, E>> + Unpin,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Outcome<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(Into::into)
    }
}
