//! The table of members, its connections and its timers. What a claim does is in `apply`, what
//! silence does in `probe`, what a closed connection does in `inquiry`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::connection::{Connection, Dialling};
use super::inquiry::Inquiry;
use super::member::{Member, MemberView, State};
use super::message::{Body, Claim, Frame, What};
use super::probe::{Probe, Relay};
use super::rumors::Rumors;
use super::suspicion::Suspicion;
use super::{Config, Output, Peer, earliest};
use crate::machine::{Rng, Time};

/// Claims of a full exchange are sent in frames of about this size.
const SYNC_BYTES_MAX: usize = 16 * 1024;

/// Who lives, as far as this node knows.
#[derive(Debug)]
pub(super) struct Membership<P> {
    pub(super) me: P,
    pub(super) boot: u64,
    pub(super) incarnation: u64,
    pub(super) config: Config,
    pub(super) rng: Rng,
    pub(super) members: BTreeMap<P, Member>,
    pub(super) suspicions: BTreeMap<P, Suspicion<P>>,
    pub(super) connections: BTreeMap<P, Connection>,
    pub(super) rumors: Rumors<P>,
    pub(super) probes: BTreeMap<P, Probe>,
    pub(super) relays: BTreeMap<u64, Relay<P>>,
    pub(super) probe_order: Vec<P>,
    pub(super) nonce: u64,
    pub(super) inquiries: BTreeMap<P, Inquiry<P>>,
    pub(super) dialling: BTreeMap<P, Dialling>,
    pub(super) probe_at: Time,
    gossip_at: Time,
    sync_at: Time,
    redial_at: Time,
}

impl<P: Peer> Membership<P> {
    pub(super) fn new(me: P, boot: u64, seed: u64, config: Config) -> Self {
        Self {
            me,
            boot,
            incarnation: 0,
            config,
            rng: Rng::new(seed),
            members: BTreeMap::new(),
            suspicions: BTreeMap::new(),
            connections: BTreeMap::new(),
            rumors: Rumors::new(),
            probes: BTreeMap::new(),
            relays: BTreeMap::new(),
            probe_order: Vec::new(),
            nonce: 0,
            inquiries: BTreeMap::new(),
            dialling: BTreeMap::new(),
            probe_at: Time(0),
            gossip_at: Time(0),
            sync_at: Time(0),
            redial_at: Time(0),
        }
    }

    /// Spreads the first timers, so that nodes started together do not step together.
    pub(super) fn start(&mut self, now: Time) {
        self.probe_at = now.after(self.config.probe_period.mul_f64(self.rng.unit()));
        self.gossip_at = now.after(self.config.gossip_period.mul_f64(self.rng.unit()));
        self.redial_at = now.after(self.config.redial_period.mul_f64(self.rng.unit()));
        self.sync_at = now.after(self.sync_period().mul_f64(self.rng.unit()));
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn listens_at(&mut self, address: String) {
        self.config.address = address;
    }

    pub(super) fn member(&self, key: P) -> Option<MemberView<'_, P>> {
        self.members.get(&key).map(|member| self.look(key, member))
    }

