//! The real supervisor beside a reference model: random trees, faults, stops and orders, and every
//! start, every end, their order and every answer compared.
//!
//! Time is paused: it moves only when nothing is left to do, so each step is over when a moment has
//! passed.

mod cases;
mod real;
mod reference;

use proptest::prelude::*;

const CASES: u32 = 10_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..Default::default() })]
    // S-1 to S-7, SG-1 to SG-3, DY-1, DY-2, SV-2
    #[test]
    fn the_supervisor_does_what_the_model_does(spec in cases::spec(2), steps in cases::steps()) {
        real::compare(&spec, steps)?;
    }
}
