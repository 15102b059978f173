//! The one timer of a connection: a deadline while it joins or leaves, a heartbeat between.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// Which way the timer went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beat {
    None,
    /// The deadline passed.
    Deadline,
    /// Time for a ping with this number.
    Ping(u64),
    /// Nothing was heard for the heartbeat's timeout.
    Silent,
}

/// Silence is counted in beats, so the data path only sets a flag and reads no clock.
#[derive(Debug)]
pub(super) struct Clock {
    timer: Pin<Box<Sleep>>,
    mode: Mode,
    heard: bool,
    silent: Duration,
    pings: u64,
    pinged: Option<Instant>,
}

#[derive(Debug)]
enum Mode {
    Deadline,
    Beating { every: Duration, timeout: Duration },
    Leaving,
}

impl Clock {
    /// Starts with a deadline.
    pub(super) fn new(deadline: Duration) -> Self {
        Self {
            timer: Box::pin(sleep(deadline)),
            mode: Mode::Deadline,
            heard: true,
            silent: Duration::ZERO,
            pings: 0,
            pinged: None,
        }
    }

    /// From now on a heartbeat.
    pub(super) fn beat(&mut self, every: Duration, timeout: Duration) {
        self.mode = Mode::Beating { every, timeout };
        self.timer.as_mut().set(sleep(every));
    }

    /// From now on a last deadline. Only the first call counts.
    pub(super) fn deadline(&mut self, after: Duration) {
        if !matches!(self.mode, Mode::Leaving) {
            self.mode = Mode::Leaving;
            self.timer.as_mut().set(sleep(after));
        }
    }

    /// Something came from the peer.
    pub(super) fn heard(&mut self) {
        self.heard = true;
    }

    /// The round trip, if this answers the last ping.
    pub(super) fn pong(&mut self, number: u64) -> Option<Duration> {
        let pinged = if number == self.pings { self.pinged.take() } else { None };
        pinged.map(|pinged| pinged.elapsed())
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Beat {
        if self.timer.as_mut().poll(cx).is_pending() {
            return Beat::None;
        }
        let Mode::Beating { every, timeout } = self.mode else { return Beat::Deadline };
        self.silent = if self.heard { Duration::ZERO } else { self.silent.saturating_add(every) };
        self.heard = false;
        if self.silent >= timeout {
            return Beat::Silent;
        }
        self.timer.as_mut().set(sleep(every));
        // The new timer must be polled once to be armed.
        if let Poll::Ready(()) = self.timer.as_mut().poll(cx) {
            cx.waker().wake_by_ref();
        }
        self.pings = self.pings.wrapping_add(1);
        self.pinged = Some(Instant::now());
        Beat::Ping(self.pings)
    }
}
