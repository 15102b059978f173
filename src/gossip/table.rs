//! The table of members, this node among them, in the order of their places.
//!
//! Beside the entries it keeps one sum per bucket of places, so that two tables are compared by
//! 64 numbers (see `compare`), and all addresses in one run of bytes.

use std::ops::Range;

use super::Peer;
use super::member::{AddressAt, Member, State};
use crate::machine::Rng;

/// Buckets of places that tables are compared by: the upper bits of the place.
pub(super) const BUCKETS: usize = 64;
const BUCKET_BITS: u32 = BUCKETS.trailing_zeros();
/// Addresses that were replaced may take so many bytes before they are swept out.
const WASTE_BYTES_MAX: usize = 16 * 1024;

/// All members ever heard of and not forgotten.
#[derive(Clone, Debug)]
pub(super) struct Table<P> {
    keys: Vec<P>,
    members: Vec<Member>,
    /// Length in two bytes, then the text; the first two say that nothing is known.
    addresses: Vec<u8>,
    waste_bytes: usize,
    living: usize,
    dead: usize,
    sums: [u32; BUCKETS],
    /// How many of each bucket live.
    livings: [u32; BUCKETS],
    version: u64,
}

/// The entries whose places begin with the same bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    range: Range<usize>,
    /// The first of those places.
    place: u64,
    bits: u32,
}

impl Part {
    /// Whether it has all entries of the table.
    pub(super) fn is_whole(&self) -> bool {
        self.bits == 0
    }

    /// Whether a single place is left of it.
    pub(super) fn is_place(&self) -> bool {
        self.bits == u64::BITS
    }

    /// The bit that tells one half from the other.
    pub(super) fn next_bit(&self) -> u64 {
        1u64.rotate_right(self.bits + 1)
    }
}

impl<P: Peer> Table<P> {
    pub(super) fn new() -> Self {
        Self {
            keys: Vec::new(),
            members: Vec::new(),
            addresses: vec![0; 2],
            waste_bytes: 0,
            living: 0,
            dead: 0,
            sums: [0; BUCKETS],
            livings: [0; BUCKETS],
            version: 0,
        }
    }

    pub(super) fn get(&self, key: P) -> Option<&Member> {
        self.position(key).ok().and_then(|at| self.members.get(at))
    }

    pub(super) fn contains(&self, key: P) -> bool {
        self.position(key).is_ok()
    }

    /// In the order of places.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (P, &Member)> {
        self.keys.iter().copied().zip(&self.members)
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Lives that are not over, this node's own included.
    pub(super) fn living(&self) -> usize {
        self.living
    }

