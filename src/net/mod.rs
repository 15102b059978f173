//! The only room that knows libp2p: identity, admission, connections, lanes, frames.
//!
//! Nodes are named by their keys (`PeerKey`) and lives (`NodeId`). Two of them share at most one
//! `Link`: a control connection with the lanes `Control` and `Call`, and, once something is pushed
//! there, a connection for `Bulk` in each direction. Messages go from the sender's task through
//! the lane's queue to the connection's task and its socket; the swarm sees connections only.
//!
//! - **N-1** No frame of a peer is decoded unless its key is on the allowlist or it has shown a
//!   certificate that holds.
//! - **N-2** The first frame is the hello; no message is delivered before both sides joined.
//! - **N-3** At most one link per peer. `connected`, messages, `disconnected` of a life come in
//!   this order, and a later life begins after the earlier one is reported gone.
//! - **N-4** Messages of a lane arrive in the order of their pushes, each at most once.
//! - **N-5** A message comes back (`Refused`, or in `disconnected`) only if no byte of it was
//!   written.
//! - **N-6** Every queue, buffer and map that a peer or a sender can grow has a bound in `limits`.
//! - **N-7** A peer that breaks the protocol loses its connection and nothing else happens.
//! - **N-8** A link from which nothing comes for `heartbeat_timeout` ends, whatever TCP says.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod allowlist;
mod armor;
mod certificate;
mod clock;
mod cluster_key;
mod frame;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod gate;
mod grant;
mod handler;
mod hello;
mod hub;
mod identity;
mod lane;
mod limits;
mod link;
mod membership;
mod message;
mod muxer;
mod pace;
mod pending;
mod queue;
mod rate;
mod revocations;
mod rights;
mod start;
mod strikes;
#[cfg(test)]
pub(crate) mod tests;

use std::{ops::RangeInclusive, sync::Arc, time::Instant};

use mobula_actors::id::{NodeId, PeerKey};
use thiserror::Error;
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

use hub::{Command, Hub};
use link::End;

pub use allowlist::{Allowlist, AllowlistError, parse_key};
pub use certificate::{Certificate, CertificateError};
pub use cluster_key::{ClusterId, ClusterKey};
pub use frame::{Violation, may_skip};
pub use grant::Grant;
pub use hello::Terms;
pub use hub::Counts;
pub use identity::{Identity, IdentityError};
pub use limits::Limits;
pub use link::Link;
pub use membership::Membership;
pub use message::{Lane, Message, Refused, Why};
pub(crate) use rate::Refill;
pub use revocations::Revocations;
pub use rights::{Caps, Denied, Rights, Verb};

/// What a node needs to join the network.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NetConfig {
    /// The node's secret key.
    pub identity: Identity,
    /// Which life of the key this is; larger than any before.
    pub boot: u64,
    /// Who may connect and be dialed.
    pub membership: Membership,
    /// Where to listen, such as `/ip4/127.0.0.1/tcp/0`. `None` (the default): dial only; such a
    /// node can be sent no bulk unless it was dialed.
    pub listen: Option<String>,
    /// Where others reach it, such as `/ip4/10.0.0.7/tcp/7000`, if that is not where it listens:
    /// behind a forwarded port. `None` (the default): where it listens.
    pub announce: Option<String>,
    /// The bounds.
    pub limits: Limits,
    /// The features of what lies above this room, a bit each; [`Link::terms`] says which of them the
    /// peer has too. None by default.
    pub features: u64,
    /// It is no node and only looks: its links say so, and it is told nothing unasked. Give it a
    /// boot below that of every life of its key, whose place it then never takes.
    pub observer: bool,
    versions: RangeInclusive<u16>,
}

impl NetConfig {
    /// A node that does not listen, with the default bounds.
    #[must_use]
    pub fn new(identity: Identity, boot: u64, membership: impl Into<Membership>) -> Self {
        let membership = membership.into();
        let versions = hello::VERSIONS;
        Self {
            identity,
            boot,
            membership,
            listen: None,
            announce: None,
            limits: Limits::default(),
            features: 0,
            observer: false,
            versions,
        }
    }
}

