//! The table of members, its connections and its timers. What a claim does is in `apply`, what
//! silence does in `probe`, what a closed connection does in `inquiry`, what tables learn from
//! each other in `compare`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::connection::{Connection, Dialling};
use super::health::Health;
use super::inquiry::Inquiry;
use super::member::{Member, MemberView, State};
use super::message::{Body, Claim, Frame, What};
use super::probe::Probes;
use super::rumors::{Rumors, Side};
use super::section::Neighbours;
use super::suspicion::Suspicion;
use super::table::Table;
use super::{ADDRESS_BYTES_MAX, Config, Output, Peer, earliest};
use crate::machine::{Rng, Time};

/// So often a sample is drawn from all neighbours before those that are heard are listed.
const DRAWS_MAX: usize = 16;

/// Who lives, as far as this node knows.
#[derive(Debug)]
pub(super) struct Membership<P> {
    pub(super) me: P,
    pub(super) boot: u64,
    pub(super) config: Config,
    pub(super) rng: Rng,
    pub(super) table: Table<P>,
    pub(super) neighbours: Neighbours<P>,
    pub(super) suspicions: BTreeMap<P, Suspicion<P>>,
    pub(super) connections: BTreeMap<P, Connection>,
    pub(super) rumors: Rumors<P>,
    /// Births and verdicts that are not passed on yet.
    pub(super) news: Vec<Claim<P>>,
    pub(super) probes: Probes<P>,
    pub(super) health: Health,
    pub(super) inquiries: BTreeMap<P, Inquiry<P>>,
    pub(super) dialling: BTreeMap<P, Dialling>,
    /// Who holds this life dead, and when they said so last.
    pub(super) accusers: BTreeMap<P, Time>,
    /// Whether the table was compared to its end with that of another node. Before that it says
    /// little about who the neighbours are.
    pub(super) complete: bool,
    pub(super) gossip_at: Time,
    compare_at: Time,
    redial_at: Time,
}

impl<P: Peer> Membership<P> {
    pub(super) fn new(me: P, boot: u64, seed: u64, config: Config) -> Self {
        let mut table = Table::new();
        table.put(me, boot, 0, State::Alive, &config.address);
        Self {
            me,
            boot,
            config,
            rng: Rng::new(seed),
            table,
            neighbours: Neighbours::new(),
            suspicions: BTreeMap::new(),
            connections: BTreeMap::new(),
            rumors: Rumors::new(),
            news: Vec::new(),
            probes: Probes::new(),
            health: Health::default(),
            inquiries: BTreeMap::new(),
            dialling: BTreeMap::new(),
            accusers: BTreeMap::new(),
            complete: false,
            gossip_at: Time(0),
            compare_at: Time(0),
            redial_at: Time(0),
        }
    }

    /// Spreads the first timers, so that nodes started together do not step together.
    pub(super) fn start(&mut self, now: Time) {
        self.probes.at = now.after(self.config.probe_period.mul_f64(self.rng.unit()));
        self.gossip_at = now.after(self.config.gossip_period.mul_f64(self.rng.unit()));
        self.redial_at = now.after(self.config.redial_period.mul_f64(self.rng.unit()));
        self.compare_at = now.after(self.config.compare_period.mul_f64(self.rng.unit()));
    }

    /// Puts a life into the table that was known before this node started.
    pub(super) fn restore(&mut self, key: P, boot: u64, address: &str) {
        let fits = address.len() <= ADDRESS_BYTES_MAX && self.table.len() < self.config.members_max;
        if fits && key != self.me {
            self.complete = true;
            self.table.put(key, boot, 0, State::Alive, address);
        }
    }

    /// Takes the table of another node for its own.
    pub(super) fn adopt(&mut self, table: &Table<P>) {
        if table.len() <= self.config.members_max {
            self.complete = true;
            self.table = table.clone();
            self.table.put(self.me, self.boot, 0, State::Alive, &self.config.address);
        }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn listens_at(&mut self, address: String) {
        self.table.set_address(self.me, &address);
        self.config.address = address;
    }

    pub(super) fn member(&self, key: P) -> Option<MemberView<'_, P>> {
        let member = self.table.get(key).filter(|_| key != self.me)?;
        Some(self.look(key, member))
    }

