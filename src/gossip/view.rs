//! What each node of a section offers: one versioned record per node, spread by digest and delta.
//!
//! Source of the exchange: R. van Renesse and others, "Efficient Reconciliation and Flow Control
//! for Anti-Entropy Protocols", 2008 (scuttlebutt). The answer to a digest names only what differs:
//! when nothing changes, digests are all that travels.
//!
//! The age of a row is the time since this copy was last known to be the newest: a digest of its
//! writer, or of a peer whose copy was younger, resets it. It is not the age of the values.

use std::cmp::{Ordering, Reverse};
use std::time::Duration;

use super::digest::{Age, Digest, Known, RowId};
use super::message::{Body, Frame, Versioned, encoded, plain};
use super::{Config, Event, Output, Peer, Record};
use crate::machine::{Rng, Time};

/// Records of one message stay within this many bytes; the rest comes with the next rounds.
const DELTA_BYTES_MAX: usize = 16 * 1024;

/// The record of one life; its version is zero until the first has come.
#[derive(Clone, Debug)]
struct Entry<P> {
    row: RowId,
    key: P,
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

/// The records of this node and of all neighbours in its section.
#[derive(Debug)]
pub(super) struct View<P> {
    me: P,
    boot: u64,
    rng: Rng,
    fanout: usize,
    period: Duration,
    patience: Duration,
    /// In the order of row ids; one for each life that is wanted.
    entries: Vec<Entry<P>>,
    own_at: usize,
    /// The version of the table that the entries follow.
    version: u64,
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
            entries: vec![empty(me, boot)],
            own_at: 0,
            version: 0,
            pending: None,
            round_at: Time(0),
        }
    }

    pub(super) fn start(&mut self, now: Time) {
        self.round_at = now.after(self.period.mul_f64(self.rng.unit()));
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// In key order.
    pub(super) fn rows(&self, now: Time) -> impl Iterator<Item = Row<'_, P>> {
        let known = self.entries.iter().filter(|entry| entry.seq > 0);
        let row = |entry: &'_ Entry<P>| now.since(entry.fresh);
        let mut rows: Vec<_> = known
            .map(|entry| Row {
                key: entry.key,
                boot: entry.boot,
                seq: entry.seq,
                record: &entry.record,
                age: if entry.key == self.me { Duration::ZERO } else { row(entry) },
            })
            .collect();
        rows.sort_unstable_by_key(|row| row.key);
        rows.into_iter()
    }

    /// Keeps the records of these lives and of this node, and no others.
    pub(super) fn follow(&mut self, version: u64, lives: impl Iterator<Item = (P, u64)>) {
        self.version = version;
        let wanted = [(self.me, self.boot)].into_iter().chain(lives);
        let mut entries: Vec<_> = wanted.map(|(key, boot)| empty(key, boot)).collect();
        // Of two with the same row id the own one stays, or the smaller key.
        entries.sort_unstable_by_key(|entry| (entry.row, entry.key != self.me, entry.key));
        entries.dedup_by_key(|entry| entry.row);
        let old = std::mem::take(&mut self.entries);
        let mut old = old.into_iter().peekable();
        for entry in &mut entries {
            while old.next_if(|other| other.row < entry.row).is_some() {}
            let same = |other: &Entry<P>| (other.key, other.boot) == (entry.key, entry.boot);
            if let Some(known) = old.next_if(same) {
                *entry = known;
            }
        }
        self.own_at = entries.iter().position(|entry| entry.key == self.me).unwrap_or(0);
        self.entries = entries;
    }

    /// Takes the local record: a new version now, in a while, or never when nothing changed.
    pub(super) fn offer(&mut self, now: Time, record: Record, out: &mut Vec<Output<P>>) {
        let Some(current) = self.own().filter(|own| own.seq > 0) else {
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
        if let Some(own) = self.entries.get_mut(self.own_at) {
            (own.seq, own.record, own.fresh) = (own.seq.saturating_add(1), record, now);
        }
        out.push(Output::Event(Event::RecordChanged { key: self.me, boot: self.boot }));
    }

    pub(super) fn run_timers(
        &mut self,
        now: Time,
        peers: impl FnOnce(usize) -> Vec<P>,
        out: &mut Vec<Output<P>>,
    ) {
        if let Some((_, record)) = self.pending.take_if(|(at, _)| now >= *at) {
            self.publish(now, record, out);
        }
        if now < self.round_at {
            return;
        }
        self.round_at = now.after(self.period);
        let peers = peers(self.fanout);
        if peers.is_empty() {
            return;
        }
        self.touch_own(now);
        let digest = self.entries.iter().filter(|entry| entry.seq > 0);
        let digest = Digest::new(digest.map(|entry| known(entry, now)));
        let bytes = Frame { claims: Vec::new(), body: Body::<P>::Digest(digest) }.encode();
        for to in peers {
            out.push(Output::Send { to, bytes: bytes.clone() });
        }
    }

    pub(super) fn next_timer(&self) -> Time {
        self.pending.as_ref().map_or(self.round_at, |(at, _)| self.round_at.min(*at))
    }

    /// A peer is new here: it gets our record at once.
    pub(super) fn greet(&self, to: P, out: &mut Vec<Output<P>>) {
        if let Some(own) = self.own().filter(|own| own.seq > 0) {
            let rows = vec![versioned(own, own.fresh)];
            out.push(plain(to, Body::Delta { rows, digest: Digest::default(), answer: false }));
        }
    }

    /// A peer tells all it has: it gets what it lacks, learns what is younger here, and is asked
    /// for what it has newer.
    pub(super) fn digest(&mut self, now: Time, from: P, theirs: &Digest, out: &mut Vec<Output<P>>) {
        self.touch_own(now);
        let mut theirs = theirs.iter().peekable();
        let (mut newer, mut digest, mut answer) = (Vec::new(), Vec::new(), false);
        for (at, entry) in self.entries.iter_mut().enumerate() {
            while theirs.next_if(|other| other.row < entry.row).is_some() {}
            let Some(other) = theirs.next_if(|other| other.row == entry.row) else {
                newer.push((Reverse(None), at));
                continue;
            };
            match entry.seq.cmp(&other.seq) {
                Ordering::Greater => newer.push((Reverse(Some(Reverse(other.age))), at)),
                Ordering::Less => {
                    digest.push(known(entry, now));
                    answer = true;
                }
                Ordering::Equal => {
                    let fresh = other.age.fresh(now);
                    if entry.fresh > fresh.after(self.period) {
                        digest.push(known(entry, now));
                    }
                    entry.fresh = entry.fresh.max(fresh);
                }
            }
        }
        newer.retain(|(_, at)| self.entries.get(*at).is_some_and(|entry| entry.seq > 0));
        let rows = self.rows_for(now, newer);
        if !rows.is_empty() || !digest.is_empty() {
            let digest = Digest::new(digest);
            out.push(plain(from, Body::Delta { rows, digest, answer }));
        }
    }

    /// The second half of an exchange: what is younger there, and what the peer asks for.
    pub(super) fn delta(
        &mut self,
        now: Time,
        from: P,
        theirs: &Digest,
        answer: bool,
        out: &mut Vec<Output<P>>,
    ) {
        let mut newer = Vec::new();
        for other in theirs.iter() {
            let Ok(at) = self.entries.binary_search_by_key(&other.row, |entry| entry.row) else {
                continue;
            };
            let entry = &mut self.entries[at];
            match entry.seq.cmp(&other.seq) {
                Ordering::Greater => newer.push((Reverse(Some(Reverse(other.age))), at)),
                Ordering::Equal => entry.fresh = entry.fresh.max(other.age.fresh(now)),
                Ordering::Less => {}
            }
        }
        if answer && !newer.is_empty() {
            let rows = self.rows_for(now, newer);
            out.push(plain(from, Body::Delta { rows, digest: Digest::default(), answer: false }));
        }
    }

    /// Keeps the newer of each record that is wanted (G-6).
    pub(super) fn merge(&mut self, now: Time, rows: Vec<Versioned<P>>, out: &mut Vec<Output<P>>) {
        for Versioned { key, boot, seq, age, record } in rows {
            let Some(entry) = self.find(RowId::new(key, boot)) else { continue };
            let wanted = (entry.key, entry.boot) == (key, boot) && entry.seq < seq;
            if key == self.me || !wanted {
                continue;
            }
            let Some(entry) = self.find(RowId::new(key, boot)) else { continue };
            (entry.seq, entry.record, entry.fresh) = (seq, record, age.fresh(now));
            out.push(Output::Event(Event::RecordChanged { key, boot }));
        }
    }

    fn own(&self) -> Option<&Entry<P>> {
        self.entries.get(self.own_at)
    }

    fn find(&mut self, row: RowId) -> Option<&mut Entry<P>> {
        let at = self.entries.binary_search_by_key(&row, |entry| entry.row).ok()?;
        self.entries.get_mut(at)
    }

    /// What this node says of itself is always new.
    fn touch_own(&mut self, now: Time) {
        if let Some(own) = self.entries.get_mut(self.own_at) {
            own.fresh = now;
        }
    }

    /// The records at those entries, those of the lowest rank first and ties shuffled, as far as
    /// the bytes go.
    fn rows_for<R: Ord + Copy>(
        &mut self,
        now: Time,
        mut newer: Vec<(R, usize)>,
    ) -> Vec<Versioned<P>> {
        for at in 0..newer.len() {
            let other = at + self.rng.below((newer.len() - at) as u64) as usize;
            newer.swap(at, other);
        }
        newer.sort_by_key(|(rank, _)| *rank);
        let mut left = DELTA_BYTES_MAX;
        let mut rows = Vec::new();
        for (_, at) in newer {
            let Some(entry) = self.entries.get(at) else { continue };
            let row = versioned(entry, now);
            let bytes = encoded(&row).len();
            if bytes > left && !rows.is_empty() {
                break;
            }
            left = left.saturating_sub(bytes);
            rows.push(row);
        }
        rows
    }
}

fn empty<P: Peer>(key: P, boot: u64) -> Entry<P> {
    let row = RowId::new(key, boot);
    Entry { row, key, boot, seq: 0, record: Record::default(), fresh: Time(0) }
}

fn known<P>(entry: &Entry<P>, now: Time) -> Known {
    Known { row: entry.row, seq: entry.seq, age: Age::new(entry.fresh, now) }
}

fn versioned<P: Peer>(entry: &Entry<P>, now: Time) -> Versioned<P> {
    let Entry { key, boot, seq, record, fresh, .. } = entry;
    Versioned {
        key: *key,
        boot: *boot,
        seq: *seq,
        age: Age::new(*fresh, now),
        record: record.clone(),
    }
}
