//! What a claim does to the table of members: the transitions of the design notes.

use super::member::{Member, State};
use super::membership::Membership;
use super::message::{Claim, What};
use super::suspicion::Suspicion;
use super::{Event, Output, Peer};
use crate::machine::Time;

/// A suspicion becomes `Unreachable`, and in the end `Dead`, only with so many accusers, or with
/// as many as there are members still heard, this node included.
const ACCUSERS_WANTED: usize = 2;

impl<P: Peer> Membership<P> {
    /// Takes one claim, from whoever made it.
    pub(super) fn apply(&mut self, now: Time, claim: Claim<P>, out: &mut Vec<Output<P>>) {
        let Claim { key, boot, what } = claim;
        if key == self.me {
            return self.apply_to_self(boot, what, out);
        }
        if self.members.get(&key).is_some_and(|member| boot < member.boot) {
            return;
        }
        match what {
            What::Alive { incarnation, address } => {
                self.alive(now, key, boot, incarnation, address, out);
            }
            What::Suspect { incarnation, accuser } => {
                self.suspect(now, key, boot, incarnation, accuser, out);
            }
            What::Dead => self.gone(now, key, boot, State::Dead, out),
            What::Left => self.gone(now, key, boot, State::Left, out),
        }
    }

    /// Refutes what is said of this life (G-2), or notices that it is over (G-5).
    fn apply_to_self(&mut self, boot: u64, what: What<P>, out: &mut Vec<Output<P>>) {
        if boot < self.boot {
            return;
        }
        match what {
            What::Suspect { incarnation, .. } if boot == self.boot => {
                if incarnation >= self.incarnation {
                    self.incarnation = incarnation.saturating_add(1);
                    self.rumors.add(self.own_claim());
                }
            }
            What::Alive { incarnation, .. } if boot == self.boot => {
                self.incarnation = self.incarnation.max(incarnation);
            }
            _ => out.push(Output::Event(Event::SelfDeclaredDead { boot })),
        }
    }

    fn alive(
        &mut self,
        now: Time,
        key: P,
        boot: u64,
        incarnation: u64,
        address: String,
        out: &mut Vec<Output<P>>,
    ) {
        match self.members.get_mut(&key) {
            Some(member) if member.boot == boot => {
                if member.address.is_empty() {
                    member.address.clone_from(&address);
                }
                if member.state.is_gone() || incarnation <= member.incarnation {
                    return;
                }
                member.incarnation = incarnation;
                self.clear_suspicion(key, out);
                let what = What::Alive { incarnation, address };
                self.rumors.add(Claim { key, boot, what });
            }
            known => {
                if known.is_none() && !self.make_room() {
                    return;
                }
                self.end_smaller(key, boot, out);
                self.newcomer(now, key, boot, incarnation, address, out);
            }
        }
    }

    /// A new life: it is announced, passed on, and dialled by the smaller of the two keys.
    fn newcomer(
        &mut self,
        now: Time,
        key: P,
        boot: u64,
        incarnation: u64,
        address: String,
        out: &mut Vec<Output<P>>,
    ) {
        let state = State::Alive;
        let member = Member { boot, incarnation, state, address: address.clone(), heard: now };
        self.members.insert(key, member);
        out.push(Output::Event(Event::Alive { key, boot, address: address.clone() }));
        self.rumors.add(Claim { key, boot, what: What::Alive { incarnation, address } });
        let connected = self.connections.get(&key).is_some_and(|c| c.boot >= boot);
        if !connected && self.me < key {
            self.dial(now, key, out);
        }
    }

    /// A larger boot proves that the smaller one is over (G-1).
    fn end_smaller(&mut self, key: P, boot: u64, out: &mut Vec<Output<P>>) {
        let Some(old) = self.members.get(&key).filter(|old| old.boot < boot) else { return };
        let (old_boot, lived) = (old.boot, !old.state.is_gone());
        self.suspicions.remove(&key);
        self.probes.remove(&key);
        self.inquiries.remove(&key);
        if lived {
            out.push(Output::Event(Event::Dead { key, boot: old_boot }));
        }
    }

    pub(super) fn suspect(
        &mut self,
        now: Time,
        key: P,
        boot: u64,
        incarnation: u64,
        accuser: P,
        out: &mut Vec<Output<P>>,
    ) {
        let members = self.living_count();
        let Some(member) = self.members.get_mut(&key) else { return };
        let stale = member.boot != boot || incarnation < member.incarnation;
        if stale || member.state.is_gone() {
            return;
        }
        if incarnation > member.incarnation {
            member.incarnation = incarnation;
            self.suspicions.remove(&key);
        }
        if member.state == State::Alive {
            member.state = State::Suspect;
            out.push(Output::Event(Event::Suspect { key, boot }));
        }
        let config = &self.config;
        let suspicion =
            self.suspicions.entry(key).or_insert_with(|| Suspicion::new(now, members, config));
        if suspicion.accuse(accuser) {
            let what = What::Suspect { incarnation, accuser };
            self.rumors.add(Claim { key, boot, what });
        }
        self.conclude_all(now, out);
    }

