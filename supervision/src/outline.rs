//! A tree as lines from its root down, for whoever shows it.

use std::fmt;

use mobula_actors::id::ActorId;

use crate::info::{ChildInfo, Counts, Look};
use crate::strategy::{ChildState, Strategy};
use crate::supervisor::Msg;
use crate::tree::Tree;

/// Children of one dynamic supervisor that are listed; the others are counted.
const LISTED_MAX: usize = 20;

/// One line of a tree: its root, a child, or how many are not listed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Branch {
    /// How far below the root it stands.
    pub depth: usize,
    /// Its id at its supervisor; that of the tree for the root.
    pub name: String,
    /// Its actor; `None` for those that are not listed.
    pub actor: Option<ActorId>,
    /// What its supervisor tells of it; `None` for the root.
    pub child: Option<ChildInfo>,
    /// What it tells of its own children, if it is a supervisor and runs.
    pub below: Option<Below>,
    /// More than zero for a line that stands for so many others, which are not listed.
    pub left_out: usize,
}

/// What a supervisor tells of its children together.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Below {
    /// Whom it starts again when one of them ends.
    pub strategy: Strategy,
    /// How many there are.
    pub counts: Counts,
}

/// A line whose children have not been asked for, and how deep it stands: a child, or how many are
/// not listed.
type Next = (usize, Result<ChildInfo, usize>);

impl Tree {
    /// The tree from its root down, each child before those below it; empty once the tree has
    /// stopped. Of the children of a dynamic supervisor the first 20 are listed. After `lines_max`
    /// lines one follows that counts those that were found and are not listed.
    pub async fn outline(&self, lines_max: usize) -> Vec<Branch> {
        let Some(root) = self.look().await else { return Vec::new() };
        let mut lines = vec![Branch {
            depth: 0,
            name: self.name(),
            actor: Some(self.actor()),
            child: None,
            below: Some(Below::of(&root)),
            left_out: 0,
        }];
        let mut rest = Vec::new();
        push(&mut rest, root, 1);
        while let Some((depth, next)) = rest.pop() {
            if lines.len() >= lines_max {
                rest.push((depth, next));
                let count = |(_, next): &Next| next.as_ref().map_or_else(|left| *left, |_| 1);
                lines.push(Branch::left_out(0, rest.iter().map(count).sum()));
                break;
            }
            let child = match next {
                Ok(child) => child,
                Err(count) => {
                    lines.push(Branch::left_out(depth, count));
                    continue;
                }
            };
            let look = self.look_below(&child).await;
            lines.push(Branch::of(depth, child, look.as_ref()));
            if let Some(look) = look {
                push(&mut rest, look, depth + 1);
            }
        }
        lines
    }

    async fn look(&self) -> Option<Look> {
        self.ask(|reply| Msg::Look { dynamic_max: LISTED_MAX, reply }).await.ok()
    }

    async fn look_below(&self, child: &ChildInfo) -> Option<Look> {
        if !child.is_supervisor || child.state != ChildState::Running {
            return None;
        }
        self.below(self.within(&child.id))?.look().await
    }
}

/// What is listed next stands last.
fn push(rest: &mut Vec<Next>, look: Look, depth: usize) {
    let Look { counts, children, .. } = look;
    let left_out = (counts.supervisors + counts.workers).saturating_sub(children.len());
    if left_out > 0 {
        rest.push((depth, Err(left_out)));
    }
    rest.extend(children.into_iter().rev().map(|child| (depth, Ok(child))));
}

impl Branch {
    fn of(depth: usize, child: ChildInfo, look: Option<&Look>) -> Self {
        Self {
            depth,
            name: child.id.rsplit('/').next().unwrap_or_default().into(),
            actor: Some(child.actor),
            child: Some(child),
            below: look.map(Below::of),
            left_out: 0,
        }
    }

    fn left_out(depth: usize, left_out: usize) -> Self {
        Self { depth, name: String::new(), actor: None, child: None, below: None, left_out }
    }
}

impl Below {
    fn of(look: &Look) -> Self {
        Self { strategy: look.strategy, counts: look.counts }
    }
}

impl fmt::Display for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts;
        let all = counts.supervisors + counts.workers;
        write!(f, "{}, {} of {all} run", self.strategy, counts.active)
    }
}
