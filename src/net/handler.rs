//! One connection: opens its lanes, says hello, joins a link, moves messages, leaves.
//!
//! The side that dialed opens the substreams and names the connection's class by them. Both sides
//! send `HELLO` as the first frame. On a control connection the node with the smaller key then
//! chooses: `OPEN` makes this connection carry the link, `SPARE` refuses it because another does.
//! Only then are messages read or written, so a simultaneous dial loses and doubles nothing.
//!
//! The task that polls this is the only one that touches the substreams.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{
    future::{Ready, ready},
    task::AtomicWaker,
};
use libp2p::{
    Stream,
    core::{InboundUpgrade, OutboundUpgrade, UpgradeInfo},
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol, handler::ConnectionEvent,
    },
};
use mobula_actors::id::{NodeId, PeerKey};

use super::{
    DialOutcome,
    clock::{Beat, Clock},
    frame::{Header, Violation},
    hello::{Class, Hello, HelloError, kind},
    hub::{Claim, Hub, count},
    lane::{Incoming, Io, Reader, Writer},
    limits::POLL_BYTES_MAX,
    link::{End, Link},
    message::Lane,
};

/// How this side came to the connection.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Dialed { class: Class, address: String },
    Accepted,
}

/// Asks the swarm to close the connection even while the peer keeps substreams in negotiation.
#[derive(Debug)]
pub(super) struct Close;

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
    /// The lanes on which the peer said goodbye.
    byes: usize,
    close: Option<Close>,
}

#[derive(Default)]
struct Lanes {
    control: Option<Io<Stream>>,
    call: Option<Io<Stream>>,
    bulk: Option<Io<Stream>>,
}

