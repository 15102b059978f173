//! The frames that gossip exchanges, and what makes one acceptable.
//!
//! A frame above [`FRAME_BYTES_MAX`], with trailing bytes, or with a collection or string beyond its
//! bound is malformed, and refused as a whole (G-8).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::record::{ADDRESS_BYTES_MAX, Record};
use super::table::BUCKETS;
use super::{Config, Output, Peer};
use crate::machine::{Rng, Time};

/// Largest frame that is decoded.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Most claims in one frame.
pub(super) const CLAIMS_MAX: usize = 4_096;

/// One statement about one life of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "P: Peer")]
pub(super) struct Claim<P> {
    pub(super) key: P,
    pub(super) boot: u64,
    pub(super) what: What<P>,
}

/// What is claimed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "P: Peer")]
pub(super) enum What<P> {
    Alive { incarnation: u32, address: String },
    Suspect { incarnation: u32, accuser: P },
    Dead,
    Left,
}

/// How an attempt to dial a member ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Outcome {
    Reached,
    Refused,
    /// Neither: silence, no address, not allowed.
    Failed,
}

/// Which version of a record somebody has, and how long ago it was known to be the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// The life whose record it is, in four bytes: see [`RowId`].
    pub(super) row: RowId,
    pub(super) seq: u64,
    pub(super) age: Age,
}

/// A hash of key and boot. Two lives of one section that share it, one case in half a million
/// sections, hide one record behind the other until either takes another boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct RowId([u8; 4]);

impl RowId {
    pub(super) fn new<P: Peer>(key: P, boot: u64) -> Self {
        Self((Rng::new(key.place() ^ boot.rotate_left(32)).next_u64() as u32).to_be_bytes())
    }
}

/// A time in hundredths of a second: finer is not worth the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Age(u32);

impl Age {
    const UNIT_US: u64 = 10_000;

    /// Rounded up: a copy never gets younger by being told of.
    pub(super) fn new(fresh: Time, now: Time) -> Self {
        Self(
            u32::try_from(now.0.saturating_sub(fresh.0).div_ceil(Self::UNIT_US))
                .unwrap_or(u32::MAX),
        )
    }

    /// When a copy was fresh that is so old now.
    pub(super) fn fresh(self, now: Time) -> Time {
        Time(now.0.saturating_sub(u64::from(self.0) * Self::UNIT_US))
    }
}

/// A record under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "P: Peer")]
pub(super) struct Versioned<P> {
    pub(super) key: P,
    pub(super) boot: u64,
    pub(super) seq: u64,
    pub(super) age: Age,
    pub(super) record: Record,
}

/// What a frame asks or answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "P: Peer")]
pub(super) enum Body<P> {
    /// Only the claims count.
    Claims,
    /// One sum for each bucket of the sender's table; see `compare`.
    Sums(Vec<u32>),
    /// The claims are all that the sender has in those buckets. `more` buckets differ; `answer`
    /// asks for what the sender lacks.
    Compared {
        buckets: u64,
        more: bool,
        answer: bool,
    },
    Ping {
        nonce: u64,
    },
    Ack {
        nonce: u64,
    },
    /// The target of a `PingFor` did not answer in time.
    Nack {
        nonce: u64,
    },
    /// Ping `target` and acknowledge with `nonce` when it answers.
    PingFor {
        nonce: u64,
        target: P,
    },
    /// Dial this life of `key` and tell how it ended.
    AskDial {
        key: P,
        boot: u64,
    },
    Dialled {
        key: P,
        boot: u64,
        outcome: Outcome,
    },
    /// The receiver's life up to `boot` is dead to the sender, who knows `alive` living members.
    Fenced {
        boot: u64,
        alive: u32,
    },
    /// Opens an exchange of records: all the sender has, by ascending row.
    Digest(Vec<Known>),
    /// Records the receiver lacks, and those of the sender that are younger than the receiver's
    /// or that the sender lacks. `answer` asks for the latter.
    Delta {
        rows: Vec<Versioned<P>>,
        digest: Vec<Known>,
        answer: bool,
    },
}

/// One frame: claims ride on every body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "P: Peer")]
pub(super) struct Frame<P> {
    pub(super) claims: Vec<Claim<P>>,
    pub(super) body: Body<P>,
}

impl<P: Peer> Frame<P> {
    pub(super) fn encode(&self) -> Bytes {
        Bytes::from(encoded(self))
    }

    /// The frame in `bytes`, or nothing when it breaks G-8.
    pub(super) fn decode(bytes: &[u8], config: &Config) -> Option<Self> {
        if bytes.len() > FRAME_BYTES_MAX {
            return None;
        }
        let (frame, rest) = postcard::take_from_bytes::<Self>(bytes).ok()?;
        (rest.is_empty() && frame.is_bounded(config)).then_some(frame)
    }

    fn is_bounded(&self, config: &Config) -> bool {
        let claims = self.claims.len() <= CLAIMS_MAX && self.claims.iter().all(Claim::is_bounded);
        let digest_fits = |digest: &Vec<Known>| {
            digest.len() <= config.members_max && digest.is_sorted_by(|a, b| a.row < b.row)
        };
        claims
            && match &self.body {
                Body::Sums(sums) => sums.len() == BUCKETS,
                Body::Digest(digest) => digest_fits(digest),
                Body::Delta { rows, digest, .. } => {
                    rows.len() <= config.members_max
                        && rows.iter().all(|row| row.record.check().is_ok())
                        && digest_fits(digest)
                }
                _ => true,
            }
    }
}

impl<P: Peer> Claim<P> {
    pub(super) fn size(&self) -> usize {
        encoded(self).len()
    }

    fn is_bounded(&self) -> bool {
        match &self.what {
            What::Alive { address, .. } => address.len() <= ADDRESS_BYTES_MAX,
            _ => true,
        }
    }
}

/// Sends `body` without claims.
pub(super) fn plain<P: Peer>(to: P, body: Body<P>) -> Output<P> {
    Output::Send { to, bytes: Frame { claims: Vec::new(), body }.encode() }
}

/// The bytes of a message; plain data into memory cannot fail, and an empty frame is refused by
/// every receiver.
pub(super) fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    // G-8
    #[test]
    fn frame_with_trailing_bytes_or_a_long_address_is_refused() {
        let config = Config::default();
        let claim = |bytes| Claim {
            key: 7u32,
            boot: 1,
            what: What::Alive { incarnation: 0, address: "a".repeat(bytes) },
        };
        let frame = |bytes| Frame { claims: vec![claim(bytes)], body: Body::Claims };
        let good = frame(ADDRESS_BYTES_MAX).encode();
        assert_eq!(Frame::decode(&good, &config), Some(frame(ADDRESS_BYTES_MAX)));
        let trailing = [&good[..], &[0]].concat();
        assert_eq!(Frame::<u32>::decode(&trailing, &config), None);
        let long = frame(ADDRESS_BYTES_MAX + 1).encode();
        assert_eq!(Frame::<u32>::decode(&long, &config), None);
    }
}
