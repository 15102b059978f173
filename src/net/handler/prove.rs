//! Certificates: shown, checked, and checked again.

use bytes::Bytes;

use super::{LaneHandler, Origin, Phase, Tell, leave::Reason};
use crate::net::{
    CertificateError,
    hello::{Class, kind},
    hub::count,
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
    pub(super) fn check_again(&mut self) -> Result<(), CertificateError> {
        let Some(certificate) = &self.certificate else { return Ok(()) };
        self.hub.membership.check(&self.peer, certificate)?;
        self.show(Lane::Control);
        Ok(())
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
