//! The end of a connection: why, what comes back, who is told.

use std::task::Context;

use super::{LaneHandler, Origin, Phase, Tell};
use crate::net::{
    CertificateError, DialOutcome,
    frame::Violation,
    hello::{Class, Terms, kind},
    hub::count,
    limits::LAST_READ_BYTES_MAX,
    link::Link,
};

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum Reason {
    Bye,
    /// The socket or a substream ended.
    Lost,
    Silent,
    Slow,
    Spare,
    /// This side closes the link.
    Local,
    Refused(String),
    /// The peer is no member, or is it no longer.
    Denied(CertificateError),
    Violation(Violation),
}

impl From<Violation> for Reason {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<CertificateError> for Reason {
    fn from(error: CertificateError) -> Self {
        Self::Denied(error)
    }
}

impl LaneHandler {
    /// The peer leaves when it said so on each lane: all that it wrote before has been read.
    pub(super) fn bye(&mut self) -> Result<(), Reason> {
        self.byes = self.byes.saturating_add(1);
        if self.byes == self.lanes.each().count() { Err(Reason::Bye) } else { Ok(()) }
    }

    /// Everything is written: says so on every lane and waits for the peer to close.
    pub(super) fn leave(&mut self, link: Link, cx: &mut Context<'_>) -> Result<(), Reason> {
        if self.class == Some(Class::Bulk) {
            return Ok(());
        }
        self.lanes.each().for_each(|io| io.writer.own(kind::BYE, 0, &[]));
        self.linger(Some(link));
        self.write(cx)
    }

    pub(super) fn linger(&mut self, link: Option<Link>) {
        self.clock.deadline(self.hub.limits.close_timeout);
        self.phase = Phase::Lingering(link);
    }

    /// Ends the connection: at once, or, when the acceptor refused the peer's version, after the
    /// hello that tells the peer why had its time to arrive.
    pub(super) fn end(&mut self, reason: &Reason, cx: &mut Context<'_>) {
        let refused = matches!(reason, Reason::Refused(_));
        if refused && matches!((&self.origin, &self.phase), (Origin::Accepted, Phase::Greeting)) {
            self.not_joined(reason);
            self.linger(None);
            cx.waker().wake_by_ref();
        } else {
            self.finish(reason);
        }
    }

    /// Leaves the link, drops the substreams and tells whoever waits for the outcome.
    pub(super) fn finish(&mut self, reason: &Reason) {
        let phase = std::mem::replace(&mut self.phase, Phase::Done);
        if matches!(phase, Phase::Done) {
            return;
        }
        if let Reason::Denied(why) = reason {
            self.denied(why);
        }
        let lanes = std::mem::take(&mut self.lanes);
        self.to_open.clear();
        let unwritten = [lanes.control, lanes.call, lanes.bulk]
            .into_iter()
            .flatten()
            .flat_map(|io| io.writer.into_unwritten())
            .collect();
        if let Reason::Violation(violation) = reason {
            count(&self.hub.counters.violations, 1);
            let terms = match &phase {
                Phase::Carrying(link) => link.terms(),
                _ => Terms::default(),
            };
            // Of a stranger nothing is kept: it can have as many keys as it likes.
            if self.certificate.is_some() || !self.hub.membership.by_certificate() {
                self.hub.strike(self.peer);
            }
            tracing::warn!(peer = %self.peer, %violation, %terms, "connection closed");
        }
        if matches!(reason, Reason::Violation(_) | Reason::Denied(_) | Reason::Slow) {
            self.tell.push_back(Tell::Close);
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

    pub(super) fn not_joined(&self, reason: &Reason) {
        if let Reason::Refused(why) = reason {
            tracing::warn!(peer = %self.peer, why, "peer refused");
        }
        let Origin::Dialed { class, .. } = &self.origin else { return };
        let link = self.hub.link(&self.peer).filter(|link| !link.terms().observer);
        match (class, link) {
            (Class::Bulk, Some(link)) => link.bulk_failed(),
            // A link that is over, whose end is just being reported, is none that was dialed for.
            (Class::Control, link) if !link.as_ref().is_some_and(Link::is_open) => {
                self.hub.inbound.dial_outcome(self.peer, outcome(reason));
            }
            _ => {}
        }
    }

    /// The connection failed under the handler: what had arrived is still delivered.
    pub(super) fn lost(&mut self, cx: &mut Context<'_>) {
        let reason = match self.read(LAST_READ_BYTES_MAX, cx) {
            Ok(()) => Reason::Lost,
            Err(reason) => reason,
        };
        self.count_frames();
        self.finish(&reason);
    }
}

fn outcome(reason: &Reason) -> DialOutcome {
    match reason {
        Reason::Slow | Reason::Silent => DialOutcome::TimedOut,
        Reason::Lost | Reason::Bye => DialOutcome::Denied,
        Reason::Local => DialOutcome::Other("this node closed the connection".into()),
        Reason::Spare => DialOutcome::Other("the peer holds another connection with us".into()),
        Reason::Refused(why) => DialOutcome::Other(why.clone()),
        Reason::Denied(why) => DialOutcome::Other(format!("the peer is no member: {why}")),
        Reason::Violation(violation) => DialOutcome::Other(violation.to_string()),
    }
}
