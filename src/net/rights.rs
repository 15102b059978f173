//! What a member may ask of others.
//!
//! - **RG-1** What is not granted is refused, and the refusal names what is missing.
//! - **RG-2** Rights that stand within others permit nothing that those do not.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::limits::{GRANT_KINDS_MAX, KIND_BYTES_MAX};

/// Something that one member can ask of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verb {
    /// Start actors there, of the granted kinds and within the granted amounts.
    Start,
    /// End actors there that it has a reference to.
    End,
    /// Send messages to actors there.
    Message,
    /// Be told when actors there end.
    Watch,
    /// Ask where actors are whose home is there.
    Locate,
    /// Register names, and join groups.
    Name,
    /// Look names and groups up.
    Find,
    /// Hand over the states of actors that it hosts.
    Checkpoint,
    /// Ask for the members that are known there.
    Members,
}

/// Most of each resource; `None` for no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caps {
    /// Thousandths of a core.
    pub cpu_milli: Option<u64>,
    /// Bytes of main memory.
    pub memory_bytes: Option<u64>,
    /// Thousandths of one device's compute.
    pub gpu_milli: Option<u64>,
    /// Bytes of device memory.
    pub vram_bytes: Option<u64>,
    /// Actors.
    pub actors: Option<u64>,
}

/// The names of the resources, in the order of the fields of [`Caps`].
const RESOURCES: [&str; 5] = ["cpu-milli", "memory", "gpu-milli", "vram", "actors"];

/// What a member may ask of each other member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    verbs: BTreeSet<Verb>,
    /// The kinds that it may start; `None` for all that are hosted.
    kinds: Option<BTreeSet<String>>,
    /// What all that it has started on one node may take there together.
    caps: Caps,
}

/// What was asked for and is not granted. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Denied {
    /// Not this.
    #[error("the member lacks the right `{0}`: neither its certificate nor a grant gives it")]
    Verb(Verb),
    /// It may start actors, but not these.
    #[error("the member has no right to start the kind {0:?}, only others")]
    Kind(String),
    /// It may start actors of this kind, but not so many or large ones.
    #[error("the member would take {asked} of {resource}, and has a right to {granted} on a node")]
    Cap {
        /// As the command `mobula` names it.
        resource: String,
        /// With what it has there already.
        asked: u64,
        /// As granted.
        granted: u64,
    },
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 9] = [
        Self::Start,
        Self::End,
        Self::Message,
        Self::Watch,
        Self::Locate,
        Self::Name,
        Self::Find,
        Self::Checkpoint,
        Self::Members,
    ];

    /// The verb that is displayed as `word`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.word() == word)
    }

    /// Its place in a set of bits.
    pub(super) fn bit(self) -> u16 {
        1_u16.checked_shl(self as u32).unwrap_or(0)
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::End => "end",
            Self::Message => "message",
            Self::Watch => "watch",
            Self::Locate => "locate",
            Self::Name => "name",
            Self::Find => "find",
            Self::Checkpoint => "checkpoint",
            Self::Members => "members",
        }
    }
}

impl Caps {
    /// The bounds, in the order of the fields.
    pub(crate) fn each(&self) -> [Option<u64>; 5] {
        [self.cpu_milli, self.memory_bytes, self.gpu_milli, self.vram_bytes, self.actors]
    }
}

