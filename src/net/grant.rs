//! Rights handed on: a member signs for another member a part of what it may itself.
//!
//! A chain begins with a certificate, whose rights the cluster signed. Each grant after it is signed
//! by the holder of the one before.
//!
//! - **GR-1** Each grant of a chain names the one before by its signature, is issued by the holder
//!   of that one, and stands within its rights; the last is of whoever shows the chain.
//! - **GR-2** A chain holds as long as each of its links does: none has expired or is revoked.

use std::path::Path;

use bytes::Bytes;
use mobula_actors::id::PeerKey;
use serde::{Deserialize, Serialize};

use super::{
    armor,
    certificate::{Certificate, CertificateError, now_ms, now_s, read_text},
    cluster_key::{ClusterId, SIGNATURE_BYTES, opened},
    identity::Identity,
    limits::{CERTIFICATE_BYTES_MAX, CHAIN_FILE_BYTES_MAX, CHAIN_LINKS_MAX},
    rights::Rights,
};

const TITLE: &str = "mobula grant 1";

/// Rights that a member was given by another, with all that proves it. It is public: only the holder
/// of the secret key that it names can use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The certificate, then the grants, as they were signed.
    signed: Vec<Bytes>,
    links: Vec<Link>,
}

/// What one link says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    holder: PeerKey,
    serial: u64,
    expires_s: u64,
    rights: Rights,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    cluster: ClusterId,
    issuer: PeerKey,
    holder: PeerKey,
    serial: u64,
    expires_s: u64,
    rights: Rights,
    /// The signature of the link before.
    parent: Vec<u8>,
}

impl Grant {
    /// Gives `holder` a part of what `certificate` permits, signed by its holder.
    ///
    /// # Errors
    /// [`CertificateError`]: it is not the certificate of `issuer`, or permits less.
    pub fn issue(
        issuer: &Identity,
        certificate: &Certificate,
        holder: PeerKey,
        lifetime: std::time::Duration,
        rights: Rights,
    ) -> Result<Self, CertificateError> {
        Self::root(certificate).narrow(issuer, holder, lifetime, rights)
    }

    /// Hands a part of this grant on, signed by its holder.
    ///
    /// # Errors
    /// [`CertificateError`]: `issuer` does not hold this grant, or it permits less, or as many
    /// grants follow each other as may.
    pub fn narrow(
        &self,
        issuer: &Identity,
        holder: PeerKey,
        lifetime: std::time::Duration,
        rights: Rights,
    ) -> Result<Self, CertificateError> {
        let body = Body {
            cluster: self.cluster()?,
            issuer: issuer.peer_key(),
            holder,
            serial: now_ms(),
            expires_s: now_s().saturating_add(lifetime.as_secs()),
            rights,
            parent: self.signature()?,
        };
        if !body.rights.is_short() {
            return Err(CertificateError::Wordy);
        }
        let mut signed = self.signed.clone();
        signed.push(issuer.sign(TITLE, &body).into());
        Self::received(&signed, &body.cluster)
    }

