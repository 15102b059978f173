//! Who is in the cluster, and what each node offers. Sans-io: a [`Machine`] over encoded bytes.
//!
//! Two parts that share one table of members. `membership` decides who lives (SWIM: A. Das,
//! I. Gupta, A. Motivala, 2002; suspicion as in Lifeguard, 2018); `view` keeps one versioned
//! record per living node and spreads it by digest and delta.
//!
//! The driver owes the machine three things: `Connected` before the first frame of a connection,
//! one `Connected`, `DialRefused` or `DialFailed` for every [`Output::Dial`], and
//! `ConnectionClosed` only when the last connection to a member is gone.
//!
//! Invariants:
//! - **G-1** `Dead` and `Left` are final for a boot; only a larger boot of the key lives again.
//! - **G-2** A suspicion is dropped by a higher incarnation only, or for want of accusers.
//! - **G-3** Silence alone never kills: it takes `k = min(2, members still heard)` accusers and
//!   the time of the suspicion, or a dial refused by every member that can be asked.
//! - **G-4** A connection closed with `Bye` is no hint of death.
//! - **G-5** A node told of its own death says so once and falls silent.
//! - **G-6** A record has one writer; the larger (boot, seq) wins; a new seq needs a change.
//! - **G-7** All that is fed from outside is bounded: members by `members_max`, claims, rows and
//!   digests per frame, what is remembered of pings passed on.
//! - **G-8** A malformed frame is refused as a whole, before any state changes (see `message`).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::machine::{Machine, Time};

mod apply;
mod config;
mod connection;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
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
mod suspicion;
#[cfg(test)]
mod tests;
mod view;

pub use config::Config;
pub use member::{MemberView, State};
pub use message::FRAME_BYTES_MAX;
pub use record::{ADDRESS_BYTES_MAX, KINDS_MAX, LABELS_MAX, NAME_BYTES_MAX, Record, RecordError};
pub use seam::{Event, Input, Output, Peer};
pub use view::Row;

use membership::Membership;
use message::{Body, Frame};
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
        }
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

    /// The records of this node and of all members in state `Alive`, in key order, with the age
    /// they have at `now`.
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
                    self.view.greet(now, key, out);
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
            return self.membership.fenced(from, boot, alive, out);
        }
        if !self.membership.hear(now, from, out) {
            return;
        }
        for claim in claims {
            self.membership.apply(now, claim, out);
        }
        match body {
            Body::Digest(digest) => self.view.digest(now, from, &digest, out),
            Body::Delta { rows, digest } => {
                let members = &self.membership;
                self.view.merge(now, rows, |key, boot| members.is_known(key, boot), out);
                if let Some(digest) = digest {
                    self.view.answer(now, from, &digest, out);
                }
            }
            body => self.membership.body(now, from, body, out),
        }
    }

    /// What both parts and this node must do about the events from `first` on.
    fn follow_up(&mut self, out: &[Output<P>]) {
        for output in out {
            match output {
                Output::Event(Event::Dead { key, boot } | Event::Left { key, boot }) => {
                    self.view.forget(*key, *boot);
                }
                Output::Event(Event::SelfDeclaredDead { .. }) => self.silent = true,
                _ => {}
            }
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
        }
        let late = self.poll_timeout().map_or(Duration::ZERO, |due| now.since(due));
        self.membership.excuse(now, late);
        self.dispatch(now, input, out);
        self.membership.run_timers(now, out);
        let peers = self.membership.exchange_peers();
        self.view.run_timers(now, peers, out);
        self.follow_up(&out[first..]);
        if let Some(at) = out[first..].iter().position(Output::is_own_death) {
            // Nothing may be sent in a life that is over.
            let death = out.swap_remove(first + at);
            out.truncate(first);
            out.push(death);
        }
        self.silent |= leaving;
    }

    fn poll_timeout(&self) -> Option<Time> {
        if self.silent {
            None
        } else if !self.started {
            Some(Time(0))
        } else {
            Some(self.membership.next_timer().min(self.view.next_timer()))
        }
    }
}

/// The earliest of `times` that are set.
fn earliest<K, V>(map: &BTreeMap<K, V>, time: impl Fn(&V) -> Option<Time>) -> Time {
    map.values().filter_map(time).min().unwrap_or(Time(u64::MAX))
}
