//! What is shown while the graph runs, and the order in which actors ended.

use std::fmt::Display;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use mobula::supervision::{Event, Hook};
use serde::Serialize;

/// Where lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Stdout,
    /// The standard output is for the JSON object.
    Stderr,
    #[cfg(test)]
    Nowhere,
}

/// An end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct End {
    pub actor: String,
    pub exit: String,
}

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Screen(Arc<Inner>);

struct Inner {
    target: Target,
    began: Instant,
    ended: Mutex<Vec<End>>,
}

impl Screen {
    pub fn new(target: Target) -> Self {
        Self(Arc::new(Inner { target, began: Instant::now(), ended: Mutex::default() }))
    }

    /// A line: when, who, what.
    pub fn say(&self, who: &str, what: impl Display) {
        let seconds = self.0.began.elapsed().as_secs_f64();
        self.show(format_args!("{seconds:7.2} s  {who:<10}{what}"));
    }

    /// A text of several lines, moved in and in one piece.
    pub fn show_block(&self, text: &str) {
        let lines: Vec<String> =
            text.lines().map(|line| format!("             | {line}")).collect();
        if !lines.is_empty() {
            self.show(lines.join("\n"));
        }
    }

    fn show(&self, line: impl Display) {
        let line = format!("{line}\n");
        // Nobody may be there to read it; the work goes on.
        let _ = match self.0.target {
            Target::Stdout => std::io::stdout().write_all(line.as_bytes()),
            Target::Stderr => std::io::stderr().write_all(line.as_bytes()),
            #[cfg(test)]
            Target::Nowhere => Ok(()),
        };
    }

    /// For a supervisor: shows what it does, and notes who ended.
    pub fn hook(&self) -> Hook {
        let screen = self.clone();
        Arc::new(move |event| screen.on(event))
    }

    fn on(&self, event: &Event) {
        match event {
            Event::Started { id, .. } => self.say(id, "is started"),
            Event::Ended { id, exit, .. } => {
                self.say(id, format_args!("has ended: {exit}"));
                let end = End { actor: id.clone(), exit: exit.to_string() };
                self.0.ended.lock().unwrap_or_else(PoisonError::into_inner).push(end);
            }
            other => self.say("supervisor", other),
        }
    }

    /// Who has ended so far, in order.
    pub fn ended(&self) -> Vec<End> {
        self.0.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
