//! Puts libp2p together: TCP, noise, yamux and a swarm with the gate.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, Swarm, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, timeout::TransportTimeout, timeout::TransportTimeoutError},
        upgrade,
    },
    multiaddr::Protocol,
    noise, swarm,
    swarm::SwarmEvent,
    tcp,
};
use mobula_actors::id::NodeId;
use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    Identity, Inbound, Membership, Net, NetConfig, NetError,
    gate::{Gate, host, is_loopback, parse_address},
    hub::{Counters, Hub},
    limits::{COMMANDS_MAX, Limits, NEGOTIATING_STREAMS_MAX, REREAD_INTERVAL},
    muxer::Yamux,
    pace::Paced,
};

/// Largest `message_bytes_max` and `bulk_message_bytes_max`.
const MESSAGE_BYTES_LIMIT: usize = 16 << 20;
const BULK_MESSAGE_BYTES_LIMIT: usize = (16 << 20) + (64 << 10);

pub(super) async fn start(config: NetConfig, inbound: Arc<dyn Inbound>) -> Result<Net, NetError> {
    check(&config)?;
    config.membership.check_own(&config.identity.peer_key())?;
    let announced = config.announce.as_deref();
    let announced = announced.map(|address| announce(address, &config.identity)).transpose()?;
    let keypair = config.identity.keypair();
    let me = keypair.public().to_peer_id();
    let transport = transport(&keypair, &config.limits)?;
    let (commands, queue) = mpsc::channel(COMMANDS_MAX);
    let hub = Arc::new(Hub {
        me: NodeId { key: config.identity.peer_key(), boot: config.boot },
        observer: config.observer,
        versions: config.versions,
        features: config.features,
        address: OnceLock::new(),
        limits: config.limits,
        membership: config.membership,
        inbound,
        commands,
        counters: Counters::default(),
        links: std::sync::Mutex::default(),
        strikes: std::sync::Mutex::default(),
        released: Notify::new(),
    });
    // Zero: a connection whose handler is done closes in the same poll.
    let settings = swarm::Config::with_tokio_executor()
        .with_max_negotiating_inbound_streams(NEGOTIATING_STREAMS_MAX)
        .with_idle_connection_timeout(Duration::ZERO);
    let gate = Gate::new(Arc::clone(&hub), queue);
    let mut swarm = Swarm::new(transport, gate, me, settings);
    let mut addresses = match &config.listen {
        Some(address) => listen(&mut swarm, address).await?,
        None => Vec::new(),
    };
    addresses.splice(..0, announced);
    if let Some(first) = addresses.first() {
        let _ = hub.address.set(first.clone());
    }
    let (stop, stopped) = oneshot::channel();
    let membership = hub.membership.clone();
    let swarm = tokio::spawn(async move {
        tokio::select! {
            () = drive(swarm, stopped) => {}
            () = reread(membership) => {}
        }
    });
    Ok(Net { hub, addresses, stop, swarm })
}

async fn drive(mut swarm: Swarm<Gate>, mut stopped: oneshot::Receiver<()>) {
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            event = swarm.select_next_some() => tracing::trace!(?event, "swarm"),
        }
    }
}

/// Keeps up with the files of the membership, if it has any.
async fn reread(membership: Membership) {
    let mut interval = tokio::time::interval(REREAD_INTERVAL);
    let mut failed = false;
    while membership.has_files() {
        interval.tick().await;
        let again = membership.clone();
        let read = tokio::task::spawn_blocking(move || again.reload()).await;
        match read {
            Ok(Ok(new)) => {
                if new {
                    tracing::info!("membership: what is new in the files holds from now on");
                }
                failed = false;
            }
            // Once for each change that cannot be read, not once a second.
            Ok(Err(why)) if !failed => {
                tracing::warn!(%why, "membership: what was known before holds on");
                failed = true;
            }
            _ => {}
        }
    }
    std::future::pending().await
}

