//! What a closed connection does: everybody who can be asked dials, and when all are refused the
//! member is dead at once (G-3). A crashed process refuses; a cut cable is only silent.
//!
//! The last member to notice a crash completes the verdict: until then it answers that it still
//! is connected, and when its connection closes it tells everybody who asked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::member::State;
use super::membership::Membership;
use super::message::{Body, Claim, Frame, Outcome, What, plain};
use super::{Output, Peer};
use crate::machine::Time;

/// An inquiry without a verdict ends after this long; silence is then for the probes.
const INQUIRY_TIME: Duration = Duration::from_secs(2);
/// How soon a dial that was neither refused nor answered is made again: a process that is just being
/// killed still takes connections for a moment, and resets them.
const DIAL_AGAIN: Duration = Duration::from_millis(20);
/// Above this many members the questions are spread, so that a crash noticed by all at once is
/// asked about by few: the first verdict reaches the others before they ask.
const EAGER_MEMBERS_MAX: usize = 8;
/// How far the questions are spread, for each member.
const SPREAD_PER_MEMBER: Duration = Duration::from_micros(500);

/// The question whether one life still takes connections.
#[derive(Clone, Debug)]
pub(super) struct Inquiry<P> {
    boot: u64,
    /// How this node's own dial ended.
    own: Option<Outcome>,
    /// When this node dials again.
    dial_at: Option<Time>,
    /// When this node asks the others; nothing when it did, or only was asked.
    ask_at: Option<Time>,
    /// Whom this node asked, and what each said last.
    asked: BTreeMap<P, Option<Outcome>>,
    /// Who wants to know how this node's dial ended.
    askers: BTreeSet<P>,
    ends: Time,
}

impl<P: Peer> Inquiry<P> {
    fn new(now: Time, boot: u64) -> Self {
        let (asked, askers) = (BTreeMap::new(), BTreeSet::new());
        let ends = now.after(INQUIRY_TIME);
        Self { boot, own: None, dial_at: None, ask_at: None, asked, askers, ends }
    }

    pub(super) fn due(&self) -> Time {
        [self.ask_at, self.dial_at].into_iter().flatten().fold(self.ends, Time::min)
    }
}

impl<P: Peer> Membership<P> {
    pub(super) fn connection_closed(
        &mut self,
        now: Time,
        key: P,
        bye: bool,
        out: &mut Vec<Output<P>>,
    ) {
        let Some(connection) = self.connections.remove(&key) else { return };
        let boot = connection.boot;
        self.follow_table(now, out);
        let lives = self.table.get(key).is_some_and(|member| member.lives(boot));
        // The death of others is for their neighbours to find (GS-2).
        if !bye && lives && self.neighbours.contains(key) {
            self.inquire(now, key, boot, None);
            self.probe(now, key, true, out);
        }
        self.conclude_all(out);
    }

    /// Whoever is gone or silent cannot be asked any more: inquiries may be complete.
    pub(super) fn conclude_all(&mut self, out: &mut Vec<Output<P>>) {
        let keys: Vec<P> = self.inquiries.keys().copied().collect();
        for key in keys {
            self.conclude(key, out);
        }
    }

    pub(super) fn dial_refused(&mut self, now: Time, key: P, out: &mut Vec<Output<P>>) {
        let Some(boot) = self.dialled(now, key, out) else { return };
        self.inquire(now, key, boot, Some(Outcome::Refused));
        self.settle(now, key, boot, Outcome::Refused, out);
    }

    pub(super) fn dial_failed(&mut self, now: Time, key: P, out: &mut Vec<Output<P>>) {
        let Some(boot) = self.dialled(now, key, out) else { return };
        self.settle(now, key, boot, Outcome::Failed, out);
    }

    /// Makes this node an asker, once per inquiry.
    fn inquire(&mut self, now: Time, key: P, boot: u64, own: Option<Outcome>) {
        let members = self.group_size(key);
        let spread = SPREAD_PER_MEMBER * members as u32;
        let spread = if members <= EAGER_MEMBERS_MAX { Duration::ZERO } else { spread };
        let at = now.after(spread.mul_f64(self.rng.unit()));
        let inquiry = self.inquiries.entry(key).or_insert_with(|| Inquiry::new(now, boot));
        if inquiry.own != Some(Outcome::Refused) {
            inquiry.own = own;
        }
        if inquiry.asked.is_empty() && inquiry.ask_at.is_none() {
            inquiry.ask_at = Some(at);
            inquiry.ends = now.after(INQUIRY_TIME);
        }
    }

