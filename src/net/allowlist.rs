//! Who may connect: a set of public keys.

use std::{collections::BTreeSet, fs, io, path::Path};

use libp2p::PeerId;
use mobula_actors::id::PeerKey;
use thiserror::Error;

use super::{
    armor::from_hex,
    identity::{peer_id, peer_key},
    limits::{ALLOWLIST_BYTES_MAX, MEMBERS_MAX},
};

/// The keys of the cluster's members. Both ends of a connection must list each other.
#[derive(Clone, Debug, Default)]
pub struct Allowlist {
    keys: BTreeSet<PeerKey>,
}

impl Allowlist {
    /// Nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a file in the form that `parse` takes.
    ///
    /// # Errors
    /// [`AllowlistError`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, AllowlistError> {
        let mut text = String::new();
        let file = fs::File::open(path)?;
        io::Read::read_to_string(&mut io::Read::take(file, ALLOWLIST_BYTES_MAX), &mut text)?;
        Self::parse(&text)
    }

    /// Reads one key a line, as 64 hexadecimal digits or as a libp2p peer name. `#` starts a
    /// comment; empty lines are skipped.
    ///
    /// # Errors
    /// [`AllowlistError`].
    pub fn parse(text: &str) -> Result<Self, AllowlistError> {
        let mut list = Self::new();
        for (line, entry) in (1..).zip(text.lines()) {
            let entry = entry.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() {
                continue;
            }
            list.insert(parse_key(entry).ok_or(AllowlistError::Malformed { line })?)?;
        }
        Ok(list)
    }

    /// Adds a key.
    ///
    /// # Errors
    /// [`AllowlistError::Full`]; the list is as it was.
    pub fn insert(&mut self, key: PeerKey) -> Result<(), AllowlistError> {
        if self.keys.len() >= MEMBERS_MAX && !self.keys.contains(&key) {
            return Err(AllowlistError::Full);
        }
        self.keys.insert(key);
        Ok(())
    }

    /// Whether the key may connect.
    #[must_use]
    pub fn contains(&self, key: &PeerKey) -> bool {
        self.keys.contains(key)
    }

    /// Whether nobody may connect.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// A list longer than the bound keeps its first keys only.
impl FromIterator<PeerKey> for Allowlist {
    fn from_iter<I: IntoIterator<Item = PeerKey>>(keys: I) -> Self {
        Self { keys: keys.into_iter().take(MEMBERS_MAX).collect() }
    }
}

/// Why an allowlist was not read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AllowlistError {
    /// A line is not a key.
    #[error("allowlist line {line}: write one ed25519 key, 64 hexadecimal digits or a peer name")]
    Malformed {
        /// Counted from 1.
        line: usize,
    },
    /// Too many keys.
    #[error("an allowlist holds at most 4096 keys")]
    Full,
    /// The file system refused.
    #[error("allowlist file: {0}")]
    Io(#[from] io::Error),
}

/// The public key of a node, written as 64 hexadecimal digits or as a libp2p peer name; `None` if
/// it is neither, or not a key.
#[must_use]
pub fn parse_key(entry: &str) -> Option<PeerKey> {
    let key = match from_hex(entry) {
        Some(bytes) => PeerKey(bytes),
        None => peer_key(&entry.parse::<PeerId>().ok()?)?,
    };
    peer_id(&key).map(|_| key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Identity;

    #[test]
    fn both_spellings_of_a_key_are_read_and_comments_skipped() {
        let (a, b) = (Identity::generate().peer_key(), Identity::generate().peer_key());
        let hex: String = a.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("# members\n\n{hex}  # the first\n{}\n", peer_id(&b).unwrap());
        let list = Allowlist::parse(&text).unwrap();
        assert!(list.contains(&a) && list.contains(&b));
    }

    #[test]
    fn a_bad_line_is_named() {
        let refused = Allowlist::parse("# members\n12D3KooWnonsense\n");
        assert!(matches!(refused, Err(AllowlistError::Malformed { line: 2 })), "{refused:?}");
    }

    #[test]
    fn the_list_is_bounded() {
        let mut list: Allowlist = (0..5000_u32)
            .map(|n| {
                let mut key = [0; 32];
                key[..4].copy_from_slice(&n.to_le_bytes());
                PeerKey(key)
            })
            .collect();
        assert!(matches!(list.insert(PeerKey([9; 32])), Err(AllowlistError::Full)));
    }
}
