//! The layers beneath ours, one on the other: TCP, noise, yamux, and libp2p's own stream.

use futures::StreamExt;
use futures::io::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerExt};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::identity::Keypair;
use libp2p::swarm::SwarmEvent;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, multiaddr, noise, tcp, yamux,
};
use libp2p_stream::Control;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::peer::{Peer, Road};
use super::stream::{Streamed, serve};
use crate::side::Outcome;

const LOOPBACK: &str = "127.0.0.1:0";
/// Longer than any bench without traffic.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

type Socket = Compat<TcpStream>;
type Secure = noise::Output<Socket>;

/// What opens streams to the other process.
pub(super) trait Layer: Sized + Send + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn serve(ready: impl FnOnce(&str) + Send) -> impl Future<Output = Outcome<()>> + Send;
    fn connect(address: &str) -> impl Future<Output = Outcome<Self>> + Send;
    fn open(&mut self) -> impl Future<Output = Outcome<Self::Stream>> + Send;
}

impl<L: Layer> Peer for L {
    type Caller = Streamed<L::Stream>;
    type Sender = Streamed<L::Stream>;

    async fn serve(ready: impl FnOnce(&str) + Send) -> Outcome<()> {
        L::serve(ready).await
    }

    async fn connect(address: &str) -> Outcome<Self> {
        L::connect(address).await
    }

    async fn caller(&mut self) -> Outcome<Self::Caller> {
        Ok(Streamed::caller(self.open().await?))
    }

    async fn sender(&mut self, _: Road, bytes: usize) -> Outcome<Self::Sender> {
        Ok(Streamed::sender(self.open().await?, bytes))
    }
}

/// Accepts connections, each served by a task.
async fn accept<F: Future<Output = Outcome<()>> + Send + 'static>(
    ready: impl FnOnce(&str),
    each: impl Fn(Socket) -> F,
) -> Outcome<()> {
    let listener = TcpListener::bind(LOOPBACK).await?;
    ready(&listener.local_addr()?.to_string());
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(each(socket.compat()));
    }
}

async fn dialed(address: &str) -> Outcome<Socket> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    Ok(socket.compat())
}

/// Bare TCP, a connection per stream.
pub(super) struct Tcp(String);

impl Layer for Tcp {
    type Stream = Socket;

    async fn serve(ready: impl FnOnce(&str) + Send) -> Outcome<()> {
        accept(ready, serve).await
    }

    async fn connect(address: &str) -> Outcome<Self> {
        Ok(Self(address.to_owned()))
    }

    async fn open(&mut self) -> Outcome<Socket> {
        dialed(&self.0).await
    }
}

/// TCP and noise, a connection per stream.
pub(super) struct Noise(String);

async fn accepted(socket: Socket) -> Outcome<Secure> {
    let noise = noise::Config::new(&Keypair::generate_ed25519())?;
    Ok(noise.upgrade_inbound(socket, "/noise").await?.1)
}

async fn secured(address: &str) -> Outcome<Secure> {
    let noise = noise::Config::new(&Keypair::generate_ed25519())?;
    Ok(noise.upgrade_outbound(dialed(address).await?, "/noise").await?.1)
}

impl Layer for Noise {
    type Stream = Secure;

    async fn serve(ready: impl FnOnce(&str) + Send) -> Outcome<()> {
        accept(ready, async |socket| serve(accepted(socket).await?).await).await
    }

    async fn connect(address: &str) -> Outcome<Self> {
        Ok(Self(address.to_owned()))
    }

    async fn open(&mut self) -> Outcome<Secure> {
        secured(&self.0).await
    }
}

/// TCP, noise and yamux: substreams of one connection that one task drives.
pub(super) struct Yamux(mpsc::Sender<oneshot::Sender<Substream>>);

type Muxer = yamux::Muxer<Secure>;
type Substream = <Muxer as StreamMuxer>::Substream;

/// Drives a connection: serves the substreams that the other side opens, opens those ordered here.
async fn drive(
    mut muxer: Muxer,
    mut orders: mpsc::Receiver<oneshot::Sender<Substream>>,
) -> Outcome<()> {
    let mut waiting = None;
    poll_fn(move |cx| {
        loop {
            if waiting.is_none()
                && let Poll::Ready(Some(order)) = orders.poll_recv(cx)
            {
                waiting = Some(order);
            }
            if waiting.is_some()
                && let Poll::Ready(opened) = muxer.poll_outbound_unpin(cx)?
            {
                drop(waiting.take().map(|order: oneshot::Sender<_>| order.send(opened)));
                continue;
            }
            if let Poll::Ready(opened) = muxer.poll_inbound_unpin(cx)? {
                tokio::spawn(serve(opened));
                continue;
            }
            if muxer.poll_unpin(cx)?.is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await
}

impl Layer for Yamux {
    type Stream = Substream;

    async fn serve(ready: impl FnOnce(&str) + Send) -> Outcome<()> {
        accept(ready, async |socket| {
            let secure = accepted(socket).await?;
            let muxer = yamux::Config::default().upgrade_inbound(secure, "/yamux/1.0.0").await?;
            drive(muxer, mpsc::channel(1).1).await
        })
        .await
    }

    async fn connect(address: &str) -> Outcome<Self> {
        let secure = secured(address).await?;
        let muxer = yamux::Config::default().upgrade_outbound(secure, "/yamux/1.0.0").await?;
        let (order, orders) = mpsc::channel(1);
        tokio::spawn(drive(muxer, orders));
        Ok(Self(order))
    }

    async fn open(&mut self) -> Outcome<Substream> {
        let (order, opened) = oneshot::channel();
        self.0.send(order).await?;
        Ok(opened.await?)
    }
}

/// All of it under libp2p's swarm: the streams of `libp2p-stream`.
pub(super) struct Libp2pStream {
    control: Control,
    peer: PeerId,
}

const PROTOCOL: StreamProtocol = StreamProtocol::new("/rivals/wire");

fn swarm() -> Outcome<Swarm<libp2p_stream::Behaviour>> {
    let tcp = tcp::Config::default().nodelay(true);
    Ok(SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp, noise::Config::new, yamux::Config::default)?
        .with_behaviour(|_| libp2p_stream::Behaviour::new())?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE_TIMEOUT))
        .build())
}

impl Layer for Libp2pStream {
    type Stream = libp2p::Stream;

    async fn serve(ready: impl FnOnce(&str) + Send) -> Outcome<()> {
        let mut swarm = swarm()?;
        let mut incoming = swarm.behaviour().new_control().accept(PROTOCOL)?;
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
        let mut ready = Some(ready);
        tokio::spawn(async move {
            while let Some((_, stream)) = incoming.next().await {
                tokio::spawn(serve(stream));
            }
        });
        loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await
                && let Some(ready) = ready.take()
            {
                ready(&address.with(multiaddr::Protocol::P2p(*swarm.local_peer_id())).to_string());
            }
        }
    }

    async fn connect(address: &str) -> Outcome<Self> {
        let mut swarm = swarm()?;
        let address: Multiaddr = address.parse()?;
        let Some(multiaddr::Protocol::P2p(peer)) = address.iter().last() else {
            return Err("an address without a peer".into());
        };
        let control = swarm.behaviour().new_control();
        swarm.dial(address)?;
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => break,
                SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.into()),
                _ => {}
            }
        }
        tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        Ok(Self { control, peer })
    }

    async fn open(&mut self) -> Outcome<libp2p::Stream> {
        Ok(self.control.open_stream(self.peer, PROTOCOL).await?)
    }
}
