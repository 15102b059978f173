//! Certificates: shown, checked, and checked again.

use bytes::Bytes;

use super::{LaneHandler, Origin, Phase, Tell, leave::Reason};
use crate::net::{
    CertificateError,
    frame::Violation,
    grant::Grant,
    hello::{Class, kind},
    hub::count,
    limits::PAPERS_MAX,
    link::Link,
    message::Lane,
};

impl LaneHandler {
    /// Shows this node's certificate, if it has one, and says hello.
    pub(super) fn greet(&mut self, lane: Lane, class: Class) {
        self.show(lane);
        let hello = self.hub.hello(class).encode();
        if let Some(io) = self.lanes.slot(lane) {
            io.writer.own(kind::HELLO, 0, &hello);
        }
    }

    /// The peer shows its certificate, before anything else.
    pub(super) fn proven(&mut self, lane: Lane, signed: &Bytes) -> Result<(), Reason> {
        self.certificate = Some(self.hub.membership.verify(&self.peer, signed)?);
        self.tell.push_back(Tell::Admitted);
        self.phase = Phase::Greeting;
        if let (Origin::Accepted, Some(class)) = (&self.origin, self.class) {
            self.greet(lane, class);
        }
        Ok(())
    }

    /// The certificate that admitted the peer may have expired or been revoked since, and this
    /// node's own renewed (WM-1).
    pub(super) fn check_again(&mut self, link: &Link) -> Result<(), CertificateError> {
        let Some(certificate) = &self.certificate else { return Ok(()) };
        self.hub.membership.check(&self.peer, certificate)?;
        if self.grant.as_ref().is_some_and(|grant| self.is_void(grant)) {
            self.grant = None;
            self.entitle(link);
        }
        self.show(Lane::Control);
        self.show_grant();
        Ok(())
    }

    /// To look at papers costs time: a member shows new ones now and then, not all the time.
    pub(super) fn another_paper(&mut self) -> Result<(), Violation> {
        self.papers = self.papers.saturating_add(1);
        if self.papers > PAPERS_MAX { Err(Violation::Unexpected) } else { Ok(()) }
    }

    /// A member shows what another one granted it. One that does not hold changes nothing.
    pub(super) fn granted(&mut self, bytes: &[u8], link: &Link) {
        match self.hub.membership.verify_grant(&self.peer, bytes) {
            Ok(grant) => self.grant = Some(grant),
            Err(why) => tracing::warn!(peer = %self.peer, %why, "a grant is not taken"),
        }
        self.entitle(link);
    }

    /// Says on the link what its peer may ask for.
    pub(super) fn entitle(&self, link: &Link) {
        let Some(certificate) = &self.certificate else { return };
        let granted = self.grant.as_ref().and_then(Grant::rights);
        let rights = std::iter::once(certificate.rights()).chain(granted).cloned();
        link.entitle(rights.collect());
    }

    /// Shows the grant that this node holds, unless it did before.
    pub(super) fn show_grant(&mut self) {
        let Some((serial, bytes)) = self.hub.membership.own_grant() else { return };
        if serial <= self.shown_grant {
            return;
        }
        if let Some(io) = self.lanes.slot(Lane::Control) {
            self.shown_grant = serial;
            io.writer.own(kind::GRANT, 0, &bytes);
        }
    }

    fn is_void(&self, grant: &Grant) -> bool {
        self.hub.membership.check_grant(&self.peer, grant).is_err()
    }

    /// Shows this node's certificate, unless it did before.
    fn show(&mut self, lane: Lane) {
        let Some((serial, signed)) = self.hub.membership.own() else { return };
        if serial <= self.shown {
            return;
        }
        self.shown = serial;
        if let Some(io) = self.lanes.slot(lane) {
            io.writer.own(kind::CERTIFICATE, 0, &signed);
        }
    }

    pub(super) fn denied(&mut self, why: &CertificateError) {
        // What was not believed does not count as decoded.
        self.lanes.each().for_each(|io| io.reader.frames = 0);
        count(&self.hub.counters.denied, 1);
        tracing::warn!(peer = %self.peer, %why, "no member: connection closed");
    }
}
