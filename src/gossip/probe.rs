//! What silence does: one neighbour is probed each period, directly and then through others.
//!
//! Any frame of the member after the start of the probe answers it, acknowledgement or not. A
//! helper that gets no answer says so: without such a word the asker doubts its own health.

use std::collections::BTreeMap;

use super::membership::Membership;
use super::message::{Body, Frame};
use super::{Output, Peer};
use crate::machine::Time;

/// Pings that this node passes on for others at one time.
const RELAYS_MAX: usize = 1_024;

/// The probes of one node.
#[derive(Debug)]
pub(super) struct Probes<P> {
    pub(super) open: BTreeMap<P, Probe>,
    relays: BTreeMap<u64, Relay<P>>,
    order: Vec<P>,
    nonce: u64,
    pub(super) at: Time,
}

/// A question to a member that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    boot: u64,
    nonce: u64,
    started: Time,
    /// When others are asked; nothing once they were.
    ask_at: Option<Time>,
    /// Helpers that have neither reached the member nor said that they cannot.
    owing: u32,
    helped: bool,
    ends: Time,
}

/// A ping made for another member.
#[derive(Clone, Copy, Debug)]
struct Relay<P> {
    asker: P,
    nonce: u64,
    ends: Time,
}

impl<P: Peer> Probes<P> {
    pub(super) fn new() -> Self {
        let (open, relays) = (BTreeMap::new(), BTreeMap::new());
        Self { open, relays, order: Vec::new(), nonce: 0, at: Time(0) }
    }

    pub(super) fn next_timer(&self) -> Time {
        let probes = self.open.values().map(|probe| probe.ask_at.unwrap_or(probe.ends));
        probes.chain(self.relays.values().map(|relay| relay.ends)).fold(self.at, Time::min)
    }

    fn next_nonce(&mut self) -> u64 {
        self.nonce = self.nonce.wrapping_add(1);
        self.nonce
    }
}

impl<P: Peer> Membership<P> {
    /// Starts probing `key`; `hint` says that something already speaks against it, so that others
    /// are asked at once and the answer is due within the probe timeout.
    pub(super) fn probe(&mut self, now: Time, key: P, hint: bool, out: &mut Vec<Output<P>>) {
        let Some(boot) = self.table.get(key).map(|member| member.boot()) else { return };
        let nonce = self.probes.next_nonce();
        let direct = self.is_connected(key) && !hint;
        let timeout = self.config.probe_timeout;
        let wait = if direct { self.config.probe_period.max(timeout) } else { timeout };
        let ask_at = Some(if direct { now.after(timeout) } else { now });
        let ends = now.after(self.health.stretch(wait));
        let probe = Probe { boot, nonce, started: now, ask_at, owing: 0, helped: false, ends };
        self.probes.open.insert(key, probe);
        if direct {
            self.ping(key, nonce, out);
        } else {
            self.dial(now, key, out);
        }
    }

    /// A suspected member hears of it first, so that it can refute at once.
    fn ping(&mut self, to: P, nonce: u64, out: &mut Vec<Output<P>>) {
        let mut claims = self.rumors_for(to);
        if self.suspicions.contains_key(&to) {
            claims.extend(self.claims_about(to));
        }
        out.push(Output::Send { to, bytes: Frame { claims, body: Body::Ping { nonce } }.encode() });
    }

    pub(super) fn run_probes(&mut self, now: Time, out: &mut Vec<Output<P>>) {
        if now >= self.probes.at {
            self.probes.at = now.after(self.health.stretch(self.config.probe_period));
            if let Some(key) = self.next_target() {
                self.probe(now, key, false, out);
            }
        }
        self.run_relays(now, out);
        let due = |(&key, probe): (&P, &Probe)| {
            (probe.ask_at.unwrap_or(probe.ends) <= now).then_some((key, *probe))
        };
        let due: Vec<(P, Probe)> = self.probes.open.iter().filter_map(due).collect();
        for (key, probe) in due {
            self.run_probe(now, key, probe, out);
        }
    }

