//! What each node offers: one versioned record per node, spread by digest and delta.
//!
//! Source of the three-way exchange: R. van Renesse and others, "Efficient Reconciliation and
//! Flow Control for Anti-Entropy Protocols", 2008 (scuttlebutt).
//!
//! The age of a row is the time since this copy was last known to be the newest: a digest of its
//! writer, or of a peer whose copy was younger, resets it. It is not the age of the values.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::message::{Body, Frame, Known, Versioned, encoded, plain};
use super::{Config, Event, Output, Peer, Record};
use crate::machine::{Rng, Time};

/// Records and digest of one message stay within this many bytes.
const DELTA_BYTES_MAX: usize = 60 * 1024;

#[derive(Clone, Debug)]
struct Entry {
    boot: u64,
    seq: u64,
    record: Record,
    /// When this copy was last known to be the newest.
    fresh: Time,
}

/// The record of one node, as this node has it.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a, P> {
    /// Whose.
    pub key: P,
    /// Of which life.
    pub boot: u64,
    /// Which version.
    pub seq: u64,
    /// What it offers.
    pub record: &'a Record,
    /// Time since this copy was last known to be the newest; zero for this node's own.
    pub age: Duration,
}

/// All records this node has.
#[derive(Debug)]
pub(super) struct View<P> {
    me: P,
    boot: u64,
    rng: Rng,
    fanout: usize,
    period: Duration,
    patience: Duration,
    rows: BTreeMap<P, Entry>,
    /// A local record that waits for company (G-6), and until when.
    pending: Option<(Time, Record)>,
    round_at: Time,
}

impl<P: Peer> View<P> {
    pub(super) fn new(me: P, boot: u64, seed: u64, config: &Config) -> Self {
        Self {
            me,
            boot,
            rng: Rng::new(seed),
            fanout: config.fanout,
            period: config.exchange_period,
            patience: config.record_patience,
            rows: BTreeMap::new(),
            pending: None,
            round_at: Time(0),
        }
    }

    pub(super) fn start(&mut self, now: Time) {
        self.round_at = now.after(self.period.mul_f64(self.rng.unit()));
    }

