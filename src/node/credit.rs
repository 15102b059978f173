//! Credit per (sender node, target actor): how a slow actor slows its remote senders and nobody
//! else.
//!
//! A sender may have [`CREDIT_START`] messages on their way to an actor. The receiver gives a
//! message's credit back when the actor takes it from the mailbox, in batches of half a window,
//! and widens the window while the mailbox has room.
//!
//! Invariants:
//! - **Q-1** Messages in flight from one node to one actor never exceed the window it was granted.
//! - **Q-2** The windows of all senders of an actor together stay within its mailbox, apart from
//!   the first [`CREDIT_START`] of each.
//! - **Q-3** Credit lines to and from a node end with the connection to it, on both sides.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mobula_actors::id::{ActorId, NodeId};
use tokio::sync::Notify;

use super::cluster::Table;

/// Messages that a node may send to an actor before it has heard from it.
pub const CREDIT_START: u32 = 32;
/// The widest window of one sender node for one actor.
pub const CREDIT_WINDOW_MAX: u32 = 1_024;
/// Credit lines a node keeps for one other node, in each direction.
pub const CREDIT_LINES_MAX: usize = 65_536;

/// The sender's side.
#[derive(Default)]
pub(super) struct Spending(Mutex<Table<NodeId, Table<ActorId, Arc<Purse>>>>);

/// What may still be sent to one actor on one node.
pub(super) struct Purse {
    left: AtomicU32,
    more: Notify,
    /// The actor's node has said that the shape of its protocol fits.
    understood: AtomicBool,
}

impl Purse {
    pub(super) fn is_understood(&self) -> bool {
        self.understood.load(Ordering::Relaxed)
    }

    pub(super) fn understood(&self) {
        self.understood.store(true, Ordering::Relaxed);
    }

    /// Takes credit for one message, if there is any.
    pub(super) fn spend(&self) -> bool {
        self.change(|left| left.checked_sub(1))
    }

    /// Takes back what a message spent that was not sent after all, or adds what was granted.
    pub(super) fn add(&self, messages: u32) {
        self.change(|left| Some(left.saturating_add(messages).min(2 * CREDIT_WINDOW_MAX)));
        self.more.notify_waiters();
    }

    /// Waits until there is credit. Another sender may be faster: spend in a loop.
    pub(super) async fn funded(&self) {
        loop {
            let more = self.more.notified();
            if self.left.load(Ordering::Acquire) > 0 {
                return;
            }
            more.await;
        }
    }

    fn change(&self, how: impl FnMut(u32) -> Option<u32>) -> bool {
        self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, how).is_ok()
    }
}

impl Spending {
    pub(super) fn purse(&self, node: NodeId, actor: ActorId) -> Option<Arc<Purse>> {
        let mut nodes = self.nodes();
        let actors = nodes.entry(node).or_default();
        if let Some(purse) = actors.get(&actor) {
            return Some(purse.clone());
        }
        if actors.len() >= CREDIT_LINES_MAX {
            return None;
        }
        let purse = Arc::new(Purse {
            left: AtomicU32::new(CREDIT_START),
            more: Notify::new(),
            understood: AtomicBool::new(false),
        });
        actors.insert(actor, purse.clone());
        Some(purse)
    }

    pub(super) fn granted(&self, node: NodeId, actor: ActorId, messages: u32) {
        let nodes = self.nodes();
        if let Some(purse) = nodes.get(&node).and_then(|actors| actors.get(&actor)) {
            purse.add(messages);
        }
    }

    /// Wakes everybody who waits for credit of `node`: they look for another way.
    pub(super) fn end(&self, node: NodeId) {
        let gone = self.nodes().remove(&node);
        for (_, purse) in gone.into_iter().flatten() {
            // They find no connection, and look for another way.
            purse.add(1);
        }
    }

