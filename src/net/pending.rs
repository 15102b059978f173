//! Inbound connections whose peers are not admitted yet: how many, and from where.
//!
//! - **PE-1** Strangers never take all places: some are kept for addresses that members came from,
//!   and no single address can take those either.

use std::{collections::BTreeMap, net::IpAddr, time::Instant};

use libp2p::swarm::ConnectionId;

use super::{
    limits::{KEPT_PLACES, KNOWN_ADDRESSES_MAX},
    rate::Rate,
};

#[derive(Debug)]
pub(super) struct Pending {
    max: usize,
    waiting: BTreeMap<ConnectionId, IpAddr>,
    /// Where members came from, with when they last did.
    known: BTreeMap<IpAddr, Instant>,
    rate: Rate,
}

/// Why a connection is closed before any cryptography.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TooMany {
    /// At a time.
    Waiting,
    /// In a time, from an address or the networks around it.
    Knocks,
}

impl Pending {
    pub(super) fn new(max: usize) -> Self {
        Self { max, waiting: BTreeMap::new(), known: BTreeMap::new(), rate: Rate::default() }
    }

    /// Takes a place for a connection that has just been accepted.
    pub(super) fn enter(
        &mut self,
        id: ConnectionId,
        from: IpAddr,
        now: Instant,
    ) -> Result<(), TooMany> {
        let from = from.to_canonical();
        let known = self.known.contains_key(&from);
        if !self.has_place(from, known) {
            return Err(TooMany::Waiting);
        }
        if !self.rate.allows(from, known, now) {
            return Err(TooMany::Knocks);
        }
        self.waiting.insert(id, from);
        Ok(())
    }

    /// The peer is a member.
    pub(super) fn admitted(&mut self, id: ConnectionId, now: Instant) {
        let Some(from) = self.waiting.remove(&id) else { return };
        if self.known.len() >= KNOWN_ADDRESSES_MAX && !self.known.contains_key(&from) {
            let oldest = self.known.iter().min_by_key(|(_, last)| **last);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.known.remove(&oldest);
            }
        }
        self.known.insert(from, now);
    }

    /// The connection is gone.
    pub(super) fn leave(&mut self, id: ConnectionId) {
        self.waiting.remove(&id);
    }

    fn has_place(&self, from: IpAddr, known: bool) -> bool {
        let common = self.max.saturating_sub(self.max.checked_div(KEPT_PLACES).unwrap_or(0).max(1));
        // Of a single place none can be kept.
        let common = common.max(1);
        let same = self.waiting.values().filter(|other| **other == from).count();
        if known {
            return self.waiting.len() < self.max && same < common;
        }
        let strangers = self.waiting.values().filter(|other| !self.known.contains_key(other));
        self.waiting.len() < self.max && strangers.count() < common
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    #[test]
    fn a_place_is_kept_for_where_members_came_from() {
        // PE-1
        let (mut pending, now) = (Pending::new(32), Instant::now());
        for n in [1, 2] {
            pending.enter(id(n), ip(n as u8), now).unwrap();
            pending.admitted(id(n), now);
        }
        let strangers = (100..200).filter(|&n| pending.enter(id(n), ip(n as u8), now).is_ok());
        assert_eq!(strangers.count(), 24);
        // One known address cannot take what is left for the others, if it is alone.
        assert_eq!(pending.enter(id(3), ip(3), now), Err(TooMany::Waiting));
        assert_eq!(pending.enter(id(4), ip(1), now), Ok(()));
        pending.leave(id(100));
        assert_eq!(pending.enter(id(5), ip(3), now), Ok(()), "places come back");
        for n in 300..400 {
            let _ = pending.enter(id(n), ip(1), now);
        }
        assert_eq!(pending.waiting.len(), 32);
        let mut alone = Pending::new(32);
        alone.known = pending.known.clone();
        for n in 300..400 {
            let _ = alone.enter(id(n), ip(1), now);
        }
        assert_eq!(alone.enter(id(2), ip(2), now), Ok(()));
    }

    #[test]
    fn even_a_single_place_lets_a_member_in() {
        let (mut pending, now) = (Pending::new(1), Instant::now());
        assert_eq!(pending.enter(id(1), ip(1), now), Ok(()));
        assert_eq!(pending.enter(id(2), ip(2), now), Err(TooMany::Waiting));
        pending.admitted(id(1), now);
        assert_eq!(pending.enter(id(2), ip(2), now), Ok(()));
    }

    #[test]
    fn an_address_that_knocks_too_often_is_told_so() {
        let (mut pending, now) = (Pending::new(32), Instant::now());
        let mut refused = None;
        for n in 0..10_000 {
            if let Err(why) = pending.enter(id(n), ip(1), now) {
                refused = Some(why);
                break;
            }
            pending.leave(id(n));
        }
        assert_eq!(refused, Some(TooMany::Knocks));
    }

    #[test]
    fn the_addresses_of_members_are_bounded_and_the_oldest_is_forgotten() {
        // N-6
        let (mut pending, mut now) = (Pending::new(4), Instant::now());
        for n in 0..=KNOWN_ADDRESSES_MAX {
            now += std::time::Duration::from_secs(1);
            let from = std::net::Ipv4Addr::from_bits(u32::try_from(n).unwrap() << 12);
            pending.enter(id(n), from.into(), now).unwrap();
            pending.admitted(id(n), now);
        }
        assert_eq!(pending.known.len(), KNOWN_ADDRESSES_MAX);
        assert!(!pending.known.contains_key(&IpAddr::from([0, 0, 0, 0])));
    }
}
