//! One suspicion: who accuses, and how long it may still be refuted.
//!
//! Source of the formula: A. Dadgar, J. Phillips, J. Currey, "Lifeguard: Local Health Awareness
//! for More Accurate Failure Detection", 2018, section IV-B.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Config, Peer};
use crate::machine::Time;

/// Accusers beyond this many change nothing any more.
pub(super) const ACCUSERS_MAX: usize = 8;

/// An open suspicion of one incarnation of a member.
#[derive(Clone, Debug)]
pub(super) struct Suspicion<P> {
    since: Time,
    /// When the suspected member was last told, so that it can refute.
    pub(super) told: Option<Time>,
    accusers: BTreeSet<P>,
    confirmations_wanted: usize,
    shortest: Duration,
    longest: Duration,
    /// How long it takes with these accusers.
    lasts: Duration,
}

impl<P: Peer> Suspicion<P> {
    /// Opens a suspicion among `members` living members, this node and the suspected included.
    pub(super) fn new(now: Time, members: usize, config: &Config) -> Self {
        let log = (members as f64).log10().max(1.0);
        let shortest = config.probe_period.mul_f64(f64::from(config.suspicion_multiplier) * log);
        let wanted = config.suspicion_multiplier.saturating_sub(2) as usize;
        let mut suspicion = Self {
            since: now,
            told: None,
            accusers: BTreeSet::new(),
            confirmations_wanted: if members.saturating_sub(2) < wanted { 0 } else { wanted },
            shortest,
            longest: shortest * config.suspicion_factor_max.max(1),
            lasts: shortest,
        };
        suspicion.lasts = suspicion.lasts();
        suspicion
    }

    /// Counts an accuser; false when it was counted before.
    pub(super) fn accuse(&mut self, accuser: P) -> bool {
        let new = self.accusers.len() < ACCUSERS_MAX && self.accusers.insert(accuser);
        if new {
            self.lasts = self.lasts();
        }
        new
    }

    pub(super) fn accusers(&self) -> impl Iterator<Item = P> + '_ {
        self.accusers.iter().copied()
    }

    pub(super) fn accusers_count(&self) -> usize {
        self.accusers.len()
    }

    /// When it ends in death, if there are accusers enough.
    pub(super) fn dies_at(&self) -> Time {
        self.since.after(self.lasts)
    }

    fn lasts(&self) -> Duration {
        if self.confirmations_wanted == 0 {
            return self.shortest;
        }
        let confirmations = self.accusers.len().saturating_sub(1) as f64;
        let share = (confirmations + 1.0).ln() / (self.confirmations_wanted as f64 + 1.0).ln();
        let span = (self.longest - self.shortest).mul_f64(share.min(1.0));
        (self.longest - span).max(self.shortest)
    }

    /// When it is dropped, if there never were accusers enough.
    pub(super) fn lapses_at(&self) -> Time {
        self.since.after(self.longest)
    }

    /// Grants `pause` more, because this node itself was not running for so long.
    pub(super) fn postpone(&mut self, pause: Duration) {
        self.since = self.since.after(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirmations_shorten_a_suspicion_from_its_longest_to_its_shortest() {
        let mut suspicion = Suspicion::new(Time(0), 10, &Config::default());
        let mut deaths = Vec::new();
        for accuser in 1..=4u32 {
            suspicion.accuse(accuser);
            suspicion.accuse(accuser);
            deaths.push(suspicion.dies_at().0 / 1_000);
        }
        assert_eq!(deaths, [24_000, 11_381, 4_000, 4_000]);
    }

    #[test]
    fn too_few_members_to_confirm_take_the_shortest_suspicion() {
        let suspicion = Suspicion::<u32>::new(Time(0), 3, &Config::default());
        assert_eq!(suspicion.dies_at(), Time(4_000_000));
        assert_eq!(suspicion.lapses_at(), Time(24_000_000));
    }
}
