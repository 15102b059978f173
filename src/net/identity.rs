//! Who this node is: an ed25519 key in a file that only its owner can read.

use std::{fmt, fs, io, io::Write, path::Path};

use libp2p::{
    PeerId,
    identity::{Keypair, PublicKey, ed25519},
};
use mobula_actors::id::PeerKey;
use serde::Serialize;
use thiserror::Error;

use super::{
    armor::{from_hex, to_hex},
    cluster_key::signed,
    limits::KEY_FILE_BYTES_MAX,
};

/// The secret key of a node. It is never printed.
#[derive(Clone)]
pub struct Identity {
    pair: ed25519::Keypair,
}

impl Identity {
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
        Self::from_secret(read_secret(path.as_ref())?.trim())
    }

    /// The key with this secret, 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`IdentityError::Malformed`].
    pub fn from_secret(digits: &str) -> Result<Self, IdentityError> {
        let mut seed = from_hex(digits).ok_or(IdentityError::Malformed)?;
        let secret =
            ed25519::SecretKey::try_from_bytes(&mut seed).map_err(|_| IdentityError::Malformed)?;
        Ok(Self { pair: secret.into() })
    }

    /// The secret as 64 hexadecimal digits, to hand it to a child process through a pipe. Whoever
    /// has it is this node.
    #[must_use]
    pub fn secret(&self) -> String {
        to_hex(self.pair.secret().as_ref())
    }

    /// Writes the key to a new file of mode 0600. An existing file is left as it is and refused.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), IdentityError> {
        write_secret(path.as_ref(), &format!("{}\n", self.secret()))
    }

    /// The public half: the name of the node across restarts.
    #[must_use]
    pub fn peer_key(&self) -> PeerKey {
        PeerKey(self.pair.public().to_bytes())
    }

    /// The signature and what is signed, in one piece.
    pub(super) fn sign(&self, title: &str, body: &impl Serialize) -> Vec<u8> {
        signed(&self.pair, title, body)
    }

    pub(super) fn keypair(&self) -> Keypair {
        self.pair.clone().into()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({}, secret withheld)", self.peer_key())
    }
}

/// Why a key file was not read or written. Nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Others could read the secret.
    #[error("the key file has mode {mode:04o}: set it to 0600, and make a new key if it leaked")]
    Shared {
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not 64 hexadecimal digits.
    #[error("the key file must hold the 64 hexadecimal digits of a node's secret key")]
    Malformed,
    /// The file is not the key of a cluster.
    #[error("this is not the key file of a cluster: make one with `mobula keygen --cluster`")]
    NoClusterKey,
    /// The file exists already. A key that is overwritten is lost.
    #[error("the key file exists and is left as it is: choose another name")]
    Exists,
    /// The file system refused.
    #[error("key file: {0}")]
    Io(#[from] io::Error),
}

/// The text of a file that only its owner can access.
pub(super) fn read_secret(path: &Path) -> Result<String, IdentityError> {
    let file = fs::File::open(path)?;
    refuse_shared(&file.metadata()?)?;
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(file, KEY_FILE_BYTES_MAX), &mut text)?;
    Ok(text)
}

/// Writes a new file that only its owner can access.
pub(super) fn write_secret(path: &Path, text: &str) -> Result<(), IdentityError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let opened = options.open(path);
    let mut file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => IdentityError::Exists,
        _ => error.into(),
    })?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}

#[cfg(unix)]
fn refuse_shared(metadata: &fs::Metadata) -> Result<(), IdentityError> {
    let mode = std::os::unix::fs::MetadataExt::mode(metadata) & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(IdentityError::Shared { mode }) }
}

#[cfg(not(unix))]
fn refuse_shared(_: &fs::Metadata) -> Result<(), IdentityError> {
    Ok(())
}

/// The libp2p name of a key. `None` when the bytes are not a point of the curve.
pub(super) fn peer_id(key: &PeerKey) -> Option<PeerId> {
    let public = ed25519::PublicKey::try_from_bytes(&key.0).ok()?;
    Some(PeerId::from_public_key(&PublicKey::from(public)))
}

/// The ed25519 key inside a libp2p name. `None` for every other kind of key.
pub(super) fn peer_key(peer: &PeerId) -> Option<PeerKey> {
    const IDENTITY_HASH: u64 = 0;
    let hash = peer.as_ref();
    if hash.code() != IDENTITY_HASH {
        return None;
    }
    let public = PublicKey::try_decode_protobuf(hash.digest()).ok()?;
    Some(PeerKey(public.try_into_ed25519().ok()?.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_key_loads_and_is_readable_by_its_owner_only() {
        let folder = std::env::temp_dir().join(format!("mobula-key-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("key");
        let _ = fs::remove_file(&path);
        let identity = Identity::generate();
        identity.save(&path).unwrap();
        assert_eq!(Identity::load(&path).unwrap().peer_key(), identity.peer_key());
        assert!(matches!(identity.save(&path), Err(IdentityError::Exists)), "never overwritten");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o640);
        fs::set_permissions(&path, open).unwrap();
        assert!(matches!(Identity::load(&path), Err(IdentityError::Shared { mode: 0o640 })));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_secret_is_not_printed() {
        let identity = Identity::generate();
        let secret: String =
            identity.pair.secret().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!format!("{identity:?}").contains(&secret[..16]));
    }

    #[test]
    fn keys_and_libp2p_names_translate_both_ways() {
        let key = Identity::generate().peer_key();
        assert_eq!(peer_key(&peer_id(&key).unwrap()), Some(key));
        // A name that is a hash holds no key.
        assert_eq!(peer_key(&PeerId::random()), None);
    }
}
