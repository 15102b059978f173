//! What members ask without credit, and what they may ask at all.
//!
//! Messages to a node's own actor need no credit, since each is small and soon done. So there is a
//! bound on how many may come in a time, far above what a correct node ever sends.
//!
//! Invariants:
//! - **AK-1** A member that asks more than [`ASKED_BURST`] at once, or [`ASKED_PER_SECOND`] for long,
//!   breaks the protocol.
//! - **AK-2** What a member asks without the right to is not done; whoever waits for an answer hears
//!   `Rejected` with the verb that is missing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mobula_actors::id::{NodeId, PeerKey};
use mobula_actors::{Exit, Why, wire};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::cluster::Cluster;
use super::service::NodeMsg;
use crate::net::{Denied, Refill, Verb};

/// Messages to a node's own actor, and frames of gossip, that one member may send at once.
pub const ASKED_BURST: u32 = 262_144;
/// How many of these it may send in a second for long.
pub const ASKED_PER_SECOND: u32 = 50_000;
/// Members whose questions are counted; those who were silent for long are forgotten first.
const ASKERS_MAX: usize = 1_024;

/// The buckets of the members, each as the time at which it is full again.
#[derive(Default)]
pub(super) struct Asked(Mutex<HashMap<PeerKey, Instant>>);

/// Why a node holds no room for an actor.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub(super) enum Unreserved {
    /// It hosts nothing of the sort, or is about to leave.
    #[error("{0}")]
    Unfit(String),
    /// It would, but not for this member.
    #[error(transparent)]
    Denied(Denied),
}

impl Asked {
    /// Whether one more is within the bounds (AK-1).
    pub(super) fn allows(&self, key: PeerKey, now: Instant) -> bool {
        let every = Duration::from_secs(1) / ASKED_PER_SECOND;
        let refill = Refill { burst: ASKED_BURST, every };
        let mut full_at = self.full_at();
        if full_at.len() >= ASKERS_MAX && !full_at.contains_key(&key) {
            full_at.retain(|_, full_at| *full_at > now);
        }
        let entry = full_at.entry(key).or_insert(now);
        let taken = refill.taken(*entry, now);
        *entry = taken.unwrap_or(*entry);
        taken.is_some()
    }

    fn full_at(&self) -> MutexGuard<'_, HashMap<PeerKey, Instant>> {
        // Nothing that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a member must be allowed to if it says this; `None` for what follows from something that was
/// allowed before.
fn verb(said: &NodeMsg) -> Option<Verb> {
    match said {
        // Those two say themselves what they refuse.
        NodeMsg::Reserve { .. } | NodeMsg::Start(_) => None,
        NodeMsg::End { epoch: None, .. } => Some(Verb::End),
        NodeMsg::Locate { .. } => Some(Verb::Locate),
        NodeMsg::Watch { .. } => Some(Verb::Watch),
        NodeMsg::Checkpoint { .. } => Some(Verb::Checkpoint),
        NodeMsg::Members { .. } => Some(Verb::Members),
        NodeMsg::NameClaim { .. } | NodeMsg::Names { .. } | NodeMsg::GroupsChanged { .. } => {
            Some(Verb::Name)
        }
        NodeMsg::NameFind { .. } | NodeMsg::GroupsSince { .. } => Some(Verb::Find),
        NodeMsg::Spread(_) => Some(Verb::Message),
        NodeMsg::End { epoch: Some(_), .. }
        | NodeMsg::Retire { .. }
        | NodeMsg::Fired { .. }
        | NodeMsg::Absent { .. }
        | NodeMsg::Unwatch { .. }
        | NodeMsg::Ended { .. }
        | NodeMsg::NameLost { .. }
        | NodeMsg::Revoked { .. }
        | NodeMsg::Revocations { .. }
        | NodeMsg::Release { .. } => None,
    }
}

/// For [`wire::discarding`], which takes no text.
pub(super) fn why(verb: Verb) -> fn() -> Why {
    match verb {
        Verb::Start => || denied(Verb::Start),
        Verb::End => || denied(Verb::End),
        Verb::Message => || denied(Verb::Message),
        Verb::Watch => || denied(Verb::Watch),
        Verb::Locate => || denied(Verb::Locate),
        Verb::Name => || denied(Verb::Name),
        Verb::Find => || denied(Verb::Find),
        Verb::Checkpoint => || denied(Verb::Checkpoint),
        Verb::Members => || denied(Verb::Members),
    }
}

pub(super) fn denied(verb: Verb) -> Why {
    Why::Denied(Denied::Verb(verb).to_string().into())
}

impl Cluster {
    /// What is left of what a member said when it may not ask that (AK-2).
    pub(super) fn permitted(&self, from: NodeId, said: NodeMsg) -> Option<NodeMsg> {
        let Some(verb) = verb(&said).filter(|verb| !self.grants(from, *verb)) else {
            return Some(said);
        };
        // A home ends what it has started.
        if let NodeMsg::End { actor, .. } = &said
            && self.hosting.running().get(actor).is_some_and(|hosted| hosted.home == from)
        {
            return Some(said);
        }
        tracing::debug!(%from, %verb, "a member asked what it may not");
        if let NodeMsg::Watch { number, actor, .. } = said {
            self.tell_not_watched(from, actor, number, Exit::Denied(denied(verb).to_string()));
        } else {
            wire::discarding(why(verb), || drop(said));
        }
        None
    }

    /// Whether a member may ask for this. One whose connection is gone may ask for nothing.
    pub(super) fn grants(&self, from: NodeId, verb: Verb) -> bool {
        from == self.id || self.link(from).is_some_and(|link| link.may(verb).is_ok())
    }

    /// Whether a member may have actors of this kind started here, when `more` is added to what it
    /// has here.
    pub(super) fn grants_start(
        &self,
        from: NodeId,
        kind: &str,
        more: [u64; 5],
    ) -> Result<(), Denied> {
        let amounts = || {
            let mut held = self.hosting.held_by(from.key);
            held.iter_mut().zip(more).for_each(|(held, more)| *held = held.saturating_add(more));
            held
        };
        let link = self.link(from).ok_or(Denied::Verb(Verb::Start))?;
        link.may_start(kind, amounts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> PeerKey {
        PeerKey([number; 32])
    }

    /// AK-1.
    #[test]
    fn a_member_that_asks_too_much_is_found_out_and_others_are_not_touched() {
        let (asked, start) = (Asked::default(), Instant::now());
        let at_once = (0..2 * ASKED_BURST).filter(|_| asked.allows(key(1), start)).count();
        assert_eq!(at_once, ASKED_BURST as usize);
        assert!(asked.allows(key(2), start));
        let second = Duration::from_secs(1);
        let later = (0..2 * ASKED_PER_SECOND).filter(|_| asked.allows(key(1), start + second));
        assert_eq!(later.count(), ASKED_PER_SECOND as usize);
        // 100,000 a second for ten seconds.
        let mut now = start + 60 * second;
        let flooded = (0..1_000_000).any(|_| {
            now += second / 100_000;
            !asked.allows(key(3), now)
        });
        assert!(flooded);
    }

    /// N-6.
    #[test]
    fn silent_members_are_forgotten() {
        let (asked, now) = (Asked::default(), Instant::now());
        for number in 0..10_000_u32 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&number.to_be_bytes());
            asked.allows(PeerKey(key), now + Duration::from_secs(number.into()));
        }
        assert!(asked.full_at().len() <= ASKERS_MAX + 1);
    }
}
