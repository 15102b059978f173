//! A tree as a text for people.

use std::fmt::Write;

use crate::info::{ChildInfo, Look};
use crate::strategy::ChildState;
use crate::supervisor::Msg;
use crate::tree::Tree;

/// Children of one dynamic supervisor that are printed; the others are counted.
const PRINTED_MAX: usize = 20;

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
        let Some(root) = self.look().await else { return "the tree has stopped\n".into() };
        let mut lines = vec![Line {
            name: self.name(),
            state: "running",
            what: summary(&root),
            more: String::new(),
        }];
        let mut rest = Vec::new();
        push(&mut rest, root, 1);
        while let Some((depth, child)) = rest.pop() {
            let child = match child {
                Ok(child) => child,
                Err(left_out) => {
                    lines.push(Line::left_out(depth, left_out));
                    continue;
                }
            };
            let below = self.look_below(&child).await;
            lines.push(Line::of(depth, &child, below.as_ref()));
            if let Some(below) = below {
                push(&mut rest, below, depth + 1);
            }
        }
        text(&lines)
    }

    async fn look(&self) -> Option<Look> {
        self.ask(|reply| Msg::Look { dynamic_max: PRINTED_MAX, reply }).await.ok()
    }

    async fn look_below(&self, child: &ChildInfo) -> Option<Look> {
        if !child.is_supervisor || child.state != ChildState::Running {
            return None;
        }
        self.below(self.within(&child.id))?.look().await
    }
}

/// What is printed next stands last.
fn push(rest: &mut Vec<(usize, Result<ChildInfo, usize>)>, look: Look, depth: usize) {
    let Look { counts, children, .. } = look;
    let left_out = (counts.supervisors + counts.workers).saturating_sub(children.len());
    if left_out > 0 {
        rest.push((depth, Err(left_out)));
    }
    rest.extend(children.into_iter().rev().map(|child| (depth, Ok(child))));
}

impl Line {
    fn of(depth: usize, child: &ChildInfo, below: Option<&Look>) -> Self {
        let id = child.id.rsplit('/').next().unwrap_or_default();
        let what = match below {
            Some(look) => format!("supervisor, {}", summary(look)),
            None if child.is_supervisor => "supervisor".into(),
            None => short(child.kind).into(),
        };
        let name = format!("{:1$}{id}", "", depth * 2);
        Self { name, state: child.state.name(), what, more: more(child) }
    }

    fn left_out(depth: usize, count: usize) -> Self {
        let name = format!("{:1$}and {count} more", "", depth * 2);
        Self { name, state: "", what: String::new(), more: String::new() }
    }
}

fn summary(look: &Look) -> String {
    let counts = look.counts;
    let all = counts.supervisors + counts.workers;
    format!("{}, {} of {all} run", look.strategy, counts.active)
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