    fn nodes(&self) -> MutexGuard<'_, Table<NodeId, Table<ActorId, Arc<Purse>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The receiver's side. Envelopes carry the number of their line.
#[derive(Default)]
pub(super) struct Granting(Mutex<Lines>);

#[derive(Default)]
struct Lines {
    by_node: Table<NodeId, Table<ActorId, u32>>,
    /// Slot 0 stays empty: an envelope with credit 0 owes nothing.
    lines: Vec<Option<Line>>,
    /// Slots whose line ended and has no messages left in any mailbox.
    free: Vec<u32>,
    windows: Table<ActorId, u32>,
}

struct Line {
    node: NodeId,
    actor: ActorId,
    window: u32,
    /// Taken from the mailbox since the last grant.
    taken: u32,
    /// In the mailbox now.
    held: u32,
    ended: bool,
}

/// Credit to be sent to a node.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) node: NodeId,
    pub(super) actor: ActorId,
    pub(super) messages: u32,
}

impl Granting {
    /// A message of `node` is about to enter the mailbox of `actor`. Returns its line, or `None`
    /// when `node` had no credit for it: it breaks the protocol. `likely` is the line of the
    /// message before it, which spares a search.
    pub(super) fn received(&self, node: NodeId, actor: ActorId, likely: u32) -> Option<u32> {
        let mut lines = self.lines();
        let is_it = |line: &mut Line| !line.ended && line.actor == actor && line.node == node;
        let number = if lines.line(likely).is_some_and(is_it) {
            likely
        } else {
            match lines.by_node.get(&node).and_then(|actors| actors.get(&actor)) {
                Some(&number) => number,
                None => lines.open(node, actor)?,
            }
        };
        let line = lines.line(number)?;
        if line.held.saturating_add(line.taken) >= line.window {
            return None;
        }
        line.held = line.held.saturating_add(1);
        Some(number)
    }

    /// The actor has taken a message of line `number`, or refused it. `capacity` says how many
    /// messages its mailbox holds.
    pub(super) fn taken(
        &self,
        number: u32,
        capacity: impl FnOnce(ActorId) -> usize,
    ) -> Option<Grant> {
        let mut lines = self.lines();
        let line = lines.line(number)?;
        line.held = line.held.saturating_sub(1);
        line.taken = line.taken.saturating_add(1);
        if line.ended {
            if line.held == 0 {
                lines.close(number);
            }
            return None;
        }
        if line.taken < line.window.div_ceil(2) {
            return None;
        }
        let (node, actor, mut messages) = (line.node, line.actor, line.taken);
        line.taken = 0;
        messages += lines.widen(number, actor, capacity(actor));
        Some(Grant { node, actor, messages })
    }

    /// The connection to `node` is gone.
    pub(super) fn end(&self, node: NodeId) {
        let mut lines = self.lines();
        for (_, number) in lines.by_node.remove(&node).unwrap_or_default() {
            let Some(line) = lines.line(number) else { continue };
            line.ended = true;
            if line.held == 0 {
                lines.close(number);
            }
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn line(&mut self, number: u32) -> Option<&mut Line> {
        self.lines.get_mut(number as usize)?.as_mut()
    }

    fn open(&mut self, node: NodeId, actor: ActorId) -> Option<u32> {
        if self.by_node.get(&node).is_some_and(|actors| actors.len() >= CREDIT_LINES_MAX) {
            return None;
        }
        if self.lines.is_empty() {
            self.lines.push(None);
        }
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                self.lines.push(None);
                u32::try_from(self.lines.len() - 1).ok()?
            }
        };
        let line = Line { node, actor, window: CREDIT_START, taken: 0, held: 0, ended: false };
        *self.lines.get_mut(number as usize)? = Some(line);
        self.by_node.entry(node).or_default().insert(actor, number);
        *self.windows.entry(actor).or_default() += CREDIT_START;
        Some(number)
    }

    fn close(&mut self, number: u32) {
        let Some(line) = self.lines.get_mut(number as usize).and_then(Option::take) else { return };
        self.free.push(number);
        if let Some(windows) = self.windows.get_mut(&line.actor) {
            *windows = windows.saturating_sub(line.window);
            if *windows == 0 {
                self.windows.remove(&line.actor);
            }
        }
    }

