//! The members of groups: those that joined on this node, and what other nodes say of theirs.
//!
//! A node writes of its own members only, and numbers what changes. Another node asks for what came
//! after the last that it heard; so whatever was missed is made up by the next question, and two
//! nodes cannot contradict each other.
//!
//! Invariants:
//! - **RO-1** Who has asked until nothing more comes knows exactly the members of that node.
//! - **RO-2** A node announces at most [`GROUP_JOINS_MAX`] members, in groups with names of at most
//!   255 bytes, and more is believed of nobody.
//! - **RO-3** What is known of a node's members goes with that life of the node.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mobula_actors::GroupError;
use mobula_actors::carrier::Address;
use mobula_actors::id::ActorId;
use serde::{Deserialize, Serialize};

use super::directory::NAME_BYTES_MAX;

/// Members that a node can have in the groups of the cluster at the same time.
pub const GROUP_JOINS_MAX: usize = 16_384;
/// Changes in one answer: few enough that it never counts as a large one.
const PAGE: usize = 64;
/// Members that left and are remembered. Who has missed more starts anew.
const LEFT_MAX: usize = 4_096;

/// A member, as the node on which it joined announces it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Joined {
    /// Counts the changes of that node.
    pub(super) number: u64,
    pub(super) group: String,
    pub(super) protocol: String,
    pub(super) member: Address,
}

/// How far a node has heard of another's changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    joined: u64,
    /// `None` before the first answer: who knows of no members need not hear that they left.
    left: Option<u64>,
}

/// What came after a cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct News {
    /// The asker has missed too much: what it is not told again has left.
    anew: bool,
    joined: Vec<Joined>,
    /// Numbers of members that are no more.
    left: Vec<u64>,
    cursor: Cursor,
    /// There is more behind the cursor.
    pub(super) more: bool,
}

/// The members that joined on this node.
#[derive(Default)]
pub(super) struct Announced(Mutex<Own>);

#[derive(Default)]
struct Own {
    /// The number of the last change.
    last: u64,
    joined: BTreeMap<u64, Joined>,
    numbers: HashMap<(String, ActorId), u64>,
    /// The number of each end, and of the member whose it is.
    left: VecDeque<(u64, u64)>,
    /// Ends up to this number are forgotten.
    forgotten: u64,
}

impl Announced {
    pub(super) fn joined(
        &self,
        group: &str,
        protocol: &str,
        member: Address,
    ) -> Result<(), GroupError> {
        let mut own = self.own();
        if own.joined.len() >= GROUP_JOINS_MAX {
            return Err(GroupError::TooMany);
        }
        own.last += 1;
        let number = own.last;
        own.numbers.insert((group.to_owned(), member.actor), number);
        let (group, protocol) = (group.to_owned(), protocol.to_owned());
        own.joined.insert(number, Joined { number, group, protocol, member });
        Ok(())
    }

    pub(super) fn left(&self, group: &str, member: ActorId) {
        let mut own = self.own();
        let Some(number) = own.numbers.remove(&(group.to_owned(), member)) else { return };
        own.joined.remove(&number);
        own.last += 1;
        let end = own.last;
        own.left.push_back((end, number));
        if own.left.len() > LEFT_MAX
            && let Some((end, _)) = own.left.pop_front()
        {
            own.forgotten = end;
        }
    }

    /// What whoever has heard so much has not heard yet, in part if it is much.
    pub(super) fn since(&self, cursor: Cursor) -> News {
        let own = self.own();
        let anew = cursor.left.is_some_and(|left| left < own.forgotten);
        let heard = if anew { Cursor::default() } else { cursor };
        let joined = own.joined.range(heard.joined.saturating_add(1)..).map(|(_, joined)| joined);
        let joined: Vec<Joined> = joined.take(PAGE).cloned().collect();
        // Both numbers are those of an asker, who can make them up.
        let from = heard.left.unwrap_or(own.last);
        let ends = own.left.partition_point(|(end, _)| *end <= from);
        let left: Vec<(u64, u64)> = own.left.range(ends..).take(PAGE).copied().collect();
        let (all_joined, all_left) = (joined.len() < PAGE, left.len() < PAGE);
        let last = |page: Option<u64>, all: bool| page.filter(|_| !all).unwrap_or(own.last);
        let cursor = Cursor {
            joined: last(joined.last().map(|joined| joined.number), all_joined),
            left: Some(last(left.last().map(|(end, _)| *end), all_left)),
        };
        let left = left.into_iter().map(|(_, number)| number).collect();
        News { anew, joined, left, cursor, more: !(all_joined && all_left) }
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        // Nothing that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What this node knows of the members of another.
#[derive(Default)]
pub(super) struct Known {
    pub(super) cursor: Cursor,
    members: BTreeMap<u64, Joined>,
    /// Those that it has not been told again since it started anew.
    stale: BTreeSet<u64>,
}

/// A change to what is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Entered(Joined),
    Left(Joined),
}

impl Known {
    /// Takes in an answer. `None` if no correct node gives it.
    pub(super) fn hear(&mut self, news: News) -> Option<Vec<Change>> {
        let fits = |joined: &Joined| {
            joined.group.len() <= NAME_BYTES_MAX && joined.protocol.len() <= NAME_BYTES_MAX
        };
        let News { anew, joined, left, cursor, more } = news;
        if joined.len().max(left.len()) > PAGE || !joined.iter().all(fits) {
            return None;
        }
        if more && cursor == self.cursor {
            return None;
        }
        if anew {
            self.stale = self.members.keys().copied().collect();
        }
        let mut changes = Vec::new();
        for number in left {
            changes.extend(self.members.remove(&number).map(Change::Left));
        }
        for joined in joined {
            if !self.stale.remove(&joined.number) && !self.members.contains_key(&joined.number) {
                changes.push(Change::Entered(joined.clone()));
                self.members.insert(joined.number, joined);
            }
        }
        if !more {
            let stale = std::mem::take(&mut self.stale);
            let gone = stale.into_iter().filter_map(|number| self.members.remove(&number));
            changes.extend(gone.map(Change::Left));
        }
        if self.members.len() > 2 * GROUP_JOINS_MAX {
            return None;
        }
        self.cursor = cursor;
        Some(changes)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Joined> {
        self.members.values()
    }
}

#[cfg(test)]
mod tests {
    use mobula_actors::id::{Epoch, NodeId, PeerKey};

