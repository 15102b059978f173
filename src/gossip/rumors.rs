//! Claims under way: each is passed on a bounded number of times, the least told first.
//!
//! Near and far are counted apart: a speaker tells its section and the other speakers each as
//! often as it takes.

use std::collections::{BTreeMap, BTreeSet};

use super::Peer;
use super::message::{Claim, What};

/// Most bytes of claims that ride on one message.
pub(super) const CLAIM_BYTES_MAX: usize = 1_400;
/// Most claims that are looked at for one message.
const LOOKED_AT_MAX: usize = 256;

/// Which neighbours hear a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// The section.
    Near,
    /// The other speakers.
    Far,
}

type Id<P> = (P, Option<P>);

#[derive(Clone, Debug)]
struct Rumor<P> {
    claim: Claim<P>,
    bytes: usize,
    /// How often each side was told; nothing where it is not told any more.
    told: [Option<u32>; 2],
}

/// The claims to pass on: per member the newest state, and one per accuser.
#[derive(Clone, Debug)]
pub(super) struct Rumors<P> {
    rumors: BTreeMap<Id<P>, Rumor<P>>,
    /// The same, for each side in the order of telling.
    order: [BTreeSet<(u32, Id<P>)>; 2],
}

impl<P: Peer> Rumors<P> {
    pub(super) fn new() -> Self {
        Self { rumors: BTreeMap::new(), order: [BTreeSet::new(), BTreeSet::new()] }
    }

    /// Passes `claim` on to those sides. A new state of a member replaces all older claims about
    /// it.
    pub(super) fn add(&mut self, claim: Claim<P>, sides: &[Side]) {
        let accuser = match claim.what {
            What::Suspect { accuser, .. } => Some(accuser),
            _ => None,
        };
        let id = (claim.key, accuser);
        match accuser {
            None => self.forget(claim.key),
            Some(_) => self.remove(id),
        }
        if sides.is_empty() {
            return;
        }
        let mut told = [None; 2];
        for &side in sides {
            told[side as usize] = Some(0);
            self.order[side as usize].insert((0, id));
        }
        let bytes = claim.size();
        self.rumors.insert(id, Rumor { claim, bytes, told });
    }

    /// Stops passing on anything about `key`.
    pub(super) fn forget(&mut self, key: P) {
        let about = self.rumors.range((key, None)..).take_while(|(id, _)| id.0 == key);
        let ids: Vec<_> = about.map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.remove(id));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rumors.is_empty()
    }

    /// Claims for one message to that side, least told first, and counts them as told.
    pub(super) fn take(&mut self, side: Side, told_max: u32) -> Vec<Claim<P>> {
        let mut left = CLAIM_BYTES_MAX;
        let mut chosen = Vec::new();
        for &(told, id) in self.order[side as usize].iter().take(LOOKED_AT_MAX) {
            let Some(rumor) = self.rumors.get(&id).filter(|rumor| rumor.bytes <= left) else {
                continue;
            };
            left -= rumor.bytes;
            chosen.push((told, id));
        }
        chosen.into_iter().filter_map(|(told, id)| self.tell(side, told, id, told_max)).collect()
    }

    fn tell(&mut self, side: Side, told: u32, id: Id<P>, told_max: u32) -> Option<Claim<P>> {
        let order = &mut self.order[side as usize];
        order.remove(&(told, id));
        let rumor = self.rumors.get_mut(&id)?;
        let next = (told + 1 < told_max).then_some(told + 1);
        rumor.told[side as usize] = next;
        if let Some(told) = next {
            order.insert((told, id));
        }
        let claim = rumor.claim.clone();
        if rumor.told == [None, None] {
            self.rumors.remove(&id);
        }
        Some(claim)
    }

    fn remove(&mut self, id: Id<P>) {
        let Some(rumor) = self.rumors.remove(&id) else { return };
        for (order, told) in self.order.iter_mut().zip(rumor.told) {
            if let Some(told) = told {
                order.remove(&(told, id));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Side::{Far, Near};
    use super::*;

    fn dead(key: u32) -> Claim<u32> {
        Claim { key, boot: 1, what: What::Dead }
    }

    #[test]
    fn a_rumor_is_told_so_often_to_each_side_and_no_more() {
        let mut rumors = Rumors::new();
        rumors.add(dead(1), &[Near, Far]);
        assert_eq!(rumors.take(Near, 2), [dead(1)]);
        assert_eq!(rumors.take(Near, 2), [dead(1)]);
        assert!(rumors.take(Near, 2).is_empty() && !rumors.is_empty());
        assert_eq!(rumors.take(Far, 1), [dead(1)]);
        assert!(rumors.is_empty());
    }

    #[test]
    fn a_claim_for_no_side_only_ends_the_older_ones() {
        let mut rumors = Rumors::new();
        let what = What::Suspect { incarnation: 0, accuser: 2 };
        rumors.add(Claim { key: 1, boot: 1, what }, &[Near]);
        rumors.add(dead(1), &[]);
        assert!(rumors.is_empty() && rumors.take(Near, 2).is_empty());
    }

    #[test]
    fn claims_of_one_message_keep_the_byte_budget_and_the_rest_comes_next() {
        let mut rumors = Rumors::new();
        for key in 0..10 {
            let what = What::Alive { incarnation: 0, address: "a".repeat(250) };
            rumors.add(Claim { key, boot: 1, what }, &[Near]);
        }
        let first = rumors.take(Near, 9);
        let second = rumors.take(Near, 9);
        assert!(first.iter().map(Claim::size).sum::<usize>() <= CLAIM_BYTES_MAX);
        assert_eq!((first.len(), second.len()), (5, 5));
        assert!(first.iter().all(|claim| !second.contains(claim)));
    }
}
