//! From the first hello to the link.

use std::task::Context;

use bytes::Bytes;
use mobula_actors::id::NodeId;

use super::{LaneHandler, Origin, Phase, leave::Reason};
use crate::net::{
    CertificateError,
    frame::{self, Header, Violation},
    hello::{Class, Hello, HelloError, kind},
    hub::Claim,
    link::Link,
    message::Lane,
};

impl LaneHandler {
    pub(super) fn own(&mut self, lane: Lane, header: &Header, body: &Bytes) -> Result<(), Reason> {
        match (header.kind, lane, &mut self.phase) {
            (kind::CERTIFICATE, Lane::Control | Lane::Bulk, Phase::Unproven) => {
                self.proven(lane, body)
            }
            // A peer that admits by a list begins with its hello.
            (kind::HELLO, Lane::Control | Lane::Bulk, Phase::Unproven) => {
                Err(CertificateError::Missing.into())
            }
            (_, _, Phase::Unproven) => Err(Violation::Hello.into()),
            (kind::CERTIFICATE, Lane::Control | Lane::Bulk, Phase::Greeting)
                if self.certificate.is_none() =>
            {
                Err(CertificateError::Listed.into())
            }
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
            (kind::CERTIFICATE, Lane::Control, Phase::Carrying(link))
                if self.certificate.is_some() =>
            {
                let link = link.clone();
                self.another_paper()?;
                self.certificate = Some(self.hub.membership.verify(&self.peer, body)?);
                self.entitle(&link);
                Ok(())
            }
            (kind::GRANT, Lane::Control, Phase::Carrying(link)) if self.certificate.is_some() => {
                let link = link.clone();
                self.another_paper()?;
                self.granted(body, &link);
                Ok(())
            }
            (kind::BYE, Lane::Control | Lane::Call, Phase::Carrying(_)) => self.bye(),
            (other, ..) if frame::may_skip(other) => Ok(()),
            (other, ..) if other > kind::CERTIFICATE => Err(Violation::Kind { kind: other }.into()),
            _ => Err(Violation::Unexpected.into()),
        }
    }

    pub(super) fn greeted(&mut self, body: &Bytes) -> Result<(), Reason> {
        let hello = match Hello::decode(body, &self.hub.versions) {
            Ok(hello) => hello,
            Err(HelloError::Violation(violation)) => return Err(violation.into()),
            Err(mismatch) => return Err(Reason::Refused(mismatch.to_string())),
        };
        let looks = hello.class == Class::Observer;
        let dialed = matches!(self.origin, Origin::Dialed { .. });
        // Nobody dials an observer.
        if Some(hello.class.by_lanes()) != self.class || looks && dialed {
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
    pub(super) fn join(&mut self, cx: &mut Context<'_>) -> Result<bool, Reason> {
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
        if self.hub.is_out(&self.peer) {
            return Err(Reason::Local);
        }
        let claim = if bulk {
            self.hub.claim_bulk(node, &self.bell, cx.waker())
        } else {
            let dial = address.clone();
            let terms = hello.terms(&self.hub.versions, self.hub.features);
            self.hub.claim_control(node, dial, terms, *chosen, &self.bell, cx.waker())
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

    pub(super) fn carry(&mut self, link: Link, node: NodeId, address: String) {
        self.phase = Phase::Carrying(link.clone());
        self.lanes.each().for_each(|io| io.reader.admitted = true);
        if self.class == Some(Class::Bulk) {
            return;
        }
        self.entitle(&link);
        self.clock.beat(self.hub.limits.heartbeat, self.hub.limits.heartbeat_timeout);
        if self.hub.chooses(&self.peer)
            && let Some(io) = &mut self.lanes.control
        {
            io.writer.own(kind::OPEN, 0, &[]);
        }
        self.show_grant();
        self.hub.inbound.connected(node, link, address);
    }

    /// Where the peer can be dialed: the address that just worked, or else the one it names.
    pub(super) fn address(&self, hello: &Hello) -> Option<String> {
        match &self.origin {
            Origin::Dialed { address, .. } => Some(address.clone()),
            Origin::Accepted => Some(hello.address.clone()).filter(|address| !address.is_empty()),
        }
    }
}