    use super::*;
    use crate::machine::Rng;

    fn address(number: u64) -> Address {
        let node = NodeId { key: PeerKey([1; 32]), boot: 1 };
        Address { actor: ActorId { origin: 1, number }, epoch: Epoch(1), node, home: node }
    }

    fn join(own: &Announced, number: u64) {
        own.joined("group", "test/1", address(number)).unwrap();
    }

    fn leave(own: &Announced, number: u64) {
        own.left("group", address(number).actor);
    }

    /// Asks until nothing more comes, and returns how often.
    fn ask(own: &Announced, known: &mut Known) -> usize {
        for times in 1.. {
            let news = own.since(known.cursor);
            let more = news.more;
            known.hear(news).unwrap();
            if !more {
                return times;
            }
        }
        unreachable!()
    }

    fn numbers(known: &Known) -> Vec<u64> {
        let mut numbers: Vec<u64> =
            known.members().map(|joined| joined.member.actor.number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// RO-1.
    #[test]
    fn whoever_asks_now_and_then_knows_the_members_in_the_end() {
        let mut rng = Rng::new(7);
        for round in 0..20 {
            let (own, mut present) = (Announced::default(), BTreeSet::new());
            let mut askers: Vec<Known> = (0..3).map(|_| Known::default()).collect();
            // The last rounds forget ends, so that who asks seldom starts anew.
            for _ in 0..if round < 15 { 500 } else { 20_000 } {
                let number = rng.below(200);
                if present.remove(&number) {
                    leave(&own, number);
                } else {
                    present.insert(number);
                    join(&own, number);
                }
                for (often, asker) in [2, 40, 9_000].iter().zip(&mut askers) {
                    if rng.below(*often) == 0 {
                        // One question, which may give a part of the answer.
                        asker.hear(own.since(asker.cursor)).unwrap();
                    }
                }
            }
            askers.push(Known::default());
            for asker in &mut askers {
                ask(&own, asker);
                assert_eq!(numbers(asker), present.iter().copied().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_change_is_told_once() {
        let (own, mut known) = (Announced::default(), Known::default());
        join(&own, 1);
        let first = known.hear(own.since(known.cursor)).unwrap();
        assert!(matches!(&first[..], [Change::Entered(joined)] if joined.member == address(1)));
        assert_eq!(known.hear(own.since(known.cursor)), Some(vec![]));
        leave(&own, 1);
        join(&own, 1);
        let again = known.hear(own.since(known.cursor)).unwrap();
        assert!(matches!(&again[..], [Change::Left(_), Change::Entered(_)]), "{again:?}");
        leave(&own, 2);
        assert_eq!(known.hear(own.since(known.cursor)), Some(vec![]));
    }

    /// RO-2.
    #[test]
    fn members_are_bounded_on_both_sides() {
        let own = Announced::default();
        (0..GROUP_JOINS_MAX as u64).for_each(|number| join(&own, number));
        let refused = own.joined("group", "test/1", address(u64::MAX));
        assert_eq!(refused, Err(GroupError::TooMany));
        let mut known = Known::default();
        assert_eq!(ask(&own, &mut known), GROUP_JOINS_MAX / PAGE + 1);
        leave(&own, 0);
        join(&own, u64::MAX);

        let joined = |number: u64, name: usize| Joined {
            number,
            group: "n".repeat(name),
            protocol: "test/1".into(),
            member: address(number),
        };
        let news = |joined: Vec<Joined>| News { joined, ..News::default() };
        let mut known = Known::default();
        assert_eq!(known.hear(news(vec![joined(1, NAME_BYTES_MAX + 1)])), None);
        let page = |page: u64| (0..PAGE as u64).map(move |n| joined(page * PAGE as u64 + n, 1));
        assert_eq!(known.hear(news(page(0).chain(page(1)).collect())), None);
        // A node that never comes to an end.
        assert_eq!(known.hear(News { more: true, ..News::default() }), None);
        let told = (0..).take_while(|&number| known.hear(news(page(number).collect())).is_some());
        assert_eq!(told.count(), 2 * GROUP_JOINS_MAX / PAGE);
    }
}
