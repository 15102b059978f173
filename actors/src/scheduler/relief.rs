//! Help for actors that wait behind one that does not yield.
//!
//! A handler that blocks keeps its worker, also inside `block_in_place`, which gives the runtime
//! another thread but not the actors another worker. Who waits behind it is moved to where all
//! workers look, and if all are stuck, a spare one is started, which ends when it finds nothing to
//! do. It looks every 10 ms while workers are awake, and rests when none has been for 20.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::Scheduler;
use super::worker::Worker;
use crate::mailbox::sync::{AtomicBool, AtomicUsize, Ordering, fence};

const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// Looks that find all asleep until it rests.
const LOOKS_MAX: u32 = 2;
/// Spare workers at a time.
const SPARES_MAX: usize = 64;

#[derive(Default)]
pub(super) struct Relief {
    rests: AtomicBool,
    called: Notify,
    pub(super) spares: AtomicUsize,
}

impl Relief {
    /// A worker is awake again: either the relief sees that before it rests, or this sees it rest.
    pub(super) fn call(&self) {
        fence(Ordering::SeqCst);
        if self.rests.load(Ordering::Relaxed) && self.rests.swap(false, Ordering::SeqCst) {
            self.called.notify_one();
        }
    }
}

/// Looks after the workers of `scheduler` until it is closed.
pub(super) async fn watch(scheduler: Arc<Scheduler>) {
    let mut seen = vec![0; scheduler.workers()];
    let mut quiet = 0;
    while !scheduler.is_closed() {
        quiet = if scheduler.idle.all_sleep(scheduler.workers()) { quiet + 1 } else { 0 };
        if quiet >= LOOKS_MAX {
            rest(&scheduler).await;
            quiet = 0;
        }
        sleep(LOOK_INTERVAL).await;
        look(&scheduler, &mut seen);
    }
}

async fn rest(scheduler: &Scheduler) {
    let relief = &scheduler.relief;
    relief.rests.store(true, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    if scheduler.idle.all_sleep(scheduler.workers()) && !scheduler.is_closed() {
        relief.called.notified().await;
    }
    relief.rests.store(false, Ordering::SeqCst);
}

fn look(scheduler: &Arc<Scheduler>, seen: &mut [u64]) {
    let mut stuck = 0;
    for (number, seen) in seen.iter_mut().enumerate() {
        let turn = scheduler.turns[number].now();
        if turn % 2 == 1 && turn == *seen {
            stuck += 1;
            scheduler.lines[number].move_to(scheduler.injected());
        }
        *seen = turn;
    }
    if stuck == 0 || scheduler.injected().is_empty() {
        return;
    }
    if stuck < seen.len() {
        scheduler.wake_another();
    } else if scheduler.relief.spares.fetch_add(1, Ordering::AcqRel) < SPARES_MAX {
        scheduler.runtime.spawn(Worker::spare(scheduler.clone()).work());
    } else {
        scheduler.relief.spares.fetch_sub(1, Ordering::AcqRel);
    }
}
