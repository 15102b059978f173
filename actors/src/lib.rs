//! Actors on one node: mailboxes, references, calls, monitors and the engine that runs them.
//!
//! Everything here is true on one node. There is no network and no device; what leaves the node
//! goes through a [`Carrier`](carrier::Carrier), and who starts children through a
//! [`Spawner`](spawner::Spawner).
//!
//! ```
//! use mobula_actors::{Actor, Context, Engine, Fault, Reply};
//!
//! enum CounterMsg { Add(i64), Get(Reply<i64>) }
//! struct Counter(i64);
//!
//! impl Actor for Counter {
//!     type Args = i64;
//!     type Msg = CounterMsg;
//!     async fn start(n: i64, _: &mut Context<Self>) -> Result<Self, Fault> { Ok(Counter(n)) }
//!     async fn handle(&mut self, msg: CounterMsg, _: &mut Context<Self>) -> Result<(), Fault> {
//!         match msg { CounterMsg::Add(n) => self.0 += n, CounterMsg::Get(reply) => reply.send(self.0) }
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let engine = Engine::new(1, tokio::runtime::Handle::current());
//! let counter = engine.spawn(Counter::spec(1)).await.unwrap();
//! counter.cast(CounterMsg::Add(5)).unwrap();
//! assert_eq!(counter.call(CounterMsg::Get).await.unwrap(), 6);
//! # }
//! ```

mod actor;
mod alarm;
mod attach;
mod call;
pub mod carrier;
mod cell;
mod checkpoint;
mod clock;
mod context;
mod deadline;
mod delivery;
pub mod demand;
mod engine;
mod envelope;
mod error;
mod exit;
mod family;
mod fill;
mod group;
mod guarded;
#[cfg(feature = "ractor")]
pub mod guest;
pub mod id;
mod inspect;
pub mod mailbox;
pub mod observe;
mod port;
mod reference;
mod reply;
mod run;
mod scheduler;
mod send;
pub mod spawner;
mod stream;
mod threads;
mod timer;
mod wakes;
mod watchdog;
pub mod wire;

pub use actor::{
    Actor, Again, Kind, OnPartition, OnRestart, Once, Restart, Settings, Shutdown, Spec,
};
pub use call::Call;
pub use cell::Control;
pub use context::Context;
pub use engine::Engine;
pub use error::{CallError, Lost, NameError, Rejected, SpawnError, Why};
pub use exit::{Down, Exit, Fault};
pub use fill::Fill;
pub use group::{
    Balance, ByKey, CallAll, Group, GroupChange, GroupError, Herald, LeastLoaded, Members, Replica,
    RoundRobin, Spread,
};
pub use inspect::{Actors, Inspection, RunState};
pub use reference::{ActorRef, DEADLINE_DEFAULT, DEADLINE_MAX};
pub use reply::Reply;
pub use send::SendMessage;
pub use stream::{ReplyStream, SendItem, StreamError, StreamSender, Unsent};
pub use threads::Run;
pub use timer::Timer;
pub use wakes::together;
pub use watchdog::Stuck;
pub use wire::{Payload, Protocol, Wire};

/// Limits and defaults of this crate, by name.
pub mod limits {
    pub use crate::actor::{MAILBOX_MESSAGES_DEFAULT, SHUTDOWN_DEFAULT, START_TIMEOUT_DEFAULT};
    pub use crate::checkpoint::{CHECKPOINT_BYTES_MAX, CHECKPOINT_INTERVAL, CHECKPOINT_MESSAGES};
    pub use crate::context::OWED_MESSAGES_MAX;
    pub use crate::demand::{COUNTERS_MAX, LABELS_MAX, NAME_BYTES_MAX};
    pub use crate::group::GROUP_MEMBERS_MAX;
    pub use crate::observe::SPANS_MAX;
    pub use crate::port::PORT_MESSAGES;
    pub use crate::reference::{DEADLINE_DEFAULT, DEADLINE_MAX};
    pub use crate::run::MESSAGES_PER_TURN;
    pub use crate::stream::STREAM_ITEMS;
    pub use crate::timer::PERIOD_MIN;
    pub use crate::watchdog::HANDLER_LIMIT_MIN;
    pub use crate::wire::{PAYLOADS_PER_MESSAGE_MAX, REPLIES_PER_MESSAGE_MAX, SHAPE_BYTES_MAX};
}
