//! What a node said when it refused, for as long as the view shows nothing else.

use std::fmt::Debug;

use super::{candidate::Candidate, capacity::Capacity};

/// The figures of a refusal, which are fresher than the record that the node was asked by.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// Of that record.
    pub(super) version: u64,
    pub(super) free: Capacity,
}

impl Known {
    /// Whether `candidate` shows nothing newer: its record is not, or has the same figures (P-6).
    pub(super) fn holds<N: Copy + Ord + Debug>(&self, candidate: &Candidate<'_, N>) -> bool {
        candidate.version <= self.version || candidate.free == self.free
    }
}
