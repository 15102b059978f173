//! What is known of one member.

use crate::machine::Time;

/// Where a life of a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It takes part.
    Alive,
    /// Somebody accuses it of silence.
    Suspect,
    /// Accusers enough, but it can still refute.
    Unreachable,
    /// Over, by verdict. Final for the boot.
    Dead,
    /// Over, by its own word. Final for the boot.
    Left,
}

impl State {
    /// Whether this life is over.
    #[must_use]
    pub fn is_gone(self) -> bool {
        matches!(self, Self::Dead | Self::Left)
    }
}

/// One entry of the table of members.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) boot: u64,
    pub(super) incarnation: u64,
    pub(super) state: State,
    pub(super) address: String,
    /// When a frame of this life last came, or when this life became known.
    pub(super) heard: Time,
}

/// A look at one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberView<'a, P> {
    /// Who.
    pub key: P,
    /// The largest boot known.
    pub boot: u64,
    /// Its refutation counter.
    pub incarnation: u64,
    /// Where that life stands.
    pub state: State,
    /// Where it can be dialled; empty when nobody knows.
    pub address: &'a str,
    /// Whether there is an open connection to it.
    pub connected: bool,
}
