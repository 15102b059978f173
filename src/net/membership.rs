//! Who belongs to the cluster: the keys on a list, or whoever shows a certificate.
//!
//! - **WM-1** A member by certificate is one only as long as the certificate holds and is not
//!   revoked; this is looked at when it connects and about once a second after.
//! - **WM-2** A file that cannot be read or is older than what is known changes nothing.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use mobula_actors::id::PeerKey;

use super::{
    allowlist::{Allowlist, AllowlistError},
    certificate::{Certificate, CertificateError, now_s},
    grant::Grant,
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
    grant_file: Option<PathBuf>,
    revocations_file: Option<PathBuf>,
    papers: Mutex<Papers>,
}

/// What the files say.
type Files = (Option<Certificate>, Option<Grant>, Option<Revocations>);

#[derive(Clone, Debug)]
struct Papers {
    own: Certificate,
    grant: Option<Grant>,
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
        Ok(Self::certified(Certificate::load(path)?, Some(path.to_owned())))
    }

    /// With the revocations in a file, as `mobula revoke` writes it; there are none as long as
    /// there is no such file. It is read again when it changes, and who is on it loses its
    /// connections.
    ///
    /// # Errors
    /// [`CertificateError`], among others when members are on a list.
    pub fn revocations(self, path: impl AsRef<Path>) -> Result<Self, CertificateError> {
        self.with(|certified| certified.revocations_file = Some(path.as_ref().to_owned()))
    }

    /// With what another member granted this node: the file holds it as `mobula grant` wrote it. It
    /// is read again when it changes.
    ///
    /// # Errors
    /// [`CertificateError`], among others when members are on a list.
    pub fn grant(self, path: impl AsRef<Path>) -> Result<Self, CertificateError> {
        self.with(|certified| certified.grant_file = Some(path.as_ref().to_owned()))
    }

    /// The same with other files, which have been read.
    fn with(self, change: impl FnOnce(&mut Certified)) -> Result<Self, CertificateError> {
        let Rule::Certified(certified) = &self.0 else { return Err(CertificateError::Listed) };
        let mut changed = Certified {
            certificate_file: certified.certificate_file.clone(),
            grant_file: certified.grant_file.clone(),
            revocations_file: certified.revocations_file.clone(),
            papers: Mutex::new(certified.papers().clone()),
        };
        change(&mut changed);
        let membership = Self(Rule::Certified(Arc::new(changed)));
        membership.reload()?;
        Ok(membership)
    }

    fn certified(own: Certificate, certificate_file: Option<PathBuf>) -> Self {
        let papers = Mutex::new(Papers { own, grant: None, revocations: None });
        let (grant_file, revocations_file) = (None, None);
        let certified = Certified { certificate_file, grant_file, revocations_file, papers };
        Self(Rule::Certified(Arc::new(certified)))
    }

    /// Reads the files again, now: a node does so by itself about once a second. `true` if there
    /// was something new. Connections that are no longer allowed are closed within a second.
    ///
    /// # Errors
    /// [`CertificateError`]; what was known before holds on.
    pub fn reload(&self) -> Result<bool, CertificateError> {
        let Rule::Certified(certified) = &self.0 else { return Ok(false) };
        let (own, grant, revocations) = certified.read_files()?;
        Ok(certified.papers().renew(own, grant, revocations))
    }

    /// Whether it lets nobody in.
    pub(super) fn is_empty(&self) -> bool {
        matches!(&self.0, Rule::Listed(list) if list.is_empty())
    }

    /// Whether there is something to be read again.
    pub(super) fn has_files(&self) -> bool {
        let Rule::Certified(certified) = &self.0 else { return false };
        let files =
            [&certified.certificate_file, &certified.grant_file, &certified.revocations_file];
        files.into_iter().any(Option::is_some)
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

    /// The serial and the bytes of the grant that this node shows.
    pub(super) fn own_grant(&self) -> Option<(u64, Vec<u8>)> {
        let Rule::Certified(certified) = &self.0 else { return None };
        let papers = certified.papers();
        papers.grant.as_ref().map(|grant| (grant.serial(), grant.encode()))
    }

    /// The list that is known here.
    pub(super) fn known_revocations(&self) -> Option<Revocations> {
        let Rule::Certified(certified) = &self.0 else { return None };
        certified.papers().revocations.clone()
    }

    /// Takes a list that somebody sent (WM-2). It is written to this node's file, if it has one, so
    /// that the next life knows it too. `true` if it is new.
    pub(super) fn learn(&self, signed: &[u8]) -> Result<bool, CertificateError> {
        let Rule::Certified(certified) = &self.0 else { return Err(CertificateError::Listed) };
        let (cluster, known) = {
            let papers = certified.papers();
            (papers.own.cluster(), papers.revocations.as_ref().map(Revocations::version))
        };
        // Before the signature is looked at, which takes a while.
        let version = Revocations::version_of(signed).ok_or(CertificateError::NoRevocations)?;
        if known.is_some_and(|known| version <= known) {
            return Ok(false);
        }
        let list = Revocations::received(signed, &cluster)?;
        let text = list.to_text();
        let new = certified.papers().renew(None, None, Some(list));
        let file = certified.revocations_file.as_ref().filter(|_| new);
        let newest =
            |file: &&PathBuf| Revocations::load(file).is_ok_and(|there| there.version() >= version);
        if let Some(file) = file.filter(|file| !newest(file)) {
            // What cannot be written is known until the node ends.
            if let Err(error) = replace(file, &text, &certified.papers().own.peer()) {
                tracing::warn!(%error, "membership: new revocations could not be written down");
            }
        }
        Ok(new)
    }

    /// The grant that a peer showed, if it holds.
    pub(super) fn verify_grant(
        &self,
        key: &PeerKey,
        bytes: &[u8],
    ) -> Result<Grant, CertificateError> {
        let Rule::Certified(certified) = &self.0 else { return Err(CertificateError::Listed) };
        let cluster = certified.papers().own.cluster();
        let grant = Grant::decoded(bytes, &cluster)?;
        self.check_grant(key, &grant)?;
        Ok(grant)
    }

    /// Whether a grant, whose signatures are right, gives the owner of `key` rights now.
    pub(super) fn check_grant(&self, key: &PeerKey, grant: &Grant) -> Result<(), CertificateError> {
        let Rule::Certified(certified) = &self.0 else { return Err(CertificateError::Listed) };
        let papers = certified.papers();
        grant.holds(key, now_s(), |peer, serial| papers.revokes(peer, serial))
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
        Self::certified(own, None)
    }
}