    /// Reads a file in the form that `to_text` writes.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, CertificateError> {
        Self::parse(&read_text(path.as_ref(), CHAIN_FILE_BYTES_MAX)?)
    }

    /// Reads what `to_text` wrote, and checks each signature in it.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn parse(text: &str) -> Result<Self, CertificateError> {
        let bytes = armor::read(TITLE, text).ok_or(CertificateError::NoGrant)?;
        let signed: Vec<Bytes> = decode(&bytes)?;
        let root = signed.first().and_then(|root| Certificate::cluster_of(root));
        Self::received(&signed, &root.ok_or(CertificateError::NoGrant)?)
    }

    /// The grant as text. Others may read it.
    #[must_use]
    pub fn to_text(&self) -> String {
        armor::write(TITLE, &self.encode())
    }

    /// Who was given it.
    #[must_use]
    pub fn holder(&self) -> Option<PeerKey> {
        self.links.last().map(|link| link.holder)
    }

    /// Those through whose hands it went, the one with the certificate first.
    pub fn issuers(&self) -> impl Iterator<Item = PeerKey> + '_ {
        let issuers = self.links.len().saturating_sub(1);
        self.links.iter().take(issuers).map(|link| link.holder)
    }

    /// What it permits.
    #[must_use]
    pub fn rights(&self) -> Option<&Rights> {
        self.links.last().map(|link| &link.rights)
    }

    /// When it was signed, as [`Certificate::serial`].
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.links.last().map_or(0, |link| link.serial)
    }

    /// The Unix time in seconds from which on it does not hold: one link is enough.
    #[must_use]
    pub fn expires_s(&self) -> u64 {
        self.links.iter().map(|link| link.expires_s).min().unwrap_or(0)
    }

    /// The cluster.
    ///
    /// # Errors
    /// [`CertificateError::NoGrant`], which no grant that was made or read answers.
    pub fn cluster(&self) -> Result<ClusterId, CertificateError> {
        let root = self.signed.first().and_then(|root| Certificate::cluster_of(root));
        root.ok_or(CertificateError::NoGrant)
    }

    /// What a peer sent, if it is a chain of the cluster (GR-1).
    pub(super) fn received(
        signed: &[Bytes],
        cluster: &ClusterId,
    ) -> Result<Self, CertificateError> {
        let [root, grants @ ..] = signed else { return Err(CertificateError::NoGrant) };
        if signed.len() > CHAIN_LINKS_MAX {
            return Err(CertificateError::Chain);
        }
        let mut chain = Self::root(&Certificate::received(root, cluster)?);
        for grant in grants {
            chain.join(grant, cluster)?;
        }
        Ok(chain)
    }

    /// What a peer sent in one piece.
    pub(super) fn decoded(bytes: &[u8], cluster: &ClusterId) -> Result<Self, CertificateError> {
        Self::received(&decode(bytes)?, cluster)
    }

    /// What is sent to peers.
    pub(super) fn encode(&self) -> Vec<u8> {
        // Plain bytes: encoding them into memory cannot fail.
        let signed: Vec<&[u8]> = self.signed.iter().map(|link| &link[..]).collect();
        postcard::to_allocvec(&signed).unwrap_or_default()
    }

    /// Whether it gives the owner of `key` rights at `now_s`, when `revoked` tells what certificates
    /// and grants the cluster took back (GR-2).
    pub(super) fn holds(
        &self,
        key: &PeerKey,
        now_s: u64,
        revoked: impl Fn(&PeerKey, u64) -> bool,
    ) -> Result<(), CertificateError> {
        match self.holder() {
            Some(holder) if holder == *key => {}
            Some(holder) => return Err(CertificateError::Holder { holder, node: *key }),
            None => return Err(CertificateError::NoGrant),
        }
        if now_s >= self.expires_s() {
            return Err(CertificateError::Expired { expires_s: self.expires_s() });
        }
        if self.links.iter().any(|link| revoked(&link.holder, link.serial)) {
            return Err(CertificateError::Revoked);
        }
        Ok(())
    }

    fn root(certificate: &Certificate) -> Self {
        let link = Link {
            holder: certificate.peer(),
            serial: certificate.serial(),
            expires_s: certificate.expires_s(),
            rights: certificate.rights().clone(),
        };
        Self { signed: vec![certificate.signed().clone()], links: vec![link] }
    }

    fn join(&mut self, grant: &Bytes, cluster: &ClusterId) -> Result<(), CertificateError> {
        let before = self.links.last().ok_or(CertificateError::NoGrant)?;
        if grant.len() > CERTIFICATE_BYTES_MAX {
            return Err(CertificateError::NoGrant);
        }
        let body: Body =
            opened(&before.holder.0, TITLE, grant).ok_or(CertificateError::Signature)?;
        if body.issuer != before.holder
            || body.cluster != *cluster
            || body.parent != self.signature()?
        {
            return Err(CertificateError::Chain);
        }
        if !body.rights.is_within(&before.rights) {
            return Err(CertificateError::Widened);
        }
        let Body { holder, serial, expires_s, rights, .. } = body;
        self.links.push(Link { holder, serial, expires_s, rights });
        self.signed.push(Bytes::copy_from_slice(grant));
        Ok(())
    }

    fn signature(&self) -> Result<Vec<u8>, CertificateError> {
        let last = self.signed.last().and_then(|link| link.get(..SIGNATURE_BYTES));
        last.map(<[u8]>::to_vec).ok_or(CertificateError::NoGrant)
    }
}

fn decode(bytes: &[u8]) -> Result<Vec<Bytes>, CertificateError> {
    match postcard::take_from_bytes::<Vec<Vec<u8>>>(bytes) {
        Ok((signed, [])) => Ok(signed.into_iter().map(Bytes::from).collect()),
        _ => Err(CertificateError::NoGrant),
    }
}