/// What the network tells its owner. Called from connection tasks: it must not block.
pub trait Inbound: Send + Sync + 'static {
    /// A peer is admitted and both sides agreed on the connection. `address` is where it can be
    /// dialed, empty when it does not listen.
    fn connected(&self, node: NodeId, link: Link, address: String);

    /// The last connection of the link is gone. `bye` says that the end was announced, by either
    /// side. `unwritten` are the messages of which no byte was written, in order for each lane.
    fn disconnected(&self, node: NodeId, bye: bool, unwritten: Vec<Message>);

    /// A dial did not lead to a link. A dial that did is told by `connected` only.
    fn dial_outcome(&self, peer: PeerKey, outcome: DialOutcome);

    /// A message came, in order for each lane.
    fn message(&self, from: NodeId, link: &Link, message: Message);

    /// All that one read brought, for whoever makes more of that than of each by itself. What is
    /// not taken from `messages` is dropped.
    fn messages(&self, from: NodeId, link: &Link, messages: &mut dyn Iterator<Item = Message>) {
        messages.for_each(|message| self.message(from, link, message));
    }
}

/// How a dial failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialOutcome {
    /// Nobody listens there.
    Refused,
    /// No answer in time.
    TimedOut,
    /// The peer closed the connection before it admitted this node.
    Denied,
    /// Another key answered.
    WrongKey,
    /// Anything else, for a human.
    Other(String),
}

/// Why the network did not start or a dial was not tried. Nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetError {
    /// An open door without a list of guests.
    #[error("refusing to listen on {address} without members: give a certificate or an allowlist")]
    Open {
        /// Where it should have listened.
        address: String,
    },
    /// Not an address of the supported form.
    #[error("{address} is not of the form /ip4/HOST/tcp/PORT or /ip6/HOST/tcp/PORT")]
    Address {
        /// What was given, shortened.
        address: String,
    },
    /// Not the address of a node to join.
    #[error(
        "{address} is not of the form /ip4/HOST/tcp/PORT/p2p/KEY: take it from the node to join"
    )]
    Seed {
        /// What was given, shortened.
        address: String,
    },
    /// The socket could not be bound.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// Where it should have listened.
        address: String,
        /// In the words of the system.
        why: String,
    },
    /// The transport could not be set up.
    #[error("transport: {0}")]
    Transport(String),
    /// A bound of the configuration is outside of what the protocol can carry.
    #[error("{name} must be between 1 and {max}")]
    Limit {
        /// The field of `Limits`.
        name: &'static str,
        /// Its largest value.
        max: usize,
    },
    /// This node's certificate does not hold.
    #[error("refusing to start: {0}")]
    Certificate(#[from] CertificateError),
    /// The peer is not on the allowlist, or revoked.
    #[error("{0} is not on the allowlist, or revoked")]
    NotMember(PeerKey),
    /// The peer has broken the protocol too often.
    #[error("{0} broke the protocol too often and is kept out for a while")]
    Quarantined(PeerKey),
    /// A node has no link with itself.
    #[error("this is the node's own key")]
    Myself,
    /// Too many dials wait; try again.
    #[error("too many dials wait, try again later")]
    Busy,
}

/// Splits the address of a node to join, `/ip4/HOST/tcp/PORT/p2p/KEY`, into its key and the whole.
///
/// # Errors
/// [`NetError::Seed`] or [`NetError::Address`].
pub fn split_address(address: &str) -> Result<(PeerKey, String), NetError> {
    gate::split_address(address)
}

/// Whether an address, such as one to listen at, is of this host only.
#[must_use]
pub fn is_loopback(address: &str) -> bool {
    gate::is_loopback(address)
}

/// A running node of the network. Dropping it closes every connection without a goodbye.
#[derive(Debug)]
pub struct Net {
    hub: Arc<Hub>,
    addresses: Vec<String>,
    stop: oneshot::Sender<()>,
    swarm: JoinHandle<()>,
}