    pub(super) fn rows(&self, now: Time) -> impl Iterator<Item = Row<'_, P>> {
        self.rows.iter().map(move |(&key, entry)| Row {
            key,
            boot: entry.boot,
            seq: entry.seq,
            record: &entry.record,
            age: if key == self.me { Duration::ZERO } else { now.since(entry.fresh) },
        })
    }

    /// Takes the local record: a new version now, in a while, or never when nothing changed.
    pub(super) fn offer(&mut self, now: Time, record: Record, out: &mut Vec<Output<P>>) {
        let Some(current) = self.rows.get(&self.me) else {
            return self.publish(now, record, out);
        };
        if current.record == record {
            self.pending = None;
            return;
        }
        let patience = current.record.patience(&record, self.patience);
        if patience.is_zero() {
            return self.publish(now, record, out);
        }
        let at = self.pending.as_ref().map_or_else(|| now.after(patience), |(at, _)| *at);
        self.pending = Some((at, record));
    }

    fn publish(&mut self, now: Time, record: Record, out: &mut Vec<Output<P>>) {
        self.pending = None;
        let seq = self.rows.get(&self.me).map_or(1, |entry| entry.seq.saturating_add(1));
        self.rows.insert(self.me, Entry { boot: self.boot, seq, record, fresh: now });
        out.push(Output::Event(Event::RecordChanged { key: self.me, boot: self.boot }));
    }

    pub(super) fn run_timers(
        &mut self,
        now: Time,
        peers: impl FnOnce() -> Vec<P>,
        out: &mut Vec<Output<P>>,
    ) {
        if let Some((_, record)) = self.pending.take_if(|(at, _)| now >= *at) {
            self.publish(now, record, out);
        }
        if now < self.round_at {
            return;
        }
        self.round_at = now.after(self.period);
        let mut peers = peers();
        shuffle(&mut self.rng, &mut peers);
        let digest = self.own_digest(now);
        let bytes = Frame { claims: Vec::new(), body: Body::Digest(digest) }.encode();
        for to in peers.into_iter().take(self.fanout) {
            out.push(Output::Send { to, bytes: bytes.clone() });
        }
    }

    pub(super) fn next_timer(&self) -> Time {
        self.pending.as_ref().map_or(self.round_at, |(at, _)| self.round_at.min(*at))
    }

    /// A peer is new here: it gets our record at once, and the question what we lack.
    pub(super) fn greet(&mut self, now: Time, to: P, out: &mut Vec<Output<P>>) {
        let digest = self.own_digest(now);
        let mine = digest.iter().find(|known| known.key == self.me);
        let own = self.rows.get(&self.me).zip(mine);
        let rows =
            own.map(|(entry, known)| Versioned { known: *known, record: entry.record.clone() });
        send(to, rows.into_iter().collect(), Some(digest), out);
    }

    /// A peer opens an exchange.
    pub(super) fn digest(
        &mut self,
        now: Time,
        from: P,
        theirs: &[Known<P>],
        out: &mut Vec<Output<P>>,
    ) {
        self.refresh(now, theirs);
        let digest = self.own_digest(now);
        let rows = self.newer_than(now, theirs, encoded(&digest).len());
        send(from, rows, Some(digest), out);
    }

    /// The second half of an exchange: what the peer lacks, and nothing when it lacks nothing.
    pub(super) fn answer(
        &mut self,
        now: Time,
        from: P,
        theirs: &[Known<P>],
        out: &mut Vec<Output<P>>,
    ) {
        self.refresh(now, theirs);
        let rows = self.newer_than(now, theirs, 0);
        if !rows.is_empty() {
            send(from, rows, None, out);
        }
    }

    /// Keeps the newer of each record (G-6), of the lives that `wanted` names.
    pub(super) fn merge(
        &mut self,
        now: Time,
        rows: Vec<Versioned<P>>,
        wanted: impl Fn(P, u64) -> bool,
        out: &mut Vec<Output<P>>,
    ) {
        for Versioned { known, record } in rows {
            let Known { key, boot, seq, age_ms } = known;
            let version = self.rows.get(&key).map(|entry| (entry.boot, entry.seq));
            if key == self.me || !wanted(key, boot) || version >= Some((boot, seq)) {
                continue;
            }
            self.rows.insert(key, Entry { boot, seq, record, fresh: before(now, age_ms) });
            out.push(Output::Event(Event::RecordChanged { key, boot }));
        }
    }

    /// Drops the record of a life that is over.
    pub(super) fn forget(&mut self, key: P, boot: u64) {
        if key != self.me && self.rows.get(&key).is_some_and(|entry| entry.boot <= boot) {
            self.rows.remove(&key);
        }
    }

    fn own_digest(&self, now: Time) -> Vec<Known<P>> {
        self.rows(now).map(|row| known(&row)).collect()
    }

    /// Resets the age of copies that a peer knows younger.
    fn refresh(&mut self, now: Time, theirs: &[Known<P>]) {
        for known in theirs {
            if let Some(entry) = self.rows.get_mut(&known.key)
                && (entry.boot, entry.seq) == (known.boot, known.seq)
            {
                entry.fresh = entry.fresh.max(before(now, known.age_ms));
            }
        }
    }

    /// What we have newer than `theirs`: what they do not know at all first, then what is stalest
    /// there, ties shuffled, as far as the bytes go.
    fn newer_than(&mut self, now: Time, theirs: &[Known<P>], used: usize) -> Vec<Versioned<P>> {
        let theirs: BTreeMap<P, &Known<P>> = theirs.iter().map(|k| (k.key, k)).collect();
        let mut newer: Vec<(Reverse<u32>, P)> = Vec::new();
        for (&key, entry) in &self.rows {
            match theirs.get(&key) {
                None => newer.push((Reverse(u32::MAX), key)),
                Some(k) if (k.boot, k.seq) < (entry.boot, entry.seq) => {
                    newer.push((Reverse(k.age_ms), key));
                }
                Some(_) => {}
            }
        }
        shuffle(&mut self.rng, &mut newer);
        newer.sort_by_key(|(rank, _)| *rank);
        let mut left = DELTA_BYTES_MAX.saturating_sub(used);
        let mut rows = Vec::new();
        for (_, key) in newer {
            let Some(entry) = self.rows.get(&key) else { continue };
            let age = if key == self.me { Duration::ZERO } else { now.since(entry.fresh) };
            let Entry { boot, seq, record, .. } = entry;
            let row = Row { key, boot: *boot, seq: *seq, record, age };
            let row = Versioned { known: known(&row), record: record.clone() };
            let bytes = encoded(&row).len();
            if bytes > left {
                break;
            }
            left -= bytes;
            rows.push(row);
        }
        rows
    }
}

fn known<P: Peer>(row: &Row<'_, P>) -> Known<P> {
    let age_ms = u32::try_from(row.age.as_millis()).unwrap_or(u32::MAX);
    Known { key: row.key, boot: row.boot, seq: row.seq, age_ms }
}

fn before(now: Time, age_ms: u32) -> Time {
    Time(now.0.saturating_sub(u64::from(age_ms) * 1_000))
}

fn shuffle<T>(rng: &mut Rng, items: &mut [T]) {
    for at in 0..items.len() {
        items.swap(at, at + rng.below((items.len() - at) as u64) as usize);
    }
}

fn send<P: Peer>(
    to: P,
    rows: Vec<Versioned<P>>,
    digest: Option<Vec<Known<P>>>,
    out: &mut Vec<Output<P>>,
) {
    out.push(plain(to, Body::Delta { rows, digest }));
}
