//! Names of nodes, actors and runs. Plain data: every room may use it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The public ed25519 key of a node: who it is across restarts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerKey(pub [u8; 32]);

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for PeerKey {
    /// The first four bytes in hexadecimal: enough to tell nodes apart in a log. `{:#}` prints all
    /// 64 digits, as an allowlist takes them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if f.alternate() { self.0.len() } else { 4 };
        self.0.iter().take(shown).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One life of a node's process: its key, and the start that this life is.
///
/// `boot` is the Unix time of the start in milliseconds, and larger than any boot this key used
/// before; a larger boot of a key proves the smaller one dead.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId {
    /// Who the node is.
    pub key: PeerKey,
    /// Which of its lives.
    pub boot: u64,
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.key, self.boot)
    }
}

/// An actor's name, unique in the cluster and the same over all its runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ActorId {
    /// A 64-bit digest of the node life that created the actor.
    pub origin: u64,
    /// The creating node's counter.
    pub number: u64,
}

impl fmt::Debug for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.{}", self.origin >> 32, self.number)
    }
}

/// Which run of an actor: 1 for the first, larger with every restart, wherever it happens.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of the run after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_short_in_logs_and_whole_when_asked_for() {
        let key = PeerKey(std::array::from_fn(|i| i as u8));
        assert_eq!(key.to_string(), "00010203");
        let whole = format!("{key:#}");
        assert_eq!((whole.len(), &whole[56..]), (64, "1c1d1e1f"));
    }
}
