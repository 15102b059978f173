//! Where an actor goes: the chooser's guess from the view, and the target's verdict.
//!
//! The chooser owns an [`Attempt`] per placement: it filters the view, samples two nodes, asks the
//! better one, whether or not it shows room, and learns from a refusal. The target owns a
//! [`Ledger`], which admits or refuses with
//! fresh figures. Why so: least-loaded-of-the-view herds as soon as the view is older than the time
//! between two starts; two samples and admission at the target do not. A [`Gang`] is placed as a
//! whole, by the same view and the same books.
//!
//! Source: M. Mitzenmacher, "How Useful Is Old Information?", 2000 (two choices, stale loads).
//!
//! By default actors spread by the largest dimension; those that pack take the fullest of some more
//! nodes that are drawn.
//!
//! Invariants:
//! - **P-1** In every dimension, running + reserved never exceeds a ledger's capacity.
//! - **P-2** A reservation is idempotent by its id: a repeat gets the first verdict, debits once.
//! - **P-3** Every reservation ends: started, cancelled or expired.
//! - **P-4** The view is a hint. A wrong one costs a resample or a wait, never P-1.
//! - **P-5** Demand that no node could ever hold fails at once and says what is missing; every
//!   other attempt ends by its deadline.
//! - **P-6** A node that refused is not asked again on the same figures.
//! - **P-7** Same inputs and same seed, same choices; nothing here panics.
//! - **P-8** A gang holds nothing once it has failed, and all of it or nothing once it has ended.
//! - **P-9** A gang that waits holds nothing; every gang ends by its deadline.

mod candidate;
mod capacity;
mod chooser;
mod debits;
mod dimension;
mod filter;
mod gang;
pub mod host;
mod known;
mod ledger;
mod pending;
mod pick;
mod sample;
mod score;
#[cfg(test)]
mod tests;

pub use candidate::{Candidate, Request, Where};
pub use capacity::{ACTORS_DEFAULT, Capacity, Device};
pub use chooser::{Attempt, BACKOFF_MAX, BACKOFF_MIN, PLACED_WITHIN, RESAMPLES_MAX, Step};
pub use debits::{DEBIT_TTL, DEBITS_MAX, Debits, Ticket};
pub use dimension::{Dimension, Shortage};
pub use filter::{Missing, NoCapacity, Offer, Unfit, check, filter};
pub use gang::{GANG_BACKOFF_MAX, GANG_BACKOFF_MIN, GANG_MEMBERS_MAX, Gang, GangStep, Layout};
pub use ledger::{
    Ledger, NotStarted, RESERVATION_TTL, RESERVATIONS_MAX, Refusal, VERDICTS_MAX, Verdict,
};
pub use pending::{IMPOSSIBLE_FOR, IMPOSSIBLE_MAX, PENDING_MAX, Pending, PendingDemand, Waiting};
pub use pick::PREFERENCE;
pub use sample::sample;
pub use score::{AGE_DOUBTFUL, AGE_EXCLUDED, NEARLY_FULL, score};
