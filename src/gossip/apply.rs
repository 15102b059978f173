//! What a claim does to the table of members: the transitions of the design notes.

use super::member::State;
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
            return self.apply_to_self(boot, what);
        }
        if self.table.get(key).is_some_and(|member| boot < member.boot()) {
            return;
        }
        match what {
            What::Alive { incarnation, address } => {
                self.alive(key, boot, incarnation, &address, out);
            }
            What::Suspect { incarnation, accuser } => {
                self.suspect(now, key, boot, incarnation, accuser, out);
            }
            What::Dead => self.gone(key, boot, State::Dead, out),
            What::Left => self.gone(key, boot, State::Left, out),
        }
    }

    /// Refutes what is said of this life (G-2). That it is over is not taken from one (see `accused`).
    fn apply_to_self(&mut self, boot: u64, what: What<P>) {
        if boot != self.boot {
            return;
        }
        let own = self.table.get(self.me).map_or(0, |member| member.incarnation);
        match what {
            What::Suspect { incarnation, .. } => {
                if incarnation >= own {
                    self.health.worse(1);
                    self.set_incarnation(self.me, incarnation.saturating_add(1));
                    for claim in self.claims_about(self.me) {
                        self.spread(claim, false);
                    }
                    // Now: a node that gets no processor may not run at the next round.
                    self.gossip_at = Time(0);
                }
            }
            What::Alive { incarnation, .. } => {
                self.set_incarnation(self.me, own.max(incarnation));
            }
            What::Dead | What::Left => {}
        }
    }

    fn set_incarnation(&mut self, key: P, incarnation: u32) {
        self.table.change(key, |member| member.incarnation = incarnation);
    }

    fn alive(
        &mut self,
        key: P,
        boot: u64,
        incarnation: u32,
        address: &str,
        out: &mut Vec<Output<P>>,
    ) {
        match self.table.get(key) {
            Some(member) if member.boot() == boot => {
                let (gone, known) = (member.state.is_gone(), member.incarnation);
                if self.table.address(member).is_empty() {
                    self.table.set_address(key, address);
                }
                if gone || incarnation <= known {
                    return;
                }
                self.set_incarnation(key, incarnation);
                self.clear_suspicion(key, out);
                let what = What::Alive { incarnation, address: address.to_owned() };
                self.spread(Claim { key, boot, what }, false);
            }
            known => {
                if known.is_none() && !self.make_room() {
                    return;
                }
                self.end_smaller(key, boot, out);
                self.table.put(key, boot, incarnation, State::Alive, address);
                self.rumors.forget(key);
                let address = address.to_owned();
                out.push(Output::Event(Event::Alive { key, boot, address: address.clone() }));
                let what = What::Alive { incarnation, address };
                self.news.push(Claim { key, boot, what });
            }
        }
    }

    /// A larger boot proves that the smaller one is over (G-1).
    fn end_smaller(&mut self, key: P, boot: u64, out: &mut Vec<Output<P>>) {
        let Some(old) = self.table.get(key).filter(|old| old.boot() < boot) else { return };
        let (old_boot, lived) = (old.boot(), !old.state.is_gone());
        self.drop_questions(key);
        if lived {
            out.push(Output::Event(Event::Dead { key, boot: old_boot }));
        }
    }

    fn drop_questions(&mut self, key: P) {
        self.suspicions.remove(&key);
        self.probes.open.remove(&key);
        self.inquiries.remove(&key);
    }

    pub(super) fn suspect(
        &mut self,
        now: Time,
        key: P,
        boot: u64,
        incarnation: u32,
        accuser: P,
        out: &mut Vec<Output<P>>,
    ) {
        self.follow_table(now, out);
        if !self.neighbours.contains(key) {
            return;
        }
        let Some(member) = self.table.get(key).filter(|m| m.lives(boot)) else { return };
        let (known, state) = (member.incarnation, member.state);
        if incarnation < known {
            return;
        }
        if incarnation > known {
            self.set_incarnation(key, incarnation);
            self.suspicions.remove(&key);
        }
        if state == State::Alive {
            self.table.change(key, |member| member.state = State::Suspect);
            out.push(Output::Event(Event::Suspect { key, boot }));
        }
        let (members, config) = (self.group_size(key), &self.config);
        let suspicion =
            self.suspicions.entry(key).or_insert_with(|| Suspicion::new(now, members, config));
        if suspicion.accuse(accuser) {
            let what = What::Suspect { incarnation, accuser };
            self.spread(Claim { key, boot, what }, false);
        }
        self.tell_suspect(now, key, out);
        self.conclude_all(out);
    }

    /// Ends a life (G-1). `Left` outranks `Dead`, so that all tables end equal.
    pub(super) fn gone(&mut self, key: P, boot: u64, state: State, out: &mut Vec<Output<P>>) {
        if !self.table.contains(key) && !self.make_room() {
            return;
        }
        self.end_smaller(key, boot, out);
        let known = self.table.get(key).filter(|member| member.boot() == boot);
        if known.is_some_and(|member| member.state >= state) {
            return;
        }
        let lived = known.is_some_and(|member| !member.state.is_gone());
        if known.is_some() {
            self.table.change(key, |member| member.state = state);
        } else {
            self.table.put(key, boot, 0, state, "");
        }
        self.drop_questions(key);
        let (event, what) = match state {
            State::Left => (Event::Left { key, boot }, What::Left),
            _ => (Event::Dead { key, boot }, What::Dead),
        };
        if lived {
            out.push(Output::Event(event));
        }
        self.rumors.forget(key);
        self.news.push(Claim { key, boot, what });
    }

    /// Passes births and verdicts on, to everybody.
    pub(super) fn pass_on_news(&mut self) {
        for claim in std::mem::take(&mut self.news) {
            self.spread(claim, true);
        }
    }

    /// Back to `Alive`: refuted, or nobody confirmed.
    fn clear_suspicion(&mut self, key: P, out: &mut Vec<Output<P>>) {
        self.suspicions.remove(&key);
        let Some(member) = self.table.get(key) else { return };
        let boot = member.boot();
        if matches!(member.state, State::Suspect | State::Unreachable) {
            self.table.change(key, |member| member.state = State::Alive);
            out.push(Output::Event(Event::Reachable { key, boot }));
        }
    }

    /// How many accusers a verdict takes just now (G-3).
    fn accusers_wanted(&self) -> usize {
        let heard = |keys: &[P]| keys.iter().any(|key| self.is_heard(*key));
        let any = heard(self.neighbours.near()) || heard(self.neighbours.far());
        ACCUSERS_WANTED.min(1 + usize::from(any))
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
            let Some(member) = self.table.get(key) else { continue };
            let (boot, state) = (member.boot(), member.state);
            if enough && state == State::Suspect {
                self.table.change(key, |member| member.state = State::Unreachable);
                out.push(Output::Event(Event::Unreachable { key, boot }));
            }
            if enough && now >= dies_at {
                self.gone(key, boot, State::Dead, out);
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
}
