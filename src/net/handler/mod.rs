//! One connection: opens its lanes, says hello, joins a link, moves messages, leaves.
//!
//! The side that dialed opens the substreams and names the connection's class by them. Where
//! members are told by certificates, it shows its own first, and the other side says nothing
//! before it has checked it; then it does the same. Both sides send `HELLO`. On a control connection the node with the smaller key then
//! chooses: `OPEN` makes this connection carry the link, `SPARE` refuses it because another does.
//! Only then are messages read or written, so a simultaneous dial loses and doubles nothing.
//!
//! The task that polls this is the only one that touches the substreams.

mod join;
mod leave;
mod offer;
mod prove;
mod traffic;

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::task::AtomicWaker;
use libp2p::{
    Stream,
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol, handler::ConnectionEvent,
    },
};
use mobula_actors::id::PeerKey;

use super::{
    certificate::Certificate,
    clock::{Beat, Clock},
    frame::Violation,
    grant::Grant,
    hello::{Class, Hello, kind},
    hub::Hub,
    lane::{Io, Reader, Writer},
    limits::POLL_BYTES_MAX,
    link::{End, Link},
    message::Lane,
};
use leave::Reason;
use offer::{Offer, named};

/// How this side came to the connection.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Dialed { class: Class, address: String },
    Accepted,
}

/// What the gate must know.
#[derive(Debug)]
pub(super) enum Tell {
    /// The peer showed a certificate that holds.
    Admitted,
    /// The connection is to be closed even while the peer keeps substreams in negotiation.
    Close,
}

pub(super) struct LaneHandler {
    hub: Arc<Hub>,
    peer: PeerKey,
    origin: Origin,
    class: Option<Class>,
    to_open: Vec<Lane>,
    lanes: Lanes,
    phase: Phase,
    clock: Clock,
    bell: Arc<AtomicWaker>,
    /// Bytes read and written since this gave way.
    moved: usize,
    /// The lanes on which the peer said goodbye.
    byes: usize,
    /// The certificate that the peer showed.
    certificate: Option<Certificate>,
    /// What another member granted it.
    grant: Option<Grant>,
    /// The serials of the certificate and of the grant that it was shown.
    shown: u64,
    shown_grant: u64,
    /// How many it has shown after the first.
    papers: usize,
    /// At most one of each.
    tell: VecDeque<Tell>,
}

#[derive(Default)]
struct Lanes {
    control: Option<Io<Stream>>,
    call: Option<Io<Stream>>,
    bulk: Option<Io<Stream>>,
}

enum Phase {
    /// No certificate yet.
    Unproven,
    /// No hello yet.
    Greeting,
    /// The peer is the one to choose.
    Choosing(Hello),
    /// Admitted; waits for its turn to carry the link.
    Joining {
        hello: Hello,
        chosen: bool,
    },
    /// Refused by the peer, in favour of a connection that this side may not have joined yet.
    Spared,
    Carrying(Link),
    /// Said goodbye or refused: waits for the peer to close.
    Lingering(Option<Link>),
    Done,
}

impl Lanes {
    fn slot(&mut self, lane: Lane) -> &mut Option<Io<Stream>> {
        match lane {
            Lane::Control => &mut self.control,
            Lane::Call => &mut self.call,
            Lane::Bulk => &mut self.bulk,
        }
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Io<Stream>> {
        [&mut self.control, &mut self.call, &mut self.bulk].into_iter().flatten()
    }
}

impl LaneHandler {
    pub(super) fn new(hub: Arc<Hub>, peer: PeerKey, origin: Origin) -> Self {
        let class = match &origin {
            Origin::Dialed { class, .. } => Some(*class),
            Origin::Accepted => None,
        };
        let to_open = match class {
            Some(Class::Control | Class::Observer) => vec![Lane::Call, Lane::Control],
            Some(Class::Bulk) => vec![Lane::Bulk],
            None => Vec::new(),
        };
        let clock = Clock::new(hub.limits.handshake_timeout);
        let phase = if hub.membership.by_certificate() { Phase::Unproven } else { Phase::Greeting };
        Self {
            hub,
            peer,
            origin,
            class,
            to_open,
            lanes: Lanes::default(),
            phase,
            clock,
            bell: Arc::default(),
            moved: 0,
            byes: 0,
            certificate: None,
            grant: None,
            shown: 0,
            shown_grant: 0,
            papers: 0,
            tell: VecDeque::new(),
        }
    }

