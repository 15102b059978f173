//! Who belongs to the cluster: the keys on a list, or whoever shows a certificate.
//!
//! - **WM-1** A member by certificate is one only as long as the certificate holds and is not
//!   revoked; this is looked at when it connects and about once a second after.
//! - **WM-2** A file that cannot be read or is older than what is known changes nothing.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use mobula_actors::id::PeerKey;

use super::{
    allowlist::{Allowlist, AllowlistError},
    certificate::{Certificate, CertificateError, now_s},
    revocations::Revocations,
};

/// Who may connect and be dialed. Both ends of a connection must agree that the other may.
///
/// By a list: the keys on it, which every node must have the same; it is read once. By
/// certificates: every node shows its own, signed with the key of the cluster, so nobody needs to
/// know the others beforehand. A cluster uses one of the two.
#[derive(Clone, Debug)]
pub struct Membership(Rule);

#[derive(Clone, Debug)]
enum Rule {
    Listed(Allowlist),
    Certified(Arc<Certified>),
}

#[derive(Debug)]
struct Certified {
    certificate_file: Option<PathBuf>,
    revocations_file: Option<PathBuf>,
    papers: Mutex<Papers>,
}

#[derive(Debug)]
struct Papers {
    own: Certificate,
    revocations: Option<Revocations>,
}

impl Membership {
    /// The keys in a file, as [`Allowlist::load`] reads it.
    ///
    /// # Errors
    /// [`AllowlistError`].
    pub fn allowlist(path: impl AsRef<Path>) -> Result<Self, AllowlistError> {
        Ok(Allowlist::load(path)?.into())
    }

    /// By certificates: the file holds that of this node, as `mobula admit` wrote it. It is read
    /// again when it changes, so a certificate can be renewed while the node runs.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn certificate(path: impl AsRef<Path>) -> Result<Self, CertificateError> {
        let path = path.as_ref();
        Ok(Self::certified(Certificate::load(path)?, Some(path.to_owned()), None))
    }

    /// With the revocations in a file, as `mobula revoke` writes it; there are none as long as
    /// there is no such file. It is read again when it changes, and who is on it loses its
    /// connections.
    ///
    /// # Errors
    /// [`CertificateError`], among others when members are on a list.
    pub fn revocations(self, path: impl AsRef<Path>) -> Result<Self, CertificateError> {
        let Rule::Certified(certified) = &self.0 else { return Err(CertificateError::Listed) };
        let own = certified.papers().own.clone();
        let file = certified.certificate_file.clone();
        let membership = Self::certified(own, file, Some(path.as_ref().to_owned()));
        membership.reload()?;
        Ok(membership)
    }

    fn certified(own: Certificate, certificate: Option<PathBuf>, lost: Option<PathBuf>) -> Self {
        let papers = Mutex::new(Papers { own, revocations: None });
        let (certificate_file, revocations_file) = (certificate, lost);
        Self(Rule::Certified(Arc::new(Certified { certificate_file, revocations_file, papers })))
    }

    /// Reads the files again, now: a node does so by itself about once a second. `true` if there
    /// was something new. Connections that are no longer allowed are closed within a second.
    ///
    /// # Errors
    /// [`CertificateError`]; what was known before holds on.
    pub fn reload(&self) -> Result<bool, CertificateError> {
        let Rule::Certified(certified) = &self.0 else { return Ok(false) };
        let (own, revocations) = certified.read_files()?;
        Ok(certified.papers().renew(own, revocations))
    }

    /// Whether it lets nobody in.
    pub(super) fn is_empty(&self) -> bool {
        matches!(&self.0, Rule::Listed(list) if list.is_empty())
    }

    /// Whether there is something to be read again.
    pub(super) fn has_files(&self) -> bool {
        let Rule::Certified(certified) = &self.0 else { return false };
        certified.certificate_file.is_some() || certified.revocations_file.is_some()
    }

    /// Whether peers show certificates.
    pub(super) fn by_certificate(&self) -> bool {
        matches!(self.0, Rule::Certified(_))
    }

    /// Whether the owner of this key may be a member, before it shows a certificate.
    pub(super) fn may_be_member(&self, key: &PeerKey) -> bool {
        match &self.0 {
            Rule::Listed(list) => list.contains(key),
            Rule::Certified(certified) => !certified.papers().revokes(key, u64::MAX),
        }
    }

    /// The serial and the signed bytes of the certificate that this node shows.
    pub(super) fn own(&self) -> Option<(u64, Bytes)> {
        let Rule::Certified(certified) = &self.0 else { return None };
        let papers = certified.papers();
        Some((papers.own.serial(), papers.own.signed().clone()))
    }

    /// Whether this node, whose key this is, can show a certificate that holds.
    pub(super) fn check_own(&self, key: &PeerKey) -> Result<(), CertificateError> {
        let Rule::Certified(certified) = &self.0 else { return Ok(()) };
        let own = certified.papers().own.clone();
        self.check(key, &own)
    }

    /// The certificate that a peer showed, if it makes it a member.
    pub(super) fn verify(
        &self,
        key: &PeerKey,
        signed: &[u8],
    ) -> Result<Certificate, CertificateError> {
        let Rule::Certified(certified) = &self.0 else { return Err(CertificateError::Listed) };
        let cluster = certified.papers().own.cluster();
        let certificate = Certificate::received(signed, &cluster)?;
        self.check(key, &certificate)?;
        Ok(certificate)
    }

    /// Whether a certificate, which the cluster signed, makes the owner of `key` a member now.
    pub(super) fn check(
        &self,
        key: &PeerKey,
        certificate: &Certificate,
    ) -> Result<(), CertificateError> {
        certificate.holds(key, now_s())?;
        match &self.0 {
            Rule::Certified(certified) if certified.papers().revokes(key, certificate.serial()) => {
                Err(CertificateError::Revoked)
            }
            _ => Ok(()),
        }
    }
}

