//! What is known of one member, in as few bytes as that takes.

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

/// Where an address lies among the addresses of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AddressAt(pub(super) u32);

impl AddressAt {
    /// Nobody knows.
    pub(super) const UNKNOWN: Self = Self(0);
}

/// One entry of the table of members. A node keeps one for each member of the whole cluster: at
/// ten thousand nodes these bytes are what membership costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// The boot in two halves, so that nothing is lost to alignment.
    boot: [u32; 2],
    pub(super) incarnation: u32,
    pub(super) address: AddressAt,
    pub(super) state: State,
}

/// Most bytes of an entry.
const MEMBER_BYTES_MAX: usize = 32;
const _: () = assert!(size_of::<Member>() + size_of::<u32>() <= MEMBER_BYTES_MAX);

impl Member {
    pub(super) fn new(boot: u64, incarnation: u32, address: AddressAt, state: State) -> Self {
        Self { boot: [(boot >> 32) as u32, boot as u32], incarnation, address, state }
    }

    pub(super) fn boot(&self) -> u64 {
        (u64::from(self.boot[0]) << 32) | u64::from(self.boot[1])
    }

    /// Whether this is that life, and it is not over.
    pub(super) fn lives(&self, boot: u64) -> bool {
        self.boot() == boot && !self.state.is_gone()
    }
}

/// A look at one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberView<'a, P> {
    /// Who.
    pub key: P,
    /// The largest boot known.
    pub boot: u64,
    /// Its refutation counter.
    pub incarnation: u32,
    /// Where that life stands.
    pub state: State,
    /// Where it can be dialled; empty when nobody knows.
    pub address: &'a str,
    /// Whether there is an open connection to it.
    pub connected: bool,
    /// Whether gossip keeps a connection to it: it is in this node's section, or both speak for
    /// their sections.
    pub neighbour: bool,
}