    /// Doubles a window that is in use while the mailbox has the room; returns what was added.
    fn widen(&mut self, number: u32, actor: ActorId, capacity: usize) -> u32 {
        let all = self.windows.get(&actor).copied().unwrap_or(0);
        let Some(line) = self.line(number) else { return 0 };
        let more = line.window.min(CREDIT_WINDOW_MAX.saturating_sub(line.window));
        if more == 0 || (all as usize).saturating_add(more as usize) > capacity {
            return 0;
        }
        line.window += more;
        *self.windows.entry(actor).or_default() += more;
        more
    }
}

#[cfg(test)]
mod tests {
    use mobula_actors::id::PeerKey;

    use super::*;

    const NODE: NodeId = NodeId { key: PeerKey([1; 32]), boot: 1 };
    const ACTOR: ActorId = ActorId { origin: 1, number: 1 };

    /// what is granted is what was taken, and the window doubles while there is room.
    #[test]
    fn credit_comes_back_in_half_windows_and_widens_while_the_mailbox_has_room() {
        let granting = Granting::default();
        let numbers: Vec<u32> =
            (0..32).map(|_| granting.received(NODE, ACTOR, 0).unwrap()).collect();
        let grants: Vec<Grant> =
            numbers.iter().filter_map(|&number| granting.taken(number, |_| 1_024)).collect();
        assert_eq!(grants[0].messages, 16 + 32);
    }

    /// no window grows beyond the mailbox.
    #[test]
    fn windows_stay_within_the_mailbox() {
        let granting = Granting::default();
        for _ in 0..16 {
            granting.received(NODE, ACTOR, 0).unwrap();
        }
        let last = (0..16).filter_map(|_| granting.taken(1, |_| 40)).last();
        assert_eq!(last, Some(Grant { node: NODE, actor: ACTOR, messages: 16 }));
    }

    /// credit that was neither granted nor given back is none.
    #[test]
    fn a_message_beyond_the_window_is_no_message() {
        let granting = Granting::default();
        let line = granting.received(NODE, ACTOR, 0).unwrap();
        for _ in 1..CREDIT_START {
            granting.received(NODE, ACTOR, 0).unwrap();
        }
        assert_eq!(granting.received(NODE, ACTOR, 0), None);
        // What the actor has taken comes back when it is half a window.
        for n in 1..CREDIT_START / 2 {
            assert_eq!(granting.taken(line, |_| 0), None);
            assert_eq!(granting.received(NODE, ACTOR, 0), None, "{n}");
        }
        let grant = granting.taken(line, |_| 0).unwrap();
        assert_eq!(grant.messages, CREDIT_START / 2);
        let more = (0..CREDIT_START).filter(|_| granting.received(NODE, ACTOR, 0).is_some());
        assert_eq!(more.count(), grant.messages as usize);
    }

    /// a line that ended grants nothing, and its number is used again only when empty.
    #[test]
    fn an_ended_line_is_reused_only_when_its_messages_are_gone() {
        let granting = Granting::default();
        let old = granting.received(NODE, ACTOR, 0).unwrap();
        granting.end(NODE);
        let new = granting.received(NODE, ACTOR, old).unwrap();
        assert_ne!(old, new);
        assert_eq!(granting.taken(old, |_| 1_024), None);
        assert_eq!(granting.received(NodeId { boot: 2, ..NODE }, ACTOR, 0), Some(old));
    }

    #[test]
    fn a_purse_is_empty_after_what_it_started_with() {
        let spending = Spending::default();
        let purse = spending.purse(NODE, ACTOR).unwrap();
        assert_eq!((0..100).filter(|_| purse.spend()).count(), CREDIT_START as usize);
        spending.granted(NODE, ACTOR, 5);
        assert_eq!((0..100).filter(|_| purse.spend()).count(), 5);
    }
}
