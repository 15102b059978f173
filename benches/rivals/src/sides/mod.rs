//! The sides of the comparison, one file each.

pub(crate) mod actix;
pub(crate) mod erlang;
pub(crate) mod kameo;
pub(crate) mod mobula;
pub(crate) mod ractor;
pub(crate) mod tokio;