    /// Another number whenever other lives are not over than before.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn sums(&self) -> &[u32; BUCKETS] {
        &self.sums
    }

    pub(super) fn address(&self, member: &Member) -> &str {
        let at = member.address.0 as usize;
        let length = |bytes: &[u8]| Some(usize::from(u16::from_le_bytes(bytes.try_into().ok()?)));
        let text = self.addresses.get(at..at + 2).and_then(length);
        let text = text.and_then(|length| self.addresses.get(at + 2..at + 2 + length));
        text.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }

    /// Puts this life in the place of whatever was known of `key`.
    pub(super) fn put(&mut self, key: P, boot: u64, incarnation: u32, state: State, address: &str) {
        let address = self.store(address);
        let member = Member::new(boot, incarnation, address, state);
        match self.position(key) {
            Ok(at) => self.replace(at, member),
            Err(at) => {
                self.reserve();
                self.keys.insert(at, key);
                self.members.insert(at, member);
                self.put_in(at);
                self.version += u64::from(!state.is_gone());
            }
        }
        self.sweep();
    }

    /// Changes state or incarnation of what is known of `key`.
    pub(super) fn change(&mut self, key: P, change: impl FnOnce(&mut Member)) {
        if let Ok(at) = self.position(key) {
            let mut member = self.members[at];
            change(&mut member);
            self.replace(at, member);
        }
    }

    pub(super) fn set_address(&mut self, key: P, address: &str) {
        let Ok(at) = self.position(key) else { return };
        if self.address(&self.members[at]) == address {
            return;
        }
        let address = self.store(address);
        self.change(key, |member| member.address = address);
        self.sweep();
    }

    pub(super) fn remove(&mut self, key: P) {
        if let Ok(at) = self.position(key) {
            self.take_out(at);
            self.keys.remove(at);
            let member = self.members.remove(at);
            self.waste_bytes += self.address(&member).len() + 2;
            self.version += u64::from(!member.state.is_gone());
        }
    }

    /// The members whose places fall into a bucket.
    pub(super) fn bucket(&self, bucket: usize) -> &[P] {
        let first = (bucket as u64) << (u64::BITS - BUCKET_BITS);
        let last = first | (u64::MAX >> BUCKET_BITS);
        let start = self.keys.partition_point(|key| key.place() < first);
        let end = self.keys.partition_point(|key| key.place() <= last);
        self.keys.get(start..end).unwrap_or_default()
    }

    /// The first dead life with a known address at or behind the entry that `turn` picks.
    pub(super) fn dead_from(&self, turn: usize) -> Option<P> {
        if self.dead == 0 {
            return None;
        }
        let count = self.keys.len();
        let dead = |at: &usize| {
            let member = &self.members[*at];
            member.state == State::Dead && member.address != AddressAt::UNKNOWN
        };
        (0..count).map(|step| (turn % count + step) % count).find(dead).map(|at| self.keys[at])
    }

    pub(super) fn whole(&self) -> Part {
        Part { range: 0..self.keys.len(), place: 0, bits: 0 }
    }

    /// The part whose places go on with a 0, and the other.
    pub(super) fn halves(&self, part: &Part) -> [Part; 2] {
        let (bits, mask) = (part.bits + 1, part.next_bit());
        let keys = self.keys.get(part.range.clone()).unwrap_or_default();
        let middle = part.range.start + keys.partition_point(|key| key.place() & mask == 0);
        let lower = Part { range: part.range.start..middle, place: part.place, bits };
        [lower, Part { range: middle..part.range.end, place: part.place | mask, bits }]
    }

    /// How many of a part are not over. Few are counted: a large one is made of buckets.
    pub(super) fn living_in(&self, part: &Part) -> usize {
        if part.bits > BUCKET_BITS {
            let members = self.members.get(part.range.clone()).unwrap_or_default();
            return members.iter().filter(|member| !member.state.is_gone()).count();
        }
        let first = (part.place >> (u64::BITS - BUCKET_BITS)) as usize;
        let buckets = self.livings.iter().skip(first).take(BUCKETS >> part.bits);
        buckets.map(|&living| living as usize).sum()
    }

    /// The lives of a part that are not over: whose, and which.
    pub(super) fn lives_in(&self, part: &Part) -> impl Iterator<Item = (P, u64)> + use<'_, P> {
        let keys = self.keys.get(part.range.clone()).unwrap_or_default();
        let members = self.members.get(part.range.clone()).unwrap_or_default();
        let living = keys.iter().zip(members).filter(|(_, member)| !member.state.is_gone());
        living.map(|(&key, member)| (key, member.boot()))
    }

    fn position(&self, key: P) -> Result<usize, usize> {
        let place = (key.place(), key);
        self.keys.binary_search_by(|other| (other.place(), *other).cmp(&place))
    }

    fn replace(&mut self, at: usize, member: Member) {
        let old = self.members[at];
        self.take_out(at);
        if old.address != member.address {
            self.waste_bytes += self.address(&old).len() + 2;
        }
        self.members[at] = member;
        self.put_in(at);
        let same_life =
            old.boot() == member.boot() && old.state.is_gone() == member.state.is_gone();
        self.version += u64::from(!same_life);
    }

    fn take_out(&mut self, at: usize) {
        let (key, member) = (self.keys[at], self.members[at]);
        self.sums[bucket_of(key)] ^= sum(key, &member);
        self.dead -= usize::from(member.state == State::Dead);
        if !member.state.is_gone() {
            self.living -= 1;
            self.livings[bucket_of(key)] -= 1;
        }
    }

    fn put_in(&mut self, at: usize) {
        let (key, member) = (self.keys[at], self.members[at]);
        self.sums[bucket_of(key)] ^= sum(key, &member);
        self.dead += usize::from(member.state == State::Dead);
        if !member.state.is_gone() {
            self.living += 1;
            self.livings[bucket_of(key)] += 1;
        }
    }

    /// Grows by an eighth: doubling would waste half of a large table.
    fn reserve(&mut self) {
        if self.keys.len() == self.keys.capacity() {
            let more = (self.keys.len() / 8).max(16);
            self.keys.reserve_exact(more);
            self.members.reserve_exact(more);
        }
    }

    fn store(&mut self, address: &str) -> AddressAt {
        let length = u16::try_from(address.len()).unwrap_or(0);
        let Ok(at) = u32::try_from(self.addresses.len()) else { return AddressAt::UNKNOWN };
        if length == 0 {
            return AddressAt::UNKNOWN;
        }
        let needed = address.len() + 2;
        if self.addresses.capacity() - self.addresses.len() < needed {
            self.addresses.reserve_exact((self.addresses.len() / 8).max(needed));
        }
        self.addresses.extend(length.to_le_bytes());
        self.addresses.extend(address.as_bytes());
        AddressAt(at)
    }

    fn sweep(&mut self) {
        if self.waste_bytes < WASTE_BYTES_MAX {
            return;
        }
        let texts: Vec<String> =
            self.members.iter().map(|member| self.address(member).to_owned()).collect();
        self.addresses.truncate(2);
        self.waste_bytes = 0;
        for (at, text) in texts.iter().enumerate() {
            let address = self.store(text);
            self.members[at].address = address;
        }
    }
}

