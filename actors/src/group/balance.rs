//! How a message to a group finds its member.

use std::fmt;
use std::sync::Arc;

use crate::cell::{Cell, Control};
use crate::group::{Group, Member};
use crate::id::ActorId;
use crate::mailbox::sync::{AtomicUsize, Ordering};
use crate::reference::{ActorRef, Route, Router};

/// Members that [`LeastLoaded`] compares for one message.
const COMPARED_MAX: usize = 16;

/// Chooses the member that gets a message.
pub trait Balance<M>: Send + Sync + 'static {
    /// The place of the chosen member; one beyond the end counts from the start again.
    fn choose(&self, message: &M, members: &Members<'_, M>) -> usize;
}

/// The members of a group that a message can go to: at least one.
pub struct Members<'a, M> {
    members: &'a [Member<M>],
    turn: usize,
}

impl<M: Send + 'static> Members<'_, M> {
    /// How many there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// How many messages went through the address before this one.
    #[must_use]
    pub fn turn(&self) -> usize {
        self.turn
    }

    /// Who stands at `place`.
    #[must_use]
    pub fn id(&self, place: usize) -> ActorId {
        self.at(place).id()
    }

    /// Messages that wait at the member at `place`; `None` if it lives on another node.
    #[must_use]
    pub fn backlog(&self, place: usize) -> Option<usize> {
        self.at(place).place().ok().map(|cell| cell.backlog())
    }

    fn at(&self, place: usize) -> &ActorRef<M> {
        &self.members[place % self.members.len()].actor
    }
}

/// One member after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin;

impl<M: Send + 'static> Balance<M> for RoundRobin {
    fn choose(&self, _: &M, members: &Members<'_, M>) -> usize {
        members.turn()
    }
}

/// The member with the fewest messages waiting, of the next 16 in turn. A member on another node,
/// whose mailbox is not seen from here, counts as having one.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastLoaded;

impl<M: Send + 'static> Balance<M> for LeastLoaded {
    fn choose(&self, _: &M, members: &Members<'_, M>) -> usize {
        let first = members.turn() % members.len();
        let compared = first..first + members.len().min(COMPARED_MAX);
        // The first of equals.
        compared.min_by_key(|place| members.backlog(*place).unwrap_or(1)).unwrap_or(first)
    }
}

/// The same member for the same key, as long as the members are the same; when one joins or
/// leaves, only the keys that it gets or had move (rendezvous hashing, Thaler and Ravishankar
/// 1998). Takes time in proportion to the members.
#[derive(Clone, Copy, Debug)]
pub struct ByKey<F>(
    /// The key of a message.
    pub F,
);

impl<M: Send + 'static, F: Fn(&M) -> u64 + Send + Sync + 'static> Balance<M> for ByKey<F> {
    fn choose(&self, message: &M, members: &Members<'_, M>) -> usize {
        let key = mixed((self.0)(message));
        let weight = |place: &usize| {
            let id = members.id(*place);
            mixed(key ^ mixed(id.origin ^ mixed(id.number)))
        };
        (0..members.len()).max_by_key(weight).unwrap_or(0)
    }
}

/// Spreads the bits of a number (the finaliser of SplitMix64, Steele et al. 2014).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

struct Balanced<M, B> {
    group: Group<M>,
    how: B,
    turns: AtomicUsize,
}

pub(super) fn router<M: Send + 'static>(
    group: &Group<M>,
    how: impl Balance<M>,
) -> Arc<dyn Router<M>> {
    Arc::new(Balanced { group: group.clone(), how, turns: AtomicUsize::new(0) })
}

impl<M: Send + 'static, B: Balance<M>> Router<M> for Balanced<M, B> {
    fn id(&self) -> ActorId {
        self.group.0.id
    }

    fn choose(&self, message: &M) -> ActorRef<M> {
        let members = self.group.0.members();
        if members.is_empty() {
            return ActorRef(Route::Here(self.nowhere()));
        }
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let choice = Members { members: &members, turn };
        let place = self.how.choose(message, &choice);
        choice.at(place).clone()
    }

    fn nowhere(&self) -> Arc<Cell<M>> {
        self.group.0.nowhere.clone()
    }
}

impl<M> fmt::Debug for Members<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").field("len", &self.members.len()).finish_non_exhaustive()
    }
}
