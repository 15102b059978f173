//! What silence does: one member is probed each period, directly and then through others.
//!
//! Any frame of the member after the start of the probe answers it, acknowledgement or not.

use super::membership::Membership;
use super::message::Body;
use super::{Output, Peer};
use crate::machine::Time;

/// Pings that this node passes on for others at one time.
const RELAYS_MAX: usize = 1_024;

/// A question to a member that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    boot: u64,
    nonce: u64,
    started: Time,
    /// When others are asked; nothing once they were.
    ask_at: Option<Time>,
    ends: Time,
}

impl Probe {
    pub(super) fn due(&self) -> Time {
        self.ask_at.unwrap_or(self.ends)
    }
}

/// A ping made for another member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relay<P> {
    asker: P,
    nonce: u64,
    ends: Time,
}

impl<P: Peer> Membership<P> {
    /// Takes the body of a frame that belongs to membership.
    pub(super) fn body(&mut self, now: Time, from: P, body: Body<P>, out: &mut Vec<Output<P>>) {
        match body {
            Body::Ping { nonce } => self.send(from, Body::Ack { nonce }, out),
            Body::Ack { nonce } => self.acknowledged(nonce, out),
            Body::PingFor { nonce, target } => self.ping_for(now, from, nonce, target, out),
            Body::AskDial { key, boot } => self.asked_to_dial(now, from, key, boot, out),
            Body::Dialled { key, boot, outcome } => {
                self.answered(now, from, key, boot, outcome, out);
            }
            Body::Sync { answer: true } => self.send_sync(from, false, out),
            Body::Sync { answer: false }
            | Body::Claims
            | Body::Fenced { .. }
            | Body::Digest(_)
            | Body::Delta { .. } => {}
        }
    }

    /// Starts probing `key`; `hint` says that something already speaks against it, so that others
    /// are asked at once and the answer is due within the probe timeout.
    pub(super) fn probe(&mut self, now: Time, key: P, hint: bool, out: &mut Vec<Output<P>>) {
        let Some(boot) = self.members.get(&key).map(|member| member.boot) else { return };
        self.nonce = self.nonce.wrapping_add(1);
        let nonce = self.nonce;
        let direct = self.is_connected(key) && !hint;
        let wait = if direct { self.config.probe_period } else { self.config.probe_timeout };
        let ask_at = Some(if direct { now.after(self.config.probe_timeout) } else { now });
        let ends = now.after(wait.max(self.config.probe_timeout));
        self.probes.insert(key, Probe { boot, nonce, started: now, ask_at, ends });
        if direct {
            self.send(key, Body::Ping { nonce }, out);
        } else {
            self.dial(now, key, out);
        }
    }

    pub(super) fn run_probes(&mut self, now: Time, out: &mut Vec<Output<P>>) {
        if now >= self.probe_at {
            self.probe_at = now.after(self.config.probe_period);
            if let Some(key) = self.next_target() {
                self.probe(now, key, false, out);
            }
        }
        self.relays.retain(|_, relay| relay.ends > now);
        let due = |(&key, probe): (&P, &Probe)| (probe.due() <= now).then_some((key, *probe));
        let due: Vec<(P, Probe)> = self.probes.iter().filter_map(due).collect();
        for (key, probe) in due {
            self.run_probe(now, key, probe, out);
        }
    }

    fn run_probe(&mut self, now: Time, key: P, probe: Probe, out: &mut Vec<Output<P>>) {
        let Some(member) = self.members.get(&key).filter(|m| m.boot == probe.boot) else {
            self.probes.remove(&key);
            return;
        };
        let incarnation = member.incarnation;
        if member.heard > probe.started && self.is_connected(key) {
            self.probes.remove(&key);
        } else if now >= probe.ends {
            self.probes.remove(&key);
            self.suspect(now, key, probe.boot, incarnation, self.me, out);
        } else if probe.ask_at.is_some() {
            self.probes.entry(key).and_modify(|probe| probe.ask_at = None);
            let helpers = self.heard_peers().into_iter().filter(|peer| *peer != key).collect();
            for helper in self.sample(helpers, self.config.probe_helpers) {
                let body = Body::PingFor { nonce: probe.nonce, target: key };
                self.send(helper, body, out);
            }
        }
    }

    /// The next member to probe: all in random order, then again in a new one.
    fn next_target(&mut self) -> Option<P> {
        for _ in 0..2 {
            while let Some(key) = self.probe_order.pop() {
                let lives = self.members.get(&key).is_some_and(|m| !m.state.is_gone());
                if lives && !self.probes.contains_key(&key) {
                    return Some(key);
                }
            }
            let living = self.members.iter().filter(|(_, member)| !member.state.is_gone());
            let living: Vec<P> = living.map(|(&key, _)| key).collect();
            let count = living.len();
            self.probe_order = self.sample(living, count);
        }
        None
    }

    fn acknowledged(&mut self, nonce: u64, out: &mut Vec<Output<P>>) {
        self.probes.retain(|_, probe| probe.nonce != nonce);
        if let Some(relay) = self.relays.remove(&nonce).filter(|r| self.is_connected(r.asker)) {
            self.send(relay.asker, Body::Ack { nonce: relay.nonce }, out);
        }
    }

    fn ping_for(&mut self, now: Time, asker: P, nonce: u64, target: P, out: &mut Vec<Output<P>>) {
        if !self.is_connected(target) || self.relays.len() >= RELAYS_MAX {
            return;
        }
        self.nonce = self.nonce.wrapping_add(1);
        let ends = now.after(self.config.probe_period);
        self.relays.insert(self.nonce, Relay { asker, nonce, ends });
        self.send(target, Body::Ping { nonce: self.nonce }, out);
    }
}