fn bucket_of<P: Peer>(key: P) -> usize {
    (key.place() >> (u64::BITS - BUCKET_BITS)) as usize
}

/// What an entry adds to the sum of its bucket: the life, how it ended, whether it can be dialled.
fn sum<P: Peer>(key: P, member: &Member) -> u32 {
    let standing = match member.state {
        State::Left => 3,
        State::Dead => 2,
        _ => u64::from(member.address != AddressAt::UNKNOWN),
    };
    let life = Rng::new(key.place() ^ member.boot().rotate_left(32)).next_u64();
    Rng::new(life.wrapping_add(standing)).next_u64() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_with_the_same_entries_have_the_same_sums_in_whatever_order_they_came() {
        let (mut a, mut b) = (Table::new(), Table::new());
        for key in 0..200u32 {
            a.put(key, 1, 0, State::Alive, "a");
            b.put(199 - key, 1, 0, State::Alive, "elsewhere");
        }
        assert_eq!(a.sums(), b.sums());
        b.change(7, |member| member.state = State::Dead);
        let differ = a.sums().iter().zip(b.sums()).filter(|(a, b)| a != b).count();
        assert_eq!((differ, a.living(), b.living()), (1, 200, 199));
        assert!((0..BUCKETS).map(|bucket| a.bucket(bucket).len()).sum::<usize>() == 200);
    }

    #[test]
    fn replaced_addresses_are_swept_out_and_the_others_stay() {
        let mut table = Table::new();
        table.put(1u32, 1, 0, State::Alive, "first");
        for number in 0..10_000 {
            table.put(2, 1, 0, State::Alive, "");
            table.set_address(2, &format!("address {number}"));
            table.set_address(2, "last");
        }
        assert!(table.addresses.len() < 2 * WASTE_BYTES_MAX);
        let address = |key| table.get(key).map(|member| table.address(member));
        assert_eq!((address(1), address(2)), (Some("first"), Some("last")));
    }
}