impl Rights {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self::of(Verb::ALL)
    }

    /// These verbs, every hosted kind, no bounds.
    #[must_use]
    pub fn of(verbs: impl IntoIterator<Item = Verb>) -> Self {
        Self { verbs: verbs.into_iter().collect(), kinds: None, caps: Caps::default() }
    }

    /// Only these kinds.
    #[must_use]
    pub fn kinds<S: Into<String>>(mut self, kinds: impl IntoIterator<Item = S>) -> Self {
        self.kinds = Some(kinds.into_iter().map(Into::into).collect());
        self
    }

    /// Within these amounts on each node.
    #[must_use]
    pub fn caps(mut self, caps: Caps) -> Self {
        self.caps = caps;
        self
    }

    /// Whether `verb` is granted.
    ///
    /// # Errors
    /// [`Denied::Verb`].
    pub fn may(&self, verb: Verb) -> Result<(), Denied> {
        if self.verbs.contains(&verb) { Ok(()) } else { Err(Denied::Verb(verb)) }
    }

    /// Whether actors of this kind may be started, when all together then take `amounts` of the
    /// node, in the order of the fields of [`Caps`].
    ///
    /// # Errors
    /// [`Denied`].
    pub fn may_start(&self, kind: &str, amounts: &[u64; 5]) -> Result<(), Denied> {
        self.may(Verb::Start)?;
        if self.kinds.as_ref().is_some_and(|kinds| !kinds.contains(kind)) {
            return Err(Denied::Kind(kind.to_owned()));
        }
        let amounts = RESOURCES.iter().zip(amounts).zip(self.caps.each());
        for ((resource, &asked), granted) in amounts {
            if let Some(granted) = granted.filter(|granted| asked > *granted) {
                return Err(Denied::Cap { resource: (*resource).to_owned(), asked, granted });
            }
        }
        Ok(())
    }

    /// Whether somebody who has started actors must be counted.
    #[must_use]
    pub fn has_caps(&self) -> bool {
        self.caps != Caps::default()
    }

    /// Whether these permit nothing that `wider` does not (RG-2).
    pub(super) fn is_within(&self, wider: &Self) -> bool {
        let kinds = match (&self.kinds, &wider.kinds) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(mine), Some(theirs)) => mine.is_subset(theirs),
        };
        let caps = self.caps.each().into_iter().zip(wider.caps.each());
        let within = |(mine, theirs): (Option<u64>, Option<u64>)| {
            theirs.is_none_or(|theirs| mine.is_some_and(|mine| mine <= theirs))
        };
        self.verbs.is_subset(&wider.verbs) && kinds && caps.into_iter().all(within)
    }

    /// Whether there are few and short enough names of kinds in it to be shown to every peer.
    pub(super) fn is_short(&self) -> bool {
        let kinds = self.kinds.iter().flatten();
        kinds.clone().count() <= GRANT_KINDS_MAX
            && kinds.into_iter().all(|kind| kind.len() <= KIND_BYTES_MAX)
    }

    pub(super) fn bits(&self) -> u16 {
        self.verbs.iter().fold(0, |bits, verb| bits | verb.bit())
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One line: `everything`, or `start, message; kinds a, b; actors 7`.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::all() {
            return f.write_str("everything");
        }
        let verbs: Vec<&str> = self.verbs.iter().map(|verb| verb.word()).collect();
        f.write_str(if verbs.is_empty() { "nothing" } else { "" })?;
        f.write_str(&verbs.join(", "))?;
        if let Some(kinds) = &self.kinds {
            // Text from elsewhere is escaped.
            let kinds: Vec<_> = kinds.iter().map(|kind| kind.escape_debug().to_string()).collect();
            write!(f, "; kinds {}", kinds.join(", "))?;
        }
        for (resource, cap) in RESOURCES.iter().zip(self.caps.each()) {
            if let Some(cap) = cap {
                write!(f, "; {resource} {cap}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(actors: u64) -> Caps {
        Caps { actors: Some(actors), ..Caps::default() }
    }

    #[test]
    fn what_is_missing_is_named() {
        // RG-1
        let rights = Rights::of([Verb::Start]).kinds(["a"]).caps(caps(2));
        assert_eq!(rights.may_start("a", &[9, 9, 9, 9, 2]), Ok(()));
        let refused = rights.may_start("b", &[0; 5]).unwrap_err();
        assert_eq!(refused, Denied::Kind("b".into()));
        let refused = rights.may_start("a", &[0, 0, 0, 0, 3]).unwrap_err().to_string();
        assert!(refused.contains("3 of actors") && refused.contains("to 2 on"), "{refused}");
        let refused = rights.may(Verb::Watch).unwrap_err().to_string();
        assert!(refused.contains("`watch`"), "{refused}");
        assert!(Rights::of([]).may_start("a", &[0; 5]).is_err());
    }

    #[test]
    fn only_what_permits_less_stands_within() {
        // RG-2
        let wide = Rights::of([Verb::Start, Verb::End]).kinds(["a", "b"]).caps(caps(9));
        let within = [
            wide.clone(),
            Rights::of([Verb::End]).kinds(["a", "b"]).caps(caps(9)),
            wide.clone().kinds(["a"]),
            wide.clone().caps(Caps { cpu_milli: Some(1), ..caps(8) }),
        ];
        let beyond = [
            Rights::all(),
            Rights { kinds: None, ..wide.clone() },
            wide.clone().kinds(["a", "c"]),
            wide.clone().caps(caps(10)),
            wide.clone().caps(Caps::default()),
            Rights { verbs: Verb::ALL.into(), ..wide.clone() },
        ];
        for rights in within {
            assert!(rights.is_within(&wide) && rights.is_within(&Rights::all()), "{rights}");
        }
        for rights in beyond {
            assert!(!rights.is_within(&wide), "{rights}");
        }
    }

    #[test]
    fn verbs_are_read_as_they_are_shown() {
        for verb in Verb::ALL {
            assert_eq!(Verb::parse(&verb.to_string()), Some(verb));
        }
        assert_eq!(Verb::ALL.iter().fold(0, |bits, verb| bits | verb.bit()), (1 << 9) - 1);
        assert_eq!(Verb::parse("everything"), None);
        assert_eq!(Rights::all().to_string(), "everything");
        let some = Rights::of([Verb::End, Verb::Start]).kinds(["a"]).caps(caps(7));
        assert_eq!(some.to_string(), "start, end; kinds a; actors 7");
    }
}