impl Net {
    /// Starts listening, on the tokio runtime of the caller. Returns when the addresses are known.
    ///
    /// # Errors
    /// When the configuration is unsafe or malformed or the socket cannot be bound.
    pub async fn start(config: NetConfig, inbound: Arc<dyn Inbound>) -> Result<Self, NetError> {
        start::start(config, inbound).await
    }

    /// This life of this node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.hub.me
    }

    /// Where the node can be dialed, with its key (`/ip4/…/tcp/…/p2p/…`): what it announces, then
    /// where it listens, reachable ones first.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.addresses.clone()
    }

    /// Dials a member, in the background: `Inbound` tells the outcome. Nothing happens when a
    /// link with it is open or a dial under way.
    ///
    /// # Errors
    /// When the dial is not tried at all.
    pub fn dial(&self, peer: PeerKey, address: &str) -> Result<(), NetError> {
        if peer == self.hub.me.key {
            return Err(NetError::Myself);
        }
        if !self.hub.membership.may_be_member(&peer) {
            return Err(NetError::NotMember(peer));
        }
        if self.hub.is_out(&peer) {
            return Err(NetError::Quarantined(peer));
        }
        gate::parse_address(address, &peer)?;
        if self.link(&peer).is_some() {
            return Ok(());
        }
        let dial = Command::Dial(peer, address.to_owned());
        self.hub.commands.try_send(dial).map_err(|_| NetError::Busy)
    }

    /// The open link with a node; one that only looks is none.
    #[must_use]
    pub fn link(&self, peer: &PeerKey) -> Option<Link> {
        self.hub.link(peer).filter(|link| link.is_open() && !link.terms().observer)
    }

    /// Ends the link with a peer. With `bye` what waits is written first, for `close_timeout` at
    /// most, and the peer is told; without, the connections are cut. `disconnected` follows.
    pub fn close(&self, peer: &PeerKey, bye: bool) {
        if let Some(link) = self.hub.link(peer) {
            link.close(if bye { End::Leave } else { End::Cut });
        }
    }

    /// Cuts the link with a peer whose messages break the protocol above this room, and counts the
    /// violation. What is said of it after the cut counts as the same offence: the third one within
    /// ten minutes puts it into quarantine.
    pub fn accuse(&self, peer: &PeerKey) {
        hub::count(&self.hub.counters.violations, 1);
        if self.hub.link(peer).is_some_and(|link| link.is_open()) {
            self.hub.strike(*peer);
        }
        self.close(peer, false);
    }

    /// Members that are not admitted for a while because they broke the protocol again and again.
    #[must_use]
    pub fn quarantined(&self) -> Vec<PeerKey> {
        self.hub.strikes().out(Instant::now())
    }

    /// The list of revocations that is known here, if there is one.
    #[must_use]
    pub fn revocations(&self) -> Option<Revocations> {
        self.hub.membership.known_revocations()
    }

    /// Takes a list of revocations that somebody sent, if the cluster signed it and it is newer than
    /// the known one; `true` if so. Whoever is on it loses its connections within a second.
    ///
    /// # Errors
    /// [`CertificateError`]; nothing has changed.
    pub fn learn_revocations(&self, signed: &[u8]) -> Result<bool, CertificateError> {
        self.hub.membership.learn(signed)
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.hub.counters.read()
    }

    /// Says goodbye to every peer, closes everything and returns when all links are reported
    /// disconnected. Takes little longer than `close_timeout` at most.
    pub async fn stop(self) {
        for link in self.hub.all_links() {
            link.close(End::Leave);
        }
        let farewell = self.hub.limits.close_timeout.saturating_mul(2);
        if timeout(farewell, self.hub.all_released()).await.is_err() {
            tracing::warn!("some peers did not let go in time");
        }
        drop(self.stop);
        if let Err(failed) = self.swarm.await {
            tracing::error!(%failed, "the swarm task failed");
        }
        self.hub.all_released().await;
    }
}
