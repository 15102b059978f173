//! Which certificates hold no more, though their time is not over: a list that the cluster signed.
//!
//! - **RV-1** Of two lists the one with the larger version counts; a list only grows.

use std::{collections::BTreeMap, fmt, path::Path};

use mobula_actors::id::PeerKey;
use serde::{Deserialize, Serialize};

use super::{
    armor,
    certificate::{CertificateError, read_text},
    cluster_key::{ClusterId, ClusterKey, peek},
    limits::{REVOCATIONS_FILE_BYTES_MAX, REVOKED_MAX},
};

const TITLE: &str = "mobula revocations 1";

/// The certificates that a cluster took back. It is public.
#[derive(Clone, PartialEq, Eq)]
pub struct Revocations {
    signed: Vec<u8>,
    body: Body,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    cluster: ClusterId,
    version: u64,
    /// Up to which serial each peer's certificates are revoked.
    revoked: BTreeMap<PeerKey, u64>,
}

impl Revocations {
    pub(super) fn none(key: &ClusterKey) -> Self {
        Self::sign(key, Body { cluster: key.id(), version: 0, revoked: BTreeMap::new() })
    }

    fn sign(key: &ClusterKey, body: Body) -> Self {
        Self { signed: key.sign(TITLE, &body), body }
    }

    /// Reads a file in the form that `to_text` writes.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, CertificateError> {
        Self::parse(&read_text(path.as_ref(), REVOCATIONS_FILE_BYTES_MAX)?)
    }

    /// Reads what `to_text` wrote, and checks that the cluster that it names signed it.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn parse(text: &str) -> Result<Self, CertificateError> {
        let signed = armor::read(TITLE, text).ok_or(CertificateError::NoRevocations)?;
        let body: Body = peek(&signed).ok_or(CertificateError::NoRevocations)?;
        Self::received(&signed, &body.cluster)
    }

    /// What a peer sent, if `cluster` signed it.
    pub(super) fn received(signed: &[u8], cluster: &ClusterId) -> Result<Self, CertificateError> {
        let body: Body = cluster.open(TITLE, signed).ok_or(CertificateError::Signature)?;
        if body.cluster != *cluster {
            return Err(CertificateError::Signature);
        }
        if body.revoked.len() > REVOKED_MAX {
            return Err(CertificateError::Full);
        }
        Ok(Self { signed: signed.to_vec(), body })
    }

    /// The version of a list, as it says.
    pub(super) fn version_of(signed: &[u8]) -> Option<u64> {
        peek(signed).map(|body: Body| body.version)
    }

    /// The list as it is sent to peers.
    #[must_use]
    pub fn signed(&self) -> &[u8] {
        &self.signed
    }

    /// The list as text. Others may read it.
    #[must_use]
    pub fn to_text(&self) -> String {
        armor::write(TITLE, &self.signed)
    }

    /// The next version of the list, in which the certificates of `peer` up to `serial` are
    /// revoked: all that there will ever be with `u64::MAX`.
    ///
    /// # Errors
    /// [`CertificateError::Signature`] when `key` is that of another cluster, or
    /// [`CertificateError::Full`].
    pub fn revoke(
        &self,
        key: &ClusterKey,
        peer: PeerKey,
        serial: u64,
    ) -> Result<Self, CertificateError> {
        if self.cluster() != key.id() {
            return Err(CertificateError::Signature);
        }
        let mut body = self.body.clone();
        if body.revoked.len() >= REVOKED_MAX && !body.revoked.contains_key(&peer) {
            return Err(CertificateError::Full);
        }
        let upto = body.revoked.entry(peer).or_default();
        *upto = serial.max(*upto);
        body.version = body.version.saturating_add(1);
        Ok(Self::sign(key, body))
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.body.cluster
    }

    /// Counts the changes of the list.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.body.version
    }

    /// How many nodes are on it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.body.revoked.len()
    }

    /// Whether no node is on it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body.revoked.is_empty()
    }

    /// Whether the certificate of `peer` with this serial is revoked.
    #[must_use]
    pub fn revokes(&self, peer: &PeerKey, serial: u64) -> bool {
        self.body.revoked.get(peer).is_some_and(|upto| serial <= *upto)
    }
}

/// Decodes what the cluster's key signed, whoever signed it.
#[cfg(feature = "fuzz")]
pub(super) fn read_body(signed: &[u8]) {
    let _: Option<Body> = peek(signed);
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revocations(version {}, {} nodes)", self.version(), self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_grows_by_versions_and_survives_its_file() {
        // RV-1
        let key = ClusterKey::generate();
        let (a, b) = (PeerKey([1; 32]), PeerKey([2; 32]));
        let list = key.revoke_nobody().revoke(&key, a, 7).unwrap().revoke(&key, b, 1).unwrap();
        let list = Revocations::parse(&list.revoke(&key, a, 3).unwrap().to_text()).unwrap();
        assert_eq!((list.version(), list.len()), (3, 2));
        assert!(list.revokes(&a, 7) && !list.revokes(&a, 8), "it never shrinks");
        assert!(!list.revokes(&PeerKey([3; 32]), 0));
    }

    #[test]
    fn a_list_is_continued_and_read_under_its_own_key_only() {
        let (key, other) = (ClusterKey::generate(), ClusterKey::generate());
        let list = key.revoke_nobody();
        let refused = list.revoke(&other, PeerKey([1; 32]), 1);
        assert!(matches!(refused, Err(CertificateError::Signature)));
        let forged = Revocations { signed: other.sign(TITLE, &list.body), body: list.body.clone() };
        assert!(matches!(Revocations::parse(&forged.to_text()), Err(CertificateError::Signature)));
        let certificate = key.admit(PeerKey([1; 32]), std::time::Duration::ZERO).to_text();
        let mistaken = Revocations::parse(&certificate);
        assert!(matches!(mistaken, Err(CertificateError::NoRevocations)));
    }

    #[test]
    fn a_list_is_bounded() {
        let key = ClusterKey::generate();
        let revoked = (0..4096_u32)
            .map(|n| {
                let mut peer = [0; 32];
                peer[..4].copy_from_slice(&n.to_le_bytes());
                (PeerKey(peer), u64::MAX)
            })
            .collect();
        let full = Revocations::sign(&key, Body { cluster: key.id(), version: 1, revoked });
        assert!(full.to_text().len() as u64 <= REVOCATIONS_FILE_BYTES_MAX);
        assert!(Revocations::parse(&full.to_text()).is_ok());
        let refused = full.revoke(&key, PeerKey([9; 32]), 1);
        assert!(matches!(refused, Err(CertificateError::Full)));
    }
}
