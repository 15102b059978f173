//! The cases of OTP's `supervisor_SUITE`, by their names there; `names` has the list. Where OTP
//! expects what our semantics change on purpose, the test says what it expects instead.

mod administration;
mod auto_shutdown;
mod names;
mod restart_loop;
mod scale;
mod specs;
mod start;
mod stop;
mod strategies;
mod trees;
mod types;