    pub(super) fn members(&self) -> impl Iterator<Item = MemberView<'_, P>> {
        let others = self.table.iter().filter(|(key, _)| *key != self.me);
        let mut members: Vec<_> = others.map(|(key, member)| self.look(key, member)).collect();
        members.sort_unstable_by_key(|member| member.key);
        members.into_iter()
    }

    fn look<'a>(&'a self, key: P, member: &Member) -> MemberView<'a, P> {
        MemberView {
            key,
            boot: member.boot(),
            incarnation: member.incarnation,
            state: member.state,
            address: self.table.address(member),
            connected: self.connections.get(&key).is_some_and(|c| c.boot == member.boot()),
            neighbour: self.neighbours.contains(key),
        }
    }

    /// Whether this life is this node's own or in state `Alive`.
    pub(super) fn is_alive(&self, key: P, boot: u64) -> bool {
        self.table.get(key).is_some_and(|m| m.boot() == boot && m.state == State::Alive)
    }

    /// How many lives are not over, this node included.
    pub(super) fn living_count(&self) -> usize {
        self.table.living()
    }

    /// The neighbours in state `Alive`, over an open connection, that could also hear `key`: its
    /// section, or the other speakers.
    pub(super) fn heard_beside(&self, key: P) -> Vec<P> {
        let far = self.neighbours.is_far(key);
        let peers = if far { self.neighbours.far() } else { self.neighbours.near() };
        peers.iter().copied().filter(|peer| self.is_heard(*peer)).collect()
    }

    /// How many can hear `key`, this node and `key` included.
    pub(super) fn group_size(&self, key: P) -> usize {
        let far = self.neighbours.is_far(key);
        1 + if far { self.neighbours.far().len() } else { self.neighbours.near().len() }
    }

    /// Forgives the silence of others while this node itself was not running.
    pub(super) fn excuse(&mut self, now: Time, late: Duration) {
        if late < self.config.probe_timeout {
            return;
        }
        self.health.worse(1);
        self.probes.open.clear();
        self.probes.at = now.after(self.health.stretch(self.config.probe_period));
        self.suspicions.values_mut().for_each(|suspicion| suspicion.postpone(late));
    }

    pub(super) fn run_timers(&mut self, now: Time, out: &mut Vec<Output<P>>) {
        self.follow_table(now, out);
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
        if now >= self.compare_at {
            self.compare_at = now.after(self.config.compare_period);
            self.compare(out);
        }
    }

    pub(super) fn next_timer(&self) -> Time {
        let timers = [
            self.probes.next_timer(),
            if self.rumors.is_empty() { Time(u64::MAX) } else { self.gossip_at },
            self.redial_at,
            self.compare_at,
            earliest(&self.inquiries, |inquiry| Some(inquiry.due())),
            self.next_suspicion(),
        ];
        timers.into_iter().min().unwrap_or(self.redial_at)
    }

    /// Finds the neighbours anew when the table says so, and dials those that are new. Of two
    /// nodes the one with the smaller key dials.
    pub(super) fn follow_table(&mut self, now: Time, out: &mut Vec<Output<P>>) {
        let new = self.neighbours.follow(self.me, &self.table, self.config.section_members_max);
        if self.complete {
            self.dial_all(now, new, out);
        }
    }

    pub(super) fn dial_neighbours(&mut self, now: Time, out: &mut Vec<Output<P>>) {
        let neighbours = self.neighbours.near().iter().chain(self.neighbours.far());
        let neighbours = neighbours.copied().collect();
        self.dial_all(now, neighbours, out);
    }

    fn dial_all(&mut self, now: Time, keys: Vec<P>, out: &mut Vec<Output<P>>) {
        for key in keys {
            let boot = self.table.get(key).map_or(0, Member::boot);
            let connected = self.connections.get(&key).is_some_and(|c| c.boot >= boot);
            if !connected && self.me < key {
                self.dial(now, key, out);
            }
        }
    }

    fn gossip(&mut self, out: &mut Vec<Output<P>>) {
        if self.rumors.is_empty() {
            return;
        }
        let connected = |keys: &[P]| -> Vec<P> {
            keys.iter().copied().filter(|key| self.connections.contains_key(key)).collect()
        };
        let (near, far) = (connected(self.neighbours.near()), connected(self.neighbours.far()));
        for side in [near, far] {
            for to in self.sample(side, self.config.fanout) {
                self.send(to, Body::Claims, out);
            }
        }
    }

    /// Dials one neighbour without a connection, or one dead life: it may be a partition.
    fn redial(&mut self, now: Time, out: &mut Vec<Output<P>>) {
        self.forget_dials(now);
        let neighbours = self.neighbours.near().iter().chain(self.neighbours.far());
        let mut apart: Vec<P> =
            neighbours.copied().filter(|key| !self.is_connected(*key)).collect();
        let turn = self.rng.next_u64() as usize;
        apart.extend(self.table.dead_from(turn).filter(|key| !self.is_connected(*key)));
        if let Some(key) = self.sample(apart, 1).pop() {
            self.dial(now, key, out);
        }
    }

    /// Everything this node would claim about `key`.
    pub(super) fn claims_about(&self, key: P) -> Vec<Claim<P>> {
        let Some(member) = self.table.get(key) else { return Vec::new() };
        let boot = member.boot();
        let incarnation = member.incarnation;
        match member.state {
            State::Dead => return vec![Claim { key, boot, what: What::Dead }],
            State::Left => return vec![Claim { key, boot, what: What::Left }],
            State::Alive | State::Suspect | State::Unreachable => {}
        }
        let what = What::Alive { incarnation, address: self.table.address(member).to_owned() };
        let accusers = self.suspicions.get(&key).into_iter().flat_map(Suspicion::accusers);
        let accused = accusers.map(|accuser| What::Suspect { incarnation, accuser });
        [what].into_iter().chain(accused).map(|what| Claim { key, boot, what }).collect()
    }

    /// Passes a claim on to all who should know: a verdict or a birth to everybody, the rest to
    /// those who can hear the member (GS-3).
    pub(super) fn spread(&mut self, claim: Claim<P>, everywhere: bool) {
        let speaker = !self.neighbours.far().is_empty();
        let key = claim.key;
        let near = everywhere || key == self.me || self.neighbours.is_near(key);
        let by_speakers = self.neighbours.is_far(key) || self.neighbours.speakers().contains(&key);
        let far = speaker && (everywhere || by_speakers);
        match (near, far) {
            (true, true) => self.rumors.add(claim, &[Side::Near, Side::Far]),
            (true, false) => self.rumors.add(claim, &[Side::Near]),
            (false, true) => self.rumors.add(claim, &[Side::Far]),
            (false, false) => self.rumors.add(claim, &[]),
        }
    }

    /// The claims to pass on that are for `to`.
    pub(super) fn rumors_for(&mut self, to: P) -> Vec<Claim<P>> {
        let side = if self.neighbours.is_far(to) { Side::Far } else { Side::Near };
        let told_max = 4 * ((self.group_size(to) + 1) as f64).log10().ceil() as u32;
        self.rumors.take(side, told_max)
    }

    /// Sends `body`, with claims to pass on, over the open connection.
    pub(super) fn send(&mut self, to: P, body: Body<P>, out: &mut Vec<Output<P>>) {
        let claims = self.rumors_for(to);
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

    /// At most `count` of the section that are heard.
    pub(super) fn sample_near(&mut self, count: usize) -> Vec<P> {
        sample_heard(self, count, Neighbours::near)
    }

    /// At most `count` of the other speakers that are heard.
    pub(super) fn sample_far(&mut self, count: usize) -> Vec<P> {
        sample_heard(self, count, Neighbours::far)
    }

    /// Makes room for one more member; false when all that are known still live.
    pub(super) fn make_room(&mut self) -> bool {
        if self.table.len() < self.config.members_max {
            return true;
        }
        let gone =
            self.table.iter().filter(|(key, m)| m.state.is_gone() && !self.is_connected(*key));
        let oldest = gone.map(|(key, member)| (member.boot(), key)).min();
        oldest.is_some_and(|(_, key)| {
            self.table.remove(key);
            true
        })
    }
}

/// Draws blindly first: nearly all neighbours are heard, and looking at each costs more than that.
fn sample_heard<P: Peer>(
    membership: &mut Membership<P>,
    count: usize,
    side: impl Fn(&Neighbours<P>) -> &[P],
) -> Vec<P> {
    let peers = side(&membership.neighbours);
    let mut rng = membership.rng.clone();
    let mut drawn = Vec::with_capacity(count);
    for _ in 0..DRAWS_MAX {
        let at = rng.below(peers.len() as u64) as usize;
        match peers.get(at) {
            Some(peer) if drawn.len() < count => {
                if !drawn.contains(peer) && membership.is_heard(*peer) {
                    drawn.push(*peer);
                }
            }
            _ => break,
        }
    }
    let heard = |peer: &P| membership.is_heard(*peer);
    let rest = drawn.len() < count.min(peers.len());
    let all = rest.then(|| peers.iter().copied().filter(heard).collect());
    membership.rng = rng;
    match all {
        Some(all) => membership.sample(all, count),
        None => drawn,
    }
}
