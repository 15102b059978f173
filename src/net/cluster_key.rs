//! The key that says who belongs to a cluster. Nodes know its public half only.
//!
//! - **CK-1** What is signed names what it is: a signature under one title proves nothing under
//!   another, nor in any other protocol.

use std::{fmt, path::Path};

use libp2p::identity::ed25519;
use mobula_actors::id::PeerKey;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    armor,
    certificate::{Certificate, CertificateError, now_s},
    identity::{IdentityError, read_secret, write_secret},
    revocations::Revocations,
    rights::Rights,
};

const TITLE: &str = "mobula cluster key 1";
pub(super) const SIGNATURE_BYTES: usize = 64;

/// The secret key of a cluster, which signs certificates and revocations. No node needs it: keep
/// it offline. It is never printed.
#[derive(Clone)]
pub struct ClusterKey {
    pair: ed25519::Keypair,
}

/// The public half of a cluster key: the name of the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterId(pub(super) [u8; 32]);

impl ClusterKey {
    /// Makes a new key from the system's randomness.
    #[must_use]
    pub fn generate() -> Self {
        Self { pair: ed25519::Keypair::generate() }
    }

    /// Reads a key that `save` wrote. Refuses a file that group or others can access.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, IdentityError> {
        let text = read_secret(path.as_ref())?;
        let mut seed = armor::read(TITLE, &text).ok_or(IdentityError::NoClusterKey)?;
        let secret = ed25519::SecretKey::try_from_bytes(&mut seed)
            .map_err(|_| IdentityError::NoClusterKey)?;
        Ok(Self { pair: secret.into() })
    }

    /// Writes the key to a new file of mode 0600. An existing file is left as it is and refused.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), IdentityError> {
        write_secret(path.as_ref(), &armor::write(TITLE, self.pair.secret().as_ref()))
    }

    /// The public half.
    #[must_use]
    pub fn id(&self) -> ClusterId {
        ClusterId(self.pair.public().to_bytes())
    }

    /// Makes a node a member that may do everything, for `lifetime` from now, which is counted in
    /// whole seconds.
    #[must_use]
    pub fn admit(&self, peer: PeerKey, lifetime: std::time::Duration) -> Certificate {
        self.certify(peer, lifetime, Rights::all())
    }

    /// Makes a node a member that may ask this much of every other member.
    ///
    /// # Errors
    /// [`CertificateError::Wordy`]: too many kinds, or too long ones.
    pub fn admit_with(
        &self,
        peer: PeerKey,
        lifetime: std::time::Duration,
        rights: Rights,
    ) -> Result<Certificate, CertificateError> {
        if rights.is_short() {
            return Ok(self.certify(peer, lifetime, rights));
        }
        Err(CertificateError::Wordy)
    }

    fn certify(&self, peer: PeerKey, lifetime: std::time::Duration, rights: Rights) -> Certificate {
        let expires_s = now_s().saturating_add(lifetime.as_secs());
        Certificate::issue(self, peer, expires_s, rights)
    }

    /// An empty list of revocations, to be filled by [`Revocations::revoke`].
    #[must_use]
    pub fn revoke_nobody(&self) -> Revocations {
        Revocations::none(self)
    }

    /// The signature and what is signed, in one piece.
    pub(super) fn sign(&self, title: &str, body: &impl Serialize) -> Vec<u8> {
        signed(&self.pair, title, body)
    }
}

impl ClusterId {
    /// What this cluster's key signed under `title`. Not decoded unless the signature is right.
    pub(super) fn open<T: DeserializeOwned>(&self, title: &str, signed: &[u8]) -> Option<T> {
        opened(&self.0, title, signed)
    }
}

/// The signature of `pair` under a title, and what is signed.
pub(super) fn signed(pair: &ed25519::Keypair, title: &str, body: &impl Serialize) -> Vec<u8> {
    // Plain structs of numbers and lists: encoding them into memory cannot fail. What is empty is
    // refused by every reader.
    let body = postcard::to_allocvec(body).unwrap_or_default();
    let mut signed = pair.sign(&message(title, &body));
    signed.extend_from_slice(&body);
    signed
}

/// What the secret half of `key` signed under a title. Not decoded unless the signature is right.
pub(super) fn opened<T: DeserializeOwned>(key: &[u8; 32], title: &str, signed: &[u8]) -> Option<T> {
    let (signature, body) = signed.split_at_checked(SIGNATURE_BYTES)?;
    let key = ed25519::PublicKey::try_from_bytes(key).ok()?;
    if !key.verify(&message(title, body), signature) {
        return None;
    }
    peek(signed)
}

/// What is signed, whoever signed it.
pub(super) fn peek<T: DeserializeOwned>(signed: &[u8]) -> Option<T> {
    let (_, body) = signed.split_at_checked(SIGNATURE_BYTES)?;
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

/// A title holds no zero, so no title continues another.
fn message(title: &str, body: &[u8]) -> Vec<u8> {
    [title.as_bytes(), &[0], body].concat()
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterKey({}, secret withheld)", self.id())
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&armor::to_hex(&self.0))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_under_its_title_key_and_bytes_only() {
        // CK-1
        let key = ClusterKey::generate();
        let signed = key.sign("mobula thing 1", &7_u64);
        assert_eq!(key.id().open("mobula thing 1", &signed), Some(7_u64));
        assert_eq!(key.id().open::<u64>("mobula thing 2", &signed), None);
        assert_eq!(ClusterKey::generate().id().open::<u64>("mobula thing 1", &signed), None);
        for place in 0..signed.len() {
            let mut changed = signed.clone();
            changed[place] ^= 1;
            assert_eq!(key.id().open::<u64>("mobula thing 1", &changed), None, "byte {place}");
            assert_eq!(key.id().open::<u64>("mobula thing 1", &signed[..place]), None);
        }
        let padded = [&signed[..], &[0]].concat();
        assert_eq!(key.id().open::<u64>("mobula thing 1", &padded), None);
    }
}
