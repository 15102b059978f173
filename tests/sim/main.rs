//! Simulated clusters. One file per subject; each test cites the invariant that it holds.
//!
//! A failure prints the command that repeats it. `MOBULA_SIM_SEED` replaces the first seed.

mod agreement;
mod death;
mod determinism;
mod dials;
mod hostile;
mod invariants;
mod life;
mod placement;
mod records;
mod sections;
mod starved;
mod support;
