//! The states that a child's runs have handed over, for the runs after them.
//!
//! Invariants:
//! - **CP-1** A state of a run older than the newest one known is refused: that run has been
//!   replaced.
//! - **CP-2** Within a run, sequence numbers only grow.
//! - **CP-3** A run gets the newest state whose checksum still holds, or none.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};

use bytes::Bytes;
use mobula_actors::id::Epoch;
use mobula_actors::limits::CHECKPOINT_BYTES_MAX;
use thiserror::Error;

/// States kept per child: the newest, and one to fall back to.
pub const CHECKPOINTS_KEPT: usize = 2;

/// Why a state was not kept. The ones held before are unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// Its run has been replaced (CP-1).
    #[error("it comes from run {epoch}, and run {known} is known")]
    OldRun {
        /// Its run.
        epoch: Epoch,
        /// The newest run known.
        known: Epoch,
    },
    /// A later state of its run is held (CP-2).
    #[error("its number {sequence} does not follow {held}")]
    OutOfOrder {
        /// Its number.
        sequence: u64,
        /// The newest number held.
        held: u64,
    },
    /// Larger than a checkpoint may be.
    #[error("it has {bytes} bytes, more than the {CHECKPOINT_BYTES_MAX} allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// The last states of one child.
#[derive(Debug, Default)]
pub struct Checkpoints {
    known: Epoch,
    /// Newest first.
    held: VecDeque<Held>,
}

#[derive(Debug)]
struct Held {
    epoch: Epoch,
    sequence: u64,
    checksum: u64,
    state: Bytes,
}

impl Checkpoints {
    /// A run with this number is about to start: earlier ones hand over nothing any more.
    pub fn begin(&mut self, epoch: Epoch) {
        self.known = self.known.max(epoch);
    }

    /// Keeps a state whose [`checksum`] is known.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed.
    pub fn hold(
        &mut self,
        epoch: Epoch,
        sequence: u64,
        checksum: u64,
        state: Bytes,
    ) -> Result<(), Refused> {
        if state.len() > CHECKPOINT_BYTES_MAX {
            return Err(Refused::TooLarge { bytes: state.len() });
        }
        if epoch < self.known {
            return Err(Refused::OldRun { epoch, known: self.known });
        }
        if let Some(newest) = self.held.front().filter(|newest| newest.epoch == epoch)
            && sequence <= newest.sequence
        {
            return Err(Refused::OutOfOrder { sequence, held: newest.sequence });
        }
        self.begin(epoch);
        self.held.truncate(CHECKPOINTS_KEPT - 1);
        self.held.push_front(Held { epoch, sequence, checksum, state });
        Ok(())
    }

    /// The newest state that is still what was handed over.
    #[must_use]
    pub fn newest(&self) -> Option<Bytes> {
        let valid = self.held.iter().find(|held| checksum(&held.state) == held.checksum)?;
        Some(valid.state.clone())
    }
}

/// The checksum of a state. It is compared within one process only.
#[must_use]
pub fn checksum(state: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(state);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(checkpoints: &mut Checkpoints, epoch: u64, sequence: u64) -> Result<(), Refused> {
        let state = Bytes::from(format!("{epoch}.{sequence}"));
        checkpoints.hold(Epoch(epoch), sequence, checksum(&state), state)
    }

    #[test]
    fn the_newest_state_is_handed_on_over_runs() {
        let mut checkpoints = Checkpoints::default();
        assert_eq!(checkpoints.newest(), None);
        for (epoch, sequence) in [(1, 1), (1, 2), (2, 1)] {
            hold(&mut checkpoints, epoch, sequence).unwrap();
        }
        assert_eq!(checkpoints.newest().unwrap(), "2.1");
        assert_eq!(checkpoints.held.len(), CHECKPOINTS_KEPT);
    }

    #[test]
    fn a_replaced_run_and_an_old_number_are_refused() {
        let mut checkpoints = Checkpoints::default();
        hold(&mut checkpoints, 1, 5).unwrap();
        // CP-2
        let refused = Refused::OutOfOrder { sequence: 5, held: 5 };
        assert_eq!(hold(&mut checkpoints, 1, 5), Err(refused));
        // CP-1: from the moment the next run is ordered, before it has handed over anything.
        checkpoints.begin(Epoch(2));
        let refused = Refused::OldRun { epoch: Epoch(1), known: Epoch(2) };
        assert_eq!(hold(&mut checkpoints, 1, 6), Err(refused));
        assert_eq!(checkpoints.newest().unwrap(), "1.5");
    }

    #[test]
    fn a_damaged_state_is_passed_over_for_the_one_before() {
        let mut checkpoints = Checkpoints::default();
        hold(&mut checkpoints, 1, 1).unwrap();
        checkpoints.hold(Epoch(1), 2, 0, Bytes::from_static(b"damaged")).unwrap();
        assert_eq!(checkpoints.newest().unwrap(), "1.1"); // CP-3
        checkpoints.hold(Epoch(1), 3, 0, Bytes::from_static(b"damaged too")).unwrap();
        assert_eq!(checkpoints.newest(), None); // CP-3
    }

    #[test]
    fn a_state_over_the_bound_is_refused() {
        let state = Bytes::from(vec![0; CHECKPOINT_BYTES_MAX + 1]);
        let refused = Refused::TooLarge { bytes: state.len() };
        assert_eq!(Checkpoints::default().hold(Epoch(1), 1, 0, state), Err(refused));
    }
}
