//! How supervised children fare, with real actors. Names in brackets are those of the cases of
//! OTP's `supervisor_SUITE` that a test answers to.

mod administration;
mod auto_shutdown;
mod conformance;
mod dynamic;
mod group;
mod ignore;
mod mailbox;
mod nested;
mod node_loss;
mod plan;
mod probe;
mod restart;
mod specs;
mod start_stop;
mod storm;
