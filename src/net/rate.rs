//! How often strangers may knock: a bucket of tokens for each address and for the networks it is in.
//!
//! - **RT-1** A knock that is refused costs no token, and one that is let through costs one of the
//!   address and one of each network around it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use super::limits::{ADDRESS_RATE, BUCKETS_MAX, NETWORK_RATE, REGION_RATE};

/// A bucket: how many tokens it holds, and how often one comes back. The generic cell rate algorithm
/// (ITU-T I.371): all that is kept of one is the time at which it is full again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refill {
    pub(crate) burst: u32,
    pub(crate) every: Duration,
}

impl Refill {
    /// When a bucket that is full at `full_at` will be after one more token is taken; `None` if it
    /// has none.
    pub(crate) fn taken(self, full_at: Instant, now: Instant) -> Option<Instant> {
        let missing = full_at.saturating_duration_since(now).saturating_add(self.every);
        let has_token = missing <= self.every.saturating_mul(self.burst);
        now.checked_add(missing).filter(|_| has_token)
    }
}

/// From the smallest to the largest: leading bits of an IPv4 and of an IPv6 address.
const LEVELS: [(u32, u32, Refill); 3] =
    [(32, 64, ADDRESS_RATE), (24, 56, NETWORK_RATE), (16, 48, REGION_RATE)];

/// The buckets that are not full, each as the time at which it will be.
#[derive(Debug, Default)]
pub(super) struct Rate {
    full_at: BTreeMap<(u32, IpAddr), Instant>,
}

impl Rate {
    /// Whether an address may knock now. A known one has to do with its own bucket only.
    pub(super) fn allows(&mut self, from: IpAddr, known: bool, now: Instant) -> bool {
        let levels = if known { 1 } else { LEVELS.len() };
        let levels = LEVELS.into_iter().take(levels);
        let buckets: Vec<_> = levels
            .map(|(v4, v6, refill)| {
                let bits = if from.is_ipv4() { v4 } else { v6 };
                ((bits, network(from, bits)), refill)
            })
            .collect();
        if !self.has_room(buckets.len(), now) {
            return false;
        }
        let taken = buckets.into_iter().map(|(key, refill)| {
            let full_at = self.full_at.get(&key).copied().unwrap_or(now);
            Some((key, refill.taken(full_at, now)?))
        });
        let Some(taken) = taken.collect::<Option<Vec<_>>>() else { return false };
        self.full_at.extend(taken);
        true
    }

    /// Forgets full buckets when there are too many; if none is, strangers have to wait.
    fn has_room(&mut self, more: usize, now: Instant) -> bool {
        let fits = |len: usize| len.saturating_add(more) <= BUCKETS_MAX;
        if !fits(self.full_at.len()) {
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        fits(self.full_at.len())
    }
}

/// The address with all but its leading bits zero.
fn network(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(u32::BITS.saturating_sub(bits)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(u128::BITS.saturating_sub(bits)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of `n` knocks at one moment pass.
    fn passed(rate: &mut Rate, n: u32, now: Instant, from: impl Fn(u32) -> IpAddr) -> u32 {
        (0..n).map(|i| u32::from(rate.allows(from(i), false, now))).sum()
    }

    #[test]
    fn an_address_has_a_burst_and_then_one_at_a_time() {
        // RT-1
        let (mut rate, now) = (Rate::default(), Instant::now());
        let one = ip("192.0.2.1");
        assert_eq!(passed(&mut rate, 10_000, now, |_| one), ADDRESS_RATE.burst);
        let later = now + ADDRESS_RATE.every;
        assert_eq!(passed(&mut rate, 10_000, later, |_| one), 1, "refused ones cost nothing");
        let rested = later + ADDRESS_RATE.every * ADDRESS_RATE.burst;
        assert_eq!(passed(&mut rate, 10_000, rested, |_| one), ADDRESS_RATE.burst);
    }

    #[test]
    fn a_network_and_a_region_have_bursts_of_their_own() {
        // RT-1
        let (mut rate, now) = (Rate::default(), Instant::now());
        let network = |i: u32| IpAddr::from([192, 0, 2, u8::try_from(i % 256).unwrap()]);
        assert_eq!(passed(&mut rate, 10_000, now, network), NETWORK_RATE.burst);
        let region = |i: u32| Ipv4Addr::from_bits(0x7f01_0000 | (i * 7 % 0x1_0000)).into();
        assert_eq!(passed(&mut rate, 10_000, now, region), REGION_RATE.burst);
        assert!(rate.allows(ip("198.51.100.1"), false, now), "the rest of the world");
        let six = |i: u32| Ipv6Addr::from_bits((0x2001_0db8 << 96) | u128::from(i)).into();
        assert_eq!(passed(&mut rate, 10_000, now, six), ADDRESS_RATE.burst, "one /64 is one");
    }

    #[test]
    fn a_known_address_does_not_suffer_from_its_neighbours() {
        let (mut rate, now) = (Rate::default(), Instant::now());
        let member = ip("192.0.2.77");
        passed(&mut rate, 10_000, now, |i| {
            IpAddr::from([192, 0, 2, u8::try_from(i % 64).unwrap()])
        });
        assert!(!rate.allows(member, false, now));
        assert!(rate.allows(member, true, now));
    }

    #[test]
    fn what_is_remembered_of_strangers_is_bounded() {
        // N-6
        let (mut rate, now) = (Rate::default(), Instant::now());
        let everywhere = |i: u32| Ipv4Addr::from_bits(i.wrapping_mul(0x9e37_79b1)).into();
        passed(&mut rate, 100_000, now, everywhere);
        assert!(rate.full_at.len() <= BUCKETS_MAX);
        let later = now + Duration::from_secs(60);
        assert!(rate.allows(ip("192.0.2.1"), false, later), "and forgotten");
    }
}