    /// A substream is negotiated. The first of each class is the one that greets.
    fn lane_opened(&mut self, lane: Lane, stream: Stream) -> Result<(), Reason> {
        let class = if lane == Lane::Bulk { Class::Bulk } else { Class::Control };
        if *self.class.get_or_insert(class) != class || self.lanes.slot(lane).is_some() {
            return Err(Violation::Unexpected.into());
        }
        let reader = Reader::new(lane, self.hub.message_bytes_max(lane));
        *self.lanes.slot(lane) = Some(Io { stream, reader, writer: Writer::new(lane) });
        // Strangers learn nothing of this node that they did not know when they dialed it.
        let waits =
            matches!(self.origin, Origin::Accepted) && matches!(self.phase, Phase::Unproven);
        if lane != Lane::Call && !waits {
            self.greet(lane, class);
        }
        Ok(())
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Result<(), Reason> {
        self.heed_link()?;
        self.heed_clock(cx)?;
        self.read(POLL_BYTES_MAX, cx)?;
        if self.join(cx)? {
            // The clock beats otherwise now, and messages may have come with the last frame.
            self.heed_clock(cx)?;
            self.read(POLL_BYTES_MAX, cx)?;
        }
        self.write(cx)
    }

    fn heed_clock(&mut self, cx: &mut Context<'_>) -> Result<(), Reason> {
        // The life of a bulk connection is that of its link: no clock in its way.
        let idle = matches!(&self.phase, Phase::Carrying(link) if link.is_open());
        if idle && self.class == Some(Class::Bulk) {
            return Ok(());
        }
        match (self.clock.poll(cx), &self.phase) {
            (Beat::None, _) => Ok(()),
            (Beat::Deadline, Phase::Carrying(_) | Phase::Lingering(_)) => Err(Reason::Local),
            (Beat::Deadline, _) => Err(Reason::Slow),
            (Beat::Silent, _) => Err(Reason::Silent),
            (Beat::Ping(nonce), phase) => {
                if let Phase::Carrying(link) = phase {
                    let link = link.clone();
                    link.dial_bulk();
                    self.check_again(&link)?;
                }
                if let Some(io) = &mut self.lanes.control {
                    io.writer.own(kind::PING, nonce, &[]);
                }
                Ok(())
            }
        }
    }

    fn heed_link(&mut self) -> Result<(), Reason> {
        let Phase::Carrying(link) = &self.phase else { return Ok(()) };
        match link.end() {
            End::Open => Ok(()),
            End::Cut => Err(Reason::Local),
            End::Leave => {
                self.clock.deadline(self.hub.limits.close_timeout);
                Ok(())
            }
        }
    }
}

impl Drop for LaneHandler {
    fn drop(&mut self) {
        self.finish(&Reason::Local);
    }
}

impl ConnectionHandler for LaneHandler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Tell;
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Lane;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        let open = matches!(self.origin, Origin::Accepted) && !matches!(self.phase, Phase::Done);
        let offer = Offer(if open { &Lane::ALL } else { &[] });
        SubstreamProtocol::new(offer, ()).with_timeout(self.hub.limits.handshake_timeout)
    }

    fn connection_keep_alive(&self) -> bool {
        !matches!(self.phase, Phase::Done)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Offer, Lane, Tell>> {
        self.bell.register(cx.waker());
        if let Some(lane) = self.to_open.pop() {
            let protocol = SubstreamProtocol::new(Offer(std::slice::from_ref(named(lane))), lane)
                .with_timeout(self.hub.limits.handshake_timeout);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        if !matches!(self.phase, Phase::Done) {
            let stepped = self.step(cx);
            self.count_frames();
            self.give_way();
            if let Err(reason) = stepped {
                self.end(&reason, cx);
            }
        }
        match self.tell.pop_front() {
            Some(tell) => Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(tell)),
            None => Poll::Pending,
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Tell>> {
        self.lost(cx);
        Poll::Ready(None)
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Offer, Offer, (), Lane>) {
        let opened = match event {
            ConnectionEvent::FullyNegotiatedInbound(opened) => {
                let (stream, lane) = opened.protocol;
                self.open_unless_done(lane, stream)
            }
            ConnectionEvent::FullyNegotiatedOutbound(opened) => {
                self.open_unless_done(opened.info, opened.protocol.0)
            }
            ConnectionEvent::DialUpgradeError(failed) => {
                tracing::debug!(peer = %self.peer, lane = ?failed.info, "lane not opened");
                Err(Reason::Lost)
            }
            _ => Ok(()),
        };
        if let Err(reason) = opened {
            self.finish(&reason);
        }
    }
}

impl LaneHandler {
    fn open_unless_done(&mut self, lane: Lane, stream: Stream) -> Result<(), Reason> {
        if matches!(self.phase, Phase::Done) { Ok(()) } else { self.lane_opened(lane, stream) }
    }
}
