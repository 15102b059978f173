//! Connections: what opens one, what a frame over one says, and dials under way.

use std::collections::btree_map::Entry;
use std::time::Duration;

use super::member::State;
use super::membership::Membership;
use super::message::{Body, Claim, Frame, Outcome, What, plain};
use super::{ADDRESS_BYTES_MAX, Event, Output, Peer};
use crate::machine::Time;

/// A fenced or suspected sender is told so at most this often.
const NOTICE_PERIOD: Duration = Duration::from_millis(200);
/// A dial without an answer is forgotten after this long.
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) boot: u64,
    /// When a frame last came, or when it opened.
    pub(super) heard: Time,
    /// The version of the table in which this life was last found not to be over: until the next
    /// one nothing has to be looked up.
    lives_at: Option<u64>,
    /// When this peer was last told that its life is over.
    fenced: Option<Time>,
}

/// A dial under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialling {
    /// The life whose address is dialled.
    boot: u64,
    since: Time,
}

impl<P: Peer> Membership<P> {
    /// Asks for a dial unless one is under way; false when there is no address.
    pub(super) fn dial(&mut self, now: Time, key: P, out: &mut Vec<Output<P>>) -> bool {
        let Some(member) = self.table.get(key) else { return false };
        let address = self.table.address(member);
        if address.is_empty() {
            return false;
        }
        if let Entry::Vacant(entry) = self.dialling.entry(key) {
            entry.insert(Dialling { boot: member.boot(), since: now });
            out.push(Output::Dial { key, address: address.to_owned() });
        }
        true
    }

    /// A dial ended without a connection: the life it was meant for, if that still matters. What
    /// an old address refuses says nothing about a newer life, which is dialled instead.
    pub(super) fn dialled(&mut self, now: Time, key: P, out: &mut Vec<Output<P>>) -> Option<u64> {
        let meant = self.dialling.remove(&key)?.boot;
        let boot = self.table.get(key).filter(|member| !member.state.is_gone())?.boot();
        if self.is_connected(key) {
            return None;
        }
        if boot != meant {
            self.dial(now, key, out);
            return None;
        }
        Some(boot)
    }

    /// Gives up on dials that never were answered.
    pub(super) fn forget_dials(&mut self, now: Time) {
        self.dialling.retain(|_, dialling| now.since(dialling.since) < DIAL_TIMEOUT);
    }

    /// Whether its present life is in state `Alive` and connected.
    pub(super) fn is_heard(&self, key: P) -> bool {
        let Some(connection) = self.connections.get(&key) else { return false };
        if connection.lives_at == Some(self.table.version()) {
            return self.suspicions.is_empty() || !self.suspicions.contains_key(&key);
        }
        self.is_alive(key, connection.boot)
    }

    pub(super) fn is_connected(&self, key: P) -> bool {
        self.connections.contains_key(&key)
    }

    /// A connection opened; true when its life takes part.
    pub(super) fn connected(
        &mut self,
        now: Time,
        key: P,
        boot: u64,
        address: String,
        out: &mut Vec<Output<P>>,
    ) -> bool {
        if key == self.me {
            return false;
        }
        self.dialling.remove(&key);
        if !self.table.contains(key) && !self.make_room() {
            out.push(Output::Event(Event::Full { key }));
            return false;
        }
        if self.connections.get(&key).is_some_and(|open| open.boot > boot) {
            return false;
        }
        self.connections.insert(key, Connection { boot, heard: now, lives_at: None, fenced: None });
        let address = if address.len() > ADDRESS_BYTES_MAX { String::new() } else { address };
        let known = self.table.get(key).filter(|member| member.boot() == boot);
        let incarnation = known.map_or(0, |member| member.incarnation);
        let what = What::Alive { incarnation, address: address.clone() };
        self.apply(now, Claim { key, boot, what }, out);
        if !self.hear(now, key, out) {
            return false;
        }
        if !address.is_empty() {
            self.table.set_address(key, &address);
        }
        // Whatever spoke against this life is answered.
        self.probes.open.remove(&key);
        self.settle(now, key, boot, Outcome::Reached, out);
        self.follow_table(now, out);
        if !self.rumors.is_empty() {
            self.send(key, Body::Claims, out);
        }
        if !self.complete {
            self.send_sums(key, out);
        }
        true
    }

    /// Which life a peer is told to be over; `None` if it was told so just now.
    pub(super) fn notice_due(&mut self, now: Time, peer: P) -> Option<u64> {
        let known = self.table.get(peer).map_or(0, |member| member.boot());
        let connection = self.connections.get_mut(&peer)?;
        let due = connection.fenced.is_none_or(|at| now.since(at) >= NOTICE_PERIOD);
        due.then(|| {
            connection.fenced = Some(now);
            known.max(connection.boot)
        })
    }

    /// Takes a sign of life; false when the sender's life is over, which it is told.
    pub(super) fn hear(&mut self, now: Time, from: P, out: &mut Vec<Output<P>>) -> bool {
        let alive = self.living_count() as u32;
        let version = self.table.version();
        let Some(connection) = self.connections.get_mut(&from) else { return false };
        if connection.lives_at != Some(version) {
            let Some(member) = self.table.get(from) else { return false };
            if connection.boot < member.boot() || member.state.is_gone() {
                if member.state != State::Left
                    && let Some(boot) = self.notice_due(now, from)
                {
                    out.push(plain(from, Body::Fenced { boot, alive }));
                }
                return false;
            }
            let present = connection.boot == member.boot();
            connection.lives_at = present.then_some(version);
        }
        connection.heard = now;
        if !self.suspicions.is_empty() {
            self.tell_suspect(now, from, out);
        }
        true
    }

    /// Tells a member what is said against it, if it was not told just now: its answer to that
    /// comes here, whoever else hears of it.
    pub(super) fn tell_suspect(&mut self, now: Time, key: P, out: &mut Vec<Output<P>>) {
        let connected = self.connections.contains_key(&key);
        let Some(suspicion) = self.suspicions.get_mut(&key).filter(|_| connected) else { return };
        if suspicion.told.is_some_and(|at| now.since(at) < NOTICE_PERIOD) {
            return;
        }
        suspicion.told = Some(now);
        let claims = self.claims_about(key);
        out.push(Output::Send { to: key, bytes: Frame { claims, body: Body::Claims }.encode() });
    }

    /// Says good-bye to all connected neighbours; they tell the others.
    pub(super) fn leave(&mut self, out: &mut Vec<Output<P>>) {
        let claim = Claim { key: self.me, boot: self.boot, what: What::Left };
        self.tell_neighbours(claim, out);
    }

    /// Sends one claim to every connected neighbour at once.
    pub(super) fn tell_neighbours(&self, claim: Claim<P>, out: &mut Vec<Output<P>>) {
        let about = claim.key;
        let bytes = Frame { claims: vec![claim], body: Body::Claims }.encode();
        let neighbours = self.neighbours.near().iter().chain(self.neighbours.far());
        for &to in neighbours.filter(|key| **key != about && self.is_connected(**key)) {
            out.push(Output::Send { to, bytes: bytes.clone() });
        }
    }
}