enum Phase {
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

/// Why a connection ends.
#[derive(Debug)]
enum Reason {
    Bye,
    /// The socket or a substream ended.
    Lost,
    Silent,
    Slow,
    Spare,
    /// This side closes the link.
    Local,
    Refused(String),
    Violation(Violation),
}

impl From<Violation> for Reason {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
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
            Some(Class::Control) => vec![Lane::Call, Lane::Control],
            Some(Class::Bulk) => vec![Lane::Bulk],
            None => Vec::new(),
        };
        let clock = Clock::new(hub.limits.handshake_timeout);
        Self {
            hub,
            peer,
            origin,
            class,
            to_open,
            lanes: Lanes::default(),
            phase: Phase::Greeting,
            clock,
            bell: Arc::default(),
            byes: 0,
            close: None,
        }
    }

    /// A substream is negotiated. The first of the two classes' greeting lanes says hello.
    fn lane_opened(&mut self, lane: Lane, stream: Stream) -> Result<(), Reason> {
        let class = if lane == Lane::Bulk { Class::Bulk } else { Class::Control };
        if *self.class.get_or_insert(class) != class || self.lanes.slot(lane).is_some() {
            return Err(Violation::Unexpected.into());
        }
        let mut writer = Writer::new(lane);
        if lane != Lane::Call {
            writer.own(kind::HELLO, 0, &self.hub.hello(class).encode());
        }
        let reader = Reader::new(lane, self.hub.message_bytes_max(lane));
        *self.lanes.slot(lane) = Some(Io { stream, reader, writer });
        Ok(())
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Result<(), Reason> {
        self.heed_link()?;
        self.heed_clock(cx)?;
        self.read(cx)?;
        if self.join(cx)? {
            // The clock beats otherwise now, and messages may have come with the last frame.
            self.heed_clock(cx)?;
            self.read(cx)?;
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
                    link.dial_bulk();
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

    fn read(&mut self, cx: &mut Context<'_>) -> Result<(), Reason> {
        let mut budget = POLL_BYTES_MAX;
        for lane in Lane::ALL {
            while !matches!(self.phase, Phase::Joining { .. }) {
                let Some(io) = self.lanes.slot(lane) else { break };
                if let Some(incoming) = io.reader.next()? {
                    self.incoming(lane, incoming)?;
                    continue;
                }
                if budget == 0 {
                    cx.waker().wake_by_ref();
                    break;
                }
                match io.reader.poll_fill(&mut io.stream, cx) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(bytes)) if bytes > 0 => {
                        budget = budget.saturating_sub(bytes);
                        self.clock.heard();
                    }
                    Poll::Ready(_) => return Err(Reason::Lost),
                }
            }
        }
        Ok(())
    }

    fn incoming(&mut self, lane: Lane, incoming: Incoming) -> Result<(), Reason> {
        match (incoming, &self.phase) {
            (Incoming::Message(message), Phase::Carrying(link)) => {
                if lane == Lane::Bulk && matches!(self.origin, Origin::Dialed { .. }) {
                    return Err(Violation::Unexpected.into());
                }
                self.hub.inbound.message(link.node(), link, message);
                Ok(())
            }
            (Incoming::Own(header, _), Phase::Lingering(Some(_))) if header.kind == kind::BYE => {
                self.bye()
            }
            (_, Phase::Lingering(_)) => Ok(()),
            (Incoming::Message(_), _) => Err(Violation::Hello.into()),
            (Incoming::Own(header, body), _) => self.own(lane, &header, &body),
        }
    }

    fn own(&mut self, lane: Lane, header: &Header, body: &Bytes) -> Result<(), Reason> {
        match (header.kind, lane, &mut self.phase) {
            (kind::HELLO, Lane::Control | Lane::Bulk, Phase::Greeting) => self.greeted(body),
            (_, _, Phase::Greeting) => Err(Violation::Hello.into()),
            (kind::OPEN, Lane::Control, Phase::Choosing(hello)) => {
                self.phase = Phase::Joining { hello: hello.clone(), chosen: true };
                Ok(())
            }
            (kind::SPARE, Lane::Control, Phase::Choosing(_)) => {
                self.phase = Phase::Spared;
                Ok(())
            }
            (kind::PING, Lane::Control, Phase::Carrying(_)) => {
                if let Some(io) = &mut self.lanes.control {
                    io.writer.own(kind::PONG, header.target, &[]);
                }
                Ok(())
            }
            (kind::PONG, Lane::Control, Phase::Carrying(link)) => {
                if let Some(rtt) = self.clock.pong(header.target) {
                    link.set_rtt(rtt);
                }
                Ok(())
            }
            (kind::BYE, Lane::Control | Lane::Call, Phase::Carrying(_)) => self.bye(),
            _ => Err(Violation::Unexpected.into()),
        }
    }

    /// The peer leaves when it said so on each lane: all that it wrote before has been read.
    fn bye(&mut self) -> Result<(), Reason> {
        self.byes = self.byes.saturating_add(1);
        if self.byes == self.lanes.each().count() { Err(Reason::Bye) } else { Ok(()) }
    }

    fn greeted(&mut self, body: &Bytes) -> Result<(), Reason> {
        let hello = match Hello::decode(body, &self.hub.versions) {
            Ok(hello) => hello,
            Err(HelloError::Violation(violation)) => return Err(violation.into()),
            Err(mismatch) => return Err(Reason::Refused(mismatch.to_string())),
        };
        if Some(hello.class) != self.class {
            return Err(Violation::Hello.into());
        }
        self.phase = if hello.class == Class::Bulk || self.hub.chooses(&self.peer) {
            Phase::Joining { hello, chosen: false }
        } else {
            Phase::Choosing(hello)
        };
        Ok(())
    }

    /// Tries to carry the link. `true` when it does from now on.
    fn join(&mut self, cx: &mut Context<'_>) -> Result<bool, Reason> {
        let Phase::Joining { hello, chosen } = &self.phase else {
            let spared = matches!(self.phase, Phase::Spared);
            let over = spared && self.hub.is_linked(&self.peer, cx.waker());
            return if over { Err(Reason::Spare) } else { Ok(false) };
        };
        let node = hello.node(self.peer);
        let bulk = hello.class == Class::Bulk;
        if !bulk && self.lanes.call.is_none() {
            return Ok(false);
        }
        let address = self.address(hello);
        let claim = if bulk {
            self.hub.claim_bulk(node, &self.bell, cx.waker())
        } else {
            let dial = address.clone();
            self.hub.claim_control(node, dial, *chosen, &self.bell, cx.waker())
        };
        match claim {
            Claim::Wait => Ok(false),
            Claim::Stale => Err(Reason::Refused("a later life of the peer is connected".into())),
            Claim::Spare => {
                if let Some(io) = &mut self.lanes.control {
                    io.writer.own(kind::SPARE, 0, &[]);
                }
                self.linger(None);
                cx.waker().wake_by_ref();
                Ok(false)
            }
            Claim::Carry(link) => {
                self.carry(link, node, address.unwrap_or_default());
                Ok(true)
            }
        }
    }

    fn carry(&mut self, link: Link, node: NodeId, address: String) {
        self.phase = Phase::Carrying(link.clone());
        self.lanes.each().for_each(|io| io.reader.admitted = true);
        if self.class == Some(Class::Bulk) {
            return;
        }
        self.clock.beat(self.hub.limits.heartbeat, self.hub.limits.heartbeat_timeout);
        if self.hub.chooses(&self.peer)
            && let Some(io) = &mut self.lanes.control
        {
            io.writer.own(kind::OPEN, 0, &[]);
        }
        self.hub.inbound.connected(node, link, address);
    }

    /// Where the peer can be dialed: the address that just worked, or else the one it names.
    fn address(&self, hello: &Hello) -> Option<String> {
        match &self.origin {
            Origin::Dialed { address, .. } => Some(address.clone()),
            Origin::Accepted => Some(hello.address.clone()).filter(|address| !address.is_empty()),
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), Reason> {
        let link = match &self.phase {
            Phase::Carrying(link) => Some(link.clone()),
            _ => None,
        };
        // The receiver of a bulk connection has nothing to send on it.
        let receives = self.class == Some(Class::Bulk) && matches!(self.origin, Origin::Accepted);
        let source = link.as_ref().filter(|_| !receives);
        let mut budget = POLL_BYTES_MAX;
        let mut all_written = true;
        for lane in Lane::ALL {
            let Some(io) = self.lanes.slot(lane) else { continue };
            let queue = source.map(|link| link.queue(lane));
            match io.writer.poll(&mut io.stream, queue, &mut budget, cx) {
                Poll::Pending => all_written = false,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Err(Reason::Lost),
            }
        }
        match link {
            Some(link) if all_written && link.end() == End::Leave => self.leave(link, cx),
            _ => Ok(()),
        }
    }

    /// Everything is written: says so on every lane and waits for the peer to close.
    fn leave(&mut self, link: Link, cx: &mut Context<'_>) -> Result<(), Reason> {
        if self.class == Some(Class::Bulk) {
            return Ok(());
        }
        self.lanes.each().for_each(|io| io.writer.own(kind::BYE, 0, &[]));
        self.linger(Some(link));
        self.write(cx)
    }

    fn linger(&mut self, link: Option<Link>) {
        self.clock.deadline(self.hub.limits.close_timeout);
        self.phase = Phase::Lingering(link);
    }

    /// Leaves the link, drops the substreams and tells whoever waits for the outcome.
    fn finish(&mut self, reason: &Reason) {
        let phase = std::mem::replace(&mut self.phase, Phase::Done);
        let lanes = std::mem::take(&mut self.lanes);
        self.to_open.clear();
        let unwritten = [lanes.control, lanes.call, lanes.bulk]
            .into_iter()
            .flatten()
            .flat_map(|io| io.writer.into_unwritten())
            .collect();
        if matches!(phase, Phase::Done) {
            return;
        }
        if let Reason::Violation(violation) = reason {
            count(&self.hub.counters.violations, 1);
            tracing::warn!(peer = %self.peer, %violation, "connection closed");
        }
        if matches!(reason, Reason::Violation(_) | Reason::Slow) {
            self.close = Some(Close);
        }
        match phase {
            Phase::Carrying(link) => {
                link.detach(&self.bell, unwritten, matches!(reason, Reason::Bye));
            }
            Phase::Lingering(Some(link)) => link.detach(&self.bell, unwritten, true),
            Phase::Spared => self.not_joined(&Reason::Spare),
            _ => self.not_joined(reason),
        }
    }

    fn not_joined(&self, reason: &Reason) {
        if let Reason::Refused(why) = reason {
            tracing::warn!(peer = %self.peer, why, "peer refused");
        }
        let Origin::Dialed { class, .. } = &self.origin else { return };
        let link = self.hub.link(&self.peer);
        match (class, link) {
            (Class::Bulk, Some(link)) => link.bulk_failed(),
            (Class::Control, None) => {
                self.hub.inbound.dial_outcome(self.peer, outcome(reason));
            }
            _ => {}
        }
    }

    /// The connection failed under the handler: what had arrived is still delivered.
    fn lost(&mut self, cx: &mut Context<'_>) {
        let reason = match self.read(cx) {
            Ok(()) => Reason::Lost,
            Err(reason) => reason,
        };
        self.count_frames();
        self.finish(&reason);
    }

    fn count_frames(&mut self) {
        let frames = self.lanes.each().map(|io| std::mem::take(&mut io.reader.frames)).sum();
        if frames > 0 {
            count(&self.hub.counters.frames, frames);
        }
    }
}

fn outcome(reason: &Reason) -> DialOutcome {
    match reason {
        Reason::Slow | Reason::Silent => DialOutcome::TimedOut,
        Reason::Lost | Reason::Bye => DialOutcome::Denied,
        Reason::Local => DialOutcome::Other("this node closed the connection".into()),
        Reason::Spare => DialOutcome::Other("the peer holds another connection with us".into()),
        Reason::Refused(why) => DialOutcome::Other(why.clone()),
        Reason::Violation(violation) => DialOutcome::Other(violation.to_string()),
    }
}

impl Drop for LaneHandler {
    fn drop(&mut self) {
        self.finish(&Reason::Local);
    }
}

impl ConnectionHandler for LaneHandler {
    type FromBehaviour = std::convert::Infallible;
    type ToBehaviour = Close;
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

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Offer, Lane, Close>> {
        self.bell.register(cx.waker());
        if let Some(lane) = self.to_open.pop() {
            let protocol = SubstreamProtocol::new(Offer(std::slice::from_ref(named(lane))), lane)
                .with_timeout(self.hub.limits.handshake_timeout);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        if !matches!(self.phase, Phase::Done) {
            let stepped = self.step(cx);
            self.count_frames();
            if let Err(reason) = stepped {
                self.end(&reason, cx);
            }
        }
        match self.close.take() {
            Some(close) => Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(close)),
            None => Poll::Pending,
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Close>> {
        self.lost(cx);
        Poll::Ready(None)
    }

    fn on_behaviour_event(&mut self, event: std::convert::Infallible) {
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

    /// Ends the connection: at once, or, when the acceptor refused the peer's version, after the
    /// hello that tells the peer why had its time to arrive.
    fn end(&mut self, reason: &Reason, cx: &mut Context<'_>) {
        let refused = matches!(reason, Reason::Refused(_));
        if refused && matches!((&self.origin, &self.phase), (Origin::Accepted, Phase::Greeting)) {
            self.not_joined(reason);
            self.linger(None);
            cx.waker().wake_by_ref();
        } else {
            self.finish(reason);
        }
    }
}

fn named(lane: Lane) -> &'static Lane {
    match lane {
        Lane::Control => &Lane::Control,
        Lane::Call => &Lane::Call,
        Lane::Bulk => &Lane::Bulk,
    }
}

/// The lanes that one side offers in a negotiation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer(&'static [Lane]);

impl UpgradeInfo for Offer {
    type Info = &'static str;
    type InfoIter = std::iter::Map<std::slice::Iter<'static, Lane>, fn(&Lane) -> &'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        let protocol: fn(&Lane) -> &'static str = |lane| lane.protocol();
        self.0.iter().map(protocol)
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = (Stream, Lane);
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, stream: Stream, name: &'static str) -> Self::Future {
        let lane = Lane::ALL.into_iter().find(|lane| lane.protocol() == name);
        ready(Ok((stream, lane.unwrap_or(Lane::Control))))
    }
}

impl OutboundUpgrade<Stream> for Offer {
    type Output = (Stream, Lane);
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, stream: Stream, name: &'static str) -> Self::Future {
        self.upgrade_inbound(stream, name)
    }
}