    pub(super) fn run_inquiries(&mut self, now: Time, out: &mut Vec<Output<P>>) {
        let due = |(&key, i): (&P, &Inquiry<P>)| (i.due() <= now).then_some(key);
        let due: Vec<P> = self.inquiries.iter().filter_map(due).collect();
        for key in due {
            let peers = self.heard_beside(key);
            let Some(inquiry) = self.inquiries.get_mut(&key) else { continue };
            if now >= inquiry.ends {
                self.inquiries.remove(&key);
                continue;
            }
            let boot = inquiry.boot;
            if inquiry.ask_at.take_if(|at| *at <= now).is_some() {
                for peer in peers.into_iter().filter(|peer| *peer != key) {
                    inquiry.asked.entry(peer).or_insert(None);
                    out.push(plain(peer, Body::AskDial { key, boot }));
                }
            }
            if inquiry.dial_at.take_if(|at| *at <= now).is_some() && !self.dial(now, key, out) {
                self.settle(now, key, boot, Outcome::Failed, out);
            }
            self.conclude(key, out);
        }
    }

    /// Another member asks this node to dial `key`.
    pub(super) fn asked_to_dial(
        &mut self,
        now: Time,
        from: P,
        key: P,
        boot: u64,
        out: &mut Vec<Output<P>>,
    ) {
        let Some(member) = self.table.get(key).filter(|m| m.boot() >= boot) else {
            let outcome = if key == self.me { Outcome::Reached } else { Outcome::Failed };
            return out.push(plain(from, Body::Dialled { key, boot, outcome }));
        };
        if key != self.me && !member.lives(boot) {
            let frame = Frame { claims: self.claims_about(key), body: Body::Claims };
            return out.push(Output::Send { to: from, bytes: frame.encode() });
        }
        let connected = self.is_connected(key);
        let inquiry = self.inquiries.entry(key).or_insert_with(|| Inquiry::new(now, boot));
        inquiry.askers.insert(from);
        let known = if connected { Some(Outcome::Reached) } else { inquiry.own };
        if let Some(outcome) = known {
            out.push(plain(from, Body::Dialled { key, boot, outcome }));
        } else if !self.dial(now, key, out) {
            self.settle(now, key, boot, Outcome::Failed, out);
        }
    }

    /// This node's own dial ended: it tells who asked, and itself.
    pub(super) fn settle(
        &mut self,
        now: Time,
        key: P,
        boot: u64,
        outcome: Outcome,
        out: &mut Vec<Output<P>>,
    ) {
        let Some(inquiry) = self.inquiries.get_mut(&key) else { return };
        inquiry.own = Some(outcome);
        inquiry.dial_at = (outcome == Outcome::Failed).then(|| now.after(DIAL_AGAIN));
        for &to in &inquiry.askers {
            if self.connections.contains_key(&to) {
                out.push(plain(to, Body::Dialled { key, boot, outcome }));
            }
        }
        if outcome == Outcome::Reached {
            self.inquiries.remove(&key);
        } else {
            self.conclude(key, out);
        }
    }

    /// A member that this node asked tells how its dial ended.
    pub(super) fn answered(
        &mut self,

        from: P,
        key: P,
        boot: u64,
        outcome: Outcome,
        out: &mut Vec<Output<P>>,
    ) {
        let Some(inquiry) = self.inquiries.get_mut(&key).filter(|i| i.boot == boot) else {
            return;
        };
        if let Some(answer) = inquiry.asked.get_mut(&from) {
            *answer = Some(outcome);
            self.conclude(key, out);
        }
    }

    /// The verdict, when everybody who can be asked was refused, this node included.
    fn conclude(&mut self, key: P, out: &mut Vec<Output<P>>) {
        let Some(inquiry) = self.inquiries.get(&key) else { return };
        let own = inquiry.ask_at.is_none() && inquiry.own == Some(Outcome::Refused);
        let refused = |(&peer, answer): (&P, &Option<Outcome>)| {
            *answer == Some(Outcome::Refused) || !self.is_heard(peer)
        };
        if own && !self.is_connected(key) && inquiry.asked.iter().all(refused) {
            let boot = inquiry.boot;
            self.gone(key, boot, State::Dead, out);
            self.tell_neighbours(Claim { key, boot, what: What::Dead }, out);
        }
    }
}
