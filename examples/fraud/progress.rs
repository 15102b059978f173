//! What a person sees while the pipeline runs: a bar on a terminal, and a line for what happens.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mobula::supervision::Event;

use crate::report::Placed;
use crate::source::News;

/// The view of a run. Cheap to clone.
#[derive(Clone)]
pub struct Progress {
    bar: ProgressBar,
    nodes: usize,
    alive: Arc<AtomicUsize>,
    /// Whether lines go to standard error, beside or without the bar.
    lines: bool,
}

impl Progress {
    /// Of a run of `events` on `nodes`. `quiet` prints nothing unless there is a terminal.
    pub fn new(events: u64, nodes: usize, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target =
            if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(events), target);
        let style = "{bar:30} {pos}/{len} events, {per_sec}, {msg}";
        // The template is a constant of this file; a test reads it.
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        let alive = Arc::new(AtomicUsize::new(nodes));
        Self { bar, nodes, alive, lines: terminal || !quiet }
    }

    pub fn placed(&self, placement: &[Placed]) {
        for placed in placement {
            self.say(format!("{}: {}", placed.node, placed.actors.join(" ")));
        }
    }

    pub fn news(&self, news: &News) {
        if let News::Reached { index, p99_us } = news {
            self.bar.set_position(*index);
            let (alive, nodes) = (self.alive.load(Ordering::Relaxed), self.nodes);
            self.bar.set_message(format!("p99 {p99_us} us, {alive} of {nodes} nodes alive"));
        }
    }

    /// So many nodes are alive now.
    pub fn alive(&self, nodes: usize) {
        self.alive.store(nodes, Ordering::Relaxed);
    }

    pub fn supervision(&self, event: &Event) {
        self.say(event.to_string());
    }

    pub fn say(&self, line: String) {
        if self.lines {
            self.bar.suspend(|| {
                // A log that cannot be written must not cost the result.
                let _ = writeln!(std::io::stderr(), "{line}");
            });
        }
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
