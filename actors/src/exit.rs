//! How runs end, and why: plain values that travel in messages.
//!
//! Invariant **E-1**: every run ends with exactly one [`Exit`], whatever ended it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{ActorId, Epoch, NodeId};

/// Why an actor refused to go on: a text for people, made from any error with `?`.
///
/// It is not itself an [`std::error::Error`], so that every error converts into it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault(String);

impl Fault {
    /// A fault that says `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What `error` says, and its causes.
    pub(crate) fn of(error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Self(text)
    }
}

impl<E: std::error::Error> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::of(&error)
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a run of an actor ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Exit {
    /// The actor ended itself: its work is done.
    Normal,
    /// It was asked to stop.
    Shutdown,
    /// It was asked to stop, with a reason.
    ShutdownWith(String),
    /// A handler panicked; the text is the panic's message.
    Panicked(String),
    /// A handler returned a fault.
    Failed(Fault),
    /// It was killed: its handler was dropped where it waited.
    Killed,
    /// `start` did not succeed.
    InitFailed(Fault),
    /// A supervisor gave up: more restarts than its intensity allows.
    MaxIntensity,
    /// Its node died.
    NodeDead(NodeId),
    /// A newer run of the same actor exists elsewhere.
    Fenced(Epoch),
    /// No node had room for it in time.
    NoCapacity(String),
    /// There was no such actor to watch.
    NoProc,
    /// `start` said that the actor is not needed.
    Ignored,
    /// Its node does not let this one watch it.
    Denied(String),
}

impl Exit {
    /// Whether a transient child is started again after it.
    #[must_use]
    pub fn is_abnormal(&self) -> bool {
        !matches!(self, Self::Normal | Self::Shutdown | Self::ShutdownWith(_) | Self::Ignored)
    }

    /// Whether the infrastructure caused it rather than the actor's code. Such ends have a
    /// restart budget of their own.
    #[must_use]
    pub fn is_infrastructure(&self) -> bool {
        matches!(self, Self::NodeDead(_) | Self::Fenced(_) | Self::NoCapacity(_))
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::ShutdownWith(why) => write!(f, "shutdown: {why}"),
            Self::Panicked(text) => write!(f, "panicked: {text}"),
            Self::Failed(fault) => write!(f, "failed: {fault}"),
            Self::Killed => f.write_str("killed"),
            Self::InitFailed(fault) => write!(f, "start failed: {fault}"),
            Self::MaxIntensity => f.write_str("restarted too often"),
            Self::NodeDead(node) => write!(f, "node {node} died"),
            Self::Fenced(epoch) => write!(f, "fenced by {epoch}"),
            Self::NoCapacity(why) => write!(f, "no capacity: {why}"),
            Self::NoProc => f.write_str("no such actor"),
            Self::Ignored => f.write_str("not needed"),
            Self::Denied(why) => write!(f, "not watched: {why}"),
        }
    }
}

/// The notice a monitor gives, once, when the run it watches has ended and everything that run
/// owned is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Down {
    /// Who ended.
    pub actor: ActorId,
    /// Which of its runs.
    pub epoch: Epoch,
    /// How.
    pub exit: Exit,
    /// Whether its supervisor's rules say that it is started again.
    pub restarting: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_keeps_the_chain_of_causes() {
        let inner = std::io::Error::other("disk on fire");
        let outer = std::io::Error::other(inner);
        assert!(Fault::from(outer).to_string().contains("disk on fire"));
    }

    #[test]
    fn only_orderly_ends_are_normal_for_a_transient_child() {
        assert!(!Exit::Normal.is_abnormal() && !Exit::Shutdown.is_abnormal());
        assert!(Exit::Killed.is_abnormal() && Exit::MaxIntensity.is_abnormal());
    }
}
