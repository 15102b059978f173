//! Time as a process has lived through it: it stands still while the process is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const BEAT: Duration = Duration::from_millis(10);

/// Counts beats on a thread of its own, for as long as the process lives.
#[derive(Clone)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    pub fn start() -> Self {
        let beats = Arc::new(AtomicU64::new(0));
        let own = beats.clone();
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(BEAT);
                own.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self(beats)
    }

    /// Time since the start, in beats: never more than the clock shows.
    pub fn now(&self) -> Duration {
        let beats = self.0.load(Ordering::Relaxed);
        BEAT * u32::try_from(beats).unwrap_or(u32::MAX)
    }
}
