//! The first frame of each side: which protocol versions and features it speaks and which life it is.
//!
//! Two nodes speak the highest version that both know; without one they part, and each says which
//! versions they are. A feature is used if both have its bit; bits that a node does not know mean
//! nothing to it.

use std::fmt;
use std::ops::RangeInclusive;

use bytes::{Buf, BufMut, BytesMut};
use mobula_actors::id::{NodeId, PeerKey};

use super::{frame::Violation, limits::ADDRESS_BYTES_MAX};

/// The protocol versions that this build speaks.
pub(super) const VERSIONS: RangeInclusive<u16> = 1..=1;

/// What two nodes have agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The protocol version that they speak.
    pub version: u16,
    /// The first and last version of this node.
    pub ours: (u16, u16),
    /// Those of the other.
    pub theirs: (u16, u16),
    /// The features that both have, by the bits of their owners.
    pub features: u64,
    /// The peer is no node: it only looks.
    pub observer: bool,
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, ours, theirs, .. } = self;
        let (ours, theirs) =
            (format!("{}-{}", ours.0, ours.1), format!("{}-{}", theirs.0, theirs.1));
        write!(f, "protocol version {version} (this node {ours}, the peer {theirs})")
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Control and call lanes, both ways.
    Control,
    /// The bulk lane, from the side that dialed.
    Bulk,
    /// The lanes of a control connection, from a peer that is no node and only looks.
    Observer,
}

impl Class {
    /// The class that the side which is dialed sees by the lanes.
    pub(super) fn by_lanes(self) -> Self {
        if self == Self::Observer { Self::Control } else { self }
    }
}

/// The numbers of the link's own frames.
pub(super) mod kind {
    pub(in crate::net) const HELLO: u8 = 1;
    /// This control connection is the one; messages may follow.
    pub(in crate::net) const OPEN: u8 = 2;
    /// There is another control connection already; close this one.
    pub(in crate::net) const SPARE: u8 = 3;
    /// Nothing follows on this lane, and the node means it.
    pub(in crate::net) const BYE: u8 = 4;
    pub(in crate::net) const PING: u8 = 5;
    pub(in crate::net) const PONG: u8 = 6;
    /// The sender's certificate: before its hello, and when it was renewed.
    pub(in crate::net) const CERTIFICATE: u8 = 7;
    /// What another member granted the sender: after the link was opened, and when it is new.
    pub(in crate::net) const GRANT: u8 = 8;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) versions: RangeInclusive<u16>,
    pub(super) features: u64,
    pub(super) class: Class,
    pub(super) boot: u64,
    /// Where the sender listens; empty when it does not.
    pub(super) address: String,
}

impl Hello {
    pub(super) fn encode(&self) -> BytesMut {
        let mut out = BytesMut::with_capacity(ADDRESS_BYTES_MAX);
        out.put_u16_le(*self.versions.start());
        out.put_u16_le(*self.versions.end());
        out.put_u64_le(self.features);
        out.put_u8(match self.class {
            Class::Control => 0,
            Class::Bulk => 1,
            Class::Observer => 2,
        });
        out.put_u64_le(self.boot);
        out.put_slice(self.address.as_bytes());
        out
    }

    /// Later versions keep this layout up to the versions, so that the mismatch can be named.
    pub(super) fn decode(mut body: &[u8], ours: &RangeInclusive<u16>) -> Result<Self, HelloError> {
        let low = body.try_get_u16_le().map_err(|_| Violation::Hello)?;
        let high = body.try_get_u16_le().map_err(|_| Violation::Hello)?;
        if low > high {
            return Err(Violation::Hello.into());
        }
        let versions = low..=high;
        if low > *ours.end() || high < *ours.start() {
            return Err(HelloError::Version { ours: ours.clone(), theirs: versions });
        }
        let features = body.try_get_u64_le().map_err(|_| Violation::Hello)?;
        let class = match body.try_get_u8() {
            Ok(0) => Class::Control,
            Ok(1) => Class::Bulk,
            Ok(2) => Class::Observer,
            _ => return Err(Violation::Hello.into()),
        };
        let boot = body.try_get_u64_le().map_err(|_| Violation::Hello)?;
        if body.len() > ADDRESS_BYTES_MAX || !body.iter().all(u8::is_ascii_graphic) {
            return Err(Violation::Hello.into());
        }
        let address = String::from_utf8(body.to_vec()).map_err(|_| Violation::Hello)?;
        Ok(Self { versions, features, class, boot, address })
    }

    /// What holds between a peer that says this, with whose versions `ours` overlap, and a node of
    /// these versions and features.
    pub(super) fn terms(&self, ours: &RangeInclusive<u16>, features: u64) -> Terms {
        let ends = |versions: &RangeInclusive<u16>| (*versions.start(), *versions.end());
        Terms {
            version: *self.versions.end().min(ours.end()),
            ours: ends(ours),
            theirs: ends(&self.versions),
            features: self.features & features,
            observer: self.class == Class::Observer,
        }
    }

    pub(super) fn node(&self, key: PeerKey) -> NodeId {
        NodeId { key, boot: self.boot }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HelloError {
    #[error(
        "the peer speaks protocol versions {}-{}, this node {}-{}: upgrade one of them",
        theirs.start(), theirs.end(), ours.start(), ours.end()
    )]
    Version { ours: RangeInclusive<u16>, theirs: RangeInclusive<u16> },
    #[error(transparent)]
    Violation(#[from] Violation),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        let address = "/ip4/127.0.0.1/tcp/7000".to_owned();
        Hello { versions: 1..=2, features: 1 << 63 | 5, class: Class::Bulk, boot: 77, address }
    }

    #[test]
    fn a_hello_survives_the_wire() {
        assert_eq!(Hello::decode(&hello().encode(), &(2..=3)), Ok(hello()));
    }

    #[test]
    fn the_highest_common_version_and_the_common_features_are_used() {
        let terms = hello().terms(&(1..=1), 4);
        assert_eq!((terms.version, terms.features), (1, 4));
        let terms = hello().terms(&(2..=9), 2);
        assert_eq!((terms.version, terms.features), (2, 0));
        assert_eq!(terms.to_string(), "protocol version 2 (this node 2-9, the peer 1-2)");
    }

    #[test]
    fn who_only_looks_says_so() {
        let observer = Hello { class: Class::Observer, ..hello() };
        assert_eq!(Hello::decode(&observer.encode(), &(2..=3)), Ok(observer.clone()));
        assert!(observer.terms(&(1..=1), 0).observer && !hello().terms(&(1..=1), 0).observer);
    }

    #[test]
    fn a_version_mismatch_names_both_sides() {
        let refused = Hello::decode(&hello().encode(), &(3..=4)).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("1-2") && text.contains("3-4"), "{text}");
    }

    #[test]
    fn a_hello_that_is_cut_or_padded_or_unprintable_is_a_violation() {
        let whole = hello().encode();
        for cut in 0..21 {
            assert_eq!(Hello::decode(&whole[..cut], &(1..=1)), Err(Violation::Hello.into()));
        }
        let mut padded = whole.clone();
        padded.extend_from_slice(&[b'x'; ADDRESS_BYTES_MAX]);
        assert_eq!(Hello::decode(&padded, &(1..=1)), Err(Violation::Hello.into()));
        let mut control = whole.clone();
        control.extend_from_slice(b"\x1b[31m");
        assert_eq!(Hello::decode(&control, &(1..=1)), Err(Violation::Hello.into()));
        let mut class = whole;
        class[12] = 9;
        assert_eq!(Hello::decode(&class, &(1..=1)), Err(Violation::Hello.into()));
    }
}