fn check(config: &NetConfig) -> Result<(), NetError> {
    let within = |name, value: usize, max| {
        if (1..=max).contains(&value) { Ok(()) } else { Err(NetError::Limit { name, max }) }
    };
    let limits = &config.limits;
    let beat = usize::try_from(limits.heartbeat.as_millis()).unwrap_or(usize::MAX);
    let bulk = limits.bulk_message_bytes_max;
    within("message_bytes_max", limits.message_bytes_max, MESSAGE_BYTES_LIMIT)?;
    within("bulk_message_bytes_max", bulk, BULK_MESSAGE_BYTES_LIMIT)?;
    within("lane_bytes_max", limits.lane_bytes_max, 1 << 30)?;
    within("lane_messages_max", limits.lane_messages_max, 1 << 20)?;
    within("pending_max", limits.pending_max, 1024)?;
    within("connections_per_peer_max", limits.connections_per_peer_max, 16)?;
    within("heartbeat in ms", beat, 60_000)?;
    match &config.listen {
        Some(address) if config.membership.is_empty() && !is_loopback(address) => {
            Err(NetError::Open { address: address.clone() })
        }
        _ => Ok(()),
    }
}

/// TCP without Nagle, noise, yamux. All errors are I/O errors, timeouts of kind `TimedOut`.
fn transport(
    keypair: &libp2p::identity::Keypair,
    limits: &Limits,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetError> {
    let noise =
        noise::Config::new(keypair).map_err(|failed| NetError::Transport(failed.to_string()))?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let tcp = TransportTimeout::with_outgoing_timeout(tcp, limits.dial_timeout)
        .map_err(|error| SocketError(timed_out(error)))
        .map(|socket, _| Paced::new(socket));
    let secure = tcp.upgrade(upgrade::Version::V1).authenticate(noise).multiplex(Yamux).boxed();
    Ok(TransportTimeout::new(secure, limits.handshake_timeout).map_err(timed_out).boxed())
}

/// Keeps the system's error findable: the layers above forward `source` and hide the error itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct SocketError(#[source] io::Error);

fn timed_out(error: TransportTimeoutError<io::Error>) -> io::Error {
    match error {
        TransportTimeoutError::Timeout => io::ErrorKind::TimedOut.into(),
        TransportTimeoutError::TimerError(error) | TransportTimeoutError::Other(error) => error,
    }
}

/// Listens and waits for the first address, takes those that are known with it.
async fn listen(swarm: &mut Swarm<Gate>, address: &str) -> Result<Vec<String>, NetError> {
    let failed = |why: String| NetError::Listen { address: address.to_owned(), why };
    let to: Multiaddr = address
        .parse()
        .ok()
        .filter(|parsed| host(parsed).is_some())
        .ok_or_else(|| NetError::Address { address: address.to_owned() })?;
    refuse_taken(&to).map_err(|error| failed(error.to_string()))?;
    swarm.listen_on(to).map_err(|error| failed(error.to_string()))?;
    let mut found = Vec::new();
    let mut event = Some(swarm.select_next_some().await);
    while let Some(seen) = event {
        match seen {
            SwarmEvent::NewListenAddr { address, .. } => found.push(address),
            SwarmEvent::ListenerClosed { reason: Err(error), .. } => {
                return Err(failed(error.to_string()));
            }
            SwarmEvent::ListenerError { error, .. } => return Err(failed(error.to_string())),
            _ => {}
        }
        event = if found.is_empty() {
            Some(swarm.select_next_some().await)
        } else {
            swarm.select_next_some().now_or_never()
        };
    }
    found.sort_by_key(|address| host(address).is_none_or(|host| host.is_loopback()));
    let me = *swarm.local_peer_id();
    Ok(found.into_iter().map(|address| address.with(Protocol::P2p(me)).to_string()).collect())
}

/// An address that is given to others, with the node's key.
fn announce(address: &str, identity: &Identity) -> Result<String, NetError> {
    let peer = identity.keypair().public().to_peer_id();
    let malformed = |_| NetError::Address { address: address.chars().take(64).collect() };
    let named = parse_address(address, &identity.peer_key())?.with_p2p(peer);
    named.map(|named| named.to_string()).map_err(malformed)
}

/// libp2p sets `SO_REUSEPORT`, with which two nodes would silently share a port. A plain bind
/// shows whether somebody listens already.
fn refuse_taken(address: &Multiaddr) -> io::Result<()> {
    match (host(address), address.iter().nth(1)) {
        (Some(host), Some(Protocol::Tcp(port))) if port > 0 => {
            std::net::TcpListener::bind((host, port)).map(drop)
        }
        _ => Ok(()),
    }
}
