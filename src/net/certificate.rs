//! What makes a node a member: its key, signed with the key of the cluster.
//!
//! - **CE-1** A certificate holds for the key that it names, in the cluster that signed it, until
//!   it expires. A received one is decoded only if its signature is right.

use std::{
    fmt, fs, io,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use mobula_actors::id::PeerKey;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    armor,
    cluster_key::{ClusterId, ClusterKey, peek},
    limits::{CERTIFICATE_BYTES_MAX, CERTIFICATE_FILE_BYTES_MAX},
    rights::Rights,
};

const TITLE: &str = "mobula certificate 1";

/// The membership of one node in one cluster. It is public: only the holder of the node's secret
/// key can use it.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    signed: Bytes,
    body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    cluster: ClusterId,
    peer: PeerKey,
    serial: u64,
    expires_s: u64,
    rights: Rights,
}

impl Certificate {
    pub(super) fn issue(key: &ClusterKey, peer: PeerKey, expires_s: u64, rights: Rights) -> Self {
        let body = Body { cluster: key.id(), peer, serial: now_ms(), expires_s, rights };
        Self { signed: key.sign(TITLE, &body).into(), body }
    }

    /// Reads a file in the form that `to_text` writes.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, CertificateError> {
        Self::parse(&read_text(path.as_ref(), CERTIFICATE_FILE_BYTES_MAX)?)
    }

    /// Reads what `to_text` wrote, and checks that the cluster that it names signed it.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn parse(text: &str) -> Result<Self, CertificateError> {
        let signed = armor::read(TITLE, text).ok_or(CertificateError::Malformed)?;
        let cluster = Self::cluster_of(&signed).ok_or(CertificateError::Malformed)?;
        Self::received(&signed, &cluster)
    }

    /// The certificate as text. Others may read it.
    #[must_use]
    pub fn to_text(&self) -> String {
        armor::write(TITLE, &self.signed)
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.body.cluster
    }

    /// The member.
    #[must_use]
    pub fn peer(&self) -> PeerKey {
        self.body.peer
    }

    /// The Unix time in milliseconds at which it was signed: a later one of the same node is
    /// larger, as long as the signer's clock goes forward.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.body.serial
    }

    /// The Unix time in seconds from which on it does not hold.
    #[must_use]
    pub fn expires_s(&self) -> u64 {
        self.body.expires_s
    }

    /// What the member may ask of others.
    #[must_use]
    pub fn rights(&self) -> &Rights {
        &self.body.rights
    }

    /// The cluster that signed bytes, as they say.
    pub(super) fn cluster_of(signed: &[u8]) -> Option<ClusterId> {
        peek(signed).map(|body: Body| body.cluster)
    }

    /// What a peer sent, if `cluster` signed it.
    pub(super) fn received(signed: &[u8], cluster: &ClusterId) -> Result<Self, CertificateError> {
        if signed.len() > CERTIFICATE_BYTES_MAX {
            return Err(CertificateError::Malformed);
        }
        let body: Body = cluster.open(TITLE, signed).ok_or(CertificateError::Signature)?;
        if body.cluster != *cluster {
            return Err(CertificateError::Signature);
        }
        Ok(Self { signed: Bytes::copy_from_slice(signed), body })
    }

    /// What is sent to peers.
    pub(super) fn signed(&self) -> &Bytes {
        &self.signed
    }

    /// Whether it makes the owner of `key` a member at `now_s`.
    pub(super) fn holds(&self, key: &PeerKey, now_s: u64) -> Result<(), CertificateError> {
        if self.body.peer != *key {
            return Err(CertificateError::Holder { holder: self.body.peer, node: *key });
        }
        if now_s >= self.body.expires_s {
            return Err(CertificateError::Expired { expires_s: self.body.expires_s });
        }
        Ok(())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({:?})", self.body)
    }
}