    pub(super) fn members(&self) -> impl Iterator<Item = MemberView<'_, P>> {
        self.members.iter().map(|(&key, member)| self.look(key, member))
    }

    fn look<'a>(&self, key: P, member: &'a Member) -> MemberView<'a, P> {
        MemberView {
            key,
            boot: member.boot,
            incarnation: member.incarnation,
            state: member.state,
            address: &member.address,
            connected: self.connections.get(&key).is_some_and(|c| c.boot == member.boot),
        }
    }

    /// Whether this life is this node's own or in state `Alive`.
    pub(super) fn is_alive(&self, key: P, boot: u64) -> bool {
        let alive = |m: &Member| m.boot == boot && m.state == State::Alive;
        (key == self.me && boot == self.boot) || self.members.get(&key).is_some_and(alive)
    }

    /// Whether records of this life are wanted.
    pub(super) fn is_known(&self, key: P, boot: u64) -> bool {
        self.members.get(&key).is_some_and(|m| m.boot == boot && !m.state.is_gone())
    }

    /// How many lives are not over, this node included.
    pub(super) fn living_count(&self) -> usize {
        1 + self.members.values().filter(|m| !m.state.is_gone()).count()
    }

    /// Members in state `Alive` over an open connection: those this node still hears.
    pub(super) fn heard_peers(&self) -> Vec<P> {
        let heard = |key: &P| self.is_heard(*key);
        self.connections.keys().copied().filter(heard).collect()
    }

    pub(super) fn is_heard(&self, key: P) -> bool {
        self.connections.get(&key).is_some_and(|c| self.is_alive(key, c.boot))
    }

    /// With whom records are exchanged.
    pub(super) fn exchange_peers(&self) -> impl Fn() -> Vec<P> + '_ {
        || self.heard_peers()
    }

    /// Forgives the silence of others while this node itself was not running.
    pub(super) fn excuse(&mut self, now: Time, late: Duration) {
        if late < self.config.probe_timeout {
            return;
        }
        self.probes.clear();
        self.probe_at = now.after(self.config.probe_period);
        self.suspicions.values_mut().for_each(|suspicion| suspicion.postpone(late));
    }

    pub(super) fn run_timers(&mut self, now: Time, out: &mut Vec<Output<P>>) {
        self.run_inquiries(now, out);
        self.run_probes(now, out);
        self.run_suspicions(now, out);
        if now >= self.gossip_at {
            self.gossip_at = now.after(self.config.gossip_period);
            self.gossip(out);
        }
        if now >= self.redial_at {
            self.redial_at = now.after(self.config.redial_period);
            self.redial(now, out);
        }
        if now >= self.sync_at {
            self.sync_at = now.after(self.sync_period());
            let peers = self.heard_peers();
            if let Some(peer) = self.sample(peers, 1).pop() {
                self.send_sync(peer, true, out);
            }
        }
    }

    pub(super) fn next_timer(&self) -> Time {
        let timers = [
            self.probe_at,
            if self.rumors.is_empty() { Time(u64::MAX) } else { self.gossip_at },
            self.redial_at,
            self.sync_at,
            earliest(&self.probes, |probe| Some(probe.due())),
            earliest(&self.inquiries, |inquiry| Some(inquiry.due())),
            self.next_suspicion(),
        ];
        timers.into_iter().min().unwrap_or(self.probe_at)
    }

    fn gossip(&mut self, out: &mut Vec<Output<P>>) {
        if self.rumors.is_empty() {
            return;
        }
        let peers = self.connections.keys().copied().collect();
        for to in self.sample(peers, self.config.fanout) {
            self.send(to, Body::Claims, out);
        }
    }

    /// Dials one known life that has no connection, also a dead one: it may be a partition.
    fn redial(&mut self, now: Time, out: &mut Vec<Output<P>>) {
        self.forget_dials(now);
        let apart = self.members.iter().filter(|(key, m)| {
            m.state != State::Left && !m.address.is_empty() && !self.is_connected(**key)
        });
        let apart = apart.map(|(&key, _)| key).collect();
        if let Some(key) = self.sample(apart, 1).pop() {
            self.dial(now, key, out);
        }
    }

    fn sync_period(&self) -> Duration {
        let doublings = (self.living_count() as f64 / 32.0).log2().ceil().max(0.0);
        self.config.sync_period.mul_f64(doublings + 1.0)
    }

    /// Sends all claims this node would make, in bounded frames.
    pub(super) fn send_sync(&mut self, to: P, answer: bool, out: &mut Vec<Output<P>>) {
        let keys: BTreeSet<P> = self.members.keys().copied().chain([self.me]).collect();
        let mut claims = Vec::new();
        let mut bytes = 0;
        for claim in keys.into_iter().flat_map(|key| self.claims_about(key)) {
            let size = claim.size();
            if bytes + size > SYNC_BYTES_MAX {
                let claims = std::mem::take(&mut claims);
                let frame = Frame { claims, body: Body::Claims };
                out.push(Output::Send { to, bytes: frame.encode() });
                bytes = 0;
            }
            bytes += size;
            claims.push(claim);
        }
        let frame = Frame { claims, body: Body::Sync { answer } };
        out.push(Output::Send { to, bytes: frame.encode() });
    }

    /// Everything this node would claim about `key`.
    pub(super) fn claims_about(&self, key: P) -> Vec<Claim<P>> {
        if key == self.me {
            return vec![self.own_claim()];
        }
        let Some(member) = self.members.get(&key) else { return Vec::new() };
        let boot = member.boot;
        let incarnation = member.incarnation;
        match member.state {
            State::Dead => return vec![Claim { key, boot, what: What::Dead }],
            State::Left => return vec![Claim { key, boot, what: What::Left }],
            State::Alive | State::Suspect | State::Unreachable => {}
        }
        let what = What::Alive { incarnation, address: member.address.clone() };
        let accusers = self.suspicions.get(&key).into_iter().flat_map(Suspicion::accusers);
        let accused = accusers.map(|accuser| What::Suspect { incarnation, accuser });
        [what].into_iter().chain(accused).map(|what| Claim { key, boot, what }).collect()
    }

    pub(super) fn own_claim(&self) -> Claim<P> {
        let address = self.config.address.clone();
        let what = What::Alive { incarnation: self.incarnation, address };
        Claim { key: self.me, boot: self.boot, what }
    }

    /// Sends `body`, with claims to pass on, over the open connection.
    pub(super) fn send(&mut self, to: P, body: Body<P>, out: &mut Vec<Output<P>>) {
        let told_max = 4 * ((self.living_count() + 1) as f64).log10().ceil() as u32;
        let claims = self.rumors.take(told_max);
        out.push(Output::Send { to, bytes: Frame { claims, body }.encode() });
    }

    /// At most `count` of `from`, drawn at random.
    pub(super) fn sample(&mut self, mut from: Vec<P>, count: usize) -> Vec<P> {
        let count = count.min(from.len());
        for at in 0..count {
            let rest = (from.len() - at) as u64;
            from.swap(at, at + self.rng.below(rest) as usize);
        }
        from.truncate(count);
        from
    }

    /// Makes room for one more member; false when all that are known still live.
    pub(super) fn make_room(&mut self) -> bool {
        if self.members.len() + 1 < self.config.members_max {
            return true;
        }
        let gone = |(&key, m): (&P, &Member)| {
            (m.state.is_gone() && !self.is_connected(key)).then_some((m.heard, key))
        };
        let oldest = self.members.iter().filter_map(gone).min();
        oldest.is_some_and(|(_, key)| self.members.remove(&key).is_some())
    }
}
