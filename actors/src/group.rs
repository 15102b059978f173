//! Process groups: actors that stand for each other, under a name, on one node or on many.
//!
//! Invariants:
//! - **PG-1** A member is the present run of an actor: it leaves when that run ends.
//! - **PG-2** A watcher hears of every change to the members it knows, in as many notices as it
//!   takes: what comes and goes between two notices is in neither.
//! - **PG-3** No code of the user runs under a lock of the group.
//! - **PG-4** An actor is a member as long as it is on some node on which it joined, and stands in
//!   the group once, however many these are.

mod balance;
mod calls;
mod herald;
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
use crate::group::herald::Tie;
pub use crate::group::herald::{Herald, Replica, Spread};
pub use crate::group::watch::GroupChange;
use crate::group::watch::Watcher;
use crate::id::{ActorId, NodeId, PeerKey};
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
    /// The node has announced as many members as it may.
    #[error("this node has as many members in the groups of the cluster as it may have")]
    TooMany,
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
    /// For a group with members on many nodes.
    tie: Option<Tie<M>>,
}

/// Stands for the node where there is no other.
const HERE: NodeId = NodeId { key: PeerKey([0; 32]), boot: 0 };

struct State<M> {
    members: Arc<Vec<Member<M>>>,
    watchers: Vec<Watcher<M>>,
}

struct Member<M> {
    actor: ActorRef<M>,
    /// The nodes on which it joined, in order.
    by: Vec<NodeId>,
    /// Tells the monitor of this node that it still matters.
    token: Arc<()>,
}

impl<M> Member<M> {
    /// The one node that answers for it.
    fn owner(&self) -> Option<NodeId> {
        self.by.first().copied()
    }
}

impl<M> Clone for Member<M> {
    fn clone(&self) -> Self {
        Self { actor: self.actor.clone(), by: self.by.clone(), token: self.token.clone() }
    }
}

/// The groups of an engine, by name: its own, and those of the whole cluster.
#[derive(Default)]
pub(crate) struct Groups {
    here: HashMap<String, Box<dyn Listed>>,
    shared: HashMap<String, Box<dyn Listed>>,
}

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
    /// The group of this engine with this name; a new one, without members, if there is none.
    ///
    /// # Errors
    /// [`NameError::OtherProtocol`] if the group takes other messages.
    pub fn group<M: Send + 'static>(&self, name: &str) -> Result<Group<M>, NameError> {
        self.group_with(name, None)
    }

    fn group_with<M: Send + 'static>(
        &self,
        name: &str,
        tie: Option<Tie<M>>,
    ) -> Result<Group<M>, NameError> {
        let mut groups = self.groups().lock().unwrap_or_else(PoisonError::into_inner);
        let groups = if tie.is_some() { &mut groups.shared } else { &mut groups.here };
        if let Some(listed) = groups.get(name).filter(|listed| listed.is_alive()) {
            let shared = listed.as_any().downcast_ref::<Weak<Shared<M>>>();
            let shared = shared.ok_or_else(|| NameError::OtherProtocol(name.into()))?;
            if let Some(shared) = shared.upgrade() {
                return Ok(Group(shared));
            }
        }
        if groups.len() == groups.capacity() {
            groups.retain(|_, listed| listed.is_alive());
        }
        let id = self.next_id();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            engine: self.clone(),
            id,
            nowhere: Cell::ended(self.clone(), id),
            state: RwLock::new(State { members: Arc::default(), watchers: Vec::new() }),
            tie,
        });
        groups.insert(name.to_owned(), Box::new(Arc::downgrade(&shared)));
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
        let (id, me, token) = (actor.id(), self.0.me(), Arc::new(()));
        let member = Arc::downgrade(&token);
        // Other nodes are told how to reach it.
        let address = self.0.tie.as_ref().and_then(|tie| tie.address(actor));
        let idle = {
            let mut state = self.0.state();
            match state.member(id) {
                Some(member) if member.by.contains(&me) => return Ok(()),
                None if state.members.len() >= GROUP_MEMBERS_MAX => return Err(GroupError::Full),
                _ => {}
            }
            if let (Some(tie), Some(address)) = (&self.0.tie, address) {
                tie.joined(&self.0.name, address)?;
            }
            state.add(actor, me, Some(token))
        };
        idle.iter().for_each(Watcher::wake);
        let (group, token) = (self.clone(), member.clone());
        let on_down = Box::new(move |_| {
            if let Some(token) = token.upgrade() {
                group.0.take(id, me, |member| Arc::ptr_eq(&token, &member.token));
            }
        });
        actor.watch(Monitor { on_down, watcher: Some(member) });
        // One that had ended already has left again by now.
        let joined = self.0.state().member(id).is_some_and(|member| member.by.contains(&me));
        if joined { Ok(()) } else { Err(GroupError::Ended) }
    }

    /// Ends the membership that `actor` has by this node, if it has one.
    pub fn leave(&self, actor: &ActorRef<M>) {
        self.0.take(actor.id(), self.0.me(), |_| true);
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
}