/// Why a certificate or a list of revocations is not taken. Nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Not the text of one.
    #[error("this is no certificate: make one with `mobula admit`")]
    Malformed,
    /// Not the text of a list of revocations.
    #[error("this is no list of revocations: make one with `mobula revoke`")]
    NoRevocations,
    /// Not the text of a grant.
    #[error("this is no grant: make one with `mobula grant`")]
    NoGrant,
    /// The links of a grant do not follow from each other, or are too many.
    #[error("its grants do not follow from each other, or are more than 3")]
    Chain,
    /// It permits more than what it was made from.
    #[error("it permits more than what it was made from")]
    Widened,
    /// Its kinds take too much room.
    #[error("rights name at most 8 kinds, each of at most 64 bytes")]
    Wordy,
    /// Another key signed it, or it was changed.
    #[error("it is not signed with the key of this cluster, or of the one who gives it")]
    Signature,
    /// Of another node.
    #[error("the certificate is that of {holder:#}, but this is {node:#}: `mobula admit` it")]
    Holder {
        /// Whom it names.
        holder: PeerKey,
        /// Who has it.
        node: PeerKey,
    },
    /// Its time is over.
    #[error("the certificate expired at Unix time {expires_s}: make a new one with `mobula admit`")]
    Expired {
        /// When, in seconds.
        expires_s: u64,
    },
    /// The cluster took it back.
    #[error("the certificate is revoked")]
    Revoked,
    /// Nobody showed one.
    #[error("no certificate was shown: the peer is no member, or goes by an allowlist")]
    Missing,
    /// The members are on a list: no certificate is taken, there is nothing to grant or to revoke.
    #[error("this node goes by an allowlist: a cluster uses that or certificates, not both")]
    Listed,
    /// A list of revocations is full.
    #[error("a list of revocations holds at most 4096 nodes: begin a new cluster key")]
    Full,
    /// The file system refused.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// In the words of the system.
        error: io::Error,
    },
}

/// Decodes what the cluster's key signed, whoever signed it.
#[cfg(feature = "fuzz")]
pub(super) fn read_body(signed: &[u8]) {
    let _: Option<Body> = peek(signed);
}

/// A file of at most `bytes_max` bytes; of a longer one the beginning, which is then malformed.
pub(super) fn read_text(path: &Path, bytes_max: u64) -> Result<String, CertificateError> {
    let read = || {
        let mut text = String::new();
        let file = fs::File::open(path)?;
        io::Read::read_to_string(&mut io::Read::take(file, bytes_max), &mut text).map(|_| text)
    };
    read().map_err(|error| CertificateError::Io { path: path.display().to_string(), error })
}

pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Identity;

    fn member() -> PeerKey {
        Identity::generate().peer_key()
    }

    #[test]
    fn a_certificate_holds_for_its_peer_until_it_expires() {
        // CE-1
        let (key, peer) = (ClusterKey::generate(), member());
        let certificate = Certificate::issue(&key, peer, 1_000, Rights::all());
        assert!(certificate.holds(&peer, 999).is_ok());
        let expired = certificate.holds(&peer, 1_000);
        assert!(matches!(expired, Err(CertificateError::Expired { expires_s: 1_000 })));
        assert!(matches!(certificate.holds(&member(), 1), Err(CertificateError::Holder { .. })));
    }

    #[test]
    fn a_certificate_survives_its_file_and_the_wire() {
        let key = ClusterKey::generate();
        let certificate = Certificate::issue(&key, member(), 1_000, Rights::all());
        assert_eq!(Certificate::parse(&certificate.to_text()).unwrap(), certificate);
        assert_eq!(Certificate::received(certificate.signed(), &key.id()).unwrap(), certificate);
        assert!(certificate.signed().len() <= CERTIFICATE_BYTES_MAX);
    }

    #[test]
    fn a_certificate_of_another_cluster_or_with_a_changed_byte_is_refused() {
        // CE-1
        let (key, other) = (ClusterKey::generate(), ClusterKey::generate());
        let certificate = Certificate::issue(&key, member(), 1_000, Rights::all());
        let foreign = Certificate::received(certificate.signed(), &other.id());
        assert!(matches!(foreign, Err(CertificateError::Signature)));
        let mut text = certificate.to_text();
        let last = if text.ends_with("0\n") { "1\n" } else { "0\n" };
        text.replace_range(text.len() - 2.., last);
        assert!(Certificate::parse(&text).is_err());
        // Signed by the one in the name of the other.
        let body = Body { cluster: other.id(), ..certificate.body };
        let forged = key.sign(TITLE, &body);
        assert!(Certificate::received(&forged, &key.id()).is_err());
        assert!(Certificate::received(&forged, &other.id()).is_err());
    }
}