    fn run_probe(&mut self, now: Time, key: P, probe: Probe, out: &mut Vec<Output<P>>) {
        let Some(member) = self.table.get(key).filter(|m| m.lives(probe.boot)) else {
            self.probes.open.remove(&key);
            return;
        };
        let incarnation = member.incarnation;
        if self.connections.get(&key).is_some_and(|c| c.heard > probe.started) {
            self.probes.open.remove(&key);
            self.health.better();
        } else if now >= probe.ends {
            self.probes.open.remove(&key);
            self.health.worse(if probe.helped { probe.owing } else { 1 });
            self.suspect(now, key, probe.boot, incarnation, self.me, out);
        } else if probe.ask_at.is_some() {
            self.ask_helpers(key, probe, out);
        }
    }

    fn ask_helpers(&mut self, key: P, probe: Probe, out: &mut Vec<Output<P>>) {
        let helpers: Vec<P> =
            self.heard_beside(key).into_iter().filter(|peer| *peer != key).collect();
        let helpers = self.sample(helpers, self.config.probe_helpers);
        if let Some(open) = self.probes.open.get_mut(&key) {
            open.ask_at = None;
            open.owing = helpers.len() as u32;
            open.helped = !helpers.is_empty();
        }
        for helper in helpers {
            self.send(helper, Body::PingFor { nonce: probe.nonce, target: key }, out);
        }
    }

    /// The next neighbour to probe: all in random order, then again in a new one.
    fn next_target(&mut self) -> Option<P> {
        for _ in 0..2 {
            while let Some(key) = self.probes.order.pop() {
                if self.neighbours.contains(key) && !self.probes.open.contains_key(&key) {
                    return Some(key);
                }
            }
            let neighbours = self.neighbours.near().iter().chain(self.neighbours.far());
            let neighbours: Vec<P> = neighbours.copied().collect();
            let count = neighbours.len();
            self.probes.order = self.sample(neighbours, count);
        }
        None
    }

    pub(super) fn acknowledged(&mut self, nonce: u64, out: &mut Vec<Output<P>>) {
        let before = self.probes.open.len();
        self.probes.open.retain(|_, probe| probe.nonce != nonce);
        if self.probes.open.len() < before {
            self.health.better();
        }
        if let Some(relay) = self.probes.relays.remove(&nonce) {
            self.tell_asker(relay.asker, Body::Ack { nonce: relay.nonce }, out);
        }
    }

    /// A helper did not reach whom it was asked to reach: it works, and so does this node.
    pub(super) fn not_reached(&mut self, nonce: u64) {
        if let Some(probe) = self.probes.open.values_mut().find(|probe| probe.nonce == nonce) {
            probe.owing = probe.owing.saturating_sub(1);
        }
    }

    pub(super) fn ping_for(
        &mut self,
        now: Time,
        asker: P,
        nonce: u64,
        target: P,
        out: &mut Vec<Output<P>>,
    ) {
        if !self.is_connected(target) || self.probes.relays.len() >= RELAYS_MAX {
            return self.tell_asker(asker, Body::Nack { nonce }, out);
        }
        let own = self.probes.next_nonce();
        // The word that nothing came has to be there before the asker's patience ends.
        let ends = now.after(self.config.probe_timeout.mul_f64(0.8));
        self.probes.relays.insert(own, Relay { asker, nonce, ends });
        self.ping(target, own, out);
    }

    fn run_relays(&mut self, now: Time, out: &mut Vec<Output<P>>) {
        let due = |(&own, relay): (&u64, &Relay<P>)| (relay.ends <= now).then_some((own, *relay));
        let due: Vec<_> = self.probes.relays.iter().filter_map(due).collect();
        for (own, relay) in due {
            self.probes.relays.remove(&own);
            self.tell_asker(relay.asker, Body::Nack { nonce: relay.nonce }, out);
        }
    }

    fn tell_asker(&mut self, asker: P, body: Body<P>, out: &mut Vec<Output<P>>) {
        if self.is_connected(asker) {
            self.send(asker, body, out);
        }
    }
}
