//! A tree as a text for people.

use std::fmt::Write;

use crate::info::ChildInfo;
use crate::outline::Branch;
use crate::tree::Tree;

/// One line: indented name, state, what it is, and what else there is to say.
struct Line {
    name: String,
    state: &'static str,
    what: String,
    more: String,
}

impl Tree {
    /// The tree as a text: a line for each supervisor, with its strategy and how many of its
    /// children run, and below it one for each child, indented: its id, its state, its type (or its
    /// kind), the node it runs on if that is another one, how often it was started again, what its
    /// start waits for, and how its last run ended. Of the children of a dynamic supervisor the first
    /// 20 are printed.
    ///
    /// ```text
    /// tree            running     one for one, 2 of 3 run
    ///   intake        running     Intake
    ///   pricing       running     supervisor, rest for one, 1 of 2 run
    ///     rates       restarting  Rates        started again 3x, last: failed: no route
    ///     quotes      running     Quotes
    ///   cleaner       stopped     Cleaner      last: normal
    /// ```
    pub async fn print(&self) -> String {
        let lines: Vec<Line> = self.outline(usize::MAX).await.into_iter().map(Line::of).collect();
        if lines.is_empty() { "the tree has stopped\n".into() } else { text(&lines) }
    }
}

impl Line {
    fn of(branch: Branch) -> Self {
        let Branch { depth, name, child, below, left_out, .. } = branch;
        let indent = depth * 2;
        if left_out > 0 {
            let name = format!("{:indent$}and {left_out} more", "");
            return Self { name, state: "", what: String::new(), more: String::new() };
        }
        let what = match (&below, &child) {
            (Some(below), Some(_)) => format!("supervisor, {below}"),
            (Some(below), None) => below.to_string(),
            (None, Some(child)) if child.is_supervisor => "supervisor".into(),
            (None, child) => child.as_ref().map_or("", |child| short(child.kind)).into(),
        };
        let state = child.as_ref().map_or("running", |child| child.state.name());
        let more = child.as_ref().map(more).unwrap_or_default();
        Self { name: format!("{:indent$}{name}", ""), state, what, more }
    }
}

/// The name of a type without where it stands.
fn short(kind: &str) -> &str {
    let end = kind.find('<').unwrap_or(kind.len());
    kind[..end].rsplit("::").next().unwrap_or(kind)
}

fn more(child: &ChildInfo) -> String {
    let mut parts = Vec::new();
    if let Some(node) = child.node {
        parts.push(format!("on {node}"));
    }
    match child.restarts {
        0 => {}
        1 => parts.push("started again once".into()),
        times => parts.push(format!("started again {times}x")),
    }
    if let Some(why) = &child.waits {
        parts.push(format!("waits: {why}"));
    }
    if let Some(exit) = &child.last_exit {
        // A text of the user's may have several lines.
        let exit = exit.to_string();
        parts.push(format!("last: {}", exit.lines().next().unwrap_or_default()));
    }
    parts.join(", ")
}

/// The lines in columns.
fn text(lines: &[Line]) -> String {
    let width = |column: fn(&Line) -> &str| {
        lines.iter().map(|line| column(line).chars().count()).max().unwrap_or_default()
    };
    let (name, state, what) =
        (width(|line| &line.name), width(|line| line.state), width(|line| &line.what));
    let mut text = String::new();
    for line in lines {
        let padded = format!(
            "{:name$}  {:state$}  {:what$}  {}",
            line.name, line.state, line.what, line.more
        );
        // A `String` takes whatever is written.
        let _ = writeln!(text, "{}", padded.trim_end());
    }
    text
}
