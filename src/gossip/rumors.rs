//! Claims under way: each is passed on a bounded number of times, the least told first.

use std::collections::BTreeMap;

use super::Peer;
use super::message::{Claim, What};

/// Most bytes of claims that ride on one message.
pub(super) const CLAIM_BYTES_MAX: usize = 1_400;

#[derive(Clone, Debug)]
struct Rumor<P> {
    claim: Claim<P>,
    bytes: usize,
    told: u32,
}

/// The claims to pass on: per member the newest state, and one per accuser.
#[derive(Clone, Debug)]
pub(super) struct Rumors<P> {
    rumors: BTreeMap<(P, Option<P>), Rumor<P>>,
}

impl<P: Peer> Rumors<P> {
    pub(super) fn new() -> Self {
        Self { rumors: BTreeMap::new() }
    }

    /// Passes `claim` on. A new state of a member replaces all older claims about it.
    pub(super) fn add(&mut self, claim: Claim<P>) {
        let accuser = match claim.what {
            What::Suspect { accuser, .. } => Some(accuser),
            _ => None,
        };
        if accuser.is_none() {
            self.forget(claim.key);
        }
        let bytes = claim.size();
        self.rumors.insert((claim.key, accuser), Rumor { claim, bytes, told: 0 });
    }

    /// Stops passing on anything about `key`.
    pub(super) fn forget(&mut self, key: P) {
        self.rumors.retain(|&(about, _), _| about != key);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rumors.is_empty()
    }

    /// Claims for one message, least told first, and counts them as told.
    pub(super) fn take(&mut self, told_max: u32) -> Vec<Claim<P>> {
        if self.rumors.is_empty() {
            return Vec::new();
        }
        let mut order: Vec<_> = self.rumors.iter().map(|(id, r)| (r.told, r.bytes, *id)).collect();
        order.sort_unstable();
        let mut left = CLAIM_BYTES_MAX;
        let mut claims = Vec::new();
        for (_, bytes, id) in order {
            if bytes > left {
                continue;
            }
            let Some(rumor) = self.rumors.get_mut(&id) else { continue };
            left -= bytes;
            rumor.told += 1;
            claims.push(rumor.claim.clone());
            if rumor.told >= told_max {
                self.rumors.remove(&id);
            }
        }
        claims
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(key: u32) -> Claim<u32> {
        Claim { key, boot: 1, what: What::Dead }
    }

    #[test]
    fn a_rumor_is_told_so_often_and_no_more() {
        let mut rumors = Rumors::new();
        rumors.add(dead(1));
        assert_eq!(rumors.take(2), [dead(1)]);
        assert_eq!(rumors.take(2), [dead(1)]);
        assert!(rumors.take(2).is_empty() && rumors.is_empty());
    }

    #[test]
    fn claims_of_one_message_keep_the_byte_budget_and_the_rest_comes_next() {
        let mut rumors = Rumors::new();
        for key in 0..10 {
            let what = What::Alive { incarnation: 0, address: "a".repeat(250) };
            rumors.add(Claim { key, boot: 1, what });
        }
        let first = rumors.take(9);
        let second = rumors.take(9);
        assert!(first.iter().map(Claim::size).sum::<usize>() <= CLAIM_BYTES_MAX);
        assert_eq!((first.len(), second.len()), (5, 5));
        assert!(first.iter().all(|claim| !second.contains(claim)));
    }
}
