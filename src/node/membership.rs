//! Drives the gossip machine: feeds it what the network saw, does what it says, and tells the rest
//! of the node who is there.
//!
//! Invariants:
//! - **V-1** The machine is stepped and its outputs are carried out under one lock, so that what
//!   it decided first happens first.
//! - **V-2** A node that died is gone from routes, credit, calls, watches and children before
//!   anybody is told of its death.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mobula_actors::id::{NodeId, PeerKey};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::cluster::Cluster;
use super::figures::{free, total};
use super::frames::GOSSIP;
use crate::gossip::{Config, Event, Gossip, Input, Output, Record, State};
use crate::machine::{Machine, Time};
use crate::net::{Lane, Message, NetError};
use crate::placement::{Candidate, Capacity};

/// How often members without a connection, and seeds not yet met, are dialled.
pub const REDIAL_INTERVAL: Duration = Duration::from_millis(250);

/// A node as another one sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub node: NodeId,
    /// Where it stands.
    pub standing: Standing,
    /// The kinds it hosts; empty until its record has come.
    pub kinds: Vec<String>,
    /// Its labels.
    pub labels: Vec<String>,
    /// All it has, in places for actors and thousandths of cores, and what of it is free.
    pub cpu_milli: (u64, u64),
    /// Bytes of memory it has, and what of it is free.
    pub memory_bytes: (u64, u64),
    /// Where it can be dialled.
    pub address: String,
}

/// Where a node stands in the eyes of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It takes part.
    Alive,
    /// It is accused of silence.
    Suspect,
    /// It does not answer; it may still run.
    Unreachable,
    /// It is dead, or has left.
    Gone,
}

pub(super) struct Membership {
    me: NodeId,
    born: Instant,
    machine: Mutex<Driven>,
    /// The machine wants to be stepped at another time than before.
    rescheduled: Notify,
}

struct Driven {
    gossip: Gossip<PeerKey>,
    /// Lives that are over.
    gone: BTreeSet<NodeId>,
    /// Seeds with an address, until they are met.
    seeds: Vec<(PeerKey, String)>,
    /// The others hold this very life dead.
    fenced: bool,
}

/// Lives that are over and remembered; a node's key goes on counting upwards.
const GONE_MAX: usize = 4_096;

impl Membership {
    pub(super) fn new(me: NodeId, seeds: Vec<(PeerKey, String)>, config: Config) -> Self {
        // The seed of its samples needs no secrecy, only to differ between nodes and lives.
        let seed = super::cluster::origin_of(me);
        let gossip = Gossip::new(me.key, me.boot, seed, config);
        Self {
            me,
            born: Instant::now(),
            machine: Mutex::new(Driven { gossip, gone: BTreeSet::new(), seeds, fenced: false }),
            rescheduled: Notify::new(),
        }
    }

    /// The node has begun to listen there.
    pub(super) fn listens_at(&self, address: String) {
        self.driven().gossip.listens_at(address);
    }

