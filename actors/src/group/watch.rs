//! Actors that hear who joins and leaves a group (G-2).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::actor::Actor;
use crate::cell::Signal;
use crate::context::Context;
use crate::group::Group;
use crate::reference::ActorRef;

/// What has changed in a group since the last notice; in the first one, all members have joined.
/// Both lists are empty if what changed has changed back.
pub struct GroupChange<M> {
    /// Members that were not there before.
    pub joined: Vec<ActorRef<M>>,
    /// Members that are there no more.
    pub left: Vec<ActorRef<M>>,
}

/// A change that has not been told yet. It names each member once, so it is bounded as the group.
struct Pending<M> {
    change: GroupChange<M>,
    is_due: bool,
}

pub(super) struct Watcher<M> {
    pending: Arc<Mutex<Pending<M>>>,
    wake: Arc<dyn Fn() + Send + Sync>,
    /// Dead with the run that listens.
    run: Weak<()>,
}

impl<M> Clone for Watcher<M> {
    fn clone(&self) -> Self {
        Self { pending: self.pending.clone(), wake: self.wake.clone(), run: self.run.clone() }
    }
}

impl<A: Actor> Context<A> {
    /// Delivers `notice(change)` ahead of waiting messages: at once with the members that `group`
    /// has, then whenever some joined or left, until the run ends. At most one notice waits; what
    /// changes meanwhile is added to it.
    pub fn watch_group<M: Send + 'static>(
        &mut self,
        group: &Group<M>,
        notice: impl FnMut(GroupChange<M>) -> A::Msg + Send + 'static,
    ) {
        let change = GroupChange { joined: group.members(), left: Vec::new() };
        let pending = Arc::new(Mutex::new(Pending { change, is_due: true }));
        let (cell, epoch) = (Arc::downgrade(&self.cell), self.epoch());
        let (source, notice) = (pending.clone(), Arc::new(Mutex::new(notice)));
        let wake = Arc::new(move || {
            let Some(cell) = cell.upgrade() else { return };
            let (source, notice) = (source.clone(), notice.clone());
            let made = move || {
                let change = lock(&source).take();
                // Only the watcher's own task calls it.
                (*lock(&notice))(change)
            };
            cell.signal_run(epoch, Signal::Notice(Box::new(made)));
        });
        let watcher = Watcher { pending, wake, run: self.token() };
        {
            let mut state = group.0.state();
            // As they are now that no change can be missed.
            let members = state.members.iter().map(|member| member.actor.clone());
            lock(&watcher.pending).change.joined = members.collect();
            state.watchers.push(watcher.clone());
        }
        watcher.wake();
    }
}

impl<M: Send + 'static> Watcher<M> {
    pub(super) fn listens(&self) -> bool {
        self.run.strong_count() > 0
    }

    /// Notes that `actor` has joined; true if the watcher is to be woken.
    pub(super) fn joined(&self, actor: &ActorRef<M>) -> bool {
        let mut pending = lock(&self.pending);
        let GroupChange { joined, left } = &mut pending.change;
        note(actor, left, joined);
        !std::mem::replace(&mut pending.is_due, true)
    }

    /// Notes that `actor` has left; true if the watcher is to be woken.
    pub(super) fn left(&self, actor: &ActorRef<M>) -> bool {
        let mut pending = lock(&self.pending);
        let GroupChange { joined, left } = &mut pending.change;
        note(actor, joined, left);
        !std::mem::replace(&mut pending.is_due, true)
    }

    pub(super) fn wake(&self) {
        (self.wake)();
    }
}

/// Takes `actor` back from the opposite list, or adds it to its own.
fn note<M: Send + 'static>(
    actor: &ActorRef<M>,
    opposite: &mut Vec<ActorRef<M>>,
    own: &mut Vec<ActorRef<M>>,
) {
    match opposite.iter().position(|other| other == actor) {
        Some(place) => drop(opposite.remove(place)),
        None => own.push(actor.clone()),
    }
}

impl<M> Pending<M> {
    fn take(&mut self) -> GroupChange<M> {
        self.is_due = false;
        let GroupChange { joined, left } = &mut self.change;
        GroupChange { joined: std::mem::take(joined), left: std::mem::take(left) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<M: Send + 'static> fmt::Debug for GroupChange<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupChange")
            .field("joined", &self.joined)
            .field("left", &self.left)
            .finish()
    }
}
