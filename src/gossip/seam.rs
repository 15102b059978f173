//! What the driver and the machine say to each other.

use std::fmt::Debug;

use bytes::Bytes;
use mobula_actors::id::PeerKey;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Record, RecordError};
use crate::machine::Rng;

/// What names a node across restarts: its key in production, a number in simulation.
pub trait Peer: Copy + Ord + Debug + Serialize + DeserializeOwned + Send + 'static {
    /// Where it lies among all keys, which are spread evenly: a section is a range of places.
    fn place(self) -> u64;
}

impl Peer for PeerKey {
    /// The beginning of the key, which is a point on a curve and as good as drawn at random.
    fn place(self) -> u64 {
        self.0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }
}

impl Peer for u32 {
    fn place(self) -> u64 {
        Rng::new(self.into()).next_u64()
    }
}

/// What the driver tells [`Gossip`](super::Gossip).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input<P> {
    /// Time passed; see [`Machine::poll_timeout`](crate::machine::Machine::poll_timeout).
    Tick,
    /// An authenticated peer sent a frame. Ignored before its `Connected`.
    Frame {
        /// Who sent it.
        from: P,
        /// The encoded frame.
        bytes: Bytes,
    },
    /// A connection to a peer that may be a member is open, and this is who it says it is.
    Connected {
        /// Its key, proved.
        key: P,
        /// Its life.
        boot: u64,
        /// Where it can be dialled; ignored when longer than [`ADDRESS_BYTES_MAX`](super::ADDRESS_BYTES_MAX).
        address: String,
    },
    /// The last connection to this peer is gone.
    ConnectionClosed {
        /// Who was connected.
        key: P,
        /// It said `Bye`: no hint of death.
        bye: bool,
    },
    /// The dial asked for found nobody listening. Ignored when none was asked for.
    DialRefused {
        /// Who was dialled.
        key: P,
    },
    /// The dial asked for ended without an answer, or was not made.
    DialFailed {
        /// Who was dialled.
        key: P,
    },
    /// What this node offers now. Call it as often as it changes.
    LocalRecord(Record),
    /// This node goes. It tells its connected members and then falls silent.
    Leave,
}

/// What [`Gossip`](super::Gossip) wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output<P> {
    /// Send a frame over the open connection.
    Send {
        /// To whom.
        to: P,
        /// The encoded frame, at most [`FRAME_BYTES_MAX`](super::FRAME_BYTES_MAX).
        bytes: Bytes,
    },
    /// Try to connect, once, and tell how it ended.
    Dial {
        /// Whom.
        key: P,
        /// Where it said it can be dialled.
        address: String,
    },
    /// Something the node should know.
    Event(Event<P>),
}

/// What became known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<P> {
    /// A life of a member is there: new, or after a smaller boot of the key.
    Alive {
        /// Who.
        key: P,
        /// Which life.
        boot: u64,
        /// Where it can be dialled; empty when nobody knows.
        address: String,
    },
    /// Somebody accuses it of silence: place nothing new there.
    Suspect {
        /// Who.
        key: P,
        /// Which life.
        boot: u64,
    },
    /// Accusers enough; not yet dead.
    Unreachable {
        /// Who.
        key: P,
        /// Which life.
        boot: u64,
    },
    /// A suspected or unreachable member is alive again, by its own word or for want of accusers.
    Reachable {
        /// Who.
        key: P,
        /// Which life.
        boot: u64,
    },
    /// This life is over. Final.
    Dead {
        /// Who.
        key: P,
        /// Which life.
        boot: u64,
    },
    /// This life said good-bye. Final.
    Left {
        /// Who.
        key: P,
        /// Which life.
        boot: u64,
    },
    /// There is a new record of this node.
    RecordChanged {
        /// Whose.
        key: P,
        /// Of which life.
        boot: u64,
    },
    /// The others hold this node dead: build a new machine with a boot above this one.
    SelfDeclaredDead {
        /// The largest boot of this key that is dead.
        boot: u64,
    },
    /// A peer sent a frame that breaks the protocol; nothing else changed.
    Violation {
        /// Who sent it.
        from: P,
    },
    /// A newcomer was refused because `members_max` members are known.
    Full {
        /// Who was refused.
        key: P,
    },
    /// A local record was not taken.
    RecordRefused(RecordError),
}

impl<P> Output<P> {
    pub(super) fn is_own_death(&self) -> bool {
        matches!(self, Self::Event(Event::SelfDeclaredDead { .. }))
    }
}