    pub(super) fn now(&self) -> Time {
        Time(u64::try_from(self.born.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Whether this life of a node is known and not over.
    pub(super) fn is_living(&self, node: NodeId) -> bool {
        let member = |driven: &Driven| {
            let member = driven.gossip.member(node.key)?;
            Some(member.boot == node.boot && !member.state.is_gone())
        };
        node == self.me || member(&self.driven()).unwrap_or(false)
    }

    pub(super) fn is_gone(&self, node: NodeId) -> bool {
        if node.key == self.me.key {
            return node.boot < self.me.boot;
        }
        let driven = self.driven();
        driven.gone.contains(&node)
            || driven.gossip.member(node.key).is_some_and(|member| {
                member.boot > node.boot || (member.boot == node.boot && member.state.is_gone())
            })
    }

    /// How many of the nodes that it knows this one sees, itself among them, and of how many. Those
    /// held dead may be alive on the other side of a cut; those that left in order are not.
    pub(super) fn seen(&self) -> (usize, usize) {
        let driven = self.driven();
        let known = driven.gossip.members().filter(|member| member.state != State::Left);
        known.fold((1, 1), |(seen, known), member| {
            let sees = matches!(member.state, State::Alive | State::Suspect);
            (seen + usize::from(sees), known + 1)
        })
    }

    pub(super) fn is_fenced(&self) -> bool {
        self.driven().fenced
    }

    /// The lives that are not over, this node's own among them.
    pub(super) fn living(&self) -> Vec<NodeId> {
        let driven = self.driven();
        let living = driven.gossip.members().filter(|member| !member.state.is_gone());
        let others = living.map(|member| NodeId { key: member.key, boot: member.boot });
        std::iter::once(self.me).chain(others).collect()
    }

    /// What this node knows of all nodes, itself first.
    pub(super) fn members(&self) -> Vec<Member> {
        self.known(|member, _| member)
    }

    /// The same, each with its record and the age of that, as `seen` makes it.
    pub(super) fn known<R>(
        &self,
        seen: impl Fn(Member, Option<(&Record, Duration)>) -> R,
    ) -> Vec<R> {
        let driven = self.driven();
        let rows: HashMap<_, _> =
            driven.gossip.rows(self.now()).map(|row| ((row.key, row.boot), row)).collect();
        let see = |node: NodeId, standing, address: &str| {
            let row = rows.get(&(node.key, node.boot));
            let known = member(node, standing, address, row.map(|row| row.record));
            seen(known, row.map(|row| (row.record, row.age)))
        };
        let others = driven.gossip.members().map(|view| {
            let node = NodeId { key: view.key, boot: view.boot };
            see(node, standing(view.state), view.address)
        });
        std::iter::once(see(self.me, Standing::Alive, "")).chain(others).collect()
    }

    /// Hands the view to `choose`, as placement wants it. `here` are the fresh figures of this
    /// node, which its own record may lag behind.
    pub(super) fn with_candidates<R>(
        &self,
        here: (u64, Capacity),
        choose: impl FnOnce(Time, &[Candidate<'_, NodeId>]) -> R,
    ) -> R {
        let driven = self.driven();
        let now = self.now();
        let candidates: Vec<_> = driven
            .gossip
            .rows(now)
            .map(|row| {
                let mut candidate = Candidate {
                    node: NodeId { key: row.key, boot: row.boot },
                    version: row.seq,
                    total: total(row.record),
                    free: free(row.record),
                    kinds: &row.record.kinds,
                    labels: &row.record.labels,
                    closed: row.record.draining || row.record.no_new,
                    age: row.age,
                };
                if candidate.node == self.me {
                    (candidate.version, candidate.free) = here.clone();
                }
                candidate
            })
            .collect();
        choose(now, &candidates)
    }

    fn driven(&self) -> MutexGuard<'_, Driven> {
        // The machine is total: nothing under this lock panics.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster {
    /// One step of the machine, and all that follows from it.
    pub(super) fn gossip(&self, input: Input<PeerKey>) {
        let mut driven = self.membership.driven();
        let mut out = Vec::new();
        let before = driven.gossip.poll_timeout();
        driven.gossip.handle(self.membership.now(), input, &mut out);
        let mut news = Vec::new();
        let mut out = VecDeque::from(out);
        while let Some(output) = out.pop_front() {
            match output {
                Output::Send { to, bytes } => self.send_gossip(&driven, to, bytes),
                Output::Dial { key, address } => {
                    out.extend(self.dial_for_gossip(&mut driven, key, &address));
                }
                Output::Event(event) => {
                    if let Event::Dead { key, boot } | Event::Left { key, boot } = &event {
                        driven.note_gone(NodeId { key: *key, boot: *boot });
                    }
                    news.push(event);
                }
            }
        }
        let rescheduled = driven.gossip.poll_timeout() != before;
        drop(driven);
        if rescheduled {
            self.membership.rescheduled.notify_one();
        }
        for event in news {
            self.learn(event);
        }
    }

    fn send_gossip(&self, driven: &Driven, to: PeerKey, bytes: Bytes) {
        let boot = driven.gossip.member(to).map(|member| member.boot);
        let link = boot.and_then(|boot| self.link(NodeId { key: to, boot }));
        let link = link.or_else(|| self.net(|net| net.link(&to)).flatten());
        let Some(link) = link else { return };
        let frame = Message { kind: GOSSIP, target: 0, head: Bytes::new(), payload: bytes };
        // Gossip is repeated: a frame that finds no room is not missed.
        if let Err(refused) = link.push(Lane::Control, frame) {
            tracing::debug!(node = %link.node(), why = %refused.why, "a gossip frame was dropped");
        }
    }

    /// Dials, or says at once that it is not done, and what follows from that. Whom the cluster has
    /// revoked is as good as one where nobody listens.
    fn dial_for_gossip(
        &self,
        driven: &mut Driven,
        key: PeerKey,
        address: &str,
    ) -> Vec<Output<PeerKey>> {
        let input = match self.dial(key, address) {
            Ok(()) => return Vec::new(),
            Err(NetError::NotMember(_)) => Input::DialRefused { key },
            Err(_) => Input::DialFailed { key },
        };
        let mut more = Vec::new();
        driven.gossip.handle(self.membership.now(), input, &mut more);
        more
    }

    /// Tells the rest of the node what became known.
    pub(super) fn learn(&self, event: Event<PeerKey>) {
        tracing::debug!(me = %self.id, ?event, "membership");
        match event {
            Event::Alive { key, boot, address } => {
                let node = NodeId { key, boot };
                self.hear_groups(node);
                if self.link(node).is_none() && !address.is_empty() {
                    // A dial that is not made now is made again by `keep_connected`.
                    let _ = self.dial(key, &address);
                }
            }
            Event::Dead { key, boot } | Event::Left { key, boot } => {
                self.node_is_dead(NodeId { key, boot });
            }
            Event::SelfDeclaredDead { boot } => {
                tracing::error!(me = %self.id, boot, "the others hold this node dead: what it hosts has ended, and it must be started again");
                self.fenced();
                self.registrar.fenced();
                self.membership.driven().fenced = true;
                self.watches_fenced();
            }
            Event::Violation { from } => {
                tracing::warn!(%from, "a member sent a malformed gossip frame: it is cut off");
                self.net(|net| net.accuse(&from));
            }
            _ => {}
        }
        self.registrar.changed.notify_one();
        self.changed.notify_waiters();
    }

    /// A life of a node is over (V-2).
    fn node_is_dead(&self, node: NodeId) {
        self.remove_link(node);
        self.net(|net| {
            if net.link(&node.key).is_some_and(|link| link.node() == node) {
                net.close(&node.key, false);
            }
        });
        self.routes().node_is_gone(node);
        self.end_credit(node);
        self.shapes.end(node);
        self.calls.disconnected(node);
        self.watched_node_is_dead(node);
        self.watched.node_is_gone(node);
        self.registrar.node_is_gone(node);
        self.directory.node_is_gone(node);
        self.groups_node_is_gone(node);
        self.home_is_dead(node);
        self.children_node_is_dead(node);
    }

    /// Steps the machine when it wants to be stepped, until the node stops.
    pub(super) async fn keep_time(self: Arc<Self>) {
        loop {
            let next = self.membership.driven().gossip.poll_timeout();
            let rescheduled = self.membership.rescheduled.notified();
            let due = match next {
                Some(time) => self.membership.born + Duration::from_micros(time.0),
                None => return rescheduled.await,
            };
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => self.gossip(Input::Tick),
                () = rescheduled => {}
            }
        }
    }

    /// Keeps a connection to every living member, and looks for the seeds.
    pub(super) async fn keep_connected(self: Arc<Self>) {
        let mut interval = tokio::time::interval(REDIAL_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            for (key, address) in self.unconnected() {
                // Dials that cannot be made now are made in the next round.
                let _ = self.dial(key, &address);
            }
        }
    }

    fn unconnected(&self) -> Vec<(PeerKey, String)> {
        let mut driven = self.membership.driven();
        let known = |driven: &Driven, key: PeerKey| driven.gossip.member(key).is_some();
        let seeds = std::mem::take(&mut driven.seeds);
        driven.seeds = seeds.into_iter().filter(|(key, _)| !known(&driven, *key)).collect();
        let members = driven.gossip.members();
        let lost = members.filter(|m| !m.state.is_gone() && !m.connected && !m.address.is_empty());
        lost.map(|m| (m.key, m.address.to_owned())).chain(driven.seeds.iter().cloned()).collect()
    }
}

impl Driven {
    fn note_gone(&mut self, node: NodeId) {
        if self.gone.len() >= GONE_MAX {
            self.gone.pop_first();
        }
        self.gone.insert(node);
    }
}

fn member(node: NodeId, standing: Standing, address: &str, record: Option<&Record>) -> Member {
    let figures = record.cloned().unwrap_or_default();
    Member {
        node,
        standing,
        kinds: figures.kinds,
        labels: figures.labels,
        cpu_milli: (figures.cpu_milli_total, figures.cpu_milli_free),
        memory_bytes: (figures.memory_bytes_total, figures.memory_bytes_free),
        address: if address.is_empty() { figures.address } else { address.to_owned() },
    }
}

fn standing(state: State) -> Standing {
    match state {
        State::Alive => Standing::Alive,
        State::Suspect => Standing::Suspect,
        State::Unreachable => Standing::Unreachable,
        State::Dead | State::Left => Standing::Gone,
    }
}
