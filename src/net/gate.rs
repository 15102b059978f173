//! The door: who may connect, how many at once, and how a dial ended.
//!
//! A connection passes three checks. Before any cryptography: where it comes from did not knock
//! too often, and fewer than `pending_max` inbound ones are on their way. After the keys are proved and before one of our protocols is offered:
//! the key may be a member's and its connections are not too many. In the handler: the
//! certificate, unless members are on a list, and the hello.

use std::{
    collections::{BTreeMap, VecDeque},
    error::Error,
    io,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    multiaddr::Protocol,
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour,
        ToSwarm,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use mobula_actors::id::PeerKey;
use tokio::sync::mpsc;

use super::{
    DialOutcome, NetError,
    handler::{LaneHandler, Origin, Tell},
    hello::Class,
    hub::{Command, Hub, count},
    identity::{peer_id, peer_key},
    pending::{Pending, TooMany},
};

pub(super) struct Gate {
    hub: Arc<Hub>,
    commands: mpsc::Receiver<Command>,
    /// Inbound connections whose peers are not admitted yet.
    pending: Pending,
    /// Established connections of each peer.
    held: BTreeMap<PeerKey, usize>,
    dials: BTreeMap<ConnectionId, (PeerKey, Class, String)>,
    out: VecDeque<ToSwarm<std::convert::Infallible, std::convert::Infallible>>,
}

#[derive(Debug, thiserror::Error)]
enum Denied {
    #[error("too many connections")]
    Crowded,
    #[error("too many connections from there lately")]
    Hurried,
    #[error("the key is not on the allowlist, or revoked")]
    NotMember,
    #[error("the member broke the protocol too often")]
    Quarantined,
}

impl Gate {
    pub(super) fn new(hub: Arc<Hub>, commands: mpsc::Receiver<Command>) -> Self {
        let pending = Pending::new(hub.limits.pending_max);
        Self {
            hub,
            commands,
            pending,
            held: BTreeMap::new(),
            dials: BTreeMap::new(),
            out: VecDeque::new(),
        }
    }

    fn admit(&self, peer: &PeerId) -> Result<PeerKey, ConnectionDenied> {
        let member = peer_key(peer).filter(|key| self.hub.membership.may_be_member(key));
        let Some(key) = member else {
            count(&self.hub.counters.denied, 1);
            return Err(ConnectionDenied::new(Denied::NotMember));
        };
        if self.hub.is_out(&key) {
            count(&self.hub.counters.denied, 1);
            return Err(ConnectionDenied::new(Denied::Quarantined));
        }
        let held = self.held.get(&key).copied().unwrap_or(0);
        if held >= self.hub.limits.connections_per_peer_max {
            return Err(self.crowded());
        }
        Ok(key)
    }

    fn crowded(&self) -> ConnectionDenied {
        count(&self.hub.counters.crowded, 1);
        ConnectionDenied::new(Denied::Crowded)
    }

    fn command(&mut self, command: Command) {
        let (key, class, address) = match command {
            Command::Dial(key, address) => (key, Class::Control, address),
            Command::DialBulk(key, address) => (key, Class::Bulk, address),
        };
        let under_way =
            |(other, kind, _): &(PeerKey, Class, String)| (*other, *kind) == (key, class);
        if self.dials.values().any(under_way) {
            return; // Its outcome is the answer to this one too.
        }
        let (Some(peer), Ok(to)) = (peer_id(&key), parse_address(&address, &key)) else {
            return self.dial_ended(key, class, DialOutcome::Other("not an address".into()));
        };
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(vec![to])
            .allocate_new_port()
            .build();
        self.dials.insert(opts.connection_id(), (key, class, address));
        self.out.push_back(ToSwarm::Dial { opts });
    }

    fn dial_ended(&self, key: PeerKey, class: Class, outcome: DialOutcome) {
        match class {
            Class::Control | Class::Observer => self.hub.inbound.dial_outcome(key, outcome),
            Class::Bulk => {
                if let Some(link) = self.hub.link(&key) {
                    link.bulk_failed();
                }
            }
        }
    }

    fn closed(&mut self, peer: &PeerId) {
        let Some(key) = peer_key(peer) else { return };
        if let Some(held) = self.held.get_mut(&key) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                self.held.remove(&key);
            }
        }
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = LaneHandler;
    type ToSwarm = std::convert::Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        from: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let from = host(from).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        self.pending.enter(id, from, Instant::now()).map_err(|why| match why {
            TooMany::Waiting => self.crowded(),
            TooMany::Knocks => {
                count(&self.hub.counters.throttled, 1);
                ConnectionDenied::new(Denied::Hurried)
            }
        })
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<LaneHandler, ConnectionDenied> {
        let key = self.admit(&peer)?;
        if !self.hub.membership.by_certificate() {
            self.pending.admitted(id, Instant::now());
        }
        Ok(LaneHandler::new(Arc::clone(&self.hub), key, Origin::Accepted))
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<LaneHandler, ConnectionDenied> {
        let key = self.admit(&peer)?;
        let dial = self.dials.remove(&id);
        let (_, class, address) = dial.ok_or_else(|| ConnectionDenied::new(Denied::NotMember))?;
        Ok(LaneHandler::new(Arc::clone(&self.hub), key, Origin::Dialed { class, address }))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                if let Some(key) = peer_key(&established.peer_id) {
                    let held = self.held.entry(key).or_default();
                    *held = held.saturating_add(1);
                }
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.pending.leave(closed.connection_id);
                self.closed(&closed.peer_id);
            }
            FromSwarm::ListenFailure(failed) => {
                self.pending.leave(failed.connection_id);
            }
            FromSwarm::DialFailure(failed) => {
                if let Some((key, class, _)) = self.dials.remove(&failed.connection_id) {
                    self.dial_ended(key, class, outcome(failed.error));
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer_id: PeerId, id: ConnectionId, tell: Tell) {
        match tell {
            Tell::Admitted => {
                self.pending.admitted(id, Instant::now());
            }
            Tell::Close => {
                let connection = CloseConnection::One(id);
                self.out.push_back(ToSwarm::CloseConnection { peer_id, connection });
            }
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, std::convert::Infallible>> {
        loop {
            if let Some(action) = self.out.pop_front() {
                return Poll::Ready(action);
            }
            match self.commands.poll_recv(cx) {
                Poll::Ready(Some(command)) => self.command(command),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// An address of the forms `/ip4/…/tcp/…` and `/ip6/…/tcp/…`, with or without the peer's name.
pub(super) fn parse_address(text: &str, key: &PeerKey) -> Result<Multiaddr, NetError> {
    let malformed = || NetError::Address { address: text.chars().take(64).collect() };
    let address: Multiaddr = text.parse().map_err(|_| malformed())?;
    let parts: Vec<Protocol<'_>> = address.iter().collect();
    match parts.as_slice() {
        [Protocol::Ip4(_) | Protocol::Ip6(_), Protocol::Tcp(_)] => Ok(address),
        [Protocol::Ip4(_) | Protocol::Ip6(_), Protocol::Tcp(_), Protocol::P2p(name)]
            if peer_key(name) == Some(*key) =>
        {
            Ok(address)
        }
        _ => Err(malformed()),
    }
}

/// The IP address at the front.
pub(super) fn host(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next() {
        Some(Protocol::Ip4(host)) => Some(host.into()),
        Some(Protocol::Ip6(host)) => Some(host.into()),
        _ => None,
    }
}

/// Whether it is an address of this host only.
pub(super) fn is_loopback(address: &str) -> bool {
    let parsed = address.parse::<Multiaddr>().ok();
    parsed.as_ref().and_then(host).is_some_and(|host| host.is_loopback())
}

/// Splits an address with a key (`/ip4/…/tcp/…/p2p/…`) into the key and the whole.
pub(super) fn split_address(text: &str) -> Result<(PeerKey, String), NetError> {
    let malformed = || NetError::Seed { address: text.chars().take(64).collect() };
    let address: Multiaddr = text.parse().map_err(|_| malformed())?;
    let key = match address.iter().last() {
        Some(Protocol::P2p(name)) => peer_key(&name).ok_or_else(malformed)?,
        _ => return Err(malformed()),
    };
    parse_address(text, &key).map(|_| (key, text.to_owned()))
}

fn outcome(error: &DialError) -> DialOutcome {
    match error {
        DialError::WrongPeerId { .. } | DialError::LocalPeerId { .. } => DialOutcome::WrongKey,
        DialError::Denied { .. } => DialOutcome::Denied,
        DialError::Transport(attempts) => {
            let kinds = || attempts.iter().filter_map(|(_, error)| io_kind(error));
            if kinds().any(|kind| kind == io::ErrorKind::ConnectionRefused) {
                DialOutcome::Refused
            } else if kinds().any(|kind| kind == io::ErrorKind::TimedOut) {
                DialOutcome::TimedOut
            } else {
                DialOutcome::Other(error.to_string())
            }
        }
        other => DialOutcome::Other(other.to_string()),
    }
}

/// The kind of the innermost I/O error. `io::Error::source` skips the error that it wraps.
fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut found = None;
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>();
        if let Some(io) = io.filter(|io| io.kind() != io::ErrorKind::Other) {
            found = Some(io.kind());
        }
        let wrapped = io.and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    found
}
