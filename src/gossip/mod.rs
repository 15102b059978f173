//! Who is in the cluster, and what each node offers. Sans-io: a [`Machine`] over encoded bytes.
//!
//! Two parts that share one table of members. `membership` decides who lives (SWIM: A. Das,
//! I. Gupta, A. Motivala, 2002; suspicion as in Lifeguard, 2018); `view` keeps one versioned
//! record per living node of the section and spreads it by digest and delta. Large clusters fall
//! into sections (see `section`); up to `section_members_max` members all are in one.
//!
//! The driver owes the machine three things: `Connected` before the first frame of a connection,
//! one `Connected`, `DialRefused` or `DialFailed` for every [`Output::Dial`], and
//! `ConnectionClosed` only when the last connection to a member is gone.
//!
//! Invariants:
//! - **G-1** `Dead` and `Left` are final for a boot; only a larger boot of the key lives again.
//! - **G-2** A suspicion is dropped by a higher incarnation only, or for want of accusers.
//! - **G-3** Silence alone never kills: it takes `k = min(2, members still heard)` accusers and
//!   the time of the suspicion, or a dial refused by every neighbour that can be asked.
//! - **G-4** A connection closed with `Bye` is no hint of death.
//! - **G-5** A node told of its own death, and not by one of several peers alone, says so once and
//!   falls silent.
//! - **G-6** A record has one writer; the larger (boot, seq) wins; a new seq needs a change.
//! - **G-7** All that is fed from outside is bounded: members by `members_max`, claims, rows and
//!   digests per frame, what is remembered of pings passed on.
//! - **G-8** A malformed frame is refused as a whole, before any state changes (see `message`).

use std::collections::BTreeMap;

use crate::machine::{Machine, Time};

mod accused;
mod apply;
mod compare;
mod config;
mod connection;
mod digest;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod health;
#[cfg(test)]
mod hostile;
mod inquiry;
mod member;
mod membership;
mod message;
mod probe;
mod record;
mod rumors;
mod seam;
mod section;
mod suspicion;
mod table;
#[cfg(test)]
mod tests;
mod view;

pub use config::Config;
pub use member::{MemberView, State};
pub use message::FRAME_BYTES_MAX;
pub use record::{
    ADDRESS_BYTES_MAX, COUNTERS_MAX, CounterRecord, DEVICES_MAX, DeviceRecord, KINDS_MAX,
    LABELS_MAX, NAME_BYTES_MAX, Record, RecordError,
};
pub use seam::{Event, Input, Output, Peer};
pub use section::SPEAKERS;
pub use view::Row;

use membership::Membership;
use message::{Body, Claim, Frame};
use view::View;

/// One node's gossip.
#[derive(Debug)]
pub struct Gossip<P> {
    membership: Membership<P>,
    view: View<P>,
    violations: u64,
    /// Whether this node still takes part (G-5).
    silent: bool,
    started: bool,
    /// When it wants to be stepped.
    due: Time,
}

impl<P: Peer> Gossip<P> {
    /// A node that knows nobody yet. `boot` must be larger than any this key used before; `seed`
    /// draws all samples and jitters.
    #[must_use]
    pub fn new(me: P, boot: u64, seed: u64, mut config: Config) -> Self {
        if config.address.len() > ADDRESS_BYTES_MAX {
            config.address.clear();
        }
        Self {
            view: View::new(me, boot, seed ^ 0x5EED, &config),
            membership: Membership::new(me, boot, seed, config),
            violations: 0,
            silent: false,
            started: false,
            due: Time(0),
        }
    }