impl Certified {
    /// What the files say now, if it is of the same node and cluster.
    fn read_files(&self) -> Result<Files, CertificateError> {
        let own = self.certificate_file.as_ref().map(Certificate::load).transpose()?;
        let grant = self.grant_file.as_ref().map(Grant::load).transpose()?;
        let there = self.revocations_file.as_ref().filter(|path| path.exists());
        let revocations = there.map(Revocations::load).transpose()?;
        let known = self.papers().own.clone();
        if let Some(own) = &own {
            own.holds(&known.peer(), 0)?;
        }
        if let Some(grant) = &grant {
            grant.holds(&known.peer(), 0, |_, _| false)?;
        }
        let clusters = [
            own.as_ref().map(Certificate::cluster),
            grant.as_ref().map(Grant::cluster).transpose()?,
            revocations.as_ref().map(Revocations::cluster),
        ];
        if clusters.into_iter().flatten().any(|cluster| cluster != known.cluster()) {
            return Err(CertificateError::Signature);
        }
        Ok((own, grant, revocations))
    }

    /// No code that can panic runs under the lock, so a poisoned one is still consistent.
    fn papers(&self) -> MutexGuard<'_, Papers> {
        self.papers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Papers {
    /// Takes what is newer. `true` if something is.
    fn renew(
        &mut self,
        own: Option<Certificate>,
        grant: Option<Grant>,
        revocations: Option<Revocations>,
    ) -> bool {
        let held = self.grant.as_ref().map(Grant::serial);
        let grant = grant.filter(|grant| held.is_none_or(|held| grant.serial() > held));
        let own = own.filter(|own| own.serial() > self.own.serial());
        let known = self.revocations.as_ref().map(Revocations::version);
        let revocations =
            revocations.filter(|list| known.is_none_or(|known| list.version() > known));
        let renewed = own.is_some() || grant.is_some() || revocations.is_some();
        if let Some(own) = own {
            self.own = own;
        }
        if grant.is_some() {
            self.grant = grant;
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

/// Puts a whole file in the place of the one before: it may be read at any moment, and written by
/// other nodes of the host.
fn replace(file: &Path, text: &str, by: &PeerKey) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{by:#}.new"));
    let new = file.with_file_name(name);
    fs::write(&new, text)?;
    fs::rename(&new, file)
}
