//! Members that break the protocol again and again, and how long they stay outside.
//!
//! - **ST-1** A member that broke the protocol [`STRIKES_MAX`] times within [`STRIKES_WITHIN`] is
//!   not admitted for [`QUARANTINE`].

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use mobula_actors::id::PeerKey;

use super::limits::{MEMBERS_MAX, QUARANTINE, STRIKES_MAX, STRIKES_WITHIN};

#[derive(Debug, Default)]
pub(super) struct Strikes {
    members: BTreeMap<PeerKey, Record>,
}

#[derive(Debug, Default)]
struct Record {
    /// The last times at which its connection was closed for that.
    at: VecDeque<Instant>,
    until: Option<Instant>,
}

impl Strikes {
    /// A member has broken the protocol. `true` if it is in quarantine from now on.
    pub(super) fn strike(&mut self, key: PeerKey, now: Instant) -> bool {
        if self.members.len() >= MEMBERS_MAX {
            self.members.retain(|_, record| record.matters(now));
        }
        if self.members.len() >= MEMBERS_MAX && !self.members.contains_key(&key) {
            return false; // More members than may be: nothing is kept for them.
        }
        let record = self.members.entry(key).or_default();
        record.at.push_back(now);
        if record.at.len() > STRIKES_MAX {
            record.at.pop_front();
        }
        let first = record.at.front().copied().unwrap_or(now);
        let over = record.at.len() >= STRIKES_MAX
            && now.saturating_duration_since(first) <= STRIKES_WITHIN
            && !record.is_out(now);
        if over {
            record.until = now.checked_add(QUARANTINE);
            record.at.clear();
        }
        over
    }

    /// Whether a member is in quarantine.
    pub(super) fn is_out(&self, key: &PeerKey, now: Instant) -> bool {
        self.members.get(key).is_some_and(|record| record.is_out(now))
    }

    /// Those who are in quarantine.
    pub(super) fn out(&self, now: Instant) -> Vec<PeerKey> {
        let out = self.members.iter().filter(|(_, record)| record.is_out(now));
        out.map(|(key, _)| *key).collect()
    }
}

impl Record {
    fn is_out(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    fn matters(&self, now: Instant) -> bool {
        let recent = |at: &Instant| now.saturating_duration_since(*at) <= STRIKES_WITHIN;
        self.is_out(now) || self.at.iter().any(recent)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(number: u32) -> PeerKey {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        PeerKey(key)
    }

    #[test]
    fn three_strikes_in_ten_minutes_keep_a_member_out_for_a_while() {
        // ST-1
        let (mut strikes, start) = (Strikes::default(), Instant::now());
        assert!(!strikes.strike(key(1), start));
        assert!(!strikes.strike(key(1), start));
        // The first two are too long ago when the third comes.
        let late = start + STRIKES_WITHIN + Duration::from_secs(1);
        assert!(!strikes.strike(key(1), late));
        assert!(!strikes.strike(key(1), late));
        assert!(!strikes.strike(key(2), late), "each has a record of its own");
        assert!(strikes.strike(key(1), late));
        assert!(strikes.is_out(&key(1), late));
        assert_eq!(strikes.out(late), [key(1)]);
        let over = late + QUARANTINE;
        assert!(!strikes.is_out(&key(1), over));
        assert!(!strikes.strike(key(1), over), "it begins anew");
    }

    #[test]
    fn what_is_kept_of_members_is_bounded() {
        // N-6
        let (mut strikes, now) = (Strikes::default(), Instant::now());
        for number in 0..10_000 {
            strikes.strike(key(number), now);
        }
        assert_eq!(strikes.members.len(), MEMBERS_MAX);
        strikes.strike(key(10_000), now + STRIKES_WITHIN * 2);
        assert_eq!(strikes.members.len(), 1);
    }
}
