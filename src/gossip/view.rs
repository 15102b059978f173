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
use super::message::{Body, Frame, Versioned, encoded_bytes, plain};
use super::{Config, Event, Output, Peer, Record};
use crate::machine::{Rng, Time};

/// Records of one message stay within this many bytes; the rest comes with the next rounds.
const DELTA_BYTES_MAX: usize = 16 * 1024;

/// What exchanges look at, of one life. Apart from the record, so that they read few bytes.
#[derive(Clone, Copy, Debug)]
struct Entry {
    row: RowId,
    /// The version; zero until the first has come.
    seq: u64,
    /// When this copy was last known to be the newest.
    fresh: Time,
}

/// The record of one life.
#[derive(Clone, Debug)]
struct Offer<P> {
    key: P,
    boot: u64,
    record: Record,
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
    entries: Vec<Entry>,
    /// In the same order.
    offers: Vec<Offer<P>>,
    own_at: usize,
    /// The version of the neighbours that the entries follow.
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
            entries: vec![Entry { row: RowId::new(me, boot), seq: 0, fresh: Time(0) }],
            offers: vec![Offer { key: me, boot, record: Record::default() }],
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
        let known = self.entries.iter().zip(&self.offers).filter(|(entry, _)| entry.seq > 0);
        let mut rows: Vec<_> = known
            .map(|(entry, offer)| Row {
                key: offer.key,
                boot: offer.boot,
                seq: entry.seq,
                record: &offer.record,
                age: if offer.key == self.me { Duration::ZERO } else { now.since(entry.fresh) },
            })
            .collect();
        rows.sort_unstable_by_key(|row| row.key);
        rows.into_iter()
    }

    /// Keeps the records of these lives and of this node, and no others.
    pub(super) fn follow(&mut self, version: u64, lives: impl Iterator<Item = (P, u64)>) {
        self.version = version;
        let wanted = [(self.me, self.boot)].into_iter().chain(lives);
        let mut wanted: Vec<_> =
            wanted.map(|(key, boot)| (RowId::new(key, boot), key, boot)).collect();
        // Of two with the same row id the own one stays, or the smaller key.
        wanted.sort_unstable_by_key(|(row, key, _)| (*row, *key != self.me, *key));
        wanted.dedup_by_key(|(row, ..)| *row);
        let (entries, offers) =
            (std::mem::take(&mut self.entries), std::mem::take(&mut self.offers));
        let mut old = entries.into_iter().zip(offers).peekable();
        for (at, (row, key, boot)) in wanted.into_iter().enumerate() {
            while old.next_if(|(other, _)| other.row < row).is_some() {}
            let same = |(_, other): &(Entry, Offer<P>)| (other.key, other.boot) == (key, boot);
            let (entry, offer) = old.next_if(same).unwrap_or_else(|| {
                let entry = Entry { row, seq: 0, fresh: Time(0) };
                (entry, Offer { key, boot, record: Record::default() })
            });
            if key == self.me {
                self.own_at = at;
            }
            self.entries.push(entry);
            self.offers.push(offer);
        }
    }

    /// Takes the local record: a new version now, in a while, or never when nothing changed.
    pub(super) fn offer(&mut self, now: Time, record: Record, out: &mut Vec<Output<P>>) {
        let Some((_, current)) = self.own() else {
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
        if let (Some(own), Some(offer)) =
            (self.entries.get_mut(self.own_at), self.offers.get_mut(self.own_at))
        {
            (own.seq, own.fresh, offer.record) = (own.seq.saturating_add(1), now, record);
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
        let told = self.entries.iter().filter(|entry| entry.seq > 0);
        let digest = told.map(|entry| known(entry, now)).collect();
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
        if let Some((own, offer)) = self.own() {
            let rows = vec![versioned(own, offer, own.fresh)];
            out.push(plain(to, Body::Delta { rows, digest: Digest::default(), answer: false }));
        }
    }

    /// A peer tells all it has: it gets what it lacks, learns what is younger here, and is asked
    /// for what it has newer.
    pub(super) fn digest(&mut self, now: Time, from: P, theirs: &Digest, out: &mut Vec<Output<P>>) {
        self.touch_own(now);
        let mut theirs = theirs.iter().peekable();
        let (mut newer, mut digest, mut answer) = (Vec::new(), Digest::default(), false);
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
            let row = RowId::new(key, boot);
            let Ok(at) = self.entries.binary_search_by_key(&row, |entry| entry.row) else {
                continue;
            };
            let (entry, offer) = (&mut self.entries[at], &mut self.offers[at]);
            let wanted = (offer.key, offer.boot) == (key, boot) && entry.seq < seq;
            if key == self.me || !wanted {
                continue;
            }
            (entry.seq, entry.fresh, offer.record) = (seq, age.fresh(now), record);
            out.push(Output::Event(Event::RecordChanged { key, boot }));
        }
    }

    /// The local record, once there is one.
    fn own(&self) -> Option<(&Entry, &Offer<P>)> {
        let own = self.entries.get(self.own_at).zip(self.offers.get(self.own_at));
        own.filter(|(entry, _)| entry.seq > 0)
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
            let Some(entry) = self.entries.get(at).zip(self.offers.get(at)) else { continue };
            let row = versioned(entry.0, entry.1, now);
            let bytes = encoded_bytes(&row);
            if bytes > left && !rows.is_empty() {
                break;
            }
            left = left.saturating_sub(bytes);
            rows.push(row);
        }
        rows
    }
}

fn known(entry: &Entry, now: Time) -> Known {
    Known { row: entry.row, seq: entry.seq, age: Age::new(entry.fresh, now) }
}

fn versioned<P: Peer>(entry: &Entry, offer: &Offer<P>, now: Time) -> Versioned<P> {
    let Offer { key, boot, record } = offer;
    let age = Age::new(entry.fresh, now);
    Versioned { key: *key, boot: *boot, seq: entry.seq, age, record: record.clone() }
}
