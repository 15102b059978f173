//! The metrics of one kind of actors.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, IntoF64, counter, gauge, histogram};

use crate::exit::Exit;

/// Handles, looked up once. Where there is one of these, somebody listens.
pub(crate) struct Meter {
    kind: &'static str,
    actors: Gauge,
    started: Counter,
    restarts: Counter,
    handled: Counter,
    turn_seconds: Histogram,
    mailbox_messages: Histogram,
}

impl Meter {
    /// `None` if nobody listens.
    pub(crate) fn of(kind: &'static str) -> Option<Self> {
        let actors = gauge!("mobula_actors", "kind" => kind);
        is_heard(&actors).then(|| Self {
            kind,
            actors,
            started: counter!("mobula_actors_started_total", "kind" => kind),
            restarts: counter!("mobula_restarts_total", "kind" => kind),
            handled: counter!("mobula_messages_handled_total", "kind" => kind),
            turn_seconds: histogram!("mobula_turn_seconds", "kind" => kind),
            mailbox_messages: histogram!("mobula_mailbox_messages", "kind" => kind),
        })
    }

    pub(crate) fn run_began(&self, is_first: bool) {
        quietly(|| {
            self.actors.increment(1.0);
            self.started.increment(1);
            if !is_first {
                self.restarts.increment(1);
            }
        });
    }

    pub(crate) fn run_ended(&self, exit: &Exit) {
        let (kind, exit) = (self.kind, word_for(exit));
        quietly(|| {
            self.actors.decrement(1.0);
            counter!("mobula_actors_ended_total", "kind" => kind, "exit" => exit).increment(1);
        });
    }

    pub(crate) fn turn_begins(&self, waiting: usize) {
        self.mailbox_messages.record(waiting as f64);
    }

    pub(crate) fn turn_ends(&self, time: Duration, messages: u64) {
        self.turn_seconds.record(time.as_secs_f64());
        if messages > 0 {
            self.handled.increment(messages);
        }
    }
}

/// A recorder that panics must not keep a run from its beginning or its end.
fn quietly(tell: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(tell)).is_err() {
        tracing::warn!("the recorder of metrics panicked");
    }
}

/// Whether anything becomes of what `gauge` is told: it converts a value only then.
fn is_heard(gauge: &Gauge) -> bool {
    struct Zero<'a>(&'a Cell<bool>);

    impl IntoF64 for Zero<'_> {
        fn into_f64(self) -> f64 {
            self.0.set(true);
            0.0
        }
    }

    let heard = Cell::new(false);
    gauge.increment(Zero(&heard));
    heard.into_inner()
}

fn word_for(exit: &Exit) -> &'static str {
    match exit {
        Exit::Normal => "normal",
        Exit::Shutdown | Exit::ShutdownWith(_) => "shutdown",
        Exit::Panicked(_) => "panicked",
        Exit::Failed(_) => "failed",
        Exit::Killed => "killed",
        Exit::InitFailed(_) => "init_failed",
        Exit::MaxIntensity => "max_intensity",
        Exit::NodeDead(_) => "node_dead",
        Exit::Fenced(_) => "fenced",
        Exit::NoCapacity(_) => "no_capacity",
        Exit::NoProc => "no_proc",
        Exit::Ignored => "ignored",
        Exit::Denied(_) => "denied",
    }
}