impl<M: Send + 'static> State<M> {
    fn member(&self, id: ActorId) -> Option<&Member<M>> {
        self.members.iter().find(|member| member.actor.id() == id)
    }

    /// Notes that `actor` joined on the node `by`, if that is this one under `token`. Returns the
    /// watchers to be woken.
    fn add(&mut self, actor: &ActorRef<M>, by: NodeId, token: Option<Arc<()>>) -> Vec<Watcher<M>> {
        let id = actor.id();
        let members = Arc::make_mut(&mut self.members);
        if let Some(member) = members.iter_mut().find(|member| member.actor.id() == id) {
            if let Err(place) = member.by.binary_search(&by) {
                member.by.insert(place, by);
                member.token = token.unwrap_or_else(|| member.token.clone());
            }
            return Vec::new();
        }
        let token = token.unwrap_or_default();
        members.push(Member { actor: actor.clone(), by: vec![by], token });
        self.note(|watcher| watcher.joined(actor))
    }

    /// Notes that the member `id` left the node `by`, if it is the one meant. Returns it when it is
    /// a member no more, and the watchers to be woken; `None` if nothing has changed.
    fn take(
        &mut self,
        id: ActorId,
        by: NodeId,
        is_meant: impl Fn(&Member<M>) -> bool,
    ) -> Option<(Option<Member<M>>, Vec<Watcher<M>>)> {
        let meant = |member: &Member<M>| member.actor.id() == id && member.by.contains(&by);
        let place = self.members.iter().position(|member| meant(member) && is_meant(member))?;
        let members = Arc::make_mut(&mut self.members);
        members[place].by.retain(|node| *node != by);
        if !members[place].by.is_empty() {
            return Some((None, Vec::new()));
        }
        let gone = members.remove(place);
        let idle = self.note(|watcher| watcher.left(&gone.actor));
        Some((Some(gone), idle))
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

    /// How this node is named in the group.
    fn me(&self) -> NodeId {
        self.tie.as_ref().map_or(HERE, |tie| tie.herald.node())
    }

    fn state(&self) -> RwLockWriteGuard<'_, State<M>> {
        // No code of the user runs under this lock, so a poisoned one still holds whole data.
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Send + 'static> Shared<M> {
    fn take(&self, id: ActorId, by: NodeId, is_meant: impl Fn(&Member<M>) -> bool) {
        let (gone, idle) = {
            let mut state = self.state();
            let Some(taken) = state.take(id, by, is_meant) else { return };
            if let Some(tie) = self.tie.as_ref().filter(|tie| tie.herald.node() == by) {
                tie.herald.left(&self.name, id);
            }
            taken
        };
        idle.iter().for_each(Watcher::wake);
        drop(gone);
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
