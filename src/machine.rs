//! The seam between decisions and the world.
//!
//! `gossip`, `placement` and the supervision strategy decide; they never read a clock, open a
//! socket, start a task or draw from thread-local randomness. A [`Machine`] is given the time and
//! an input and answers with what should happen. `node/` drives machines over libp2p and tokio,
//! `sim/` drives the same code over a heap of events.
//!
//! Invariants:
//! - **C-1** A machine is total: any input, in any order, at any time, never panics.
//! - **C-2** Same inputs and same seed, same outputs: collections are ordered, randomness comes
//!   from a [`Rng`] owned by the machine.

use serde::{Deserialize, Serialize};

/// Microseconds since some start that the caller chose; only the caller advances it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Time(pub u64);

impl Time {
    /// The time `duration` later, saturating.
    #[must_use]
    pub fn after(self, duration: std::time::Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// SplitMix64: small, seedable, good enough for sampling and jitter; never for secrets.
///
/// Source: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator that depends on nothing but `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; zero when `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Multiply-shift keeps the bias below 2^-64 * bound, far under what sampling can notice.
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        (wide >> 64) as u64
    }

    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A decision-maker that the caller steps.
pub trait Machine {
    /// What the world tells it.
    type Input;
    /// What it wants done or known.
    type Output;

    /// Takes one input at `now` and appends what follows from it to `out`. Never panics.
    fn handle(&mut self, now: Time, input: Self::Input, out: &mut Vec<Self::Output>);

    /// When it wants to be stepped next, if nothing else happens.
    fn poll_timeout(&self) -> Option<Time>;
}
