//! What the actors of the pipeline say to each other.
//!
//! ```text
//!            halves              vectors            windows
//!   source ---------> partitions ---------> scorer ---------> sink
//!     ^ ^ ^  resume, wait |                  |   ^  reached    |
//!     | | +---------------+                  |   +-------------+
//!     | +------------ replay, covered -------+                 |
//!     +---------------------- reached -------------------------+
//! ```
//!
//! An event has two halves: the giver's and the receiver's. Halves are numbered `2 × index` and
//! `2 × index + 1`; every partition gets its halves in that order.

use mobula::prelude::*;

use crate::event::Event;
use crate::features::{Giver, Receiver};

/// To the source, which reads the input and can read it again from anywhere.
#[derive(Serialize, Deserialize)]
pub enum SourceMsg {
    /// A partition has applied its halves below `next` and wants those from there on.
    Resume { partition: u16, next: u64 },
    /// A partition takes no more halves until it says `Resume`: its log is full.
    Wait { partition: u16 },
    /// The scorer's checkpoint holds all events below `index`.
    Covered { index: u64 },
    /// The scorer wants the vectors of all events from `index` on.
    Replay { index: u64 },
    /// The run `epoch` of an actor has processed its first event.
    Working { actor: String, epoch: Epoch },
    /// The sink has counted all events below `index`. Now and then it says with which latency.
    Reached { index: u64, p99_us: u64 },
    /// Everybody is there: begin.
    #[serde(skip)]
    Begin(Vec<ActorRef<PartitionMsg>>),
    /// Send no event from `index` on.
    #[serde(skip)]
    HoldAt(u64),
    /// How many halves were sent more than once?
    #[serde(skip)]
    Replayed(Reply<u64>),
    #[serde(skip)]
    Tick,
}
protocol!(SourceMsg = "fraud.source/1");

/// To a partition, which keeps the histories of its traders.
#[derive(Serialize, Deserialize)]
pub enum PartitionMsg {
    /// One half of an event.
    Half {
        half: u64,
        /// The number below which the partition has been sent everything before; `None` if the
        /// source does not know what this partition has.
        after: Option<u64>,
        event: Event,
        /// When the source sent the event first, in microseconds since it began.
        sent_us: u64,
    },
    /// The scorer's checkpoint holds all events below `index`.
    Covered { index: u64 },
    /// How many halves have been applied?
    Applied(Reply<u64>),
}
protocol!(PartitionMsg = "fraud.partition/1");

/// The features of one half.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Side {
    Giver(Giver),
    Receiver(Receiver),
}

/// One half of an event as the model sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vector {
    pub half: u64,
    pub side: Side,
    pub label: bool,
    pub sent_us: u64,
}

/// To the scorer, which has the model.
#[derive(Serialize, Deserialize)]
pub enum ScorerMsg {
    Vector(Vector),
    /// The sink has all verdicts below `index`; with `again` it missed those from there on.
    Reached {
        index: u64,
        again: bool,
    },
    #[serde(skip)]
    Stored(u64),
    #[serde(skip)]
    Look,
}
protocol!(ScorerMsg = "fraud.scorer/1");

/// The verdicts of one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// The index of the first event.
    pub first: u64,
    /// Prediction, label, and when the source sent the event.
    pub verdicts: Vec<(f64, bool, u64)>,
}

/// To the sink, which counts.
#[derive(Serialize, Deserialize)]
pub enum SinkMsg {
    Window(Window),
    /// Whose windows they are.
    #[serde(skip)]
    Begin(ActorRef<ScorerMsg>),
    /// Answers when all events are counted.
    #[serde(skip)]
    Finish(Reply<Counted>),
}
protocol!(SinkMsg = "fraud.sink/1");

/// What the sink found.
#[derive(Clone, Debug)]
pub struct Counted {
    pub events: u64,
    pub auc: Option<f64>,
    pub digest: String,
    pub latency: hdrhistogram::Histogram<u64>,
}

/// The half of an event that belongs to its giver, and the one that belongs to its receiver.
pub fn halves(index: u64) -> [u64; 2] {
    [2 * index, 2 * index + 1]
}

/// Which partition keeps a trader.
pub fn owner(trader: u64, partitions: u16) -> u16 {
    // A multiplicative hash: ids are dense in some inputs and sparse in others.
    let hash = trader.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    u16::try_from(hash % u64::from(partitions)).unwrap_or(0)
}

/// The trader of a half.
pub fn trader(event: &Event, half: u64) -> u64 {
    if half.is_multiple_of(2) { event.source } else { event.target }
}
