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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::net::{ClusterKey, Membership, Verb};

    const HOUR: Duration = Duration::from_secs(3_600);
    const KIND: &str = "test.kind";

    /// What can be wrong with what a member shows.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Flaw {
        /// It shows nothing.
        Absent,
        Expired,
        WrongHolder,
        /// To start, of other kinds; else for all that is not asked.
        WrongKind,
        /// It permits more than what it was made from.
        Widened,
        /// It was made from another grant than the one it is shown with.
        Replayed,
        /// One of those through whose hands it went was revoked.
        Revoked,
        None,
    }

    const FLAWS: [Flaw; 8] = [
        Flaw::Absent,
        Flaw::Expired,
        Flaw::WrongHolder,
        Flaw::WrongKind,
        Flaw::Widened,
        Flaw::Replayed,
        Flaw::Revoked,
        Flaw::None,
    ];

    /// A cluster with a member that was given everything, one to whom it hands that on, and one that
    /// itself may ask for nothing.
    struct Scene {
        key: ClusterKey,
        giver: Identity,
        middle: Identity,
        holder: Identity,
    }

    impl Scene {
        fn new() -> Self {
            let [giver, middle, holder] = std::array::from_fn(|_| Identity::generate());
            Self { key: ClusterKey::generate(), giver, middle, holder }
        }

        /// A node to which the grant is shown.
        fn judge(&self) -> Membership {
            self.key.admit(Identity::generate().peer_key(), HOUR).into()
        }

        fn middle(&self, rights: Rights) -> Grant {
            let own = self.key.admit(self.giver.peer_key(), HOUR);
            Grant::issue(&self.giver, &own, self.middle.peer_key(), HOUR, rights).unwrap()
        }

        /// A chain whose last link is signed, whatever it says.
        fn signed(&self, behind: &Grant, parent: &Grant, holder: PeerKey, rights: Rights) -> Grant {
            let body = Body {
                cluster: self.key.id(),
                issuer: self.middle.peer_key(),
                holder,
                serial: now_ms(),
                expires_s: now_s() + 60,
                rights,
                parent: parent.signature().unwrap(),
            };
            let mut chain = behind.clone();
            chain.signed.push(self.middle.sign(TITLE, &body).into());
            chain
        }

        fn shown(&self, flaw: Flaw, verb: Verb) -> Option<Grant> {
            let (all, nothing) = (Rights::all(), Rights::of([]));
            let others = Rights::of(Verb::ALL.into_iter().filter(|other| *other != verb));
            let (wide, holder) = (self.middle(all.clone()), self.holder.peer_key());
            let narrow = |holder, lifetime, rights| {
                wide.narrow(&self.middle, holder, lifetime, rights).unwrap()
            };
            Some(match flaw {
                Flaw::Absent => return None,
                Flaw::Expired => narrow(holder, Duration::ZERO, all),
                Flaw::WrongHolder => narrow(self.giver.peer_key(), HOUR, all),
                Flaw::WrongKind if verb == Verb::Start => {
                    narrow(holder, HOUR, all.kinds(["test.other"]))
                }
                Flaw::WrongKind => narrow(holder, HOUR, others),
                Flaw::Widened => {
                    let tight = self.middle(others);
                    self.signed(&tight, &tight, holder, all)
                }
                Flaw::Replayed => self.signed(&self.middle(nothing), &wide, holder, all),
                Flaw::Revoked | Flaw::None => narrow(holder, HOUR, all),
            })
        }

        /// Whether a node lets the holder do this, by its own certificate and by what it shows.
        fn lets(&self, flaw: Flaw, verb: Verb) -> bool {
            let (judge, holder) = (self.judge(), self.holder.peer_key());
            if flaw == Flaw::Revoked {
                let list = self.key.revoke_nobody();
                let list = list.revoke(&self.key, self.middle.peer_key(), u64::MAX).unwrap();
                assert!(judge.learn(list.signed()).unwrap());
            }
            let own = self.key.admit_with(holder, HOUR, Rights::of([])).unwrap();
            let own = judge.verify(&holder, own.signed()).unwrap();
            let shown = self.shown(flaw, verb);
            let grant = shown.and_then(|grant| judge.verify_grant(&holder, &grant.encode()).ok());
            let mut rights =
                std::iter::once(own.rights()).chain(grant.iter().flat_map(Grant::rights));
            rights.any(|rights| match verb {
                Verb::Start => rights.may_start(KIND, &[1; 5]).is_ok(),
                _ => rights.may(verb).is_ok(),
            })
        }
    }

    /// X6 of the threat model, 9 × 8 cells.
    #[test]
    fn of_nine_verbs_and_eight_states_of_a_grant_exactly_the_valid_ones_pass() {
        // GR-1, GR-2
        let scene = Scene::new();
        let mut cells = 0;
        for verb in Verb::ALL {
            for flaw in FLAWS {
                assert_eq!(scene.lets(flaw, verb), flaw == Flaw::None, "{verb} {flaw:?}");
                cells += 1;
            }
        }
        assert_eq!(cells, 72);
    }

    #[test]
    fn a_grant_survives_its_file_and_no_changed_byte() {
        // GR-1
        let scene = Scene::new();
        let grant = scene.shown(Flaw::None, Verb::Start).unwrap();
        assert_eq!(Grant::parse(&grant.to_text()).unwrap(), grant);
        let issuers = [scene.giver.peer_key(), scene.middle.peer_key()];
        assert_eq!(grant.issuers().collect::<Vec<_>>(), issuers);
        let bytes = grant.encode();
        let cluster = scene.key.id();
        assert!(Grant::decoded(&bytes, &cluster).is_ok());
        assert!(Grant::decoded(&bytes, &ClusterKey::generate().id()).is_err());
        for place in (0..bytes.len()).step_by(7) {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert!(Grant::decoded(&changed, &cluster).is_err(), "byte {place}");
            assert!(Grant::decoded(&bytes[..place], &cluster).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn only_its_holder_hands_a_grant_on_never_widens_it_and_not_without_end() {
        // GR-1
        let scene = Scene::new();
        let tight = Rights::of([Verb::Find]);
        let grant = scene.middle(tight.clone());
        let holder = scene.holder.peer_key();
        let by = |issuer, rights| grant.narrow(issuer, holder, HOUR, rights);
        let refused = by(&scene.giver, tight.clone());
        assert!(matches!(refused, Err(CertificateError::Signature)), "{refused:?}");
        assert!(matches!(by(&scene.middle, Rights::all()), Err(CertificateError::Widened)));
        let third = by(&scene.middle, tight.clone()).unwrap();
        let fourth = third.narrow(&scene.holder, holder, HOUR, tight.clone()).unwrap();
        let fifth = fourth.narrow(&scene.holder, holder, HOUR, tight.clone());
        assert!(matches!(fifth, Err(CertificateError::Chain)));
        let wordy = tight.kinds((0..9).map(|n| n.to_string()));
        let refused = by(&scene.middle, wordy);
        assert!(matches!(refused, Err(CertificateError::Wordy)));
    }

    #[test]
    fn the_longest_certificate_and_grant_fit_where_they_must() {
        let scene = Scene::new();
        let kinds = (0..super::super::limits::GRANT_KINDS_MAX).map(|n| format!("{n:0>64}"));
        let most = Some(u64::MAX);
        let caps = crate::net::Caps {
            cpu_milli: most,
            memory_bytes: most,
            gpu_milli: most,
            vram_bytes: most,
            actors: most,
        };
        let rights = Rights::all().kinds(kinds).caps(caps);
        let own = scene.key.admit_with(scene.giver.peer_key(), HOUR, rights.clone()).unwrap();
        assert!(own.signed().len() <= CERTIFICATE_BYTES_MAX);
        let holder = scene.holder.peer_key();
        let grant = Grant::issue(&scene.giver, &own, holder, HOUR, rights).unwrap();
        assert_eq!(Grant::parse(&grant.to_text()).unwrap(), grant);
    }
}
