//! Supervision trees: child specs, strategies, restart intensity and back-off.
//!
//! A supervisor starts its children in order, starts them again when they end, hands their
//! checkpoints on to their next runs, and stops them in reverse order. What to do is decided by
//! [`strategy::Plan`], which is pure; the supervisor, an ordinary actor, carries it out over a
//! [`Spawner`](mobula_actors::spawner::Spawner), here or on other nodes.
//!
//! ```
//! use std::sync::Arc;
//! use mobula_actors::{Actor, Context, Engine, Fault, Reply};
//! use mobula_supervision::{Strategy, Supervisor, supervise};
//!
//! struct Echo;
//! impl Actor for Echo {
//!     type Args = ();
//!     type Msg = Reply<&'static str>;
//!     async fn start(_: (), _: &mut Context<Self>) -> Result<Self, Fault> { Ok(Echo) }
//!     async fn handle(&mut self, reply: Self::Msg, _: &mut Context<Self>) -> Result<(), Fault> {
//!         reply.send("here");
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let engine = Engine::new(1, tokio::runtime::Handle::current());
//! let spec = Supervisor::spec(Strategy::OneForOne).child("echo", Echo::spec(()));
//! let tree = supervise(&engine, Arc::new(engine.clone()), spec).await.unwrap();
//! let echo = tree.child::<Reply<&'static str>>("echo").unwrap();
//! assert_eq!(echo.call(|reply| reply).await.unwrap(), "here");
//! tree.stop(std::time::Duration::from_secs(5)).await;
//! # }
//! ```

mod administration;
pub mod backoff;
pub mod checkpoint;
mod directory;
mod dynamic;
mod error;
mod event;
mod execution;
mod info;
pub mod intensity;
mod line;
mod member;
mod orphans;
mod outline;
mod print;
mod spec;
pub mod strategy;
mod supervising;
mod supervisor;
mod tree;

pub use error::{SpecError, SuperviseError, TreeError};
pub use event::Event;
pub use info::{ChildInfo, Counts};
pub use outline::{Below, Branch};
pub use spec::{Hook, SupervisorSpec};
pub use strategy::{AutoShutdown, ChildState, Strategy};
pub use supervisor::Supervisor;
pub use tree::{Tree, supervise};

/// Limits and defaults of this crate, by name.
pub mod limits {
    pub use crate::backoff::{BACKOFF_MAX_DEFAULT, BACKOFF_MIN_DEFAULT, JITTER, RESET_AFTER};
    pub use crate::checkpoint::CHECKPOINTS_KEPT;
    pub use crate::dynamic::DYNAMIC_CHILDREN_MAX;
    pub use crate::member::KILL_GRACE;
    pub use crate::spec::{
        INFRA_MAX, INFRA_PERIOD, INTENSITY_DEFAULT, PERIOD_DEFAULT, RESTARTS_WARN,
    };
    pub use crate::strategy::DEAD_NODES_MAX;
    pub use crate::supervisor::CHILDREN_MAX;
}
