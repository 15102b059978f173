//! Where an actor runs: as a task, on a thread of its own, or in the pool of blocking threads.
//!
//! Invariants:
//! - **TH-1** An actor on a thread of its own is polled, and its state dropped, on that thread only.
//! - **TH-2** What blocks on either kind of thread stalls no task.
//! - **TH-3** Wherever it runs, an actor ends with its engine's runtime.

use std::future::{Future, pending};
use std::sync::{Arc, Weak};
use std::task::{Context, Wake, Waker};
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::cell::{Cell, Control};
use crate::engine::Engine;
use crate::error::SpawnError;
use crate::exit::Exit;
use crate::watchdog::watched;

/// What an actor runs on. All else is the same: its exits, its monitors, and that a kill takes
/// effect where its handler next waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Run {
    /// A task among others, on the engine's runtime.
    #[default]
    Task,
    /// An operating-system thread of its own, for what is bound to a thread, as the context of a
    /// GPU is.
    Thread,
    /// The runtime's pool of blocking threads, for handlers that compute or block for long. It
    /// takes a thread while it has messages and none while it is idle; a pool that is used up
    /// (512 threads unless the runtime was built otherwise) makes it wait.
    Blocking,
}

/// Begins the life of the actor behind `cell`.
pub(crate) fn put<M: Send + 'static>(
    engine: &Engine,
    run: Run,
    cell: &Arc<Cell<M>>,
    life: impl Future<Output = ()> + Send + 'static,
) -> Result<(), SpawnError> {
    let runtime = engine.runtime().clone();
    match run {
        Run::Task => match engine.watchdog() {
            None => engine.scheduler().spawn(life),
            Some(dog) => {
                // Boxed, since what is awaited would be kept twice.
                let life = Box::pin(life);
                engine.scheduler().spawn(watched(dog.clone(), cell.id(), cell.kind(), life));
            }
        },
        Run::Blocking => drop(runtime.clone().spawn(in_turns(runtime, life))),
        Run::Thread => return on_thread(runtime, cell, life),
    }
    Ok(())
}

fn on_thread<M: Send + 'static>(
    runtime: Handle,
    cell: &Arc<Cell<M>>,
    life: impl Future<Output = ()> + Send + 'static,
) -> Result<(), SpawnError> {
    // A thread does not end with its runtime; a task does, and takes the actor along.
    let tie = KillOnDrop(Arc::downgrade(cell));
    let tied = runtime.spawn(async move {
        let _tie = tie;
        pending::<()>().await;
    });
    let untie = tied.abort_handle();
    let live = move || {
        runtime.block_on(life);
        tied.abort();
    };
    let name = cell.kind().rsplit("::").next().unwrap_or("actor").to_owned();
    thread::Builder::new().name(name).spawn(live).map(drop).map_err(|error| {
        untie.abort();
        SpawnError::Refused(format!("no thread for the actor: {error}"))
    })
}

struct KillOnDrop<M: Send + 'static>(Weak<Cell<M>>);

impl<M: Send + 'static> Drop for KillOnDrop<M> {
    fn drop(&mut self) {
        if let Some(cell) = self.0.upgrade() {
            cell.kill(Exit::Killed);
        }
    }
}

/// Polls `life` on blocking threads, one turn after the other, each when it was woken.
async fn in_turns(runtime: Handle, life: impl Future<Output = ()> + Send + 'static) {
    let woken = Arc::new(Woken(Notify::new()));
    let mut life = Box::pin(life);
    loop {
        let waker = Waker::from(woken.clone());
        let turn = runtime.spawn_blocking(move || {
            let polled = life.as_mut().poll(&mut Context::from_waker(&waker));
            (life, polled.is_ready())
        });
        match turn.await {
            Ok((back, false)) => life = back,
            // An error says that the runtime is shutting down, and `life` is gone.
            Ok((_, true)) | Err(_) => return,
        }
        woken.0.notified().await;
    }
}

/// Keeps a wake that comes before the wait for it.
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify_one();
    }
}
