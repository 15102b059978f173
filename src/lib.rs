//! Mobula: typed actors, supervision and placement over a peer-to-peer cluster. No head node.

#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod gossip;
pub mod machine;
#[cfg(feature = "net")]
pub mod net;
pub mod node;
pub mod placement;
pub mod sim;

pub use mobula_actors as actors;
#[cfg(feature = "ractor")]
pub use mobula_actors::guest;
pub use mobula_actors::{kind, protocol};
pub use mobula_supervision as supervision;
pub use node::Node;

/// The examples of the README compile and run.
#[cfg(all(doctest, feature = "net"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// Everything most programs need: `use mobula::prelude::*;`
pub mod prelude {
    pub use mobula_actors::demand::{Demand, Place};
    pub use mobula_actors::id::{ActorId, Epoch, NodeId};
    pub use mobula_actors::{
        Actor, ActorRef, CallError, Context, Down, Exit, Fault, Group, Kind, Lost, Payload,
        Protocol, Rejected, Reply, ReplyStream, Run, SpawnError, Spec, StreamSender, Why, kind,
        protocol,
    };
    pub use mobula_supervision::{Strategy, Supervisor, SupervisorSpec, Tree};
    pub use serde::{Deserialize, Serialize};

    #[cfg(feature = "net")]
    pub use crate::net::{Allowlist, Identity, Membership};
    pub use crate::node::Node;
    #[cfg(feature = "net")]
    pub use crate::node::{Member, Standing};
    pub use crate::placement::Layout;
}
