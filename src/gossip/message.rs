//! The frames that gossip exchanges, and what makes one acceptable.
//!
//! A frame above [`FRAME_BYTES_MAX`], with trailing bytes, or with a collection or string beyond its
//! bound is malformed, and refused as a whole (G-8).

use bytes::Bytes;
use postcard::ser_flavors::Size;
use serde::{Deserialize, Serialize};

use super::digest::{Age, Digest};
use super::record::{ADDRESS_BYTES_MAX, Record};
use super::table::BUCKETS;
use super::{Config, Output, Peer};

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
    Digest(Digest),
    /// Records the receiver lacks, and those of the sender that are younger than the receiver's
    /// or that the sender lacks. `answer` asks for the latter.
    Delta {
        rows: Vec<Versioned<P>>,
        digest: Digest,
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
        let digest_fits = |digest: &Digest| digest.is_whole(config.members_max);
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
        encoded_bytes(self)
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
/// every receiver. Counted first, since memory that grows while it is written costs more.
pub(super) fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    let bytes = Vec::with_capacity(encoded_bytes(value));
    postcard::to_extend(value, bytes).unwrap_or_default()
}

/// How many bytes [`encoded`] makes.
pub(super) fn encoded_bytes<T: Serialize>(value: &T) -> usize {
    postcard::serialize_with_flavor(value, Size::default()).unwrap_or_default()
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
