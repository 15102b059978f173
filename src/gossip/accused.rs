//! What becomes of a node that others hold dead.
//!
//! One member alone ends nobody, since it may be the one in error: a newcomer that came in by the
//! smaller side of a partition has its verdicts. So it takes as many as hold a majority of the
//! connections of this node, three at most; a single one is told the same of itself.

use std::time::Duration;

use super::member::State;
use super::membership::Membership;
use super::message::{Body, Claim, Frame, What, plain};
use super::{Event, Output, Peer};
use crate::machine::Time;

/// So many are believed, whatever the others say.
const ACCUSERS_MAX: usize = 3;
/// How long the word of one counts.
const ACCUSATION_TTL: Duration = Duration::from_millis(10_000);

impl<P: Peer> Membership<P> {
    /// Whether a claim says that this life is over.
    fn is_end_of_mine(&self, claim: &Claim<P>) -> bool {
        let ends = match claim.what {
            What::Dead | What::Left => claim.boot >= self.boot,
            What::Alive { .. } | What::Suspect { .. } => claim.boot > self.boot,
        };
        claim.key == self.me && ends
    }

    /// Takes a claim of a peer that is alive.
    pub(super) fn told(&mut self, now: Time, from: P, claim: Claim<P>, out: &mut Vec<Output<P>>) {
        if self.is_end_of_mine(&claim) {
            return self.accused(now, from, (claim.boot, 0), out);
        }
        let doubts_me = claim.key == self.me && matches!(claim.what, What::Suspect { .. });
        self.apply(now, claim, out);
        if doubts_me {
            // The refutation may have missed just this peer.
            let claims = self.claims_about(self.me);
            out.push(Output::Send {
                to: from,
                bytes: Frame { claims, body: Body::Claims }.encode(),
            });
        }
    }

    /// A verdict that came with a table, on a life that this node hears: the table is in error, or
    /// those who heard of it first hand will say so.
    pub(super) fn knows_better(&self, claim: &Claim<P>) -> bool {
        let connected = |boot| self.connections.get(&claim.key).is_some_and(|c| c.boot == boot);
        claim.what == What::Dead && self.is_heard(claim.key) && connected(claim.boot)
    }

    /// A peer holds this life dead (G-5). When each side holds the other dead, as after a partition,
    /// the side with fewer living members gives in, and of equals the larger key.
    pub(super) fn accused(
        &mut self,
        now: Time,
        from: P,
        (boot, alive): (u64, u32),
        out: &mut Vec<Output<P>>,
    ) {
        if boot < self.boot {
            return;
        }
        self.accusers.retain(|_, at| now.since(*at) < ACCUSATION_TTL);
        let ours = self.living_count() as u32;
        let mutual = self.holds_dead(from);
        if mutual && (ours > alive || (ours == alive && self.me < from)) {
            // The weaker side's word is none, and does not add to that of others.
            self.accusers.remove(&from);
            return;
        }
        self.accusers.insert(from, now);
        if self.accusers.len() >= ACCUSERS_MAX.min(self.connections.len() / 2 + 1) {
            out.push(Output::Event(Event::SelfDeclaredDead { boot }));
        } else if let (false, Some(boot)) = (mutual, self.notice_due(now, from)) {
            out.push(plain(from, Body::Fenced { boot, alive: ours }));
        }
    }

    fn holds_dead(&self, peer: P) -> bool {
        let (Some(connection), Some(member)) = (self.connections.get(&peer), self.table.get(peer))
        else {
            return false;
        };
        member.boot() > connection.boot || member.state == State::Dead
    }
}