impl From<Allowlist> for Membership {
    fn from(list: Allowlist) -> Self {
        Self(Rule::Listed(list))
    }
}

/// By certificates, without files: nothing is renewed or revoked.
impl From<Certificate> for Membership {
    fn from(own: Certificate) -> Self {
        Self::certified(own, None, None)
    }
}

impl Certified {
    /// What the files say now, if it is of the same node and cluster.
    fn read_files(&self) -> Result<(Option<Certificate>, Option<Revocations>), CertificateError> {
        let own = self.certificate_file.as_ref().map(Certificate::load).transpose()?;
        let there = self.revocations_file.as_ref().filter(|path| path.exists());
        let revocations = there.map(Revocations::load).transpose()?;
        let known = self.papers().own.clone();
        if let Some(own) = &own {
            own.holds(&known.peer(), 0)?;
        }
        let clusters = [
            own.as_ref().map(Certificate::cluster),
            revocations.as_ref().map(Revocations::cluster),
        ];
        if clusters.into_iter().flatten().any(|cluster| cluster != known.cluster()) {
            return Err(CertificateError::Signature);
        }
        Ok((own, revocations))
    }

    /// No code that can panic runs under the lock, so a poisoned one is still consistent.
    fn papers(&self) -> MutexGuard<'_, Papers> {
        self.papers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Papers {
    /// Takes what is newer. `true` if something is.
    fn renew(&mut self, own: Option<Certificate>, revocations: Option<Revocations>) -> bool {
        let own = own.filter(|own| own.serial() > self.own.serial());
        let known = self.revocations.as_ref().map(Revocations::version);
        let revocations =
            revocations.filter(|list| known.is_none_or(|known| list.version() > known));
        let renewed = own.is_some() || revocations.is_some();
        if let Some(own) = own {
            self.own = own;
        }
        if revocations.is_some() {
            self.revocations = revocations;
        }
        renewed
    }

    fn revokes(&self, key: &PeerKey, serial: u64) -> bool {
        self.revocations.as_ref().is_some_and(|list| list.revokes(key, serial))
    }
}
