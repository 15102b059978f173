//! What a node process tells of itself, and what all of them together must not say.

use std::fmt;

use mobula::prelude::*;

/// Counts since a process began.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Casts that were taken, and calls.
    pub sent: u64,
    pub answered: u64,
    /// Certainly not run, casts that were not taken among them.
    pub rejected: u64,
    pub unknown: u64,
    /// Calls that ended too long after their deadline.
    pub late: u64,
    /// Of what was received, by the numbers of its sender.
    pub duplicates: u64,
    pub swaps: u64,
    pub monitors: u64,
    pub fired: u64,
    pub fired_twice: u64,
    /// Monitors of lives that the others held dead, or that were killed.
    pub abandoned: u64,
    /// Lives beyond the first, after the others held one dead.
    pub lives: u64,
    pub rss_max_kib: u64,
    /// Living nodes in the eyes of this one, itself included.
    pub alive: usize,
    /// Others that have answered a call since the last `mark`.
    pub answering: usize,
}

impl Counts {
    /// All is well in the eyes of one of `nodes` nodes.
    pub fn is_settled(&self, nodes: usize) -> bool {
        self.alive == nodes && self.answering + 1 == nodes
    }

    /// Monitors that have not fired, of lives that go on.
    pub fn watching(&self) -> u64 {
        self.monitors.saturating_sub(self.fired + self.abandoned)
    }

    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.rejected += other.rejected;
        self.unknown += other.unknown;
        self.late += other.late;
        self.duplicates += other.duplicates;
        self.swaps += other.swaps;
        self.monitors += other.monitors;
        self.fired += other.fired;
        self.fired_twice += other.fired_twice;
        self.abandoned += other.abandoned;
        self.lives += other.lives;
        self.rss_max_kib = self.rss_max_kib.max(other.rss_max_kib);
    }

    /// Promises of the README that these counts break.
    pub fn broken(&self) -> Vec<&'static str> {
        let promises = [
            ("order", self.swaps > 0),
            ("at most once", self.duplicates > 0),
            ("every call ends by its deadline", self.late > 0),
            ("every monitor fires once", self.fired_twice > 0),
            ("memory is bounded", self.rss_max_kib > RSS_MAX_KIB),
        ];
        promises.into_iter().filter(|(_, broken)| *broken).map(|(promise, _)| promise).collect()
    }
}

/// A node of these runs needs a fraction of it; a leak in a cut of 90 s would need more.
const RSS_MAX_KIB: u64 = 128 << 10;

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sent {} answered {} rejected {} unknown {} late {} duplicates {} swaps {} \
             monitors {} fired {} twice {} abandoned {} new lives {} rss max {} MiB",
            self.sent,
            self.answered,
            self.rejected,
            self.unknown,
            self.late,
            self.duplicates,
            self.swaps,
            self.monitors,
            self.fired,
            self.fired_twice,
            self.abandoned,
            self.lives,
            self.rss_max_kib >> 10,
        )
    }
}
