//! Process groups of one node: actors that stand for each other, under a name.
//!
//! Invariants:
//! - **PG-1** A member is the present run of an actor: it leaves when that run ends.
//! - **PG-2** A watcher hears of every change to the members it knows, in as many notices as it
//!   takes: what comes and goes between two notices is in neither.
//! - **PG-3** No code of the user runs under a lock of the group.

mod balance;
mod calls;
mod watch;

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard, Weak};

use thiserror::Error;

use crate::carrier::Monitor;
use crate::cell::Cell;
use crate::engine::Engine;
use crate::error::NameError;
pub use crate::group::balance::{Balance, ByKey, LeastLoaded, Members, RoundRobin};
pub use crate::group::calls::CallAll;
pub use crate::group::watch::GroupChange;
use crate::group::watch::Watcher;
use crate::id::ActorId;
use crate::reference::{ActorRef, Route};

/// Members one group may have.
pub const GROUP_MEMBERS_MAX: usize = 4_096;

/// A group that an actor could not join. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GroupError {
    /// It has as many members as it may have.
    #[error("the group has {GROUP_MEMBERS_MAX} members, as many as it may have")]
    Full,
    /// The actor has no run.
    #[error("the actor that was to join has ended")]
    Ended,
    /// A group cannot be a member of a group.
    #[error("a group's address is no actor; let its members join")]
    Group,
}

/// A group of actors that understand `M`. Cheap to clone. It lasts as long as it has members or
/// somebody holds it.
pub struct Group<M>(Arc<Shared<M>>);

struct Shared<M> {
    name: String,
    engine: Engine,
    id: ActorId,
    /// Where messages go that find no member.
    nowhere: Arc<Cell<M>>,
    state: RwLock<State<M>>,
}

struct State<M> {
    members: Arc<Vec<Member<M>>>,
    watchers: Vec<Watcher<M>>,
}

struct Member<M> {
    actor: ActorRef<M>,
    /// Tells the monitor that it still matters.
    token: Arc<()>,
}

impl<M> Clone for Member<M> {
    fn clone(&self) -> Self {
        Self { actor: self.actor.clone(), token: self.token.clone() }
    }
}

/// The groups of an engine, by name.
#[derive(Default)]
pub(crate) struct Groups(HashMap<String, Box<dyn Listed>>);

/// A group as its engine knows it: by name, and not kept alive by that.
trait Listed: Send + Sync {
    fn is_alive(&self) -> bool;
    fn as_any(&self) -> &dyn Any;
}

impl<M: Send + 'static> Listed for Weak<Shared<M>> {
    fn is_alive(&self) -> bool {
        self.strong_count() > 0
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Engine {
    /// The group with this name; a new one, without members, if there is none.
    ///
    /// # Errors
    /// [`NameError::OtherProtocol`] if the group takes other messages.
    pub fn group<M: Send + 'static>(&self, name: &str) -> Result<Group<M>, NameError> {
        let mut groups = self.groups().lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listed) = groups.0.get(name).filter(|listed| listed.is_alive()) {
            let shared = listed.as_any().downcast_ref::<Weak<Shared<M>>>();
            let shared = shared.ok_or_else(|| NameError::OtherProtocol(name.into()))?;
            if let Some(shared) = shared.upgrade() {
                return Ok(Group(shared));
            }
        }
        if groups.0.len() == groups.0.capacity() {
            groups.0.retain(|_, listed| listed.is_alive());
        }
        let id = self.next_id();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            engine: self.clone(),
            id,
            nowhere: Cell::ended(self.clone(), id),
            state: RwLock::new(State { members: Arc::default(), watchers: Vec::new() }),
        });
        groups.0.insert(name.to_owned(), Box::new(Arc::downgrade(&shared)));
        Ok(Group(shared))
    }
}

impl<M: Send + 'static> Group<M> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Makes `actor` a member until it leaves or its present run ends. Again, nothing changes.
    ///
    /// # Errors
    /// [`GroupError`]; nothing has changed.
    pub fn join(&self, actor: &ActorRef<M>) -> Result<(), GroupError> {
        if matches!(actor.0, Route::Via(_)) {
            return Err(GroupError::Group);
        }
        let (id, token) = (actor.id(), Arc::new(()));
        let member = Arc::downgrade(&token);
        let idle = {
            let mut state = self.0.state();
            if state.has(id) {
                return Ok(());
            }
            if state.members.len() >= GROUP_MEMBERS_MAX {
                return Err(GroupError::Full);
            }
            Arc::make_mut(&mut state.members).push(Member { actor: actor.clone(), token });
            state.note(|watcher| watcher.joined(actor))
        };
        idle.iter().for_each(Watcher::wake);
        let (group, token) = (self.clone(), member.clone());
        let on_down = Box::new(move |_| group.remove(id, token.upgrade().as_ref()));
        actor.watch(Monitor { on_down, watcher: Some(member) });
        // One that had ended already has left again by now.
        if self.0.state().has(id) { Ok(()) } else { Err(GroupError::Ended) }
    }

    /// Ends the membership of `actor`, if it has one.
    pub fn leave(&self, actor: &ActorRef<M>) {
        let members = self.0.members();
        let member = members.iter().find(|member| member.actor == *actor);
        self.remove(actor.id(), member.map(|member| &member.token));
    }

    /// The members now, in the order in which they joined.
    #[must_use]
    pub fn members(&self) -> Vec<ActorRef<M>> {
        self.0.members().iter().map(|member| member.actor.clone()).collect()
    }

    /// An address for the group: each message goes to one member, chosen by `how`. It waits, is
    /// refused and is bounded as that member's mailbox says; without members it is refused as
    /// `Stopped`. To stop, kill or link the address does nothing to the members: it is no actor
    /// (a monitor answers `NoProc`). It cannot leave its node: send a member's, or that of an actor
    /// that forwards.
    #[must_use]
    pub fn balance(&self, how: impl Balance<M>) -> ActorRef<M> {
        ActorRef(Route::Via(balance::router(self, how)))
    }

    /// Removes the member `id`, if `token` is its membership's.
    fn remove(&self, id: ActorId, token: Option<&Arc<()>>) {
        let is_meant = |member: &Member<M>| {
            member.actor.id() == id && token.is_some_and(|one| Arc::ptr_eq(one, &member.token))
        };
        let (gone, idle) = {
            let mut state = self.0.state();
            let Some(place) = state.members.iter().position(is_meant) else { return };
            let gone = Arc::make_mut(&mut state.members).remove(place);
            let idle = state.note(|watcher| watcher.left(&gone.actor));
            (gone, idle)
        };
        idle.iter().for_each(Watcher::wake);
        drop(gone);
    }
}

impl<M: Send + 'static> State<M> {
    fn has(&self, id: ActorId) -> bool {
        self.members.iter().any(|member| member.actor.id() == id)
    }

    /// Notes a change for every watcher that still listens, and returns those to be woken.
    fn note(&mut self, mut note: impl FnMut(&Watcher<M>) -> bool) -> Vec<Watcher<M>> {
        self.watchers.retain(Watcher::listens);
        self.watchers.iter().filter(|watcher| note(watcher)).cloned().collect()
    }
}

impl<M> Shared<M> {
    fn members(&self) -> Arc<Vec<Member<M>>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).members.clone()
    }

    fn state(&self) -> RwLockWriteGuard<'_, State<M>> {
        // No code of the user runs under this lock, so a poisoned one still holds whole data.
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> Clone for Group<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M> fmt::Debug for Group<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = self.0.members().len();
        f.debug_struct("Group").field("name", &self.0.name).field("members", &members).finish()
    }
}