    /// Ends a life (G-1). `Left` outranks `Dead`, so that all tables end equal.
    pub(super) fn gone(
        &mut self,
        now: Time,
        key: P,
        boot: u64,
        state: State,
        out: &mut Vec<Output<P>>,
    ) {
        if !self.members.contains_key(&key) && !self.make_room() {
            return;
        }
        self.end_smaller(key, boot, out);
        let known = self.members.get(&key).filter(|member| member.boot == boot);
        if known.is_some_and(|member| member.state >= state) {
            return;
        }
        let lived = known.is_some_and(|member| !member.state.is_gone());
        let address = known.map(|member| member.address.clone()).unwrap_or_default();
        let member = Member { boot, incarnation: 0, state, address, heard: now };
        self.members.insert(key, member);
        self.suspicions.remove(&key);
        self.probes.remove(&key);
        self.inquiries.remove(&key);
        let (event, what) = match state {
            State::Left => (Event::Left { key, boot }, What::Left),
            _ => (Event::Dead { key, boot }, What::Dead),
        };
        if lived {
            out.push(Output::Event(event));
        }
        self.rumors.add(Claim { key, boot, what });
    }

    /// Back to `Alive`: refuted, or nobody confirmed.
    fn clear_suspicion(&mut self, key: P, out: &mut Vec<Output<P>>) {
        self.suspicions.remove(&key);
        let Some(member) = self.members.get_mut(&key) else { return };
        if matches!(member.state, State::Suspect | State::Unreachable) {
            member.state = State::Alive;
            out.push(Output::Event(Event::Reachable { key, boot: member.boot }));
        }
    }

    /// How many accusers a verdict takes just now (G-3).
    fn accusers_wanted(&self) -> usize {
        ACCUSERS_WANTED.min(1 + self.heard_peers().len())
    }

    /// Moves every suspicion whose accusers or time suffice.
    pub(super) fn run_suspicions(&mut self, now: Time, out: &mut Vec<Output<P>>) {
        if self.suspicions.is_empty() {
            return;
        }
        let wanted = self.accusers_wanted();
        let keys: Vec<P> = self.suspicions.keys().copied().collect();
        for key in keys {
            let Some(suspicion) = self.suspicions.get(&key) else { continue };
            let enough = suspicion.accusers_count() >= wanted;
            let (dies_at, lapses_at) = (suspicion.dies_at(), suspicion.lapses_at());
            let Some(member) = self.members.get_mut(&key) else { continue };
            let boot = member.boot;
            if enough && member.state == State::Suspect {
                member.state = State::Unreachable;
                out.push(Output::Event(Event::Unreachable { key, boot }));
            }
            if enough && now >= dies_at {
                self.gone(now, key, boot, State::Dead, out);
            } else if now >= lapses_at {
                self.rumors.forget(key);
                self.clear_suspicion(key, out);
            }
        }
    }

    pub(super) fn next_suspicion(&self) -> Time {
        if self.suspicions.is_empty() {
            return Time(u64::MAX);
        }
        let wanted = self.accusers_wanted();
        let due = |suspicion: &Suspicion<P>| {
            if suspicion.accusers_count() >= wanted {
                suspicion.dies_at()
            } else {
                suspicion.lapses_at()
            }
        };
        self.suspicions.values().map(due).min().unwrap_or(Time(u64::MAX))
    }

    /// A peer holds this life dead. When each side holds the other dead, as after a partition,
    /// the side with fewer living members gives in, and of equals the larger key.
    pub(super) fn fenced(&mut self, from: P, boot: u64, alive: u32, out: &mut Vec<Output<P>>) {
        if boot < self.boot {
            return;
        }
        let over = |connection_boot: u64| {
            let dead = |m: &Member| m.boot > connection_boot || m.state == State::Dead;
            self.members.get(&from).is_some_and(dead)
        };
        let mutual = self.connections.get(&from).is_some_and(|c| over(c.boot));
        let ours = self.living_count() as u32;
        let stronger = ours > alive || (ours == alive && self.me < from);
        if !(mutual && stronger) {
            out.push(Output::Event(Event::SelfDeclaredDead { boot }));
        }
    }
}
