//! How supervised children fare, with real actors. The cases of OTP's `supervisor_SUITE` stand in
//! `conformance`, under their names there.

mod administration;
mod auto_shutdown;
mod bad_input;
mod conformance;
mod ignore;
mod mailbox;
mod matrix;
mod nested;
mod node_loss;
mod orphans;
mod plan;
mod print;
mod probe;
mod restart;
mod start_stop;
mod storm;