    /// Makes these lives known from the start, as when a table was kept from before: each with the
    /// address where it can be dialled. It is cheapest in the order of [`Peer::place`].
    #[must_use]
    pub fn with_members<'a>(mut self, lives: impl IntoIterator<Item = (P, u64, &'a str)>) -> Self {
        for (key, boot, address) in lives {
            self.membership.restore(key, boot, address);
        }
        self
    }

    /// Makes known from the start what another node knows, as [`with_members`](Self::with_members)
    /// does, at the cost of a copy.
    #[must_use]
    pub fn with_table_of(mut self, other: &Self) -> Self {
        self.membership.adopt(&other.membership.table);
        self
    }

    /// Says where this node can be dialled, once that is known. Ignored when longer than
    /// [`ADDRESS_BYTES_MAX`].
    pub fn listens_at(&mut self, address: String) {
        if address.len() <= ADDRESS_BYTES_MAX {
            self.membership.listens_at(address);
        }
    }

    /// What is known of a member; this node itself is not in the table.
    #[must_use]
    pub fn member(&self, key: P) -> Option<MemberView<'_, P>> {
        self.membership.member(key)
    }

    /// All members ever heard of and not forgotten, in key order, without this node.
    pub fn members(&self) -> impl Iterator<Item = MemberView<'_, P>> {
        self.membership.members()
    }

    /// How many lives are known and not over, this node included.
    #[must_use]
    pub fn living_count(&self) -> usize {
        self.membership.living_count()
    }

    /// How badly this node itself does, from 0 to 7: it was late, or heard neither those it probed
    /// nor those it asked to probe. Above 0 it gives others more time.
    #[must_use]
    pub fn health_score(&self) -> u32 {
        self.membership.health.score()
    }

    /// The records of this node and of the members of its section in state `Alive`, in key order,
    /// with the age they have at `now`.
    pub fn rows(&self, now: Time) -> impl Iterator<Item = Row<'_, P>> {
        self.view.rows(now).filter(|row| self.membership.is_alive(row.key, row.boot))
    }

    /// Frames that broke the protocol so far.
    #[must_use]
    pub fn violations(&self) -> u64 {
        self.violations
    }

    fn dispatch(&mut self, now: Time, input: Input<P>, out: &mut Vec<Output<P>>) {
        match input {
            Input::Tick => {}
            Input::Frame { from, bytes } => self.frame(now, from, &bytes, out),
            Input::Connected { key, boot, address } => {
                if self.membership.connected(now, key, boot, address, out) {
                    self.view.greet(key, out);
                }
            }
            Input::ConnectionClosed { key, bye } => {
                self.membership.connection_closed(now, key, bye, out);
            }
            Input::DialRefused { key } => self.membership.dial_refused(now, key, out),
            Input::DialFailed { key } => self.membership.dial_failed(now, key, out),
            Input::LocalRecord(record) => match record.check() {
                Ok(()) => self.view.offer(now, record, out),
                Err(error) => out.push(Output::Event(Event::RecordRefused(error))),
            },
            Input::Leave => self.membership.leave(out),
        }
    }

    fn frame(&mut self, now: Time, from: P, bytes: &[u8], out: &mut Vec<Output<P>>) {
        if !self.membership.is_connected(from) {
            return;
        }
        let Some(Frame { claims, body }) = Frame::decode(bytes, self.membership.config()) else {
            self.violations += 1;
            out.push(Output::Event(Event::Violation { from }));
            return;
        };
        if let Body::Fenced { boot, alive } = body {
            return self.membership.accused(now, from, (boot, alive), out);
        }
        if !self.membership.hear(now, from, out) {
            return;
        }
        if let Body::Compared { buckets, more, answer } = body {
            return self.compared(now, from, claims, (buckets, more, answer), out);
        }
        for claim in claims {
            self.membership.told(now, from, claim, out);
        }
        match body {
            Body::Ping { nonce } => self.membership.send(from, Body::Ack { nonce }, out),
            Body::Ack { nonce } => self.membership.acknowledged(nonce, out),
            Body::Nack { nonce } => self.membership.not_reached(nonce),
            Body::PingFor { nonce, target } => {
                self.membership.ping_for(now, from, nonce, target, out);
            }
            Body::AskDial { key, boot } => {
                self.membership.asked_to_dial(now, from, key, boot, out);
            }
            Body::Dialled { key, boot, outcome } => {
                self.membership.answered(from, key, boot, outcome, out);
            }
            Body::Sums(sums) => self.membership.answer_sums(from, &sums, out),
            Body::Digest(digest) => self.view.digest(now, from, &digest, out),
            Body::Delta { rows, digest, answer } => {
                self.view.merge(now, rows, out);
                self.view.delta(now, from, &digest, answer, out);
            }
            Body::Claims | Body::Compared { .. } | Body::Fenced { .. } => {}
        }
    }

    /// An answer to a comparison: what this node knows better goes back, what it learns stays.
    fn compared(
        &mut self,
        now: Time,
        from: P,
        claims: Vec<Claim<P>>,
        (buckets, more, answer): (u64, bool, bool),
        out: &mut Vec<Output<P>>,
    ) {
        let members = &mut self.membership;
        let better = if answer { members.better_than(&claims, buckets) } else { Vec::new() };
        members.pass_on_news();
        for claim in claims {
            if !members.knows_better(&claim) {
                members.told(now, from, claim, out);
            }
        }
        members.news.clear();
        members.follow_table(now, out);
        members.compared(now, from, better, more, out);
    }

    /// Brings the view to the neighbours of now.
    fn follow(&mut self, now: Time, out: &mut Vec<Output<P>>) {
        self.membership.pass_on_news();
        self.membership.follow_table(now, out);
        let neighbours = &self.membership.neighbours;
        if self.view.version() != neighbours.near_version() {
            self.view.follow(neighbours.near_version(), neighbours.near_lives());
        }
    }
}

impl<P: Peer> Machine for Gossip<P> {
    type Input = Input<P>;
    type Output = Output<P>;

    fn handle(&mut self, now: Time, input: Input<P>, out: &mut Vec<Output<P>>) {
        if self.silent {
            return;
        }
        let first = out.len();
        let leaving = matches!(input, Input::Leave);
        if !self.started {
            self.started = true;
            self.membership.start(now);
            self.view.start(now);
            self.due = now;
        }
        self.membership.excuse(now, now.since(self.due));
        self.dispatch(now, input, out);
        self.membership.run_timers(now, out);
        self.follow(now, out);
        let members = &mut self.membership;
        self.view.run_timers(now, |count| members.sample_near(count), out);
        self.due = self.membership.next_timer().min(self.view.next_timer());
        if let Some(at) = out[first..].iter().position(Output::is_own_death) {
            // Nothing may be sent in a life that is over.
            let death = out.swap_remove(first + at);
            out.truncate(first);
            out.push(death);
            self.silent = true;
        }
        self.silent |= leaving;
    }

    fn poll_timeout(&self) -> Option<Time> {
        if self.silent {
            None
        } else if !self.started {
            Some(Time(0))
        } else {
            Some(self.due)
        }
    }
}

/// The earliest of `times` that are set.
fn earliest<K, V>(map: &BTreeMap<K, V>, time: impl Fn(&V) -> Option<Time>) -> Time {
    map.values().filter_map(time).min().unwrap_or(Time(u64::MAX))
}
