//! Which versions somebody has, in eight bytes or so each: most of what a quiet cluster sends.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Peer;
use crate::machine::{Rng, Time};

/// A hash of key and boot. Two lives of one section that share it, one case in half a million
/// sections, hide one record behind the other until either takes another boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowId(u32);

impl RowId {
    pub(super) fn new<P: Peer>(key: P, boot: u64) -> Self {
        Self(Rng::new(key.place() ^ boot.rotate_left(32)).next_u64() as u32)
    }
}

/// A time in hundredths of a second: finer is not worth the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Age(u32);

impl Age {
    const UNIT_US: u64 = 10_000;

    /// Rounded up: a copy never gets younger by being told of.
    pub(super) fn new(fresh: Time, now: Time) -> Self {
        let units = now.0.saturating_sub(fresh.0).div_ceil(Self::UNIT_US);
        Self(u32::try_from(units).unwrap_or(u32::MAX))
    }

    /// When a copy was fresh that is so old now.
    pub(super) fn fresh(self, now: Time) -> Time {
        Time(now.0.saturating_sub(u64::from(self.0) * Self::UNIT_US))
    }
}

/// Which version of a record somebody has, and how long ago it was known to be the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// The life whose record it is.
    pub(super) row: RowId,
    pub(super) seq: u64,
    pub(super) age: Age,
}

/// What a [`Known`] takes, mostly.
const KNOWN_BYTES: usize = 7;
/// Room is made beforehand for so many at most.
const KNOWN_ROOM_MAX: usize = 1_024;

/// Any number of [`Known`], by ascending row. Encoded when made and decoded while read: digests are
/// too many to be taken apart into lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    bytes: Vec<u8>,
}

impl Digest {
    /// `known` must come behind all that is there.
    pub(super) fn push(&mut self, Known { row, seq, age }: Known) {
        self.bytes.extend_from_slice(&row.0.to_be_bytes());
        put(&mut self.bytes, seq);
        put(&mut self.bytes, age.0.into());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Ends early where the bytes make no sense; see [`is_whole`](Self::is_whole).
    pub(super) fn iter(&self) -> impl Iterator<Item = Known> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (row, mut left) = rest.split_first_chunk()?;
            let row = RowId(u32::from_be_bytes(*row));
            let seq = take(&mut left)?;
            let age = Age(u32::try_from(take(&mut left)?).ok()?);
            rest = left;
            Some(Known { row, seq, age })
        })
    }

    /// Whether it is what [`push`](Self::push) makes, with at most so many.
    pub(super) fn is_whole(&self, known_max: usize) -> bool {
        let (mut count, mut bytes, mut last) = (0, 0, None);
        for known in self.iter() {
            if last >= Some(known.row) {
                return false;
            }
            last = Some(known.row);
            count += 1;
            bytes += 4 + length(known.seq) + length(known.age.0.into());
        }
        count <= known_max && bytes == self.bytes.len()
    }
}

impl FromIterator<Known> for Digest {
    /// They must come by ascending row.
    fn from_iter<I: IntoIterator<Item = Known>>(known: I) -> Self {
        let known = known.into_iter();
        let most = known.size_hint().1.unwrap_or_default().min(KNOWN_ROOM_MAX);
        let mut digest = Self { bytes: Vec::with_capacity(most * KNOWN_BYTES) };
        known.for_each(|known| digest.push(known));
        digest
    }
}

/// Seven bits a byte, the lowest first; all but the last byte have the highest bit set.
fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[inline]
fn take(bytes: &mut &[u8]) -> Option<u64> {
    match **bytes {
        [byte, ref rest @ ..] if byte < 0x80 => {
            *bytes = rest;
            Some(byte.into())
        }
        _ => take_long(bytes),
    }
}

fn take_long(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn length(value: u64) -> usize {
    (u64::BITS - value.leading_zeros()).div_ceil(7).max(1) as usize
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.bytes)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(deserializer)?;
        Ok(Self { bytes: bytes.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(row: u32, seq: u64, age: u32) -> Known {
        Known { row: RowId(row), seq, age: Age(age) }
    }

    #[test]
    fn a_digest_comes_back_as_it_was_made() {
        let all = [known(0, 1, 0), known(7, 127, 128), known(u32::MAX, u64::MAX, u32::MAX)];
        let digest = Digest::from_iter(all);
        assert_eq!(digest.iter().collect::<Vec<_>>(), all);
        let bytes = postcard::to_allocvec(&digest).unwrap();
        assert_eq!(postcard::from_bytes::<Digest>(&bytes), Ok(digest.clone()));
        assert!(digest.is_whole(3) && !digest.is_whole(2));
    }

    // G-8
    #[test]
    fn a_digest_out_of_order_or_cut_off_is_not_whole() {
        assert!(!Digest::from_iter([known(2, 1, 1), known(1, 1, 1)]).is_whole(9));
        assert!(!Digest::from_iter([known(1, 1, 1), known(1, 1, 1)]).is_whole(9));
        let mut cut = Digest::from_iter([known(1, 300, 1)]);
        cut.bytes.pop();
        assert!(!cut.is_whole(9));
        // The same number in more bytes than it takes.
        let padded = Digest { bytes: vec![0, 0, 0, 1, 0x81, 0, 1] };
        assert!(!padded.is_whole(9));
    }

    #[test]
    fn an_age_told_and_read_is_never_younger() {
        for age_us in [0, 1, 9_999, 10_000, 123_456] {
            let (now, fresh) = (Time(1_000_000), Time(1_000_000 - age_us));
            assert!(Age::new(fresh, now).fresh(now) <= fresh);
        }
    }
}
