//! What this chooser has just given away, until the view shows it.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use mobula_actors::demand::Demand;

use super::{candidate::Candidate, capacity::Capacity};
use crate::machine::Time;

/// How long a debit counts when no newer record arrives: as long as the reservation behind it.
pub const DEBIT_TTL: Duration = Duration::from_secs(5);

/// How many debits are kept; beyond it further ones are not counted, since they are hints.
pub const DEBITS_MAX: usize = 4_096;

/// Names one debit, so that a refusal can take it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// The debits of one chooser, shared by all its attempts.
///
/// A debit counts against its node until a record newer than the one it was made on is in the view,
/// or for [`DEBIT_TTL`].
#[derive(Clone, Debug)]
pub struct Debits<N> {
    next: u64,
    open: BTreeMap<(N, u64), Debit>,
}

#[derive(Clone, Debug)]
struct Debit {
    demand: Demand,
    version: u64,
    until: Time,
}

impl<N: Copy + Ord + Debug> Default for Debits<N> {
    fn default() -> Self {
        Self { next: 0, open: BTreeMap::new() }
    }
}

impl<N: Copy + Ord + Debug> Debits<N> {
    /// Counts `demand` against `node`, whose record had `version`.
    pub fn add(&mut self, now: Time, node: N, version: u64, demand: &Demand) -> Ticket {
        self.expire(now);
        self.next = self.next.saturating_add(1);
        if self.open.len() < DEBITS_MAX {
            let debit = Debit { demand: demand.clone(), version, until: now.after(DEBIT_TTL) };
            self.open.insert((node, self.next), debit);
        }
        Ticket(self.next)
    }

    /// Takes a debit back, for a node that refused.
    pub fn cancel(&mut self, node: N, ticket: Ticket) {
        self.open.remove(&(node, ticket.0));
    }

    /// Forgets what has ended by `now`.
    pub fn expire(&mut self, now: Time) {
        self.open.retain(|_, debit| debit.until > now);
    }

    /// What `candidate` has free, less what was given away since its record was written.
    #[must_use]
    pub fn free(&self, now: Time, candidate: &Candidate<'_, N>) -> Capacity {
        self.open
            .range((candidate.node, 0)..=(candidate.node, u64::MAX))
            .filter(|(_, debit)| debit.version >= candidate.version && debit.until > now)
            .fold(candidate.free.clone(), |free, (_, debit)| free.saturating_sub(&debit.demand))
    }
}
